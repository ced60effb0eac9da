"""People's answers: which pair, among the candidate pairs of a few objects, they found most similar."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Integer, Shaped

from glocal.data.tables import read_answers, read_list
from glocal.errors import DataError
from glocal.files import PathLike, write_npy, write_npz
from glocal.similarity import Pairs, candidate_pairs

KINDS = ("odd-one-out", "anchor", "nearest-of-n")
_TYPES = {"weights": "fiub", "seconds": "fiub", "catch_passed": "b"}  # of the others: integers or names
_LISTS = ("weights", "person", "seconds", "names", "catch_passed", "catch_person")


@dataclass(frozen=True, eq=False)
class Answers:
    """Immutable answers of one kind, 0-based. In each a person chose one pair among candidate pairs of its objects.

    ==============  ======================================  ===========================================
    kind            objects of a row                        candidate pairs, the chosen one first
    ==============  ======================================  ===========================================
    odd-one-out     the pair, the odd one                   (0, 1), (0, 2), (1, 2)
    anchor          reference, the closer, the farther      (0, 1), (0, 2)
    nearest-of-n    reference, the nearest, n - 1 others    (0, 1), (0, 2), …, (0, n)
    ==============  ======================================  ===========================================

    Every argument may be a list, an array or a tensor; it is copied unless nobody can write to it.

    Parameters
    ----------
    objects : (t, m) integers
        m is 3, or any number above for nearest-of-n; kept as int32.
    weights : (t,) real numbers or None
        Finite, at least 0, not all 0; kept as float64. An integer weight equals that many copies of the answer; a soft
        answer, or votes, are a row for each alternative with its probability or votes as the weight. None means 1 each.
    kind : {"odd-one-out", "anchor", "nearest-of-n"}
    person : (t,) integers or str, or None
        Who gave each answer.
    seconds : (t,) real numbers or None
        How long each answer took; kept as float64.
    names : sequence of str or None
        The list of objects that the answers index.
    catch_passed : (c,) bool or None
        Whether each catch trial was passed: a question with one right answer, such as two equal pictures beside another
        one, put to the same people. Catch trials are not among the answers.
    catch_person : (c,) integers or str, or None
        Who was given each catch trial.

    Raises
    ------
    DataError
        Wrong shape or type, an unknown kind, a negative index, an object repeated inside an answer, or bad weights.

    Examples
    --------
    >>> answers = Answers.from_array([[3, 1, 2], [2, 3, 1]], odd_column=0, base=1)
    >>> answers.objects.tolist()
    [[0, 1, 2], [2, 0, 1]]
    """

    objects: Integer[np.ndarray, "t m"]
    weights: Float[np.ndarray, " t"] | None = None
    _: KW_ONLY
    kind: str = "odd-one-out"
    person: Shaped[np.ndarray, " t"] | None = None
    seconds: Float[np.ndarray, " t"] | None = None
    names: Sequence[str] | None = None
    catch_passed: Bool[np.ndarray, " c"] | None = None
    catch_person: Shaped[np.ndarray, " c"] | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DataError(f"`kind` is {self.kind!r}; allowed are {', '.join(KINDS)}.")
        objects = _integers(self.objects)
        _check_objects(objects, self.kind)
        kept = _lists(len(objects), {name: getattr(self, name) for name in _LISTS})
        for name, value in ({"objects": _frozen(np.require(objects, np.int32, "C"))} | kept).items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_array(
        cls,
        array: object,
        *,
        odd_column: int = 2,
        base: int = 0,
        order: object | None = None,
        kind: str = "odd-one-out",
        counts: object | None = None,
        **known: Any,
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
        counts : (t, k) numbers or None
            Votes for each of the k candidate pairs, in their order: a row becomes one answer for each pair with votes,
            their number times the row's weight as its weight.
        kind, **known
            The other arguments of `Answers`.

        Raises
        ------
        DataError
            As `Answers`, or a convention that the indices contradict.
        """
        objects = _integers(array)
        if odd_column not in (0, 1, 2) or base not in (0, 1):
            raise DataError(f"odd column is {odd_column} and base {base}; allowed are 0, 1 and 2, and base 0 and 1.")
        if odd_column != 2:
            if kind != "odd-one-out" or objects.shape[1] != 3:
                raise DataError(f"an odd column was stated but the answers are of the kind {kind}; leave it out.")
            objects = objects[:, [*(column for column in (0, 1, 2) if column != odd_column), odd_column]]
        if base:
            if len(objects) and int(objects.min()) < 1:
                raise DataError(f"answers name object {int(objects.min())} but `base=1` was stated. Pass `base=0`.")
            objects = objects.astype(np.int64) - 1
        if order is not None:
            places = _array(order)
            if places.ndim != 1 or not np.array_equal(np.sort(places), np.arange(places.size)):
                raise DataError(f"the order of shape {places.shape} is not a permutation from 0; give a sort index.")
            if len(objects) and not 0 <= int(objects.min()) <= int(objects.max()) < places.size:
                raise DataError(f"answers name object {int(objects.max())} but the order lists {places.size} objects.")
            objects = np.argsort(places)[objects]
        answers = cls(objects, kind=kind, **_lists(len(objects), known))
        return answers if counts is None else answers.voted(_array(counts))

    @classmethod
    def load(
        cls,
        path: PathLike,
        *,
        kind: str | None = None,
        odd_column: int = 2,
        base: int = 0,
        order: PathLike | None = None,
    ) -> Answers:
        """Read answers from ``.npz``, ``.npy`` or text (integers on a line; blanks, commas or semicolons between).

        The ``.npz`` holds ``answers`` (t, m) and optionally ``kind``, ``counts`` (t, candidate pairs), ``weights``,
        ``person``, ``seconds``, ``names``, ``catch_passed`` and ``catch_person``. The first line of a text may name the
        columns a, b and odd, or reference, closer and farther, and person and seconds, in any order; other columns are
        not read, which a warning says.

        Parameters
        ----------
        path, order : path
            The answers; the sort index (text or ``.npy``).
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
        found = read_answers(path, _LISTS)
        if kind is not None and found.get("kind", kind) != kind:
            raise DataError(f"{path} says that its kind is {found['kind']}; leave out `kind={kind!r}`.")
        if odd_column != 2 and "kind" in found:
            raise DataError(f"{path} says which column is odd; leave out `odd_column={odd_column}`.")
        found.setdefault("kind", kind or "odd-one-out")
        sort_index = None if order is None else read_list(order, what="order")
        try:
            return cls.from_array(found.pop("answers"), odd_column=odd_column, base=base, order=sort_index, **found)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error

    def save(self, path: PathLike, *, provenance: dict[str, Any] | None = None) -> None:
        """Write all of this to ``.npz``, or the objects alone, 0-based, to ``.npy``; atomically.

        `provenance` says where the answers come from; an ``.npz`` holds it as a text, ``provenance``, of JSON.
        """
        if Path(path).suffix.lower() == ".npz":
            origin = None if provenance is None else np.array(json.dumps(provenance))
            write_npz(path, self.members() | {"provenance": origin})
        else:
            write_npy(path, self.objects)

    def members(self) -> dict[str, Any]:
        """The arrays of an ``.npz`` of answers by their names; None for what is not known."""
        names = None if self.names is None else np.array(self.names, dtype=np.str_)
        known = {name: getattr(self, name) for name in _LISTS}
        return {"answers": self.objects, "kind": np.array(self.kind), **known, "names": names}

    def __len__(self) -> int:
        return len(self.objects)

    def __repr__(self) -> str:
        return f"Answers({len(self)} {self.kind}{'' if self.weights is None else ', weighted'})"

    @property
    def pairs(self) -> Pairs:
        """The k candidate pairs of every answer as columns of `objects`, the chosen one first."""
        return candidate_pairs(self.kind, self.objects.shape[1])

    @property
    def chance(self) -> float:
        """The agreement of a random choice: 1/k."""
        return 1 / len(self.pairs)

    @property
    def chance_loss(self) -> float:
        """The loss of equal similarities, nats: log k."""
        return float(np.log(len(self.pairs)))

    @property
    def n_people(self) -> int | None:
        """The number of different people, if they are known."""
        return None if self.person is None else len(np.unique(self.person))

    @property
    def total_weight(self) -> float:
        """Sum of the weights; the number of answers if there are none."""
        return float(len(self)) if self.weights is None else float(self.weights.sum())

    def named(self) -> Int[np.ndarray, " k"]:
        """The sorted indices of the objects that any answer names."""
        named = np.zeros(int(self.objects.max(initial=-1)) + 1, dtype=bool)
        named[self.objects] = True
        return np.flatnonzero(named)

    def choosing(self, j: int) -> Int[np.ndarray, "t m"]:
        """The objects in the order in which candidate pair j is the chosen one."""
        chosen = list(self.pairs[j])
        return self.objects[:, [*chosen, *(i for i in range(self.objects.shape[1]) if i not in chosen)]]

    def voted(self, counts: Shaped[np.ndarray, "t k"]) -> Answers:
        """One answer for each candidate pair with votes, weighted by them: ``counts[:, j]`` has those for pair j."""
        if counts.shape != (len(self), len(self.pairs)) or counts.dtype.kind not in "fiub":
            raise DataError(
                f"counts have shape {counts.shape} and hold {counts.dtype}; {len(self)} answers with "
                f"{len(self.pairs)} candidate pairs need that many numbers of votes each. If they are votes for two "
                "alternatives to a reference, pass `kind='anchor'`."
            )
        votes = counts * (1.0 if self.weights is None else self.weights[:, None])
        rows, pairs = np.nonzero(votes)
        objects = np.stack([self.choosing(j) for j in range(len(self.pairs))], axis=1)[rows, pairs]
        return replace(self.select(rows), objects=objects, weights=votes[rows, pairs])

    def inside(self, objects: Bool[np.ndarray, " n"]) -> tuple[Bool[np.ndarray, " t"], Bool[np.ndarray, " t"]]:
        """Which answers name none of these objects, and which no others."""
        count = objects[self.objects].sum(axis=1)
        return count == 0, count == self.objects.shape[1]

    def check_range(self, n: int, *, what: str = "features", unit: str = "rows") -> None:
        """Raise a DataError if an answer names an object outside 0..n-1."""
        largest = int(self.objects.max(initial=-1))
        if largest >= n:
            hint = " Is the file 1-based? Pass `base=1`." if largest == n and int(self.objects.min()) >= 1 else ""
            hint = hint or " If the answers index another list of objects, name it with `object_ids`."
            raise DataError(f"answers name object {largest} but {what} has {n} {unit} (valid 0..{n - 1}).{hint}")

    def select(self, keep: Shaped[np.ndarray, " k"]) -> Answers:
        """The answers where `keep` is true, or the answers of these numbers, in the same index space."""
        known = {name: getattr(self, name) for name in ("weights", "person", "seconds")}
        kept: dict[str, Any] = {name: None if values is None else values[keep] for name, values in known.items()}
        return replace(self, objects=self.objects[keep], **kept)

    def relabel(self, new_index: Int[np.ndarray, " n"]) -> tuple[Answers, int]:
        """Map object i to ``new_index[i]``; answers with an object mapped to -1 are dropped and counted.

        The answers no longer have `names`.
        """
        mapped = new_index.astype(np.int32)[self.objects]
        keep = (mapped >= 0).all(axis=1)
        if keep.all():
            return replace(self, objects=mapped, names=None), 0
        return replace(self.select(keep), objects=mapped[keep], names=None), int(np.count_nonzero(~keep))


def _array(values: object) -> np.ndarray:
    """A list, an array or a tensor as an array."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def _integers(array: object) -> np.ndarray:
    """Rows of integers, or a DataError."""
    try:
        objects = _array(array)
    except ValueError as error:
        raise DataError(
            "answers have rows of different lengths; all answers must have as many objects. Give answers with other "
            "numbers of objects as another `Answers`."
        ) from error
    if objects.ndim != 2 or objects.shape[1] < 3:
        raise DataError(f"answers have shape {objects.shape}; they must be (t, 3): pair, pair, odd one.")
    if objects.dtype.kind == "f" and (np.abs(objects) < 1 << 53).all() and (objects == np.round(objects)).all():
        return objects.astype(np.int64)
    if objects.dtype.kind not in "iu":
        raise DataError(f"answers hold {objects.dtype} values; object indices must be integers.")
    return objects


def _check_objects(objects: np.ndarray, kind: str) -> None:
    if kind != "nearest-of-n" and objects.shape[1] > 3:
        raise DataError(
            f"answers have shape {objects.shape}; those of the kind {kind} must be (t, 3). If the first is a reference "
            "and the second the nearest to it, pass `kind='nearest-of-n'`; persons need a first line that names them."
        )
    outside, repeated = np.zeros(len(objects), dtype=bool), np.zeros(len(objects), dtype=bool)
    for column in objects.T:  # what works along millions of short rows, or sorts them, takes many times as long
        outside |= (column < 0) | (column > np.iinfo(np.int32).max)
    for column, other in combinations(objects.T, 2):
        repeated |= column == other
    indices = f"object indices must be at least 0 and at most {np.iinfo(np.int32).max}"
    for bad, why in ((outside, indices), (repeated, "it repeats an object, and the objects of an answer must differ")):
        if bad.any():
            row, share = int(bad.argmax()), f"{np.count_nonzero(bad)} of {len(objects)} answers"
            raise DataError(
                f"answer {row} is {objects[row].tolist()}; {why}. Remove or correct such answers ({share})."
            )


def _lists(t: int, given: dict[str, Any]) -> dict[str, Any]:
    """What else is known of t answers, as read-only arrays; a DataError for what does not fit."""
    c = 0 if given.get("catch_passed") is None else _array(given["catch_passed"]).size
    found: dict[str, Any] = {}
    for name, values in given.items():
        if values is None or name == "names":
            found[name] = None if values is None else tuple(map(str, np.atleast_1d(values)))
            continue
        array, kinds = _array(values), _TYPES.get(name, "iubU")
        n, of = (c, "catch trials") if name.startswith("catch") else (t, "answers")
        if array.shape != (n,) or array.dtype.kind not in kinds:
            wanted = {"fiub": "number", "b": "true or false"}.get(kinds, "integer or name")
            raise DataError(f"{name} has shape {array.shape} of {array.dtype}; {n} {of} need one {wanted} each.")
        if name in ("weights", "seconds"):
            array = array.astype(np.float64)
        if name == "weights":
            _check_weights(array)
        found[name] = _frozen(array)
    return found


def _check_weights(weights: Float[np.ndarray, " t"]) -> None:
    """Raise a DataError unless weights are finite, at least 0 and not all 0."""
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any() or (len(weights) and not weights.any()):
        row = int(bad.argmax())
        raise DataError(f"weights hold {weights[row]} at {row}; they must be finite, at least 0 and not all 0.")


def _frozen(array: np.ndarray) -> np.ndarray:
    """An unaliased read-only array: a frozen dataclass must not change under its owner."""
    array = array.copy() if array.flags.writeable else array
    array.flags.writeable = False
    return array
