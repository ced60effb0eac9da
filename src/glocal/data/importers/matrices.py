"""Similarities as numbers, matrices or ratings of pairs, to choices: which of two others is nearer to a reference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from glocal.data.answers import Answers
from glocal.data.answers_file import header_of, read_numbers
from glocal.data.importers.columns import flagged, n_rows, person_of, read_table, roles_in, selected
from glocal.data.importers.trials import Imported, Options, drawn, indices, placed, real_numbers
from glocal.errors import DataError
from glocal.files import PathLike
from glocal.jobs.leaving import existing_file

_TOLERANCE = 1e-5  # of a diagonal, as matrices written as text have it

RULE = (
    "of one reference and one person, every two known similarities; the choice is the larger, its weight their "
    "difference divided by the range of that person's similarities"
)


def read_matrix(path: PathLike, options: Options) -> Imported:
    """One matrix (n, n), or one a person (people, n, n); NaN is a pair that is not known, the diagonal is not read.

    A matrix with zeros on its diagonal and nothing below holds dissimilarities, one whose largest values lie on its
    diagonal similarities; else `values` must say it.
    """
    matrices, names = _matrices(Path(path))
    n = matrices.shape[-1]
    sign = 1 if _values(matrices, str(path), options.values) == "similarity" else -1
    known = np.isfinite(matrices) & ~np.eye(n, dtype=bool)
    person, i, j = np.nonzero(known)
    result = compared((person, i, j, sign * matrices[known]), options, people=len(matrices) > 1)
    told = names if options.names is None else options.names
    if told is not None and len(told) != n:
        raise DataError(f"{path} is about {n} objects, but the list of object ids has {len(told)}.")
    return Imported(
        placed(result.answers, options, names),
        result.dropped,
        {"values": "similarity" if sign > 0 else "dissimilarity", "pairs": RULE},
    )


def read_ratings(path: PathLike, options: Options) -> Imported:
    """A table of pairs with the rating of their similarity; a pair that a person rated again counts with the mean."""
    table = read_table(path)
    roles = roles_in(table, str(path), options.columns)
    if not {"a", "b", "rating"} <= roles.keys():
        raise DataError(
            f"{path} has the columns {', '.join(list(table)[:12])}; ratings need a, b and rating. Say which column is "
            "which with --column ROLE=COLUMN."
        )
    rows = selected(table, str(path), options.where)
    rating = real_numbers(rows[roles["rating"][0]], "rating")
    shown = np.stack([rows[roles[role][0]].astype(np.str_) for role in ("a", "b")], axis=1)
    place, names = indices(shown, options)
    place = place - options.base
    told = person_of(rows, roles)
    people, person = np.unique(np.zeros(len(rating), int) if told is None else told, return_inverse=True)
    catch = flagged(rows, roles)
    whole = np.isfinite(rating) & (place >= 0).all(axis=1) & (place[:, 0] != place[:, 1])
    good = whole if catch is None else whole & ~catch
    sign = -1 if options.values == "dissimilarity" else 1
    low, high = place[good].min(axis=1), place[good].max(axis=1)
    pairs, member, count = np.unique(
        np.stack([person[good], low, high]), axis=1, return_inverse=True, return_counts=True
    )
    if not len(count):
        raise DataError(f"{path} has no rating of two different objects.")
    mean = sign * np.bincount(member.reshape(-1), rating[good]) / count
    both = tuple(np.concatenate(part) for part in ((pairs[0],) * 2, pairs[1:], pairs[:0:-1], (mean, mean)))
    result = compared(both, options, people=told is not None)
    lost = {
        "an object or a rating is missing": int((~whole).sum()),
        "catch trial": int((whole & ~good).sum()),
        "a pair was rated again": int(good.sum()) - len(count),
    }
    others = n_rows(table) - n_rows(rows)
    dropped = {"another kind of row": others, **lost, **result.dropped}
    answers = result.answers
    if answers.person is not None:
        answers = replace(answers, person=people[answers.person])
    understood = {"columns": {role: ", ".join(columns) for role, columns in roles.items()}, "pairs": RULE}
    return Imported(placed(answers, options, names), {reason: n for reason, n in dropped.items() if n}, understood)


def compared(known: tuple[np.ndarray, ...], options: Options, *, people: bool) -> Imported:
    """Choices from known similarities, by `RULE`; equal ones give no choice.

    `known` holds person, i, j and the similarity of object j to object i, larger where they are more alike.
    """
    order = np.lexsort(known[2::-1])
    person, i, j, similarity = (values[order] for values in known)
    start = np.flatnonzero(np.r_[True, (np.diff(i) != 0) | (np.diff(person) != 0)][: len(i)])
    size = np.diff(np.r_[start, len(i)])
    pairs = size * (size - 1) // 2
    before = np.r_[0, np.cumsum(pairs)]
    total = int(before[-1])
    chosen = drawn(total, options.limit, options.seed)
    group = np.searchsorted(before, chosen, side="right") - 1
    within = chosen - before[group]
    q = ((1 + np.sqrt(1 + 8 * within.astype(np.float64))) // 2).astype(np.int64)  # the pairs (p, q), p < q, in turn
    q += (q * (q + 1) // 2 <= within).astype(np.int64) - (q * (q - 1) // 2 > within)
    p, q = start[group] + within - q * (q - 1) // 2, start[group] + q
    swap = similarity[q] > similarity[p]
    p, q = np.where(swap, q, p), np.where(swap, p, q)
    difference = similarity[p] - similarity[q]
    by = person[p]
    high, low = np.full(int(person.max(initial=0)) + 1, -np.inf), np.full(int(person.max(initial=0)) + 1, np.inf)
    np.maximum.at(high, person, similarity)
    np.minimum.at(low, person, similarity)
    unequal = difference > 0
    if not unequal.any():
        raise DataError("no object has two known similarities that differ; nothing can be compared.")
    rows = np.stack([i[p], j[p], j[q]], axis=1)[unequal]
    weights = (difference / np.where(high > low, high - low, 1)[by])[unequal]
    counts = {"comparisons beyond the limit": total - len(chosen), "equal similarities": int((~unequal).sum())}
    answers = Answers(rows, weights, kind="anchor", person=by[unequal] if people else None)
    return Imported(answers, {reason: n for reason, n in counts.items() if n})


def _matrices(path: Path) -> tuple[Float[np.ndarray, "people n n"], list[str] | None]:
    """The matrices of a file, and the names of the objects where a table has them in its first line or column."""
    names, found = None, None
    if path.suffix.lower() != ".npy":
        names, found = _named(path)
    numbers = read_numbers(path, what="answers") if found is None else found
    matrices = numbers[None] if numbers.ndim == 2 else numbers
    if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2] or numbers.dtype.kind not in "fiu":
        raise DataError(
            f"{path} holds {numbers.dtype} of shape {numbers.shape}; similarities are real numbers of shape (n, n), or "
            "(people, n, n)."
        )
    if matrices.shape[1] < 3:
        raise DataError(f"{path} is about {matrices.shape[1]} objects; at least 3 are needed to compare similarities.")
    matrices = np.where(np.isfinite(matrices), matrices, np.nan).astype(np.float64)
    if np.isnan(matrices).all():
        raise DataError(f"{path} has no known similarity: every value is NaN.")
    return matrices, names


def _named(path: Path) -> tuple[list[str] | None, np.ndarray | None]:
    with existing_file(path, what="answers").open(encoding="utf-8-sig", errors="replace") as stream:
        first = stream.readline(1 << 20)
    if header_of(first) is None:
        return None, None
    table = read_table(path)
    columns = list(table)
    if len(columns) == n_rows(table) + 1:  # the names again, in the first column
        columns = columns[1:]
    return columns, np.stack([real_numbers(table[name], name) for name in columns], axis=1)


def _values(matrices: Float[np.ndarray, "people n n"], source: str, told: str | None) -> str:
    """Whether the numbers are similarities or dissimilarities."""
    if told is not None:
        return told
    diagonal = np.diagonal(matrices, axis1=1, axis2=2)
    if (np.abs(diagonal) <= _TOLERANCE * np.nanmax(np.abs(matrices))).all() and np.nanmin(matrices) >= 0:
        return "dissimilarity"
    largest = np.where(np.isnan(matrices), -np.inf, matrices).max(axis=2)
    if (diagonal >= largest).all():
        return "similarity"
    raise DataError(
        f"{source} does not show whether it holds similarities or dissimilarities: its diagonal is neither 0 nor the "
        "largest of each row. Pass --values similarity or --values dissimilarity."
    )
