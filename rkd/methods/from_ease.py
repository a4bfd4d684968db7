"""A student of a teacher that is no inner product."""

from ..limits import ABOVE_0
from ..references import ease
from .sld import SLD


class SLDFromEASE(SLD):
    """SLD of the lists of EASE (references.ease), which the method makes itself: the teacher it is given counts for
    nothing.

    ridge : EASE's l2.
    """

    label = "SLD of EASE"
    tuned_as = SLD
    source = "SLD: Zhu & Zhang, arXiv 2311.04549; EASE: Steck, WWW 2019"
    limits = {"ridge": ABOVE_0}

    ridge: float = 100.0

    def prepare(self):
        self.teacher = ease(self.split, self.ridge)
        super().prepare()
