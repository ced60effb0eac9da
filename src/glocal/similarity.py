"""Similarities of the three pairs of a triplet, and the model's choice with ties shared openly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from glocal.errors import ParameterError
from glocal.ties import tie_tolerance

SIMILARITIES = ("cosine", "dot")
CHANCE = 1.0 / 3.0

_GRAM_LIMIT = 20_000
_CHUNK = 1 << 16


def unit_rows(Z: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n p"]:
    """Rows scaled to length 1; a row of zeros stays zero, so that its similarities are all 0."""
    norms = np.linalg.norm(Z, axis=1, keepdims=True)
    scaled: np.ndarray = Z / np.where(norms > 0, norms, 1)
    return scaled


class PairSimilarities:
    """Similarities of triplets' pairs under one embedding, a chunk of answers at a time.

    Up to 20,000 objects they are gathered from the Gram matrix; above that from the rows themselves.

    Parameters
    ----------
    Z : (n, p) real array
        Embedding; computed in float64, so that ties are ties and not rounding.
    similarity : {"cosine", "dot"}
    """

    def __init__(self, Z: np.ndarray, similarity: str = "cosine") -> None:
        if similarity not in SIMILARITIES:
            raise ParameterError(f"similarity is {similarity!r}; allowed are {' and '.join(SIMILARITIES)}.")
        Z = np.asarray(Z, dtype=np.float64)
        self.rows = unit_rows(Z) if similarity == "cosine" else Z
        self.gram = self.rows @ self.rows.T if len(Z) <= _GRAM_LIMIT else None
        # |S_ij| is at most the largest squared norm, which is also the largest |S_ij| of the Gram matrix
        largest = float(np.einsum("ij,ij->i", self.rows, self.rows).max(initial=0.0))
        self.tolerance = tie_tolerance(Z.shape[1], largest)

    def chunks(self, answers: Int[np.ndarray, "t 3"]) -> Iterator[tuple[slice, Float[np.ndarray, "3 c"]]]:
        """Yield, for a run of answers, the similarities (pair found similar; first with odd; second with odd)."""
        for start in range(0, len(answers), _CHUNK):
            part = slice(start, min(start + _CHUNK, len(answers)))
            a, b, odd = np.ascontiguousarray(answers[part].T, dtype=np.int64)
            yield part, np.stack([self._pairs(a, b), self._pairs(a, odd), self._pairs(b, odd)])

    def _pairs(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        if self.gram is not None:
            return self.gram.ravel().take(i * len(self.gram) + j)
        return np.concatenate(
            [
                np.einsum("ij,ij->i", self.rows[i[s : s + 4096]], self.rows[j[s : s + 4096]])
                for s in range(0, len(i), 4096)
            ]
        )


def choice(pairs: Float[np.ndarray, "3 c"], tolerance: float) -> Float[np.ndarray, "3 c"]:
    """The share of the model's choice that each of three pairs gets.

    The model finds the pair of highest similarity most alike. Pairs within the tolerance of the highest are tied, and
    each of k tied ones gets 1/k.
    """
    among = pairs >= pairs.max(axis=0) - tolerance
    return among / among.sum(axis=0, dtype=np.int8)


def credit(pairs: Float[np.ndarray, "3 c"], tolerance: float) -> tuple[Float[np.ndarray, " c"], np.ndarray]:
    """How right the model is on each answer, with ties shared, and which answers are ties.

    An answer earns the share of its pair in the model's `choice`, so that a collapsed model scores chance.

    Parameters
    ----------
    pairs : (3, c) float
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


def strict_credit(pairs: Float[np.ndarray, "3 c"]) -> Float[np.ndarray, " c"]:
    """1 where the chosen pair is the most probable and no two probabilities are equal, else 0.

    The tie rule of the authors' training metric: in float32, any two equal probabilities count as wrong, also those of
    the two other pairs, and so do three that agree to two decimals. A collapsed model scores 0.
    """
    shifted = pairs.astype(np.float32) - pairs.max(axis=0).astype(np.float32)
    exponentials = np.exp(shifted)
    p0, p1, p2 = p = exponentials / exponentials.sum(axis=0)
    rounded = p.round(2)
    distinct = (p0 != p1) & (p0 != p2) & (p1 != p2) & ~(rounded == rounded[0]).all(axis=0)
    return (distinct & (p0 > p1) & (p0 > p2)).astype(np.float64)


def choice_loss(pairs: Float[np.ndarray, "3 c"]) -> Float[np.ndarray, " c"]:
    """-log softmax of the chosen pair's similarity, in nats, for each answer (log-sum-exp form)."""
    s0, s1, s2 = pairs
    highest = np.maximum(np.maximum(s0, s1), s2)
    return highest - s0 + np.log(np.exp(s0 - highest) + np.exp(s1 - highest) + np.exp(s2 - highest))
