"""The candidate pairs among which an answer chooses, and answers in groups that share them."""

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
