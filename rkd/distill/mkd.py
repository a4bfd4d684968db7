"""MKD: every layer distils, input, intermediate and output.        (Zhu & Zhang, arXiv 2311.04549)"""

from itertools import chain

from .base import Distiller
from .cpd import CPD
from .nkd import NKD
from .sld import SLD, StratifiedSLD


class MKD(Distiller):
    """L = nkd · L_NKD + cpd · L_CPD + sld · L_SLD; the three files say what each is.

    A part of weight 0 is left out and costs nothing. The paper's λ₁, λ₂, λ₃ are these times ``weight``. The other
    settings are those of the parts; what is not named here is as they have it.
    """

    def __init__(self, teacher, split, generator, *, nkd: float = 0.5, cpd: float = 0.5, sld: float = 1.0,
                 mix: str = "soft", alpha: float = 0.5, pairwise: float = 0.3, listwise: float = 1.0, gamma: float = 0.75,
                 tau: float = 0.5, temperature: float = 10.0):
        super().__init__(teacher, split, generator)
        if min(nkd, cpd, sld) < 0 or nkd + cpd + sld == 0:
            raise ValueError(f"nkd, cpd and sld must be 0 or more, one of them above; not {nkd}, {cpd} and {sld}")
        parts = ((nkd, lambda: NKD(teacher, split, generator, mix=mix, alpha=alpha)),
                 (cpd, lambda: CPD(teacher, split, generator, pairwise=pairwise, listwise=listwise)),
                 (sld, lambda: self.output_layer(teacher, split, generator, gamma=gamma, tau=tau, temperature=temperature)))
        self.parts = [(weight, make()) for weight, make in parts if weight]

    output_layer = SLD

    def parameters(self, student):
        return chain(*(part.parameters(student) for _, part in self.parts))

    def begin_epoch(self, student, epoch):
        for _, part in self.parts:
            part.begin_epoch(student, epoch)

    def loss(self, student, batch):
        return sum(weight * part.loss(student, batch) for weight, part in self.parts)

    def report(self, student):
        return {name: value for _, part in self.parts for name, value in part.report(student).items()}


class StratifiedMKD(MKD):
    """MKD whose soft labels are drawn within popularity groups, as UnKD draws its pairs (StratifiedSLD). Ours."""

    output_layer = StratifiedSLD
