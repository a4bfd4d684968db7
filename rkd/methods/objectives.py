"""Strong small models without a teacher: the plain student with another loss than BPR."""

import torch
from torch.nn.functional import normalize

from ..limits import ABOVE_0, FROM_0, FROM_1, SHARE
from ..losses import CosineContrastive, SampledSoftmax
from .alone import Alone

NEGATIVES = [32, 64, 128, 256]


class SoftmaxStudent(Alone):
    """A student of the sampled softmax (losses.SampledSoftmax)."""

    label = "Softmax student"
    source = "Bengio and Senécal, 2008; for recommenders: Wu et al., TOIS 2024"
    search = {"temperature": (0.1, 2.0), "n_negatives": NEGATIVES}
    limits = {"temperature": ABOVE_0, "n_negatives": FROM_1}
    differs = ("The negatives are drawn uniformly from each user's unseen items and shared by the batch; the loss is "
               "not corrected for how often an item is drawn.",)

    temperature: float = 1.0
    n_negatives: int = 256

    def objective(self):
        return SampledSoftmax(self.temperature, self.n_negatives)


class CosineStudent(Alone):
    """A student of the cosine contrastive loss (losses.CosineContrastive). Its rows are of unit length, so that cosines
    are its scores."""

    label = "Cosine student"
    source = "SimpleX: Mao et al., CIKM 2021"
    search = {"margin": (0.1, 0.9), "negative_weight": (1.0, 1000.0), "n_negatives": NEGATIVES}
    limits = {"margin": SHARE, "negative_weight": FROM_0, "n_negatives": FROM_1}
    differs = ("A user is its embedding alone; SimpleX adds the mean of the items that it chose.",
               "Rows are brought to unit length before every step, and are off it by the last step when lists are "
               "ranked; the weight of L2 counts for nothing.",
               "On LightGCN, whose scored embeddings are sums over neighbours and of any length, lists are ranked by "
               "inner products.")

    margin: float = 0.5
    negative_weight: float = 100.0
    n_negatives: int = 256

    def objective(self):
        return OfUnitRows(self.margin, self.negative_weight, self.n_negatives)


class OfUnitRows(CosineContrastive):
    """CosineContrastive of cosines, whose model's rows are of unit length at every step."""

    def loss(self, model, batch, l2):
        with torch.no_grad():
            model.table.div_(model.table.norm(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny))
        return super().loss(model, batch, l2)

    def of_scored(self, e, batch, l2):
        return super().of_scored(normalize(e, dim=2), batch, 0.0)
