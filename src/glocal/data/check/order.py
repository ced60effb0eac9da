"""Which objects the answers mean: the stated list, or one that is shifted, sorted in another way, or reversed.

Each other reading is tried: where features agree clearly better with the answers under one of them, that one is named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Int

from glocal.data.answers import Answers
from glocal.data.check.answers import MANY_ANSWERS, check_columns, choosing, spaced
from glocal.data.check.finding import Case, Finding, warn, warning
from glocal.data.features import object_name
from glocal.data.join import feature_rows, join

_SURE = 5.0  # standard errors of the mean difference over the answers that the other reading changes
_GAIN = 0.02
_ENOUGH = 200
_LARGE = 1 << 25  # numbers: a file that is not read whole to try other readings

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


def check_order(case: Case) -> Iterator[Finding]:
    """The other reading of the answers, if any, under which the features agree clearly better with them."""
    features, names = case.features, case.listed
    if case.answers is None or np.prod(features.matrix.shape, dtype=np.int64) > _LARGE:
        return
    stated = np.arange(len(features)) if names is None else feature_rows(features, names)
    answers = spaced(case.answers.select(case.answers.inside(stated >= 0)[1]), MANY_ANSWERS)
    if len(answers) < _ENOUGH:
        return
    shares = choosing(features, np.arange(len(features)))
    now = shares(answers.relabel(stated)[0])[:, 0]
    best: tuple[float, Finding] | None = None
    for check, told, fix, places in _readings(case, len(stated)):
        rows = np.where((places >= 0) & (places < len(stated)), stated[places % len(stated)], -1)
        touched = np.flatnonzero(~answers.inside(rows == stated)[1] & answers.inside(rows >= 0)[1])
        if len(touched) < _ENOUGH:
            continue
        then = shares(answers.select(touched).relabel(rows)[0])[:, 0]
        gain = then - now[touched]
        mean, error = float(gain.mean()), float(gain.std() / np.sqrt(len(gain)))
        if mean < max(_GAIN, _SURE * error) or (best is not None and gain.sum() <= best[0]):
            continue
        changed = int((rows != stated).sum())
        evidence = {
            "answers": len(touched), "objects": changed, "agreement": float(now[touched].mean()),
            "otherwise": float(then.mean()), "errors": mean / max(error, 1e-12),
        }  # fmt: skip
        message = (
            f"answers: as the files are read now, the features agree with {evidence['agreement']:.3f} of the "
            f"{len(touched)} answers about {changed} objects, and with {evidence['otherwise']:.3f} if {told}"
        )
        consequence = "answers about one object are learned from the image of another"
        best = float(gain.sum()), warning(check, message, consequence, fix, evidence)
    if best is not None:
        yield best[1]


def check_meaning(case: Case) -> Iterator[Finding]:
    """Columns first, since a wrong one makes every other list look better; then the list; chance if neither tells."""
    of_columns = list(check_columns(case.features, _in_rows(case)))
    of_list = [] if any(found.check != "order" for found in of_columns) else list(check_order(case))
    names = case.features.names
    if case.listed is None and names is not None and list(names) != sorted(names) and not of_list:
        yield Finding(
            "warning" if of_columns else "note",  # the features know the answers as they are
            "order",
            "features: the rows are not in alphabetical order of their names, and no list of objects is given",
            "answers that index an alphabetical list are learned from other images",
            "if the answers index an alphabetical list of objects, pass it as object_ids",
        )
    yield from of_list or of_columns


def warn_of_order(case: Case) -> None:
    """Warn if the features agree clearly better with the answers under another reading of the list they index."""
    found = list(check_order(case))
    if found and all(other.check == "order" for other in check_columns(case.features, _in_rows(case))):
        warn(found)  # else it is the column, which is said by itself


def _in_rows(case: Case) -> Answers:
    """The answers as rows of the features."""
    assert case.answers is not None
    return join(case.features, case.answers, case.object_ids).answers


def _readings(case: Case, n: int) -> Iterator[tuple[str, str, str, Int[np.ndarray, " n"]]]:
    """Check, words and fix of other readings: object i of the answers is at ``places[i]`` of the stated list."""
    here = np.arange(n)
    yield "base", "the answers count from 1", "pass base=1", here - 1
    yield "base", "the answers count from 0", "pass base=0", here + 1
    yield "order", "the list of objects runs backwards", "reverse the list", here[::-1].copy()
    if case.order is not None and len(case.order) == n:
        fix = "leave order out, or give its inverse"
        yield "order", "the order is left out", fix, case.order
        yield "order", "the order is applied the other way", fix, case.order[case.order]
    names = case.listed or case.features.names
    plain, seen = [object_name(name) for name in names or ()], [here]
    for told, key in SORTED.items() if plain else ():
        places = np.array(sorted(range(n), key=lambda i: key(plain[i])), dtype=np.int64)
        if not any((places == other).all() for other in seen):
            seen.append(places)
            fix = "give the list in the order that the answers index (object_ids, or order for a sort index)"
            yield "order", f"their objects are sorted {told}", fix, places
