"""Checks of what answers refer to: other readings of their columns and of the list of objects.

All other readings are tried, and the best one is reported if the features agree clearly better with
the answers under it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import chain, permutations
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from glocal.data.answer_arrays import import_line
from glocal.data.answers import Answers
from glocal.data.check.findings import Case, Finding, Findings, finding, warn_of_findings
from glocal.data.features import Features
from glocal.data.join import ChoiceModel, choice_model, feature_rows
from glocal.data.names import object_name
from glocal.similarity import KINDS, Numbers, Objects, Values

MAX_ANSWERS_BEFORE_FIT = 20_000
"""Enough answers to detect a difference of .025 between two columns."""
_MAX_ANSWERS = 200_000  # of more, about as many are compared
_MAX_COLUMNS = 9  # of more columns, only the first are tried
_MAX_ENTRIES = 1 << 25  # entries of the features; checking the list needs all rows in memory
_MIN_ANSWERS = 200  # fewest answers that another reading must change
_MIN_GAIN = 0.02  # smallest reported gain in agreement
# on the answers about materials, a wrong reference agrees better than the right one by .015
_MIN_REFERENCE_GAIN = 0.05
_MIN_STANDARD_ERRORS = 5.0  # smallest reported gain, in standard errors
_MIN_ANSWERS_FOR_CHANCE = 1000
_MAX_STANDARD_ERRORS_OF_CHANCE = 3.0


class Reading(NamedTuple):
    """Another reading of the answers: the feature rows of their objects, -1 for none.

    `check` is the check that finds it, `description` what would be true of the files, `fix` how to
    read them so, and `min_gain` the smallest gain in agreement that is reported.
    """

    check: str
    description: str
    objects: Objects
    fix: str | None = None
    min_gain: float = _MIN_GAIN


def check_readings(case: Case, answers: Answers) -> Findings:
    """Check the columns of the answers of a case, and the list of objects that they index.

    `answers` are these answers as indices of feature rows.
    """
    features = case.features
    answers = _spaced(answers, _MAX_ANSWERS)
    readings: Iterable[Reading] = _of_columns(answers)
    rows = answers.named_objects()
    n_entries = np.prod(features.matrix.shape, dtype=np.int64)
    if case.answers is not None and n_entries <= _MAX_ENTRIES:
        rows = np.arange(len(features))
        readings = chain(readings, _of_list(case, case.answers))
    return _best_reading(features, rows, answers, readings)


def check_columns(features: Features, answers: Answers) -> Findings:
    """Check the columns of answers about feature rows alone, as a fit does."""
    answers = _spaced(answers, MAX_ANSWERS_BEFORE_FIT)
    return _best_reading(features, answers.named_objects(), answers, _of_columns(answers))


def warn_of_order(case: Case, answers: Answers) -> None:
    """Warn of another reading of the list; a fit itself warns of columns and of chance.

    `answers` are as in `check_readings`.
    """
    warn_of_findings(each for each in check_readings(case, answers) if each.check == "order")


def _spaced(answers: Answers, max_answers: int) -> Answers:
    """Select at most `max_answers` evenly spaced answers, in the order of the file."""
    step = -(-len(answers) // max_answers)
    return answers if step <= 1 else answers.select(np.arange(0, len(answers), step))


def _of_columns(answers: Answers) -> Iterator[Reading]:
    """The readings with other columns as the chosen pair, the reference first if there is one."""
    columns = range(answers.objects.shape[1])
    has_reference = KINDS[answers.kind].has_reference
    pairs = permutations(columns[:_MAX_COLUMNS], 2) if has_reference else answers.pairs
    for first, second in pairs:
        others = [column for column in columns if column not in (first, second)]
        objects = answers.objects[:, [first, second, *others]]
        if has_reference:
            description = f"column {first} is the reference and {second} the chosen one"
            min_gain = _MIN_REFERENCE_GAIN if first else _MIN_GAIN
            yield Reading("columns", description, objects, None, min_gain)
        else:
            convention = import_line(f"--odd-column {others[0]}")
            fix = f"if that is the convention of the file, convert it: {convention}"
            yield Reading("columns", f"column {others[0]} is odd", objects, fix)


def _of_list(case: Case, answers: Answers) -> Iterator[Reading]:
    """The readings of the list of objects that the answers of a case index."""
    rows = np.arange(len(case.features))
    if case.listed is not None:
        rows = feature_rows(case.features, case.listed)
    is_absent = rows < 0
    if is_absent.any():
        are_present, _ = answers.inside(is_absent)
        answers = answers.select(are_present)
    objects = _spaced(answers, _MAX_ANSWERS).objects

    def reading(description: str, other_rows: Numbers, fix: str | None = None) -> Reading:
        return Reading("order", description, other_rows[objects], fix)

    fix = f"convert the file: {import_line('--base 1')}"
    yield reading("the answers count from 1", np.append(-1, rows[:-1]), fix)
    fix = "read the file without --base 1, or remove a title from the list"
    yield reading("the answers count from 0", np.append(rows[1:], -1), fix)
    yield reading("the list of objects runs backwards", rows[::-1], "reverse the list")
    if case.order is not None and len(case.order) == len(rows):
        fix = "leave `order` out, or give its inverse"
        yield reading("the order is left out", rows[case.order], fix)
    if names := case.listed or case.features.names:
        # as the published answers of THINGS are; its lists of names are sorted as words
        files = [f"{object_name(name)}." for name in names]
        description = "their objects are sorted as files with an extension are"
        yield reading(description, rows[np.argsort(files)])


class _Comparison(NamedTuple):
    """The gain beyond the smallest one that is reported, in answers, and the finding about it."""

    excess: float
    finding: Finding


def _best_reading(
    features: Features, rows: Numbers, answers: Answers, readings: Iterable[Reading]
) -> Findings:
    """Report the reading that gains most, if it is clearly better; or else agreement at chance.

    `rows` are the rows of the features that the readings name.
    """
    shares_of = choice_model(features, rows)
    credits = shares_of(answers)[:, 0]
    comparisons = (_compared(reading, answers, credits, shares_of) for reading in readings)
    best = max(comparisons, key=attrgetter("excess"))
    if best.excess > 0:
        yield best.finding
    else:
        yield from _check_chance(answers, credits)


def _compared(
    reading: Reading, answers: Answers, credits: Values, shares_of: ChoiceModel
) -> _Comparison:
    """Compare a reading with the present one, whose agreement with each answer is `credits`."""
    differs = reading.objects != answers.objects
    is_changed = differs.any(axis=1) & (reading.objects >= 0).all(axis=1)
    weights = answers.all_weights[is_changed]
    weight = max(weights.sum(), 1.0)
    before = weights * credits[is_changed]
    changed = Answers(reading.objects[is_changed], kind=answers.kind)
    after = weights * shares_of(changed)[:, 0]
    gain = (after - before).sum()
    is_clear = gain > _MIN_STANDARD_ERRORS * np.linalg.norm(after - before)
    n_objects = len(np.unique(answers.objects[differs]))
    message = (
        f"answers: the features agree with {100 * after.sum() / weight:.1f} % of the "
        f"{len(changed)} answers about {n_objects} objects if {reading.description}, and with "
        f"{100 * before.sum() / weight:.1f} % as they are read now"
    )
    is_reported = is_clear and len(changed) >= _MIN_ANSWERS
    excess = gain - reading.min_gain * weight if is_reported else 0.0
    return _Comparison(excess, finding(reading.check, message, fix=reading.fix))


def _check_chance(answers: Answers, credits: Values) -> Findings:
    """Report that features agree with many answers as often as by chance."""
    agreement = np.average(credits, weights=answers.all_weights)
    error = math.sqrt(answers.chance * (1 - answers.chance) / len(answers))
    is_chance = abs(agreement - answers.chance) < _MAX_STANDARD_ERRORS_OF_CHANCE * error
    if is_chance and len(answers) >= _MIN_ANSWERS_FOR_CHANCE:
        message = (
            f"answers: the features agree with {100 * agreement:.1f} % of them, which is chance"
        )
        yield finding("chance", message)
