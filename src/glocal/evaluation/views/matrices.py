"""Dissimilarities of many objects as a small picture: ordered, averaged in groups, 8 bits a cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from glocal.data.answers import Answers
from glocal.evaluation.views.view import UNKNOWN, Matrix
from glocal.similarity import unit_rows

MOST = 256  # cells of a side
_CLUSTERED = 4000  # objects whose n²/2 distances are clustered
_PER_CELL = 20  # pairs that a cell of people's matrix rests on, on average


def object_order(Z: Float[np.ndarray, "n p"], categories: Sequence[str] | None = None) -> Int[np.ndarray, " n"]:
    """Objects in the order of a matrix: by category, inside it by average linkage of their cosines.

    Of more than 4000 objects the second key is the first principal axis.
    """
    n = len(Z)
    rows = unit_rows(np.asarray(Z, dtype=np.float64))
    place = np.empty(n, dtype=np.int64)
    place[_leaves(rows)] = np.arange(n)
    if categories is None:
        return np.argsort(place)
    names = np.array(categories)
    return np.lexsort([place, names, names == "other"])


def matrix_of(Z: Float[np.ndarray, "n p"], order: Int[np.ndarray, " n"], most: int = MOST) -> Matrix:
    """1 - cosine of all pairs, averaged over the pairs of two groups of neighbours in the order.

    The mean over two groups is 1 - ū_G·ū_H with ū the mean of the rows scaled to length 1; on the diagonal an object is
    not compared with itself.
    """
    rows = unit_rows(np.asarray(Z, dtype=np.float64))[order]
    sizes, starts = _groups(len(rows), most)
    sums = np.add.reduceat(rows, starts, axis=0)
    products = sums @ sums.T
    own = np.add.reduceat(np.einsum("ij,ij->i", rows, rows), starts)
    pairs = np.outer(sizes, sizes).astype(float)
    np.fill_diagonal(pairs, sizes * (sizes - 1))
    products[np.diag_indices(len(sizes))] -= own
    D = 1 - products / np.maximum(pairs, 1)
    D[np.diag_indices(len(sizes))] *= sizes > 1
    return eight_bit(D)


def people_matrix(answers: Answers, order: Int[np.ndarray, " n"]) -> Matrix | None:
    """How often people, asked about two objects among others, found another pair more alike, averaged in groups.

    As many groups as leave about 20 looks at a cell; None where that is fewer than 4.
    """
    n = len(order)
    looks = len(answers) * len(answers.pairs)
    most = min(MOST, int((2 * looks / _PER_CELL) ** 0.5))
    if most < 4:
        return None
    sizes, _ = _groups(n, most)
    group = np.empty(n, dtype=np.int64)
    group[order] = np.repeat(np.arange(len(sizes)), sizes)
    m = len(sizes)
    asked, apart = np.zeros((2, m * m))
    columns = group[answers.objects].T
    for place, (first, second) in enumerate(answers.pairs):
        i, j = columns[first], columns[second]
        for cell in (i * m + j, j * m + i):
            counts = np.bincount(cell, answers.weights, minlength=m * m)
            asked += counts
            apart += counts if place else 0  # the first pair is the chosen one
    D = np.full(m * m, np.nan)
    np.divide(apart, asked, out=D, where=asked > 0)
    return eight_bit(D.reshape(m, m))


def eight_bit(D: Float[np.ndarray, "m m"]) -> Matrix:
    """Quantise dissimilarities; the range is that between different groups."""
    outside = D[~np.eye(len(D), dtype=bool) & np.isfinite(D)]
    low, high = (float(outside.min()), float(outside.max())) if len(outside) else (0.0, 1.0)
    scale = high - low if high - low > 1e-12 else 1.0
    cells = np.round(np.clip((D - low) / scale, 0, 1) * 254)
    return Matrix(np.where(np.isfinite(D), cells, UNKNOWN).astype(np.uint8), low, low + scale)


def _groups(n: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    # NOTE the larger groups are spread evenly: a place along the matrix is the same share of the objects everywhere
    edges = np.arange(min(n, most) + 1) * n // min(n, most)
    return np.diff(edges), edges[:-1]


def _leaves(rows: np.ndarray) -> np.ndarray:
    if not 2 < len(rows) <= _CLUSTERED:
        centred = rows - rows.mean(axis=0)
        axis = np.linalg.eigh(centred.T @ centred)[1][:, -1]
        return np.argsort(centred @ axis, kind="stable")
    from scipy.cluster.hierarchy import leaves_list, linkage

    S = rows @ rows.T
    distances = np.maximum(1 - S[np.triu_indices(len(rows), 1)], 0)
    return leaves_list(linkage(distances, "average")).astype(np.int64)
