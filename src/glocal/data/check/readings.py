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
    readings_of_columns = _of_columns(answers)
    shape = features.matrix.shape
    n_entries = math.prod(shape)
    if case.answers is None or n_entries > _MAX_ENTRIES:
        rows = answers.named_objects()
        return _best_reading(features, rows, answers, readings_of_columns)
    all_rows = np.arange(len(features))
    readings_of_list = _of_list(case, case.answers)
    readings = chain(readings_of_columns, readings_of_list)
    return _best_reading(features, all_rows, answers, readings)


def check_columns(features: Features, answers: Answers) -> Findings:
    """Check the columns of answers about feature rows alone, as a fit does."""
    answers = _spaced(answers, MAX_ANSWERS_BEFORE_FIT)
    rows = answers.named_objects()
    readings = _of_columns(answers)
    return _best_reading(features, rows, answers, readings)


def warn_of_order(case: Case, answers: Answers) -> None:
    """Warn of another reading of the list; a fit itself warns of columns and of chance.

    `answers` are as in `check_readings`.
    """
    findings = check_readings(case, answers)
    about_order = [finding for finding in findings if finding.check == "order"]
    warn_of_findings(about_order)


def _spaced(answers: Answers, max_answers: int) -> Answers:
    """Select at most `max_answers` evenly spaced answers, in the order of the file."""
    n = len(answers)
    step = math.ceil(n / max_answers)
    if step <= 1:
        return answers
    positions = np.arange(0, n, step)
    return answers.select(positions)


def _of_columns(answers: Answers) -> Iterator[Reading]:
    """The readings with other columns as the chosen pair, the reference first if there is one."""
    m = answers.objects.shape[1]
    columns = range(m)
    has_reference = KINDS[answers.kind].has_reference
    pairs: Iterable[tuple[int, int]] = answers.pairs
    if has_reference:
        tried_columns = columns[:_MAX_COLUMNS]
        pairs = permutations(tried_columns, 2)
    for first, second in pairs:
        pair = [first, second]
        others = [column for column in columns if column not in pair]
        objects = answers.objects[:, pair + others]
        if has_reference:
            description = f"column {first} is the reference and {second} the chosen one"
            min_gain = _MIN_REFERENCE_GAIN if first else _MIN_GAIN
            yield Reading("columns", description, objects, None, min_gain)
        else:
            odd = others[0]
            convention = import_line(f"--odd-column {odd}")
            fix = f"if that is the convention of the file, convert it: {convention}"
            yield Reading("columns", f"column {odd} is odd", objects, fix)


def _of_list(case: Case, answers: Answers) -> Iterator[Reading]:
    """The readings of the list of objects that the answers of a case index."""
    rows = np.arange(len(case.features))
    if case.listed is not None:
        rows = feature_rows(case.features, case.listed)
    is_absent = rows < 0
    if is_absent.any():
        are_present, _ = answers.inside(is_absent)
        answers = answers.select(are_present)
    answers = _spaced(answers, _MAX_ANSWERS)
    objects = answers.objects

    def reading(description: str, other_rows: Numbers, fix: str | None = None) -> Reading:
        return Reading("order", description, other_rows[objects], fix)

    fix = f"convert the file: {import_line('--base 1')}"
    previous_rows = np.append(-1, rows[:-1])
    yield reading("the answers count from 1", previous_rows, fix)
    fix = "read the file without --base 1, or remove a title from the list"
    next_rows = np.append(rows[1:], -1)
    yield reading("the answers count from 0", next_rows, fix)
    backwards = rows[::-1]
    yield reading("the list of objects runs backwards", backwards, "reverse the list")
    if case.order is not None and len(case.order) == len(rows):
        fix = "leave `order` out, or give its inverse"
        unordered_rows = rows[case.order]
        yield reading("the order is left out", unordered_rows, fix)
    names = case.listed or case.features.names
    if names:
        # as the published answers of THINGS are; its lists of names are sorted as words
        files = [f"{object_name(name)}." for name in names]
        description = "their objects are sorted as files with an extension are"
        order = np.argsort(files)
        sorted_rows = rows[order]
        yield reading(description, sorted_rows)


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
    shares = shares_of(answers)
    credits = shares[:, 0]
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
    has_features = reading.objects >= 0
    is_changed = differs.any(axis=1) & has_features.all(axis=1)
    changed = Answers(reading.objects[is_changed], kind=answers.kind)
    shares = shares_of(changed)
    weights = answers.all_weights[is_changed]
    before = weights * credits[is_changed]
    after = weights * shares[:, 0]
    weight = max(weights.sum(), 1.0)
    objects = np.unique(answers.objects[differs])
    message = (
        f"answers: the features agree with {100 * after.sum() / weight:.1f} % of the "
        f"{len(changed)} answers about {len(objects)} objects if {reading.description}, and with "
        f"{100 * before.sum() / weight:.1f} % as they are read now"
    )
    min_gain = reading.min_gain * weight
    gains = after - before
    excess = _excess(gains, min_gain)
    return _Comparison(excess, finding(reading.check, message, fix=reading.fix))


def _excess(gains: Values, min_gain: float) -> float:
    """The excess of the sum of the gains of answers over `min_gain`; 0 if they are not clear."""
    gain = gains.sum()
    error = np.linalg.norm(gains)
    is_clear = gain > _MIN_STANDARD_ERRORS * error
    if not is_clear or len(gains) < _MIN_ANSWERS:
        return 0.0
    return float(gain - min_gain)


def _check_chance(answers: Answers, credits: Values) -> Findings:
    """Report that features agree with many answers as often as by chance."""
    n = len(answers)
    chance = answers.chance
    agreement = np.average(credits, weights=answers.all_weights)
    variance = chance * (1 - chance)
    error = math.sqrt(variance / n)
    is_chance = abs(agreement - chance) < _MAX_STANDARD_ERRORS_OF_CHANCE * error
    if is_chance and n >= _MIN_ANSWERS_FOR_CHANCE:
        message = (
            f"answers: the features agree with {100 * agreement:.1f} % of them, which is chance"
        )
        yield finding("chance", message)
