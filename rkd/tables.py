"""Results → tidy rows → the papers' tables, as CSV, Markdown and LaTeX, each with its provenance beside it."""

import os
from pathlib import Path

import pandas as pd

from .provenance import write_provenance
from .runs import Result

NAMES = {"none": "Student", "student": "Student", "teacher": "Teacher", "rd": "RD", "cd": "CD", "unkd": "UnKD"}
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
    """Rows dataset and metric, columns method: "mean ± std" over seeds, of a tidy frame, in the order first met.

    The standard deviation is that of a sample (n − 1), and left out where there is one seed.
    """
    def write(values):
        spread = "" if len(values) == 1 else f" ± {values.std():.4f}"
        return f"{values.mean():.4f}{spread}"

    chosen = frame[frame["metric"].isin(metrics)]
    cells = chosen.groupby(["dataset", "metric", "method"], sort=False)["value"].apply(write).unstack("method")
    order = [(d, m) for d in chosen["dataset"].unique() for m in metrics]
    return cells.loc[order, list(chosen["method"].unique())].rename(columns=NAMES).rename_axis(columns=None)


def means(frame: pd.DataFrame, metric: str) -> pd.Series:
    """Mean over seeds of one metric, by dataset and method."""
    return frame[frame["metric"] == metric].groupby(["dataset", "method"], sort=False)["value"].mean()


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
                rows[dataset, group, "published"] = paper.loc[key].rename(NAMES)[ours.index].map("{:.4f}".format)
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


def verdict(claim: str, larger: pd.Series, smaller: pd.Series) -> str:
    """One line that says whether ``larger`` (its mean over seeds) is above ``smaller``: yes, no, or within the spread
    of the seeds, which is where the difference of means is below twice its standard error. One seed has no spread."""
    difference = larger.mean() - smaller.mean()
    error = 0.0 if len(larger) == 1 else (larger.var() / len(larger) + smaller.var() / len(smaller)) ** 0.5
    answer = "within the spread of the seeds" if abs(difference) < 2 * error else "yes" if difference > 0 else "no"
    return f"{claim}: {answer}"


def save_table(table: pd.DataFrame, name: str, scale: str, results: list[Result]) -> pd.DataFrame:
    """Write NAME.csv, .md and .tex, and NAME.provenance.json, and return the table for display.

    Raises ValueError where the results do not belong together (see provenance.py); then nothing is written.
    """
    path = folder(scale) / name
    write_provenance(path.with_name(f"{name}.provenance.json"), results)
    flat = table.reset_index() if table.index.names[0] else table
    flat.to_csv(path.with_name(f"{name}.csv"), index=False)
    path.with_name(f"{name}.md").write_text(flat.to_markdown(index=False, disable_numparse=True) + "\n")
    path.with_name(f"{name}.tex").write_text(_latex(flat))
    return table


def _latex(table: pd.DataFrame) -> str:
    escaped = table.map(lambda cell: str(cell).replace("±", r"$\pm$"))
    return escaped.to_latex(index=False, escape=False).replace("_", r"\_").replace("%", r"\%").replace("×", r"$\times$")
