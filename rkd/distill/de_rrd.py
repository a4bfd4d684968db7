"""DE-RRD: what the teacher's layers know and how it ranks, both at once.  (Kang et al., CIKM 2020)"""

from .base import Distiller
from .de import DE
from .rrd import RRD


class DERRD(Distiller):
    """L = L_RRD + de_weight · L_DE; the other settings are those of RRD and DE, which see.

    The paper weights the two apart; here ``weight`` is of both and ``de_weight`` of DE within.
    """

    def __init__(self, teacher, split, generator, *, de_weight: float = 0.01, k: int = 20, n_uninteresting: int = 20,
                 temperature: float = 10.0, pool: int = 100, sigmoid: bool = False, n_experts: int = 5,
                 anneal: int = 100, n_pairs: int = 128):
        super().__init__(teacher, split, generator)
        self.de_weight = de_weight
        self.rrd = RRD(teacher, split, generator, k=k, n_uninteresting=n_uninteresting, temperature=temperature,
                       pool=pool, sigmoid=sigmoid)
        self.de = DE(teacher, split, generator, n_experts=n_experts, anneal=anneal, n_pairs=n_pairs)

    def parameters(self, student):
        return self.de.parameters(student)

    def begin_epoch(self, student, epoch):
        self.rrd.begin_epoch(student, epoch)
        self.de.begin_epoch(student, epoch)

    def loss(self, student, batch):
        return self.rrd.loss(student, batch) + self.de_weight * self.de.loss(student, batch)
