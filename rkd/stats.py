"""How certain a difference is: over seeds, and over users."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.stats import ttest_rel

from .store import Result

LEVEL = 0.05  # of the tests below


def mean_std(values: pd.Series) -> str:
    """ "mean ± std" over seeds; the standard deviation is a sample's (n − 1), and left out where there is one seed."""
    spread = "" if len(values) == 1 else f" ± {values.std():.4f}"
    return f"{values.mean():.4f}{spread}"


def verdict(claim: str, larger: pd.Series, smaller: pd.Series) -> str:
    """One line that says whether ``larger`` (its mean over seeds) is above ``smaller``: yes, no, or within the spread
    of the seeds, which is where the difference of means is below twice its standard error. One seed has no spread."""
    difference = larger.mean() - smaller.mean()
    error = 0.0 if len(larger) == 1 else (larger.var() / len(larger) + smaller.var() / len(smaller)) ** 0.5
    answer = "within the spread of the seeds" if abs(difference) < 2 * error else "yes" if difference > 0 else "no"
    return f"{claim}: {answer}"


def by_user(results: list[Result], metric: str) -> np.ndarray:
    """One test metric of each user, averaged over the results (the seeds of one method): [n users]; NaN where a user
    has nothing to be measured on. Raises ValueError where the results are not of one split."""
    if len({r.provenance["fingerprint"] for r in results}) != 1:
        raise ValueError("users can be compared within one data set and split only")
    return np.mean([r.by_user[metric].numpy() for r in results], axis=0)


def paired_tests(ours: list[Result], others: Mapping[str, list[Result]], metric: str = "recall@10") -> pd.DataFrame:
    """Is our method's metric another than each other method's? Paired t-tests over users, Holm-corrected.

    ours and others' lists hold the seeds' results of one method each. Returns a row per other method: "difference"
    (ours − the other's, mean over users), "low" and "high" (its 95 % interval), "p", "p_holm" (Holm 1979: the chance of
    any false alarm in the table stays below the level).

    The test takes the models as given, trained with these seeds on this split, and asks about further users like these.
    """
    mine = by_user(ours, metric)
    rows = {}
    for name, results in others.items():
        theirs = by_user(results, metric)
        both = ~np.isnan(mine) & ~np.isnan(theirs)
        test = ttest_rel(mine[both], theirs[both])
        low, high = test.confidence_interval(1 - LEVEL)
        rows[name] = {"difference": np.mean(mine[both] - theirs[both]), "low": low, "high": high, "p": test.pvalue}
    table = pd.DataFrame(rows).T
    table["p_holm"] = holm(table["p"].to_numpy())
    return table


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's correction of p-values [n]: the i-th smallest times n − i + 1, made monotone, at most 1."""
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    corrected = np.empty(len(p))
    corrected[order] = stepped
    return corrected


def decided(claim: str, test: pd.Series) -> str:
    """One line on a row of ``paired_tests``: is ours above? yes, no (certainly below), or undecided."""
    answer = "undecided" if not test["p_holm"] < LEVEL else "yes" if test["difference"] > 0 else "no"
    return f"{claim}: {answer}"
