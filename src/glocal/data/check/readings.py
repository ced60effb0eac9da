"""Check whether the answers refer to the stated columns and list of objects, or to others.

Every other reading of the answers is tried, and reported if the features agree clearly better with
the answers under it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from glocal.data.answers import Answers
from glocal.data.check.findings import ANOTHER_IMAGE, Case, Finding, finding, warn
from glocal.data.features import Features, object_name
from glocal.data.join import ChoiceModel, choice_model, feature_rows, join

MAX_ANSWERS_BEFORE_FIT = 20_000
"""Enough answers to detect a difference of .017 between two columns."""
_MAX_ANSWERS = 200_000
_MAX_COLUMNS = 9  # with more columns, only the first column is tried as the reference
_MAX_ENTRIES = 1 << 25  # entries of the features; checking the list needs all rows in memory
_MIN_ANSWERS = 200
_MIN_GAIN = 0.02  # smallest reported gain in agreement
# on the answers about materials, a wrong reference agrees better than the right one by .015
_MIN_REFERENCE_GAIN = 0.05
_MIN_STANDARD_ERRORS = 5.0  # smallest reported gain, in standard errors
_MIN_ANSWERS_FOR_CHANCE = 1000
_MAX_STANDARD_ERRORS_OF_CHANCE = 3.0

SORTED: dict[str, Callable[[str], Any]] = {
    "by the characters of their names": lambda name: name,
    "as files with an extension are sorted": lambda name: name + ".",
    "as words, with a blank for each underscore": lambda name: name.replace("_", " "),
    "without regard to case": lambda name: (name.casefold(), name),
    "in natural order": lambda name: [
        (int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)
    ],
}
"""The orders in which programs sort names.

The published answers of THINGS index objects in the second order; its lists of names are in the
third.
"""


class _Reading(NamedTuple):
    """Another reading: object i of the answers is entry ``places[i]`` of the stated list."""

    check: str
    description: str
    fix: str
    places: Int[np.ndarray, " n"]


def check_readings(case: Case, answers: Answers) -> list[Finding]:
    """Check the columns of the answers, then the list of objects.

    Columns come first because a wrong column makes every other list look better. Agreement at
    chance is reported if neither explains it. `answers` are the answers of the case as indices of
    its feature rows.
    """
    of_columns = list(check_columns(case.features, answers))
    if any(finding.check == "columns" for finding in of_columns):
        return of_columns
    return [*check_order(case)] or of_columns


def warn_of_order(case: Case) -> None:
    """Warn if the features agree clearly better under another reading of the list of objects."""
    findings = list(check_order(case))
    if findings and case.answers is not None:
        answers = join(case.features, case.answers, case.object_ids).answers
        of_columns = check_columns(case.features, answers)
        if all(finding.check == "order" for finding in of_columns):
            warn(findings)  # otherwise a column is wrong, and a fit itself warns of that


def check_columns(
    features: Features, answers: Answers, max_answers: int = _MAX_ANSWERS
) -> Iterator[Finding]:
    """Check whether features favour other columns of the answers, or agree at chance."""
    answers = _spaced(answers, max_answers)
    chance = answers.chance
    weights = answers.all_weights
    error = math.sqrt(chance * (1 - chance) * (weights @ weights)) / weights.sum()
    agreement = _agreement_by_columns(choice_model(features, answers.named_objects()), answers)
    is_odd = answers.kind == "odd-one-out"
    stated = agreement[0, 2 if is_odd else 1]
    excess = {
        columns: share - stated - _MIN_REFERENCE_GAIN * (columns[0] > 0)
        for columns, share in agreement.items()
    }
    best = max(excess, key=excess.__getitem__)
    if excess[best] > _MIN_STANDARD_ERRORS * error:
        first, column = best
        if is_odd:
            yield finding(
                "columns",
                f"answers: the features find column {column} odd in {agreement[best]:.3f} of them, "
                f"and the stated odd column in {stated:.3f}",
                fix=f"check the convention of the file, and pass `odd_column={column}` if it is so",
            )
        else:
            yield finding(
                "columns",
                f"answers: the features agree with {agreement[best]:.3f} of them if column {first} "
                f"is the reference and {column} the chosen one, and with {stated:.3f} as stated "
                "(columns 0 and 1)",
            )
    elif (
        abs(stated - chance) < _MAX_STANDARD_ERRORS_OF_CHANCE * error
        and len(answers) >= _MIN_ANSWERS_FOR_CHANCE
    ):
        message = f"the features agree with {stated:.3f} of them, which is chance"
        yield finding("order", f"answers: {message}")


def _agreement_by_columns(shares_of: ChoiceModel, answers: Answers) -> dict[tuple[int, int], float]:
    """The agreement with the answers for each first column and each odd or chosen column."""
    is_odd = answers.kind == "odd-one-out"
    m = answers.objects.shape[1]
    agreement = {}
    for first in range(1 if is_odd or m > _MAX_COLUMNS else m):
        columns = [first, *(column for column in range(m) if column != first)]
        turned = Answers(answers.objects[:, columns], kind=answers.kind)
        shares = np.average(shares_of(turned), axis=0, weights=answers.weights)
        for j, share in enumerate(shares.tolist()):
            agreement[first, 2 - j if is_odd else columns[1 + j]] = share
    return agreement


def _spaced(answers: Answers, max_answers: int) -> Answers:
    """Select at most `max_answers` evenly spaced answers, in the order of the file."""
    step = -(-len(answers) // max_answers)
    return answers if step <= 1 else answers.select(np.arange(0, len(answers), step))


def check_order(case: Case) -> Iterator[Finding]:
    """Find the best reading of the list under which the features agree clearly better, if any."""
    features = case.features
    if case.answers is None or np.prod(features.matrix.shape, dtype=np.int64) > _MAX_ENTRIES:
        return
    names = case.listed
    rows = np.arange(len(features)) if names is None else feature_rows(features, names)
    answers = case.answers
    if (rows < 0).any():
        answers = answers.select(answers.inside(rows >= 0)[1])
    answers = _spaced(answers, _MAX_ANSWERS)
    if len(answers) < _MIN_ANSWERS:
        return
    shares_of = choice_model(features, np.arange(len(features)))
    credit = shares_of(answers.relabel(rows))[:, 0]
    better = [
        comparison
        for reading in _readings(case, rows)
        for comparison in _compare(reading, answers, rows, credit, shares_of)
    ]
    if better:
        yield max(better, key=lambda comparison: comparison[0])[1]


def _compare(
    reading: _Reading,
    answers: Answers,
    rows: Int[np.ndarray, " n"],
    credit: Float[np.ndarray, " t"],
    shares_of: ChoiceModel,
) -> Iterator[tuple[float, Finding]]:
    """Yield the gain of a reading over all answers, with its finding, if the gain is clear."""
    places = reading.places
    is_place = (places >= 0) & (places < len(rows))
    other_rows = np.where(is_place, rows[places % len(rows)], -1)
    is_changed = ~answers.inside(other_rows == rows)[1]
    changed = np.flatnonzero(is_changed & answers.inside(other_rows >= 0)[1])
    if len(changed) < _MIN_ANSWERS:
        return
    other_credit = shares_of(answers.select(changed).relabel(other_rows))[:, 0]
    gain = other_credit - credit[changed]
    error = float(gain.std() / np.sqrt(len(gain)))
    if gain.mean() < max(_MIN_GAIN, _MIN_STANDARD_ERRORS * error) or gain.sum() <= 0:
        return
    message = (
        f"answers: as the files are read now, the features agree with {credit[changed].mean():.3f} "
        f"of the {len(changed)} answers about {(other_rows != rows).sum()} objects, and with "
        f"{other_credit.mean():.3f} if {reading.description}"
    )
    better = finding(reading.check, message, consequence=ANOTHER_IMAGE, fix=reading.fix)
    yield float(gain.sum()), better


def _readings(case: Case, rows: Int[np.ndarray, " n"]) -> Iterator[_Reading]:
    """Yield the other readings of the list of n objects, whose feature rows are `rows`."""
    n = len(rows)
    stated = np.arange(n)
    backwards = stated[::-1].copy()
    yield _Reading("base", "the answers count from 1", "pass `base=1`", stated - 1)
    after = _Reading("base", "the answers count from 0", "pass `base=0`", stated + 1)
    if case.listed is not None and rows[0] < 0:
        line = f"the first line of the list, {case.listed[0]!r}"
        after = _Reading("order", f"{line}, is a title", f"remove {line}", after.places)
    yield after
    yield _Reading("order", "the list of objects runs backwards", "reverse the list", backwards)
    if case.order is not None and len(case.order) == n:
        fix = "leave `order` out, or give its inverse"
        yield _Reading("order", "the order is left out", fix, case.order)
        twice = case.order[case.order]
        yield _Reading("order", "the order is applied the other way", fix, twice)
    names = [object_name(name) for name in case.listed or case.features.names or ()]
    if not names:
        return
    fix = (
        "give the list in the order that the answers index (`object_ids`, or a sort index: `order`)"
    )
    tried = {stated.tobytes()}
    for description, key in SORTED.items():
        sort_keys = [key(name) for name in names]
        places = np.array(sorted(range(n), key=sort_keys.__getitem__), dtype=np.int64)
        if places.tobytes() not in tried:
            tried.add(places.tobytes())
            yield _Reading("order", f"their objects are sorted {description}", fix, places)
