"""Scores on what folds hold out: agreement, loss and neighbours, for a transform of each fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from glocal.aligner.data import NEIGHBOURS, Centre, FitData
from glocal.aligner.folds import Fold, pooled_answers
from glocal.data.answers import Answers
from glocal.data.people import question_numbers
from glocal.evaluation.agreement import answer_credit, credit_units
from glocal.evaluation.intervals import (
    CORRELATION,
    Bounded,
    Estimate,
    ItemValues,
    mean_estimate,
)
from glocal.evaluation.structure import kept_by_image, neighbourhoods
from glocal.results import HeldOutScores
from glocal.similarity import Choices, Numbers, Rows, Values, choice_loss, of_pairs
from glocal.solver import increasing_root
from glocal.transform import LinearTransform

if TYPE_CHECKING:
    from scipy.sparse import csr_array

RowsOfFolds = Sequence[Rows]
"""Rows for each fold, in the order of the folds."""
TransformsOfFolds = Sequence[LinearTransform]
_MAX_LOG_SCALE = 5.0  # of the best scale, from the scale that gives similarities a spread of 1


class FoldScorer:
    """Scores embeddings, one for each fold, on the answers and images that the fold holds out.

    Attributes
    ----------
    folds : sequence of Fold
    answers : Answers
        The answers of all folds, in the order of the scores.
    objects, images : list of (n, p) and of (m, p) arrays
        The objects that the answers of each fold name, and its images: raw rows in float64.
    k : int
        The number of nearest neighbours that are compared in every fold, at most 10.
    """

    def __init__(self, folds: Sequence[Fold]) -> None:
        self.folds = folds
        self.objects: list[Rows] = []
        self.images: list[Rows] = []
        self._answers: list[Answers] = []
        for fold in folds:
            data = fold.data
            heldout = replace(data, answers=fold.answers)
            rows, answers = heldout.named_rows()
            objects = rows.astype(np.float64)
            images = data.evaluation_rows(fold.rows)
            self.objects.append(objects)
            self.images.append(images)
            self._answers.append(answers)
        answers_of_folds = [fold.answers for fold in folds]
        self.answers = pooled_answers(answers_of_folds)
        rows_of_folds = [fold.rows for fold in folds]
        images_of_folds = map(len, rows_of_folds)
        least_images = min(images_of_folds)
        least_neighbours = least_images - 1
        self.k = min(NEIGHBOURS, least_neighbours)
        self._neighbours: dict[bool, list[csr_array]] = {}

    @property
    def is_centred(self) -> bool:
        """Whether the fit of any fold moves the origin."""
        centres = [fold.data.fixed_centre for fold in self.folds]
        is_moved = [centre != 0 for centre in centres]
        return any(is_moved)

    @cached_property
    def rows(self) -> list[Rows]:
        """The objects with the origin and scale of the fit of each fold."""
        return self._standardized(self.objects)

    @cached_property
    def image_rows(self) -> list[Rows]:
        """The images with the origin and scale of the fit of each fold."""
        return self._standardized(self.images)

    def _standardized(self, raw: RowsOfFolds) -> list[Rows]:
        standardized = []
        rows_of_folds = zip(self.folds, raw, strict=True)
        for fold, X in rows_of_folds:
            scalars = fold.data.scalars
            rows = scalars(X, "float64")
            standardized.append(rows)
        return standardized

    def credit(self, Z: RowsOfFolds, similarity: str = "cosine") -> Values:
        """The credit of each answer if the objects are embedded as Z."""
        parts = []
        folds = zip(Z, self._answers, strict=True)
        for X, answers in folds:
            credit = answer_credit(X, answers, similarity)
            parts.append(credit)
        return np.concatenate(parts)

    def similarities(self, Z: RowsOfFolds) -> Choices:
        """The dot products of the candidate pairs of each answer."""
        parts = []
        folds = zip(Z, self._answers, strict=True)
        for X, answers in folds:
            S = _dot_products(X, answers)
            parts.append(S)
        return np.concatenate(parts)

    def credit_and_loss(self, transforms: TransformsOfFolds) -> tuple[Values, float]:
        """The credit of each answer under the transform of its fold, and the mean loss in nats."""
        Z = _mapped(transforms, self.objects)
        similarities = self.similarities(Z)
        losses = choice_loss(similarities)
        mean_loss = self.mean(losses)
        credit = self.credit(Z)
        return credit, mean_loss

    def kept(self, Z: RowsOfFolds, *, centred: bool = False) -> Values:
        """The share of its neighbours that each image keeps if embedded as Z.

        They are neighbours in the raw rows, or, if `centred`, in the rows with the origin of the
        fit, as `keep` promises. Without a `centre` these are the same.
        """
        is_moved = centred and self.is_centred
        images = self.image_rows if is_moved else self.images
        if is_moved not in self._neighbours:
            self._neighbours[is_moved] = [neighbourhoods(X, self.k) for X in images]
        neighbours = self._neighbours[is_moved]
        parts = []
        folds = zip(images, Z, neighbours, strict=True)
        for X, embedded, before in folds:
            shares = kept_by_image(
                X,
                embedded,
                self.k,
                before=before,
            )
            parts.append(shares)
        return np.concatenate(parts)

    @cached_property
    def original_credit(self) -> Values:
        """The credit of each answer under the original features."""
        return self.credit(self.objects)

    def mean(self, values: Values) -> float:
        """The weighted mean of one value per answer."""
        weights = self.answers.weights
        mean = np.average(values, weights=weights)
        return float(mean)

    def estimate(self, values: Values) -> Estimate:
        """The weighted mean of one value per answer, with its standard error."""
        units = credit_units(values, self.answers)
        return units.estimate()

    def is_tie(self, deficit: Values, minimum: float = 0.0) -> bool:
        """Whether a mean deficit is within one standard error of 0, or at most `minimum`.

        The standard error is over questions. The standard error over objects, which is right for
        intervals, is larger. It would make more differences a tie, and λ one step too large.
        """
        weights = self.answers.all_weights
        mean_weight = weights.mean()
        weighted_deficit = deficit * weights
        weighted = weighted_deficit / mean_weight
        estimate = mean_estimate(weighted, self._questions)
        error = estimate.error or 0.0
        largest = max(error, minimum)
        return estimate.mean <= largest

    @cached_property
    def _questions(self) -> Numbers:
        return question_numbers(self.answers)

    def scores(self, transforms: TransformsOfFolds, *, converged: bool = True) -> HeldOutScores:
        """Score the transform of each fold on the answers and the images that the fold holds out.

        Agreement, loss and neighbours are compared with the original features, for the
        loss at the scale that fits the other answers best.
        """
        first = self.folds[0]
        has_local = first.data.local_features is not None
        neighbours = self._neighbours_kept(transforms)
        images_of_folds = [*map(len, self.images)]
        n_images = np.mean(images_of_folds)
        identities = [scaled_identity(fold.data, 0) for fold in self.folds]
        credit, loss = self.credit_and_loss(transforms)
        original_credit, original_loss = self.credit_and_loss(identities)
        agreement = self._agreement(credit, original_credit)
        return HeldOutScores(
            of=first.unit,
            folds=len(self.folds),
            seed=first.data.seed,
            converged=converged,
            n=len(credit),
            agreement=agreement.after.value,
            low=agreement.after.low,
            high=agreement.after.high,
            original=agreement.before.value,
            original_low=agreement.before.low,
            original_high=agreement.before.high,
            gain=agreement.gain.value,
            gain_low=agreement.gain.low,
            gain_high=agreement.gain.high,
            loss=loss,
            original_loss=original_loss,
            k=self.k,
            n_images=round(n_images),
            among="local images" if has_local else "objects",
            neighbours_kept=neighbours.kept.value,
            neighbours_kept_low=neighbours.kept.low,
            neighbours_kept_high=neighbours.kept.high,
            neighbours_kept_centred=neighbours.kept_centred,
        )

    def _neighbours_kept(self, transforms: TransformsOfFolds) -> _NeighboursKept:
        """The mean share of its neighbours that an image keeps under the transform of its fold."""
        Z = _mapped(transforms, self.images)
        shares = self.kept(Z)
        image_values = ItemValues(values=shares)
        kept_centred = None
        if self.is_centred:
            centred_shares = self.kept(Z, centred=True)
            kept_centred = float(centred_shares.mean())
        return _NeighboursKept(kept=image_values.bounded(), kept_centred=kept_centred)

    def _agreement(self, credit: Values, original_credit: Values) -> _Agreement:
        """The agreement of the transforms and of the original features, and the gain."""
        answers = self.answers
        after = credit_units(credit, answers)
        before = credit_units(original_credit, answers)
        gain = after.minus(before)
        return _Agreement(
            after=after.bounded(),
            before=before.bounded(),
            gain=gain.bounded(CORRELATION),
        )


class _NeighboursKept(NamedTuple):
    """The mean share of neighbours kept, in the raw rows and about the origin of the fit."""

    kept: Bounded
    kept_centred: float | None


class _Agreement(NamedTuple):
    """The agreement with held-out answers before and after a transform."""

    after: Bounded
    before: Bounded
    gain: Bounded


def _mapped(transforms: TransformsOfFolds, rows: RowsOfFolds) -> list[Rows]:
    """The rows of each fold under the transform of that fold."""
    mapped = []
    folds = zip(transforms, rows, strict=True)
    for transform, X in folds:
        Z = transform.map_rows(X)
        mapped.append(Z)
    return mapped


def _dot_products(X: Rows, answers: Answers) -> Choices:
    """The dot products of the candidate pairs of each answer about the rows of X."""
    objects = answers.objects
    pairs = answers.pairs
    return of_pairs(X, objects, pairs, "dot")


def scaled_identity(data: FitData, centre: Centre) -> LinearTransform:
    """The scaled identity that fits the answers best, with this centre in place of the data's."""
    data = replace(data, centre=centre)
    X, answers = data.objects_and_answers("float64")
    S = _dot_products(X, answers)
    similarity_scale = best_similarity_scale(S, answers.weights)
    length = similarity_scale**0.5
    _, p = X.shape
    W = length * np.eye(p)
    return data.transform(W)


def best_similarity_scale(S: Choices, weights: Values | None) -> float:
    """The m > 0 for which the softmax of m S has the lowest mean loss of column 0.

    The bracket lies around the m that gives the similarities of an answer a standard deviation of
    1, because the similarities of raw features grow with the number of columns.
    """
    from scipy.special import softmax

    chosen = S[:, 0]
    squares = S**2

    def slopes(m: float) -> tuple[float, float]:
        scaled = m * S
        q = softmax(scaled, axis=1)
        products = q * S
        expected = products.sum(axis=1)
        square_products = q * squares
        expected_square = square_products.sum(axis=1)
        variance = expected_square - expected**2
        excess = expected - chosen
        slope = np.average(excess, weights=weights)
        curvature = np.average(variance, weights=weights)
        curvature_of_log_scale = m * float(curvature)
        return float(slope), curvature_of_log_scale

    start = -_log_spread(S)
    lowest = start - _MAX_LOG_SCALE
    highest = start + _MAX_LOG_SCALE
    return increasing_root(slopes, start, lowest, highest)


def _log_spread(S: Choices) -> float:
    """The logarithm of the standard deviation of the similarities of an answer; 0 if it is 0."""
    means = S.mean(axis=1, keepdims=True)
    deviations = S - means
    spread = deviations.std()
    if not spread:
        return 0.0
    log_spread = np.log(spread)
    return float(log_spread)
