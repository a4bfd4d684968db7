"""Item-side ranking regularisation: RRD for users, and for items.  (Kang et al., Information Sciences 2021)"""

from ..limits import FROM_0
from .base import Sum
from .by_item import ByItem
from .rrd import RRD


class ItemRRD(ByItem, RRD):
    """RRD with users and items exchanged: the teacher's order of K interested users of an item, above L others."""

    label = "RRD's item side"


class IRRRD(Sum):
    """L = users · L_RRD + items · L_IR, L_IR being the same likelihood with users and items exchanged: for each item,
    the teacher's order of K users, who all stand above L others. The other settings: see RRD, of the user side and of
    the item side."""

    label = "IR-RRD"
    source = "Kang et al., Information Sciences 2021"
    search = {"items": (0.1, 10.0), "users_temperature": [10.0, 20.0]}
    weight = 0.01
    weights = (1e-3, 1e-1)
    published = {"weight": 0.0007, "users": 1.0, "items": 12.0, "users_k": 40, "users_n_uninteresting": 40,
                 "users_pool": 500, "users_temperature": 10.0, "items_k": 20, "items_n_uninteresting": 20,
                 "items_pool": 500, "items_temperature": 10.0}  # CiteULike; of its sums over 740 users and some 18,000
    # items, against 1024 pairs: 0.001 · 740 / 1024 for the users, 0.0005 · 18,000 / 1024 for the items
    differs = (*RRD.differs,
               "The items of a step are the distinct positive and negative ones of its pairs (the code: all those in "
               "the lists of its users).")
    limits = {"users": FROM_0, "items": FROM_0}
    parts = {"users": RRD, "items": ItemRRD}

    users: float = 1.0
    items: float = 1.0
    users_k: int = 40
    users_n_uninteresting: int = 40
    users_pool: int = 500
    items_pool: int = 500
