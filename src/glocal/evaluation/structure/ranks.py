"""Trustworthiness and continuity: how far new neighbours came, how far lost ones went."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from glocal.errors import ParameterError
from glocal.evaluation.structure.neighbourhoods import Nearest


def trust(penalty: float, n: int, k: int) -> float:
    """Trustworthiness from the summed penalty for images that are neighbours after the transform and were far before.

        T = 1 - 2 / (n k (2n - 3k - 1)) · Σ_i Σ_j P_k(j | i; Z) max(0, r(i, j) - k)

    with P_k as in `neighbours_kept`, 1 for the k nearest to i in Z unless ties share the last places, and r(i, j) the
    rank of j by cosine to i in X, one more than the images that are nearer by more than rounding. Continuity is the
    same with X and Z exchanged: a penalty for neighbours before that are far after. It is 1 if no neighbour is new,
    and `chance_of_ranks` for unrelated embeddings.

    References
    ----------
    Venna & Kaski (2001), ICANN, LNCS 2130:485.
    """
    return 1 - 2 * penalty / (n * k * (2 * n - 3 * k - 1))


def rank_penalty(S: Float[np.ndarray, "b n"], near: Nearest, tolerance: float) -> float:
    """Σ over a block of images of P_k(j) max(0, r(j) - k), j ranked by the cosines S and near in the other space."""
    k, n = near.index.shape[1], S.shape[1]
    image = np.arange(len(S))
    sure = np.full(len(S), k)
    sure[near.rows] = near.certain
    penalty = 0.0
    for place, column in enumerate(near.index.T):
        rank = 1 + np.count_nonzero(S[image, column][:, None] + tolerance < S, axis=1)
        penalty += int(np.maximum(rank - k, 0)[place < sure].sum())
    for row, certain, tied in zip(near.rows, near.certain, near.tied, strict=True):
        rank = 1 + n - np.searchsorted(np.sort(S[row]), S[row, tied] + tolerance, "right")
        penalty += (k - certain) * int(np.maximum(rank - k, 0).sum()) / len(rank)
    return penalty


def chance_of_ranks(n: int, k: int) -> float:
    """The expected trustworthiness, and continuity, where the neighbours are k random images: about one half."""
    return 1 - (n - k) * (n - k - 1) / ((n - 1) * (2 * n - 3 * k - 1))


def check_k(n: int, k: int) -> None:
    """Raise the sentence for a k that trustworthiness is not defined for."""
    if not 1 <= 2 * k < n:
        raise ParameterError(
            f"k is {k} but trustworthiness among {n} images allows 1 to {(n - 1) // 2} neighbours (2k < n)."
        )
