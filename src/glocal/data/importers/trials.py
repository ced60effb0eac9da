"""Trials as they were recorded: the objects shown and the one that was picked, turned into answers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from glocal.data.answers import Answers
from glocal.data.features import object_name
from glocal.errors import DataError

MISSING = -1
_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]*)(\.0*)?")


@dataclass(frozen=True, eq=False)
class Trials:
    """What was shown and what was picked.

    Parameters
    ----------
    kind : str
        As `Answers`. Of odd-one-out the columns are three objects, else a reference and its alternatives.
    objects : (t, m) array
        Integers, -1 where there is none, or names, empty where there is none.
    picked : (t,) int
        The column of the odd one, or of the alternative found most similar; -1 where nobody answered.
    votes : (t, m - 1) float or None
        Votes for each alternative; `picked` is 1 then.
    person, seconds, weights : (t,) arrays or None
        As `Answers`.
    catch : (t,) bool or None
        Trials that are known to be catch trials, besides those with two equal objects.
    """

    kind: str
    objects: Shaped[np.ndarray, "t m"]
    picked: Int[np.ndarray, " t"]
    votes: Float[np.ndarray, "t k"] | None = None
    person: Shaped[np.ndarray, " t"] | None = None
    seconds: Float[np.ndarray, " t"] | None = None
    weights: Float[np.ndarray, " t"] | None = None
    catch: Bool[np.ndarray, " t"] | None = None


@dataclass(frozen=True, eq=False)
class Options:
    """What an importer may be told; which of these it reads is in the table of formats.

    Parameters
    ----------
    columns : mapping
        Role → the column, or columns between commas, that plays it.
    where : mapping
        Column → the value that rows must have in it.
    names : sequence of str or None
        The objects in the order of their indices; names in the file are looked up in it.
    base, order, odd_column
        As `Answers.load`.
    values : {"similarity", "dissimilarity"} or None
        What the numbers of a matrix or of ratings are; None means that the diagonal says it, or that ratings are
        similarities.
    limit : int
        The most answers made from a matrix, ratings or soft triplets; from more, this number is drawn.
    seed : int
        Of that draw.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, str] = field(default_factory=dict)
    names: Sequence[str] | None = None
    base: int = 0
    order: Int[np.ndarray, " n"] | None = None
    odd_column: int = 2
    values: str | None = None
    limit: int = 1_000_000
    seed: int = 42


@dataclass(frozen=True, eq=False)
class Imported:
    """Answers, the trials that were left out by reason, and how the file was interpreted."""

    answers: Answers
    dropped: dict[str, int] = field(default_factory=dict)
    understood: dict[str, Any] = field(default_factory=dict)


def answers_in(trials: Trials, options: Options, understood: dict[str, Any]) -> Imported:
    """The answers in trials; those that are incomplete are counted, catch trials are kept apart.

    A trial with two equal objects is a catch trial: of odd-one-out the right answer is the third one, of an anchor the
    alternative that is the reference itself.

    Raises
    ------
    DataError
        No answer is left, or the objects are not what `options` say.
    """
    shown, names = indices(trials.objects, options)
    dropped = {
        "an object that is not in the list of object ids": (shown < MISSING).any(axis=1),
        "an object is missing": (shown != MISSING).sum(axis=1) < 3,
        "no answer": trials.picked < 0,
    }
    if trials.votes is not None:
        dropped["no vote"] = ~(trials.votes.sum(axis=1) > 0)
    left = np.ones(len(shown), dtype=bool)
    counts = {}
    for reason, rows in dropped.items():
        counts[reason] = int((left & rows).sum())
        left &= ~rows
    rows = np.flatnonzero(left)
    ordered = _in_order(trials.kind, shown[rows], trials.picked[rows])
    known, passed, useless = _catch(trials.kind, ordered)
    flagged = np.zeros(len(rows), dtype=bool) if trials.catch is None else trials.catch[rows]
    counts["catch trial"] = int((known | flagged).sum())
    counts["equal alternatives"] = int((useless & ~known & ~flagged).sum())
    taken = ~(known | flagged | useless)
    if taken.any():
        widths = (ordered != MISSING).sum(axis=1)
        width = int(np.bincount(widths[taken]).argmax())
        counts["another number of objects than most"] = int((taken & (widths != width)).sum())
        taken &= widths == width
        ordered = ordered[:, :width]
    kept = rows[taken]
    if not len(kept):
        reasons = "; ".join(f"{n} × {reason}" for reason, n in counts.items() if n) or "the file has no trials"
        raise DataError(f"no answer is left of {len(shown)} trials: {reasons}.")
    seconds = None if trials.seconds is None else np.where(trials.seconds < 0, np.nan, trials.seconds)
    lists = {"weights": trials.weights, "person": trials.person, "seconds": seconds}
    of: dict[str, Any] = {name: None if values is None else values[kept] for name, values in lists.items()}
    caught = known & (trials.votes is None)
    person = None if trials.person is None else trials.person[rows][caught]
    answers = Answers.from_array(
        ordered[taken],
        base=options.base,
        order=options.order,
        kind=trials.kind,
        counts=None if trials.votes is None else trials.votes[kept][:, : width - 1],
        names=names,
        catch_passed=passed[caught] if caught.any() else None,
        catch_person=person if caught.any() else None,
        **of,
    )
    if names is not None:
        answers.check_range(len(names), what="the list of object ids", unit="lines")
    return Imported(answers, {reason: n for reason, n in counts.items() if n}, understood)


def placed(answers: Answers, options: Options, names: Sequence[str] | None = None) -> Answers:
    """The same answers, their objects through the sort index, with the list of names that is told or else found."""
    names = names if options.names is None else options.names
    answers = Answers.from_array(
        answers.objects, order=options.order, kind=answers.kind, weights=answers.weights, person=answers.person,
        seconds=answers.seconds, names=names, catch_passed=answers.catch_passed, catch_person=answers.catch_person,
    )  # fmt: skip
    if names is not None:
        answers.check_range(len(names), what="the list of object ids", unit="lines")
    return answers


def drawn(total: int, limit: int, seed: int) -> np.ndarray:
    """The numbers 0 … total - 1, or, if there are more than `limit`, that many drawn without replacement, in order."""
    if total <= limit:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).choice(total, limit, replace=False, shuffle=False))


def whole_numbers(values: Shaped[np.ndarray, " n"]) -> Int[np.ndarray, " n"] | None:
    """Texts as integers, empty ones as -1; None if any of them is not an integer: 007 and 1_0 are names."""
    if values.dtype.kind in "iub":
        return values.astype(np.int64)
    distinct, member = np.unique(values.astype(str), return_inverse=True)
    numbers = np.full(len(distinct), MISSING, dtype=np.int64)
    for i, text in enumerate(distinct.tolist()):
        if text:
            if not _WHOLE.fullmatch(text):
                return None
            try:
                numbers[i] = int(text.partition(".")[0])
            except (ValueError, OverflowError):
                return None
    return numbers[member.reshape(values.shape)]


def real_numbers(values: Shaped[np.ndarray, " n"], what: str) -> Float[np.ndarray, " n"]:
    """Texts as numbers, empty ones as NaN; a DataError names the first that is not a number."""
    if values.dtype.kind in "fiub":
        return values.astype(np.float64)
    found = np.empty(len(values))
    for i, text in enumerate(values.astype(str).tolist()):
        try:
            found[i] = float(text) if text else np.nan
        except ValueError as error:
            raise DataError(f"{what} of trial {i} is {text[:60]!r}; it must be a number.") from error
    return found


def indices(shown: Shaped[np.ndarray, "t m"], options: Options) -> tuple[Int[np.ndarray, "t m"], Sequence[str] | None]:
    """Objects as integers: -1 where there is none, -2 where a name is not in the list; and the list."""
    numbers = whole_numbers(shown.reshape(-1))
    if numbers is not None and not _are_names(shown, options):
        if (numbers < MISSING).any():
            raise DataError(f"a trial names object {int(numbers.min())}; indices of objects must be at least 0.")
        return numbers.reshape(shown.shape), options.names
    if options.base or options.order is not None:
        raise DataError("the objects of the trials are names, not numbers; leave out --base and --order.")
    distinct, member = np.unique(shown.astype(str), return_inverse=True)
    texts = distinct.tolist()
    if options.names is None:
        names = [text for text in texts if text]
        place = {name: i for i, name in enumerate(names)}
    else:
        names = list(options.names)
        place = {object_name(name): i for i, name in enumerate(names)} | {name: i for i, name in enumerate(names)}
    found = [MISSING if not text else place.get(text, place.get(object_name(text), MISSING - 1)) for text in texts]
    if options.names is not None and max(found, default=0) < 0:
        raise DataError(
            f"none of the names in the trials (first {next(filter(None, texts), '')!r}) is in the list of object ids "
            f"(first {names[0]!r}). Give the list of these objects."
        )
    return np.array(found, dtype=np.int64)[member.reshape(shown.shape)], names


def _are_names(shown: Shaped[np.ndarray, "t m"], options: Options) -> bool:
    """Whether texts that could be indices are all names in the list, which counts more."""
    if shown.dtype.kind in "iub" or options.names is None or options.base or options.order is not None:
        return False
    return set(np.unique(shown.astype(str)).tolist()) - {""} <= set(options.names)


def _in_order(kind: str, shown: np.ndarray, picked: np.ndarray) -> np.ndarray:
    """The columns in the order of `Answers`: the odd one last, or the picked alternative after the reference."""
    column = np.arange(shown.shape[1])
    chosen = column == picked[:, None]
    rank = chosen.astype(int) if kind == "odd-one-out" else np.where(column == 0, 0, np.where(chosen, 1, 2))
    rank = np.where(shown == MISSING, 3, rank)
    return np.take_along_axis(shown, np.argsort(rank, axis=1, kind="stable"), axis=1)


def _catch(kind: str, ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which trials have a known right answer, whether it was given, and which have equal objects that teach nothing."""
    there = ordered != MISSING
    ascending = np.sort(np.where(there, ordered, -np.arange(1, ordered.shape[1] + 1)), axis=1)
    repeats = np.count_nonzero(ascending[:, 1:] == ascending[:, :-1], axis=1)
    if kind == "odd-one-out":
        return repeats == 1, ordered[:, 0] == ordered[:, 1], repeats > 0
    itself = (ordered[:, 1:] == ordered[:, :1]) & there[:, 1:]
    return np.count_nonzero(itself, axis=1) == 1, itself[:, 0], repeats > 0
