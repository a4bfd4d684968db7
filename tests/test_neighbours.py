"""Nearest neighbours against sorting all distances, and the file that keeps them; files that are written whole."""

import os
import time

import numpy as np
import pytest
import torch
from conftest import seeded
from safetensors.torch import load_file, save_file

from rkd import neighbours, ranking
from rkd.files import write_whole
from rkd.neighbours import nearest


def brute(embeddings, k) -> list[list[int]]:
    """The k others of least distance, equal ones by their id."""
    x = embeddings.detach().cpu().double().numpy()
    distance = ((x[:, None] - x[None]) ** 2).sum(2)
    np.fill_diagonal(distance, np.inf)
    return np.argsort(distance, axis=1, kind="stable")[:, :k].tolist()


def some(n=70, d=5, seed=0, device="cpu"):
    return torch.randn(n, d, generator=seeded("cpu", seed)).to(device)


@pytest.fixture
def searches(monkeypatch):
    """One entry for each search that was made."""
    made = []

    def counted(*arguments, **keywords):
        made.append(len(arguments[1]))
        return ranking.top_k(*arguments, **keywords)

    monkeypatch.setattr(neighbours, "top_k", counted)
    return made


@pytest.fixture
def kept(tmp_path):
    """The files that are kept."""
    return lambda: sorted((tmp_path / "cache" / "neighbours").iterdir())


# ----------------------------------------------------------------------------------------------------------- neighbours

@pytest.mark.parametrize("block_scores", [None, 1, 300])
@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_nearest_are_the_first_of_all_distances_sorted(block_scores, shift, monkeypatch, device):
    """In one block, row by row and by three rows; also where squares far from the origin drown differences."""
    if block_scores:
        monkeypatch.setattr(ranking, "BLOCK_SCORES", block_scores)
    embeddings = some(device=device) * torch.arange(1, 6, device=device) + shift
    found = nearest(embeddings, 9)
    assert found.dtype == torch.int64 and found.device == device and found.tolist() == brute(embeddings, 9)


def test_distance_not_direction_decides():
    """From 0 on the line 0, 1, −2, 10: an inner product would prefer 10, a cosine would not tell 1 from 10."""
    assert nearest(torch.tensor([[0.0], [1], [-2], [10]]), 3).tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [1, 0, 2]]


@pytest.mark.parametrize("block_scores", [None, 1])
def test_ties_go_to_the_lower_id_and_none_is_its_own_neighbour(block_scores, monkeypatch, device):
    """A grid around 0, where most distances are tied, and every point there twice: a twin is nearest, never oneself."""
    if block_scores:
        monkeypatch.setattr(ranking, "BLOCK_SCORES", block_scores)
    grid = torch.cartesian_prod(*[torch.arange(-2.0, 3)] * 2).to(device)
    embeddings = torch.cat([grid, grid])
    found = nearest(embeddings, 6)
    assert found.tolist() == brute(embeddings, 6)
    assert found[:, 0].tolist() == [*range(25, 50), *range(25)]
    assert not (found == torch.arange(50, device=device)[:, None]).any()


@pytest.mark.parametrize("n", [2, 4])
def test_k_is_cut_to_all_others(n, device):
    embeddings = some(n, device=device)
    assert nearest(embeddings, 100).tolist() == nearest(embeddings, n - 1).tolist() == brute(embeddings, n - 1)


@pytest.mark.parametrize("n", [0, 1])
def test_less_than_two_have_no_neighbours(n):
    with pytest.raises(ValueError, match=f"^{n} embeddings have no neighbours"):
        nearest(torch.zeros(n, 3), 2)


def test_what_is_not_finite_is_refused_and_not_kept(tmp_path):
    with pytest.raises(ValueError, match="NaN or infinity"):
        nearest(torch.tensor([[0.0], [1], [float("nan")]]), 1)
    assert not (tmp_path / "cache" / "neighbours").exists()


def test_parameters_and_doubles_will_do(device):
    embeddings = torch.nn.Parameter(some(device=device))
    found = nearest(embeddings, 4)
    assert not found.requires_grad and found.tolist() == nearest(embeddings.detach().cpu().double(), 4).tolist()


# ------------------------------------------------------------------------------------------------------------ the cache

def test_neighbours_are_searched_once(searches, kept, device):
    """Whether or not the tensor is laid out in one piece."""
    embeddings = some(device=device)
    first = nearest(embeddings, 4)
    (path,) = kept()
    assert path.suffix == ".safetensors" and searches == [70]
    for same in (embeddings.clone(), embeddings.T.contiguous().T):
        again = nearest(same, 4)
        assert torch.equal(again, first) and again.dtype == torch.int64 and again.device == device
    assert searches == [70] and kept() == [path]


def test_other_embeddings_another_k_or_another_shape_are_searched_anew(searches, kept):
    """A single number suffices. All of a k above n − 1 are one and the same."""
    base, other = some(6, 2), some(6, 2)
    other[5, 1] += 1e-3
    reshaped = base.view(4, 3)
    for n, (embeddings, k) in enumerate([(base, 2), (base, 3), (other, 2), (reshaped, 2), (reshaped, 3)], 1):
        assert nearest(embeddings, k).tolist() == brute(embeddings, k)
        assert len(searches) == len(kept()) == n
    nearest(reshaped, 9)
    assert len(searches) == 5


@pytest.mark.parametrize("spoil", [
    lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"not a table of neighbours " * 9),
    lambda path: path.write_bytes(path.read_bytes()[:-8]), lambda path: path.write_bytes(path.read_bytes()[:20]),
    lambda path: save_file({"furthest": torch.zeros(70, 4)}, path), lambda path: path.unlink(),
], ids=["empty", "not ours", "cut short", "cut in the header", "another table", "gone"])
def test_a_spoilt_file_is_searched_and_written_anew(spoil, searches, kept):
    embeddings = some()
    first = nearest(embeddings, 4)
    spoil(*kept())
    for _ in range(2):
        assert torch.equal(nearest(embeddings, 4), first) and len(searches) == 2
    (path,) = kept()
    assert torch.equal(load_file(path)["nearest"], first)


# --------------------------------------------------------------------------------------------------------- whole files

def contents(folder) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_file_is_there_only_when_it_is_whole(tmp_path):
    """While it is written, and after a writer that fails half-way, the old one stands; nothing is left over."""
    path, seen = tmp_path / "file", []

    def writer(text, error=None):
        def write(scratch):
            scratch.write_text(text)
            seen.append((scratch.stat().st_ino, path.read_text() if path.exists() else None))
            if error:
                raise error
        return write

    with pytest.raises(OSError, match="disk full"):
        write_whole(path, writer("ha", OSError("disk full")))
    assert contents(tmp_path) == {}
    write_whole(path, writer("first"))
    write_whole(path, writer("second"))
    assert path.stat().st_ino == seen[-1][0]  # moved in one step, not copied
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, writer("th", KeyboardInterrupt()))
    assert contents(tmp_path) == {"file": "second"}
    assert [before for _, before in seen] == [None, None, "first", "second"]


def test_two_writers_do_not_meet(tmp_path):
    """The second writes from within the first; the one to finish last stays."""
    path = tmp_path / "file"

    def outer(scratch):
        scratch.write_text("outer")
        write_whole(path, lambda other: other.write_text("inner"))
        assert scratch.read_text() == "outer" and path.read_text() == "inner"

    write_whole(path, outer)
    assert contents(tmp_path) == {"file": "outer"}


def test_what_a_killed_writer_left_is_swept_up_after_an_hour(tmp_path):
    for name, hours in ((".writing-old", 1.1), (".writing-young", 0.9), ("other", 100)):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, times=(time.time() - 3600 * hours,) * 2)
    write_whole(tmp_path / "file", lambda scratch: scratch.write_text("file"))
    assert sorted(contents(tmp_path)) == [".writing-young", "file", "other"]
