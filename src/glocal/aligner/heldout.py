"""What folds hold out, and the one record of scores on answers and images that no fit has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from glocal.aligner.data import NEIGHBOURS, FitData, Fold, pooled_answers
from glocal.data.answers import Answers
from glocal.evaluation.agreement import answer_credit, credit_units
from glocal.evaluation.intervals import FRACTION, Units
from glocal.evaluation.structure import kept_by_image, neighbourhoods
from glocal.results import HeldOutScores
from glocal.similarity import choice_loss, of_pairs
from glocal.solver import increasing_root
from glocal.transform import LinearTransform

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_MAX_LOG_SCALE = 5.0  # of the best scale, from the scale that gives similarities a spread of 1


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The answers and the images of one fold, and what embeddings of them are worth.

    Parameters
    ----------
    data : FitData
        The data without the fold.
    objects, images : (n, p) and (m, p) arrays
        The objects that the answers name, and the images: raw rows in float64.
    answers : Answers
        The held-out answers, whose indices are rows of `objects`.
    k : int
        The number of nearest neighbours that are compared.
    """

    data: FitData
    objects: Float[np.ndarray, "n p"]
    answers: Answers
    images: Float[np.ndarray, "m p"]
    k: int

    @cached_property
    def rows(self) -> Float[np.ndarray, "n p"]:
        """The objects, standardized as for the fit."""
        return self.data.scalars(self.objects, "float64")

    @cached_property
    def image_rows(self) -> Float[np.ndarray, "m p"]:
        """The images, standardized as for the fit."""
        return self.data.scalars(self.images, "float64")

    @cached_property
    def neighbours(self) -> csr_array:
        """The nearest neighbours among the standardized images."""
        return neighbourhoods(self.image_rows, self.k)

    def credit(self, Z: Float[np.ndarray, "n r"]) -> Float[np.ndarray, " t"]:
        """The credit of each answer if the objects are embedded as Z."""
        return answer_credit(Z, self.answers)

    def similarities(self, Z: Float[np.ndarray, "n r"]) -> Float[np.ndarray, "t k"]:
        """The dot products of the candidate pairs of each answer."""
        return of_pairs(Z, self.answers.objects, self.answers.pairs, "dot")

    def kept(self, Z: Float[np.ndarray, "m r"]) -> Float[np.ndarray, " m"]:
        """The share of its neighbours that each image keeps if the images are embedded as Z."""
        return kept_by_image(self.image_rows, Z, self.k, before=self.neighbours)

    def raw_kept(self, Z: Float[np.ndarray, "m r"]) -> Float[np.ndarray, " m"]:
        """The share of its neighbours before centring that each image keeps."""
        if not self.data.centre:
            return self.kept(Z)
        return kept_by_image(self.data.features.standardization(self.images, "float64"), Z, self.k)


def held_out(folds: Sequence[Fold]) -> list[HeldOut]:
    """Read what each fold holds out; as many neighbours are compared in every fold, at most 10."""
    k = min(NEIGHBOURS, min(len(fold.rows) for fold in folds) - 1)
    parts = []
    for fold in folds:
        objects, answers = replace(fold.data, answers=fold.answers).named_rows()
        images = fold.data.evaluation_rows(fold.rows)
        parts.append(HeldOut(fold.data, objects.astype(np.float64), answers, images, k))
    return parts


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
    parts = held_out(folds)
    credit, loss = credit_and_loss(parts, transforms)
    originals = [scaled_identity(fold.data) for fold in folds]
    original_credit, original_loss = credit_and_loss(parts, originals)
    units = credit_units(credit, answers)
    original = credit_units(original_credit, answers)
    agreement, low, high = units.estimate().bounded(FRACTION)
    gain, gain_low, gain_high = units.minus(original).bounded((-1.0, 1.0))
    embeddings = [T.map_rows(part.images) for part, T in zip(parts, transforms, strict=True)]
    shares = [part.kept(Z) for part, Z in zip(parts, embeddings, strict=True)]
    raw_shares = [part.raw_kept(Z) for part, Z in zip(parts, embeddings, strict=True)]
    kept, kept_low, kept_high = Units(values=np.concatenate(shares)).estimate().bounded(FRACTION)
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
        kept_raw=float(np.concatenate(raw_shares).mean()),
        k=parts[0].k,
        n_images=round(np.mean([len(part.images) for part in parts])),
        among=data.evaluation_kind,
    )


def credit_and_loss(
    parts: Sequence[HeldOut], transforms: Sequence[LinearTransform]
) -> tuple[Float[np.ndarray, " t"], float]:
    """The credit of each held-out answer, and the weighted mean of their losses in nats."""
    embeddings = [T.map_rows(part.objects) for part, T in zip(parts, transforms, strict=True)]
    credit = [part.credit(Z) for part, Z in zip(parts, embeddings, strict=True)]
    S = [part.similarities(Z) for part, Z in zip(parts, embeddings, strict=True)]
    weights = np.concatenate([part.answers.all_weights for part in parts])
    return np.concatenate(credit), float(
        np.average(choice_loss(np.concatenate(S)), weights=weights)
    )


def scaled_identity(data: FitData, centre: float = 0.0) -> LinearTransform:
    """The scaled identity that fits the answers best, with this centre in place of the data's."""
    data = replace(data, centre=centre)
    X, answers = data.objects_and_answers("float64")
    S = of_pairs(X, answers.objects, answers.pairs, "dot")
    scale = best_similarity_scale(S, answers.weights) ** 0.5
    return data.transform(scale * np.eye(X.shape[1]))


def best_similarity_scale(
    S: Float[np.ndarray, "t k"], weights: Float[np.ndarray, " t"] | None
) -> float:
    """The m > 0 for which the softmax of m S has the lowest mean loss of column 0.

    The bracket lies around the m that gives the similarities of an answer a standard deviation of
    1, because the similarities of raw features grow with the number of columns.
    """

    def slopes(m: float) -> tuple[float, float]:
        q = np.exp(m * S - (m * S).max(axis=1, keepdims=True))
        q /= q.sum(axis=1, keepdims=True)
        expected = (q * S).sum(axis=1)
        variance = (q * S**2).sum(axis=1) - expected**2
        slope = np.average(expected - S[:, 0], weights=weights)
        return float(slope), m * float(np.average(variance, weights=weights))

    spread = float((S - S.mean(axis=1, keepdims=True)).std())
    start = -float(np.log(spread)) if spread else 0.0
    return increasing_root(slopes, start, start - _MAX_LOG_SCALE, start + _MAX_LOG_SCALE)
