"""The methods by name, and ``distill``. Your own: subclass Distiller in a file here, and give it a name in METHODS."""

import inspect

from .base import Distiller
from .cd import CD
from .cpd import CPD
from .de import DE
from .de_rrd import DERRD
from .htd import HTD
from .mkd import MKD, StratifiedMKD
from .nkd import NKD
from .pd import PDCD, PDHTD
from .rd import RD
from .rrd import RRD
from .sld import SLD, StratifiedSLD
from .unkd import UnKD

METHODS: dict[str, type[Distiller]] = {"rd": RD, "cd": CD, "de": DE, "rrd": RRD, "de-rrd": DERRD, "htd": HTD,
                                       "pd-cd": PDCD, "pd-htd": PDHTD, "unkd": UnKD, "nkd": NKD, "cpd": CPD, "sld": SLD,
                                       "mkd": MKD, "stratified-sld": StratifiedSLD, "stratified-mkd": StratifiedMKD}

# What is trained without a teacher, and its own settings: a teacher, a debiased one (PD), and the plain student.
TEACHERS = ("teacher", "pd")  # of these, the ones that students learn from
ALONE: dict[str, dict] = {"teacher": {}, "pd": {"gamma": 0.1}, "none": {}}


def settings_of(method: str) -> dict:
    """A method's own settings and their defaults: the keyword-only arguments of its constructor.

    Raises ValueError for a method that is neither in METHODS nor in ALONE.
    """
    if method in ALONE:
        return dict(ALONE[method])
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}: choose from {', '.join([*ALONE, *METHODS])}")
    parameters = inspect.signature(METHODS[method].__init__).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def check_settings(method: str, settings: dict) -> None:
    """Raises ValueError for settings the method does not have, or of another type than the default."""
    known = settings_of(method)
    for name, value in settings.items():
        if name not in known:
            has = ", ".join(f"{k}={v!r}" for k, v in known.items()) or "no settings of its own"
            raise ValueError(f"{method} has no setting {name!r}; it has {has}")
        wanted = type(known[name])
        if not (type(value) is wanted or (wanted is float and type(value) is int)):
            raise ValueError(f"{method}'s {name} is a {wanted.__name__} such as {known[name]!r}, not {value!r}")
