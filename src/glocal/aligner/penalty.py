"""Choose λ of `global` by the loss on held-out answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from glocal.aligner.crossfit import CrossFit
from glocal.aligner.data import FitData
from glocal.aligner.exact import Exact
from glocal.aligner.folds import Fold
from glocal.aligner.heldout import FoldScorer, best_similarity_scale
from glocal.objective import single_threaded_blas
from glocal.similarity import Values, choice_loss

LAMBDAS = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""λ for folds of objects; the search begins at 1."""
PENALTIES_PER_ANSWER = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3)
"""λ for few answers, in columns per answer, p / t: the best was 1 to 16 on all data tried."""
SHARES_OF_LAMBDA_MAX = (0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05, 0.03, 0.02, 0.01, 0.005)
"""λ of `naive`, as shares of the λ at which W is 0."""
NO_TRANSFORM = float("inf")
"""The λ that stands for the original features."""
_MIN_LOSS_DIFFERENCE = 5e-4  # nats: held-out losses that differ by less count as equal
Losses = dict[float, Float[np.ndarray, " t"]]
"""The loss of each held-out answer under `global`, in nats, by λ."""


def choose_global(data: FitData, folds: Sequence[Fold], solver: Exact) -> Values:
    """Return the credit of `global` on each answer that the folds hold out, at the chosen λ."""
    with single_threaded_blas():
        crossfit = CrossFit(data, folds, solver)
        losses = search_penalty(crossfit, penalties(data, folds))
        return crossfit.global_scores(largest_tie(crossfit.heldout, losses)).credit


def penalties(data: FitData, folds: Sequence[Fold]) -> list[float]:
    """The λ to search, the largest first; with folds of questions no transform comes first."""
    if folds[0].unit == "objects":
        return [*LAMBDAS]
    n_fitted = sum(fold.data.answers.effective_size for fold in folds)
    per_answer = data.features.dimensions * max(1, len(folds) - 1) / n_fitted
    multiples = [penalty * per_answer for penalty in PENALTIES_PER_ANSWER]
    return [NO_TRANSFORM, *(float(f"{lmbda:.2g}") for lmbda in multiples)]


def naive_penalties(crossfit: CrossFit) -> list[float]:
    """The λ of `naive` to search: no transform, then λ that fall from half of their limit."""
    limit = crossfit.lambda_max()
    lambdas = [share * limit for share in SHARES_OF_LAMBDA_MAX if limit]
    return [NO_TRANSFORM, *lambdas]


def search_penalty(crossfit: CrossFit, lambdas: Sequence[float]) -> Losses:
    """Return the held-out losses of `global` at each λ that the search visits.

    On folds of objects λ falls from 1 while the mean loss falls, and rises from 1 if it is lowest
    there. On folds of questions λ falls from ∞ until two losses in a row are above the lowest.
    """
    first, patience = (NO_TRANSFORM, 2) if NO_TRANSFORM in lambdas else (1.0, 1)
    losses: Losses = {}
    means: dict[float, float] = {}
    start = lambdas.index(first)
    for direction in (lambdas[start:], lambdas[:start][::-1]):
        rises = 0
        for lmbda in direction:
            losses[lmbda] = heldout_losses(crossfit, lmbda)
            means[lmbda] = crossfit.heldout.mean(losses[lmbda])
            is_higher = means[lmbda] > min(means.values()) + _MIN_LOSS_DIFFERENCE
            rises = rises + 1 if is_higher else 0
            if rises == patience:
                break
        if min(means, key=means.__getitem__) != first:
            break
    return losses


def heldout_losses(crossfit: CrossFit, lmbda: float) -> Values:
    """The loss of each held-out answer under `global`, at the best scale of the similarities."""
    S = crossfit.heldout.similarities(crossfit.embeddings(lmbda))
    return choice_loss(best_similarity_scale(S, crossfit.heldout.answers.weights) * S)


def largest_tie(heldout: FoldScorer, losses: Mapping[float, Values]) -> float:
    """The largest λ whose held-out loss is within one paired standard error of the lowest."""
    best = min(losses, key=lambda lmbda: heldout.mean(losses[lmbda]))
    for lmbda in sorted(losses, reverse=True):
        if heldout.is_tie(losses[lmbda] - losses[best], _MIN_LOSS_DIFFERENCE):
            return lmbda
    return best
