"""A vector for a user who was not trained: read from the trained users, in closed form."""

import torch
from torch import Tensor

from .data import Interactions

# Chosen on ml-100k, for MF and LightGCN of 10, by NDCG@10 of a tenth of the users, who had been kept from training: the
# mean over being given all their items, 10, 3 and 1 of them.
PRIOR = 3  # items
RIDGE = 0.01  # times the mean square of a feature


class FoldIn:
    """u(S) = Wᵀ v̄(S) + b, v̄(S) = (Σ_{i ∈ S} v_i + PRIOR · m) / (|S| + PRIOR): the mean of the factors of the items S
    that a user chose and of PRIOR items more, which are the mean m of all that was chosen in training.

    W and b are ridge regression's over the trained users, whose own vectors are what it learns: they minimise
    Σ_u ‖Wᵀ v̄(S_u) + b − e_u‖² + λ ‖W‖². What a user's items say of the user is so taken over from training, by
    whatever objective that was.

    user_factors [n_users, d], item_factors [n_items, d]; train : what the users were trained on. Raises ValueError
    where that is nothing.
    """

    def __init__(self, user_factors: Tensor, item_factors: Tensor, train: Interactions):
        if not len(train):
            raise ValueError("no user has an item, so that nothing says how items make a user")
        self.items = item_factors.double()
        self.mean = self.items[train.items].mean(0)
        trained = train.csr[0].diff().nonzero().flatten()
        features, targets = self.features(train)[trained], user_factors.double()[trained]  # [n, d] each
        x, y = features - features.mean(0), targets - targets.mean(0)
        gram = x.T @ x
        ridge = RIDGE * gram.diagonal().mean().clamp(min=1e-12) * torch.eye(len(gram), dtype=x.dtype, device=x.device)
        self.weight = torch.linalg.solve(gram + ridge, x.T @ y)  # [d, d]
        self.bias = targets.mean(0) - features.mean(0) @ self.weight

    def features(self, chosen: Interactions) -> Tensor:
        """v̄ of every user: [n_users, d]."""
        offsets, items = chosen.csr
        counts = offsets.diff()
        rows = torch.arange(chosen.n_users, device=items.device).repeat_interleave(counts)
        sums = self.items.new_zeros(chosen.n_users, self.items.shape[1]).index_add_(0, rows, self.items[items])
        return (sums + PRIOR * self.mean) / (counts + PRIOR)[:, None]

    def __call__(self, chosen: Interactions) -> Tensor:
        """The vectors of new users, who chose these items: [n_users, d] float32."""
        return (self.features(chosen) @ self.weight + self.bias).float()
