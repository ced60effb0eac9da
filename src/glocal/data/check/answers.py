"""Checks of answers that need no features: questions, held-out questions, votes and people."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from glocal.data.answers import Answers
from glocal.data.check.findings import Findings, finding
from glocal.data.people import FAST, describe, question_numbers, set_keys, tally

if TYPE_CHECKING:
    import pandas as pd

_MAX_ANSWERS = 200_000  # of more, about as many are compared
_MIN_PAIRS = 400  # fewest pairs of answers to the same question that show their agreement
_MAX_STANDARD_ERRORS_OF_CHANCE = 3.0
_MAX_SHARE_FAST = 0.5  # largest accepted fraction of fast answers of a person
_MIN_CATCH = 0.75  # smallest accepted share of catch trials passed
_MIN_CATCH_TRIALS = 4
_MAX_PERSONS_SHOWN = 5


def check_questions(answers: Answers, n_objects: int) -> Findings:
    """Check base, coverage and repeats; `join` checks the range, `check_readings` the columns."""
    named = answers.named_objects()
    n_unnamed = n_objects - len(named)
    if n_unnamed == 1 and len(named) and named[0] == 1:
        yield finding(
            "base", "answers: object 0 is the only one never named; the file may count from 1"
        )
    if n_unnamed:
        yield finding("coverage", f"answers: {n_unnamed} of {n_objects} objects are never named")
    yield from _check_repeats(answers)


def _check_repeats(answers: Answers) -> Findings:
    """Count repeats, and find contradictions that are more frequent than by chance.

    Of many answers, a sample of the questions is checked.
    """
    step = -(-len(answers) // _MAX_ANSWERS)
    sample = answers
    if step > 1:
        sample = answers.select(set_keys(answers.objects) % step == 0)
    counts = tally(replace(sample, weights=None, votes=None))[1]
    n_copies = (len(sample) - np.count_nonzero(counts)) * step
    if n_copies:
        number = f"about {n_copies}" if step > 1 else f"{n_copies}"
        yield finding("repeats", f"answers: {number} of {len(answers)} repeat another one")
    times = counts.sum(axis=1)
    n_pairs = float((times * (times - 1)).sum())
    if answers.weights is not None or n_pairs < _MIN_PAIRS:
        return
    agreement = float((counts * (counts - 1)).sum()) / n_pairs
    chance = answers.chance
    error = math.sqrt(chance * (1 - chance) / (n_pairs / 2))
    if agreement < chance - _MAX_STANDARD_ERRORS_OF_CHANCE * error:
        yield finding(
            "contradictions",
            f"answers: two answers to one question agree with frequency {agreement:.3f}, while "
            f"chance is {chance:.3f}",
        )


def check_heldout(train: Answers, test: Answers) -> Findings:
    """Find questions that both parts ask, unless other people gave the held-out answers."""
    if train.pairs != test.pairs:
        return
    if train.person is not None and test.person is not None:
        shares_people = np.isin(test.person, train.person).any()
        if not shares_people:
            return
    n_train = len(train)
    both = Answers(np.concatenate([train.objects, test.objects]), kind=train.kind)
    question = question_numbers(both)
    is_repeated = np.isin(question[n_train:], question[:n_train])
    n_repeated = is_repeated.sum()
    if n_repeated:
        part = f"{n_repeated} of {len(test)} repeat questions of the training answers"
        yield finding("leakage", f"held-out answers: {part}")


def check_people(answers: Answers) -> Findings:
    """Find weights that are not votes, and inattentive people.

    People who answer as if at random are found by `glocal.people`, which fits models.
    """
    weights = answers.weights
    if weights is not None and weights.max() > 1 and (weights != np.round(weights)).any():
        message = f"weights up to {weights.max():g} are neither whole votes nor probabilities"
        yield finding("votes", f"answers: {message}")
    if answers.person is None:
        return
    table = describe(answers)
    if "fast" in table:
        description = f"give more than half of their answers in less than {FAST} s"
        is_fast = table["fast"] > _MAX_SHARE_FAST
        yield from named_people(table, is_fast, "fast", description)
    if "catch" in table:
        has_enough = table["catch_trials"] >= _MIN_CATCH_TRIALS
        description = "fail more than a quarter of their catch trials"
        is_inattentive = has_enough & (table["catch"] < _MIN_CATCH)
        yield from named_people(table, is_inattentive, "catch", description)


def named_people(
    table: pd.DataFrame, is_named: pd.Series[bool], check: str, description: str
) -> Findings:
    """Yield the finding about the named people, if there are any."""
    if is_named.any():
        persons = table.index[is_named].tolist()
        shown = ", ".join(map(str, persons[:_MAX_PERSONS_SHOWN]))
        part = f"{len(persons)} of {len(table)} {description}"
        yield finding(check, f"participants: {part} (first: {shown})")
