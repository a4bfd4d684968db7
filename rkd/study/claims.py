"""What the two papers claim, each as statements about a study of ours that a comparison can decide.

A claim holds where all of its statements do (scorecard.py). Where a paper gives no figure or no table is at hand, the
sentence is our reading of its text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log

from ..methods import label_of
from ..store import Result
from .papers import RIVALS, mkd, unkd
from .scales import Scale
from .study import Study

ACCURACY = ("recall@10", "ndcg@10")
POPULAR, TAIL = unkd.RECALLS["popular"], unkd.RECALLS["unpopular"]
OLDER = ("rd", "cd", "de", "rrd", "de-rrd", "htd", "unkd")  # rivals of MKD's time

# What is no metric but a number of each run: name → of a result
MEASURES: dict[str, Callable[[Result], float]] = {
    "log seconds per epoch": lambda r: log(r.seconds_per_epoch),
    "discordance": lambda r: mkd.kept(r)[mkd.AFTER["cosines"]],
    "effect of popularity": lambda r: r.effects["popularity"]}

TIMES = ("log seconds per epoch",)  # those that come out otherwise whenever a run is computed

# (label, "above" or "below", label, metric of both or metrics of each)
Statement = tuple[str, str, str, str | tuple[str, str]]


@dataclass(frozen=True)
class Claim:
    """name: for tables. paper, says: whose claim, in a sentence. study: of ours, which the notebook computes. of: the
    statements that it comes to, of that study computed."""

    name: str
    paper: str
    says: str
    notebook: str
    study: Callable[[Scale, Sequence[str]], Study]
    of: Callable[[Study], list[Statement]]


def above(ours: str, theirs: Sequence[str] | str, metrics: Sequence[str] | str = ACCURACY,
          word: str = "above") -> Callable[[Study], list[Statement]]:
    """The statements that a group is above (or below) each of others in each of several metrics."""
    others, measures = ([one] if isinstance(one, str) else one for one in (theirs, metrics))
    return lambda study: [(ours, word, other, metric) for metric in measures for other in others]


def on_both(ours: str, theirs: Sequence[str], metrics: Sequence[str] = ACCURACY) -> Callable:
    """The same on MF and, as far as they were run there, on LightGCN (notebook 7's labels)."""
    return lambda study: above(ours, theirs, metrics)(study) + above(
        f"LightGCN {ours}", [f"LightGCN {other}" for other in theirs if f"LightGCN {other}" in study.groups],
        metrics)(study)


def bias_of(method: str) -> Claim:
    name = label_of(method)
    return Claim(f"{name}'s bias", "UnKD", f"{name} raises Recall on popular items over the plain student's and lowers "
                 "it on unpopular ones (Table 1)", "01_popularity_bias", unkd.bias,
                 lambda study: [(method, "above", "none", POPULAR), (method, "below", "none", TAIL)])


def best_groups(study: Study) -> list[Statement]:
    """K = 4 or 5, whichever does better on validation data, against every other."""
    def valid(label):
        return sum(r.valid_metrics["ndcg@10"] for r in study[label])

    best = max(("K = 4", "K = 5"), key=valid)
    others = [f"K = {k}" for k in unkd.GROUPS if k not in (1, 4, 5)]
    return above(best, others, "recall@10")(study)


def soft_mix(study: Study) -> list[Statement]:
    soft = "NKD" if dict(study.groups["NKD"][0].settings)["mix"] == "soft" else "the other mix"
    return above(soft, "no mixing")(study)


def both_models(study: Study) -> list[Statement]:
    """SLD as tuned, or with γ = 0.75 where it was tuned to the teacher alone, against γ = 1."""
    tuned = dict(study.groups["sld"][0].settings)["gamma"]
    return above("sld" if tuned < 1 else "γ = 0.75", "γ = 1.0")(study)


def swept(setting: str, best: float) -> Callable[[Study], list[Statement]]:
    """A setting's value against all others that were tried; nothing where it was not among them."""
    def of(study):
        labels = [label for label in study.groups if label.startswith(f"{setting} = ")]
        ours = f"{setting} = {best}"
        return above(ours, [label for label in labels if label != ours])(study) if ours in labels else []

    return of


def other_weights(study: Study) -> list[Statement]:
    return [(f"{part} × {factor}", "above", "none", "ndcg@10")
            for part in mkd.PARTS for factor in mkd.FACTORS if factor != 1]


def layer(part: str) -> Claim:
    """All three parts against the other two, on LightGCN, where input and intermediate layer are not the same."""
    label_of_parts = {frozenset(on): label for label, on in mkd.COMBINATIONS.items()}
    every, rest = (label_of_parts[frozenset(mkd.PARTS) - without] for without in (frozenset(), {part}))
    return Claim(f"{part.upper()} in MKD", "MKD", f"{part.upper()} adds to what the other two layers' distillations "
                 "give", "07_mkd", mkd.mkd, above(f"LightGCN {every}", f"LightGCN {rest}"))


OTHERS = ("none", "rd", "cd", "de-rrd", "htd")
CLAIMS = (
    *map(bias_of, unkd.BASELINES[2:]),
    Claim("teacher's lists", "UnKD", "the teacher's lists hold fewer unpopular items than its users' held-out ones "
          "(Figure 1)", "01_popularity_bias", unkd.bias,
          above("teacher", "teacher", [("aplt@10", "held_out/aplt")], "below")),
    Claim("UnKD overall", "UnKD", "UnKD is the best student overall (Table 3)", "02_unkd", unkd.comparison,
          above("unkd", OTHERS)),
    Claim("UnKD on the tail", "UnKD", "UnKD is the best student on unpopular items (Table 4, Figure 5)", "02_unkd",
          unkd.comparison, above("unkd", OTHERS, TAIL)),
    Claim("UnKD's cause", "UnKD", "less of popularity stands in UnKD's scores than in other distillations' (synthetic "
          "worlds of ours)", "02_unkd", unkd.comparison_in_worlds,
          above("unkd × 1", [f"{method} × 1" for method in OTHERS[1:]], "effect of popularity", "below")),
    Claim("K of 4 or 5", "UnKD", "four or five groups are best (Figure 6)", "03_unkd_ablations", unkd.ablations,
          best_groups),
    Claim("debiased teachers", "UnKD", "UnKD is better than distilling from a debiased teacher, overall and on "
          "unpopular items (Table 4)", "03_unkd_ablations", unkd.ablations,
          above("unkd", ("pd-cd", "pd-htd"), ("recall@10", TAIL))),
    Claim("NKD", "MKD", "NKD improves the student", "04_nkd", mkd.nkd, lambda study: [
        *above("NKD", "none")(study), *above("LightGCN, NKD", "LightGCN, Student")(study)]),
    Claim("NKD's mixing", "MKD", "soft mixing is better than none", "04_nkd", mkd.nkd, soft_mix),
    Claim("NKD's N", "MKD", "five neighbours are best", "04_nkd", mkd.nkd, swept("N", 5)),
    Claim("NKD's α", "MKD", "α = 0.5 is best", "04_nkd", mkd.nkd, swept("α", 0.5)),
    Claim("CPD", "MKD", "CPD improves the student", "05_cpd", mkd.cpd, above("CPD (both)", "none")),
    Claim("CPD's pairs", "MKD", "the pair-wise regulariser improves a projection's student", "05_cpd", mkd.cpd,
          above("pair-wise only", "neither")),
    Claim("CPD's lists", "MKD", "the list-wise regulariser improves a projection's student", "05_cpd", mkd.cpd,
          above("list-wise only", "neither")),
    Claim("CPD's both", "MKD", "both regularisers are better than either", "05_cpd", mkd.cpd,
          above("CPD (both)", ("pair-wise only", "list-wise only"))),
    Claim("CPD's draws", "MKD", "lists drawn by rank are better than random ones", "05_cpd", mkd.cpd,
          above("CPD (both)", "random lists")),
    Claim("consistency", "MKD", "the regularisers keep the projector from turning preferences round", "05_cpd", mkd.cpd,
          above("CPD (both)", "neither", "discordance", "below")),
    Claim("SLD's labels", "MKD", "soft labels are better than hard ones", "06_sld", mkd.sld,
          above("sld", "rrd")),
    Claim("SLD's two models", "MKD", "labels of teacher and student are better than the teacher's alone", "06_sld",
          mkd.sld, both_models),
    *map(layer, mkd.PARTS),
    Claim("MKD against rivals", "MKD", "MKD is better than every distillation before it", "07_mkd", mkd.mkd,
          on_both("mkd", OLDER)),
    Claim("MKD against newer rivals", "ours", "and than those that came later", "07_mkd", mkd.mkd,
          above("mkd", [rival for rival in RIVALS if rival not in OLDER])),
    Claim("MKD against its teacher", "MKD", "MKD's student beats its teacher with a tenth of the size", "07_mkd",
          mkd.mkd, on_both("mkd", ["teacher"])),
    Claim("MKD's sensitivity", "MKD", "with any one weight four times as large or small, MKD still improves the "
          "student", "07_mkd", mkd.mkd, other_weights),
    Claim("MKD's cost", "ours", "an epoch of MKD takes no longer than one of DE-RRD or HTD, which distil two layers",
          "07_mkd", mkd.mkd, above("mkd", ("de-rrd", "htd"), "log seconds per epoch", "below")),
)

STUDIES = tuple(dict.fromkeys(claim.study for claim in CLAIMS))
