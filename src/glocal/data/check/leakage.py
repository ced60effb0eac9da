"""What two parts of the answers share: held-out answers that were trained on are no test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from jaxtyping import Bool

from glocal.data.answers import Answers
from glocal.data.check.case import Case
from glocal.data.check.finding import Finding
from glocal.data.repeated import questions


def check_leakage(case: Case) -> Iterator[Finding]:
    """Questions, persons and objects that the answers and the held-out ones share."""
    train, test = case.answers, case.heldout
    if train is None or test is None or not len(train) or not len(test):
        return
    asked, where = _asked(train, test)
    persons = _both(train.person, test.person)
    if asked.any():
        new_people = persons == 0
        yield Finding(
            "note" if new_people else "error",
            "leakage",
            f"held-out answers: {where.sum()} of {len(test)} are about questions that are among the answers to train on"
            + (", put to other persons" if new_people else f" ({asked.sum()} answers there)"),
            "split again (glocal data split); --fix leaves these answers out of those to train on"
            if not new_people
            else "nothing, if new persons are what you ask about; for new objects, split by objects",
            {"train": int(asked.sum()), "heldout": int(where.sum())},
            None if new_people else _without_shared,
        )
        return
    objects = np.intersect1d(train.named(), test.named())
    if len(objects) and persons != 0:
        yield Finding(
            "warning",
            "leakage",
            f"held-out answers: {len(objects)} of the {len(test.named())} objects that they name are in the answers to "
            "train on",
            "hold out objects (glocal data split) to score on objects that no fit has seen",
            {"objects": len(objects)},
        )


def _without_shared(case: Case) -> Case:
    assert case.answers is not None
    assert case.heldout is not None
    return replace(case, answers=case.answers.select(~_asked(case.answers, case.heldout)[0]))


def _both(a: np.ndarray | None, b: np.ndarray | None) -> int | None:
    """How many persons are in both parts; None where that is unknown."""
    return None if a is None or b is None else len(np.intersect1d(a, b))


def _asked(a: Answers, b: Answers) -> tuple[Bool[np.ndarray, " t"], Bool[np.ndarray, " u"]]:
    """Which answers are to questions that the other part holds too."""
    if a.pairs != b.pairs:
        return np.zeros(len(a), dtype=bool), np.zeros(len(b), dtype=bool)
    both = np.concatenate([questions(a)[0], questions(b)[0]])
    group = np.unique(both, axis=0, return_inverse=True)[1].reshape(-1)
    here, there = group[: len(a)], group[len(a) :]
    return np.isin(here, there), np.isin(there, here)
