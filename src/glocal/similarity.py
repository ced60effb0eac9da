"""Similarities of the candidate pairs of answers, credit and loss of a choice, and collapse."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int

from glocal.errors import CollapseWarning, DataError, ParameterError

SIMILARITIES = ("cosine", "dot")
Pairs = tuple[tuple[int, int], ...]
Embedding = Float[np.ndarray, "n _"]
"""Features before or after a transform, (n, p): a row for each object or image."""

_MAX_GRAM_OBJECTS = 20_000  # of more, the n × n matrix no longer fits: rows are multiplied in pairs
_MAX_GRAM_ENTRIES_PER_PAIR = 64  # of more, most entries would not be read
_CHUNK = 1 << 13  # answers
_BLOCK_ENTRIES = 1 << 20  # cosines at a time: what is made of a block stays in the cache
_MIN_BLOCK_ROWS = 64  # of fewer a product is slow
_MIN_SPREAD = 1e-12  # of the mean square length of the rows
_CHANCE_SLACK = 1e-6  # nats


def candidate_pairs(kind: str, m: int = 3) -> Pairs:
    """The pairs among which an answer with m objects chooses, as columns of its row.

    The chosen pair comes first.

    >>> candidate_pairs("odd-one-out"), candidate_pairs("anchor")
    (((0, 1), (0, 2), (1, 2)), ((0, 1), (0, 2)))
    >>> candidate_pairs("nearest-of-n", 4)
    ((0, 1), (0, 2), (0, 3))
    """
    if kind == "odd-one-out":
        return ((0, 1), (0, 2), (1, 2))
    return tuple((0, j) for j in range(1, m))


def finite(Z: np.ndarray, what: str = "features") -> Float[np.ndarray, "n p"]:
    """The rows in float64, checked; every evaluation passes what it scores through here.

    `what` names the rows in the message, in the plural.

    Raises
    ------
    DataError
        Not a matrix of real numbers, NaN or infinity.
    """
    Z = np.asarray(Z)
    if Z.ndim != 2 or Z.dtype.kind not in "fiub":
        raise DataError(
            f"{what} hold {Z.dtype} of shape {Z.shape}; they must be real numbers of shape (n, p)."
        )
    rows = np.asarray(Z, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise DataError(
            f"{what} hold NaN or infinity in {len(bad)} of {len(rows)} rows, the first of them row "
            f"{bad[0]}. Recompute these rows, or leave them out."
        )
    return rows


def unit_rows(Z: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n p"]:
    """Rows scaled to length 1; a row of zeros stays zero, so that its similarities are all 0."""
    norms = np.linalg.norm(Z, axis=1, keepdims=True)
    scaled: np.ndarray = Z / np.where(norms > 0, norms, 1)
    return scaled


def row_slices(n: int, size: int) -> list[slice]:
    """Slices of rows 0..n-1, of `size` rows each but the last."""
    return [slice(start, min(start + size, n)) for start in range(0, n, max(size, 1))]


def cosine_blocks(
    queries: Float[np.ndarray, "m p"], gallery: Float[np.ndarray, "n p"] | None = None
) -> Iterator[tuple[slice, Float[np.ndarray, "b n"]]]:
    """Yield some rows of the queries and their cosines with the gallery, a block at a time.

    Without a gallery the rows are compared with each other, and the cosine of a row with itself is
    -inf.
    """
    Q = unit_rows(finite(queries))
    G = Q if gallery is None else unit_rows(finite(gallery))
    for rows in row_slices(len(Q), max(_MIN_BLOCK_ROWS, _BLOCK_ENTRIES // max(1, len(G)))):
        S = Q[rows] @ G.T
        if gallery is None:
            np.fill_diagonal(S[:, rows.start :], -np.inf)
        yield rows, S


def of_pairs(
    Z: np.ndarray, objects: Int[np.ndarray, "t m"], pairs: Pairs, similarity: str = "cosine"
) -> Float[np.ndarray, "t k"]:
    """The similarities of the candidate pairs of each answer, in the order of `pairs`.

    They are computed in float64, so that ties are ties and not rounding.
    """
    Z = np.asarray(Z, dtype=np.float64)
    if similarity not in SIMILARITIES:
        raise ParameterError(
            f"`similarity` is {similarity!r}; allowed are {' and '.join(SIMILARITIES)}."
        )
    rows = unit_rows(Z) if similarity == "cosine" else Z
    n = len(Z)
    S = np.empty((len(pairs), len(objects)))
    gram = None
    if n <= _MAX_GRAM_OBJECTS and n * n <= _MAX_GRAM_ENTRIES_PER_PAIR * S.size:
        gram = (rows @ rows.T).ravel()
    for chunk in row_slices(len(objects), _CHUNK):  # what a chunk touches stays in the cache
        columns = objects[chunk].T.astype(np.int64, order="C")
        for number, (i, j) in enumerate(pairs):
            if gram is None:
                S[number, chunk] = np.einsum("ij,ij->i", rows[columns[i]], rows[columns[j]])
            else:
                S[number, chunk] = gram.take(columns[i] * n + columns[j])
    return S.T


def choice(
    S: Float[np.ndarray, "t k"], tolerance: float | Float[np.ndarray, "t 1"]
) -> Float[np.ndarray, "t k"]:
    """The share of the model's choice that each pair gets: 1/k if k are tied for the highest.

    Pairs within the tolerance (`pair_tolerance`) of the highest are tied with it.
    """
    is_highest = S.max(axis=1, keepdims=True) - tolerance <= S
    return is_highest / is_highest.sum(axis=1, keepdims=True)


def credit(
    S: Float[np.ndarray, "t k"], tolerance: float
) -> tuple[Float[np.ndarray, " t"], Bool[np.ndarray, " t"]]:
    """How right the model is on each answer, from 0 to 1, and which answers are ties.

    An answer earns the share of its pair, column 0, in the model's `choice`, so that a collapsed
    model scores chance.
    """
    shares = choice(S, tolerance)
    return shares[:, 0], shares.max(axis=1) < 1


def choice_loss(S: Float[np.ndarray, "t k"]) -> Float[np.ndarray, " t"]:
    """-log softmax of the chosen pair's similarity, in nats, for each answer (log-sum-exp form)."""
    highest = S.max(axis=1)
    return highest - S[:, 0] + np.log(np.exp(S.T - highest).sum(axis=0))


def pair_tolerance(Z: np.ndarray, similarity: str = "cosine") -> float:
    """The difference up to which similarities of the rows of Z are tied.

    |S_ij| is at most the largest ‖z_i‖².
    """
    if similarity == "cosine":
        return tie_tolerance(Z.shape[1])
    Z = np.asarray(Z, dtype=np.float64)
    return tie_tolerance(Z.shape[1], float(np.einsum("ij,ij->i", Z, Z).max(initial=0.0)))


def tie_tolerance(p: int, largest: float = 1.0) -> float:
    """How far apart two equal similarities can be computed to be: 8 √p eps · max|S|, float64.

    The order in which the p products of a similarity are summed, and so its last digits, differs
    between processors, between blocks of rows and between rotations of the space; the errors add up
    like those of a random walk of p steps. The bound is far above them and far below any difference
    that means something. `largest`, max |S|, is 1 for cosines.
    """
    return float(8 * np.sqrt(p) * np.finfo(np.float64).eps * largest)


def new_group(
    ordered: Float[np.ndarray, "*rows n"], tolerance: float
) -> Bool[np.ndarray, "*rows n"]:
    """Where a group of ties begins in sorted values: beyond the tolerance from the value before.

    No grid of rounded values can tell this: equal values may lie on both sides of the edge of a
    cell.

    >>> new_group(np.array([3.0, 2.0, 2.0 - 1e-15, 1.0]), 1e-12).tolist()
    [True, True, False, True]
    """
    return np.abs(np.diff(ordered, axis=-1, prepend=np.inf)) > tolerance


def snap_ties(values: Float[np.ndarray, " n"], tolerance: float) -> Float[np.ndarray, " n"]:
    """The same values, ties made exactly equal: each takes the smallest value of its group.

    >>> snap_ties(np.array([2.0, 3.0, 2.0 - 1e-15]), 1e-12).tolist()
    [1.999999999999999, 3.0, 1.999999999999999]
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    new = new_group(ordered, tolerance)
    equalized = np.empty_like(ordered)
    equalized[order] = ordered[new][np.cumsum(new) - 1]
    return equalized


def one_point(rows: Embedding) -> bool:
    """Whether rows differ by rounding alone: mean_i ‖z_i - z̄‖² ≤ 1e-12 · mean_i ‖z_i‖²."""
    centred = rows - rows.mean(axis=0)
    return float(np.vdot(centred, centred)) <= _MIN_SPREAD * float(np.vdot(rows, rows))


def is_collapsed(Z: Embedding) -> bool:
    """Whether all rows are one point, or all point one way: cosines have nothing to compare."""
    Z = np.asarray(Z, dtype=np.float64)
    return one_point(Z) or one_point(unit_rows(Z))


def at_chance(loss: float, chance: float) -> bool:
    """Whether a loss on the fitted answers, in nats, is that of guessing: nothing was learned."""
    return loss >= chance - _CHANCE_SLACK


def zeros_if_collapsed(*parts: Float[np.ndarray, "_ p"]) -> list[Float[np.ndarray, "_ p"]]:
    """The rows of each part; zeros where all parts together are one point.

    All cosines of zeros tie, so that any ranking of them, ties shared, scores exactly chance. A
    CollapseWarning says so.
    """
    if not is_collapsed(np.concatenate(parts)):
        return [*parts]
    warnings.warn(
        "collapse: all rows are one point; the scores are those of chance.",
        CollapseWarning,
        stacklevel=3,
    )
    return [np.zeros_like(part) for part in parts]
