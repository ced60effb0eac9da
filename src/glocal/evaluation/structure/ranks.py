"""Trustworthiness and continuity: how far new neighbours came, how far lost ones went."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from glocal.errors import ParameterError
from glocal.evaluation.structure.neighbourhoods import cosine_blocks


def trustworthiness(X: Float[np.ndarray, "n p"], after: Int[np.ndarray, "n k"]) -> float:
    """One less the penalty for images that are neighbours after the transform and were far before.

        T = 1 - 2 / (n k (2n - 3k - 1)) · Σ_i Σ_{j ∈ N_k(i; Z)} max(0, r(i, j) - k)

    with r(i, j) the rank of j by cosine to i in X, 1 for the nearest. Continuity is the same with X and Z exchanged: a
    penalty for neighbours before that are far after.

    Parameters
    ----------
    X : (n, p) real array
        The embedding that ranks.
    after : (n, k) integers
        The k nearest neighbours of each image in the other one; 2k < n.

    Returns
    -------
    float
        In [0, 1]; 1 if no neighbour is new; `chance_of_ranks` for unrelated embeddings.

    Raises
    ------
    ParameterError
        2k ≥ n, where the penalty is not normalised.

    References
    ----------
    Venna & Kaski (2001), ICANN, LNCS 2130:485.
    """
    n, k = after.shape
    check_k(n, k)
    penalty = 0
    for part, S in cosine_blocks(X):
        rows = np.arange(len(S))
        for column in after[part].T:
            rank = 1 + np.count_nonzero(S[rows, column][:, None] < S, axis=1)
            penalty += int(np.maximum(rank - k, 0).sum())
    return 1 - 2 * penalty / (n * k * (2 * n - 3 * k - 1))


def chance_of_ranks(n: int, k: int) -> float:
    """The expected trustworthiness, and continuity, where the neighbours are k random images: about one half."""
    return 1 - (n - k) * (n - k - 1) / ((n - 1) * (2 * n - 3 * k - 1))


def check_k(n: int, k: int) -> None:
    """Raise the sentence for a k that trustworthiness is not defined for."""
    if not 1 <= 2 * k < n:
        raise ParameterError(
            f"k is {k} but trustworthiness among {n} images allows 1 to {(n - 1) // 2} neighbours (2k < n)."
        )
