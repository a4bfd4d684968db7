"""MKD: every layer distils, input, intermediate and output.        (Zhu & Zhang, arXiv 2311.04549v1)"""

from ..limits import FROM_0
from .base import Sum
from .cpd import CPD
from .nkd import NKD
from .sld import SLD, StratifiedSLD


class MKD(Sum):
    """L = nkd · L_NKD + cpd · L_CPD + sld · L_SLD; the three files say what each is.

    The paper's λ₁, λ₂, λ₃ are these times ``weight``. On LightGCN both NKD and CPD are of the propagated embeddings, as
    in the released code of each; layer = "input" makes NKD the input layer's, as in the paper.
    """

    label = "MKD"
    source = "Zhu & Zhang, arXiv 2311.04549"
    search = {"nkd": (0.1, 1.0), "cpd": (0.1, 1.0), "gamma": [0.5, 0.75, 1.0], "sld_tau": (0.25, 1.0)}
    differs = (*NKD.differs, *CPD.differs, *SLD.differs)
    limits = {"nkd": FROM_0, "cpd": FROM_0, "sld": FROM_0}
    parts = {"nkd": NKD, "cpd": CPD, "sld": SLD}

    nkd: float = 0.5
    cpd: float = 0.5
    sld: float = 1.0


class StratifiedMKD(MKD):
    """MKD whose soft labels are drawn within popularity groups, as UnKD draws its pairs (StratifiedSLD)."""

    label = "Stratified MKD"
    source = "ours"
    parts = MKD.parts | {"sld": StratifiedSLD}
