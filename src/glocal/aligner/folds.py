"""Folds: the data without some objects or questions and local images, and scores on these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

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
        are a random sample. Without local features they are rows of the object features: those
        of the fold, or for questions all that the answers name.

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
    return [
        part._replace(
            data=replace(part.data, images=np.setdiff1d(images, images[rows])),
            rows=images[rows],
        )
        for part, rows in zip(parts, object_folds(len(images), folds, data.seed), strict=True)
    ]


def fold_unit(data: FitData) -> Unit:
    """The unit of folds: ``"objects"``, or ``"questions"`` if there are under 5,000 answers."""
    has_enough = data.answers.effective_size >= MIN_ANSWERS_FOR_OBJECT_FOLDS
    return "objects" if has_enough else "questions"


def pooled_answers(folds: Sequence[Answers]) -> Answers:
    """Concatenate the held-out answers of all folds, with their weights, votes and persons."""
    columns: dict[str, Any] = {}
    for name in ("objects", "weights", "votes", "person"):
        parts = [getattr(answers, name) for answers in folds]
        columns[name] = None if parts[0] is None else np.concatenate(parts)
    return Answers(**columns, kind=folds[0].kind)


def _object_folds(data: FitData, folds: int) -> list[Fold]:
    """Folds of the objects, without local images."""
    objects = data.answers.named_objects() if data.objects is None else data.objects
    parts = []
    for k, numbers in enumerate(object_folds(len(objects), folds, data.seed)):
        rows = objects[numbers]
        is_heldout = np.isin(np.arange(len(data.features)), rows)
        fitted, heldout = (data.answers.select(m) for m in data.answers.inside(is_heldout))
        if not len(fitted) or not len(heldout):
            where = "inside" if len(fitted) else "outside"
            raise DataError(
                f"no answer has all its objects {where} fold {k} of {folds}. Use fewer folds, "
                "or more answers."
            )
        rest = replace(data, answers=fitted, objects=np.setdiff1d(objects, rows))
        parts.append(Fold(rest, heldout, rows, "objects"))
    return parts


def _people_folds(data: FitData, folds: int) -> list[Fold]:
    """Folds of the people, without local images."""
    rows = data.answers.named_objects()
    parts = []
    for fold in range(folds):
        masks = split_people(data.answers, folds=folds, fold=fold, seed=data.seed)
        fitted, heldout = (data.answers.select(mask) for mask in masks)
        parts.append(Fold(replace(data, answers=fitted), heldout, rows, "people"))
    return parts


def _question_folds(data: FitData, folds: int) -> list[Fold]:
    """Folds of the questions, without local images."""
    rows = data.answers.named_objects()
    numbers = np.arange(len(data.answers))
    parts = []
    for heldout in question_folds(data.answers, folds, data.seed):
        rest = replace(data, answers=data.answers.select(np.setdiff1d(numbers, heldout)))
        parts.append(Fold(rest, data.answers.select(heldout), rows, "questions"))
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
        self.answers = pooled_answers([fold.answers for fold in folds])
        self.k = min(NEIGHBOURS, min(len(fold.rows) for fold in folds) - 1)
        named = [replace(fold.data, answers=fold.answers).named_rows() for fold in folds]
        self.objects = [rows.astype(np.float64) for rows, _ in named]
        self.images = [fold.data.evaluation_rows(fold.rows) for fold in folds]
        self._answers = [answers for _, answers in named]
        self.folds = folds
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
        return [fold.data.scalars(X, "float64") for fold, X in zip(self.folds, raw, strict=True)]

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

    def kept(self, Z: Sequence[Rows], *, centred: bool = False) -> Values:
        """The share of its neighbours that each image keeps if embedded as Z.

        They are neighbours in the raw rows, or, if `centred`, in the rows with the origin of the
        fit, as `keep` promises. Without a `centre` these are the same.
        """
        is_moved = centred and self.is_centred
        images = self.image_rows if is_moved else self.images
        if is_moved not in self._neighbours:
            self._neighbours[is_moved] = [neighbourhoods(X, self.k) for X in images]
        parts = zip(images, Z, self._neighbours[is_moved], strict=True)
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

    def scores(
        self, transforms: Sequence[LinearTransform], *, converged: bool = True
    ) -> HeldOutScores:
        """Score the transform of each fold on the answers and the images that the fold holds out.

        Agreement, loss and neighbours are compared with the original features, for the
        loss at the scale that fits the other answers best.
        """
        data = self.folds[0].data
        Z = [transform.map_rows(X) for transform, X in zip(transforms, self.images, strict=True)]
        kept, kept_low, kept_high = ItemValues(values=self.kept(Z)).bounded()
        centred = float(self.kept(Z, centred=True).mean()) if self.is_centred else None
        return HeldOutScores(
            of=self.folds[0].unit,
            folds=len(self.folds),
            seed=data.seed,
            converged=converged,
            k=self.k,
            n_images=round(np.mean([len(X) for X in self.images])),
            among="objects" if data.local_features is None else "local images",
            neighbours_kept=kept,
            neighbours_kept_low=kept_low,
            neighbours_kept_high=kept_high,
            neighbours_kept_centred=centred,
            **self._agreement(transforms),
        )

    def _agreement(self, transforms: Sequence[LinearTransform]) -> dict[str, Any]:
        """The agreement, the gain over the original features, and both losses."""
        credit, loss = self.credit_and_loss(transforms)
        identities = [scaled_identity(fold.data, 0) for fold in self.folds]
        original_credit, original_loss = self.credit_and_loss(identities)
        units = credit_units(credit, self.answers)
        original = credit_units(original_credit, self.answers)
        agreement, low, high = units.bounded()
        original_agreement, original_low, original_high = original.bounded()
        gain, gain_low, gain_high = units.minus(original).bounded((-1.0, 1.0))
        return {
            "n": len(credit),
            "agreement": agreement,
            "low": low,
            "high": high,
            "original": original_agreement,
            "original_low": original_low,
            "original_high": original_high,
            "gain": gain,
            "gain_low": gain_low,
            "gain_high": gain_high,
            "loss": loss,
            "original_loss": original_loss,
        }


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
        q = np.exp(m * S - (m * S).max(axis=1, keepdims=True))
        q /= q.sum(axis=1, keepdims=True)
        expected = (q * S).sum(axis=1)
        variance = (q * S**2).sum(axis=1) - expected**2
        slope = np.average(expected - S[:, 0], weights=weights)
        return float(slope), m * float(np.average(variance, weights=weights))

    spread = float((S - S.mean(axis=1, keepdims=True)).std())
    start = -float(np.log(spread)) if spread else 0.0
    return increasing_root(slopes, start, start - _MAX_LOG_SCALE, start + _MAX_LOG_SCALE)
