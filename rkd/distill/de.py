"""Distillation Experts: the student's embeddings, mapped by experts, imitate the teacher's.  (Kang et al., CIKM 2020)"""

from itertools import chain

from ..losses import weighted_mean
from .base import Distiller
from .experts import Experts, temperature


class DE(Distiller):
    """L = mean_u ‖t_u − f(s_u)‖² + mean_i ‖t_i − g(s_i)‖² over distinct users and items of the batch.

    s and t are the embeddings that student and teacher score with; f and g are mixtures of ``n_experts`` perceptrons
    each (experts.py), trained along with the student and thrown away afterwards. The temperature at which an expert is
    picked falls from 1 to 1e-10 within ``anneal`` epochs. The users and items are those of the batch's first ``n_pairs``
    training pairs: in a small data set each comes many times an epoch even so.

    Followed is the paper: annealing, ReLU between an expert's two layers. (UnKD's code keeps T = 10, so that all experts
    speak at once, and puts the ReLU behind both layers, so that no negative coordinate can be met.) Means instead of
    sums are UnKD's: ``weight`` then means the same whatever the batch.
    """

    def __init__(self, teacher, split, generator, *, n_experts: int = 5, anneal: int = 100, n_pairs: int = 128):
        super().__init__(teacher, split, generator)
        if min(n_experts, anneal, n_pairs) < 1:
            raise ValueError(f"n_experts, anneal and n_pairs must be at least 1, not {n_experts}, {anneal} and {n_pairs}")
        self.n_experts, self.anneal, self.n_pairs = n_experts, anneal, n_pairs

    def parameters(self, student):
        dims = student.dim, self.user_factors.shape[1]
        self.experts = [Experts(*dims, self.n_experts, self.generator) for _ in ("users", "items")]
        return chain(*(experts.parameters() for experts in self.experts))

    def begin_epoch(self, student, epoch):
        self.temperature = temperature(epoch, self.anneal)

    def loss(self, student, batch):
        return self.distance(*self.embeddings(student, batch))

    def embeddings(self, student, batch):
        """(users', items') embeddings of the student, [n, d_s] each, the same of the teacher, [n, d_t] each, and weights,
        [n] each (see base.distinct)."""
        (users, of_users), (items, of_items) = batch.entities(self.n_pairs)
        return ((student.users(users), student.items(items)),
                (self.user_factors.index_select(0, users), self.item_factors.index_select(0, items)),
                (of_users, of_items))

    def distance(self, s, t, weights):
        """The loss for pairs, users' and items', of the student's and the teacher's embeddings and the weights."""
        return sum(weighted_mean(experts.distances(*pair, self.temperature), weight)
                   for experts, *pair, weight in zip(self.experts, s, t, weights))
