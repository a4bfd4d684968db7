"""Does a projection keep the order of preference? The share of item pairs that it turns round."""

import torch
from torch import Generator, Tensor

from .data import Split
from .models import Model
from .sampling import draw_places

GROUPS, USERS, EACH = 10, 200, 4  # of a teacher's ranking; users asked; items of each user and group


def ranked_sample(teacher: Model, split: Split, generator: Generator) -> tuple[Tensor, Tensor]:
    """Users, at random [n], and items of each, unseen, at random within each of GROUPS equal parts of the teacher's
    ranking, best part first: [n, GROUPS, EACH]; all different where there are that many."""
    device = generator.device
    users = torch.randperm(split.n_users, generator=generator, device=device)[:USERS]
    lengths = split.n_items - split.train.csr[0].diff()[users]  # unseen items
    ranked = teacher.top(users, int(lengths.max()), exclude=split.train)  # [n, longest], −1 beyond a user's own
    bounds = torch.arange(GROUPS + 1, device=device) * lengths[:, None] // GROUPS  # [n, GROUPS + 1]
    sizes = bounds.diff(dim=1)[:, :, None]
    inside = torch.arange(int(sizes.max()), device=device) < sizes  # [n, GROUPS, largest]
    log_p = torch.zeros(inside.shape, device=device).masked_fill(~inside, -torch.inf).flatten(0, 1)
    drawn = draw_places(log_p, min(EACH, inside.shape[2]), generator)[0].view(len(users), GROUPS, -1)
    place = bounds[:, :-1, None] + torch.minimum(drawn, sizes - 1).clamp(min=0)
    return users, ranked.gather(1, place.flatten(1)).view(place.shape)


def inconsistency(before: Tensor, after: Tensor) -> tuple[list[list[float]], float]:
    """The share of pairs of one user's items whose order differs between two scorings, [n, G, m] each: for the items'
    groups, G × G, and over all pairs. 0: no preference is turned round; ½: as by chance; 1: all.

    A pair whose scores are equal in one of the two counts as half. An item is not compared with itself.
    """
    _, n_groups, each = before.shape

    def order(scores):
        flat = scores.flatten(1)
        return (flat[:, :, None] - flat[:, None, :]).sign()  # [n, G · m, G · m]

    turned = (order(before) - order(after)).abs() / 2
    diagonal = torch.eye(n_groups * each, dtype=torch.bool, device=before.device)
    shares = turned.mean(0)  # [G · m, G · m]
    counted = (~diagonal).to(shares.dtype)
    blocks = [x.view(n_groups, each, n_groups, each).sum((1, 3)) for x in (shares, counted)]
    by_rank = blocks[0] / blocks[1].clamp(min=1)  # one item a group: no pair inside it
    return [[round(x, 4) for x in row] for row in by_rank.tolist()], (shares.sum() / counted.sum()).item()
