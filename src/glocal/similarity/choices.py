"""The candidate pairs among which an answer chooses, and the model's choice: the credit it earns, and its loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

Pairs = tuple[tuple[int, int], ...]


def candidate_pairs(kind: str, m: int = 3) -> Pairs:
    """The pairs among which an answer with m objects chooses, as columns of its row, the chosen pair first.

    >>> candidate_pairs("odd-one-out"), candidate_pairs("anchor"), candidate_pairs("nearest-of-n", 4)
    (((0, 1), (0, 2), (1, 2)), ((0, 1), (0, 2)), ((0, 1), (0, 2), (0, 3)))
    """
    return ((0, 1), (0, 2), (1, 2)) if kind == "odd-one-out" else tuple((0, j) for j in range(1, m))


class Part(NamedTuple):
    """Answers with the same candidate pairs: their places among all answers, their objects (c, m), and the pairs."""

    rows: slice | Int[np.ndarray, " c"]
    objects: Int[np.ndarray, "c m"]
    pairs: Pairs

    def total(self, weights: Float[np.ndarray, " t"] | None) -> float:
        """The sum of the weights of these answers, where `weights` are those of all."""
        return float(len(self.objects)) if weights is None else float(weights[self.rows].sum())

    def choosing(self, j: int) -> Int[np.ndarray, "c m"]:
        """The objects in the order in which candidate pair j is the chosen one."""
        chosen = list(self.pairs[j])
        return self.objects[:, [*chosen, *(i for i in range(self.objects.shape[1]) if i not in chosen)]]


@runtime_checkable
class Choices(Protocol):
    """Answers in groups with the same candidate pairs."""

    @property
    def parts(self) -> Sequence[Part]:
        """The groups; each answer is in one of them."""
        ...

    @property
    def weights(self) -> Float[np.ndarray, " t"] | None:
        """The weight of each answer; None for 1 each."""
        ...


def choice(pairs: Float[np.ndarray, "k c"], tolerance: float) -> Float[np.ndarray, "k c"]:
    """The share of the model's choice that each candidate pair gets.

    The model finds the pair of highest similarity most alike. Pairs within the tolerance of the highest are tied, and
    each of k tied ones gets 1/k.
    """
    among = pairs >= pairs.max(axis=0) - tolerance
    return among / among.sum(axis=0, dtype=np.int16)


def credit(pairs: Float[np.ndarray, "k c"], tolerance: float) -> tuple[Float[np.ndarray, " c"], np.ndarray]:
    """How right the model is on each answer, with ties shared, and which answers are ties.

    An answer earns the share of its pair in the model's `choice`, so that a collapsed model scores chance.

    Parameters
    ----------
    pairs : (k, c) float
        Row 0 is the similarity of the pair that people chose.
    tolerance : float
        The difference below which similarities are tied: `PairSimilarities.tolerance`.

    Returns
    -------
    credit : (c,) float in [0, 1]
    tied : (c,) bool
        More than one pair within the tolerance of the highest.
    """
    shares = choice(pairs, tolerance)
    return shares[0], shares.max(axis=0) < 1


def strict_credit(pairs: Float[np.ndarray, "k c"]) -> Float[np.ndarray, " c"]:
    """1 where the chosen pair is the most probable and no two probabilities are equal, else 0.

    The tie rule of the authors' training metric: in float32, any two equal probabilities count as wrong, also those of
    the other pairs, and so do all of them where they agree to two decimals. A collapsed model scores 0.
    """
    shifted = pairs.astype(np.float32) - pairs.max(axis=0).astype(np.float32)
    exponentials = np.exp(shifted)
    p = exponentials / exponentials.sum(axis=0)
    rounded = p.round(2)
    distinct = (np.diff(np.sort(p, axis=0), axis=0) > 0).all(axis=0) & ~(rounded == rounded[0]).all(axis=0)
    return (distinct & (p[0] > p[1:]).all(axis=0)).astype(np.float64)


def choice_loss(pairs: Float[np.ndarray, "k c"]) -> Float[np.ndarray, " c"]:
    """-log softmax of the chosen pair's similarity, in nats, for each answer (log-sum-exp form)."""
    highest = pairs.max(axis=0)
    return highest - pairs[0] + np.log(np.exp(pairs - highest).sum(axis=0))
