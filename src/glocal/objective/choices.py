"""L_global: the loss of all answers of one kind, by the similarities of the transformed objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from glocal.objective.passes import (
    AnswerSums,
    GatheredPass,
    GramPass,
    NumpyPass,
    PassAnswers,
    cache_order,
)
from glocal.objective.threads import Workers
from glocal.similarity import Embedding, Objects, Rows, Square, Values, Weights

_MAX_GRAM_OBJECTS = 20_000  # with more, n × n matrices do not fit in memory; rows are gathered
_MIN_GATHERED_PRODUCT = 5e8  # n² p: below, loading the compiled pass costs more than it saves
_MAX_GRAM_ENTRIES_PER_PAIR = 8  # with more, products with n × n matrices cost more than gathering
_MIN_COMPILED_ANSWERS = 500_000  # with fewer, loading the compiled pass costs more than it saves


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
        Standardized features of the objects. Their dtype, float32 or float64, is the dtype of the
        computation.
    objects : (t, m) integers
        The objects of each answer, as rows of X.
    pairs : sequence of (int, int)
        The k candidate pairs of every answer, as columns of `objects`, the chosen pair first.
    weights : (t,) float64 or None
        None gives every answer the weight 1.

    Attributes
    ----------
    gathered : bool
        Whether rows of Z are gathered.

    Notes
    -----
    Above 20,000 objects, and where an n × n matrix has more than eight entries for each candidate
    pair, the rows of Z are gathered answer by answer, with memory linear in n. This pass, and the
    pass over 500,000 answers or more, are compiled (`glocal.objective.kernels`). An evaluation
    stores nothing, so that several threads may evaluate one loss at the same time.

    References
    ----------
    Muttenthaler et al. 2023, Eq. 1 and 2.
    """

    def __init__(
        self,
        X: Rows,
        objects: Objects,
        pairs: Sequence[tuple[int, int]],
        weights: Values | None = None,
        *,
        workers: Workers = Workers(1),
    ) -> None:
        self.X = X
        self._objects = objects
        self._pairs = pairs
        self._weights = weights
        self._workers = workers
        n_pairs = len(objects) * len(pairs)
        self.gathered = _is_gathered(X, n_pairs)
        self._pass = self._chosen_pass()

    def _chosen_pass(self) -> NumpyPass | GramPass | GatheredPass:
        """The pass that suits the numbers of objects and answers."""
        objects = self._objects
        pairs = np.array(self._pairs)
        shares = self._shares()
        answers = PassAnswers(objects, pairs, shares, len(self.X))
        if self.gathered:
            first_objects = objects[:, 0]
            order = np.argsort(first_objects, kind="stable")
            answers = answers.ordered(order)
            return GatheredPass(answers, self._workers)
        if len(objects) >= _MIN_COMPILED_ANSWERS:
            order = cache_order(objects, len(self.X))
            answers = answers.ordered(order)
            return GramPass(answers, self._workers)
        return NumpyPass(answers, self._workers)

    def _shares(self) -> Values:
        """The weights of the answers, divided by their sum."""
        weights = self._weights
        if weights is None:
            weights = np.ones(len(self._objects))
        shares = weights / weights.sum()
        return shares.astype(self.X.dtype)

    def __call__(self, W: Weights) -> tuple[float, Weights]:
        """L and its gradient at W."""
        Z = self._workers.product(self.X, W)  # (n, q)
        square_norm = np.vdot(Z, Z)
        if not np.isfinite(square_norm):  # the step was far too long, and S would overflow
            undefined = np.full_like(W, np.nan)
            return np.inf, undefined
        sums_at = self.at(Z)
        sums = sums_at(1.0, Z)
        dZ = sums.product  # (n, q)
        dW = self._workers.product(self.X.T, dZ)
        return sums.loss, dW

    def at(self, Z: Embedding) -> Callable[..., AnswerSums]:
        """The pass over the answers at mZZᵀ, as a function of m, and of Y for a product."""
        similarities = self._pass.prepared(Z)
        return partial(self._pass, similarities)

    def derivatives(self, W: Weights) -> tuple[AnswerSums, Square]:
        """L with its slope and curvature along M = W Wᵀ, and ∂L/∂M, symmetric, float64."""
        Z = self._workers.product(self.X, W)
        sums_at = self.at(Z)
        sums = sums_at(1.0, self.X)
        twice_dM = self._workers.product(self.X.T, sums.product)
        twice_dM = twice_dM.astype(np.float64)
        symmetric = twice_dM + twice_dM.T
        return sums, symmetric / 4

    def double(self) -> ChoiceLoss:
        """The same loss in float64."""
        if self.X.dtype == np.float64:
            return self
        X = self.X.astype(np.float64)
        return ChoiceLoss(
            X,
            self._objects,
            self._pairs,
            self._weights,
            workers=self._workers,
        )


def _is_gathered(X: Rows, n_pairs: int) -> bool:
    """Whether rows are gathered, by the size of X and the number of all candidate pairs."""
    n = len(X)
    if n > _MAX_GRAM_OBJECTS:
        return True
    has_few_answers = n * n > _MAX_GRAM_ENTRIES_PER_PAIR * n_pairs
    is_large = n * X.size > _MIN_GATHERED_PRODUCT
    return has_few_answers and is_large
