"""L_global: the loss of all answers of one kind at once, through the similarities of the transformed objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from glocal.objective.passes import Plain
from glocal.objective.threads import Workers

_GRAM_LIMIT = 20_000  # objects; above that the n × n matrices no longer fit and rows are gathered
_COMPILED_FROM = 500_000  # answers; below that, loading the compiled pass costs more than it saves


@dataclass(frozen=True, eq=False)
class Slopes:
    """L at one W and its slope toward M = W Wᵀ, (p, p) float64, with `along` = ⟨∂L/∂M, M⟩ and `bend` = d²L/dm²."""

    value: float
    M: Float[np.ndarray, "p p"]
    along: float
    bend: float

    @property
    def entropy(self) -> float:
        """The mean entropy of the model's choices, nats."""
        return self.value - self.along


class ChoiceLoss:
    """L_global(W) and its gradient.

        S = Z Zᵀ,  Z = X W
        ℓ = -log [ exp S_chosen / Σ exp S_ij over the candidate pairs ij of the answer ]      nats
        L = Σ w ℓ / Σ w

    Each answer reads its entries of S and adds its softmax residuals to the same entries of G = ∂L/∂S. Then

        ∂L/∂Z = (G + Gᵀ) Z,   ∂L/∂W = Xᵀ ∂L/∂Z,   ∂L/∂M = Xᵀ (G + Gᵀ) X / 2 with M = W Wᵀ.

    Parameters
    ----------
    X : (n, p) array
        Standardized features of the objects; its dtype, float32 or float64, is that of the computation.
    objects : (t, m) integers
        The objects of each answer, as rows of X.
    pairs : sequence of (int, int)
        The candidate pairs of every answer, as columns of `objects`, the chosen one first: k of them.
    weights : (t,) float64 or None
        None for 1 each.

    Notes
    -----
    Above 20,000 objects the rows of Z are gathered answer by answer, in memory linear in n. That pass, and the pass
    over 500,000 answers or more, are compiled (`glocal.objective.kernels`).

    References
    ----------
    Muttenthaler et al. 2023, Eq. 1 and 2.
    """

    def __init__(
        self, X: Float[np.ndarray, "n p"], objects: Int[np.ndarray, "t m"], pairs: Sequence[tuple[int, int]],
        weights: Float[np.ndarray, " t"] | None = None, *, workers: Workers = Workers(1),
    ) -> None:  # fmt: skip
        self.X, self._answers, self._workers = X, (objects, pairs, weights), workers
        w = np.ones(len(objects)) if weights is None else weights
        shares = (w / w.sum()).astype(X.dtype)
        self.gathered = len(X) > _GRAM_LIMIT
        if self.gathered or len(objects) >= _COMPILED_FROM:
            from glocal.objective.kernels import Compiled, Gathered

            kind: type[Gathered | Compiled | Plain] = Gathered if self.gathered else Compiled
        else:
            kind = Plain
        self._pass = kind(objects, np.array(pairs), shares, len(X), workers)

    def __call__(self, W: Float[np.ndarray, "p q"]) -> tuple[float, Float[np.ndarray, "p q"]]:
        """L and its gradient at W."""
        Z = self._workers.product(self.X, W)
        if not np.isfinite(np.vdot(Z, Z)):  # a step far too long: S would overflow
            return np.inf, np.full_like(W, np.nan)
        found = self._pass(self._pass.similarities(Z), 1.0, Z)
        return found.value, self._workers.product(self.X.T, found.product)

    def slopes(self, W: Float[np.ndarray, "p q"]) -> Slopes:
        """L and its slope toward M at M = W Wᵀ."""
        found = self._pass(self._pass.similarities(self._workers.product(self.X, W)), 1.0, self.X)
        A = self._workers.product(self.X.T, found.product).astype(np.float64)
        return Slopes(found.value, (A + A.T) / 4, found.along, found.bend)

    def along_scales(self, Z: Float[np.ndarray, "n q"]) -> Callable[[float], tuple[float, float]]:
        """The first and second derivative in m of L at the similarities m Z Zᵀ, which are computed once."""
        similarities = self._pass.similarities(Z)

        def derivatives(m: float) -> tuple[float, float]:
            found = self._pass(similarities, m)
            return found.along / m, found.bend / m**2

        return derivatives

    def double(self) -> ChoiceLoss:
        """The same loss in float64."""
        if self.X.dtype == np.float64:
            return self
        return ChoiceLoss(self.X.astype(np.float64), *self._answers, workers=self._workers)
