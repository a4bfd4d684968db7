"""Compression without training: against the dense SVD, bounds of rounding, bytes counted from what is kept."""

import numpy as np
import pytest
import torch

import rkd
from rkd import archive, compress
from rkd.compress import pack, product_quantize, quantize, size, truncate, unpack
from rkd.rounding import round_rows, unround

N_USERS, N_ITEMS, DIM = 70, 90, 12


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def factors():
    """Factors whose coordinates differ in size, one user and one item of zeros."""
    spread = torch.linspace(0.1, 2, DIM)
    users, items = normal(N_USERS, DIM) * spread, normal(N_ITEMS, DIM, seed=1) * spread.flip(0)
    users[3], items[5] = 0, 0
    return users, items


# ------------------------------------------------------------------------------------------------------- truncation

@pytest.mark.parametrize("dim", [1, 5, DIM])
def test_truncation_is_the_dense_svd_cut(factors, dim):
    users, items = (x.double().numpy() for x in factors)
    left, values, right = np.linalg.svd(users @ items.T, full_matrices=False)
    wanted = left[:, :dim] * values[:dim] @ right[:dim]
    u, v = truncate(factors, dim).factors()
    assert u.shape == (N_USERS, dim) and v.shape == (N_ITEMS, dim)
    assert np.allclose((u @ v.T).numpy(), wanted, atol=1e-4)


def test_truncation_shares_the_singular_values_evenly(factors):
    u, v = truncate(factors, 4).factors()
    assert torch.allclose(u.norm(dim=0), v.norm(dim=0), rtol=1e-4)


def test_no_matrix_of_users_and_items_is_made():
    """40,000 users and as many items would make 6.4 GB."""
    u, _ = truncate((normal(40_000, 3), normal(40_000, 3, seed=1)), 2).factors()
    assert u.shape == (40_000, 2)


@pytest.mark.parametrize("dim", [0, DIM + 1])
def test_a_size_that_cannot_be(factors, dim):
    with pytest.raises(ValueError, match=f"dim must be between 1 and the model's own 12, not {dim}"):
        truncate(factors, dim)


# --------------------------------------------------------------------------------------------------------- rounding

@pytest.mark.parametrize("bits", compress.BITS)
def test_rounding_is_off_by_half_a_step_at_most_within_its_range(factors, bits):
    for matrix, rounded in zip(factors, quantize(factors, bits).factors()):
        codes, scale = round_rows(matrix, bits)
        inside = matrix.abs() <= scale * (2 ** bits - 1) / 2
        assert ((matrix - rounded).abs() <= scale / 2 * (1 + 1e-5) + 1e-12)[inside].all()
        levels = [rounded[row].unique().numel() for row in range(len(rounded))]
        assert max(levels) <= 2 ** bits


@pytest.mark.parametrize("bits", compress.BITS)
def test_every_row_is_rounded_no_worse_than_with_its_largest_number_as_the_end(factors, bits):
    """The naive way: loop over rows, the scale of the largest number."""
    for matrix, rounded in zip(factors, quantize(factors, bits).factors()):
        for row, found in zip(matrix.tolist(), rounded.tolist()):
            half = (2 ** bits - 1) / 2
            step = max(map(abs, row)) / half
            naive = [step * (min(max(round(x / step + half), 0), 2 * half) - half) if step else 0.0 for x in row]
            error = sum((x - y) ** 2 for x, y in zip(row, found))
            assert error <= sum((x - y) ** 2 for x, y in zip(row, naive)) + 1e-6


def test_more_bits_are_closer(factors):
    users, items = factors
    errors = [(u @ v.T - users @ items.T).square().mean() for u, v in (quantize(factors, b).factors()
                                                                       for b in compress.BITS)]
    assert all(more < less / 2 for less, more in zip(errors, errors[1:]))


@pytest.mark.parametrize("bits", compress.BITS)
def test_packing_is_without_loss_and_without_gaps(bits):
    codes = torch.randint(2 ** bits, (20, 13), generator=torch.Generator().manual_seed(bits)).to(torch.uint8)
    packed = pack(codes, bits)
    assert packed.dtype == torch.uint8 and packed.shape == (20, -(-13 * bits // 8))
    assert torch.equal(unpack(packed, bits, 13), codes)


@pytest.mark.parametrize("bits, per_row", [(2, 3 + 4), (3, 5 + 4), (4, 6 + 4), (8, 12 + 4)])
def test_bytes_are_those_of_the_packed_codes(factors, bits, per_row):
    rounded = quantize(factors, bits)
    assert [codes.numel() * codes.element_size() for codes in rounded.codes] == [per_row * N_USERS, per_row * N_ITEMS]
    assert size(rounded) == compress.Size(per_row, per_row) and size(factors).per_item == 4 * DIM
    assert size(rounded).total(N_USERS, N_ITEMS) == sum(codes.numel() for codes in rounded.codes)


@pytest.mark.parametrize("bits", [2, 5])
def test_the_packed_codes_are_the_model(factors, bits):
    """Decoding what is kept, by hand, gives the factors."""
    rounded = quantize(factors, bits)
    for packed, matrix in zip(rounded.codes, rounded.factors()):
        scale = packed[:, -4:].contiguous().view(torch.float32)
        assert torch.equal(unround(unpack(packed[:, :-4], bits, DIM), scale, bits), matrix)


@pytest.mark.parametrize("bits", [1, 9, 4.5])
def test_bits_that_cannot_be(factors, bits):
    with pytest.raises(ValueError, match="bits must be from 2 to 8"):
        quantize(factors, bits)


# ---------------------------------------------------------------------------------------------- product quantisation

@pytest.fixture(scope="module")
def many():
    pytest.importorskip("faiss")
    return normal(400, 10), normal(300, 10, seed=1)


def test_product_quantisation_takes_the_nearest_centre(many):
    """Naive: among the distinct decoded parts of all rows, none is nearer than a row's own."""
    rounded = product_quantize(many, 5)
    for matrix, decoded in zip(many, rounded.factors()):
        for part in range(0, 10, 2):
            centres = decoded[:, part:part + 2].unique(dim=0)
            assert len(centres) <= 256
            nearest = (matrix[:, None, part:part + 2] - centres).norm(dim=2).amin(1)
            own = (matrix[:, part:part + 2] - decoded[:, part:part + 2]).norm(dim=1)
            assert torch.allclose(own, nearest, atol=1e-4)


def test_bytes_and_codebooks(many):
    rounded = product_quantize(many, 3)  # 10 numbers, padded to 12
    assert [tuple(codes.shape) for codes in rounded.codes] == [(400, 3), (300, 3)]
    assert size(rounded) == compress.Size(3, 3, 2 * 256 * 12 * 4)


def test_more_bytes_are_closer(many):
    errors = [sum((x - y).square().sum() for x, y in zip(many, product_quantize(many, n).factors()))
              for n in (1, 2, 5, 10)]
    assert all(more < less for less, more in zip(errors, errors[1:]))


def test_what_product_quantisation_refuses(many, factors):
    for n in (0, 11):
        with pytest.raises(ValueError, match="n_bytes must be between 1 and the model's size, 10"):
            product_quantize(many, n)
    with pytest.raises(ValueError, match="256 centres need 256 rows a side, not 70 users"):
        product_quantize(factors, 3)


# ------------------------------------------------------------------------------------------------- a model like others

@pytest.mark.parametrize("compressed", [lambda x: truncate(x, 8), lambda x: quantize(x, 8)])
def test_it_is_evaluated_distilled_and_recommended_from(compressed):
    split = rkd.load("synthetic").split("unkd", 0)
    teacher = rkd.train(rkd.MF(split, 16, 0), split, lr=0.02, epochs=20, progress=False).model
    small = compressed(teacher)
    whole, cut = (rkd.evaluate(model, split)["ndcg@10"] for model in (teacher, small))
    assert cut > 0.8 * whole
    assert rkd.distill(small, split, "unkd", epochs=1, progress=False).epochs == 1
    assert rkd.recommend(small, split, torch.tensor([0]), 5).shape == (1, 5)


# ------------------------------------------------------------------------------------------------------ kept in a file

MAKERS = {"rounded": lambda x: quantize(x, 3), "in eight bits": lambda x: quantize(x, 8),
          "product": lambda x: product_quantize(x, 3), "truncated": lambda x: truncate(x, 4)}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_compressed_model_is_the_same_when_it_is_loaded_and_its_file_is_of_its_bytes(many, tmp_path, kind):
    """The file is of the stated bytes, and at most a kilobyte of words about them."""
    model, path = MAKERS[kind](many), tmp_path / "model"
    compress.save(model, path)
    loaded = compress.load(path)
    assert all(map(torch.equal, loaded.factors(), model.factors())) and size(loaded) == size(model)
    assert 0 < path.stat().st_size - size(model).total(400, 300) < 1024
    if kind != "truncated":
        assert all(map(torch.equal, loaded.codes, model.codes))


def test_what_is_in_the_file_can_be_decoded_by_hand(factors, tmp_path):
    """Bit by bit: number c of a row is bits 3c, 3c + 1, 3c + 2 of its bytes, least significant first."""
    compress.save(quantize(factors, 3), tmp_path / "model")
    arrays, about = archive.read(tmp_path / "model")
    assert about == {"compressed": {"dim": DIM, "bits": 3}} and sorted(arrays) == ["item_codes", "user_codes"]
    for side, matrix in zip(("user", "item"), quantize(factors, 3).factors()):
        row = arrays[f"{side}_codes"][7]
        scale = np.frombuffer(row[-4:].tobytes(), "<f4")[0]
        stream = [byte >> place & 1 for byte in row[:-4].tolist() for place in range(8)]
        codes = [stream[3 * c] + 2 * stream[3 * c + 1] + 4 * stream[3 * c + 2] for c in range(DIM)]
        assert np.allclose([scale * (code - 3.5) for code in codes], matrix[7], rtol=1e-6)


def test_a_moved_model_is_the_same_and_keeps_its_codes(many):
    for model in (quantize(many, 4), product_quantize(many, 2)):
        moved = model.to("cpu")
        assert size(moved) == size(model) and all(map(torch.equal, moved.factors(), model.factors()))


def test_files_of_the_two_kinds_are_told_apart(factors, tmp_path):
    split = rkd.load("synthetic").split("unkd", 0)
    compress.save(quantize(factors, 4), tmp_path / "codes")
    rkd.serve(rkd.MF(split, 3), split).save(tmp_path / "served")
    with pytest.raises(ValueError, match="holds a compressed model without ids: rkd.compress.load reads it"):
        rkd.load_model(tmp_path / "codes")
    with pytest.raises(ValueError, match="is not of rkd.compress.save: rkd.load_model reads it"):
        compress.load(tmp_path / "served")
    damaged = tmp_path / "damaged"
    content = bytearray((tmp_path / "codes").read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        compress.load(damaged)
