"""Students that begin as their teacher, truncated to their size."""

import torch

from ..given import Given
from ..low_rank import rotate, truncate
from ..models import MF, Model
from .base import Distiller
from .sld import SLD


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
        try:
            begin(student, self.teacher)
        except ValueError as error:
            if "embeddings" not in str(error):
                raise
            raise ValueError(f"{self.label} learns from a teacher's embeddings, and this teacher has none; RD, CD, "
                             "RRD, UnKD and SLD learn from lists of scores") from error
        return super().parameters(student)


class WarmSLD(WarmStart, SLD):
    """SLD of a student that begins as the truncated teacher (WarmStart)."""

    label = "SLD, warm start"
    tuned_as = SLD
