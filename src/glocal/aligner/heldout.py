"""What folds hold out, and the one record of scores on answers and images that no fit has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from glocal.aligner.data import NEIGHBOURS, FitData
from glocal.aligner.folds import Fold, pooled_answers
from glocal.data.people import question_numbers
from glocal.evaluation.agreement import answer_credit, credit_units
from glocal.evaluation.intervals import Estimate, ItemValues, mean_estimate
from glocal.evaluation.structure import kept_by_image, neighbourhoods
from glocal.results import HeldOutScores
from glocal.similarity import (
    Choices,
    Numbers,
    Rows,
    Values,
    choice_loss,
    of_pairs,
)
from glocal.solver import increasing_root
from glocal.transform import LinearTransform

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_MAX_LOG_SCALE = 5.0  # of the best scale, from the scale that gives similarities a spread of 1


class FoldScorer:
    """Scores embeddings, one for each fold, on the answers and images that the fold holds out.

    Attributes
    ----------
    data : list of FitData
        The data that are fitted without each fold.
    answers : Answers
        The answers of all folds, in the order of the scores.
    objects, images : list of (n, p) and of (m, p) arrays
        The objects that the answers of each fold name, and its images: raw rows in float64.
    k : int
        The number of nearest neighbours that are compared in every fold, at most 10.
    """

    def __init__(self, folds: Sequence[Fold]) -> None:
        self.answers = pooled_answers([fold.answers for fold in folds])
        self.k = min(NEIGHBOURS, min(len(fold.rows) for fold in folds) - 1)
        named = [replace(fold.data, answers=fold.answers).named_rows() for fold in folds]
        self.objects = [rows.astype(np.float64) for rows, _ in named]
        self.images = [fold.data.evaluation_rows(fold.rows) for fold in folds]
        self._answers = [answers for _, answers in named]
        self.data = [fold.data for fold in folds]

    @property
    def is_centred(self) -> bool:
        """Whether the fit of any fold moves the origin."""
        return any(data.fixed_centre != 0 for data in self.data)

    @cached_property
    def rows(self) -> list[Rows]:
        """The objects with the origin and scale of the fit of each fold."""
        return self._standardized(self.objects)

    @cached_property
    def image_rows(self) -> list[Rows]:
        """The images with the origin and scale of the fit of each fold."""
        return self._standardized(self.images)

    def _standardized(self, raw: list[Rows]) -> list[Rows]:
        return [data.scalars(X, "float64") for data, X in zip(self.data, raw, strict=True)]

    @cached_property
    def _neighbours(self) -> list[csr_array]:
        return [neighbourhoods(X, self.k) for X in self.images]

    @cached_property
    def _centred_neighbours(self) -> list[csr_array]:
        return [neighbourhoods(X, self.k) for X in self.image_rows]

    def credit(self, Z: Sequence[Rows], similarity: str = "cosine") -> Values:
        """The credit of each answer if the objects are embedded as Z."""
        parts = zip(Z, self._answers, strict=True)
        return np.concatenate([answer_credit(X, answers, similarity) for X, answers in parts])

    def similarities(self, Z: Sequence[Rows]) -> Choices:
        """The dot products of the candidate pairs of each answer."""
        parts = zip(Z, self._answers, strict=True)
        return np.concatenate([of_pairs(X, a.objects, a.pairs, "dot") for X, a in parts])

    def credit_and_loss(self, transforms: Sequence[LinearTransform]) -> tuple[Values, float]:
        """The credit of each answer under the transform of its fold, and the mean loss in nats."""
        Z = [transform.map_rows(X) for transform, X in zip(transforms, self.objects, strict=True)]
        return self.credit(Z), self.mean(choice_loss(self.similarities(Z)))

    def kept(self, Z: Sequence[Rows]) -> Values:
        """The share of its neighbours in the raw rows that each image keeps if embedded as Z."""
        return self._kept(self.images, Z, self._neighbours)

    def neighbours_kept_centred(self, Z: Sequence[Rows]) -> Values:
        """The same share in the rows with the origin of the fit, of which `keep` promises a part.

        Without a `centre` these are the neighbours in the raw rows.
        """
        if not self.is_centred:
            return self.kept(Z)
        return self._kept(self.image_rows, Z, self._centred_neighbours)

    def _kept(
        self, images: Sequence[Rows], Z: Sequence[Rows], neighbours: Sequence[csr_array]
    ) -> Values:
        parts = zip(images, Z, neighbours, strict=True)
        return np.concatenate([kept_by_image(X, Y, self.k, before=near) for X, Y, near in parts])

    @cached_property
    def original_credit(self) -> Values:
        """The credit of each answer under the original features."""
        return self.credit(self.objects)

    def mean(self, values: Values) -> float:
        """The weighted mean of one value per answer."""
        return float(np.average(values, weights=self.answers.weights))

    def estimate(self, values: Values) -> Estimate:
        """The weighted mean of one value per answer, with its standard error."""
        return credit_units(values, self.answers).estimate()

    def is_tie(self, deficit: Values, minimum: float = 0.0) -> bool:
        """Whether a mean deficit is within one standard error of 0, or at most `minimum`.

        The standard error is over questions. The standard error over objects, which is right for
        intervals, is larger. It would make more differences a tie, and λ one step too large.
        """
        weights = self.answers.all_weights
        estimate = mean_estimate(deficit * weights / weights.mean(), self._questions)
        return estimate.mean <= max(estimate.error or 0.0, minimum)

    @cached_property
    def _questions(self) -> Numbers:
        return question_numbers(self.answers)


def heldout_scores(
    data: FitData,
    folds: Sequence[Fold],
    transforms: Sequence[LinearTransform],
    *,
    converged: bool = True,
) -> HeldOutScores:
    """Score the transform of each fold on the answers and the images that the fold holds out.

    Agreement, loss and neighbours are compared with those of the original features, for the loss
    at the scale that fits the other answers best.
    """
    parts = FoldScorer(folds)
    return HeldOutScores(
        of=folds[0].unit,
        folds=len(folds),
        seed=data.seed,
        converged=converged,
        k=parts.k,
        n_images=round(np.mean([len(X) for X in parts.images])),
        among=data.evaluation_kind,
        **_agreement(parts, folds, transforms),
        **_neighbours_kept(parts, transforms),
    )


def _agreement(
    parts: FoldScorer, folds: Sequence[Fold], transforms: Sequence[LinearTransform]
) -> dict[str, Any]:
    """The agreement, the gain over the original features, and both losses."""
    credit, loss = parts.credit_and_loss(transforms)
    identities = [scaled_identity(fold.data, 0.0) for fold in folds]
    original_credit, original_loss = parts.credit_and_loss(identities)
    units = credit_units(credit, parts.answers)
    original = credit_units(original_credit, parts.answers)
    agreement, low, high = units.bounded()
    gain, gain_low, gain_high = units.minus(original).bounded((-1.0, 1.0))
    return {
        "n": len(credit),
        "agreement": agreement,
        "low": low,
        "high": high,
        "original": original.estimate().mean,
        "gain": gain,
        "gain_low": gain_low,
        "gain_high": gain_high,
        "loss": loss,
        "original_loss": original_loss,
    }


def _neighbours_kept(parts: FoldScorer, transforms: Sequence[LinearTransform]) -> dict[str, Any]:
    """The neighbours kept of the original features, and of those with the origin of the fit."""
    Z = [transform.map_rows(X) for transform, X in zip(transforms, parts.images, strict=True)]
    kept, low, high = ItemValues(values=parts.kept(Z)).bounded()
    centred = float(parts.neighbours_kept_centred(Z).mean()) if parts.is_centred else None
    return {
        "neighbours_kept": kept,
        "neighbours_kept_low": low,
        "neighbours_kept_high": high,
        "neighbours_kept_centred": centred,
    }


def scaled_identity(data: FitData, centre: float | Literal["scalar"]) -> LinearTransform:
    """The scaled identity that fits the answers best, with this centre in place of the data's."""
    data = replace(data, centre=centre)
    X, answers = data.objects_and_answers("float64")
    S = of_pairs(X, answers.objects, answers.pairs, "dot")
    scale = best_similarity_scale(S, answers.weights) ** 0.5
    return data.transform(scale * np.eye(X.shape[1]))


def best_similarity_scale(S: Choices, weights: Values | None) -> float:
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
