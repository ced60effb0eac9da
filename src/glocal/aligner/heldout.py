"""The one record of scores on answers and images that the fits without a fold have not seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from glocal.aligner.data import FitData, Fold, neighbour_count, pooled_answers
from glocal.aligner.exact import scaled_identity
from glocal.evaluation.agreement import answer_credit, credit_units
from glocal.evaluation.intervals import FRACTION, Units
from glocal.evaluation.structure import kept_by_image
from glocal.results import HeldOutScores
from glocal.similarity import choice_loss, of_pairs
from glocal.transform import LinearTransform


def heldout_scores(
    data: FitData,
    folds: Sequence[Fold],
    transforms: Sequence[LinearTransform],
    *,
    converged: bool = True,
) -> HeldOutScores:
    """Score the transform of each fold on the answers and the images that the fold holds out.

    Agreement and loss are compared with those of the features as they are, for the loss at the
    scale that fits the other answers best. A transform keeps neighbours of the features as its fold
    centres them.
    """
    answers = pooled_answers([fold.answers for fold in folds])
    credit, loss = credit_and_loss(folds, transforms)
    original_credit, original_loss = credit_and_loss(
        folds, [scaled_identity(fold.data) for fold in folds]
    )
    units = credit_units(credit, answers)
    original = credit_units(original_credit, answers)
    agreement, low, high = units.estimate().bounded(FRACTION)
    gain, gain_low, gain_high = units.minus(original).bounded((-1.0, 1.0))
    k = neighbour_count(folds)
    kept_by_fold = [_kept(fold, Z, k) for fold, Z in zip(folds, transforms, strict=True)]
    kept_shares, raw_shares = (np.concatenate(shares) for shares in zip(*kept_by_fold, strict=True))
    kept, kept_low, kept_high = Units(values=kept_shares).estimate().bounded(FRACTION)
    splits_objects = folds[0].data.objects is not data.objects
    return HeldOutScores(
        of="objects" if splits_objects else "questions",
        folds=len(folds),
        seed=data.seed,
        converged=converged,
        n=len(answers),
        agreement=agreement,
        low=low,
        high=high,
        original=original.estimate().mean,
        gain=gain,
        gain_low=gain_low,
        gain_high=gain_high,
        loss=loss,
        original_loss=original_loss,
        kept=kept,
        kept_low=kept_low,
        kept_high=kept_high,
        kept_raw=float(raw_shares.mean()),
        k=k,
        n_images=round(len(kept_shares) / len(folds)),
        among=data.evaluation_kind,
    )


def credit_and_loss(
    folds: Sequence[Fold], transforms: Sequence[LinearTransform]
) -> tuple[Float[np.ndarray, " t"], float]:
    """The credit of each held-out answer, and the weighted mean of their losses in nats."""
    credits = []
    losses = []
    weights = []
    for fold, transform in zip(folds, transforms, strict=True):
        Z = fold.data.embedding(transform)
        credits.append(answer_credit(Z, fold.answers))
        losses.append(choice_loss(of_pairs(Z, fold.answers.objects, fold.answers.pairs, "dot")))
        weights.append(fold.answers.all_weights)
    loss = np.average(np.concatenate(losses), weights=np.concatenate(weights))
    return np.concatenate(credits), float(loss)


def _kept(
    fold: Fold, transform: LinearTransform, k: int
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """The share of its centred and of its raw neighbours that each held-out image keeps."""
    images = fold.data.evaluation_rows(fold.rows)
    Z = transform.map_rows(images)
    kept = kept_by_image(fold.data.scalars(images, "float64"), Z, k)
    if not fold.data.centre:
        return kept, kept
    return kept, kept_by_image(fold.data.features.standardization(images, "float64"), Z, k)
