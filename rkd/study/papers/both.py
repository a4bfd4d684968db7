"""UnKD and MKD under one protocol, UnKD's, and both ideas at once: the study of neither paper."""

from collections.abc import Sequence

from ..scales import Scale
from ..study import Study
from . import RIVALS

COMPARED = ("teacher", "none", "rd", "cd", "de-rrd", "htd", *RIVALS, "unkd", "nkd", "cpd", "sld", "mkd",
            "stratified-sld", "stratified-mkd")
TAIL = ("unkd", "mkd", "stratified-sld", "stratified-mkd")  # with their second choice as well
STRATA, TAUS = range(1, 6), (0.5, 1.0, 2.0)


def head_to_head(scale: Scale, datasets: Sequence[str]) -> Study:
    """Notebook 8: every method as tuned, second choices, strata and temperatures."""
    def few(method, **of):
        return scale.runs(datasets[0], [method], few=True, **of)

    groups = {method: scale.runs(datasets[0], [method]) for method in COMPARED}
    groups |= {f"{method}, tail": few(method, choice="tail") for method in TAIL}
    groups |= {f"K = {k}": few("stratified-sld", settings={"groups": k}) for k in STRATA}
    return Study(groups | {f"τ = {tau}": few("sld", settings={"tau": tau}) for tau in TAUS})
