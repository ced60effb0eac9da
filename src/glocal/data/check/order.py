"""Which objects the answers mean: the stated list, or one that is shifted, sorted in another way, or reversed.

Each other reading is tried: where features agree clearly better with the answers under one of them, that one is named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Int

from glocal.data.answers import Answers
from glocal.data.check.agreement import MANY_ANSWERS, check_agreement, named_rows, shares_of_pairs, spaced
from glocal.data.check.case import Case
from glocal.data.check.finding import Finding, warn
from glocal.data.features import object_name
from glocal.data.join import feature_rows, join

_SURE = 5.0  # standard errors of the mean difference over the answers that the other reading changes
_GAIN = 0.02
_ENOUGH = 200
_LARGE = 1 << 25  # numbers: a file that is not read whole to try other readings
_FEWER, _MANY_ROWS = 20_000, 8192  # answers, where similarities of so many rows are computed one by one

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


@dataclass(frozen=True, eq=False)
class Reading:
    """Another way to read the answers: object i of the stated list is row ``rows[i]``, or none (-1)."""

    check: str
    told: str
    fix: str
    rows: Int[np.ndarray, " n"]
    mend: Callable[[Case], Case]


def check_order(case: Case) -> Iterator[Finding]:
    """The other reading of the answers, if any, under which the features agree clearly better with them."""
    if case.answers is None or np.prod(case.features.matrix.shape, dtype=np.int64) > _LARGE:
        return
    names = case.listed
    stated = np.arange(len(case.features)) if names is None else feature_rows(case.features, names)
    answers = case.answers.select(case.answers.inside(stated >= 0)[1])
    answers = spaced(answers, MANY_ANSWERS if len(case.features) <= _MANY_ROWS else _FEWER)
    if len(answers) < _ENOUGH:
        return
    among = named_rows(case.features, np.arange(len(case.features)))
    now = shares_of_pairs(among, answers.relabel(stated)[0])[:, 0]
    best: tuple[float, Reading, dict[str, Any]] | None = None
    for reading in _readings(case, stated):
        touched = np.flatnonzero(~answers.inside(reading.rows == stated)[1] & answers.inside(reading.rows >= 0)[1])
        if len(touched) < _ENOUGH:
            continue
        then = shares_of_pairs(among, answers.select(touched).relabel(reading.rows)[0])[:, 0]
        gain = then - now[touched]
        mean, error = float(gain.mean()), float(gain.std() / np.sqrt(len(gain)))
        if mean < _GAIN or mean < _SURE * error or (best is not None and gain.sum() <= best[0]):
            continue
        evidence = {
            "answers": len(touched), "objects": int((reading.rows != stated).sum()),
            "agreement": float(now[touched].mean()), "otherwise": float(then.mean()),
            "errors": mean / max(error, 1e-12),
        }  # fmt: skip
        best = (float(gain.sum()), reading, evidence)
    if best is None:
        return
    _, reading, evidence = best
    yield Finding(
        "warning",
        reading.check,
        f"triplets: the features agree with {evidence['agreement']:.3f} of the {evidence['answers']} answers about "
        f"{evidence['objects']} objects as stated, and with {evidence['otherwise']:.3f} if {reading.told}",
        reading.fix,
        evidence,
        reading.mend,
    )


def warn_of_order(case: Case) -> None:
    """Warn if the features agree clearly better with the answers under another reading of the list they index."""
    found = list(check_order(case))
    if found and any(finding.check != "order" for finding in check_agreement(case.features, _in_rows(case))):
        return  # another column: said by itself
    warn(found)


def _in_rows(case: Case) -> Answers:
    """The answers as rows of the features."""
    assert case.answers is not None
    return join(case.features, case.answers, case.object_ids).triplets


def _readings(case: Case, stated: Int[np.ndarray, " n"]) -> Iterator[Reading]:
    n = len(stated)
    for shift, told, fix in (
        (-1, "the answers count from 1", "pass --base 1"),
        (1, "the answers count from 0", "pass --base 0"),
    ):
        yield _list_reading("base", told, fix, stated, np.arange(n) + shift)
    yield _list_reading(
        "order", "the list of objects runs backwards", "reverse the list", stated, np.arange(n)[::-1].copy()
    )
    if case.order is not None and len(case.order) == n:
        for told, places in (
            ("--order is left out", case.order), ("--order is applied the other way", case.order[case.order]),
        ):  # fmt: skip
            yield _list_reading("order", told, "leave --order out, or give its inverse", stated, places)
    names = case.listed or case.features.names
    if names is None:
        return
    plain = [object_name(name) for name in names]
    for told, places in _sorted_ways(plain):
        fix = "give the list in the order that the answers index (--object-ids, or --order for a sort index)"
        yield _list_reading("order", f"their objects are sorted {told}", fix, stated, places)
    if case.listed is not None and case.features.names is not None:
        yield from _row_readings(case, stated)


def _row_readings(case: Case, stated: Int[np.ndarray, " n"]) -> Iterator[Reading]:
    """The rows of the features are not those that their names say."""
    assert case.features.names is not None
    names = [object_name(name) for name in case.features.names]
    n = len(names)
    ways = [(f"the rows of the features are sorted {told}", np.argsort(places)) for told, places in _sorted_ways(names)]
    ways += [
        ("each row of the features has the name of the row before", np.append(np.arange(1, n), -1)),
        ("each row of the features has the name of the row after", np.append(-1, np.arange(n - 1))),
        ("the rows of the features run backwards", np.arange(n)[::-1].copy()),
    ]
    for told, rows in ways:

        def renamed(case: Case, rows: np.ndarray = rows) -> Case:
            return _renamed(case, rows)

        yield Reading(
            "names",
            told,
            "write file_names.txt in the order of the rows",
            np.where(stated < 0, -1, rows[stated]),
            renamed,
        )
    if case.listed is not None and len(case.listed) == n:
        listed = tuple(case.listed)
        yield Reading(
            "names",
            "the rows of the features are in the order of the list, whatever their names say",
            "write file_names.txt in the order of the rows",
            np.arange(n),
            lambda case: case.with_matrix("features", np.asarray(case.features.matrix[:]), listed),
        )


def _renamed(case: Case, rows: Int[np.ndarray, " n"]) -> Case:
    """Name i belongs to row ``rows[i]``; rows that no name is left for are dropped."""
    assert case.features.names is not None
    names: list[str] = [""] * len(rows)
    for name, row in zip(case.features.names, rows.tolist(), strict=True):
        if row >= 0:
            names[row] = name
    nameless = np.array([not name for name in names])
    return case.with_matrix("features", np.asarray(case.features.matrix[:]), names).without_rows("features", nameless)


def _list_reading(
    check: str, told: str, fix: str, stated: Int[np.ndarray, " n"], places: Int[np.ndarray, " n"]
) -> Reading:
    """Object i of the answers is the one at ``places[i]`` of the stated list."""
    inside = (places >= 0) & (places < len(stated))
    places = np.where(inside, places, -1)
    rows = np.where(inside, stated[places], -1)
    return Reading(check, told, fix, rows, lambda case: replace(case.mapped(places), order=None))


def _sorted_ways(names: Sequence[str]) -> Iterator[tuple[str, Int[np.ndarray, " n"]]]:
    """For each way of sorting that is not the order of the list: the place in the list of each object in that order."""
    seen = [np.arange(len(names))]
    for told, key in SORTED.items():
        places = np.array(sorted(range(len(names)), key=lambda i: key(names[i])), dtype=np.int64)
        if not any((places == other).all() for other in seen):
            seen.append(places)
            yield told, places
