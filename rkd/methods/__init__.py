"""One file a method; METHODS is the only list of them. Your own: a subclass, given wherever a name is taken."""

from .alone import Alone, DebiasedTeacher, Student, Teacher
from .base import Distiller, Method, OnEntities, OnLists, Sum
from .cd import CD
from .cpd import CPD
from .dcd import DCD
from .de import DE
from .de_rrd import DERRD
from .freqd import FreqD
from .from_ease import SLDFromEASE
from .from_rounded import UnKDFromRounded
from .htd import HTD
from .ir_rrd import IRRRD
from .mkd import MKD, StratifiedMKD
from .nkd import NKD
from .objectives import CosineStudent, SoftmaxStudent
from .pd import PDCD, PDHTD
from .rce_kd import RCEKD
from .rd import RD
from .rounded import RoundedSLD, StraightThrough
from .rrd import RRD, RRDTop
from .sld import SLD, StratifiedSLD
from .unkd import UnKD
from .warm import WarmSLD, WarmStart, WarmUnKD

METHODS: dict[str, type[Method]] = {
    "teacher": Teacher, "pd": DebiasedTeacher, "none": Student, "softmax": SoftmaxStudent, "cosine": CosineStudent,
    "rd": RD, "cd": CD, "de": DE, "rrd": RRD, "rrd-top": RRDTop, "de-rrd": DERRD, "htd": HTD, "pd-cd": PDCD,
    "pd-htd": PDHTD, "unkd": UnKD, "nkd": NKD, "cpd": CPD, "sld": SLD, "mkd": MKD, "stratified-sld": StratifiedSLD,
    "stratified-mkd": StratifiedMKD, "rce-kd": RCEKD, "dcd": DCD, "ir-rrd": IRRRD, "freqd": FreqD,
    "sld-warm": WarmSLD, "sld-rounded": RoundedSLD, "sld-ease": SLDFromEASE, "unkd-warm": WarmUnKD,
    "unkd-from-rounded": UnKDFromRounded}


def method_of(method: str | type[Method]) -> type[Method]:
    """The class of a method given by name or as a class. Raises ValueError for an unknown name, TypeError for a class
    that is no method."""
    if isinstance(method, str):
        if method not in METHODS:
            raise ValueError(f"unknown method {method!r}: choose from {', '.join(METHODS)}, or give a class")
        return METHODS[method]
    if not (isinstance(method, type) and issubclass(method, (Distiller, Alone))):
        raise TypeError("a method is a name or a subclass of rkd.Distiller, rkd.OnLists or rkd.OnEntities, not "
                        f"{method!r}")
    return method


def name_of(method: str | type[Method]) -> str:
    """A method's name in METHODS, or its class's own."""
    found = method_of(method)
    return next((name for name, known in METHODS.items() if known is found), found.__name__)


def distillation(method: str | type[Method]) -> type[Distiller]:
    """``method_of``, and raises ValueError where it distils nothing."""
    found = method_of(method)
    if not issubclass(found, Distiller):
        names = ", ".join(name for name, known in METHODS.items() if issubclass(known, Distiller))
        raise ValueError(f"{method!r} is no distillation: choose from {names}")
    return found


def check_settings(method: str | type[Method], settings: dict) -> dict:
    """The settings as plain Python values. Raises ValueError as Method.check does."""
    return method_of(method).check(settings, name_of(method))


def label_of(method: str | type[Method]) -> str:
    """A method's name in tables; a name that is no method's stays as it is."""
    return method if isinstance(method, str) and method not in METHODS else method_of(method).label
