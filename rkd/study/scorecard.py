"""The scorecard: what becomes of each claim of both papers, on each data set and backbone.

A claim of several statements (better than each of five rivals in two metrics) holds where all of them do: its p-value
is the largest of theirs, an intersection-union test (Berger, Technometrics 1982). Where some go the other way it fails
as far as the clearest of these does, Bonferroni-corrected over all. Holm's correction is over the whole scorecard; of
claims about time, which no two computers share, over these alone.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.pyplot import subplots

from .. import stats
from ..environment import told
from ..kept import NotRecorded
from ..models import BACKBONES
from ..store import Result
from . import reproduce
from .claims import CLAIMS, MEASURES, STUDIES, TIMES, Claim, Statement
from .papers import unkd
from .scales import SCALES, Scale
from .study import Study, named
from .tables import published

COLOURS = {"holds": "#3c78a8", "fails": "#d1793c", "undecided": "#d9d9d9"}


def computed(scale: Scale, datasets: Sequence[str], jobs: int | None = None) -> dict[str, Study]:
    """The studies that the claims speak of, by the functions that make them, with their results; each run once."""
    made = {study: study(scale, datasets) for study in STUDIES}
    whole = Study({_place(study, label): group for study, of in made.items() for label, group in of.groups.items()})
    found, once = whole.compute(jobs), {}
    results = {place: [once.setdefault(r.key, r) for r in group] for place, group in found.results.items()}
    return {study: Study(of.groups, {label: results[place] for label in of.groups
                                     if (place := _place(study, label)) in results}) for study, of in made.items()}


def _place(study: Callable, label: str) -> str:
    """A group's label among those of all studies."""
    return f"{study.__name__}: {label}"


def recorded(name: str) -> dict[str, Study]:
    """``computed`` of a scale, by its name, from the records that come with rkd; empty where it has none."""
    folder = reproduce.records_folder(name)
    if not (folder / "records.json").is_file():
        return {}
    with told(RKD_RECORDS=folder):
        return computed(SCALES[name], SCALES[name].available(log=lambda line: None))


def scorecard(studies: dict, claims: Sequence[Claim] = CLAIMS) -> pd.DataFrame:
    """Rows: claim, data set, backbone, those on which all of its groups were run, or enough of them to see that it
    fails. Columns: "verdict" ("holds", "fails" or "undecided", with ", one seed" where that is so); of the statement
    that decides, "difference", its 95 % interval "low" to "high", "smallest" (that could have been seen) and
    "published", the paper's difference, where the data, the division and the metric are the paper's; "p_holm", "seeds",
    "users" (1: of all together), "decided by", "paper", "claim in words", "notebook"."""
    found, cells, asked = {}, {}, Counter()
    for claim in claims:
        study = studies[claim.study]
        for statement in statements_of(claim, study):
            asked.update((claim.name, *place) for place in planned(study, statement))
            for place, values in differences(study, statement).items():
                metric = statement[3] if isinstance(statement[3], str) else " and ".join(statement[3])
                key = (claim.study.__name__, *place, metric, *statement[:3])
                found[key] = values
                cells.setdefault((claim.name, *place), {})[key] = statement
    one_of = stats.comparisons(found)
    decided = {cell: decide({key: one_of[key] for key in keys}, asked[cell]) for cell, keys in cells.items()}
    timed = np.array([key[3] in TIMES for key, *_ in decided.values()], dtype=bool)
    p_holm = np.array([p for _, p, _ in decided.values()], dtype=float)
    for family in (timed, ~timed):
        p_holm[family] = stats.holm(p_holm[family])
    by_name, rows = {claim.name: claim for claim in claims}, {}
    for (cell, (key, _, word)), p in zip(decided.items(), p_holm):
        claim, one, reach = by_name[cell[0]], one_of[key], one_of[key].reach()
        dataset, backbone = cell[1:]
        word = word if p < stats.LEVEL else "undecided"
        if word != "fails" and len(cells[cell]) < asked[cell]:
            continue
        rows[cell] = {
            "verdict": word + ", one seed" * (one.seeds == 1),
            "difference": one.difference, "low": one.difference - reach, "high": one.difference + reach,
            "smallest": one.smallest(stats.LEVEL / len(decided)),
            "published": published_difference(studies[claim.study], dataset, backbone, cells[cell][key]),
            "p_holm": p, "seeds": one.seeds, "users": one.users,
            "decided by": in_words(cells[cell][key]),
            "paper": claim.paper, "claim in words": claim.says, "notebook": cell_of(claim)}
    table = pd.DataFrame(rows).T
    return table.rename_axis(["claim", "dataset", "backbone"]) if rows else table


def statements_of(claim: Claim, study: Study) -> list[Statement]:
    """What a claim comes to; nothing where records lack the runs that would tell."""
    try:
        return claim.of(study)
    except NotRecorded:
        return []


def in_words(statement: Statement) -> str:
    """"recall@10: UnKD above RD"; of two metrics "Teacher's aplt@10 below Teacher's held_out/aplt"."""
    ours, direction, theirs, metric = statement
    parts = (label.removeprefix("LightGCN").lstrip(", ").partition(" × ") for label in (ours, theirs))
    one, other = (named(method) + times + factor for method, times, factor in parts)
    if isinstance(metric, str):
        return f"{metric}: {one} {direction} {other}"
    return f"{one}'s {metric[0]} {direction} {other}'s {metric[1]}"


def decide(found: dict[tuple, stats.Comparison], n: int) -> tuple[tuple, float, str]:
    """(the statement that decides, the claim's p-value, what it says where that is small) of a claim's statements, keys
    whose last but one word is "above" or "below"; n of them in all, of which some may not have been run."""
    p = {key: np.nan_to_num(one.p, nan=1.0) for key, one in found.items()}
    wrong = [key for key, one in found.items() if (one.difference > 0) != (key[-2] == "above")]
    if not wrong:
        key = max(p, key=p.get)
        return key, p[key], "holds"
    key = min(wrong, key=p.get)
    return key, min(1.0, n * p[key]), "fails"


def differences(study: Study, statement: Statement) -> dict[tuple[str, str], np.ndarray]:
    """(data set, backbone) → ours − theirs [seeds, users], wherever both were run."""
    ours, _, theirs, metric = statement
    metrics = (metric, metric) if isinstance(metric, str) else metric
    mine, rivals = (_by_place(study.results.get(label, [])) for label in (ours, theirs))
    found = {}
    for place in mine:
        if place in rivals:
            one, other = (_values(results[place], name) for results, name in zip((mine, rivals), metrics))
            seeds = one.index.intersection(other.index)
            if len(seeds):
                found[place] = (one.loc[seeds] - other.loc[seeds]).dropna(axis=1).to_numpy()
    return found


def planned(study: Study, statement: Statement) -> set[tuple[str, str]]:
    """The (data set, backbone) on which a study has runs of both groups, computed or not."""
    ours, theirs = ({(run.dataset, BACKBONES[run.backbone].label) for run in study.groups[label]}
                    for label in (statement[0], statement[2]))
    return ours & theirs


def _by_place(results: Sequence[Result]) -> dict[tuple[str, str], list[Result]]:
    places = {}
    for r in results:
        places.setdefault((r.run.dataset, BACKBONES[r.run.backbone].label), []).append(r)
    return places


def _values(results: list[Result], metric: str) -> pd.DataFrame:
    """Rows seeds, columns users, or one of a MEASURE."""
    if metric in MEASURES:
        return pd.DataFrame({r.run.seed: [MEASURES[metric](r)] for r in results}).T
    return stats.by_seed(results, metric)


def published_difference(study: Study, dataset: str, backbone: str, statement: Statement) -> float:
    """What UnKD's tables give for a statement; NaN where they do not, or the division is another."""
    ours, _, theirs, metric = statement
    if any(r.run.split != "unkd" for label in (ours, theirs) for r in study[label]):
        return np.nan
    return published_value(dataset, backbone, ours, metric) - published_value(dataset, backbone, theirs, metric)


def published_value(dataset: str, backbone: str, method: str, metric) -> float:
    """A figure of UnKD's Tables 3, 4 or 1; NaN where it is in none."""
    data, theirs = unkd.DATASETS.get(dataset), unkd.METHODS.get(method, method.replace("-", "_"))
    model = next((theirs for ours, theirs in unkd.BACKBONES.items() if BACKBONES[ours].label == backbone), None)
    items = {metric: items for items, metric in unkd.RECALLS.items()}.get(metric)
    table1, table3, table4 = (_table(f"unkd_table{n}") for n in (1, 3, 4))
    if metric in ("recall@10", "ndcg@10"):
        row = table3[(table3["dataset"] == data) & (table3["method"] == theirs)]
        values = row.get(f"{model}_{metric.removesuffix('@10')}", pd.Series(dtype=float))
    elif items:
        row = table4[(table4["backbone"] == model) & (table4["method"] == theirs)]
        values = row.get(f"{data}_{items}", pd.Series(dtype=float))
        if values.empty and model == unkd.BACKBONES["mf"]:  # Table 1 is of MF
            row = table1[(table1["dataset"] == data) & (table1["group"] == items)]
            values = row.get(theirs, pd.Series(dtype=float))
    else:
        return np.nan
    return values.iloc[0] if len(values) else np.nan


_table = cache(published)


def cell_of(claim: Claim) -> str:
    """The notebook, and the number of the code cell in which it computes the claim's study."""
    path = reproduce.SOURCES / f"{claim.notebook}.ipynb"
    call = f"{claim.study.__module__.rpartition('.')[2]}.{claim.study.__name__}(scale"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"] if path.is_file() else []
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    number = next((n for n, source in enumerate(sources, 1) if call in source), None)
    return claim.notebook + (f", code cell {number}" if number else "")


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """A scorecard as it is written: four decimals, nothing for what there is not."""
    shown = table.copy()
    for column in ("difference", "low", "high", "smallest", "published", "p_holm"):
        shown[column] = [f"{value:.4f}" if np.isfinite(value) else "" for value in table[column]]
    return shown


def counts(table: pd.DataFrame) -> pd.DataFrame:
    """How many cells of the scorecard hold, fail and are undecided, a row for each paper, data set and backbone."""
    words = table["verdict"].str.partition(",")[0]
    keys = [table["paper"], *(table.index.get_level_values(name) for name in ("dataset", "backbone"))]
    return pd.crosstab(keys, words).reindex(columns=list(COLOURS), fill_value=0).rename_axis(columns=None)


def draw(table: pd.DataFrame) -> Figure:
    """Claims (rows) by data set and backbone (columns): the word and the difference in each cell, which a colour says
    as well; blank where it was not run."""
    places = list(dict.fromkeys(cell[1:] for cell in table.index))
    names = list(dict.fromkeys(cell[0] for cell in table.index))
    figure, axis = subplots(figsize=(3.4 + 1.7 * len(places), 0.36 * len(names) + 1.2), layout="constrained")
    for (name, *place), row in table.iterrows():
        x, y, word = places.index(tuple(place)), names.index(name), row["verdict"].partition(",")[0]
        axis.add_patch(Rectangle((x, y), 1, 1, facecolor=COLOURS[word], edgecolor="white", linewidth=2,
                                 hatch="//" if word == "fails" else None))
        axis.text(x + 0.5, y + 0.5, f"{word}  {row['difference']:+.3f}", ha="center", va="center", fontsize=8,
                  color="black" if word == "undecided" else "white", weight="normal" if word == "undecided" else "bold",
                  bbox={"facecolor": COLOURS[word], "edgecolor": "none", "pad": 1})
    axis.set(xlim=(0, len(places)), ylim=(len(names), 0), xticks=np.arange(len(places)) + 0.5,
             yticks=np.arange(len(names)) + 0.5)
    axis.set_xticklabels(["\n".join(place) for place in places])
    axis.set_yticklabels([f"{name} ({paper})" for name, paper in zip(names, map(table.groupby(level=0, sort=False)[
        "paper"].first().get, names))])
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    axis.grid(False)
    for side in axis.spines.values():
        side.set_visible(False)
    return figure
