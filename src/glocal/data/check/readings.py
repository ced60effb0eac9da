"""Checks of what answers refer to: other readings of their columns and of the list of objects.

Every other reading is tried, and reported if the features agree clearly better with the answers
under it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from glocal.data.answer_arrays import import_line
from glocal.data.answers import Answers
from glocal.data.check.findings import Case, Finding, Findings, finding, warn_of_findings
from glocal.data.features import Features
from glocal.data.join import ChoiceModel, choice_model, feature_rows
from glocal.data.names import object_name
from glocal.similarity import KINDS, Numbers

MAX_ANSWERS_BEFORE_FIT = 20_000
"""Enough answers to detect a difference of .017 between two columns."""
_MAX_ANSWERS = 200_000  # of more, about as many are compared
_MAX_COLUMNS = 9  # with more columns, only the first column is tried as the reference
_MAX_ENTRIES = 1 << 25  # entries of the features; checking the list needs all rows in memory
_MIN_ANSWERS = 200
_MIN_GAIN = 0.02  # smallest reported gain in agreement
# on the answers about materials, a wrong reference agrees better than the right one by .015
_MIN_REFERENCE_GAIN = 0.05
_MIN_STANDARD_ERRORS = 5.0  # smallest reported gain, in standard errors
_MIN_ANSWERS_FOR_CHANCE = 1000
_MAX_STANDARD_ERRORS_OF_CHANCE = 3.0
_SORTED: dict[str, Callable[[str], str]] = {
    "by the characters of their names": str,
    "as files with an extension are sorted": lambda name: name + ".",
    "as words, with a blank for each underscore": lambda name: name.replace("_", " "),
}
"""The orders in which programs sort names.

The published answers of THINGS index objects in the second order; its lists of names are in the
third.
"""


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


def warn_of_order(case: Case, answers: Answers) -> None:
    """Warn if the features agree clearly better under another reading of the list of objects.

    `answers` are as in `check_readings`. If a column is wrong, a fit itself warns of that.
    """
    if findings := list(check_order(case)):
        of_columns = check_columns(case.features, answers)
        if all(finding.check != "columns" for finding in of_columns):
            warn_of_findings(findings)


def check_columns(
    features: Features, answers: Answers, max_answers: int = _MAX_ANSWERS
) -> Findings:
    """Check whether features favour other columns of the answers, or agree at chance."""
    answers = _spaced(answers, max_answers)
    agreement = _agreement_by_pair(choice_model(features, answers.named_objects()), answers)
    stated = agreement[0, 1]
    allowance = _MIN_REFERENCE_GAIN if KINDS[answers.kind].has_reference else 0.0
    gain = {pair: share - stated - allowance * bool(pair[0]) for pair, share in agreement.items()}
    best = max(gain, key=gain.__getitem__)
    weights = answers.all_weights
    variance = answers.chance * (1 - answers.chance)
    error = math.sqrt(variance * (weights @ weights)) / weights.sum()  # of a random choice
    if gain[best] > _MIN_STANDARD_ERRORS * error:
        yield _better_columns(answers.kind, best, agreement[best], stated)
    elif len(answers) >= _MIN_ANSWERS_FOR_CHANCE and (
        abs(stated - answers.chance) < _MAX_STANDARD_ERRORS_OF_CHANCE * error
    ):
        message = f"answers: the features agree with {stated:.3f} of them, which is chance"
        yield finding("chance", message)


def _better_columns(kind: str, pair: tuple[int, int], agreement: float, stated: float) -> Finding:
    """The finding that features agree better if these columns hold the chosen pair."""
    first, second = pair
    reading = f"columns {first} and {second} hold the chosen pair"
    fix = None
    if KINDS[kind].has_reference:
        reading = f"column {first} is the reference and {second} the chosen one"
    elif kind == "odd-one-out":
        odd = 3 - first - second
        reading = f"column {odd} is odd"
        line = import_line(f"--odd-column {odd}")
        fix = f"if that is the convention of the file, convert it: {line}"
    message = f"with {agreement:.3f} of them if {reading}, and {stated:.3f} as stated"
    return finding("columns", f"answers: the features agree {message}", fix=fix)


def _agreement_by_pair(shares_of: ChoiceModel, answers: Answers) -> dict[tuple[int, int], float]:
    """The agreement with the answers if these two columns held the pair that people chose.

    The first column of a pair holds the reference, if there is one.
    """
    m = answers.objects.shape[1]
    has_reference = KINDS[answers.kind].has_reference
    agreement = {}
    for first in range(m if has_reference and m <= _MAX_COLUMNS else 1):
        columns = [first, *(column for column in range(m) if column != first)]
        turned = Answers(answers.objects[:, columns], kind=answers.kind)
        shares = np.average(shares_of(turned), axis=0, weights=answers.weights)
        for (i, j), share in zip(turned.pairs, shares.tolist(), strict=True):
            agreement[columns[i], columns[j]] = share
    return agreement


def _spaced(answers: Answers, max_answers: int) -> Answers:
    """Select at most `max_answers` evenly spaced answers, in the order of the file."""
    step = -(-len(answers) // max_answers)
    return answers if step <= 1 else answers.select(np.arange(0, len(answers), step))


def check_order(case: Case) -> Findings:
    """Find the best reading of the list under which the features agree clearly better, if any."""
    features = case.features
    if case.answers is None or np.prod(features.matrix.shape, dtype=np.int64) > _MAX_ENTRIES:
        return
    rows = np.arange(len(features))
    if case.listed is not None:
        rows = feature_rows(features, case.listed)
    answers = case.answers
    if (rows < 0).any():
        answers = answers.select(answers.inside(rows >= 0)[1])
    answers = _spaced(answers, _MAX_ANSWERS)
    if len(answers) < _MIN_ANSWERS:
        return
    shares_of = choice_model(features, np.arange(len(features)))
    credit = shares_of(answers.relabel(rows))[:, 0]
    largest_gain = 0.0
    better = None
    for description, fix, other_rows in _readings(case, rows):
        is_unchanged = answers.inside(other_rows == rows)[1]
        changed = np.flatnonzero(answers.inside(other_rows >= 0)[1] & ~is_unchanged)
        if len(changed) < _MIN_ANSWERS:
            continue
        other_credit = shares_of(answers.select(changed).relabel(other_rows))[:, 0]
        gain = other_credit - credit[changed]
        min_gain = max(_MIN_GAIN, _MIN_STANDARD_ERRORS * gain.std() / np.sqrt(len(gain)))
        if gain.mean() < min_gain or gain.sum() <= largest_gain:
            continue
        largest_gain = gain.sum()
        better = finding(
            "order",
            "answers: as the files are read now, the features agree with "
            f"{credit[changed].mean():.3f} of the {len(changed)} answers about "
            f"{(other_rows != rows).sum()} objects, and with {other_credit.mean():.3f} if "
            f"{description}",
            fix=fix,
        )
    if better is not None:
        yield better


def _readings(case: Case, rows: Numbers) -> Iterator[tuple[str, str | None, Numbers]]:
    """Yield what other readings of the list of n objects say, their fixes and feature rows.

    `rows` are the feature rows of the objects as the list is read now, -1 for none.
    """
    from_1 = np.append(-1, rows[:-1])
    from_0 = np.append(rows[1:], -1)
    convert = f"convert the file: {import_line('--base 1')}"
    yield "the answers count from 1", convert, from_1
    fix = "read the file without --base 1, or remove a title from the list"
    yield "the answers count from 0", fix, from_0
    yield "the list of objects runs backwards", "reverse the list", rows[::-1]
    if case.order is not None and len(case.order) == len(rows):
        fix = "leave `order` out, or give its inverse"
        yield "the order is left out", fix, rows[case.order]
    names = [object_name(name) for name in case.listed or case.features.names or ()]
    for description, key in _SORTED.items() if names else ():
        entries = np.argsort([key(name) for name in names])
        yield f"their objects are sorted {description}", None, rows[entries]
