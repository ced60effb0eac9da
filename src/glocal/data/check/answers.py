"""Checks of answers: repeats, contradictions, leakage and people, and what their indices refer to.

Every other reading of the columns and of the list of objects is tried, and reported if the features
agree clearly better with the answers under it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from glocal.data.answer_arrays import import_line
from glocal.data.answers import Answers
from glocal.data.check.findings import Case, Finding, Findings, finding, warn
from glocal.data.features import Features
from glocal.data.join import ChoiceModel, choice_model, feature_rows, join
from glocal.data.names import object_name
from glocal.data.people import FAST, describe, question_numbers, set_keys, tally
from glocal.similarity import KINDS, Numbers

if TYPE_CHECKING:
    import pandas as pd

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
_MIN_PAIRS = 400  # fewest pairs of answers to the same question that show their agreement
_MAX_SHARE_FAST = 0.5  # largest accepted fraction of fast answers of a person
_MAX_PERSONS_SHOWN = 5
_MAX_OBJECTS_SHOWN = 3
_MAX_SHARE_DROPPED = 0.05  # fraction of dropped answers above which a note becomes a warning
_MIN_CATCH = 0.75  # smallest accepted share of catch trials passed
_MIN_CATCH_TRIALS = 4
_SORTED: dict[str, Callable[[str], str]] = {
    "by the characters of their names": str,
    "as files with an extension are sorted": lambda name: name + ".",
    "as words, with a blank for each underscore": lambda name: name.replace("_", " "),
}
"""The orders in which programs sort names.

The published answers of THINGS index objects in the second order; its lists of names are in the
third.
"""


def check_all_answers(case: Case, answers: Answers) -> Findings:
    """Check that answers belong to the features and were not held out, and their content."""
    joined = join(case.features, answers, case.object_ids)
    yield from check_answers(case, answers)
    if joined.n_dropped:
        part = f"{joined.n_dropped} of {len(answers)} answers name an object without features"
        few = joined.n_dropped <= _MAX_SHARE_DROPPED * len(answers)
        if case.listed is not None:
            part += f", such as {_without_features(case.features, answers, case.listed)}"
        yield finding("join", f"answers: {part}", severity="note" if few else "warning")
    yield from check_readings(case, joined.answers)
    yield from check_people(answers)
    if case.heldout is not None:
        heldout = join(case.features, case.heldout, case.object_ids).answers
        yield from check_heldout(joined.answers, heldout)  # each file may number objects anew


def _without_features(features: Features, answers: Answers, listed: Sequence[str]) -> str:
    """The first objects of the answers that have no features."""
    rows = feature_rows(features, listed)
    lacking = [listed[i] for i in answers.named_objects().tolist() if rows[i] < 0]
    return ", ".join(map(repr, lacking[:_MAX_OBJECTS_SHOWN]))


class _Reading(NamedTuple):
    """Another reading of the answers: object i has feature row ``rows[i]``, or none (-1)."""

    description: str
    fix: str | None
    rows: Numbers


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
        if all(finding.check != "columns" for finding in of_columns):
            warn(findings)  # otherwise a column is wrong, and a fit itself warns of that


def check_columns(
    features: Features, answers: Answers, max_answers: int = _MAX_ANSWERS
) -> Findings:
    """Check whether features favour other columns of the answers, or agree at chance."""
    answers = _spaced(answers, max_answers)
    chance = answers.chance
    weights = answers.all_weights
    error = math.sqrt(chance * (1 - chance) * (weights @ weights)) / weights.sum()
    agreement = _agreement_by_pair(choice_model(features, answers.named_objects()), answers)
    stated = agreement[0, 1]
    is_odd = answers.kind == "odd-one-out"
    has_reference = KINDS[answers.kind].has_reference
    min_gain = {
        pair: _MIN_REFERENCE_GAIN if has_reference and pair[0] else 0.0 for pair in agreement
    }
    best = max(agreement, key=lambda pair: agreement[pair] - min_gain[pair])
    if agreement[best] - stated - min_gain[best] > _MIN_STANDARD_ERRORS * error:
        first, second = best
        reading = f"columns {first} and {second} are the chosen pair"
        fix = None
        if has_reference:
            reading = f"column {first} is the reference and {second} the chosen one"
        if is_odd:
            odd = 3 - first - second
            reading = f"column {odd} is odd"
            line = import_line(f"--odd-column {odd}")
            fix = f"if that is the convention of the file, convert it: {line}"
        message = f"with {agreement[best]:.3f} of them if {reading}, and {stated:.3f} as stated"
        yield finding("columns", f"answers: the features agree {message}", fix=fix)
    elif len(answers) >= _MIN_ANSWERS_FOR_CHANCE and abs(stated - chance) < (
        _MAX_STANDARD_ERRORS_OF_CHANCE * error
    ):
        message = f"answers: the features agree with {stated:.3f} of them, which is chance"
        yield finding("chance", message)


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
        yield max(better, key=itemgetter(0))[1]


def _compare(
    reading: _Reading,
    answers: Answers,
    rows: Numbers,
    credit: Float[np.ndarray, " t"],
    shares_of: ChoiceModel,
) -> Iterator[tuple[float, Finding]]:
    """Yield the gain of a reading over all answers, with its finding, if the gain is clear."""
    is_changed = ~answers.inside(reading.rows == rows)[1]
    changed = np.flatnonzero(is_changed & answers.inside(reading.rows >= 0)[1])
    if len(changed) < _MIN_ANSWERS:
        return
    other_credit = shares_of(answers.select(changed).relabel(reading.rows))[:, 0]
    gain = other_credit - credit[changed]
    error = float(gain.std() / np.sqrt(len(gain)))
    if gain.mean() < max(_MIN_GAIN, _MIN_STANDARD_ERRORS * error):
        return
    message = (
        f"answers: as the files are read now, the features agree with {credit[changed].mean():.3f} "
        f"of the {len(changed)} answers about {(reading.rows != rows).sum()} objects, and with "
        f"{other_credit.mean():.3f} if {reading.description}"
    )
    yield float(gain.sum()), finding("order", message, fix=reading.fix)


def _readings(case: Case, rows: Numbers) -> Iterator[_Reading]:
    """Yield the other readings of the list of n objects, whose feature rows are `rows`."""
    from_1 = np.append(-1, rows[:-1])
    from_0 = np.append(rows[1:], -1)
    convert = f"convert the file: {import_line('--base 1')}"
    yield _Reading("the answers count from 1", convert, from_1)
    fix = "read the file without --base 1, or remove a title from the list"
    yield _Reading("the answers count from 0", fix, from_0)
    yield _Reading("the list of objects runs backwards", "reverse the list", rows[::-1])
    if case.order is not None and len(case.order) == len(rows):
        fix = "leave `order` out, or give its inverse"
        yield _Reading("the order is left out", fix, rows[case.order])
    names = [object_name(name) for name in case.listed or case.features.names or ()]
    for description, key in _SORTED.items() if names else ():
        entries = np.argsort([key(name) for name in names])
        yield _Reading(f"their objects are sorted {description}", None, rows[entries])


def check_answers(case: Case, answers: Answers) -> Findings:
    """Check base, coverage and repeats; `join` checks the range, `check_readings` the columns."""
    n = len(case.features) if case.listed is None else len(case.listed)
    named = answers.named_objects()
    if named[0] == 1 and len(named) == n - 1:
        yield finding(
            "base", "answers: object 0 is the only one never named; the file may count from 1"
        )
    if len(named) < n:
        yield finding("coverage", f"answers: {n - len(named)} of {n} objects are never named")
    yield from _repeats(answers)


def _repeats(answers: Answers) -> Findings:
    """Find answers that repeat another one, or contradict each other more often than by chance."""
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
    if train.person is not None and test.person is not None:
        has_known_persons = np.isin(test.person, train.person).any()
        if not has_known_persons:
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
