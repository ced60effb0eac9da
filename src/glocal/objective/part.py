"""Answers with the same candidate pairs, and where they stand among all answers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from glocal.similarity import Pairs


class Part(NamedTuple):
    """The places of answers among all answers, their objects (c, m), and their candidate pairs."""

    rows: slice | Int[np.ndarray, " c"]
    objects: Int[np.ndarray, "c m"]
    pairs: Pairs

    def total(self, weights: Float[np.ndarray, " t"] | None) -> float:
        """The sum of the weights of these answers, where `weights` are those of all."""
        return float(len(self.objects)) if weights is None else float(weights[self.rows].sum())
