"""Each image's nearest neighbours by cosine, ties at the last place shared: how many are kept, how far others came."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from glocal.errors import DataError, ParameterError
from glocal.evaluation.structure.collapse import collapsed
from glocal.similarity import new_group, tie_tolerance, unit_rows

_BLOCK = 1024
_BLOCK_NUMBERS = 1 << 24  # 128 MB of cosines at a time


@dataclass(frozen=True, eq=False)
class Nearest:
    """The k nearest of n images to each of b images, where ties share the last places.

    If c images are nearer than a tie of t images, and c < k < c + t, each of the t is among the k nearest with
    probability (k - c) / t: the places are drawn at random among them.

    `index` (b, k) holds the k nearest, nearest first, ties in the order of the images; `rows` (r,) the images whose
    last places are so shared, `certain` (r,) their c, and `tied` (r, n) marks the t images of each.
    """

    index: Int[np.ndarray, "b k"]
    rows: Int[np.ndarray, " r"]
    certain: Int[np.ndarray, " r"]
    tied: Bool[np.ndarray, "r n"]

    def members(self, rows: Int[np.ndarray, " s"]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Of some images: which are surely among the nearest, which are tied, places for these, their number."""
        k, n = self.index.shape[1], self.tied.shape[1]
        sure, tied = np.zeros((2, len(rows), n), dtype=bool)
        sure[np.arange(len(rows))[:, None], self.index[rows]] = True
        places = np.zeros(len(rows), dtype=np.int64)
        shared = np.isin(rows, self.rows)
        at = np.searchsorted(self.rows, rows[shared])
        tied[shared] = self.tied[at]
        sure &= ~tied
        places[shared] = k - self.certain[at]
        return sure, tied, places, np.maximum(tied.sum(axis=1), 1)


def cosine_blocks(Z: Float[np.ndarray, "n p"]) -> Iterator[tuple[slice, Float[np.ndarray, "b n"]]]:
    """Yield (images, their cosines to all images) a block of images at a time; -inf of an image to itself."""
    rows = unit_rows(np.asarray(Z, dtype=np.float64))
    step = max(1, min(_BLOCK, _BLOCK_NUMBERS // max(1, len(rows))))
    for start in range(0, len(rows), step):
        part = slice(start, min(start + step, len(rows)))
        S = rows[part] @ rows.T
        S[np.arange(len(S)), np.arange(part.start, part.stop)] = -np.inf
        yield part, S


def nearest(S: Float[np.ndarray, "b n"], sizes: Sequence[int], tolerance: float) -> dict[int, Nearest]:
    """The k nearest for each k of `sizes`, below n, from cosines of which those within the tolerance are tied."""
    most = max(sizes)
    found = np.argpartition(S, S.shape[1] - most - 1, axis=1)[:, -most - 1 :]
    values = np.take_along_axis(S, found, axis=1)
    order = np.argsort(-values, axis=1)
    found, values = (np.take_along_axis(part, order, axis=1) for part in (found, values))
    new = new_group(values, tolerance)
    found = np.take_along_axis(found, np.lexsort((found, np.cumsum(new, axis=1)), axis=1), axis=1)
    split = np.flatnonzero(~new[:, list(sizes)].all(axis=1))
    ordered = np.sort(S[split], axis=1)[:, ::-1]
    group = np.cumsum(new_group(ordered, tolerance), axis=1, dtype=np.int32)
    result = {}
    for k in sizes:
        index, which = found[:, :k], ~new[split, k]
        rows, falling, own = split[which], ordered[which], group[which] == group[which, k - 1, None]
        certain, size = own.argmax(axis=1), own.sum(axis=1)
        high, low = (np.take_along_axis(falling, at[:, None], axis=1) for at in (certain, certain + size - 1))
        tied = (S[rows] >= low) & (S[rows] <= high)
        if len(rows):
            index = index.copy()
            first = np.argsort(~tied, axis=1, kind="stable")[:, :k]
            place = np.arange(k) - certain[:, None]
            index[rows] = np.where(place < 0, index[rows], np.take_along_axis(first, np.maximum(place, 0), axis=1))
        result[k] = Nearest(index, rows, certain, tied)
    return result


def neighbourhoods(Z: Float[np.ndarray, "n p"], k: int) -> Iterator[Nearest]:
    """The k nearest of all other rows to every row, a block of rows at a time; exact."""
    n, p = Z.shape
    if not 1 <= k < n:
        raise ParameterError(f"k is {k} but {n} images allow 1 to {n - 1} neighbours.")
    for _, S in cosine_blocks(Z):
        yield nearest(S, [k], tie_tolerance(p))[k]


def neighbours(Z: Float[np.ndarray, "n p"], k: int = 10) -> Int[np.ndarray, "n k"]:
    """The k nearest rows by cosine of every row, itself excluded, nearest first; ties in the order of the rows."""
    return np.concatenate([block.index for block in neighbourhoods(Z, k)])


def neighbours_kept(X: Float[np.ndarray, "n p"], Z: Float[np.ndarray, "n q"], k: int = 10) -> float:
    """Share of each image's k nearest neighbours that the transform keeps, averaged over images.

        kept = mean_i 1/k Σ_j min( P_k(j | i; X), P_k(j | i; Z) )

    with P_k(j | i) the probability that j is among the k images of largest cosine to i if ties come in random order: 1
    or 0, and where the last s places fall into a tie of t images, s / t for each of these. Without ties it is
    mean_i |N_k(i; X) ∩ N_k(i; Z)| / k. Cosines are tied that differ by no more than rounding (`tie_tolerance`), so that
    a rotation keeps all, on any processor; rounding of rows that come in float32 is taken as it is.

    Candidates are exactly the rows given: the value depends on how many they are, so state their number beside it. This
    is also the mutual nearest-neighbour alignment of X and Z that Huh et al. (2024) measure between networks. Where one
    of the two is collapsed its neighbours are arbitrary, and the value is that of chance, k / (n - 1).

    Parameters
    ----------
    X, Z : (n, p) and (n, q) real arrays
        Standardized features (``transform.standardization(features)``) before and after the transform, the same images
        in the same order.
    k : int
        1 to n - 1.

    Returns
    -------
    float
        A fraction: 1 if every neighbourhood is unchanged.

    References
    ----------
    Huh, Cheung, Wang & Isola (2024), The Platonic representation hypothesis, arXiv 2405.07987, appendix A.
    """
    if len(X) != len(Z):
        raise DataError(
            f"there are {len(X)} rows before the transform and {len(Z)} after; they must be the same images."
        )
    kept = float(shared_by_image(X, Z, k).mean())
    return k / (len(X) - 1) if collapsed(X) or collapsed(Z) else kept


def shared_by_image(X: Float[np.ndarray, "n p"], Z: Float[np.ndarray, "n q"], k: int) -> Float[np.ndarray, " n"]:
    """The share of its k nearest neighbours that each image keeps; their mean is `neighbours_kept`."""
    pairs = zip(neighbourhoods(X, k), neighbourhoods(Z, k), strict=True)
    return np.concatenate([shared(before, after) for before, after in pairs])


def shared(before: Nearest, after: Nearest) -> Float[np.ndarray, " b"]:
    """Σ_j min(P(j; before), P(j; after)) / k of each image."""
    b, k = before.index.shape
    offset = np.arange(b)[:, None] * before.tied.shape[1]
    kept = np.isin(before.index + offset, after.index + offset).sum(axis=1, dtype=np.float64)
    rows = np.union1d(before.rows, after.rows)
    if len(rows):
        sure_a, tied_a, places_a, size_a = before.members(rows)
        sure_b, tied_b, places_b, size_b = after.members(rows)
        smaller = places_a * size_b < places_b * size_a
        # whole numbers before each division: what is unchanged adds up to exactly k
        kept[rows] = (
            (sure_a & sure_b).sum(axis=1)
            + (sure_a & tied_b).sum(axis=1) * places_b / size_b
            + (tied_a & sure_b).sum(axis=1) * places_a / size_a
            + (tied_a & tied_b).sum(axis=1) * np.where(smaller, places_a, places_b) / np.where(smaller, size_a, size_b)
        )
    return kept / k


def nearest_label_accuracy(Z: Float[np.ndarray, "n p"], labels: Shaped[np.ndarray, " n"]) -> float:
    """How often the nearest other row has the same label; t tied nearest ones count 1/t each."""
    right, start = 0.0, 0
    for block in neighbourhoods(Z, 1):
        own = labels[start : start + len(block.index)]
        same = (labels[block.index[:, 0]] == own).astype(np.float64)
        alike = block.tied & (labels == own[block.rows, None])
        same[block.rows] = alike.sum(axis=1) / block.tied.sum(axis=1)
        right += float(same.sum())
        start += len(own)
    return right / len(labels)


def trust(penalty: float, n: int, k: int) -> float:
    """Trustworthiness from the summed penalty for images that are neighbours after the transform and were far before.

        T = 1 - 2 / (n k (2n - 3k - 1)) · Σ_i Σ_j P_k(j | i; Z) max(0, r(i, j) - k)

    with P_k as in `neighbours_kept`, 1 for the k nearest to i in Z unless ties share the last places, and r(i, j) the
    rank of j by cosine to i in X, one more than the images that are nearer by more than rounding. Continuity is the
    same with X and Z exchanged: a penalty for neighbours before that are far after. It is 1 if no neighbour is new,
    and `chance_of_ranks` for unrelated embeddings.

    References
    ----------
    Venna & Kaski (2001), ICANN, LNCS 2130:485.
    """
    return 1 - 2 * penalty / (n * k * (2 * n - 3 * k - 1))


def rank_penalty(S: Float[np.ndarray, "b n"], near: Nearest, tolerance: float) -> float:
    """Σ over a block of images of P_k(j) max(0, r(j) - k), j ranked by the cosines S and near in the other space."""
    k, n = near.index.shape[1], S.shape[1]
    image = np.arange(len(S))
    sure = np.full(len(S), k)
    sure[near.rows] = near.certain
    penalty = 0.0
    for place, column in enumerate(near.index.T):
        rank = 1 + np.count_nonzero(S[image, column][:, None] + tolerance < S, axis=1)
        penalty += int(np.maximum(rank - k, 0)[place < sure].sum())
    for row, certain, tied in zip(near.rows, near.certain, near.tied, strict=True):
        rank = 1 + n - np.searchsorted(np.sort(S[row]), S[row, tied] + tolerance, "right")
        penalty += (k - certain) * int(np.maximum(rank - k, 0).sum()) / len(rank)
    return penalty


def chance_of_ranks(n: int, k: int) -> float:
    """The expected trustworthiness, and continuity, where the neighbours are k random images: about one half."""
    return 1 - (n - k) * (n - k - 1) / ((n - 1) * (2 * n - 3 * k - 1))


def check_k(n: int, k: int) -> None:
    """Raise an error for a k for which trustworthiness is not defined."""
    if not 1 <= 2 * k < n:
        raise ParameterError(
            f"k is {k} but trustworthiness among {n} images allows 1 to {(n - 1) // 2} neighbours (2k < n)."
        )
