"""Strong models that no gradient trains: EASE, item neighbours, popularity, iALS. References for any student; those
that are Lists are teachers that are no inner product."""

from collections.abc import Callable

import numpy as np
import torch
from scipy import linalg, sparse

from .data import Split
from .given import Given, Lists
from .limits import ABOVE_0, FROM_0, FROM_1, check

BLOCK = 512  # users whose scores are made at once


def popularity(split: Split) -> Given:
    """Every user's score of an item is the number of its training pairs."""
    counts = split.train.item_counts.float()[:, None]
    return Given((torch.ones(split.n_users, 1, device=counts.device), counts))


def ease(split: Split, l2: float = 100.0, depth: int = 500) -> Lists:
    """Scores X B, X the users' 0/1 rows of training items; B is the ridge regression of each item on all others:
    B_ij = −P_ij / P_jj off the diagonal, 0 on it, P = (XᵀX + l2 · I)⁻¹.          (EASE: Steck, WWW 2019)

    Every user's ``depth`` best unseen items. It takes 8 · n_items² bytes. Raises ValueError where l2 is not above 0 or
    depth not 1 or more.
    """
    check("depth", depth, FROM_1)
    if not l2 > 0:
        raise ValueError(f"l2 must be above 0, not {l2}: without it XᵀX has no inverse")
    x = matrix(split)
    gram = (x.T @ x).toarray()
    gram[np.diag_indices_from(gram)] += l2
    p = linalg.lapack.dpotri(linalg.cholesky(gram, overwrite_a=True, check_finite=False), overwrite_c=True)[0]
    p = np.triu(p) + np.triu(p, 1).T  # LAPACK fills one half
    b = p / -np.diag(p)
    np.fill_diagonal(b, 0)
    return ranked(split, lambda rows: x[rows] @ b, depth)


def item_knn(split: Split, k: int = 100, shrink: float = 10.0, depth: int = 500) -> Lists:
    """The score of item i is Σ_j s_ij over the user's training items j, s_ij = n_ij / (√(n_i n_j) + shrink) for the k
    most similar j of each i, n_ij the users of both.       (Deshpande and Karypis, TOIS 2004; shrinkage: Koren, 2008)

    Every user's ``depth`` best unseen items. Raises ValueError where k or depth is below 1 or shrink below 0.
    """
    for name, value, limit in (("k", k, FROM_1), ("depth", depth, FROM_1), ("shrink", shrink, FROM_0)):
        check(name, value, limit)
    x = matrix(split)
    both = (x.T @ x).tocsr()
    counts = both.diagonal()
    both.setdiag(0)
    both.eliminate_zeros()
    items = np.repeat(np.arange(split.n_items), np.diff(both.indptr))
    both.data /= np.sqrt(counts[items] * counts[both.indices]) + shrink
    order = np.lexsort((both.indices, -both.data, items))  # each item's neighbours, the nearest first
    place = np.arange(len(items)) - both.indptr[items]
    kept = order[place < k]
    nearest = sparse.csr_array((both.data[kept], (both.indices[kept], items[kept])), shape=both.shape)
    return ranked(split, lambda rows: (x[rows] @ nearest).toarray(), depth)


def ials(split: Split, dim: int, l2: float = 10.0, alpha: float = 4.0, iterations: int = 15, seed: int = 0) -> Given:
    """Factors of size ``dim`` that make Σ_ui c_ui (p_ui − ⟨u, i⟩)² + l2 (‖U‖² + ‖V‖²) small: p is 1 and c is alpha for
    training pairs, p is 0 and c is 1 for all others. By alternating least squares, of the library implicit on one
    thread: the same for the same seed.                          (iALS: Hu, Koren and Volinsky, ICDM 2008; no teacher)

    Raises ValueError where dim or iterations is below 1, l2 below 0 or alpha not above 0, ImportError without implicit.
    """
    for name, value, limit in (("dim", dim, FROM_1), ("l2", l2, FROM_0), ("alpha", alpha, ABOVE_0),
                               ("iterations", iterations, FROM_1)):
        check(name, value, limit)
    try:
        from implicit.cpu.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits  # of implicit's own requirements
    except ImportError:
        raise ImportError("iALS needs implicit: pip install implicit") from None
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(dim, l2, alpha, iterations=iterations, num_threads=1, random_state=seed)
        model.fit(sparse.csr_matrix(matrix(split)), show_progress=False)
    return Given((model.user_factors, model.item_factors)).to(split.train.users.device)


def matrix(split: Split) -> sparse.csr_array:
    """The training pairs as a matrix of ones, [n_users, n_items], float64."""
    offsets, items = (x.cpu().numpy() for x in split.train.csr)
    return sparse.csr_array((np.ones(len(items)), items, offsets), shape=(split.n_users, split.n_items))


def ranked(split: Split, scores: Callable[[np.ndarray], np.ndarray], depth: int) -> Lists:
    """Every user's ``depth`` best unseen items as Lists; scores : some users' rows of the scores of all items, [n] →
    [n, n_items]. Where a user has fewer unseen items, −1 fills up."""
    items, listed = [], []
    offsets, seen = (x.cpu().numpy() for x in split.train.csr)
    for users in np.array_split(np.arange(split.n_users), -(-split.n_users // BLOCK)):
        block = torch.from_numpy(np.ascontiguousarray(scores(users)))
        owner = np.repeat(np.arange(len(users)), offsets[users + 1] - offsets[users])
        block[owner, seen[offsets[users[0]]:offsets[users[-1] + 1]]] = -torch.inf
        best, order = block.sort(dim=1, descending=True, stable=True)  # ties go to the lower item
        best, order = (x[:, :min(depth, split.n_items)] for x in (best, order))
        items.append(torch.where(best > -torch.inf, order, -1))
        listed.append(best.clamp(min=torch.finfo(torch.float32).min).float())
    device = split.train.users.device
    return Lists(torch.cat(items).to(device), torch.cat(listed).to(device), split.n_items)
