"""Check features and answers before use, and report problems, their consequences and fixes.

The checks of features and of what answers refer to stand in files of their own.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from glocal.data.answers import Answers
from glocal.data.check.features import check_features, check_local
from glocal.data.check.findings import SEVERITIES, Case, Finding, Findings, finding
from glocal.data.check.readings import check_readings
from glocal.data.join import feature_rows, join
from glocal.data.people import FAST, describe, question_numbers, set_keys, tally
from glocal.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_MAX_SHARE_DROPPED = 0.05  # fraction of dropped answers above which a note becomes a warning
_MAX_OBJECTS_SHOWN = 3
_MAX_ANSWERS = 200_000  # of more, about as many are compared
_MIN_PAIRS = 400  # fewest pairs of answers to the same question that show their agreement
_MAX_STANDARD_ERRORS_OF_CHANCE = 3.0
_MAX_SHARE_FAST = 0.5  # largest accepted fraction of fast answers of a person
_MIN_CATCH = 0.75  # smallest accepted share of catch trials passed
_MIN_CATCH_TRIALS = 4
_MAX_PERSONS_SHOWN = 5


def diagnose(case: Case) -> list[Finding]:
    """Return all findings about features, local features and answers, most severe first."""
    findings = [*check_features(case.features)]
    has_features = not findings or findings[0].check != "features"
    if case.local is not None:
        findings += check_features(case.local, "local features")
        if has_features:
            findings += check_local(case.features, case.local)
    if case.answers is not None and has_features:
        try:
            findings.extend(_check_answers(case, case.answers))
        except DataError as error:
            findings.append(finding("answers", error))
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def diagnose_answers(answers: Answers, heldout: Answers | None = None) -> list[Finding]:
    """Return all findings about answers that need no features, most severe first."""
    n_objects = len(answers.names or ()) or int(answers.objects.max(initial=-1)) + 1
    findings = [*check_questions(answers, n_objects), *check_people(answers)]
    if heldout is not None:
        findings += check_heldout(answers, heldout)
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def _check_answers(case: Case, answers: Answers) -> Findings:
    """Check answers: their objects, questions, columns and people, and the held-out answers."""
    joined = join(case.features, answers, case.object_ids)
    yield from check_questions(answers, len(case.listed or case.features))
    if joined.n_dropped:
        listed = case.listed or ()
        rows = feature_rows(case.features, listed)
        lacking = [listed[i] for i in answers.named_objects().tolist() if rows[i] < 0]
        few = joined.n_dropped <= _MAX_SHARE_DROPPED * len(answers)
        yield finding(
            "join",
            f"answers: {joined.n_dropped} of {len(answers)} answers name an object without "
            f"features, such as {', '.join(map(repr, lacking[:_MAX_OBJECTS_SHOWN]))}",
            severity="note" if few else "warning",
        )
    yield from check_readings(case, joined.answers)
    yield from check_people(answers)
    if case.heldout is not None:
        heldout = join(case.features, case.heldout, case.object_ids).answers
        yield from check_heldout(joined.answers, heldout)  # each file may number objects anew


def check_questions(answers: Answers, n_objects: int) -> Findings:
    """Check base, coverage, repeats, and contradictions that are more frequent than by chance.

    `join` checks the range, and `check_readings` the columns.
    """
    named = answers.named_objects()
    n_unnamed = n_objects - len(named)
    if n_unnamed == 1 and len(named) and named[0] == 1:
        yield finding(
            "base", "answers: object 0 is the only one never named; the file may count from 1"
        )
    if n_unnamed:
        yield finding("coverage", f"answers: {n_unnamed} of {n_objects} objects are never named")
    step = -(-len(answers) // _MAX_ANSWERS)
    sample = answers if step <= 1 else answers.select(set_keys(answers.objects) % step == 0)
    counts = tally(replace(sample, weights=None, votes=None))[1]
    times = counts.sum(axis=1)
    n_different = np.count_nonzero(counts)
    if n_copies := (len(sample) - n_different) * step:
        number = f"about {n_copies}" if step > 1 else f"{n_copies}"
        yield finding("repeats", f"answers: {number} of {len(answers)} repeat another one")
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
    """Find questions that both parts ask, unless other persons gave the held-out answers."""
    if train.pairs != test.pairs:
        return
    if (
        train.person is not None
        and test.person is not None
        and not np.isin(test.person, train.person).any()
    ):
        return
    both = Answers(np.concatenate([train.objects, test.objects]), kind=train.kind)
    question = question_numbers(both)
    n_repeated = np.isin(question[len(train) :], question[: len(train)]).sum()
    if n_repeated:
        part = f"{n_repeated} of {len(test)} repeat questions of the training answers"
        yield finding("leakage", f"held-out answers: {part}")


def check_people(answers: Answers) -> Findings:
    """Find weights that are not votes, and inattentive persons.

    Persons who answer as if at random are found by `glocal.aligner.people`.
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
        yield from _persons(table, table["fast"] > _MAX_SHARE_FAST, "fast", description)
    if "catch" in table:
        has_enough = table["catch_trials"] >= _MIN_CATCH_TRIALS
        description = "fail more than a quarter of their catch trials"
        yield from _persons(table, has_enough & (table["catch"] < _MIN_CATCH), "catch", description)


def _persons(
    table: pd.DataFrame, is_named: pd.Series[bool], check: str, description: str
) -> Findings:
    """Yield the finding about the marked persons, if there are any."""
    if is_named.any():
        persons = table.index[is_named].tolist()
        shown = ", ".join(map(str, persons[:_MAX_PERSONS_SHOWN]))
        part = f"{len(persons)} of {len(table)} {description}"
        yield finding(check, f"participants: {part} (first: {shown})")
