"""Which answers a transform turns from wrong to right, and which the other way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from glocal.data.answers import Answers
from glocal.errors import DataError
from glocal.evaluation.alignment import answer_credit
from glocal.evaluation.statistics import PairedDifference, paired_difference
from glocal.similarity import joined, of_pairs, pair_tolerance


@dataclass(frozen=True, eq=False)
class Flips:
    """What changed on each answer between two embeddings.

    Parameters
    ----------
    before, after : (t,) float
        Credit of each answer, ties shared: 1 right, 0 wrong.
    shift : (t,) float
        By how much the margin of the pair that people chose over the best other candidate rose, in units of the
        similarity.
    difference : PairedDifference
        Accuracy after less accuracy before, paired by answer.
    gained_by_object, lost_by_object : (n,) int
        For each object the answers with it that were gained and lost.
    """

    before: Float[np.ndarray, " t"]
    after: Float[np.ndarray, " t"]
    shift: Float[np.ndarray, " t"]
    difference: PairedDifference
    gained_by_object: Int[np.ndarray, " n"]
    lost_by_object: Int[np.ndarray, " n"]

    @property
    def gained(self) -> Int[np.ndarray, " g"]:
        """The answers with more credit after than before, the strongest shift of margin first."""
        return self._ordered(self.after > self.before, -self.shift)

    @property
    def lost(self) -> Int[np.ndarray, " l"]:
        """The answers with less credit after than before, the strongest shift of margin first."""
        return self._ordered(self.after < self.before, self.shift)

    def table(self) -> Int[np.ndarray, "f 2"]:
        """Every flip as (answer, +1 gained or -1 lost): gained first, each side strongest first."""
        return np.concatenate(
            [np.stack([rows, np.full_like(rows, sign)], axis=1) for rows, sign in ((self.gained, 1), (self.lost, -1))]
        )

    def objects(self) -> Int[np.ndarray, " m"]:
        """The objects that any flip names, those with the largest |gained - lost| first."""
        named = np.flatnonzero(self.gained_by_object + self.lost_by_object)
        net = self.gained_by_object[named] - self.lost_by_object[named]
        return named[np.argsort(-np.abs(net), kind="stable")]

    def _ordered(self, which: np.ndarray, key: np.ndarray) -> np.ndarray:
        rows = np.flatnonzero(which)
        return rows[np.argsort(key[rows], kind="stable")]


def flips(
    before: Float[np.ndarray, "n p"], after: Float[np.ndarray, "n q"], triplets: Answers, *, similarity: str = "cosine"
) -> Flips:
    """Compare two embeddings of the same objects answer by answer.

    The difference of accuracies is paired, as McNemar's test is: only answers that changed count,
    (gained - lost) / answers; unlike McNemar's its interval accounts for shared objects (`paired_difference`).

    Parameters
    ----------
    before, after : (n, p) and (n, q) real arrays
        The baseline's rows and the new ones, of the same objects in the same order.
    triplets : Answers
        Indices are rows of both.
    similarity : {"cosine", "dot"}
        What decides.

    Raises
    ------
    DataError
        Different numbers of rows, no answer, or an index that is not a row.

    Examples
    --------
    >>> before = np.array([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1]])
    >>> after = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> flips(before, after, Answers.from_array([[0, 1, 2], [1, 2, 0]])).gained.tolist()
    [0]
    """
    if len(before) != len(after):
        raise DataError(f"the baseline has {len(before)} rows and the new one {len(after)}; they must be the same.")
    if not len(triplets):
        raise DataError("there is no triplet to compare.")
    credit_before, credit_after = (answer_credit(Z, triplets, similarity=similarity) for Z in (before, after))
    (margins_before, error), (margins_after, error_after) = (_margins(Z, triplets, similarity) for Z in (before, after))
    shift = joined(margins_after - margins_before, error + error_after)  # equal shifts keep the order of the answers
    n = len(before)
    gained, lost = (
        np.bincount(triplets.objects[which].reshape(-1), minlength=n)
        for which in (credit_after > credit_before, credit_after < credit_before)
    )
    difference = paired_difference(
        credit_after, credit_before, answers=triplets.objects, weights=triplets.weights, clusters=triplets.person
    )
    return Flips(credit_before, credit_after, shift, difference, gained, lost)


def _margins(Z: np.ndarray, triplets: Answers, similarity: str) -> tuple[Float[np.ndarray, " t"], float]:
    """The margin of the chosen pair on each answer, and how far apart two equal ones can be computed to be."""
    S = of_pairs(Z, triplets, similarity)
    return S[:, 0] - S[:, 1:].max(axis=1), 2 * pair_tolerance(Z, similarity)
