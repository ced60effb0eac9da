"""L_global: the loss of all answers of one kind, by the similarities of the transformed objects.

One pass over the answers reads the similarities, computes the softmax of each answer, and adds up
the gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from glocal.objective.threads import Workers
from glocal.similarity import (
    Embedding,
    Numbers,
    Objects,
    Rows,
    Square,
    Values,
    Weights,
    row_slices,
)

_MAX_GRAM_OBJECTS = 20_000  # with more, n × n matrices do not fit in memory; rows are gathered
_MIN_GATHERED_PRODUCT = 5e8  # n² p: below, loading the compiled pass costs more than it saves
_MAX_GRAM_ENTRIES_PER_PAIR = 8  # with more, products with n × n matrices cost more than gathering
_MIN_COMPILED_ANSWERS = 500_000  # with fewer, loading the compiled pass costs more than it saves
_CHUNK_ANSWERS = 1 << 13  # answers whose arrays stay in the second-level cache
_TILES = 32  # tiles along each axis of the Gram matrix
_MIN_TILE_OBJECTS = 128


OfPairs = Float[np.ndarray, "k t"]
"""A number for each candidate pair of each answer."""


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
        self._answers = (objects, pairs, weights)
        self._workers = workers
        w = np.ones(len(objects)) if weights is None else weights
        n = len(X)
        answers = _PassAnswers(objects, np.array(pairs), (w / w.sum()).astype(X.dtype), n)
        has_few_answers = n * n > _MAX_GRAM_ENTRIES_PER_PAIR * len(objects) * len(pairs)
        is_large = n * X.size > _MIN_GATHERED_PRODUCT
        self.gathered = n > _MAX_GRAM_OBJECTS or (has_few_answers and is_large)
        self._pass: _NumpyPass | _GramPass | _GatheredPass
        if self.gathered:
            order = np.argsort(objects[:, 0], kind="stable")
            self._pass = _GatheredPass(answers.ordered(order), workers)
        elif len(objects) >= _MIN_COMPILED_ANSWERS:
            self._pass = _GramPass(answers.ordered(_cache_order(objects, n)), workers)
        else:
            self._pass = _NumpyPass(answers, workers)

    def __call__(self, W: Weights) -> tuple[float, Weights]:
        """L and its gradient at W."""
        Z = self._workers.product(self.X, W)  # (n, q)
        if not np.isfinite(np.vdot(Z, Z)):  # the step was far too long, and S would overflow
            return np.inf, np.full_like(W, np.nan)
        sums = self.at(Z)(1.0, Z)
        return sums.loss, self._workers.product(self.X.T, sums.product)

    def at(self, Z: Embedding) -> Callable[..., AnswerSums]:
        """The pass over the answers at mZZᵀ, as a function of m, and of Y for a product."""
        return partial(self._pass, self._pass.prepared(Z))

    def derivatives(self, W: Weights) -> tuple[AnswerSums, Square]:
        """L with its slope and curvature along M = W Wᵀ, and ∂L/∂M, symmetric, float64."""
        Z = self._workers.product(self.X, W)
        sums = self.at(Z)(1.0, self.X)
        A = self._workers.product(self.X.T, sums.product).astype(np.float64)
        return sums, (A + A.T) / 4

    def double(self) -> ChoiceLoss:
        """The same loss in float64."""
        if self.X.dtype == np.float64:
            return self
        return ChoiceLoss(self.X.astype(np.float64), *self._answers, workers=self._workers)


class AnswerSums(NamedTuple):
    """The sums over all answers at the similarities mS.

    `loss` is L in nats, `slope` dL/dm · m, `curvature` d²L/dm² · m² (the mean variance of an
    answer's similarities under its softmax), and `product` (G + Gᵀ) Y with G = ∂L/∂(mS), empty
    without Y.
    """

    loss: float
    slope: float
    curvature: float
    product: np.ndarray = np.empty(0)

    @property
    def entropy(self) -> float:
        """The mean entropy of the model's choices, nats."""
        return self.loss - self.slope


class _PassAnswers(NamedTuple):
    """The answers of a pass, in the order in which it reads them.

    `shares` are weights that sum to 1, in the dtype of the computation. n is the number of rows of
    X.
    """

    objects: Objects
    pairs: Int[np.ndarray, "k 2"]
    shares: Values
    n: int

    def ordered(self, order: Numbers) -> _PassAnswers:
        """The same answers in another order."""
        return self._replace(objects=self.objects[order], shares=self.shares[order])


class _NumpyPass:
    """The pass over few answers in numpy: gather from S, softmax, scatter to G."""

    def __init__(self, answers: _PassAnswers, workers: Workers) -> None:
        objects, pairs, shares, n = answers
        low, high = np.sort(objects.T[pairs.T].astype(np.int64), axis=0)  # each (k, t)
        self._shares = shares
        self._workers = workers
        self._n = n
        self._places = low * n + high  # in the flat upper triangle of S

    def prepared(self, Z: Embedding) -> OfPairs:
        """The similarities of the candidate pairs of each answer."""
        return self._workers.gram(Z).ravel()[self._places]

    def __call__(self, s: OfPairs, m: float, Y: Embedding | None = None) -> AnswerSums:
        """Pass over the answers at the similarities ms."""
        sums, residuals = self._softmax(s, m)
        if Y is None:
            return sums
        G = np.zeros((self._n, self._n), s.dtype)
        np.add.at(G.reshape(-1), self._places.ravel(), residuals.ravel())
        return sums._replace(product=self._workers.product(G + G.T, Y))

    def _softmax(self, s: OfPairs, m: float) -> tuple[AnswerSums, OfPairs]:
        """The sums at the similarities ms, and ∂L/∂(ms); row 0 is the chosen pair."""
        loss = slope = curvature = 0.0
        residuals = np.empty_like(s)
        for chunk in row_slices(s.shape[1], _CHUNK_ANSWERS):
            w = self._shares[chunk]
            d = (s[1:, chunk] - s[0, chunk]) * s.dtype.type(m)
            highest = np.maximum(d.max(axis=0), 0)
            q = np.exp(d - highest)
            others = q.sum(axis=0)
            # the sum of the softmax minus 1, computed without rounding against the 1
            excess = np.where(highest > 0, np.exp(-highest) + (others - 1), others)
            q /= 1 + excess
            mean = np.einsum("kt,kt->t", q, d)
            variance = np.einsum("kt,kt,kt->t", q, d, d) - mean * mean
            loss += float(np.sum((np.log1p(excess) + highest) * w, dtype=np.float64))
            slope += float(np.sum(mean * w, dtype=np.float64))
            curvature += float(np.sum(variance * w, dtype=np.float64))
            np.multiply(q, w, out=residuals[1:, chunk])
            np.negative(residuals[1:, chunk].sum(axis=0), out=residuals[0, chunk])
        return AnswerSums(loss, slope, curvature), residuals


class _CompiledPass:
    """A compiled loop over many answers; each thread processes a part of them.

    `entries` says where the loop reads the candidate pairs of each answer.
    """

    def __init__(
        self,
        loop: Callable[..., None],
        entries: Int[np.ndarray, "t k ..."],
        shares: Values,
        workers: Workers,
    ) -> None:
        self._loop = loop
        self._entries = entries
        self._shares = shares
        self._workers = workers
        self._bounds = np.linspace(0, len(shares), workers.threads + 1).astype(np.int64)
        self._pairs = tuple(range(entries.shape[1]))

    def _run(self, S: np.ndarray, m: float, outputs: np.ndarray, *rows: np.ndarray) -> AnswerSums:
        """Let each thread fill its output, and return the sums without a product."""
        sums = np.zeros((len(outputs), 3))
        scale = S.dtype.type(m)

        def run(i: int) -> None:
            arguments = self._entries, self._shares, outputs[i], sums[i], *self._bounds[i : i + 2]
            self._loop(S, scale, *arguments, self._pairs, *rows)

        self._workers.map(run, range(len(outputs)))
        loss, slope, curvature = map(float, sums.sum(axis=0))
        return AnswerSums(loss, slope, curvature)


class _GramPass(_CompiledPass):
    """The compiled pass from the Gram matrix, for answers in `_cache_order`.

    Each thread adds to its own n × n gradient.
    """

    def __init__(self, answers: _PassAnswers, workers: Workers) -> None:
        from glocal.objective.kernels import gram_pass

        objects, pairs, shares, n = answers
        objects = objects.astype(np.int32, copy=False)
        entries = np.empty((len(objects), len(pairs)), np.int32)  # in the upper triangle of S
        for k, (i, j) in enumerate(pairs):
            rows = np.minimum(objects[:, i], objects[:, j])
            entries[:, k] = rows * np.int32(n) + np.maximum(objects[:, i], objects[:, j])
        super().__init__(gram_pass, entries, shares, workers)

    def prepared(self, Z: Embedding) -> Embedding:
        """The Gram matrix S."""
        return self._workers.gram(Z)

    def __call__(self, S: Embedding, m: float, Y: Embedding | None = None) -> AnswerSums:
        """Pass over the answers at the similarities mS."""
        size = 0 if Y is None else S.size
        G = np.empty((self._workers.threads, size), S.dtype)  # ∂L/∂S of each thread
        sums = self._run(S.ravel(), m, G)
        if Y is None:
            return sums
        upper = (G[0] if len(G) == 1 else G.sum(axis=0)).reshape(S.shape)
        return sums._replace(product=self._workers.product(upper + upper.T, Y))


class _GatheredPass(_CompiledPass):
    """The compiled pass from the rows of the embedding, in memory linear in objects and answers.

    Each thread adds to its own product (G + Gᵀ) Y.
    """

    def __init__(self, answers: _PassAnswers, workers: Workers) -> None:
        from glocal.objective.kernels import gathered_pass

        entries = answers.objects.astype(np.int32, copy=False)[:, answers.pairs]  # (t, k, 2)
        super().__init__(gathered_pass, entries, answers.shares, workers)

    def prepared(self, Z: Embedding) -> Embedding:
        """The rows of Z, whose dot products are computed answer by answer."""
        return np.ascontiguousarray(Z)

    def __call__(self, Z: Embedding, m: float, Y: Embedding | None = None) -> AnswerSums:
        """Pass over the answers at the similarities mZZᵀ."""
        Y = Z[:0] if Y is None else np.ascontiguousarray(Y)
        GY = np.empty((self._workers.threads, *Y.shape), Z.dtype)
        sums = self._run(Z, m, GY, Y)
        for i in range(1, len(GY)):
            GY[0] += GY[i]
        return sums._replace(product=GY[0])


def _cache_order(objects: Objects, n: int) -> Numbers:
    """Order answers by the tiles of their sorted triples of objects.

    A tile has 128 objects, or more if there are more than 4096 objects in all.
    """
    size = max(_MIN_TILE_OBJECTS, -(-n // _TILES))
    a, b, c = (objects[:, :3] // size).astype(np.uint16).T
    low = np.minimum(np.minimum(a, b), c)
    high = np.maximum(np.maximum(a, b), c)
    middle = a + b + c - low - high
    return np.argsort((low * _TILES + middle) * _TILES + high, kind="stable")
