"""Kinds of answers, similarities of pairs, the credit and loss of a choice, ties, and collapse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Real, Shaped

from glocal.errors import CollapseWarning, DataError, ParameterError, warn

SIMILARITIES = ("cosine", "dot")
Pairs = tuple[tuple[int, int], ...]
Embedding = Float[np.ndarray, "n _"]
"""Features before or after a transform, (n, p): one row per object or image."""
Rows = Float[np.ndarray, "_ p"]
"""Features in p columns of any number of objects or images."""
Square = Float[np.ndarray, "p p"]
"""W, or its gradient, on p columns."""
Weights = Float[np.ndarray, "p _"]
"""A map from p columns to any number of columns."""
Values = Float[np.ndarray, " n"]
"""One number for each of n things."""
Mask = Bool[np.ndarray, " n"]
"""Which of n things are meant."""
Numbers = Int[np.ndarray, " n"]
"""The number of a row or class for each of n things."""
Labels = Shaped[np.ndarray, " n"]
"""The class, person or other name of each of n things, an integer or a text."""
Choices = Float[np.ndarray, "n k"]
"""One number for each of k candidates of each of n answers or images."""
Objects = Int[np.ndarray, "n m"]
"""The m objects of each of n answers, as indices from 0."""


_MAX_GRAM_OBJECTS = 20_000  # with more objects the n × n matrix does not fit in memory
_MAX_GRAM_ENTRIES_PER_PAIR = 64  # beyond this ratio most entries of the matrix would not be read
_CHUNK = 1 << 13  # answers per chunk
_BLOCK_ENTRIES = 1 << 20  # cosines per block, so that results computed from it stay in the cache
_MIN_BLOCK_ROWS = 64  # a matrix product of fewer rows is slow
_MIN_SPREAD = 1e-12  # least variance of the rows, relative to their mean squared length
_CHANCE_SLACK = 1e-6  # nats


class Kind(NamedTuple):
    """A kind of answers: in each, a person chose one of the candidate pairs of its objects.

    `columns` says which object each column holds, and `pairs` are the candidate pairs of columns,
    the chosen one first. If `is_open`, more columns may follow, each paired with column 0.
    """

    columns: tuple[str, ...]
    pairs: Pairs
    is_open: bool = False

    @property
    def has_reference(self) -> bool:
        """Whether each candidate pair holds the object of column 0."""
        return all(0 in pair for pair in self.pairs)


KINDS = {
    "odd-one-out": Kind(("a", "b", "odd"), ((0, 1), (0, 2), (1, 2))),
    "anchor": Kind(("reference", "closer", "farther"), ((0, 1), (0, 2))),
    "nearest-of-n": Kind(("reference", "nearest", "other"), ((0, 1), (0, 2)), is_open=True),
}
"""The kinds of answers; a kind that is added is read everywhere."""


def candidate_pairs(kind: str, m: int = 3) -> Pairs:
    """The candidate pairs of an answer with m objects, as columns of its row.

    The chosen pair comes first.

    >>> candidate_pairs("odd-one-out"), candidate_pairs("anchor")
    (((0, 1), (0, 2), (1, 2)), ((0, 1), (0, 2)))
    >>> candidate_pairs("nearest-of-n", 4)
    ((0, 1), (0, 2), (0, 3))
    """
    columns, pairs, _ = KINDS[kind]
    further = range(len(columns), m)
    pairs_of_further = tuple((0, column) for column in further)
    return pairs + pairs_of_further


def finite(Z: np.ndarray, what: str = "features") -> Embedding:
    """Check that Z is a finite matrix, and return its rows in float64.

    Every evaluation checks the rows that it scores in this way. `what`, a plural noun, names the
    rows in the message.

    Raises
    ------
    DataError
        Z is not a matrix of real numbers, or holds NaN or infinity.
    """
    Z = np.asarray(Z)
    if Z.ndim != 2 or Z.dtype.kind not in "fiub":
        raise DataError(
            f"{what} hold {Z.dtype} of shape {Z.shape}; they must be real numbers of shape (n, p)."
        )
    rows = np.asarray(Z, dtype=np.float64)
    is_finite = np.isfinite(rows).all(axis=1)
    bad = np.flatnonzero(~is_finite)
    if len(bad):
        raise DataError(
            f"{what} hold NaN or infinity in {len(bad)} of {len(rows)} rows, the first of them row "
            f"{bad[0]}. Recompute these rows, or leave them out."
        )
    return rows


def row_hashes(rows: np.ndarray) -> Int[np.ndarray, " n"]:
    """A hash of each row; 0.0 and -0.0 are equal numbers, and rows that hold them are equal too."""
    hashes = np.empty(len(rows), dtype=np.int64)
    for number, row in enumerate(rows):
        without_negative_zero = row + 0.0
        # of 64 bits: no two of a million rows collide
        hashes[number] = hash(without_negative_zero.tobytes())
    return hashes


def repeated_rows(rows: np.ndarray, classes: Labels | None = None) -> Mask:
    """Which rows equal an earlier row, with classes an earlier row of their class."""
    import pandas as pd

    hashes = row_hashes(rows)
    table = pd.DataFrame({"row": hashes, "class": classes})
    return table.duplicated().to_numpy()


def unit_rows(Z: Embedding) -> Embedding:
    """Scale rows to length 1; a row of zeros stays zero, so that all its similarities are 0."""
    norms = np.linalg.norm(Z, axis=1, keepdims=True)
    norms[norms == 0] = 1
    return Z / norms


def scaled_to_length_1(X: Real[np.ndarray, "n p"]) -> Embedding:
    """`unit_rows` in float64 of raw features, whose squares may overflow or underflow."""
    rows = X.astype(np.float64)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    largest[largest == 0] = 1
    return unit_rows(rows / largest)


def row_slices(n: int, size: int) -> list[slice]:
    """Split rows 0..n-1 into slices of `size` rows; the last slice may be shorter."""
    slices = []
    for start in range(0, n, max(size, 1)):
        end = min(start + size, n)
        slices.append(slice(start, end))
    return slices


def cosine_blocks(
    queries: Float[np.ndarray, "m p"], gallery: Float[np.ndarray, "n p"] | None = None
) -> Iterator[tuple[slice, Float[np.ndarray, "b n"]]]:
    """Yield a slice of the queries and their cosines with the gallery, one block at a time.

    Without a gallery the rows are compared with each other, and the cosine of a row with itself is
    -inf.
    """
    Q = unit_rows(finite(queries))
    G = Q if gallery is None else unit_rows(finite(gallery))
    rows_in_cache = _BLOCK_ENTRIES // max(1, len(G))
    block_rows = max(_MIN_BLOCK_ROWS, rows_in_cache)
    for rows in row_slices(len(Q), block_rows):
        S = Q[rows] @ G.T
        if gallery is None:
            square = S[:, rows.start :]
            np.fill_diagonal(square, -np.inf)
        yield rows, S


def of_pairs(Z: np.ndarray, objects: Objects, pairs: Pairs, similarity: str = "cosine") -> Choices:
    """The similarities of the candidate pairs of each answer, in the order of `pairs`.

    They are computed in float64, so that ties do not come from rounding.
    """
    if similarity not in SIMILARITIES:
        allowed = " or ".join(SIMILARITIES)
        raise ParameterError(f"`similarity` is {similarity!r}; it must be {allowed}.")
    rows = np.asarray(Z, dtype=np.float64)
    if similarity == "cosine":
        rows = unit_rows(rows)
    n = len(rows)
    S = np.empty((len(pairs), len(objects)))
    gram = None
    if n <= _MAX_GRAM_OBJECTS and n * n <= _MAX_GRAM_ENTRIES_PER_PAIR * S.size:
        gram = (rows @ rows.T).ravel()
    for chunk in row_slices(len(objects), _CHUNK):  # the data of one chunk stay in the cache
        columns = objects[chunk].T.astype(np.int64, order="C")
        for number, (i, j) in enumerate(pairs):
            first = columns[i]
            second = columns[j]
            if gram is None:
                S[number, chunk] = np.einsum("ij,ij->i", rows[first], rows[second])
            else:
                S[number, chunk] = gram.take(first * n + second)
    return S.T


def choice(S: Choices, tolerance: float | Float[np.ndarray, "n 1"]) -> Choices:
    """The share of each pair in the model's choice: 1/k if k pairs are tied for the highest.

    Pairs within the tolerance (`pair_tolerance`) of the highest similarity are tied with it.
    """
    highest = S.max(axis=1, keepdims=True)
    is_highest = highest - tolerance <= S
    number_of_highest = is_highest.sum(axis=1, keepdims=True)
    return is_highest / number_of_highest


def credit(S: Choices, tolerance: float) -> tuple[Values, Mask]:
    """The credit of the model on each answer, from 0 to 1, and which answers are ties.

    The credit is the share of the chosen pair, column 0, in the model's `choice`. A collapsed model
    therefore scores chance.
    """
    shares = choice(S, tolerance)
    is_tie = shares.max(axis=1) < 1
    return shares[:, 0], is_tie


def choice_loss(S: Choices) -> Values:
    """-log softmax of the chosen pair's similarity, in nats, for each answer (log-sum-exp form)."""
    losses = np.empty(len(S))
    for chunk in row_slices(len(S), _CHUNK):
        columns = S[chunk].T
        highest = columns.max(axis=0)
        exponentials = np.exp(columns - highest)
        log_sums = np.log(exponentials.sum(axis=0))
        losses[chunk] = highest - columns[0] + log_sums
    return losses


def pair_tolerance(Z: np.ndarray, similarity: str = "cosine") -> float:
    """The largest difference at which similarities of the rows of Z are tied.

    It follows from `tie_tolerance`, since |S_ij| is at most the largest ‖z_i‖².
    """
    p = Z.shape[1]
    if similarity == "cosine":
        return tie_tolerance(p)
    rows = np.asarray(Z, dtype=np.float64)
    squared_lengths = np.einsum("ij,ij->i", rows, rows)
    largest = squared_lengths.max(initial=0.0)
    return tie_tolerance(p, float(largest))


def tie_tolerance(p: int, largest: float = 1.0) -> float:
    """The largest rounding difference of two equal similarities: 8 √p eps · max|S|, float64.

    The order in which the p products of a similarity are summed differs between processors, between
    blocks of rows and between rotations of the space, and the last digits of the sum differ with
    it. The rounding errors add up like a random walk of p steps. The tolerance is far above these
    errors, and far below any meaningful difference. `largest`, max |S|, is 1 for cosines.
    """
    eps = np.finfo(np.float64).eps
    tolerance = 8 * np.sqrt(p) * eps * largest
    return float(tolerance)


def new_group(
    ordered: Float[np.ndarray, "*rows n"], tolerance: float
) -> Bool[np.ndarray, "*rows n"]:
    """Mark each sorted value that differs from the one before it by more than the tolerance.

    Such a value begins a new group of ties. Rounding the values to a grid would not do, because
    equal values may lie on both sides of a cell edge.

    >>> new_group(np.array([3.0, 2.0, 2.0 - 1e-15, 1.0]), 1e-12).tolist()
    [True, True, False, True]
    """
    steps = np.diff(ordered, axis=-1, prepend=np.inf)
    return np.abs(steps) > tolerance


def snap_ties(values: Values, tolerance: float) -> Values:
    """Make tied values exactly equal: each takes the smallest value of its group.

    >>> snap_ties(np.array([2.0, 3.0, 2.0 - 1e-15]), 1e-12).tolist()
    [1.999999999999999, 3.0, 1.999999999999999]
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    new = new_group(ordered, tolerance)
    smallest_of_group = ordered[new]
    group = np.cumsum(new) - 1
    equalized = np.empty_like(ordered)
    equalized[order] = smallest_of_group[group]
    return equalized


def one_point(rows: Embedding) -> bool:
    """Whether rows differ only by rounding: mean_i ‖z_i - z̄‖² ≤ 1e-12 · mean_i ‖z_i‖²."""
    centred = rows - rows.mean(axis=0)
    spread = float(np.vdot(centred, centred))
    squared_length = float(np.vdot(rows, rows))
    return spread <= _MIN_SPREAD * squared_length


def is_collapsed(Z: Embedding) -> bool:
    """Whether all rows are one point or one direction, so that cosines have nothing to compare."""
    rows = np.asarray(Z, dtype=np.float64)
    if one_point(rows):
        return True
    directions = unit_rows(rows)
    return one_point(directions)


def at_chance(loss: float, chance: float) -> bool:
    """Whether a loss on the fitted answers, in nats, is no lower than the loss of guessing."""
    return loss >= chance - _CHANCE_SLACK


def zeros_if_collapsed(*parts: Float[np.ndarray, "_ p"]) -> list[Float[np.ndarray, "_ p"]]:
    """Return the rows of each part, or zeros if all parts together are collapsed.

    All cosines of zeros are tied, so that any ranking that shares credit among ties scores exactly
    chance, and one in which ties count against it less. A CollapseWarning reports this.
    """
    together = np.concatenate(parts)
    if not is_collapsed(together):
        return list(parts)
    warn(
        "collapse: all rows are one point or one direction; scores are at chance or below.",
        CollapseWarning,
    )
    return [np.zeros_like(part) for part in parts]
