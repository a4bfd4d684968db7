"""Coursework: what the exercises have students write is what rkd's methods are, as they are by default."""

from types import SimpleNamespace

import pytest
import torch
from coursework_helpers import TASKS_OF, functions

from rkd import METHODS, neighbours
from rkd.coursework.draws import chosen, counts, normal, seeded
from rkd.coursework.release import solution_copy
from rkd.datasets.synthetic import world
from rkd.evaluate import evaluate
from rkd.given import Given
from rkd.methods.cd import collaborative_distillation
from rkd.methods.cpd import list_consistency
from rkd.methods.projector import Projector
from rkd.methods.sld import soft_label_distillation, soft_labels
from rkd.methods.unkd import pairwise_distillation
from rkd.popularity import popularity_groups

same = torch.testing.assert_close


@pytest.fixture(scope="module")
def written():
    """Every function that an exercise asks for, as its solution has it."""
    found = {}
    for exercise in TASKS_OF:
        found |= {task: functions(exercise, solution_copy)[task] for task in TASKS_OF[exercise]}
    return SimpleNamespace(**found)


def test_metrics(written):
    split = world(40, 60, n_train=10, n_valid=0, n_test=5).split
    users, items = normal(1, split.n_users, 5), normal(2, split.n_items, 5)
    train, test = (torch.zeros(split.n_users, split.n_items, dtype=torch.bool) for _ in range(2))
    train[split.train.users, split.train.items] = test[split.test.users, split.test.items] = True
    some = test.any(1)
    recall, ndcg = written.recall_and_ndcg(written.ranked(users @ items.T, train, 10)[some], test[some])
    found = evaluate(Given((users, items)), split, ks=10)
    assert recall.mean().item() == pytest.approx(found["recall@10"], abs=1e-6)
    assert ndcg.mean().item() == pytest.approx(found["ndcg@10"], abs=1e-6)


def test_cd(written):
    split = world(20, 40, n_train=8, n_valid=0, n_test=2).split
    teacher = Given((normal(1, 20, 4), normal(2, 40, 4)))
    cd = METHODS["cd"](teacher, split, seeded(0), guide="teacher", t2=0.5)
    q = written.teacher_probability(teacher.scores(None, cd.ranked), cd.t1, cd.t2)
    same(q, cd.probability)
    scores = normal(3, *q.shape)
    same(written.cd_loss(scores, q), collaborative_distillation(scores, q, torch.ones_like(q, dtype=torch.bool)))


def test_unkd(written):
    popularity, n_groups = counts(1, 40), METHODS["unkd"].settings()["groups"]
    assert torch.equal(written.mass_groups(popularity, n_groups), popularity_groups(popularity, n_groups))
    better, worse, possible = normal(1, 6, 9), normal(2, 6, 9), chosen(3, 6, 9)
    possible[0] = False
    same(written.unkd_loss(better, worse, possible), pairwise_distillation(better, worse, possible))


def test_nkd(written):
    embeddings, nkd = normal(1, 30, 4), METHODS["nkd"]
    assert torch.equal(written.nearest(embeddings, 5), neighbours.nearest(embeddings, 5))
    own, neighbour, alpha = normal(1, 8, 5), normal(2, 8, 5), 0.3
    method = SimpleNamespace(mix=nkd.settings()["mix"], alpha=alpha, generator=seeded(4))
    same(written.soft_mix(own, neighbour, alpha, seeded(4)), nkd.mixed(method, own, neighbour))


class Linear:
    """A projector without perceptrons, as the exercise's."""

    def __init__(self, weights):
        self.weights = weights

    def __call__(self, embeddings):
        return embeddings @ self.weights

    cosines = Projector.cosines


def test_cpd(written):
    """By default its scores after the projection are cosines."""
    cpd, users, items = METHODS["cpd"], normal(1, 20, 3), normal(2, 30, 3)
    maps = normal(3, 2, 3, 5)
    u, (i, j) = torch.arange(20), torch.randint(30, (2, 20), generator=seeded(4))
    method = SimpleNamespace(
        pairwise=1.0, listwise=0.0, normalised=cpd.settings()["normalised"],
        networks={side: Linear(one) for side, one in zip(("users", "items"), maps)},
        of_student=lambda student, side, entities: {"users": users, "items": items}[side][entities])
    same(written.pair_penalty(users[u], items[i], items[j], *maps), cpd.turned(method, None, u, i, j))
    before, after, tau = normal(5, 6, 9), normal(6, 6, 9), cpd.settings()["tau"]
    everything = torch.ones(6, 9, dtype=torch.bool)
    same(written.list_penalty(before, after, tau), list_consistency(before, after, tau, everything))


def test_sld(written):
    sld, teacher, scores = METHODS["sld"].settings(), normal(1, 6, 9), normal(2, 6, 9)
    present = chosen(3, 6, 9, share=0.8)
    assert (present.sum(1) > 1).all() and sld["standardise"]
    label = written.soft_label(teacher, scores, present, sld["gamma"], sld["tau"])
    same(label, soft_labels(teacher, scores, present, sld["gamma"], sld["tau"], sld["standardise"]))
    same(written.sld_loss(scores, label, present, sld["student_tau"]),
         soft_label_distillation(scores, label, present, sld["student_tau"]))
