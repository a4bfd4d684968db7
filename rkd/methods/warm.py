"""Students that begin as their teacher, truncated to their size."""

import torch
from torch import Tensor

from ..given import Given
from ..low_rank import factors_of, rotate, truncate
from ..models import MF, Model
from .base import Distiller
from .sld import SLD
from .unkd import UnKD


def begin(student: MF, teacher) -> MF:
    """Give a student the best start of its size that a teacher has, and return it: the teacher truncated to d
    dimensions, and rotated, so that the student can be rounded.

    For rkd.train, and for the methods below. LightGCN, which spreads its embeddings first, begins as the teacher's
    embeddings before that, along the d directions in which the scored ones lie most: one map for both sides goes
    through the propagation, which is linear. Raises ValueError for a teacher without factors, or of a smaller size.
    """
    start = rotate(truncate(teacher, student.dim), student.seed).factors()
    if student.output is not student.table:
        teacher = teacher if isinstance(teacher, Model) else Given(teacher)
        scored, inputs = (torch.cat(pair).float() for pair in (teacher.factors(), teacher.inputs()))
        start = inputs @ torch.linalg.svd(scored, full_matrices=False).Vh[:student.dim].T,
    with torch.no_grad():
        student.table.copy_(torch.cat(start))
    student.end_step()  # what was propagated before is void
    return student


class WarmStart(Distiller):
    """Put before a method, as in ``class Mine(WarmStart, UnKD)``: the student begins as the truncated teacher. Raises
    ValueError for a teacher without embeddings, or of a smaller size than the student."""

    def parameters(self, student):
        embeddings_of(self)
        begin(student, self.teacher)
        return super().parameters(student)


def embeddings_of(method: Distiller) -> tuple[Tensor, Tensor]:
    """The embeddings of a method's teacher, of users and of items. Raises ValueError where it has none."""
    try:
        return factors_of(method.teacher)
    except ValueError as error:
        raise ValueError(f"{method.label} learns from a teacher's embeddings, and this teacher has none; RD, CD, RRD, "
                         "UnKD and SLD learn from lists of scores") from error


class WarmSLD(WarmStart, SLD):
    """SLD of a student that begins as the truncated teacher (WarmStart)."""

    label = "SLD, warm start"
    tuned_as = SLD


class WarmUnKD(WarmStart, UnKD):
    """UnKD of a student that begins as the truncated teacher (WarmStart)."""

    label = "UnKD, warm start"
    tuned_as = UnKD
