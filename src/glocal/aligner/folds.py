"""Folds: the data without some objects, questions or people, and without some local images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from glocal.aligner.data import FitData
from glocal.data.answers import Answers
from glocal.data.splits import object_folds, question_folds, split_people
from glocal.errors import DataError, ParameterError
from glocal.scores import MIN_ANSWERS_FOR_OBJECT_FOLDS
from glocal.similarity import Mask, Numbers

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
    if unit is None:
        unit = fold_unit(data)
    if unit == "objects":
        parts = _object_folds(data, folds)
    elif unit == "questions":
        parts = _question_folds(data, folds)
    else:
        parts = _people_folds(data, folds)
    if data.local_features is None:
        return parts
    return _with_images(parts, data)


def _with_images(parts: Sequence[Fold], data: FitData) -> list[Fold]:
    """The same folds, each of which also holds out a part of the local images."""
    folds = len(parts)
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
        fold = part._replace(data=rest, rows=heldout)
        with_images.append(fold)
    return with_images


def fold_unit(data: FitData) -> Unit:
    """The unit of folds: ``"objects"``, or ``"questions"`` if there are under 5,000 answers."""
    has_enough = data.answers.effective_size >= MIN_ANSWERS_FOR_OBJECT_FOLDS
    return "objects" if has_enough else "questions"


def pooled_answers(folds: Sequence[Answers]) -> Answers:
    """Concatenate the held-out answers of all folds, with their weights, votes and people."""
    first = folds[0]
    objects = [answers.objects for answers in folds]
    weights = [answers.weights for answers in folds]
    votes = [answers.votes for answers in folds]
    person = [answers.person for answers in folds]
    return Answers(
        np.concatenate(objects),
        weights=_pooled(weights),
        votes=_pooled(votes),
        person=_pooled(person),
        kind=first.kind,
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
    numbers_of_folds = object_folds(len(objects), folds, data.seed)
    for k, numbers in enumerate(numbers_of_folds):
        rows = objects[numbers]
        is_heldout_row = np.isin(rows_of_features, rows)
        fitted, heldout = _outside_and_inside(answers, is_heldout_row, f"fold {k} of {folds}")
        remaining = np.setdiff1d(objects, rows)
        rest = replace(data, answers=fitted, objects=remaining)
        part = Fold(rest, heldout, rows, "objects")
        parts.append(part)
    return parts


def _outside_and_inside(
    answers: Answers, is_heldout_row: Mask, title: str
) -> tuple[Answers, Answers]:
    """The answers whose objects all lie outside a fold, and those whose objects all lie inside."""
    is_fitted, is_heldout = answers.inside(is_heldout_row)
    fitted = answers.select(is_fitted)
    heldout = answers.select(is_heldout)
    is_empty = not len(fitted) or not len(heldout)
    if is_empty:
        where = "inside" if len(fitted) else "outside"
        raise DataError(
            f"no answer has all its objects {where} {title}. Use fewer folds, or more answers."
        )
    return fitted, heldout


def _people_folds(data: FitData, folds: int) -> list[Fold]:
    """Folds of the people, without local images."""
    answers = data.answers
    rows = answers.named_objects()
    parts = []
    for fold in range(folds):
        masks = split_people(answers, folds=folds, fold=fold, seed=data.seed)
        is_fitted, is_heldout = masks
        fitted = answers.select(is_fitted)
        heldout = answers.select(is_heldout)
        rest = replace(data, answers=fitted)
        part = Fold(rest, heldout, rows, "people")
        parts.append(part)
    return parts


def _question_folds(data: FitData, folds: int) -> list[Fold]:
    """Folds of the questions, without local images."""
    answers = data.answers
    rows = answers.named_objects()
    numbers = np.arange(len(answers))
    parts = []
    numbers_of_folds = question_folds(answers, folds, data.seed)
    for heldout_numbers in numbers_of_folds:
        fitted_numbers = np.setdiff1d(numbers, heldout_numbers)
        fitted = answers.select(fitted_numbers)
        heldout = answers.select(heldout_numbers)
        rest = replace(data, answers=fitted)
        part = Fold(rest, heldout, rows, "questions")
        parts.append(part)
    return parts
