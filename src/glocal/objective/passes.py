"""The passes over all answers of one kind: similarities, softmax, and the gradient of L_global.

One pass over the answers reads the similarities, computes the softmax of each answer, and adds up
the gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from glocal.objective.threads import Workers
from glocal.similarity import Embedding, Numbers, Objects, Values, row_slices

_CHUNK_ANSWERS = 1 << 13  # answers whose arrays stay in the second-level cache
_TILES = 32  # tiles along each axis of the Gram matrix
_MIN_TILE_OBJECTS = 128


PairValues = Float[np.ndarray, "k t"]
"""A number for each candidate pair of each answer."""


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


class PassAnswers(NamedTuple):
    """The answers of a pass, in the order in which it reads them.

    `shares` are weights that sum to 1, in the dtype of the computation. n is the number of rows of
    X.
    """

    objects: Objects
    pairs: Int[np.ndarray, "k 2"]
    shares: Values
    n: int

    def ordered(self, order: Numbers) -> PassAnswers:
        """The same answers in another order."""
        objects = self.objects[order]
        shares = self.shares[order]
        return self._replace(objects=objects, shares=shares)


class NumpyPass:
    """The pass over few answers in numpy: gather from S, softmax, scatter to G."""

    def __init__(self, answers: PassAnswers, workers: Workers) -> None:
        columns = answers.objects.T  # (m, t)
        ends = columns[answers.pairs.T]  # (2, k, t)
        ends = ends.astype(np.int64)
        ends.sort(axis=0)
        low, high = ends  # each (k, t)
        self._shares = answers.shares
        self._workers = workers
        self._n = answers.n
        self._entries = low * answers.n + high  # in the flat upper triangle of S

    def prepared(self, Z: Embedding) -> PairValues:
        """The similarities of the candidate pairs of each answer."""
        S = self._workers.gram(Z)
        flat = S.ravel()
        return flat[self._entries]

    def __call__(
        self,
        s: PairValues,
        m: float,
        Y: Embedding | None = None,
    ) -> AnswerSums:
        """Pass over the answers at the similarities ms."""
        residuals = np.empty_like(s)  # ∂L/∂(ms)
        loss = slope = curvature = 0.0
        n_answers = s.shape[1]
        for chunk in row_slices(n_answers, _CHUNK_ANSWERS):
            sums = self._add_softmax(s, m, chunk, residuals)
            loss += sums.loss
            slope += sums.slope
            curvature += sums.curvature
        sums = AnswerSums(loss, slope, curvature)
        if Y is None:
            return sums
        G = self._gradient(residuals)
        twice_symmetric = G + G.T
        product = self._workers.product(twice_symmetric, Y)
        return sums._replace(product=product)

    def _gradient(self, residuals: PairValues) -> Embedding:
        """∂L/∂S: each residual is added to the entry of its pair, in the upper triangle."""
        shape = self._n, self._n
        G = np.zeros(shape, residuals.dtype)
        np.add.at(
            G.reshape(-1),
            self._entries.ravel(),
            residuals.ravel(),
        )
        return G

    def _add_softmax(
        self,
        s: PairValues,
        m: float,
        chunk: slice,
        residuals: PairValues,
    ) -> AnswerSums:
        """The sums over a chunk of answers, whose residuals are written; row 0 is the chosen pair.

        With d_j = ms_j - ms_0, the excess is Σ exp d_j - 1, without rounding against the 1, and
        divided by exp(highest).
        """
        w = self._shares[chunk]
        chosen = s[0, chunk]
        others = s[1:, chunk]
        scale = s.dtype.type(m)
        d = (others - chosen) * scale
        highest = d.max(axis=0)
        highest = np.maximum(highest, 0)
        q = np.exp(d - highest)
        excess = _excess(q, highest)
        q /= 1 + excess
        loss = np.log1p(excess) + highest
        mean = np.einsum("kt,kt->t", q, d)
        mean_square = np.einsum("kt,kt,kt->t", q, d, d)
        variance = mean_square - mean * mean
        chosen_residuals = residuals[0, chunk]
        other_residuals = residuals[1:, chunk]
        np.multiply(q, w, out=other_residuals)
        total = other_residuals.sum(axis=0)
        np.negative(total, out=chosen_residuals)
        return AnswerSums(
            _weighted_sum(loss, w),
            _weighted_sum(mean, w),
            _weighted_sum(variance, w),
        )


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
        n_answers, n_pairs = entries.shape[:2]
        n_bounds = workers.threads + 1
        bounds = np.linspace(0, n_answers, n_bounds)
        self._loop = loop
        self._entries = entries
        self._shares = shares
        self._workers = workers
        self._bounds = bounds.astype(np.int64)
        self._pairs = tuple(range(n_pairs))

    def _run(
        self,
        similarities: np.ndarray,
        m: float,
        outputs: np.ndarray,
        *rows: np.ndarray,
    ) -> AnswerSums:
        """Let each thread fill its output, and return the sums without a product."""
        threads = len(outputs)
        sums = np.zeros((threads, 3))
        scale = similarities.dtype.type(m)

        def run_thread(thread: int) -> None:
            self._loop(
                similarities,
                scale,
                self._entries,
                self._shares,
                outputs[thread],
                sums[thread],
                self._bounds[thread],
                self._bounds[thread + 1],
                self._pairs,
                *rows,
            )

        self._workers.map(run_thread, range(threads))
        totals = sums.sum(axis=0)
        loss, slope, curvature = totals.tolist()
        return AnswerSums(loss, slope, curvature)


class GramPass(_CompiledPass):
    """The compiled pass from the Gram matrix, for answers in `cache_order`.

    Each thread adds to its own n × n gradient.
    """

    def __init__(self, answers: PassAnswers, workers: Workers) -> None:
        from glocal.objective.kernels import gram_pass

        objects = answers.objects.astype(np.int32, copy=False)
        n = np.int32(answers.n)
        shape = len(objects), len(answers.pairs)
        entries = np.empty(shape, np.int32)  # in the upper triangle of S
        for k, (i, j) in enumerate(answers.pairs):
            first = objects[:, i]
            second = objects[:, j]
            low = np.minimum(first, second)
            high = np.maximum(first, second)
            entries[:, k] = low * n + high
        super().__init__(gram_pass, entries, answers.shares, workers)

    def prepared(self, Z: Embedding) -> Embedding:
        """The Gram matrix S."""
        return self._workers.gram(Z)

    def __call__(
        self,
        S: Embedding,
        m: float,
        Y: Embedding | None = None,
    ) -> AnswerSums:
        """Pass over the answers at the similarities mS."""
        threads = self._workers.threads
        size = 0 if Y is None else S.size
        shape = threads, size
        gradients = np.empty(shape, S.dtype)  # ∂L/∂S of each thread
        sums = self._run(S.ravel(), m, gradients)
        if Y is None:
            return sums
        G = gradients[0]
        if threads > 1:
            G = gradients.sum(axis=0)
        G = G.reshape(S.shape)
        twice_symmetric = G + G.T
        product = self._workers.product(twice_symmetric, Y)
        return sums._replace(product=product)


class GatheredPass(_CompiledPass):
    """The compiled pass from the rows of the embedding, in memory linear in objects and answers.

    Each thread adds to its own product (G + Gᵀ) Y.
    """

    def __init__(self, answers: PassAnswers, workers: Workers) -> None:
        from glocal.objective.kernels import gathered_pass

        objects = answers.objects.astype(np.int32, copy=False)
        entries = objects[:, answers.pairs]  # (t, k, 2)
        super().__init__(gathered_pass, entries, answers.shares, workers)

    def prepared(self, Z: Embedding) -> Embedding:
        """The rows of Z, whose dot products are computed answer by answer."""
        return np.ascontiguousarray(Z)

    def __call__(
        self,
        Z: Embedding,
        m: float,
        Y: Embedding | None = None,
    ) -> AnswerSums:
        """Pass over the answers at the similarities mZZᵀ."""
        threads = self._workers.threads
        if Y is None:
            Y = Z[:0]
        Y = np.ascontiguousarray(Y)
        shape = threads, *Y.shape
        products = np.empty(shape, Z.dtype)  # (G + Gᵀ) Y of each thread
        sums = self._run(Z, m, products, Y)
        total = products[0]
        for product in products[1:]:
            total += product
        return sums._replace(product=total)


def cache_order(objects: Objects, n: int) -> Numbers:
    """Order answers by the tiles of their sorted triples of objects.

    A tile has 128 objects, or more if there are more than 4096 objects in all.
    """
    least_size = -(-n // _TILES)
    size = max(_MIN_TILE_OBJECTS, least_size)
    tiles = objects[:, :3] // size
    tiles = tiles.astype(np.uint16)
    a, b, c = tiles.T
    low_of_two = np.minimum(a, b)
    high_of_two = np.maximum(a, b)
    low = np.minimum(low_of_two, c)
    high = np.maximum(high_of_two, c)
    middle = a + b + c - low - high
    number = low * _TILES + middle
    number = number * _TILES + high
    return np.argsort(number, kind="stable")


def _excess(q: PairValues, highest: Values) -> Values:
    """The sum of a softmax's exponentials minus 1, computed without rounding against the 1.

    q are the exponentials of the pairs that were not chosen, after division by exp(highest).
    """
    others = q.sum(axis=0)
    chosen = np.exp(-highest)
    return np.where(
        highest > 0,
        chosen + (others - 1),
        others,
    )


def _weighted_sum(values: Values, weights: Values) -> float:
    """Σ w v, added in float64."""
    weighted = values * weights
    total = np.sum(weighted, dtype=np.float64)
    return float(total)
