"""A student of a teacher that was rounded before."""

from ..given import Given
from ..rounding import round_rows, unround
from .rounded import StraightThrough
from .unkd import UnKD
from .warm import embeddings_of


class UnKDFromRounded(UnKD):
    """UnKD of the teacher's embeddings rounded to ``bits`` bits, as compress.quantize rounds them. Raises ValueError
    for a teacher without embeddings."""

    label = "UnKD of a rounded teacher"
    tuned_as = UnKD
    limits = StraightThrough.limits

    bits: int = 3

    def prepare(self):
        rounded = [unround(*round_rows(each, self.bits), self.bits) for each in embeddings_of(self)]
        self.teacher = Given(rounded)
        super().prepare()
