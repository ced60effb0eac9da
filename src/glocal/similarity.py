"""Kinds of answers, similarities of pairs, the credit and loss of a choice, ties, and collapse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Real, Shaped

from glocal.errors import CollapseWarning, DataError, ParameterError, warn

SIMILARITIES = ("cosine", "dot")
Pair = tuple[int, int]
Pairs = tuple[Pair, ...]
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
Block = tuple[slice, Float[np.ndarray, "b n"]]
"""Some of the queries, and their similarities to each row of a gallery."""


_MAX_GRAM_OBJECTS = 20_000  # with more objects the n × n matrix does not fit in memory
_MAX_GRAM_ENTRIES_PER_PAIR = 64  # beyond this ratio most entries of the matrix would not be read
_CHUNK = 1 << 13  # answers per chunk
_BLOCK_ENTRIES = 1 << 20  # cosines per block, so that results computed from it stay in the cache
_MIN_BLOCK_ROWS = 64  # a matrix product of fewer rows is slow
_MIN_SPREAD = 1e-12  # least variance of the rows, relative to their mean squared length


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
        holds_reference = [0 in pair for pair in self.pairs]
        return all(holds_reference)


_PAIRS_WITH_REFERENCE = ((0, 1), (0, 2))
_PAIRS_OF_THREE = ((0, 1), (0, 2), (1, 2))
_ODD_ONE_OUT = Kind(columns=("a", "b", "odd"), pairs=_PAIRS_OF_THREE)
_ANCHOR = Kind(columns=("reference", "closer", "farther"), pairs=_PAIRS_WITH_REFERENCE)
_NEAREST_OF_N = Kind(
    columns=("reference", "nearest", "other"), pairs=_PAIRS_WITH_REFERENCE, is_open=True
)
KINDS: dict[str, Kind] = {
    "odd-one-out": _ODD_ONE_OUT,
    "anchor": _ANCHOR,
    "nearest-of-n": _NEAREST_OF_N,
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
    first = len(columns)
    further = range(first, m)
    for column in further:
        pair = (0, column)
        pairs += (pair,)
    return pairs


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
    is_matrix = Z.ndim == 2
    is_real = Z.dtype.kind in "fiub"
    if not is_matrix or not is_real:
        raise DataError(
            f"{what} hold {Z.dtype} of shape {Z.shape}; they must be real numbers of shape (n, p)."
        )
    rows = _float64(Z)
    is_finite = np.isfinite(rows)
    is_finite_row = is_finite.all(axis=1)
    (bad,) = np.nonzero(~is_finite_row)
    if len(bad):
        first = bad[0]
        raise DataError(
            f"{what} hold NaN or infinity in {len(bad)} of {len(rows)} rows, the first of them row "
            f"{first}. Recompute these rows, or leave them out."
        )
    return rows


def _float64(Z: np.ndarray) -> Embedding:
    """The rows in float64, so that ties do not come from rounding."""
    return np.asarray(Z, dtype=np.float64)


def row_hashes(rows: np.ndarray) -> Numbers:
    """A hash of each row; 0.0 and -0.0 are equal numbers, and rows that hold them are equal too."""
    n = len(rows)
    hashes = np.empty(n, dtype=np.int64)
    for number, row in enumerate(rows):
        without_negative_zero = row + 0.0
        content = without_negative_zero.tobytes()
        hashes[number] = hash(content)  # of 64 bits: no two of a million rows collide
    return hashes


def repeated_rows(rows: np.ndarray, classes: Labels | None = None) -> Mask:
    """Which rows equal an earlier row, with classes an earlier row of their class."""
    import pandas as pd

    hashes = row_hashes(rows)
    columns = {"row": hashes, "class": classes}
    table = pd.DataFrame(columns)
    is_repeated = table.duplicated()
    return is_repeated.to_numpy()


def unit_rows(Z: Embedding) -> Embedding:
    """Scale rows to length 1; a row of zeros stays zero, so that all its similarities are 0."""
    norms = np.linalg.norm(Z, axis=1, keepdims=True)
    is_zero = norms == 0
    norms[is_zero] = 1
    return Z / norms


def scaled_to_length_1(X: Real[np.ndarray, "n p"]) -> Embedding:
    """`unit_rows` in float64 of raw features, whose squares may overflow or underflow."""
    rows = X.astype(np.float64)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    is_zero = largest == 0
    largest[is_zero] = 1
    scaled = rows / largest
    return unit_rows(scaled)


def row_slices(n: int, size: int) -> list[slice]:
    """Split rows 0..n-1 into slices of `size` rows; the last slice may be shorter."""
    slices = []
    step = max(size, 1)
    starts = range(0, n, step)
    for start in starts:
        next_start = start + size
        end = min(next_start, n)
        rows = slice(start, end)
        slices.append(rows)
    return slices


def cosine_blocks(queries: Rows, gallery: Rows | None = None) -> Iterator[Block]:
    """Yield a slice of the queries and their cosines with the gallery, one block at a time.

    Without a gallery the rows are compared with each other, and the cosine of a row with itself is
    -inf.
    """
    Q = unit_rows(finite(queries))
    G = Q
    if gallery is not None:
        G = unit_rows(finite(gallery))
    n = len(G) or 1
    rows_in_cache = _BLOCK_ENTRIES // n
    block_rows = max(_MIN_BLOCK_ROWS, rows_in_cache)
    blocks = row_slices(len(Q), block_rows)
    for rows in blocks:
        block = Q[rows]
        S = block @ G.T
        if gallery is None:
            start = rows.start
            square = S[:, start:]
            np.fill_diagonal(square, -np.inf)
        yield rows, S


def of_pairs(Z: np.ndarray, objects: Objects, pairs: Pairs, similarity: str = "cosine") -> Choices:
    """The similarities of the candidate pairs of each answer, in the order of `pairs`."""
    if similarity not in SIMILARITIES:
        allowed = " or ".join(SIMILARITIES)
        raise ParameterError(f"`similarity` is {similarity!r}; it must be {allowed}.")
    rows = _float64(Z)
    if similarity == "cosine":
        rows = unit_rows(rows)
    n_answers = len(objects)
    shape = (len(pairs), n_answers)
    S = np.empty(shape)
    gram = _gram(rows, S.size)
    for chunk in row_slices(n_answers, _CHUNK):  # the data of one chunk stay in the cache
        answers = objects[chunk]
        columns = answers.T.astype(np.int64, order="C")
        for number, (i, j) in enumerate(pairs):
            first = columns[i]
            second = columns[j]
            products = _products(rows, gram, first, second)
            S[number, chunk] = products
    return S.T


def _gram(rows: Rows, n_pairs: int) -> np.ndarray | None:
    """The products of all rows in one vector; None if it is large, or most would not be read."""
    n = len(rows)
    n_entries = n * n
    max_entries = _MAX_GRAM_ENTRIES_PER_PAIR * n_pairs
    if n > _MAX_GRAM_OBJECTS:
        return None
    if n_entries > max_entries:
        return None
    products = rows @ rows.T
    return products.ravel()


def _products(rows: Rows, gram: np.ndarray | None, first: Numbers, second: Numbers) -> Values:
    """The product of each first row with its second row, which `_gram` may hold."""
    if gram is None:
        first_rows = rows[first]
        second_rows = rows[second]
        return np.einsum("ij,ij->i", first_rows, second_rows)
    positions = first * len(rows) + second
    return gram.take(positions)


def choice(S: Choices, tolerance: float | Float[np.ndarray, "n 1"]) -> Choices:
    """The share of each pair in the model's choice: 1/k if k pairs are tied for the highest.

    Pairs within the tolerance (`pair_tolerance`) of the highest similarity are tied with it.
    """
    highest = S.max(axis=1, keepdims=True)
    threshold = highest - tolerance
    is_highest = threshold <= S
    n_highest = is_highest.sum(axis=1, keepdims=True)
    return is_highest / n_highest


def credit(S: Choices, tolerance: float) -> tuple[Values, Mask]:
    """The credit of the model on each answer, from 0 to 1, and which answers are ties.

    The credit is the share of the chosen pair, column 0, in the model's `choice`. A collapsed model
    therefore scores chance.
    """
    shares = choice(S, tolerance)
    largest = shares.max(axis=1)
    is_tie = largest < 1
    credits = shares[:, 0]
    return credits, is_tie


def choice_loss(S: Choices) -> Values:
    """-log softmax of the chosen pair's similarity, in nats, for each answer (log-sum-exp form)."""
    n = len(S)
    losses = np.empty(n)
    chunks = row_slices(n, _CHUNK)
    for chunk in chunks:
        rows = S[chunk]
        columns = rows.T
        chosen = columns[0]
        highest = columns.max(axis=0)
        differences = columns - highest
        exponentials = np.exp(differences)
        sums = exponentials.sum(axis=0)
        log_sums = np.log(sums)
        margins = highest - chosen
        losses[chunk] = margins + log_sums
    return losses


def pair_tolerance(Z: np.ndarray, similarity: str = "cosine") -> float:
    """The largest difference at which similarities of the rows of Z are tied.

    It follows from `tie_tolerance`, since |S_ij| is at most the largest ‖z_i‖².
    """
    _, p = Z.shape
    if similarity == "cosine":
        return tie_tolerance(p)
    rows = _float64(Z)
    squared_lengths = np.einsum("ij,ij->i", rows, rows)
    longest = squared_lengths.max(initial=0.0)
    largest = float(longest)
    return tie_tolerance(p, largest)


def tie_tolerance(p: int, largest: float = 1.0) -> float:
    """The largest rounding difference of two equal similarities: 8 √p eps · max|S|, float64.

    The order in which the p products of a similarity are summed differs between processors, between
    blocks of rows and between rotations of the space, and the last digits of the sum differ with
    it. The rounding errors add up like a random walk of p steps. The tolerance is far above these
    errors, and far below any meaningful difference. `largest`, max |S|, is 1 for cosines.
    """
    float64 = np.finfo(np.float64)
    steps = 8 * np.sqrt(p)
    tolerance = steps * float64.eps * largest
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
    order = values.argsort(kind="stable")
    ordered = values[order]
    is_first = new_group(ordered, tolerance)
    smallest_of_group = ordered[is_first]
    groups_so_far = np.cumsum(is_first)
    group = groups_so_far - 1
    tied_values = smallest_of_group[group]
    equalized = np.empty_like(ordered)
    equalized[order] = tied_values
    return equalized


def one_point(rows: Embedding) -> bool:
    """Whether rows differ only by rounding: mean_i ‖z_i - z̄‖² ≤ 1e-12 · mean_i ‖z_i‖²."""
    mean = rows.mean(axis=0)
    centred = rows - mean
    spread = np.vdot(centred, centred)
    squared_length = np.vdot(rows, rows)
    least_spread = _MIN_SPREAD * squared_length
    is_one_point = spread <= least_spread
    return bool(is_one_point)


def is_collapsed(Z: Embedding) -> bool:
    """Whether all rows are one point or one direction, so that cosines have nothing to compare."""
    rows = _float64(Z)
    if one_point(rows):
        return True
    directions = unit_rows(rows)
    return one_point(directions)


def zeros_if_collapsed(*parts: Rows) -> list[Rows]:
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
    zeros = map(np.zeros_like, parts)
    return list(zeros)
