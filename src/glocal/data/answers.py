"""People's answers of every kind: which pair, among several candidate pairs of objects, they found most similar."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Integer, Shaped

from glocal.data.answers_file import read_answers, read_list, write_answers
from glocal.data.catch import CatchTrials, catch_in, caught
from glocal.errors import DataError
from glocal.files import PathLike
from glocal.similarity import Part, candidate_pairs

KINDS = ("odd-one-out", "anchor", "nearest-of-n")


@dataclass(frozen=True, eq=False)
class Answers:
    """Immutable answers, 0-based. In each a person chose one pair among candidate pairs of the objects of its row.

    ==============  ======================================  ===========================================
    kind            objects of a row                        candidate pairs, the chosen one first
    ==============  ======================================  ===========================================
    odd-one-out     the pair, the odd one                   (0, 1), (0, 2), (1, 2)
    anchor          reference, the closer, the farther      (0, 1), (0, 2)
    nearest-of-n    reference, the nearest, n - 1 others    (0, 1), (0, 2), …, (0, n)
    ==============  ======================================  ===========================================

    Parameters
    ----------
    objects : (t, m) integers
        Rows that are shorter than others end in -1.
    weights : (t,) float64 or None
        Finite, at least 0, not all 0. An integer weight equals that many copies of the answer; a soft answer, or votes,
        are a row for each alternative with its probability or votes as the weight. None means 1 each.
    kind : str or (t,) array of str
        One kind for all, or for each row.
    person : (t,) array or None
        Who gave each answer.
    seconds : (t,) float64 or None
        How long each answer took.
    names : sequence of str or None
        The list of objects that the answers index.
    catch : CatchTrials or None
        Trials with a known right answer that the same people were given; they are not among the answers.

    Raises
    ------
    DataError
        Wrong shape or type, a negative index, an object repeated inside an answer, or bad weights.

    Examples
    --------
    >>> answers = Answers.from_array([[3, 1, 2], [2, 3, 1]], odd_column=0, base=1)
    >>> answers.objects.tolist()
    [[0, 1, 2], [2, 0, 1]]
    """

    objects: Integer[np.ndarray, "t m"]
    weights: Float[np.ndarray, " t"] | None = None
    _: KW_ONLY
    kind: str | Shaped[np.ndarray, " t"] = "odd-one-out"
    person: Shaped[np.ndarray, " t"] | None = None
    seconds: Float[np.ndarray, " t"] | None = None
    names: Sequence[str] | None = None
    catch: CatchTrials | None = None

    def __post_init__(self) -> None:
        _check_shape_and_type(self.objects)
        kind, objects = _one_kind(self.kind, len(self.objects)), _trimmed(self.objects)
        _check_objects(objects, kind)
        kept: dict[str, object] = {
            "objects": _indices(objects),
            "kind": kind if isinstance(kind, str) else _frozen(kind),
        }
        if self.weights is not None:
            kept["weights"] = _frozen(_checked_weights(self.weights, len(self.objects)))
        if self.seconds is not None:
            kept["seconds"] = _frozen(_checked_list(self.seconds, len(self.objects), "seconds").astype(np.float64))
        if self.person is not None:
            kept["person"] = _frozen(_checked_list(self.person, len(self.objects), "persons", "iubU"))
        if self.names is not None:
            kept["names"] = tuple(str(name) for name in self.names)
        for name, value in kept.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_array(
        cls,
        array: object,
        *,
        odd_column: int = 2,
        base: int = 0,
        order: object | None = None,
        weights: object | None = None,
        kind: str | Shaped[np.ndarray, " t"] = "odd-one-out",
        counts: object | None = None,
        person: object | None = None,
        seconds: object | None = None,
        names: Sequence[str] | None = None,
        catch: CatchTrials | None = None,
    ) -> Answers:
        """Build answers from raw indices whose conventions are stated.

        Parameters
        ----------
        array : (t, m) integers
            Raw indices.
        odd_column : int
            0, 1 or 2: the column that holds the odd one out.
        base : int
            0 or 1: the index of the first object.
        order : (n,) integers or None
            A sort index; the object of raw index i (after `base`) is ``argsort(order)[i]``.
        weights, kind, person, seconds, names, catch
            See `Answers`.
        counts : (t, k) numbers or None
            Votes for each of the k candidate pairs, in their order: a row becomes one answer for each pair with votes,
            their number times the row's weight as its weight.

        Returns
        -------
        Answers
        """
        try:
            answers = np.asarray(array.detach().cpu() if hasattr(array, "detach") else array)
        except ValueError as error:
            raise DataError(
                "triplets have rows of different lengths; they must be (t, 3): pair, pair, odd one."
            ) from error
        if odd_column not in (0, 1, 2):
            raise DataError(f"odd column is {odd_column}; allowed are 0, 1 and 2 (columns are counted from 0).")
        if base not in (0, 1):
            raise DataError(f"index base is {base}; allowed are 0 and 1.")
        _check_shape_and_type(answers)
        kind = _one_kind(kind, len(answers))
        if odd_column != 2:
            if kind != "odd-one-out":
                raise DataError(f"an odd column was stated but the answers are of the kind {kind}; leave it out.")
            pair = [column for column in (0, 1, 2) if column != odd_column]
            answers = answers[:, [*pair, odd_column]]
        if base:
            if len(answers) and int(answers.min(initial=1, where=answers != -1)) < 1:
                raise DataError("index base 1 was stated but the triplets name object 0. Pass --base 0.")
            answers = answers.astype(np.int64)
            answers -= answers > 0
        if order is not None:
            answers = _through_order(answers, np.asarray(order))
        n = len(answers)
        lists = {
            "weights": None if weights is None else _checked_weights(np.asarray(weights), n),
            "person": None if person is None else _checked_list(np.asarray(person), n, "persons", "iubU"),
            "seconds": None if seconds is None else _checked_list(np.asarray(seconds), n, "seconds"),
        }
        if counts is None:
            return cls(answers, kind=kind, names=names, catch=catch, **lists)
        return cls(answers, kind=kind, names=names, catch=catch, **lists).voted(np.asarray(counts))

    @classmethod
    def load(
        cls,
        path: PathLike,
        *,
        kind: str | None = None,
        odd_column: int = 2,
        base: int = 0,
        order: PathLike | None = None,
        weights: PathLike | None = None,
    ) -> Answers:
        """Read answers from ``.npz``, ``.npy`` or text (integers on a line; blanks, commas or semicolons between).

        The ``.npz`` holds ``answers`` (t, m) and optionally ``kind``, ``counts`` (t, candidate pairs), ``weights``,
        ``person``, ``seconds``, ``names``, ``catch_passed`` and ``catch_person``. The first line of a text may name the
        columns a, b and odd, or reference, closer and farther, and person and seconds, in any order; others are not
        read, and named.

        Parameters
        ----------
        path, order, weights : path
            The answers; the sort index (text or ``.npy``); the weights (text or ``.npy``).
        kind : str or None
            The kind of answers in a file that does not say it; None means odd-one-out.
        odd_column, base : int
            As in `from_array`.

        Raises
        ------
        FileError
            A file is missing, unreadable or damaged.
        DataError
            The content is not what `Answers` allows; the message names the file.
        """
        found = read_answers(path)
        if kind is not None and "kind" in found and (np.asarray(found["kind"]) != kind).any():
            said = ", ".join(np.unique(found["kind"]))
            raise DataError(f"{path} says that its kind is {said}; leave out --kind {kind} (kind=).")
        if odd_column != 2 and "kind" in found:
            raise DataError(f"{path} says which column is odd; leave out --odd-column (odd_column=).")
        if weights is not None:
            if "weights" in found:
                raise DataError(f"{path} has weights of its own; leave out --weights (weights=).")
            found["weights"] = read_list(weights, what="weights")
        found["kind"] = found.get("kind", kind or "odd-one-out")
        sort_index = None if order is None else read_list(order, what="order")
        try:
            found["catch"] = catch_in(found)
            return cls.from_array(found.pop("answers"), odd_column=odd_column, base=base, order=sort_index, **found)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error

    def save(self, path: PathLike, *, provenance: dict[str, Any] | None = None) -> None:
        """Write all of this to ``.npz``, or the objects alone, 0-based, to ``.npy``; atomically.

        `provenance` says where the answers come from; an ``.npz`` has it as a text, ``provenance``, of JSON.
        """
        names = None if self.names is None else np.array(self.names, dtype=np.str_)
        catch = {} if self.catch is None else self.catch.arrays()
        origin = None if provenance is None else np.array(json.dumps(provenance))
        write_answers(
            path,
            {
                "answers": self.objects, "kind": np.array(self.kind), "weights": self.weights, "person": self.person,
                "seconds": self.seconds, "names": names, **catch, "provenance": origin,
            },
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.objects)

    def __repr__(self) -> str:
        kinds = self.kind if isinstance(self.kind, str) else " and ".join(np.unique(self.kind))
        return f"Answers({len(self)} {kinds}{'' if self.weights is None else ', weighted'})"

    @property
    def answers(self) -> Int[np.ndarray, "t m"]:
        """The objects of each row, as `objects`."""
        return self.objects

    @property
    def n_people(self) -> int | None:
        """The number of different people, if they are known."""
        return None if self.person is None else len(np.unique(self.person))

    @property
    def total_weight(self) -> float:
        """Sum of the weights; the number of answers if there are none."""
        return float(len(self)) if self.weights is None else float(self.weights.sum())

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The answers in groups that have the same candidate pairs; most files are one group."""
        t, m = self.objects.shape
        star = np.full(t, self.kind != "odd-one-out") if isinstance(self.kind, str) else self.kind != "odd-one-out"
        width = np.full(t, 3) if m == 3 else (self.objects >= 0).sum(axis=1)
        code = 2 * width + star
        codes = np.unique(code)
        if len(codes) <= 1:
            n = int(codes[0] // 2) if t else m
            kind = "anchor" if (t and star[0]) or (not t and self.kind != "odd-one-out") else "odd-one-out"
            return (Part(slice(None), self.objects[:, :n], candidate_pairs(kind, n)),)
        found = []
        for value in codes.tolist():
            rows, n = np.flatnonzero(code == value), value // 2
            pairs = candidate_pairs("anchor" if value % 2 else "odd-one-out", n)
            found.append(Part(rows, np.ascontiguousarray(self.objects[rows, :n]), pairs))
        return tuple(found)

    def over_choices(self, of: dict[int, float]) -> float:
        """The (weighted) mean over answers of a number that depends on how many candidate pairs an answer has."""
        values = [(of[len(part.pairs)], part.total(self.weights)) for part in self.parts]
        return sum(value * weight for value, weight in values) / self.total_weight

    @property
    def chance(self) -> float:
        """The agreement of a random choice: 1/(candidate pairs), a mean where their number differs."""
        return self.over_choices({len(part.pairs): 1 / len(part.pairs) for part in self.parts})

    @property
    def chance_loss(self) -> float:
        """The loss of equal similarities, nats: log(candidate pairs), a mean where their number differs."""
        return self.over_choices({len(part.pairs): float(np.log(len(part.pairs))) for part in self.parts})

    def named(self) -> Int[np.ndarray, " k"]:
        """The sorted indices of the objects that any answer names."""
        if not len(self):
            return np.empty(0, dtype=np.int64)
        named = np.zeros(int(self.objects.max()) + 2, dtype=bool)
        named[self.objects] = True  # NOTE -1 marks the last place, which no object has
        return np.flatnonzero(named[:-1])

    def inside(self, objects: Bool[np.ndarray, " n"]) -> tuple[Bool[np.ndarray, " t"], Bool[np.ndarray, " t"]]:
        """Which answers name none of these objects, and which no others."""
        if self.objects.shape[1] == 3:
            count = objects[self.objects].sum(axis=1)
            return count == 0, count == 3
        there = self.objects >= 0
        count = (objects[self.objects] & there).sum(axis=1)
        return count == 0, count == there.sum(axis=1)

    def check_range(self, n: int, *, what: str = "features", unit: str = "rows") -> None:
        """Raise a DataError if an answer names an object outside 0..n-1."""
        largest = int(self.objects.max()) if len(self) else -1
        if largest >= n:
            hint = " Is the file 1-based? Pass --base 1." if largest == n and int(self.objects.min()) >= 1 else ""
            hint = hint or " If the triplets index another list of objects, name it with --object-ids."
            raise DataError(f"triplets name object {largest} but {what} has {n} {unit} (valid 0..{n - 1}).{hint}")

    def select(self, keep: Shaped[np.ndarray, " k"]) -> Answers:
        """The answers where `keep` is true, or the answers of these numbers, in the same index space."""
        return self._with(self.objects[keep], keep)

    def relabel(self, new_index: Int[np.ndarray, " n"]) -> tuple[Answers, int]:
        """Map object i to ``new_index[i]``; answers with an object mapped to -1 are dropped and counted.

        The answers no longer have `names`.
        """
        mapped = new_index.astype(np.int32)[self.objects]
        there = mapped >= 0
        if self.objects.shape[1] > 3:
            mapped[self.objects < 0] = -1
            there |= self.objects < 0
        keep = there.all(axis=1)
        dropped = int(len(keep) - np.count_nonzero(keep))
        return self._with(mapped[keep] if dropped else mapped, keep if dropped else None, named=False), dropped

    def voted(self, counts: np.ndarray) -> Answers:
        """One answer for each candidate pair with votes, weighted by them: ``counts`` (t, k) has those for pair j."""
        if counts.ndim != 2 or len(counts) != len(self) or counts.dtype.kind not in "fiub":
            raise DataError(
                f"counts have shape {counts.shape} and hold {counts.dtype}; {len(self)} answers need a row of votes."
            )
        rows, objects, votes = [], [], []
        for part in self.parts:
            of = counts[part.rows]
            if of.shape[1] < len(part.pairs) or of[:, len(part.pairs) :].any():
                raise DataError(
                    f"counts have {of.shape[1]} columns but the answers {len(part.pairs)} candidate pairs; "
                    "give one number of votes for each."
                )
            numbers = np.arange(len(self))[part.rows]
            for j in range(len(part.pairs)):
                changed = self.objects[part.rows].copy()
                changed[:, : part.objects.shape[1]] = part.choosing(j)
                rows.append(numbers)
                objects.append(changed)
                votes.append(of[:, j])
        found = self._with(np.concatenate(objects), np.concatenate(rows))
        weights = np.concatenate(votes) * (1.0 if found.weights is None else found.weights)
        bad = ~np.isfinite(weights) | (weights < 0)
        if bad.any():
            raise DataError(f"counts hold {weights[int(np.argmax(bad))]}; votes must be finite and at least 0.")
        kept = weights > 0
        order = np.argsort(np.concatenate(rows)[kept], kind="stable")
        found = found.select(np.flatnonzero(kept)[order])
        return Answers(
            found.objects, weights[kept][order], kind=found.kind, person=found.person, seconds=found.seconds,
            names=found.names, catch=found.catch,
        )  # fmt: skip

    def _with(self, objects: np.ndarray, rows: np.ndarray | None, *, named: bool = True) -> Answers:
        """These objects, with what else is known of the answers in these rows."""

        def of(values: np.ndarray | None) -> np.ndarray | None:
            return values if values is None or rows is None else values[rows]

        kind = self.kind if isinstance(self.kind, str) or rows is None else self.kind[rows]
        return Answers(
            objects, of(self.weights), kind=kind, person=of(self.person), seconds=of(self.seconds),
            names=self.names if named else None, catch=self.catch,
        )  # fmt: skip


def together(parts: Sequence[Answers]) -> Answers:
    """Answers of several kinds as one: each keeps its kind, so that their loss is the weighted mean over all of them.

    Persons and seconds are kept only where all of them have these; missing weights become 1.

    Raises
    ------
    DataError
        Nothing, or lists of names that differ.
    """
    if not parts or any(part.names != parts[0].names for part in parts):
        raise DataError(
            "there are no answers to join, or they index different lists of objects; give answers about one list."
        )
    m = max(part.objects.shape[1] for part in parts)
    padded = [np.pad(part.objects, ((0, 0), (0, m - part.objects.shape[1])), constant_values=-1) for part in parts]
    lists = {}
    for name in ("person", "seconds"):
        values = [getattr(part, name) for part in parts]
        lists[name] = None if any(value is None for value in values) else np.concatenate(values)
    weights = [np.ones(len(part)) if part.weights is None else part.weights for part in parts]
    return Answers(
        np.concatenate(padded),
        None if all(part.weights is None for part in parts) else np.concatenate(weights),
        kind=np.concatenate([np.broadcast_to(np.array(part.kind), len(part)) for part in parts]),
        names=parts[0].names,
        catch=caught([part.catch for part in parts]),
        **lists,
    )


def ranking(objects: Integer[np.ndarray, "t m"], k: int, **lists: np.ndarray | None) -> Answers:
    """A ranking of the k nearest of n objects, as k choices in turn, each among those that are left.

    Parameters
    ----------
    objects : (t, 1 + n) integers
        The reference, the k nearest in order, then the others in any order.
    k : int
        1 to n; the last of n is not a choice.
    weights, person, seconds : (t,) arrays
        Of the rankings; each choice has those of its ranking.

    Examples
    --------
    >>> ranking(np.array([[9, 1, 2, 3, 4]]), 2).objects.tolist()
    [[9, 1, 2, 3, 4], [9, 2, 3, 4, -1]]
    """
    _check_shape_and_type(objects)
    n = objects.shape[1] - 1
    if not 1 <= k <= n:
        raise DataError(f"k is {k} but {n} objects were ranked; allowed is 1 to {n}.")
    choices = []
    for i in range(min(k, n - 1)):
        left = np.full_like(objects, -1, dtype=np.int64)
        left[:, 0], left[:, 1 : n + 1 - i] = objects[:, 0], objects[:, 1 + i :]
        choices.append(left)
    rows = np.tile(np.arange(len(objects)), len(choices))
    return Answers(
        np.concatenate(choices),
        kind="nearest-of-n",
        **{name: None if values is None else values[rows] for name, values in lists.items()},  # type: ignore[arg-type]
    )


def _one_kind(kind: object, t: int) -> str | np.ndarray:
    """The kind of all answers, or where they differ that of each."""
    kinds = np.asarray(kind)
    unknown = sorted({str(one) for one in np.unique(kinds)} - set(KINDS))
    if unknown or kinds.ndim > 1 or (kinds.ndim and len(kinds) != t):
        raise DataError(
            f"kind is {', '.join(unknown) or f'of shape {kinds.shape} for {t} answers'}; "
            f"allowed are {', '.join(KINDS[:-1])} and {KINDS[-1]}, one for all or one for each answer."
        )
    if kinds.ndim and t and (kinds != kinds[0]).any():
        return kinds
    return str(kinds.flat[0]) if kinds.size else KINDS[0]


def _check_shape_and_type(answers: np.ndarray) -> None:
    if answers.ndim != 2 or answers.shape[1] < 3:
        raise DataError(f"triplets have shape {answers.shape}; they must be (t, 3): pair, pair, odd one.")
    if not np.issubdtype(answers.dtype, np.integer):
        raise DataError(
            f"triplets hold {answers.dtype} values; object indices must be integers. "
            "If they are whole numbers, save them with array.astype('int32')."
        )


def _check_objects(answers: np.ndarray, kind: str | np.ndarray) -> None:
    t, m = answers.shape
    if isinstance(kind, str) and kind != "nearest-of-n" and m > 3:
        raise DataError(
            f"triplets have shape {answers.shape}; answers of the kind {kind} must be (t, 3). "
            "If the first is a reference and the second the nearest to it, pass --kind nearest-of-n."
        )
    if not t:
        return
    there = answers >= 0
    if not there.all():
        widths = there.sum(axis=1)
        # NOTE -1 fills rows up, at their end: elsewhere, or in the first three places, it is a wrong index
        wrong = (answers < -1).any(axis=1) | (widths < 3) | (there[:, 1:] > there[:, :-1]).any(axis=1)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise DataError(f"triplet {row} is {answers[row].tolist()}; object indices must be at least 0.")
        if not isinstance(kind, str) and (widths[kind != "nearest-of-n"] != 3).any():
            raise DataError("answers of the kinds odd-one-out and anchor have three objects each; some have more.")
    if int(answers.max()) > np.iinfo(np.int32).max:
        raise DataError(f"triplets name object {int(answers.max())}; at most {np.iinfo(np.int32).max} is supported.")
    if m == 3:
        a, b, odd = answers.T
        repeated = (a == b) | (a == odd) | (b == odd)
    else:
        ordered = np.sort(answers, axis=1)
        repeated = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any(axis=1)
    if repeated.any():
        row = int(np.argmax(repeated))
        raise DataError(
            f"triplet {row} is {answers[row].tolist()} and repeats an object ({np.count_nonzero(repeated)} such "
            "triplets); the objects of an answer must differ. Remove these answers."
        )


def _checked_weights(weights: np.ndarray, n: int) -> np.ndarray:
    weights = _checked_list(weights, n, "weights").astype(np.float64)
    bad = ~np.isfinite(weights) | (weights < 0)
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(f"weight {row} is {weights[row]}; weights must be finite and at least 0.")
    if n and not weights.sum() > 0:
        raise DataError("all weights are 0; at least one answer must count.")
    return weights


def _checked_list(values: np.ndarray, n: int, what: str, types: str = "fiub") -> np.ndarray:
    if values.shape != (n,):
        one = what.removesuffix("s")
        raise DataError(f"{what} have shape {values.shape} but there are {n} triplets; one {one} each is needed.")
    if values.dtype.kind not in types:
        raise DataError(f"{what} hold {values.dtype} values; they must be real numbers.")
    return values


def _through_order(answers: np.ndarray, order: np.ndarray) -> np.ndarray:
    n = order.size
    if order.ndim != 1 or not np.array_equal(np.sort(order), np.arange(n)):
        raise DataError(f"the order of shape {order.shape} is not a permutation of 0..{n - 1}; give a sort index.")
    if len(answers) and int(answers.max()) >= n:
        raise DataError(f"triplets name object {int(answers.max())} but the order lists {n} objects.")
    inverse: np.ndarray = np.argsort(order).astype(np.int32)
    return np.where(answers < 0, answers, inverse[answers])


def _trimmed(objects: np.ndarray) -> np.ndarray:
    """The rows without columns at the end that only fill up."""
    if objects.shape[1] == 3 or (len(objects) and objects[:, -1].max() >= 0):
        return objects
    return objects[:, : max(3, int((objects >= 0).sum(axis=1).max(initial=0)))]


def _indices(array: np.ndarray) -> np.ndarray:
    """The same integers as int32 in rows; a copy, unless nobody can write to them."""
    shared = array.dtype == np.int32 and array.flags.c_contiguous and not array.flags.writeable
    array = array if shared else np.array(array, dtype=np.int32, order="C")
    array.flags.writeable = False
    return array


def _frozen(array: np.ndarray) -> np.ndarray:
    """An unaliased read-only array: a frozen dataclass must not change under its owner."""
    array = array.copy() if array.flags.writeable else array
    array.flags.writeable = False
    return array
