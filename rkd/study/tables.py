"""Tidy results as tables, and tables as files: CSV, Markdown and LaTeX, each with its provenance beside it."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from ..datasets import load, statistics
from ..methods import label_of
from ..records import source
from ..stats import mean_std as mean_std_of
from ..store import Result
from .provenance import write_provenance
from .reproduce import folder
from .study import MARK

PUBLISHED = Path(__file__).with_name("published")


def published(name: str) -> pd.DataFrame:
    """A paper's own table, such as "unkd_table1" (published/)."""
    return pd.read_csv(PUBLISHED / f"{name}.csv")


def facts(dataset: str) -> dict:
    """rkd.statistics of a data set, from records where results come from there."""
    records = source()
    return records.facts[dataset] if records else statistics(load(dataset))


def mean_std(frame: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """Rows dataset and metric, columns method: "mean ± std" over seeds, of a tidy frame, in the order first met."""
    chosen = frame[frame["metric"].isin(metrics)]
    cells = chosen.groupby(["dataset", "metric", "method"], sort=False)["value"].apply(mean_std_of).unstack("method")
    order = [(d, m) for d in chosen["dataset"].unique() for m in metrics]
    return cells.loc[order, list(chosen["method"].unique())].rename(columns=label_of).rename_axis(columns=None)


def save_table(table: pd.DataFrame, name: str, scale: str, results: Iterable[Result], note: str = "",
               divisions: bool = False) -> pd.DataFrame:
    """Write NAME.csv, .md and .tex, the latter two with the note underneath, and NAME.provenance.json, and return the
    table for display. divisions: as in provenance_of.

    Raises ValueError where the results do not belong together (see provenance.py); then nothing is written.
    """
    path = folder(scale) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_provenance(path.with_name(f"{name}.provenance.json"), list(results), divisions)
    flat = table.reset_index() if table.index.names[0] else table
    flat.columns = [" ".join(filter(None, c)) if isinstance(c, tuple) else c for c in flat.columns]
    flat.to_csv(path.with_name(f"{name}.csv"), index=False)
    markdown = flat.to_markdown(index=False, disable_numparse=True) + "\n" + (f"\n{note}\n" if note else "")
    path.with_name(f"{name}.md").write_text(markdown, encoding="utf-8")
    latex = _latex(flat) + (_escape(note) + "\n" if note else "")
    path.with_name(f"{name}.tex").write_text(latex, encoding="utf-8")
    return table


def _latex(table: pd.DataFrame) -> str:
    return table.map(lambda cell: _escape(str(cell))).rename(columns=_escape).to_latex(index=False, escape=False)


def _escape(text: str) -> str:
    for symbol, latex in (("%", r"\%"), ("_", r"\_"), ("±", r"$\pm$"), ("×", r"$\times$"), (MARK, r"$^\dagger$"),
                          ("<", "$<$"), ("λ", r"$\lambda$"), ("μ", r"$\mu$"), ("α", r"$\alpha$"), ("γ", r"$\gamma$"),
                          ("τ", r"$\tau$")):
        text = text.replace(symbol, latex)
    return text
