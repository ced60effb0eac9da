"""Folds: the data of a fit without some objects or questions and local images, and these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np

from glocal.aligner.data import FitData
from glocal.data.answers import Answers
from glocal.data.splits import object_folds, question_folds
from glocal.errors import DataError, ParameterError
from glocal.similarity import Numbers

MIN_ANSWERS_FOR_OBJECT_FOLDS = 5_000
"""With fewer answers folds are of questions, since folds of objects would hold out too few."""


Unit = Literal["objects", "questions"]
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
    answers to one question fall into one fold, and the objects are the same on both sides.

    Parameters
    ----------
    data : FitData
    folds : int
        The number of folds, at least 2:
        ``array_split(RandomState(seed).permutation(n), folds)`` of the n objects that the
        answers name, in the order of the file, or of the n questions; and of the local images.
    unit : "objects", "questions" or None
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
    if (unit or fold_unit(data)) == "objects":
        parts = _object_folds(data, folds)
    else:
        parts = _question_folds(data, folds)
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

    def column(name: str) -> Any:
        parts = [getattr(answers, name) for answers in folds]
        return None if parts[0] is None else np.concatenate(parts)

    return Answers(
        column("objects"),
        column("weights"),
        votes=column("votes"),
        kind=folds[0].kind,
        person=column("person"),
    )


def _object_folds(data: FitData, folds: int) -> list[Fold]:
    """Folds of the objects, without local images."""
    objects = data.answers.named_objects() if data.objects is None else data.objects
    parts = []
    for k, numbers in enumerate(object_folds(len(objects), folds, data.seed)):
        rows = objects[numbers]
        is_heldout = np.zeros(len(data.features), dtype=bool)
        is_heldout[rows] = True
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


def _question_folds(data: FitData, folds: int) -> list[Fold]:
    """Folds of the questions, without local images."""
    rows = data.answers.named_objects()
    numbers = np.arange(len(data.answers))
    parts = []
    for heldout in question_folds(data.answers, folds, data.seed):
        rest = replace(data, answers=data.answers.select(np.setdiff1d(numbers, heldout)))
        parts.append(Fold(rest, data.answers.select(heldout), rows, "questions"))
    return parts
