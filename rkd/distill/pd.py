"""CD and HTD from a teacher freed of popularity (PD, Zhang et al., SIGIR 2021), as in UnKD's Table 4.

PD itself is a way to train a teacher, method "pd" of a Run: see ``losses.popularity_deconfounding`` and ``gamma`` of
``train``. What is distilled are the scores without the popularity factor.
"""

from .cd import CD
from .htd import HTD


class PDCD(CD):
    """CD, the teacher being trained by PD. The settings are CD's."""

    taught_by = "pd"


class PDHTD(HTD):
    """HTD, the teacher being trained by PD. The settings are HTD's."""

    taught_by = "pd"
