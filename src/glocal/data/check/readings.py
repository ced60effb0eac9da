"""Which objects the answers mean: the stated columns and list, or columns and lists in another order.

Each other reading is tried: where features agree clearly better with the answers under one of them, that one is named.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from glocal.data.answers import Answers
from glocal.data.check.findings import Case, Finding, finding, warn
from glocal.data.features import Features, object_name
from glocal.data.join import feature_rows, join
from glocal.similarity import choice, of_pairs, pair_tolerance, unit_rows

_MANY_ANSWERS = 200_000
_BEFORE_A_FIT = 20_000  # enough for a difference of .017 between two columns
_MANY_ROWS = 8192  # above which similarities are computed answer by answer
_MANY_COLUMNS = 9
_APART = 0.05  # two right readings of the material answers differ by .015 in favour of the wrong reference
_SURE = 5.0  # standard errors, of the mean difference over the answers that another list changes
_GAIN = 0.02
_ENOUGH = 200
_LARGE = 1 << 25  # numbers: a file that is not read whole to try other readings

Choosing = Callable[[Answers], Float[np.ndarray, "t k"]]
"""Answers about rows of features → the share of the model's choice that each candidate pair gets, the stated first."""

SORTED: dict[str, Callable[[str], Any]] = {
    "by the characters of their names": lambda name: name,
    "as files with an extension are sorted": lambda name: name + ".",
    "as words, a blank for each underscore": lambda name: name.replace("_", " "),
    "without regard to case": lambda name: (name.casefold(), name),
    "with numbers by their value": lambda name: [
        (int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)
    ],
}
"""Ways in which programs sort names; the published answers of THINGS index the second, its lists of names the third."""


def check_readings(case: Case, answers: Answers) -> list[Finding]:
    """Columns first, since a wrong one makes every other list look better; then the list; chance if neither tells.

    `answers` are those of the case as rows of its features.
    """
    of_columns = list(check_columns(case.features, answers))
    return of_columns if any(one.check == "columns" for one in of_columns) else list(check_order(case)) or of_columns


def warn_of_answers(features: Features, answers: Answers) -> None:
    """Warn if another column of the answers looks like the odd one, or if the features know nothing of them."""
    warn(check_columns(features, answers, _BEFORE_A_FIT))


def warn_of_order(case: Case) -> None:
    """Warn if the features agree clearly better with the answers under another reading of the list they index."""
    found = list(check_order(case))
    if found and case.answers is not None:
        answers = join(case.features, case.answers, case.object_ids).answers
        if all(other.check == "order" for other in check_columns(case.features, answers)):
            warn(found)  # else it is the column, which is said by itself


def choosing(features: Features, rows: Int[np.ndarray, " k"]) -> Choosing:
    """How features choose among the candidate pairs of answers about these rows, by cosines of standardized ones."""
    X = unit_rows(features.standardization(np.asarray(features.matrix[rows]), "float64"))
    place, tolerance = np.full(len(features), -1), pair_tolerance(X)
    place[rows] = np.arange(len(rows))
    S = X @ X.T if len(rows) <= _MANY_ROWS else None

    def shares(answers: Answers) -> Float[np.ndarray, "t k"]:
        answers = answers.relabel(place)[0]
        objects = answers.objects
        if S is None:
            return choice(of_pairs(X, objects, answers.pairs), tolerance)
        return choice(np.stack([S[objects[:, i], objects[:, j]] for i, j in answers.pairs], axis=1), tolerance)

    return shares


def check_columns(features: Features, answers: Answers, at_most: int = _MANY_ANSWERS) -> Iterator[Finding]:
    """Whether features favour other columns of answers about their rows, or know nothing of them."""
    answers = _spaced(answers, at_most)
    shares_of, m, chance = choosing(features, answers.named()), answers.objects.shape[1], answers.chance
    w = np.ones(len(answers)) if answers.weights is None else answers.weights
    error = math.sqrt(chance * (1 - chance) * (w @ w)) / w.sum()
    odd = answers.kind == "odd-one-out"
    agreement = dict[tuple[int, int], float]()  # with the answers by their first column and the odd, or chosen, one
    for first in range(1 if odd or m > _MANY_COLUMNS else m):
        columns = [first, *(column for column in range(m) if column != first)]
        shares = w @ shares_of(Answers(answers.objects[:, columns], kind=answers.kind)) / w.sum()
        agreement |= {(first, 2 - j if odd else columns[1 + j]): float(share) for j, share in enumerate(shares)}
    stated = agreement[0, 2 if odd else 1]
    first, column = max(agreement, key=lambda read: agreement[read] - _APART * (read[0] > 0))
    best = agreement[first, column]
    if best - _APART * (first > 0) - stated > _SURE * error:
        if odd:
            message = f"find column {column} odd in {best:.3f} of them, the stated odd one in {stated:.3f}"
            differing = {"fix": f"check the convention of the file; pass `odd_column={column}` if that is it"}
        else:
            other = f"if column {first} is the reference and {column} the chosen one"
            message = f"agree with {best:.3f} of them {other}, and with {stated:.3f} as stated (columns 0 and 1)"
            differing = {}
        yield finding("columns", f"answers: the features {message}", **differing)
    elif abs(stated - chance) < 3 * error and len(answers) >= 1000:
        yield finding("order", f"answers: the features agree with {stated:.3f} of them, which is chance")


def _spaced(answers: Answers, at_most: int) -> Answers:
    """At most so many answers from everywhere in the file, in its order."""
    step = -(-len(answers) // at_most)
    return answers if step <= 1 else answers.select(np.arange(0, len(answers), step))


def check_order(case: Case) -> Iterator[Finding]:
    """The other reading of the list, if any, under which the features agree clearly better with the answers."""
    features, names = case.features, case.listed
    if case.answers is None or np.prod(features.matrix.shape, dtype=np.int64) > _LARGE:
        return
    stated = np.arange(len(features)) if names is None else feature_rows(features, names)
    answers = _spaced(case.answers.select(case.answers.inside(stated >= 0)[1]), _MANY_ANSWERS)
    if len(answers) < _ENOUGH:
        return
    shares = choosing(features, np.arange(len(features)))
    now = shares(answers.relabel(stated)[0])[:, 0]
    most, best = 0.0, None
    for check, told, fix, places in _readings(case, len(stated)):
        rows = np.where((places >= 0) & (places < len(stated)), stated[places % len(stated)], -1)
        touched = np.flatnonzero(~answers.inside(rows == stated)[1] & answers.inside(rows >= 0)[1])
        if len(touched) < _ENOUGH:
            continue
        then = shares(answers.select(touched).relabel(rows)[0])[:, 0]
        gain = then - now[touched]
        error = float(gain.std() / np.sqrt(len(gain)))
        if gain.mean() < max(_GAIN, _SURE * error) or gain.sum() <= most:
            continue
        message = (
            f"answers: as the files are read now, the features agree with {now[touched].mean():.3f} of the "
            f"{len(touched)} answers about {(rows != stated).sum()} objects, and with {then.mean():.3f} if {told}"
        )
        consequence = "answers about one object are learned from the image of another"
        most, best = float(gain.sum()), finding(check, message, consequence=consequence, fix=fix)
    if best is not None:
        yield best


def _readings(case: Case, n: int) -> Iterator[tuple[str, str, str, Int[np.ndarray, " n"]]]:
    """Check, words and fix of other readings: object i of the answers is at ``places[i]`` of the stated list."""
    here = np.arange(n)
    yield "base", "the answers count from 1", "pass `base=1`", here - 1
    yield "base", "the answers count from 0", "pass `base=0`", here + 1
    yield "order", "the list of objects runs backwards", "reverse the list", here[::-1].copy()
    if case.order is not None and len(case.order) == n:
        fix = "leave `order` out, or give its inverse"
        yield "order", "the order is left out", fix, case.order
        yield "order", "the order is applied the other way", fix, case.order[case.order]
    names = case.listed or case.features.names
    plain, seen = [object_name(name) for name in names or ()], [here]
    for told, key in SORTED.items() if plain else ():
        places = np.array(sorted(range(n), key=lambda i: key(plain[i])), dtype=np.int64)
        if not any((places == other).all() for other in seen):
            seen.append(places)
            fix = "give the list in the order that the answers index (`object_ids`, or `order` for a sort index)"
            yield "order", f"their objects are sorted {told}", fix, places
