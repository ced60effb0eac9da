"""L_global: the loss of all answers of one kind, by the similarities of the transformed objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

from glocal.objective.passes import AnswerSums, NumpyPass
from glocal.objective.threads import Workers

_MAX_GRAM_OBJECTS = 20_000  # above, n × n matrices no longer fit in memory and rows are gathered
_MIN_COMPILED_ANSWERS = 500_000  # below, loading the compiled pass costs more than it saves


class ChoiceLoss:
    """L_global(W) and its gradient.

        S = Z Zᵀ,  Z = X W
        ℓ = -log [ exp S_chosen / Σ exp S_ij over the candidate pairs ij of the answer ]      nats
        L = Σ w ℓ / Σ w

    Each answer reads its entries of S and adds its softmax residuals to the same entries of G =
    ∂L/∂S. Then

        ∂L/∂Z = (G + Gᵀ) Z,   ∂L/∂W = Xᵀ ∂L/∂Z,   ∂L/∂M = Xᵀ (G + Gᵀ) X / 2 with M = W Wᵀ.

    Parameters
    ----------
    X : (n, p) array
        Standardized features of the objects; its dtype, float32 or float64, is that of the
        computation.
    objects : (t, m) integers
        The objects of each answer, as rows of X.
    pairs : sequence of (int, int)
        The candidate pairs of every answer, as columns of `objects`, the chosen one first: k of
        them.
    weights : (t,) float64 or None
        None for 1 each.

    Notes
    -----
    Above 20,000 objects the rows of Z are gathered answer by answer, in memory linear in n. That
    pass, and the pass over 500,000 answers or more, are compiled (`glocal.objective.kernels`).
    Nothing of an evaluation is kept, so that several threads may evaluate one loss at the same
    time.

    References
    ----------
    Muttenthaler et al. 2023, Eq. 1 and 2.
    """

    def __init__(
        self,
        X: Float[np.ndarray, "n p"],
        objects: Int[np.ndarray, "t m"],
        pairs: Sequence[tuple[int, int]],
        weights: Float[np.ndarray, " t"] | None = None,
        *,
        workers: Workers = Workers(1),
    ) -> None:
        self.X = X
        self._answers = (objects, pairs, weights)
        self._workers = workers
        w = np.ones(len(objects)) if weights is None else weights
        shares = (w / w.sum()).astype(X.dtype)
        self.gathered = len(X) > _MAX_GRAM_OBJECTS
        if self.gathered or len(objects) >= _MIN_COMPILED_ANSWERS:
            from glocal.objective.kernels import CompiledPass, GatheredPass

            kind: type[GatheredPass | CompiledPass | NumpyPass] = (
                GatheredPass if self.gathered else CompiledPass
            )
        else:
            kind = NumpyPass
        self._pass = kind(objects, np.array(pairs), shares, len(X), workers)

    def __call__(self, W: Float[np.ndarray, "p q"]) -> tuple[float, Float[np.ndarray, "p q"]]:
        """L and its gradient at W."""
        Z = self._workers.product(self.X, W)  # (n, q)
        if not np.isfinite(np.vdot(Z, Z)):  # a step far too long: S would overflow
            return np.inf, np.full_like(W, np.nan)
        sums = self._pass(self._pass.similarities(Z), 1.0, Z)
        return sums.loss, self._workers.product(self.X.T, sums.product)

    def derivatives(
        self, W: Float[np.ndarray, "p q"]
    ) -> tuple[AnswerSums, Float[np.ndarray, "p p"]]:
        """L with its slope and curvature along M = W Wᵀ, and ∂L/∂M, symmetric, float64."""
        Z = self._workers.product(self.X, W)
        sums = self._pass(self._pass.similarities(Z), 1.0, self.X)
        A = self._workers.product(self.X.T, sums.product).astype(np.float64)
        return sums, (A + A.T) / 4

    def scale_derivatives(
        self, Z: Float[np.ndarray, "n q"]
    ) -> Callable[[float], tuple[float, float]]:
        """The first and second derivative of L in m at the similarities m Z Zᵀ, computed once."""
        similarities = self._pass.similarities(Z)

        def derivatives(m: float) -> tuple[float, float]:
            sums = self._pass(similarities, m)
            return sums.slope / m, sums.curvature / m**2

        return derivatives

    def double(self) -> ChoiceLoss:
        """The same loss in float64."""
        if self.X.dtype == np.float64:
            return self
        return ChoiceLoss(self.X.astype(np.float64), *self._answers, workers=self._workers)
