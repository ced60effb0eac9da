"""Folds: the data without some objects or questions and local images, and scores on these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from glocal.aligner.data import NEIGHBOURS, Centre, FitData
from glocal.data.answers import Answers
from glocal.data.people import question_numbers
from glocal.data.splits import object_folds, question_folds, split_people
from glocal.errors import DataError, ParameterError
from glocal.evaluation.agreement import answer_credit, credit_units
from glocal.evaluation.intervals import Estimate, ItemValues, mean_estimate
from glocal.evaluation.structure import kept_by_image, neighbourhoods
from glocal.results import HeldOutScores
from glocal.scores import MIN_ANSWERS_FOR_OBJECT_FOLDS
from glocal.similarity import Choices, Numbers, Rows, Values, choice_loss, of_pairs
from glocal.solver import increasing_root
from glocal.transform import LinearTransform

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_MAX_LOG_SCALE = 5.0  # of the best scale, from the scale that gives similarities a spread of 1


Unit = Literal["objects", "questions", "people"]
"""What folds hold out besides images."""


class Fold(NamedTuple):
    """The data without one fold, and the held-out answers and rows of images of that fold."""

    data: FitData
    answers: Answers
    rows: Numbers
    unit: Unit


def fit_folds(data: FitData, folds: int = 3, unit: Unit | None = None) -> list[Fold]:
    """Hold out every fold of the objects or of the questions, and of the local images.

    With folds of objects, an answer is fitted if all its objects lie outside the fold, and held
    out if all lie inside. Other answers belong to neither part. With folds of questions, all
    answers to one question fall into one fold, with folds of people all answers of one person, and
    the objects are the same on both sides.

    Parameters
    ----------
    data : FitData
    folds : int
        The number of folds, at least 2:
        ``array_split(RandomState(seed).permutation(n), folds)`` of the n objects that the
        answers name, in the order of the file, or of the n questions; and of the local images.
    unit : "objects", "questions", "people" or None
        None is `fold_unit`.

    Returns
    -------
    list of Fold
        `data` has all features, but only the answers and local images outside the fold; its own
        folds split the remaining objects and images. `answers` are the held-out answers. `rows`
        (m,) are the held-out rows of the local features, in random order, so that the first few
        are a random sample. Without local features they are rows of the object features: the
        rows in the fold, or for questions all that the answers name.

    Raises
    ------
    ParameterError
        The data allow only fewer folds.
    DataError
        No answer is left to fit, none is held out, or there are too few questions or local
        images.
    """
    if folds < 2:
        raise ParameterError(f"`folds` is {folds}; at least 2 are needed.")
    make_folds = {"objects": _object_folds, "questions": _question_folds, "people": _people_folds}
    parts = make_folds[unit or fold_unit(data)](data, folds)
    if data.local_features is None:
        return parts
    images = data.used_images
    if len(images) < 3 * folds:
        raise DataError(
            f"{len(images)} local images cannot be cut into {folds} folds of at least three. "
            f"Give at least {3 * folds}, or no `local_features`."
        )
    image_folds = object_folds(len(images), folds, data.seed)
    with_images = []
    for part, numbers in zip(parts, image_folds, strict=True):
        heldout = images[numbers]
        fitted = np.setdiff1d(images, heldout)
        rest = replace(part.data, images=fitted)
        with_images.append(part._replace(data=rest, rows=heldout))
    return with_images


def fold_unit(data: FitData) -> Unit:
    """The unit of folds: ``"objects"``, or ``"questions"`` if there are under 5,000 answers."""
    has_enough = data.answers.effective_size >= MIN_ANSWERS_FOR_OBJECT_FOLDS
    return "objects" if has_enough else "questions"


def pooled_answers(folds: Sequence[Answers]) -> Answers:
    """Concatenate the held-out answers of all folds, with their weights, votes and people."""
    return Answers(
        np.concatenate([answers.objects for answers in folds]),
        weights=_pooled([answers.weights for answers in folds]),
        votes=_pooled([answers.votes for answers in folds]),
        person=_pooled([answers.person for answers in folds]),
        kind=folds[0].kind,
    )


def _pooled(columns: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Concatenate a column of all folds, or return None if a fold lacks it."""
    parts = [column for column in columns if column is not None]
    if len(parts) < len(columns):
        return None
    return np.concatenate(parts)


def _object_folds(data: FitData, folds: int) -> list[Fold]:
    """Folds of the objects, without local images."""
    answers = data.answers
    objects = data.objects
    if objects is None:
        objects = answers.named_objects()
    rows_of_features = np.arange(len(data.features))
    parts = []
    for k, numbers in enumerate(object_folds(len(objects), folds, data.seed)):
        rows = objects[numbers]
        is_heldout_row = np.isin(rows_of_features, rows)
        is_fitted, is_heldout = answers.inside(is_heldout_row)
        fitted = answers.select(is_fitted)
        heldout = answers.select(is_heldout)
        if not len(fitted) or not len(heldout):
            where = "inside" if len(fitted) else "outside"
            raise DataError(
                f"no answer has all its objects {where} fold {k} of {folds}. Use fewer folds, "
                "or more answers."
            )
        remaining = np.setdiff1d(objects, rows)
        rest = replace(data, answers=fitted, objects=remaining)
        parts.append(Fold(rest, heldout, rows, "objects"))
    return parts


def _people_folds(data: FitData, folds: int) -> list[Fold]:
    """Folds of the people, without local images."""
    answers = data.answers
    rows = answers.named_objects()
    parts = []
    for fold in range(folds):
        is_fitted, is_heldout = split_people(answers, folds=folds, fold=fold, seed=data.seed)
        rest = replace(data, answers=answers.select(is_fitted))
        heldout = answers.select(is_heldout)
        parts.append(Fold(rest, heldout, rows, "people"))
    return parts


def _question_folds(data: FitData, folds: int) -> list[Fold]:
    """Folds of the questions, without local images."""
    answers = data.answers
    rows = answers.named_objects()
    numbers = np.arange(len(answers))
    parts = []
    for heldout_numbers in question_folds(answers, folds, data.seed):
        fitted_numbers = np.setdiff1d(numbers, heldout_numbers)
        rest = replace(data, answers=answers.select(fitted_numbers))
        heldout = answers.select(heldout_numbers)
        parts.append(Fold(rest, heldout, rows, "questions"))
    return parts


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
        self.answers = pooled_answers([fold.answers for fold in folds])
        least_images = min(len(fold.rows) for fold in folds)
        self.k = min(NEIGHBOURS, least_images - 1)
        self.objects: list[Rows] = []
        self._answers: list[Answers] = []
        for fold in folds:
            heldout = replace(fold.data, answers=fold.answers)
            rows, answers = heldout.named_rows()
            self.objects.append(rows.astype(np.float64))
            self._answers.append(answers)
        self.images = [fold.data.evaluation_rows(fold.rows) for fold in folds]
        self._neighbours: dict[bool, list[csr_array]] = {}

    @property
    def is_centred(self) -> bool:
        """Whether the fit of any fold moves the origin."""
        return any(fold.data.fixed_centre != 0 for fold in self.folds)

    @cached_property
    def rows(self) -> list[Rows]:
        """The objects with the origin and scale of the fit of each fold."""
        return self._standardized(self.objects)

    @cached_property
    def image_rows(self) -> list[Rows]:
        """The images with the origin and scale of the fit of each fold."""
        return self._standardized(self.images)

    def _standardized(self, raw: list[Rows]) -> list[Rows]:
        standardized = []
        for fold, X in zip(self.folds, raw, strict=True):
            standardized.append(fold.data.scalars(X, "float64"))
        return standardized

    def credit(self, Z: Sequence[Rows], similarity: str = "cosine") -> Values:
        """The credit of each answer if the objects are embedded as Z."""
        credit = []
        for X, answers in zip(Z, self._answers, strict=True):
            credit.append(answer_credit(X, answers, similarity))
        return np.concatenate(credit)

    def similarities(self, Z: Sequence[Rows]) -> Choices:
        """The dot products of the candidate pairs of each answer."""
        similarities = []
        for X, answers in zip(Z, self._answers, strict=True):
            similarities.append(of_pairs(X, answers.objects, answers.pairs, "dot"))
        return np.concatenate(similarities)

    def credit_and_loss(self, transforms: Sequence[LinearTransform]) -> tuple[Values, float]:
        """The credit of each answer under the transform of its fold, and the mean loss in nats."""
        Z = _mapped(transforms, self.objects)
        losses = choice_loss(self.similarities(Z))
        return self.credit(Z), self.mean(losses)

    def kept(self, Z: Sequence[Rows], *, centred: bool = False) -> Values:
        """The share of its neighbours that each image keeps if embedded as Z.

        They are neighbours in the raw rows, or, if `centred`, in the rows with the origin of the
        fit, as `keep` promises. Without a `centre` these are the same.
        """
        is_moved = centred and self.is_centred
        images = self.image_rows if is_moved else self.images
        if is_moved not in self._neighbours:
            self._neighbours[is_moved] = [neighbourhoods(X, self.k) for X in images]
        neighbours = self._neighbours[is_moved]
        shares = []
        for X, embedded, before in zip(images, Z, neighbours, strict=True):
            shares.append(kept_by_image(X, embedded, self.k, before=before))
        return np.concatenate(shares)

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
        weighted = deficit * weights / weights.mean()
        estimate = mean_estimate(weighted, self._questions)
        error = estimate.error or 0.0
        return estimate.mean <= max(error, minimum)

    @cached_property
    def _questions(self) -> Numbers:
        return question_numbers(self.answers)

    def scores(
        self, transforms: Sequence[LinearTransform], *, converged: bool = True
    ) -> HeldOutScores:
        """Score the transform of each fold on the answers and the images that the fold holds out.

        Agreement, loss and neighbours are compared with the original features, for the
        loss at the scale that fits the other answers best.
        """
        first = self.folds[0]
        Z = _mapped(transforms, self.images)
        kept, kept_low, kept_high = ItemValues(values=self.kept(Z)).bounded()
        kept_centred = None
        if self.is_centred:
            kept_centred = float(self.kept(Z, centred=True).mean())
        n_images = np.mean([len(X) for X in self.images])
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
            among="objects" if first.data.local_features is None else "local images",
            neighbours_kept=kept,
            neighbours_kept_low=kept_low,
            neighbours_kept_high=kept_high,
            neighbours_kept_centred=kept_centred,
        )

    def _agreement(self, credit: Values, original_credit: Values) -> _Agreement:
        """The agreement of the transforms and of the original features, and the gain."""
        after = credit_units(credit, self.answers)
        before = credit_units(original_credit, self.answers)
        gain = after.minus(before)
        return _Agreement(
            after=_Interval(*after.bounded()),
            before=_Interval(*before.bounded()),
            gain=_Interval(*gain.bounded((-1.0, 1.0))),
        )


class _Interval(NamedTuple):
    """A score with the ends of its interval, None if it has no error."""

    value: float
    low: float | None
    high: float | None


class _Agreement(NamedTuple):
    """The agreement with held-out answers before and after a transform."""

    after: _Interval
    before: _Interval
    gain: _Interval


def _mapped(transforms: Sequence[LinearTransform], rows: Sequence[Rows]) -> list[Rows]:
    """The rows of each fold under the transform of that fold."""
    mapped = []
    for transform, X in zip(transforms, rows, strict=True):
        mapped.append(transform.map_rows(X))
    return mapped


def scaled_identity(data: FitData, centre: Centre) -> LinearTransform:
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
        logits = m * S
        largest = logits.max(axis=1, keepdims=True)
        q = np.exp(logits - largest)
        q /= q.sum(axis=1, keepdims=True)
        expected = (q * S).sum(axis=1)
        expected_square = (q * S**2).sum(axis=1)
        variance = expected_square - expected**2
        slope = np.average(expected - S[:, 0], weights=weights)
        curvature = np.average(variance, weights=weights)
        return float(slope), m * float(curvature)

    deviations = S - S.mean(axis=1, keepdims=True)
    spread = float(deviations.std())
    start = -float(np.log(spread)) if spread else 0.0
    lowest = start - _MAX_LOG_SCALE
    highest = start + _MAX_LOG_SCALE
    return increasing_root(slopes, start, lowest, highest)
