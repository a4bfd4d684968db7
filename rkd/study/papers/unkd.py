"""What knows UnKD's paper: its data sets' and methods' names there, its studies and tables. (Drawings: unkd_figures.py;
the synthetic worlds: worlds.py.)

(Chen et al., Unbiased Knowledge Distillation for Recommendation, WSDM 2023)
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd

from ... import compress, methods
from ...evaluate import evaluate, per_user
from ...methods import label_of
from ...models import BACKBONES as MODELS
from ...run import split_of
from ...stats import LEVEL, certain, interval
from ...stats import mean_std as mean_std_of
from ...store import Result
from ..scales import Scale
from ..study import MARK, Study, named
from ..tables import mean_std, published
from . import RIVALS, second_choices, varied

DATASETS = {"ml-1m": "movielens", "citeulike": "citeulike", "apps": "apps"}  # our names of data sets → the paper's
BACKBONES = {"mf": "bprmf", "lightgcn": "lightgcn"}
# Our names of methods → the paper's, where they differ.
METHODS = {"none": "student", "de-rrd": "de_rrd", "pd-cd": "pd_cd", "pd-htd": "pd_htd"}

# The paper's word for a set of items → Recall@10 on it, on the paper's scale: beside published figures stands this one.
RECALLS = {"popular": "popular/recall_unkd@10", "unpopular": "unpopular/recall_unkd@10"}

# The paper's table 1 compares these; "none" is the student on its own.
BASELINES = ("teacher", "none", "rd", "cd", "de-rrd", "htd")
COMPARED = (*BASELINES, "unkd")
AUTHORS = "unkd, its authors' settings"
GROUPS = range(1, 9)
FACTORS = (0.25, 1, 4)  # times a method's weight, in the synthetic worlds
# A debiased teacher's student with the settings that were chosen for the plain teacher's
MATCHED = {"pd-cd, CD's settings": ("pd-cd", "cd"), "pd-htd, HTD's settings": ("pd-htd", "htd")}
# What UnKD's released code makes of DE-RRD, one by one (methods.DERRD.as_released)
FAULTS = {"sigmoid": ("sigmoid",), "one draw": ("redraw",), "teacher trained along": ("train_teacher",),
          "ReLU at the end, gate never cooled": ("relu", "anneal")}
RELEASED = "de-rrd, all of these, λ = 1"


# ------------------------------------------------------------------------------------------------------------ studies

def bias(scale: Scale, datasets: Sequence[str]) -> Study:
    """Notebook 1: the methods of before UnKD, on MF."""
    return Study({method: [run for name in datasets for run in scale.runs(name, [method])] for method in BASELINES})


def comparison(scale: Scale, datasets: Sequence[str]) -> Study:
    """Notebook 2: all methods, on MF with every seed and, but for the rivals, on LightGCN with few; and UnKD at its
    authors' settings."""
    groups = {method: [run for name in datasets for run in (
        *scale.runs(name, [method]), *scale.runs(name, [method], "lightgcn", few=True))] for method in COMPARED}
    groups |= {AUTHORS: [run for name in datasets for run in scale.published(name, "unkd")]}
    return Study(groups | {method: [run for name in datasets for run in scale.runs(name, [method])]
                           for method in RIVALS})


def in_worlds(scale: Scale, methods: Sequence[str]) -> Study:
    """Methods in synthetic worlds, where affinity and popularity are known apart, a training in each; distillations at
    several times their weight, "METHOD × FACTOR"."""
    def runs(method, **of):
        return [replace(run, seed=n, split_seed=n) for n in range(scale.worlds)
                for run in scale.runs("synthetic-world", [method], split="affinity", **of)[:1]]

    groups = {method: runs(method) for method in methods if not runs(method)[0].distils}
    return Study(groups | {f"{method} × {factor}": runs(method, weight=factor * runs(method)[0].weight)
                           for method in methods if method not in groups for factor in FACTORS})


def bias_in_worlds(scale: Scale, datasets: Sequence[str]) -> Study:
    """Notebook 1's worlds."""
    return in_worlds(scale, BASELINES)


def comparison_in_worlds(scale: Scale, datasets: Sequence[str]) -> Study:
    """Notebook 2's worlds: the same, and UnKD."""
    return in_worlds(scale, COMPARED)


def ablations(scale: Scale, datasets: Sequence[str]) -> Study:
    """Notebook 3: UnKD's settings one by one and at its authors', debiased teachers, each method's choice for the tail,
    and DE-RRD as UnKD's released code has it, fault by fault. All but the debiased teachers is on the first data set.
    UnKD without groups, K = 1, has every seed: it is what groups are compared with. Of MATCHED there is only what is
    not chosen anyway."""
    first = datasets[0]

    def but(method, **of):
        return varied(scale, first, method, **of)

    unkd, released = scale.runs(first, ["unkd"])[0], methods.DERRD.as_released
    groups = bias(scale, datasets).groups
    groups |= {method: [run for name in datasets for run in scale.runs(name, [method])]
               for method in ("unkd", "pd", "pd-cd", "pd-htd", "rrd")}
    for label, (debiased, method) in MATCHED.items():
        matched = [replace(run, method=debiased) for run in groups[method]]
        groups |= {label: matched} if matched != groups[debiased] else {}
    groups |= {AUTHORS: scale.published(first, "unkd")}
    groups |= {"K = 1": scale.runs(first, ["unkd"], settings={"groups": 1})}
    groups |= {f"K = {k}": but("unkd", settings={"groups": k}) for k in GROUPS if k > 1}
    groups |= {f"λ × {factor}": but("unkd", weight=factor * unkd.weight) for factor in FACTORS}
    groups |= {f"μ = {mu}": but("unkd", settings={"mu": mu}) for mu in sorted({5.0, 20.0, dict(unkd.settings)["mu"]})}
    groups |= {f"de-rrd, {fault}": but("de-rrd", settings={name: released[name] for name in names})
               for fault, names in FAULTS.items()}
    groups |= {"de-rrd, all of these": but("de-rrd", settings=released),
               RELEASED: but("de-rrd", settings=released, weight=1.0)}
    return Study(groups | second_choices(scale, first, (*COMPARED[1:], "rrd")))


# ------------------------------------------------------------------------------------------------------------- tables

def table1(frame: pd.DataFrame) -> pd.DataFrame:
    """UnKD's Table 1 of a tidy frame: Recall@10 on popular and unpopular items (RECALLS), and overall, the published
    row under ours where the data set is the paper's. Index: dataset, items, source; columns: methods."""
    rows = {}
    paper = published("unkd_table1").set_index(["dataset", "group"])
    for dataset, part in frame.groupby("dataset", sort=False):
        for group, metric in (RECALLS | {"all": "recall@10"}).items():
            ours = mean_std(part, [metric]).iloc[0]
            rows[dataset, group, "ours"] = ours
            if (key := (DATASETS.get(dataset), group)) in paper.index:
                row = paper.loc[key].map("{:.4f}".format).rename(ours_of)
                rows[dataset, group, "published"] = row.reindex(ours.index, fill_value="")
    return pd.DataFrame(rows).T.rename_axis(["dataset", "items", "source"])


def table2(facts: dict[str, dict]) -> pd.DataFrame:
    """UnKD's Table 2 of rkd.statistics by data set: users, items, interactions, sparsity, ours and published."""
    paper = published("unkd_table2").set_index("dataset")
    rows = {}
    for dataset, values in facts.items():
        rows[dataset, "ours"] = [values[name] for name in paper.columns]
        if DATASETS.get(dataset) in paper.index:
            rows[dataset, "published"] = paper.loc[DATASETS[dataset]].tolist()
    table = pd.DataFrame(rows, index=paper.columns).T.rename_axis(["dataset", "source"])
    return table.astype(dict.fromkeys(paper.columns[:3], int))


def ours_of(name: str) -> str:
    """A method's name in the paper's tables → ours in tables."""
    return label_of({theirs: ours for ours, theirs in METHODS.items()}.get(name, name))


def published_table1(dataset: str) -> pd.DataFrame:
    """The paper's Table 1 for one of its data sets: rows groups of items, columns methods."""
    return published("unkd_table1").set_index(["dataset", "group"]).loc[dataset].rename(columns=ours_of)


def published_halves(dataset: str) -> pd.DataFrame:
    """The paper's Recall@10 on both halves for one of its data sets, MF, of Table 1 and what Table 4 has besides: rows
    halves, columns methods."""
    later = published("unkd_table4").query("backbone == 'bprmf'").set_index("method")
    halves = pd.DataFrame({half: later[f"{dataset}_{half}"] for half in RECALLS}).T.rename(columns=ours_of)
    return published_table1(dataset).combine_first(halves)


MARK_MEANS = (f"{MARK} certainly other than UnKD's: over the seeds that both have and the users (over the users alone "
              f"where that is one seed), Holm-corrected over the whole table, p < {LEVEL}.")


def table3(results: Study, metrics=("recall@10", "ndcg@10")) -> pd.DataFrame:
    """UnKD's Table 3: "mean ± std" of each metric by data set, method and backbone, marked where UnKD's differs
    (MARK_MEANS), and the published figures where the data set and the method are the paper's."""
    return _by_backbone(results, metrics, published("unkd_table3"), {"recall@10": "recall", "ndcg@10": "ndcg"})


def table4(results: Study) -> pd.DataFrame:
    """UnKD's Table 4: Recall@10 overall and on both halves (RECALLS), against distillations of debiased teachers; as
    table 3."""
    metrics = {"recall@10": "overall"} | {metric: items for items, metric in RECALLS.items()}
    paper = published("unkd_table4").melt(["backbone", "method"])
    paper[["dataset", "column"]] = paper["variable"].str.split("_", expand=True).to_numpy()
    wide = paper.assign(column=paper["backbone"] + "_" + paper["column"]).pivot_table(
        "value", ["dataset", "method"], "column").reset_index()
    return _by_backbone(results, tuple(metrics), wide, metrics)


def _by_backbone(results: Study, metrics: Sequence[str], paper: pd.DataFrame,
                 column_of: dict[str, str]) -> pd.DataFrame:
    """Rows dataset and label; columns backbone, metric, and "ours" or "published"."""
    paper = paper.set_index(["dataset", "method"])
    marked = certain(results.claims(("unkd", "above", list(results.results), metrics)))
    cells, rows = {}, {}
    for dataset, backbone in dict.fromkeys((r.run.dataset, r.run.backbone) for r in results):
        part = results.where(dataset=dataset, backbone=backbone).results
        for metric, (label, found) in product(metrics, part.items()):
            row, column = (dataset, label), (MODELS[backbone].label, metric)
            method = found[0].run.method
            rows[row] = dataset, label_of(method) if label == found[0].run.name else named(label)
            mark = f" {MARK}" if (dataset, *column, "UnKD", "above", named(label)) in marked else ""
            cells.setdefault((*column, "ours"), {})[row] = mean_std_of(
                pd.Series([r.metrics[metric] for r in found])) + mark
            key = (DATASETS.get(dataset), METHODS.get(label, label))
            if key in paper.index:
                value = paper.loc[key, f"{BACKBONES[backbone]}_{column_of[metric]}"]
                cells.setdefault((*column, "published"), {})[row] = f"{value:.4f}"
    table = pd.DataFrame(cells).loc[list(rows)].fillna("")
    table.index = pd.MultiIndex.from_tuples(rows.values(), names=["dataset", "method"])
    return table


def changes(results: Study, papers: dict[str, str]) -> pd.DataFrame:
    """Relative changes over the plain student in Recall@10 on both halves (RECALLS), of all groups but it and the
    teacher: rows (dataset, label, half), columns "mean", "low", "high" (stats.interval of the changes seed by seed),
    and "published", the paper's for the data set that ``papers`` names beside ours, NaN where it has none."""
    rows = {}
    for dataset in dict.fromkeys(r.run.dataset for r in results):
        part = results.where(dataset=dataset, backbone="mf")
        paper = published_halves(papers[dataset]) if dataset in papers else pd.DataFrame()
        for label, (half, metric) in product(part.results, RECALLS.items()):
            if label not in ("none", "teacher"):
                of = {name: pd.Series({r.run.seed: r.metrics[metric] for r in part[name]}) for name in (label, "none")}
                ours = interval((of[label] / of["none"] - 1).dropna())
                theirs = (paper[named(label)] / paper["Student"] - 1)[half] if named(label) in paper else np.nan
                rows[dataset, label, half] = pd.concat([ours, pd.Series({"published": theirs})])
    return pd.DataFrame(rows).T.rename_axis(["dataset", "label", "half"])


def popularity_correlations(results: Study) -> pd.DataFrame:
    """Spearman's correlation of an item's mean score over users with its popularity: rows labels, columns "mean",
    "low", "high" over seeds (stats.interval)."""
    return pd.DataFrame({label: interval(pd.Series([
        pd.Series(mean_scores(r)).corr(pd.Series(split_of(r.run).train.item_counts), method="spearman")
        for r in group])) for label, group in results.results.items()}).T


def mean_scores(found: Result) -> np.ndarray:
    """The mean over users of each item's score, [n_items]."""
    users, items = found.model.factors()
    return (items @ users.mean(0)).numpy()


def cut(teacher: Result, dim: int) -> Result:
    """A teacher's result were it cut to its first ``dim`` singular terms (compress.truncate), without training."""
    model, split = compress.truncate(teacher.model, dim), split_of(teacher.run)
    found = replace(teacher, metrics=evaluate(model, split, ks=10))
    found.by_user = per_user(model, split, ks=10)  # as a study's claims ask for it
    return found


def truncated(teachers: Sequence[Result], dims: Sequence[int], metrics: Sequence[str]) -> pd.DataFrame:
    """Teachers ``cut`` to d dimensions: rows d, columns (metric, "mean"), (metric, "low"), (metric, "high") over them,
    as Study.intervals has them of what is trained."""
    return pd.DataFrame({dim: Study({}, {"cut": [cut(r, dim) for r in teachers]}).intervals(metrics).loc["cut"]
                         for dim in dims}).T
