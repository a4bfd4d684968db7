"""Coursework: typical wrong answers, as students write them, are told what is wrong; right ones in any style pass."""

from collections import Counter

import numpy as np
import pytest
import torch
from coursework_helpers import TASKS_OF, functions, said
from torch.nn.functional import cosine_similarity, logsigmoid

from rkd.coursework import TASKS
from rkd.coursework.release import solution_copy

# Answers as students write them: loops and NumPy, not the formulas of the module under test.

def bpr_numpy(u, i, j):
    x = (u.detach().numpy() * (i - j).detach().numpy()).sum(1)
    return float(np.log1p(np.exp(-x)).mean())


def bpr_loop(u, i, j):
    total = 0
    for a, b, c in zip(u, i, j):
        total = total - torch.log(1 / (1 + torch.exp(-(a @ b - a @ c))))
    return total


def push_loop(train):
    push = torch.zeros(train.shape[1])
    for row in train:
        push[row] += 0.5
        push[~row] -= 0.5
    return push


def ranked_inplace(scores, train, k):
    scores[train] = -torch.inf
    return scores.topk(k).indices


def ranked_loop(scores, train, k):
    return torch.stack([torch.tensor(list(s.argsort(descending=True).tolist())[:k]) for s in scores])


def ranked_from_one(scores, train, k):
    return scores.masked_fill(train, -9e9).sort(1, descending=True).indices[:, 1:k + 1]


def dcg_loop(log, shift):
    def wrong(hits):
        return torch.tensor([sum(1 / log(r + shift) for r in range(1, len(row) + 1) if row[r - 1]) for row in hits])
    return wrong


def rates(recall_by=lambda k, held: held, ideal_by=lambda k, held: min(k, held)):
    def wrong(lists, held_out):
        k, found = lists.shape[1], ([], [])
        for items, held in zip(lists.tolist(), held_out):
            gains = [bool(held[i]) / np.log2(r + 2) for r, i in enumerate(items)]
            size = int(held.sum())
            found[0].append(sum(bool(held[i]) for i in items) / recall_by(k, size))
            found[1].append(sum(gains) / sum(1 / np.log2(r + 2) for r in range(ideal_by(k, size))))
        return tuple(map(torch.tensor, found))
    return wrong


def half_by(counted=lambda train, test: train.sum(0), in_order=True, cut=0):
    def wrong(train, test):
        counts = counted(train, test).tolist()
        order = sorted(range(len(counts)), key=lambda i: -counts[i]) if in_order else range(len(counts))
        popular, before = torch.zeros(len(counts), dtype=torch.bool), 0
        for i in order:
            popular[i] = 2 * before + counts[i] < sum(counts) + cut
            before += counts[i]
        return popular
    return wrong


def cd_numpy(scores, q):
    s = 1 / (1 + np.exp(-scores.detach().numpy()))
    return -(q.numpy() * np.log(s) + (1 - q.numpy()) * np.log(1 - s)).mean(1)


def effects_loop(ddof=0, both=True):
    def wrong(scores, affinity, effect):
        rows = []
        for y, m in zip(scores.numpy().astype(float), affinity.numpy().astype(float)):
            y, m, z = ((x - x.mean()) / x.std(ddof=ddof) for x in (y, m, effect.numpy().astype(float)))
            rows.append(np.linalg.lstsq(np.stack([m, z], 1), y)[0] if both else [y @ m / len(y), y @ z / len(y)])
        return torch.tensor(np.array(rows))
    return wrong


def groups_loop(order_of, equal_items=False, backwards=False, overflow=1):
    def wrong(popularity, n_groups):
        counts, before, last = popularity.tolist(), 0, n_groups - overflow
        group = torch.zeros(len(counts), dtype=torch.int64)
        for place, i in enumerate(order_of(counts)):
            middle = (before + counts[i] / 2) / sum(counts)
            group[i] = place * n_groups // len(counts) if equal_items else min(int(middle * n_groups), last)
            before += counts[i]
        return n_groups - 1 - group if backwards else group
    return wrong


def sorted_down(counts, last=None):
    """The most popular first, equals by id; with ``last``, of counts that run backwards from it."""
    order = sorted(range(len(counts)), key=lambda i: -counts[i])
    return order if last is None else [last - i for i in order]


def pairs_of(weights, replacement=False, turned=False, in_order=True, shift=0):
    def wrong(n, depth, mu, generator):
        p = weights(torch.arange(depth).float(), mu)
        ranks = torch.multinomial(p.expand(n, -1), 2, replacement=replacement, generator=generator) + shift
        first, second = (ranks.amin(1), ranks.amax(1)) if in_order else ranks.T
        return (second, first) if turned else (first, second)
    return wrong


def by_rank(r, mu):
    return torch.exp(-r / mu)


def unkd_loop(better, worse, possible):
    losses = []
    for b, w, p in zip(better, worse, possible):
        losses.append(-logsigmoid(b[p] - w[p]).mean())  # of nothing: NaN
    return torch.stack(losses)


def nearest_loop(distance, skip_self=True):
    def wrong(embeddings, k):
        rows = []
        for a, e in enumerate(embeddings):
            order = sorted(range(len(embeddings)), key=lambda b: distance(e, embeddings[b]).item())
            rows.append([b for b in order if b != a or not skip_self][:k])
        return torch.tensor(rows)
    return wrong


def mixes(r_of, swapped=False):
    def wrong(own, neighbour, alpha, generator):
        r = r_of(own, alpha, generator)
        return (1 - r) * own + r * neighbour if swapped else r * own + (1 - r) * neighbour
    return wrong


def uniform(own, alpha, generator):
    return 2 * alpha * torch.rand(own.shape, generator=generator)


def turned_loop(tie=0.5, start=1):
    def wrong(before, after):
        total = pairs = 0
        for b, a in zip(before.tolist(), after.tolist()):
            for i in range(len(b)):
                for j in range(i + start, len(b)):
                    x, y = np.sign(b[i] - b[j]), np.sign(a[i] - a[j])
                    total += 1 if x * y < 0 else tie if x != y else 0
                    pairs += 1
        return total / pairs
    return wrong


def pair_loop(detach=True, sign=-1):
    def wrong(u, i, j, map_users, map_items):
        u, i, j = (x.detach() if detach else x for x in (u, i, j))
        total = 0
        for a, b, c in zip(u, i, j):
            before = a @ b - a @ c
            p, q, r = a @ map_users, b @ map_items, c @ map_items
            after = p @ q / p.norm() / q.norm() - p @ r / p.norm() / r.norm()
            total = total + torch.clamp(sign * after * before, min=0)
        return total / len(u)
    return wrong


def list_by_exp(label_of):
    def wrong(before, after, tau):
        label = label_of(before)
        p = torch.exp(label / tau) / torch.exp(label / tau).sum(1, keepdim=True)
        return -(p * torch.log(torch.exp(after / tau) / torch.exp(after / tau).sum(1, keepdim=True))).sum(1)
    return wrong


def standard_loop(ddof=0, inside=True):
    def wrong(scores, present):
        rows = np.zeros(scores.shape)
        for row, s, p in zip(rows, scores.numpy().astype(float), present.numpy()):
            counted = s[p] if inside else s
            row[p] = (s[p] - counted.mean()) / counted.std(ddof=ddof)
        return rows
    return wrong


def label_loop(standard=None, weigh=lambda g: (g, 1 - g)):
    standard = standard or standard_loop()

    def wrong(teacher, student, present, gamma, tau):
        a, b = weigh(gamma)
        mixed = (a * standard(teacher, present) + b * standard(student, present)) / tau
        p = np.exp(mixed) * present.numpy()
        return p / p.sum(1, keepdims=True)
    return wrong


def kl_loop(scores, label, present, tau):
    losses = []
    for s, p, here in zip(scores, label, present):
        q = torch.softmax(s[here] / tau, 0)
        losses.append((q * (q / p[here]).log()).sum())
    return torch.stack(losses)


def mine(error):
    """A distillation loss of student's and teacher's scores, popularity ignored."""
    return lambda s, t, c: error(s, t.detach())


WRONG = [  # task, answer, words
    ("bpr_loss", bpr_numpy, "no gradient reaches the embeddings"),
    ("bpr_loss", bpr_loop, "sum over the batch; the mean is asked for"),
    ("bpr_loss", lambda u, i, j: torch.log(1 + torch.exp((u * (j - i)).sum(1))).mean() * 1.5,
     "differs from the formula"),
    ("bpr_loss", lambda u, i, j: torch.log(1 + torch.exp((u * (i - j)).sum(1))).mean(), "have changed places"),
    ("bpr_loss", lambda u, i: 0.0, "it raises TypeError"),
    ("bpr_loss", None, "there is no such function"),
    ("net_push", push_loop, "differs from the formula"),
    ("net_push", lambda train: train.sum(0) * 0.5, "the negatives are missing"),
    ("net_push", lambda train: train.sum(1) * 0.5, "it should return a tensor of shape [12], and returns a tensor of "),
    ("net_push", lambda train: list(train.sum(0)), "differs from the formula"),
    ("net_push", lambda train: list(train.sum(1)), "values (each one number)"),
    ("net_push", lambda train: [train.sum(1)], "and returns 1 value (a tensor of shape ["),
    ("net_push", lambda train: [], "and returns 0 values"),
    ("net_push", lambda train: train.sum(0) / 0, "it returns infinity"),
    ("ranked", ranked_loop, "training items are not masked"),
    ("ranked", ranked_inplace, "changes its argument scores in place"),
    ("ranked", lambda s, t, k: s.masked_fill(t, -9e9).argsort(1)[:, -k:], "listed backwards: best first"),
    ("ranked", ranked_from_one, "off by one rank"),
    ("ranked", lambda s, t, k: s.masked_fill(t, 0).topk(k).indices, "of the listed items are training items"),
    ("ranked", lambda s, t, k: s.masked_fill(t, -9e9).topk(k)[0], "it returns the scores"),
    ("dcg", dcg_loop(np.log, 1), "natural logarithm; base 2 is asked for"),
    ("dcg", dcg_loop(np.log2, 2), "off by one rank"),
    ("dcg", dcg_loop(lambda x: x, 0), "the discount is 1 / rank"),
    ("recall_and_ndcg", rates(recall_by=lambda k, held: k), "which makes it precision"),
    ("recall_and_ndcg", rates(recall_by=min), "recall is divided by min(k, held-out items)"),
    ("recall_and_ndcg", rates(ideal_by=lambda k, held: k), "the ideal list has k hits even for users with fewer"),
    ("recall_and_ndcg", rates(ideal_by=lambda k, held: held), "the ideal DCG goes beyond place k"),
    ("popular_half", half_by(lambda train, test: test.sum(0)), "popularity is counted on test data"),
    ("popular_half", half_by(lambda train, test: train.sum(0) + test.sum(0)), "training and test data together"),
    ("popular_half", half_by(in_order=False), "did you sort by popularity?"),
    ("popular_half", lambda train, test: train.sum(0) > train.sum(0).double().mean() * 2, "half of them is asked for"),
    ("teacher_probability", lambda z, a, b: 1 / (1 + np.exp(-(z.numpy() + b) * a)), "a temperature divides"),
    ("teacher_probability", lambda z, a, b: 1 / (1 + np.exp(-z.numpy() / a - b)), "t2 is added after the division"),
    ("teacher_probability", lambda z, a, b: 1 / (1 + np.exp((z.numpy() + b) / a)), "differs from the formula"),
    ("cd_loss", cd_numpy, "no gradient reaches the student's scores"),
    ("cd_loss", lambda s, q: -(q * logsigmoid(s)).sum(1) / q.shape[1], "the second half is missing"),
    ("cd_loss", lambda s, q: torch.nn.functional.binary_cross_entropy_with_logits(s, q), "one number for the batch"),
    ("cd_loss", lambda s, q: torch.nn.functional.binary_cross_entropy(torch.sigmoid(s), q, reduction="none").mean(1),
     "its logarithm is cut off"),
    ("effects", effects_loop(both=False), "these are correlations one by one"),
    ("effects", lambda s, m, z: effects_loop()(s, m, z)[:, [1, 0]], "affinity first"),
    ("effects", lambda s, m, z: effects_loop()(s, m, z).mean(0), "one row for each is asked for"),
    ("effects", lambda s, m, z: effects_loop()(s, m, z) ** 2, "differs from the formula"),
    ("mass_groups", groups_loop(lambda counts: range(len(counts))), "equal mass is asked for: did you sort"),
    ("mass_groups", groups_loop(sorted_down, equal_items=True), "equally many items; equal mass is asked for"),
    ("mass_groups", groups_loop(sorted_down, backwards=True), "0 is the most popular"),
    ("mass_groups", lambda c, n: groups_loop(sorted_down)(c, n) * 2, "groups are numbered from 0 to 2"),
    ("mass_groups", groups_loop(sorted_down, overflow=0), "groups are numbered from 0 to 2; yours go from 0 to 3"),
    ("mass_groups", groups_loop(lambda counts: sorted_down(counts[::-1], len(counts) - 1)), "did you sort"),
    ("popular_half", half_by(cut=1), "always goes to the popular one"),
    ("draw_pairs", lambda n, depth, mu, generator: pairs_of(by_rank)(n, depth, mu, None), "it draws nothing from"),
    ("soft_mix", lambda own, neighbour, a, g: mixes(uniform)(own, neighbour, a, None), "it draws nothing from"),
    ("mass_groups", lambda c, n: c * torch.nan, "it returns NaN, not a number"),
    ("mass_groups", lambda c, n: c * 1j, "and returns Tensor"),
    ("draw_pairs", pairs_of(by_rank, replacement=True), "same rank twice: draw without replacement"),
    ("draw_pairs", pairs_of(by_rank, turned=True), "the worse rank comes first"),
    ("draw_pairs", pairs_of(by_rank, in_order=False), "the first rank is the worse: sort each pair"),
    ("draw_pairs", pairs_of(by_rank, shift=1), "off by one rank: ranks count from 0"),
    ("draw_pairs", pairs_of(by_rank, shift=-2), "ranks outside 0 … 5"),
    ("draw_pairs", pairs_of(lambda r, mu: torch.ones_like(r)), "all ranks are equally likely"),
    ("draw_pairs", pairs_of(lambda r, mu: torch.exp(r / mu)), "the exponent's sign is turned"),
    ("draw_pairs", pairs_of(lambda r, mu: torch.exp(-r * mu) + 1e-12), "−r / μ is asked for"),
    ("draw_pairs", pairs_of(lambda r, mu: 1 / (r + 1)), "the probabilities are made by 1 / (r + 1)"),
    ("draw_pairs", pairs_of(lambda r, mu: torch.exp(-r / mu / 2)), "rank 0 is in "),
    ("draw_pairs", lambda n, depth, mu, generator: torch.zeros(n, 2), "it should return 2 values"),
    ("draw_pairs", lambda n, depth, mu, generator: (torch.rand(n), torch.rand(n)), "ranks are whole numbers"),
    ("unkd_loss", unkd_loop, "a user without any pair gets 0 / 0"),
    ("unkd_loss", lambda b, w, p: torch.where(p, -logsigmoid(b - w), 0).mean(1), "divide by the user's possible pairs"),
    ("unkd_loss", lambda b, w, p: -logsigmoid(w - b).mul(p).sum(1) / p.sum(1).clamp(min=1), "have changed places"),
    ("nearest", nearest_loop(lambda a, b: ((a - b) ** 2).sum(), skip_self=False), "its own nearest neighbour"),
    ("nearest", nearest_loop(lambda a, b: -(a @ b) / (a.norm() * b.norm())), "it goes by cosine"),
    ("nearest", nearest_loop(lambda a, b: -(a @ b)), "it goes by inner product"),
    ("nearest", nearest_loop(lambda a, b: (a - b).abs().sum()), "sum of absolute differences"),
    ("soft_mix", mixes(uniform, swapped=True), "own and neighbour have changed places"),
    ("soft_mix", mixes(lambda e, a, g: uniform(e[:, :1], a, g)), "all coordinates of a row have the same r"),
    ("soft_mix", mixes(lambda e, a, g: uniform(e[:1], a, g)), "all rows have the same r"),
    ("soft_mix", mixes(lambda e, a, g: 2 * a * torch.rand(1, generator=g)), "every coordinate of every row has"),
    ("soft_mix", mixes(lambda e, a, g: torch.rand(e.shape, generator=g)), "uniform in [0, 1] whatever α is"),
    ("soft_mix", mixes(lambda e, a, g: a * torch.rand(e.shape, generator=g)), "[0, 2α] is asked for, so that its mean"),
    ("soft_mix", mixes(lambda e, a, g: (torch.rand(e.shape, generator=g) < a).float()), "which is hard mixing"),
    ("soft_mix", mixes(lambda e, a, g: a + 0.1 * torch.randn(e.shape, generator=g).clamp(-2, 2)), "a uniform one 0.17"),
    ("soft_mix", mixes(lambda e, a, g: a + torch.randn(e.shape, generator=g)), "r goes below 0"),
    ("soft_mix", mixes(lambda e, a, g: a + a * torch.rand(e.shape, generator=g)), "r has mean 0.45"),
    ("soft_mix", lambda own, neighbour, a, g: own.mean(1), "it should return a tensor of shape [300, 40]"),
    ("soft_mix", lambda own, neighbour, a, g: own / 0, "not finite"),
    ("feature_distance", lambda t, p: torch.nn.functional.cosine_similarity(t, p).mean(), "the mean cosine itself"),
    ("feature_distance", lambda t, p: (1 - torch.einsum("nd,nd->n", t, p)).mean(), "the norms are missing"),
    ("feature_distance", lambda t, p: ((t - p) ** 2).mean(), "differs from the formula"),
    ("turned_round", turned_loop(tie=1), "a tie counts half"),
    ("turned_round", turned_loop(tie=0), "yours counts nothing"),
    ("turned_round", lambda b, a: 1 - turned_loop()(b, a), "that keep their order"),
    ("pair_penalty", pair_loop(detach=False), "a gradient is let into the student"),
    ("pair_penalty", pair_loop(sign=1), "the sign is turned"),
    ("pair_penalty", lambda u, i, j, a, b: pair_loop()(u, i, j, a.detach(), b), "gradient of map_users is not"),
    ("pair_penalty", lambda u, i, j, a, b: torch.clamp(
        (cosine_similarity(u @ a, j @ b) - cosine_similarity(u @ a, i @ b)) * (u * (i - j)).sum(1).detach(),
        min=0).mean(), "by way of after"),
    ("pair_penalty", lambda u, i, j, a, b: torch.clamp(
        -((u.detach() @ a) * ((i - j).detach() @ b)).sum(1) * (u * (i - j)).sum(1).detach(), min=0).mean(),
     "after is made of inner products"),
    ("list_penalty", list_by_exp(lambda before: before), "a gradient is let into the student"),
    ("list_penalty", list_by_exp(lambda before: before.detach()), "the softmax overflows"),
    ("list_penalty", lambda b, a, tau: torch.nn.functional.kl_div(
        torch.log_softmax(a / tau, 1), torch.softmax(b.detach() / tau, 1), reduction="none").sum(1), "KL divergence"),
    ("standardise", standard_loop(ddof=1), "divided by n − 1"),
    ("standardise", standard_loop(inside=False), "absent items are counted"),
    ("standardise", lambda s, p: torch.where(p, s - s.mean(), 0), "differs from the formula"),
    ("soft_label", lambda t, s, p, g, tau: torch.softmax(t / tau, 1)[0], "it should return a tensor of shape [6, 8]"),
    ("soft_label", label_loop(weigh=lambda g: (1 - g, g)), "γ is the teacher's share"),
    ("soft_label", label_loop(weigh=lambda g: (1, 0)), "the student has no say"),
    ("soft_label", label_loop(standard=lambda s, p: s.numpy() / 5), "differs from the formula"),
    ("sld_loss", lambda s, p, here, tau: -kl_loop(p, torch.softmax(s / tau, 1), here, tau), "differs from"),
    ("sld_loss", kl_loop, "it is the reverse"),
    ("sld_loss", lambda s, p, here, tau: -(p * torch.log_softmax(s / tau, 1)).sum(1), "differs from the formula"),
    ("my_loss", mine(lambda s, t: ((s - t) ** 2).mean()), "a loss for each user, a tensor of shape [6]"),
    ("my_loss", mine(lambda s, t: ((s - t) ** 2).mean(0)), "and returns a tensor of shape [10]"),
    ("my_loss", lambda s, t, c: ((s - t) ** 2).mean(1), "a gradient is let into the teacher"),
    ("my_loss", mine(lambda s, t: (s.detach() - t).square().mean(1)), "no gradient reaches the student's scores"),
    ("my_loss", mine(lambda s, t: s.square().mean(1)), "another teacher makes no difference"),
    ("my_loss", mine(lambda s, t: (s * t).mean(1)), "is the sign right?"),
    ("my_loss", mine(lambda s, t: (s.square() - t.square()).square().mean(1)), "cost the same"),
    ("my_loss", mine(lambda s, t: -(torch.softmax(t, 0) * torch.log_softmax(s, 0)).sum(1)), "a softmax over dim 0?"),
    ("my_loss", mine(lambda s, t: ((s - t).square() * torch.arange(s.shape[1])).mean(1)), "depends on the order"),
    ("my_loss", mine(lambda s, t: torch.log(1 + torch.exp(-s * t * 9)).sum(1)), "the loss is not finite"),
    ("my_loss", mine(lambda s, t: (s - t).square().sum(1).sqrt()), "the gradient is not finite"),
    ("my_loss", mine(lambda s, t: "good"), "and returns str"),
]


@pytest.mark.parametrize("task, wrong, words", WRONG, ids=[f"{task}-{n}" for n, (task, *_) in enumerate(WRONG)])
def test_wrong_answers_are_told_what_is_wrong(task, wrong, words):
    assert words in said(task, wrong)


def test_ten_wrong_answers_for_every_exercise():
    counted = Counter(task for task, *_ in WRONG) + Counter({name: len(task.mistakes) for name, task in TASKS.items()})
    for exercise, tasks in TASKS_OF.items():
        assert sum(counted[task] for task in tasks) >= 10 and all(counted[task] >= 4 for task in tasks), exercise


def in_lists(value):
    return [in_lists(x) for x in value] if isinstance(value, tuple) else torch.as_tensor(value).tolist()


def in_arrays(value):
    return tuple(map(in_arrays, value)) if isinstance(value, tuple) else torch.as_tensor(value).detach().numpy()


def stacked(value):
    """Several tensors of one shape as one; anything else in a tuple more."""
    same = isinstance(value, tuple) and len({x.shape for x in value}) == 1
    return torch.stack(value) if same else value if isinstance(value, tuple) else (value,)


@pytest.mark.parametrize("exercise", TASKS_OF)
def test_right_answers_in_another_container_pass(exercise):
    """Lists, arrays, lists of tensors, an axis more: where no gradient is asked for, and where it is, those that keep
    it."""
    right = functions(exercise, solution_copy)
    for task in TASKS_OF[exercise]:
        forms = [lambda x: x[None] if isinstance(x, torch.Tensor) else stacked(x),
                 lambda x: list(x) if isinstance(x, tuple) or isinstance(x, torch.Tensor) and x.dim() else [x]]
        forms += [] if TASKS[task].gradient_of else [in_lists, in_arrays]
        for change in forms:
            assert said(task, lambda *given, f=right[task], change=change: change(f(*given))) == "", task


def test_correct_answers_in_another_style_pass():
    for task, right in [("recall_and_ndcg", rates()), ("popular_half", half_by()), ("turned_round", turned_loop()),
                        ("mass_groups", groups_loop(sorted_down)), ("draw_pairs", pairs_of(by_rank)),
                        ("nearest", nearest_loop(lambda a, b: ((a - b) ** 2).sum())), ("soft_mix", mixes(uniform)),
                        ("pair_penalty", pair_loop()), ("standardise", standard_loop()), ("soft_label", label_loop()),
                        ("dcg", dcg_loop(np.log2, 1)), ("effects", effects_loop()), ("effects", effects_loop(ddof=1)),
                        ("my_loss", mine(lambda s, t: (s - t).square().mean(1)))]:
        assert said(task, right) == "", task
