"""The doctor of answers: range, coverage, repeats, contradictions, held-out ones, votes, and people."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from glocal.data.answers import Answers
from glocal.data.check.findings import Case, Finding, finding
from glocal.data.people import FAST, convicting, people, questions, tally

if TYPE_CHECKING:
    import pandas as pd

_PAIRS = 400  # of answers to one question, from which their agreement can be judged
_MOSTLY = 0.5
_SLOW = 200.0  # seconds; a median above it is of milliseconds
_SHOWN = 5


def check_answers(case: Case) -> Iterator[Finding]:
    """Range, base, coverage and repeats of the answers; their columns and order are looked at by others.

    Only a finding that is an error ends it: what comes after would be about nothing.
    """
    answers, names = case.answers, case.listed
    assert answers is not None
    n = len(case.features) if names is None else len(names)
    listed = "rows of the features" if names is None else "object ids"
    if not len(answers):
        yield finding("answers", "answers: the file holds no answer")
        return
    seen = answers.named()
    smallest, largest = int(seen[0]), int(seen[-1])
    if largest >= n:
        hint = {"fix": "pass `base=1`"} if largest == n and smallest >= 1 else {}
        yield finding("range", f"answers: object {largest} is named but there are {n} {listed}", **hint)
        return
    if smallest == 1 and len(seen) == n - 1:
        yield finding("base", "answers: object 0 is the only one never named; the file may count from 1")
    if len(seen) < n:
        severity = "note" if len(seen) > 0.9 * n else "warning"
        yield finding("coverage", f"answers: {n - len(seen)} of {n} {listed} are never named", severity=severity)
    yield from _repeats(answers)


def _repeats(answers: Answers) -> Iterator[Finding]:
    """Answers that repeat another one, and those that contradict each other more often than choices by chance would."""
    counts = tally(replace(answers, weights=None))[1]
    times, different = counts.sum(axis=1), np.count_nonzero(counts)
    if copies := len(answers) - different:
        told = "1 answer repeats" if copies == 1 else f"{copies} answers repeat"
        yield finding("repeats", f"answers: {told} another one exactly")
    pairs = float((times * (times - 1)).sum())
    if answers.weights is None and pairs >= _PAIRS:
        agreement, chance = float((counts * (counts - 1)).sum()) / pairs, answers.chance
        if agreement < chance - 3 * math.sqrt(chance * (1 - chance) / (pairs / 2)):
            yield finding(
                "contradictions",
                f"answers: {different - len(times)} answers contradict another answer on the same objects; two answers "
                f"to one question agree in {agreement:.3f}, chance is {chance:.3f}",
            )


def check_heldout(train: Answers, test: Answers) -> Iterator[Finding]:
    """Questions and objects that the answers and the held-out ones share, unless these are of new persons."""
    if train.person is not None and test.person is not None and not np.isin(test.person, train.person).any():
        return
    shared, repeated = np.intersect1d(train.named(), test.named()), 0
    if train.pairs == test.pairs:
        asked = np.concatenate([questions(train)[0], questions(test)[0]])
        group = np.unique(asked, axis=0, return_inverse=True)[1].reshape(-1)
        repeated = int(np.isin(group[len(train) :], group[: len(train)]).sum())
    if repeated:
        part = f"{repeated} of {len(test)} repeat questions of the training answers"
        yield finding("leakage", f"held-out answers: {part}")
    elif len(shared):
        part = f"{len(shared)} of the {len(test.named())} objects that they name also occur in the training answers"
        yield finding(
            "leakage",
            f"held-out answers: {part}",
            severity="warning",
            consequence="the held-out score says nothing about new objects",
            fix="hold out objects (glocal data split) to score on objects that no fit has seen",
        )


def check_people(answers: Answers, credit: Float[np.ndarray, " t"] | None = None) -> Iterator[Finding]:
    """Weights that are no votes, times in another unit, and persons who do not attend.

    A person is named whose answers are likelier at random than like those of the other persons, by so much that in 99
    of 100 sets of answers without such a person nobody is named; `glocal.data.people` says how. `credit` says how right
    the features are on each answer, NaN where they cannot tell: what persons are compared by where no question was put
    to two of them.
    """
    w, seconds = answers.weights, answers.seconds
    if w is not None and w.max() > 1 and (w != np.round(w)).any():
        yield finding("votes", f"answers: weights up to {w.max():g} are neither whole votes nor probabilities")
    known = np.zeros(0) if seconds is None else seconds[np.isfinite(seconds)]
    if len(known) and np.median(known) > _SLOW:
        yield finding("seconds", f"answers: the median time of an answer is {np.median(known):.0f} seconds")
    if answers.person is None:
        return
    found = people(answers, credit)
    limit = convicting(len(found))
    yield from _named(found, found["odds"] > limit, "random", "answer as if at random")
    if "fast" in found:
        how = f"give more than half of their answers in less than {FAST} s"
        yield from _named(found, found["fast"] > _MOSTLY, "fast", how)
    if "odds_inattentive" in found:
        yield from _named(found, found["odds_inattentive"] > limit, "catch", "fail catch trials as if at random")


def _named(found: pd.DataFrame, which: pd.Series[bool], check: str, how: str) -> Iterator[Finding]:
    if which.any():
        persons, answers = found.index[which].tolist(), found["answers"]
        shown = ", ".join(map(str, persons[:_SHOWN])) + (", …" if len(persons) > _SHOWN else "")
        part = f"{answers[which].sum()} of {answers.sum()} answers"
        yield finding(check, f"persons: {len(persons)} of {len(found)} {how} ({shown}), {part}")
