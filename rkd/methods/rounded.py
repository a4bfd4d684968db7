"""Students that know in training that they will be rounded."""

from torch import Tensor, nn

from ..kernels import gradient
from ..models import MF
from ..rounding import BITS, codes_at, round_rows, unround
from .base import Distiller
from .sld import SLD


class StraightThrough(Distiller):
    """Put before a method, as in ``class Mine(StraightThrough, UnKD)``: its loss is of the student's embeddings,
    rounded to ``bits`` bits as compress.quantize rounds them, and its gradient goes to the embeddings themselves.

    The rows' scales are chosen once an epoch. BPR, and the choice of the epoch, are of the student as it is: round it
    afterwards.                          (Bengio, Léonard and Courville, 2013; while training: Jacob et al., CVPR 2018)
    """

    limits = {"bits": (f"from {BITS[0]} to {BITS[-1]}", lambda x: x in BITS)}

    bits: int = 4

    def begin_epoch(self, student, epoch):
        super().begin_epoch(student, epoch)
        self.scales = round_rows(student.output.detach(), self.bits)[1]

    def loss(self, student, batch):
        return super().loss(AsRounded(student, self.scales, self.bits), batch)


class AsRounded(MF):
    """A student as it scores when rounded; gradients add to its own embeddings'."""

    def __init__(self, student: MF, scales: Tensor, bits: int):
        nn.Module.__init__(self)
        self.n_users, self.n_items, self.dim, self.table = student.n_users, student.n_items, student.dim, student.table
        codes = codes_at(student.output.detach(), scales, bits)
        self._rounded = unround(codes, scales, bits).requires_grad_()
        self._rounded.grad = gradient(student.output)  # the same memory

    @property
    def output(self):
        return self._rounded


class RoundedSLD(StraightThrough, SLD):
    """SLD of a student that will be rounded (StraightThrough)."""

    label = "SLD, rounded in training"
    tuned_as = SLD
