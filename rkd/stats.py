"""How certain a difference between two methods is: one standard for every claim.

The difference of a metric with seed s and for user u is taken as μ + a_s + b_u + e_su. How far its mean may be off is
what a crossed bootstrap over seeds and users (Owen, The pigeonhole bootstrap, 2007) asks; here in closed form, which is
where its resamples tend to, less what they count twice, with Student's t for the seeds. These are few and tell their
own spread badly, so that claims of one table on one metric share theirs in part (as in Smyth, Linear models and
empirical Bayes methods, 2004). A claim speaks of further seeds and users like these; where there is one seed, of
further users of these very models.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import ndtr, stdtr, stdtrit

from .store import Result

LEVEL = 0.05  # the chance that a table of claims, all of them untrue, holds any verdict but "undecided"
POWER = 0.8  # about the chance to see the smallest effect that a comparison "could have seen"
NORMAL = np.linspace(-8, 8, 321)  # a standard normal variable's values, to integrate over, and their weights
DENSITY = np.exp(-NORMAL**2 / 2) / np.exp(-NORMAL**2 / 2).sum()


def mean_std(values: pd.Series) -> str:
    """ "mean ± std" over seeds; the standard deviation is a sample's (n − 1), and left out where there is one seed."""
    spread = "" if len(values) == 1 else f" ± {values.std():.4f}"
    return f"{values.mean():.4f}{spread}"


def interval(values: pd.Series) -> pd.Series:
    """"mean", "low" and "high": the 95 % interval of the mean over seeds, by Student's t; NaN where there is one."""
    mean, n = values.mean(), len(values)
    reach = -stdtrit(n - 1, LEVEL / 2) * values.std() / n**0.5 if n > 1 else np.nan
    return pd.Series({"mean": mean, "low": mean - reach, "high": mean + reach})


@dataclass(frozen=True)
class Comparison:
    """A mean difference, and the two independent parts of its error: the seeds' and, with these seeds, the users'."""

    difference: float
    seed_error: float  # standard errors
    user_error: float
    seeds: int
    users: int
    freedom: float  # the degrees of freedom of seed_error

    def beyond(self, x: float) -> float:
        """The chance that the mean is further than x from the true difference: of |seed_error · T + user_error · T'|,
        T of ``freedom`` and T' of users − 1 degrees of freedom. NaN where nothing tells the error."""
        small, large = sorted(self._parts)
        if not large[0]:
            return np.nan
        shift = small[0] * _quantiles(small[1])
        return float((stdtr(large[1], (shift - x) / large[0]) + stdtr(large[1], (-shift - x) / large[0])) @ DENSITY)

    @property
    def _parts(self) -> list[tuple[float, int]]:
        """(standard error, degrees of freedom) of seeds and users."""
        return [(self.seed_error, max(self.freedom, 1)), (self.user_error, max(self.users - 1, 1))]

    @property
    def p(self) -> float:
        """The p-value of no difference."""
        return self.beyond(abs(self.difference))

    def reach(self, level: float = LEVEL) -> float:
        """Half the width of the 1 − level interval of the difference."""
        most = sum(error * -stdtrit(freedom, level / 4) for error, freedom in self._parts)
        return brentq(lambda x: self.beyond(x) - level, 0, most, rtol=1e-6) if most else np.nan

    def smallest(self, level: float = LEVEL) -> float:
        """The smallest true difference which this design sees at this level with a chance of about POWER: so far from
        0 that the mean falls short of ``reach`` as seldom as that."""
        return self.reach(level) + self.reach(2 * (1 - POWER))


@cache
def _quantiles(freedom: float) -> np.ndarray:
    """Student's t where its distribution function is as the normal's at NORMAL."""
    return stdtrit(freedom, ndtr(NORMAL))


def compared(differences: np.ndarray) -> Comparison:
    """The mean of differences [seeds, users] (one column: of a metric of all lists together) and its errors.

    The seeds' means, each with all of the users, vary by a_s and e_su: the seeds' error, of seeds − 1 degrees of
    freedom. The users' means vary by b_u and e_su, the latter of which the seeds' error holds already.
    """
    n_seeds, n_users = differences.shape
    by_seed, by_user, mean = differences.mean(1), differences.mean(0), differences.mean()
    rest = differences - by_seed[:, None] - by_user + mean
    seeds, users = _variance(by_seed) / n_seeds, _variance(by_user) / n_users
    if n_seeds > 1 and n_users > 1:
        users = max(users - (rest**2).sum() / ((n_seeds - 1) * (n_users - 1) * n_seeds * n_users), 0.0)
    return Comparison(mean, seeds**0.5, users**0.5, n_seeds, n_users, n_seeds - 1)


def moderated(found: list[Comparison]) -> list[Comparison]:
    """Comparisons of one metric with as many seeds each, whose seeds' errors draw on one another: each squared error
    becomes the mean of its own and of the mean of all, which has twice the degrees of freedom (two of them: 1.5 times).

    Were the seeds' spreads all equal, the mean of all would be the better estimate; so different as methods are, half
    of each is kept. Simulated, false alarms stay below the level with spreads that differ threefold."""
    squares = {one.seed_error**2 for one in found}  # each once, claimed one way or both
    weight = min(1.0, (len(squares) - 1) / 2)
    of_all = sum(squares) / len(squares)
    return [replace(one, seed_error=((one.seed_error**2 + weight * of_all) / (1 + weight)) ** 0.5,
                    freedom=one.freedom * (1 + weight)) for one in found]


def _variance(values: np.ndarray) -> float:
    return values.var(ddof=1) if len(values) > 1 else 0.0


def by_seed(results: list[Result], metric: str) -> pd.DataFrame:
    """A test metric of one method: rows seeds, columns users, NaN where a user has nothing to be measured on; one
    column where the metric is of all lists together."""
    rows = {r.run.seed: r.by_user[metric] if metric in r.by_user else [r.metrics[metric]] for r in results}
    return pd.DataFrame({seed: np.asarray(values) for seed, values in rows.items()}).T


def differences(ours: list[Result], theirs: list[Result], metric: str) -> np.ndarray:
    """Ours − theirs, each list the seeds' results of one method: [seeds, users], of the seeds that both have and the
    users that are measured with all of them. Raises ValueError where the results are not of one split, share no seed,
    or no user is measured."""
    if len({r.provenance["fingerprint"] for r in (*ours, *theirs)}) != 1:
        raise ValueError("users can be compared within one data set and split only")
    mine, other = by_seed(ours, metric), by_seed(theirs, metric)
    seeds = mine.index.intersection(other.index)
    if not len(seeds):
        raise ValueError(f"no seed in common: {list(mine.index)} and {list(other.index)}")
    found = (mine.loc[seeds] - other.loc[seeds]).dropna(axis=1).to_numpy()
    if not found.size:
        raise ValueError(f"no user has a {metric} to compare")
    return found


def comparisons(found: Mapping[tuple[str, ...], np.ndarray]) -> dict[tuple[str, ...], Comparison]:
    """The comparison behind each of ``claims``, those of one metric and number of seeds moderated."""
    compared_by = {}  # metric (with what comes before it) and number of seeds → key → comparison
    for key, values in found.items():
        compared_by.setdefault((key[:-3], len(values)), {})[key] = compared(values)
    return {key: one for group in compared_by.values() for key, one in zip(group, moderated([*group.values()]))}


def claims(found: Mapping[tuple[str, ...], np.ndarray], names: tuple[str, ...]) -> pd.DataFrame:
    """What becomes of claims, a row each: key, whose last three words are (method, "above" or "below", method), such as
    ("recall@10", "UnKD", "above", "RD") → ``differences`` of the two. names: of the key's words.

    Columns "difference", "low" and "high" (its 95 % interval), "p", "p_holm" (Holm 1979, over all rows), "verdict":
    "holds", "fails" (it is certainly the other way) or "undecided", with ", one seed" where that is so; "smallest", the
    difference that could have been seen among so many claims (``Comparison.smallest``), "seeds" and "users" (1: of all
    lists together).
    """
    every = comparisons(found)
    rows = []
    for one in map(every.get, found):
        reach = one.reach()
        rows.append({"difference": one.difference, "low": one.difference - reach, "high": one.difference + reach,
                     "p": one.p, "smallest": one.smallest(LEVEL / len(found)), "seeds": one.seeds, "users": one.users})
    table = pd.DataFrame(rows, index=pd.MultiIndex.from_tuples(found, names=names))
    table.insert(4, "p_holm", holm(table["p"].fillna(1).to_numpy()))
    right = (table["difference"] > 0) == (table.index.get_level_values(-2) == "above")
    verdict = np.select([table["p_holm"] >= LEVEL, right], ["undecided", "holds"], "fails")
    table.insert(5, "verdict", verdict + np.where(table["seeds"] == 1, ", one seed", ""))
    return table


def certain(table: pd.DataFrame) -> set[tuple[str, ...]]:
    """The keys of those ``claims`` that hold or fail."""
    return set(table.index[~table["verdict"].str.startswith("undecided")])


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's correction of p-values [n]: the i-th smallest times n − i + 1, made monotone, at most 1."""
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    corrected = np.empty(len(p))
    corrected[order] = stepped
    return corrected


def verdicts(table: pd.DataFrame) -> str:
    """A line on each row of ``claims``: "unpopular/recall@10: UnKD above RRD: holds (+0.0123 [+0.0051, +0.0195],
    5 seeds × 943 users)", "…: undecided (+0.0010, could have seen 0.0080, 5 seeds × 943 users)". Data set and backbone
    are left out where all rows have the same."""
    same = [name for name in {"dataset", "backbone"} & {*table.index.names} if table.index.unique(name).size == 1]
    lines = []
    for (*where, ours, direction, theirs), row in table.droplevel(same).iterrows():
        evidence = f"{row['difference']:+.4f}"
        if not row["verdict"].startswith("undecided"):
            evidence += f" [{row['low']:+.4f}, {row['high']:+.4f}]"
        elif not np.isnan(row["smallest"]):
            evidence += f", could have seen {row['smallest']:.4f}"
        design = [f"{row[name]} {name}" for name in ("seeds", "users") if row[name] > 1]
        lines.append(": ".join([*([", ".join(where)] if where else []), f"{ours} {direction} {theirs}",
                                f"{row['verdict']} ({', '.join([evidence, ' × '.join(design)]).rstrip(', ')})"]))
    return "\n".join(lines)
