"""Similarities of the candidate pairs of answers, the credit of a choice with ties shared, its loss, and collapse."""

from __future__ import annotations

import warnings

import numpy as np
from jaxtyping import Bool, Float, Int

from glocal.errors import CollapseWarning, ParameterError

SIMILARITIES = ("cosine", "dot")
Pairs = tuple[tuple[int, int], ...]

_GRAM_LIMIT = 20_000  # objects; above that the n × n matrix no longer fits, and rows are multiplied pair by pair
_WORTH_A_GRAM = 64  # entries of the Gram matrix for each pair: beyond that most of them would not be read
_RUN = 1 << 13  # answers
_SMALLEST_SPREAD = 1e-12
_CHANCE_SLACK = 1e-6  # nats


def candidate_pairs(kind: str, m: int = 3) -> Pairs:
    """The pairs among which an answer with m objects chooses, as columns of its row, the chosen pair first.

    >>> candidate_pairs("odd-one-out"), candidate_pairs("anchor"), candidate_pairs("nearest-of-n", 4)
    (((0, 1), (0, 2), (1, 2)), ((0, 1), (0, 2)), ((0, 1), (0, 2), (0, 3)))
    """
    return ((0, 1), (0, 2), (1, 2)) if kind == "odd-one-out" else tuple((0, j) for j in range(1, m))


def unit_rows(Z: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n p"]:
    """Rows scaled to length 1; a row of zeros stays zero, so that its similarities are all 0."""
    norms = np.linalg.norm(Z, axis=1, keepdims=True)
    scaled: np.ndarray = Z / np.where(norms > 0, norms, 1)
    return scaled


def of_pairs(
    Z: np.ndarray, objects: Int[np.ndarray, "t m"], pairs: Pairs, similarity: str = "cosine"
) -> Float[np.ndarray, "t k"]:
    """The similarities of the candidate pairs of each answer, columns of its objects, the chosen pair first.

    They are computed in float64, so that ties are ties and not rounding.
    """
    Z = np.asarray(Z, dtype=np.float64)
    if similarity not in SIMILARITIES:
        raise ParameterError(f"`similarity` is {similarity!r}; allowed are {' and '.join(SIMILARITIES)}.")
    rows = unit_rows(Z) if similarity == "cosine" else Z
    n, S = len(Z), np.empty((len(pairs), len(objects)))
    gathered = n > _GRAM_LIMIT or n * n > _WORTH_A_GRAM * S.size
    gram = None if gathered else (rows @ rows.T).ravel()
    for start in range(0, S.shape[1], _RUN):  # what a run touches stays in the cache
        run = slice(start, start + _RUN)
        columns = objects[run].T.astype(np.int64, order="C")
        for place, (i, j) in enumerate(pairs):
            if gram is None:
                S[place, run] = np.einsum("ij,ij->i", rows[columns[i]], rows[columns[j]])
            else:
                S[place, run] = gram.take(columns[i] * n + columns[j])
    return S.T


def choice(S: Float[np.ndarray, "t k"], tolerance: float) -> Float[np.ndarray, "t k"]:
    """The share of the model's choice that each candidate pair gets: 1/k for each of k pairs tied for the highest."""
    among = _highest(S, tolerance)
    return among / among.sum(axis=1, keepdims=True)


def credit(S: Float[np.ndarray, "t k"], tolerance: float) -> tuple[Float[np.ndarray, " t"], Bool[np.ndarray, " t"]]:
    """How right the model is on each answer, from 0 to 1, and which answers are ties.

    An answer earns the share of its pair, column 0, in the model's `choice`, so that a collapsed model scores chance.
    Pairs within the tolerance (`pair_tolerance`) of the highest are tied with it.
    """
    among = _highest(S, tolerance)
    number = among.sum(axis=1, dtype=np.int16)
    return among[:, 0] / number, number > 1


def _highest(S: Float[np.ndarray, "t k"], tolerance: float) -> Bool[np.ndarray, "t k"]:
    """Which pairs are tied for the highest similarity of their answer."""
    return S.max(axis=1, keepdims=True) - tolerance <= S


def choice_loss(S: Float[np.ndarray, "t k"]) -> Float[np.ndarray, " t"]:
    """-log softmax of the chosen pair's similarity, in nats, for each answer (log-sum-exp form)."""
    highest, total = S.max(axis=1), np.zeros(len(S))
    for column in S.T:
        total += np.exp(column - highest)
    return highest - S[:, 0] + np.log(total)


def pair_tolerance(Z: np.ndarray, similarity: str = "cosine") -> float:
    """The difference up to which similarities of the rows of Z are tied: |S_ij| is at most the largest |z_i|²."""
    Z = np.asarray(Z, dtype=np.float64)
    largest = 1.0 if similarity == "cosine" else float(np.einsum("ij,ij->i", Z, Z).max(initial=0.0))
    return tie_tolerance(Z.shape[1], largest)


def tie_tolerance(p: int, largest: float = 1.0) -> float:
    """How far apart two equal similarities can be computed to be: 8 √p eps · max|S|, float64.

    The order in which the p products of a similarity are summed, and so its last digits, differs between processors,
    between blocks of rows and between rotations of the space; the errors add up like those of a random walk of p steps.
    The bound is far above them and far below any difference that means something. `largest`, max |S|, is 1 for cosines.
    """
    return float(8 * np.sqrt(p) * np.finfo(np.float64).eps * largest)


def new_group(ordered: Float[np.ndarray, "*rows n"], tolerance: float) -> Bool[np.ndarray, "*rows n"]:
    """Where a group of ties begins in sorted values: farther than the tolerance from the value before.

    No grid of rounded values can tell this: equal values may lie on both sides of the edge of any cell.

    >>> new_group(np.array([3.0, 2.0, 2.0 - 1e-15, 1.0]), 1e-12).tolist()
    [True, True, False, True]
    """
    new = np.ones(ordered.shape, dtype=bool)
    new[..., 1:] = np.abs(np.diff(ordered, axis=-1)) > tolerance
    return new


def joined(values: Float[np.ndarray, " n"], tolerance: float) -> Float[np.ndarray, " n"]:
    """The same values, ties made exactly equal: each takes the smallest value of its group.

    >>> joined(np.array([2.0, 3.0, 2.0 - 1e-15]), 1e-12).tolist()
    [1.999999999999999, 3.0, 1.999999999999999]
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    new = new_group(ordered, tolerance)
    found = np.empty_like(ordered)
    found[order] = ordered[new][np.cumsum(new) - 1]
    return found


def one_point(rows: Float[np.ndarray, "n p"]) -> bool:
    """Whether rows differ by nothing but rounding: mean_i ‖z_i - z̄‖² ≤ 1e-12 · mean_i ‖z_i‖², in float64."""
    centred = rows - rows.mean(axis=0)
    return float(np.vdot(centred, centred)) <= _SMALLEST_SPREAD * float(np.vdot(rows, rows))


def collapsed(Z: Float[np.ndarray, "n p"]) -> bool:
    """Whether all rows are one point, or all point one way: nothing is left for cosines to compare."""
    Z = np.asarray(Z, dtype=np.float64)
    return one_point(Z) or one_point(unit_rows(Z))


def at_chance(loss: float, chance: float) -> bool:
    """Whether a loss on the fitted answers, in nats, is that of guessing: nothing was learned from them."""
    return loss >= chance - _CHANCE_SLACK


def unless_collapsed(*parts: Float[np.ndarray, "_ p"]) -> list[Float[np.ndarray, "_ p"]]:
    """The rows of each part in float64; zeros, with a CollapseWarning, where all parts together are one point.

    All cosines of zeros tie, so that whatever ranks them, ties shared, scores exactly chance.
    """
    rows = [np.asarray(part, dtype=np.float64) for part in parts]
    if not collapsed(np.concatenate(rows)):
        return rows
    warnings.warn("collapse: all rows are one point; the scores are those of chance.", CollapseWarning, stacklevel=3)
    return [np.zeros_like(part) for part in rows]
