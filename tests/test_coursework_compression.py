"""Exercise 9: its answers are the library's, and typical wrong ones, as students write them, are told what is wrong."""

import math

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from coursework_helpers import TASKS_OF, functions, said
from nbformat.v4 import new_notebook

from rkd import compress
from rkd.coursework.answers import answer
from rkd.coursework.draws import normal, seeded
from rkd.coursework.grade import Submission, exercises, grade
from rkd.coursework.kernel import Limits, Server
from rkd.coursework.release import SOURCES, graded, solution_copy
from rkd.rounding import round_rows
from rkd.study.papers import frontier


@pytest.fixture(scope="module")
def solved():
    return functions("09_bytes", solution_copy)


# Answers as students write them: loops and NumPy, not the formulas of the module under test.

def codes_loop(largest=lambda row, matrix: abs(row).max(), h=lambda bits: (2 ** bits - 1) / 2, near=round, clip=True):
    def made(matrix, bits, share):
        matrix, codes, steps = matrix.numpy().astype(float), [], []
        for row in matrix:
            step = share * largest(row, matrix) / h(bits)
            found = [near(x / step + h(bits)) for x in row]
            codes.append([min(max(c, 0), 2 ** bits - 1) for c in found] if clip else found)
            steps.append([step])
        return np.array(codes), np.array(steps)
    return made


def decode_loop(h):
    return lambda codes, step, bits: np.array([[s[0] * (int(c) - h(bits)) for c in row]
                                               for row, s in zip(codes.numpy(), step.numpy())])


def by_numpy(of_users=0.5, of_items=0.5, pick=lambda dim: slice(dim)):
    """From the matrix of scores, which torch does not see."""
    def made(users, items, dim):
        left, values, right = np.linalg.svd(users.numpy() @ items.numpy().T, full_matrices=False)
        best = pick(dim)
        return left[:, best] * values[best] ** of_users, right.T[:, best] * values[best] ** of_items
    return made


def by_eigenvalues(users, items, dim):
    """Another way without the scores: the eigenvalues of (UᵀU)(VᵀV), and the factors turned round at the end."""
    root = torch.linalg.cholesky(users.double().T @ users.double())  # UᵀU = L Lᵀ
    squared, inner = torch.linalg.eigh(root.T @ (items.T @ items).double() @ root)  # ascending
    values, inner = squared[-dim:].sqrt(), inner[:, -dim:]
    left = users.double() @ torch.linalg.solve(root.T, inner)
    right = items.double() @ (root @ inner) / values
    turn = torch.linalg.qr(normal(9, dim, dim).double()).Q
    return left * values.sqrt() @ turn, right * values.sqrt() @ turn


def whole_matrix(users, items, dim):
    left, values, right = torch.linalg.svd(users @ items.T, full_matrices=False)
    return left[:, :dim] * values[:dim].sqrt(), right[:dim].T * values[:dim].sqrt()


def stairs_loop(key=lambda model: (model[0], -model[1]), better=lambda found, best: found > best):
    def made(n_bytes, value):
        steps, best = [], -1.0
        for size, found in sorted(zip(n_bytes.tolist(), value.tolist()), key=key):
            if better(found, best):
                steps.append((size, found))
                best = max(best, found)
        return [size for size, _ in steps], [found for _, found in steps]
    return made


WRONG = [  # task, answer, words
    ("to_codes", codes_loop(largest=lambda row, matrix: abs(matrix).max()), "largest number of the whole matrix"),
    ("to_codes", codes_loop(largest=lambda row, matrix: row.max()), "take absolute values first"),
    ("to_codes", codes_loop(largest=lambda row, matrix: (row.max() - row.min()) / 2), "the row's range"),
    ("to_codes", codes_loop(h=lambda bits: 2 ** bits / 2), "h is off by one half"),
    ("to_codes", codes_loop(near=int), "so round"),
    ("to_codes", codes_loop(clip=False), "are not clipped"),
    ("to_codes", lambda x, bits, share: codes_loop()(x, bits, 1), "share is missing"),
    ("to_codes", lambda x, bits, share: codes_loop()(x, bits, share)[0], "it should return 2 values"),
    ("to_codes", codes_loop(h=lambda bits: 2 ** bits), "its first value is wrong: it differs from the formula"),
    ("from_codes", decode_loop(lambda bits: 0), "half of the levels are negative"),
    ("from_codes", decode_loop(lambda bits: 2 ** bits / 2), "off by one half: it is (2^bits − 1) / 2, not 2^bits / 2"),
    ("from_codes", decode_loop(lambda bits: (2 ** bits - 1) // 2), "yours is rounded down"),
    ("from_codes", lambda c, s, bits: s * (c - (2 ** bits - 1) // 2), "uint8 knows no negative numbers"),
    ("from_codes", lambda c, s, bits: (c * s).sum(1), "it should return a tensor of shape [5, 8]"),
    ("row_bytes", lambda d, bits: math.ceil(d * bits / 8), "step's 4 bytes are forgotten: without"),
    ("row_bytes", lambda d, bits: int(d * bits / 8) + 4, "round up, not down"),
    ("row_bytes", lambda d, bits: d + 4, "each code takes whole bytes of its own"),
    ("row_bytes", lambda d, bits: d * bits + 32, "these are bits"),
    ("row_bytes", lambda d, bits: 4 * d, "it differs from the formula: 20 in place of 6"),
    ("truncated", lambda users, items, dim: (users[:, :dim], items[:, :dim]), "the first columns of the factors"),
    ("truncated", by_numpy(1, 0), "all on the users' side"),
    ("truncated", by_numpy(0, 1), "all on the items' side"),
    ("truncated", by_numpy(0.5, 0), "forgotten on the items' side"),
    ("truncated", by_numpy(0, 0.5), "forgotten on the users' side"),
    ("truncated", by_numpy(1, 1), "so that the scores have their squares"),
    ("truncated", by_numpy(0.8, 0.2), "the scores are right, but the singular values are not shared out evenly"),
    ("truncated", by_numpy(2, 1), "of their norm, of the best by"),
    ("truncated", by_numpy(pick=lambda dim: slice(1, dim + 1)), "of their norm, of the best by"),
    ("truncated", lambda users, items, dim: by_numpy()(users, items, dim + 1), "it should return 2 values"),
    ("truncated", lambda users, items, dim: (users[:, :dim] / 0, items[:, :dim]), "not finite"),
    ("truncated", whole_matrix, "it makes a matrix of 1,200 numbers, where users × items has 1,200"),
    ("staircase", stairs_loop(key=lambda model: 0), "sort them by bytes first"),
    ("staircase", stairs_loop(better=lambda found, best: found >= best), "as good as a smaller one is no step"),
    ("staircase", stairs_loop(key=lambda model: model), "of one size only the best is a step"),
    ("staircase", stairs_loop(key=lambda model: (-model[0], -model[1])), "it should return 2 values"),
    ("staircase", lambda b, v: stairs_loop()(b, v)[::-1], "bytes first"),
]


@pytest.mark.parametrize("task, wrong, words", WRONG, ids=[f"{task}-{n}" for n, (task, *_) in enumerate(WRONG)])
def test_wrong_answers_are_told_what_is_wrong(task, wrong, words):
    assert words in said(task, wrong)


@pytest.mark.parametrize("task, right", [
    ("to_codes", codes_loop()), ("from_codes", decode_loop(lambda bits: (2 ** bits - 1) / 2)),
    ("row_bytes", lambda d, bits: math.ceil(d * bits / 8) + 4), ("truncated", by_numpy()),
    ("truncated", by_eigenvalues), ("staircase", stairs_loop())])
def test_correct_answers_in_another_style_pass(task, right):
    assert said(task, right) == ""


# What is taught is what rkd does.

@pytest.mark.parametrize("bits", compress.BITS)
def test_rounded_as_by_the_library(solved, bits):
    """At the scale that the library has chosen, the same codes and numbers; and so many bytes."""
    matrix = normal(bits, 20, 11)
    codes, scale = round_rows(matrix, bits)
    for row, theirs, step in zip(matrix, codes, scale):
        share = (step * (2 ** bits - 1) / 2 / row.abs().max()).item()
        ours, found = solved["to_codes"](row[None], bits, share)
        assert torch.equal(ours[0], theirs.float())
        torch.testing.assert_close(found[0], step)
    small = compress.quantize((matrix, matrix), bits)
    torch.testing.assert_close(solved["from_codes"](codes, scale, bits), small.factors()[0])
    assert [solved["row_bytes"](d, bits) for d in range(1, 12)] == [
        compress.size(compress.quantize((matrix[:, :d], matrix[:, :d]), bits)).per_user for d in range(1, 12)]


def test_cut_as_by_the_library(solved):
    users, items = normal(1, 30, 7), normal(2, 50, 7)
    (u, v), (a, b) = solved["truncated"](users, items, 3), compress.truncate((users, items), 3).factors()
    torch.testing.assert_close(u @ v.T, (a @ b.T).float(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(u.norm(dim=0), a.norm(dim=0).float(), atol=1e-4, rtol=1e-4)


def test_stairs_as_the_notebooks(solved):
    """Of as many ties as there may be: 20 models of 6 sizes and 7 qualities."""
    for seed in range(30):
        sizes, values = (torch.randint(n, (20,), generator=seeded(seed + n)).double() for n in (6, 7))
        expected = frontier.staircase(pd.DataFrame({"bytes": sizes, "value": values}), "value")
        found = solved["staircase"](sizes, values)
        assert [x.tolist() for x in found] == [expected.index.to_list(), expected.to_list()]


def test_the_largest_tensor_is_noted():
    found = answer(lambda x: (x[:, None] * x).sum(), {"x": torch.ones(30)})
    assert found["largest"] == 900 and found["value"] == 900


def test_a_submission_is_graded_by_words(tmp_path):
    """In the process where submissions run, the size of what they make is seen as well."""
    cells = solution_copy(nbformat.read(SOURCES / "09_bytes.ipynb", as_version=4)).cells
    made = {graded(cell).get("grade_id"): cell for cell in cells}
    made["truncated"].source = "import torch\n\ndef truncated(users, items, dim):\n    left, values, right = " \
        "torch.linalg.svd(users @ items.T)\n    root = values[:dim].sqrt()\n    return left[:, :dim] * root, " \
        "right[:dim].T * root"
    made["row_bytes"].source = "def row_bytes(dim, bits):\n    return -(-dim * bits // 8)"
    nbformat.write(new_notebook(cells=[made[name] for name in TASKS_OF["09_bytes"]]), tmp_path / "ann.ipynb")
    server = Server()
    found = grade(Submission.read(tmp_path / "ann.ipynb"), exercises(), Limits(total=120, memory=1024), server)
    server.stop()
    reasons = {mark.task: mark.reason for mark in found.marks if mark.reason}
    assert (found.exercise, found.points, found.possible) == ("09_bytes", 9, 15) and len(reasons) == 2
    assert "it makes a matrix of 8,100 numbers" in reasons["truncated"]
    assert "the step's 4 bytes are forgotten" in reasons["row_bytes"]
