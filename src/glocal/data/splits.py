"""Folds over objects or participants, and blocks of local images."""

from __future__ import annotations

from typing import Literal

import numpy as np

from glocal.data.answers import Answers
from glocal.data.join import Joined
from glocal.data.people import question_numbers
from glocal.errors import DataError, ParameterError
from glocal.similarity import Mask, Numbers


def object_folds(n: int, folds: int = 3, seed: int = 42) -> list[Numbers]:
    """Split n objects into `folds` parts: ``array_split(RandomState(seed).permutation(n), folds)``.

    Parameters
    ----------
    n : int
        Number of objects, in file order.
    folds : int
        Number of parts, 2 to n // 3, so that every part can hold an answer.
    seed : int
        Seed of the legacy RandomState, which gives the same folds everywhere.

    Raises
    ------
    ParameterError
        If there are too many or too few folds, or the seed is outside 0 to 2³² - 1.
    """
    if not 2 <= folds <= n // 3:
        raise ParameterError(
            f"`folds` is {folds}, and there are {n} objects. At least two parts are needed, and "
            "three objects in each part."
        )
    return _parts(n, folds, seed)


def question_folds(answers: Answers, folds: int = 3, seed: int = 42) -> list[Numbers]:
    """Split the rows of answers into `folds` parts, with all answers to a question in one part.

    A question in several parts, asked of another person or as another row of a soft answer, would
    inflate the held-out agreement.

    Raises
    ------
    DataError
        If there are fewer questions than folds.
    """
    question = question_numbers(answers)
    n_questions = int(question.max(initial=-1)) + 1
    if n_questions < folds:
        raise DataError(
            f"the answers are to {n_questions} questions, too few for {folds} folds. Give answers "
            "to more questions."
        )
    parts = _parts(n_questions, folds, seed)
    return [np.flatnonzero(np.isin(question, part)) for part in parts]


def split_answers(
    answers: Answers, n: int, *, folds: int = 3, fold: int = 0, seed: int = 42
) -> tuple[Mask, Mask]:
    """Return masks (t,) of training and held-out answers if one fold of the objects is held out.

    All objects of a training answer are outside the fold, and all objects of a held-out answer are
    inside. Other answers belong to neither part. Raises the errors of `object_folds`, and a
    ParameterError if the fold does not exist.
    """
    check_fold(fold, folds)
    heldout_objects = object_folds(n, folds, seed)[fold]
    is_heldout = np.zeros(n, dtype=bool)
    is_heldout[heldout_objects] = True
    return answers.inside(is_heldout)


def split_people(
    answers: Answers, *, folds: int = 3, fold: int = 0, seed: int = 42
) -> tuple[Mask, Mask]:
    """Return masks (t,) of training and held-out answers if a fold of participants is held out.

    Raises
    ------
    DataError
        If the participants who gave the answers are not known.
    ParameterError
        If there are fewer than two folds or more than participants, or the fold does not exist.
    """
    if answers.person is None:
        raise DataError(
            "the answers do not say who gave them; hold out objects, or give a file that does."
        )
    people, codes = np.unique(answers.person, return_inverse=True)
    if not 2 <= folds <= len(people):
        raise ParameterError(
            f"`folds` is {folds}; with {len(people)} participants it can be 2 to {len(people)}."
        )
    check_fold(fold, folds)
    heldout_people = _parts(len(people), folds, seed)[fold]
    heldout = np.isin(codes, heldout_people)
    return ~heldout, heldout


def split_joined(
    answers: Answers,
    joined: Joined,
    n: int,
    *,
    by: Literal["objects", "people"] = "objects",
    folds: int = 3,
    fold: int = 0,
    seed: int = 42,
) -> dict[str, Answers]:
    """Split answers that were joined with n rows into the parts ``train`` and ``heldout``.

    Both parts index objects as `answers` do. Raises the errors of `split_answers` or
    `split_people`, and a DataError if a part is empty.
    """
    if by == "objects":
        train, heldout = split_answers(joined.answers, n, folds=folds, fold=fold, seed=seed)
    else:
        train, heldout = split_people(joined.answers, folds=folds, fold=fold, seed=seed)
    joined_answers = answers.select(joined.kept)
    parts = {"train": joined_answers.select(train), "heldout": joined_answers.select(heldout)}
    for name, part in parts.items():
        if not len(part):
            raise DataError(
                f"no answer falls into the {name} part of fold {fold} of {folds}. Use other folds."
            )
    return parts


def local_blocks(n: int, block_size: int = 1024, seed: int = 42) -> list[Numbers]:
    """Permute n local images and cut them into ceil(n / block_size) nearly equal blocks.

    With a block size of at least 3, every block has at least two images.

    Raises
    ------
    ParameterError
        If there are fewer than two images.
    """
    if n < 2:
        raise ParameterError(
            f"the local term compares images and needs at least 2 local images, but there are {n}."
        )
    return _parts(n, -(-n // block_size), seed)


def _parts(n: int, n_parts: int, seed: int) -> list[Numbers]:
    """A permutation of 0 to n - 1 in nearly equal parts."""
    if not 0 <= seed < 2**32:
        raise ParameterError(f"`seed` is {seed}; it must be from 0 to {2**32 - 1}.")
    permuted = np.random.RandomState(seed).permutation(n)
    return np.array_split(permuted, n_parts)


def check_fold(fold: int, folds: int) -> None:
    """Raise a ParameterError for a fold that does not exist."""
    if not 0 <= fold < folds:
        raise ParameterError(
            f"`fold` is {fold} but there are {folds} folds (valid 0..{folds - 1})."
        )
