"""DE-RRD: what the teacher's layers know and how it ranks, both at once.  (Kang et al., CIKM 2020)"""

from ..limits import FROM_0
from .base import Sum
from .de import DE
from .rrd import RRD


class DERRD(Sum):
    """L = rrd_weight · L_RRD + de_weight · L_DE; the other settings: see RRD and DE."""

    label = "DE-RRD"
    source = "Kang et al., CIKM 2020"
    search = {"de_weight": (1e-3, 1e-1), "temperature": [10.0, 20.0, 30.0]}
    differs = (*RRD.differs, *DE.differs)
    limits = {"rrd_weight": FROM_0, "de_weight": FROM_0}
    parts = {"rrd_weight": RRD, "de_weight": DE}

    rrd_weight: float = 1.0
    de_weight: float = 0.01
