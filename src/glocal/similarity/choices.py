"""The model's choice among candidate pairs, with ties shared openly: the credit it earns, and its loss."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


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
