"""Results → tidy rows → the papers' tables, as CSV, Markdown and LaTeX, each with its provenance beside it."""

import os
from pathlib import Path

import pandas as pd

from .provenance import write_provenance
from .runs import Result
from .stats import LEVEL, mean_std as mean_std_of, paired_tests
from .synthetic import probe, world

NAMES = {"none": "Student", "student": "Student", "teacher": "Teacher", "pd": "PD teacher", "rd": "RD", "cd": "CD",
         "de": "DE", "rrd": "RRD", "de-rrd": "DE-RRD", "htd": "HTD", "pd-cd": "PD-CD", "pd-htd": "PD-HTD", "unkd": "UnKD",
         "nkd": "NKD", "cpd": "CPD", "sld": "SLD", "mkd": "MKD", "stratified-sld": "Stratified SLD",
         "stratified-mkd": "Stratified MKD",
         "mf": "MF", "bprmf": "MF", "lightgcn": "LightGCN"}
PAPERS = {"ml-1m": "movielens", "citeulike": "citeulike", "apps": "apps"}  # our names of data sets → UnKD's
PUBLISHED = Path(__file__).with_name("published")


def folder(scale: str) -> Path:
    """figures/<scale>/ of this checkout, or of $RKD_FIGURES; made where it is not there."""
    path = Path(os.environ.get("RKD_FIGURES") or Path(__file__).parents[1] / "figures") / scale
    path.mkdir(parents=True, exist_ok=True)
    return path


def published(name: str) -> pd.DataFrame:
    """A paper's own table, such as "unkd_table1" (rkd/published/)."""
    return pd.read_csv(PUBLISHED / f"{name}.csv")


def tidy(results: list[Result]) -> pd.DataFrame:
    """One row per result and test metric: dataset, backbone, method, dim, seed, metric, value."""
    return pd.DataFrame([
        {"dataset": r.run.dataset, "backbone": r.run.backbone, "method": r.run.method, "dim": r.run.dim,
         "seed": r.run.seed, "metric": metric, "value": value}
        for r in results for metric, value in r.metrics.items()])


def mean_std(frame: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """Rows dataset and metric, columns method: "mean ± std" over seeds, of a tidy frame, in the order first met."""
    chosen = frame[frame["metric"].isin(metrics)]
    cells = chosen.groupby(["dataset", "metric", "method"], sort=False)["value"].apply(mean_std_of).unstack("method")
    order = [(d, m) for d in chosen["dataset"].unique() for m in metrics]
    return cells.loc[order, list(chosen["method"].unique())].rename(columns=NAMES).rename_axis(columns=None)


def by_label(groups: dict[str, list[Result]], metrics: list[str]) -> pd.DataFrame:
    """"mean ± std" of each metric (columns) of named lists of results (rows)."""
    return pd.DataFrame({label: {metric: mean_std_of(pd.Series([r.metrics[metric] for r in results])) for metric in metrics}
                         for label, results in groups.items()}).T


def level(results: list[Result]) -> pd.Series:
    """The mean of each test metric over results, seeds for example: metric → value."""
    return pd.DataFrame([r.metrics for r in results]).mean()


def swept(groups: dict[float, list[Result]]) -> pd.DataFrame:
    """Tidy rows of results by the value of a setting, which becomes the column "x" (for figures.sweep)."""
    return pd.concat([tidy(results).assign(x=x) for x, results in groups.items()])


def means(frame: pd.DataFrame, metric: str) -> pd.Series:
    """Mean over seeds of one metric, by dataset and method."""
    return frame[frame["metric"] == metric].groupby(["dataset", "method"], sort=False)["value"].mean()


def seeds_of(frame: pd.DataFrame, method: str, metric: str, dataset: str) -> pd.Series:
    """One metric of a method on a data set, a value per seed, from a tidy frame."""
    chosen = (frame["method"] == method) & (frame["metric"] == metric) & (frame["dataset"] == dataset)
    return frame.loc[chosen, "value"]


def world_effects(results: list[Result]) -> pd.DataFrame:
    """How much of the scores is affinity, how much popularity, of results on the synthetic world, a row each: "model",
    "seed", synthetic.probe's "affinity" (PEM), "popularity" (PEZ) and "bias", and "recall@10"."""
    rows = []
    for r in results:
        users, items = r.model.factors()
        rows.append({"model": NAMES[r.run.method], "seed": r.run.seed, **probe(users @ items.T, world(seed=r.run.split_seed)),
                     "recall@10": r.metrics["recall@10"]})
    return pd.DataFrame(rows)


def unkd_table1(frame: pd.DataFrame) -> pd.DataFrame:
    """UnKD's Table 1 of a tidy frame: Recall@10 on popular and unpopular items, and overall, the published row under
    ours where the data set is the paper's. Index: dataset, items, source; columns: methods."""
    rows = {}
    paper = published("unkd_table1").set_index(["dataset", "group"])
    for dataset, part in frame.groupby("dataset", sort=False):
        for group, metric in (("popular", "popular/recall@10"), ("unpopular", "unpopular/recall@10"),
                              ("all", "recall@10")):
            ours = mean_std(part, [metric]).iloc[0]
            rows[dataset, group, "ours"] = ours
            if (key := (PAPERS.get(dataset), group)) in paper.index:
                row = paper.loc[key].rename(lambda name: NAMES[name.replace("_", "-")])
                rows[dataset, group, "published"] = row[ours.index].map("{:.4f}".format)
    return pd.DataFrame(rows).T.rename_axis(["dataset", "items", "source"])


def unkd_table2(facts: dict[str, dict]) -> pd.DataFrame:
    """UnKD's Table 2 of rkd.statistics by data set: users, items, interactions, sparsity, ours and published."""
    paper = published("unkd_table2").set_index("dataset")
    rows = {}
    for dataset, values in facts.items():
        rows[dataset, "ours"] = [values[name] for name in paper.columns]
        if PAPERS.get(dataset) in paper.index:
            rows[dataset, "published"] = paper.loc[PAPERS[dataset]].tolist()
    table = pd.DataFrame(rows, index=paper.columns).T.rename_axis(["dataset", "source"])
    return table.astype({name: int for name in paper.columns[:3]})


MARK = "†"
MARK_MEANS = (f"{MARK} differs from UnKD's: paired t-test over the users (each user's mean over the seeds), "
              f"Holm-corrected over the methods of its column, p < {LEVEL}.")


def unkd_table3(results: list[Result], metrics=("recall@10", "ndcg@10")) -> pd.DataFrame:
    """UnKD's Table 3: "mean ± std" of each metric by data set, method and backbone, marked where UnKD's differs
    (MARK_MEANS), and the published figures where the data set is the paper's."""
    return _by_backbone(results, metrics, "unkd_table3", {"recall@10": "recall", "ndcg@10": "ndcg"})


def unkd_table4(results: list[Result]) -> pd.DataFrame:
    """UnKD's Table 4: Recall@10 overall and on both halves, against distillations of debiased teachers; as table 3."""
    metrics = {"recall@10": "overall", "popular/recall@10": "popular", "unpopular/recall@10": "unpopular"}
    paper = published("unkd_table4").melt(["backbone", "method"])
    paper[["dataset", "column"]] = paper["variable"].str.split("_", expand=True).to_numpy()
    wide = paper.assign(column=paper["backbone"] + "_" + paper["column"]).pivot_table(
        "value", ["dataset", "method"], "column").reset_index()
    return _by_backbone(results, tuple(metrics), wide, metrics)


def _by_backbone(results, metrics, paper, column_of) -> pd.DataFrame:
    """Rows dataset and method; columns backbone, metric, and "ours" or "published"."""
    paper = published(paper) if isinstance(paper, str) else paper
    paper = paper.set_index(["dataset", "method"])
    cells = {}
    for (dataset, backbone), group in _grouped(results, "dataset", "backbone").items():
        by_method = {key[0]: chosen for key, chosen in _grouped(group, "method").items()}
        for metric in metrics:
            rivals = {m: r for m, r in by_method.items() if m != "unkd"}
            tests = paired_tests(by_method["unkd"], rivals, metric)["p_holm"]
            for method, chosen in by_method.items():
                row, column = (dataset, NAMES[method]), (NAMES[backbone], metric)
                mark = f" {MARK}" if tests.get(method, 1) < LEVEL else ""
                cells.setdefault((*column, "ours"), {})[row] = mean_std_of(
                    pd.Series([r.metrics[metric] for r in chosen])) + mark
                key = (PAPERS.get(dataset), {"none": "student"}.get(method, method.replace("-", "_")))
                name = f"{ {'mf': 'bprmf'}.get(backbone, backbone)}_{column_of[metric]}"
                if key in paper.index:
                    cells.setdefault((*column, "published"), {})[row] = f"{paper.loc[key, name]:.4f}"
    rows = dict.fromkeys((r.run.dataset, NAMES[r.run.method]) for r in results)
    return pd.DataFrame(cells).loc[list(rows)].fillna("").rename_axis(["dataset", "method"])


def _grouped(results: list[Result], *names: str) -> dict[tuple, list[Result]]:
    """Results by these fields of their runs, in the order first met."""
    groups = {}
    for result in results:
        groups.setdefault(tuple(getattr(result.run, name) for name in names), []).append(result)
    return groups


def save_table(table: pd.DataFrame, name: str, scale: str, results: list[Result], note: str = "") -> pd.DataFrame:
    """Write NAME.csv, .md and .tex, the latter two with the note underneath, and NAME.provenance.json, and return the
    table for display.

    Raises ValueError where the results do not belong together (see provenance.py); then nothing is written.
    """
    path = folder(scale) / name
    write_provenance(path.with_name(f"{name}.provenance.json"), results)
    flat = table.reset_index() if table.index.names[0] else table
    flat.columns = [" ".join(filter(None, c)) if isinstance(c, tuple) else c for c in flat.columns]
    flat.to_csv(path.with_name(f"{name}.csv"), index=False)
    path.with_name(f"{name}.md").write_text(flat.to_markdown(index=False, disable_numparse=True) + "\n"
                                            + (f"\n{note}\n" if note else ""))
    path.with_name(f"{name}.tex").write_text(_latex(flat) + (_escape(note) + "\n" if note else ""))
    return table


def _latex(table: pd.DataFrame) -> str:
    return table.map(lambda cell: _escape(str(cell))).rename(columns=_escape).to_latex(index=False, escape=False)


def _escape(text: str) -> str:
    for symbol, latex in (("%", r"\%"), ("_", r"\_"), ("±", r"$\pm$"), ("×", r"$\times$"), (MARK, r"$^\dagger$"),
                          ("<", "$<$"), ("λ", r"$\lambda$"), ("μ", r"$\mu$"), ("α", r"$\alpha$"), ("γ", r"$\gamma$"),
                          ("τ", r"$\tau$")):
        text = text.replace(symbol, latex)
    return text
