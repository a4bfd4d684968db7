"""Distillation from a debiased teacher.  (PD: Zhang et al., SIGIR 2021; PD-CD, PD-HTD: Chen et al., WSDM 2023, Table 4)

PD itself is an objective (losses.PD); its teacher is methods.alone's DebiasedTeacher.
"""

from .cd import CD
from .htd import HTD


class PDCD(CD):
    """CD from the debiased teacher."""

    label = "PD-CD"
    source = "Chen et al., WSDM 2023"
    taught_by = "pd"


class PDHTD(HTD):
    """HTD from the debiased teacher."""

    label = "PD-HTD"
    source = "Chen et al., WSDM 2023"
    taught_by = "pd"
