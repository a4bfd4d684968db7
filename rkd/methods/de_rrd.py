"""DE-RRD: what the teacher's layers know and how it ranks, both at once.  (Kang et al., CIKM 2020)"""

import torch

from ..batch import Batch
from ..limits import FROM_0
from .base import Sum
from .de import DE
from .rrd import RRD


class DERRD(Sum):
    """L = rrd_weight · L_RRD + de_weight · L_DE; the other settings: see RRD and DE.

    on_drawn : True applies DE to items that RRD drew for the batch's users, two of each one's, instead of the batch's
               own, as UnKD's code does. ``as_released`` is all that differs there; with it goes weight = 1.
    """

    label = "DE-RRD"
    source = "Kang et al., CIKM 2020"
    search = {"de_weight": (1e-3, 1e-1), "temperature": [10.0, 20.0, 30.0]}
    weights = RRD.weights
    as_released = {"sigmoid": True, "redraw": False, "temperature": 30.0, "train_teacher": True, "relu": "end",
                   "anneal": 0, "on_drawn": True, "de_weight": 1e-3}
    differs = (*RRD.differs, *DE.differs,
               "UnKD's code applies DE to RRD's items, by a mean over interesting and one over uninteresting ones: "
               "on_drawn does so here, by one mean over the distinct ones.")
    limits = {"rrd_weight": FROM_0, "de_weight": FROM_0}
    parts = {"rrd_weight": RRD, "de_weight": DE}

    rrd_weight: float = 1.0
    de_weight: float = 0.01
    on_drawn: bool = False

    @classmethod
    def check_together(cls, settings):
        super().check_together(settings)
        if settings["on_drawn"] and not settings["rrd_weight"]:
            raise ValueError("on_drawn needs an rrd_weight above 0: it is RRD that draws")

    def loss(self, student, batch):
        if not (self.on_drawn and self.de_weight):
            return super().loss(student, batch)
        rrd, de = self.terms["rrd_weight"], self.terms["de_weight"]
        drawn = rrd.drawn.index_select(0, batch.users[:de.n_pairs])  # [n, K + L]
        drawn = torch.where(drawn < 0, drawn[:, -1:], drawn)  # a user's empty places: an item that is there
        places = torch.randint(drawn.shape[1], (2, len(drawn)), device=drawn.device, generator=self.generator)
        items = drawn.gather(1, places.T)  # two of each user's
        return (self.rrd_weight * rrd.loss(student, batch)
                + self.de_weight * de.loss(student, Batch(batch.users, *items.T)))
