"""People's answers: the pair that they found most similar among a few objects."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer, Shaped

from glocal.data.answer_arrays import (
    OF_ANSWERS,
    OF_CATCH_TRIALS,
    check_objects,
    checked_arrays,
    counted_from_0,
    frozen,
    import_line,
    integer_rows,
    odd_one_last,
    sorted_objects,
)
from glocal.data.answer_tables import read_answers
from glocal.data.features import as_matrix
from glocal.data.tables import has_titles, read_numbers
from glocal.errors import DataError, DataWarning, ParameterError, warn
from glocal.files import PathLike, ending, naming, read_npz, write_npy, write_npz
from glocal.similarity import (
    KINDS,
    Labels,
    Mask,
    Numbers,
    Objects,
    Pairs,
    Values,
    candidate_pairs,
)

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Answers:
    """Immutable answers of one kind, with 0-based object indices.

    In each answer, a person chose one of the candidate pairs of its objects.

    ==============  ====================================  =====================================
    kind            objects of a row                      candidate pairs, the chosen one first
    ==============  ====================================  =====================================
    odd-one-out     the pair, the odd one                 (0, 1), (0, 2), (1, 2)
    anchor          reference, the closer, the farther    (0, 1), (0, 2)
    nearest-of-n    reference, the nearest, n - 1 others  (0, 1), (0, 2), …, (0, n)
    ==============  ====================================  =====================================

    Arrays are copied unless they are read-only. `from_array` takes lists, tensors and data frames
    too, and other conventions.

    Parameters
    ----------
    objects : (t, m) integers
        m is 3, or any larger number for nearest-of-n. Stored as int32.
    weights : (t,) real numbers or None
        Finite, at least 0, not all 0, in any unit. Stored as float64. Means are weighted by them.
        None means the votes or, without votes, a weight of 1 for each answer.
    kind : str
        ``"odd-one-out"``, ``"anchor"``, ``"nearest-of-n"``, or a kind that was added to
        `glocal.similarity.KINDS`.
    votes : (t,) real numbers or None
        How many answers each row stands for, as `counts` of `from_array` state it: votes, or the
        shares of a soft answer, which sum to 1.
    person : (t,) integers or str, or None
        The person who gave each answer.
    seconds : (t,) real numbers or None
        The response time of each answer. Stored as float64.
    names : sequence of str or None
        The names of the objects that the answers index.
    catch_passed : (c,) bool or None
        Whether each catch trial was passed. A catch trial is a question with one right answer, such
        as two equal pictures and a different one, which the same people answered. Catch trials are
        not among the answers.
    catch_person : (c,) integers or str, or None
        The person who answered each catch trial.

    Raises
    ------
    DataError
        If the shape or type is wrong, the kind is unknown, an index is negative, an object repeats
        within an answer, or the weights are invalid.

    Examples
    --------
    >>> answers = Answers.from_array([[3, 1, 2], [2, 3, 1]], odd_column=0, base=1)
    >>> answers.objects.tolist()
    [[0, 1, 2], [2, 0, 1]]
    """

    objects: Integer[np.ndarray, "n m"]
    weights: Shaped[np.ndarray, " n"] | None = None
    _: KW_ONLY
    kind: str = "odd-one-out"
    votes: Shaped[np.ndarray, " n"] | None = None
    person: Labels | None = None
    seconds: Shaped[np.ndarray, " n"] | None = None
    names: Sequence[str] | None = None
    catch_passed: Bool[np.ndarray, " c"] | None = None
    catch_person: Shaped[np.ndarray, " c"] | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DataError(f"`kind` is {self.kind!r}; it must be {' or '.join(KINDS)}.")
        objects = integer_rows(self.objects)
        check_objects(objects, self.kind)
        fields = checked_arrays(len(objects), self._arrays())
        objects = np.require(objects, np.int32, "C")
        fields["objects"] = frozen(objects)
        if self.weights is None and "votes" in fields:
            fields["weights"] = fields["votes"]
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        if self.names is not None:
            names = tuple(map(str, self.names))
            object.__setattr__(self, "names", names)

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
        **details: Any,
    ) -> Answers:
        """Build answers from lists, tensors or data frames, and from indices of other conventions.

        Parameters
        ----------
        array : (t, m) integers
            Raw indices.
        odd_column : int
            0, 1 or 2: the column that holds the odd one out.
        base : int
            0 or 1: the index of the first object.
        order : (n,) integers or None
            A sort index. After `base` is subtracted, the object of raw index i is
            ``argsort(order)[i]``.
        counts : (t, k) numbers or None
            Votes for each of the k candidate pairs, in the order of `pairs`. A row becomes one
            answer for each pair with votes, weighted by the votes times the weight of the row. They
            do not go with `votes`.
        kind, **details
            The other arguments of `Answers`.

        Raises
        ------
        DataError
            As for `Answers`, and if the indices contradict a stated convention.
        """
        objects = as_matrix(array)
        objects = integer_rows(objects)
        objects = odd_one_last(objects, odd_column, kind)
        objects = counted_from_0(objects, base)
        arrays = {}
        for name, value in details.items():
            if value is not None:
                arrays[name] = as_matrix(value)
        names = None
        if "names" in arrays:
            names = arrays.pop("names").reshape(-1).tolist()
        answers = cls(objects, kind=kind, names=names, **arrays)
        if order is not None:
            objects_in_order = sorted_objects(as_matrix(order))
            answers.check_range(len(objects_in_order), what="the order", unit="objects")
            objects = objects_in_order[answers.objects]
            answers = replace(answers, objects=objects)
        if counts is None:
            return answers
        if answers.votes is not None:
            raise DataError(
                "`counts` and `votes` are given together; `counts` states the votes of each pair, "
                "so leave `votes` out."
            )
        votes_of_pairs = as_matrix(counts)
        return answers.with_votes(votes_of_pairs)

    @classmethod
    def load(cls, path: PathLike, *, names: Sequence[str] | None = None) -> Answers:
        """Read answers from ``.npz``, ``.npy``, a table, or text with one answer per line.

        The ``.npz`` holds ``answers`` (t, m) and optionally ``kind``, ``counts`` (t, candidate
        pairs), ``weights``, ``votes``, ``person``, ``seconds``, ``names``, ``catch_passed`` and
        ``catch_person``. A ``.npy`` or text of integers, separated by blanks, commas or semicolons,
        holds odd-one-out answers, counted from 0, the odd one last;
        `glocal.data.importing.import_answers` reads other conventions. A table, text with titles or
        JSON, is read by `glocal.data.answer_tables.read_answers`.

        Parameters
        ----------
        path : path
        names : sequence of str or None
            The objects in the order of their indices, if the file does not hold them.

        Raises
        ------
        FileError
            If the file is missing, unreadable or damaged.
        DataError
            If `Answers` does not allow the content; the message names the file.
        """
        is_archive = ending(path) == ".npz"
        if not is_archive and has_titles(path):
            table, dropped = read_answers(path, names=names)
            arguments = table._asdict()
            dropped.pop("catch trial", None)  # which the answers count themselves
            for reason, n in dropped.items():
                warn(f"{path}: left out {n} × {reason}.", DataWarning)
        elif is_archive:
            arguments = {"names": names} | read_archive(path)
        else:
            numbers = read_numbers(path, what="answers")
            arguments = {"names": names, "array": numbers}
        with naming(path):
            answers = cls.from_array(**arguments)
        _LOG.info("read %s: %d answers", path, len(answers))
        return answers

    def save(self, path: PathLike, *, provenance: Mapping[str, object] | None = None) -> None:
        """Atomically write all fields to ``.npz``, or only the 0-based objects to ``.npy``.

        `provenance` describes the origin of the answers. An ``.npz`` stores it under this name, as
        a JSON text.

        Raises
        ------
        ParameterError
            If the path has another extension.
        """
        extension = ending(path)
        if extension == ".npz":
            members = self.members()
            if provenance is not None:
                text = json.dumps(provenance)
                members["provenance"] = np.array(text)
            write_npz(path, members)
        elif extension == ".npy":
            write_npy(path, self.objects)
        else:
            raise ParameterError(
                f"answers cannot be saved as {path}: it must end in .npz, or in .npy for the "
                "objects alone."
            )

    def members(self) -> dict[str, np.ndarray]:
        """The arrays of an ``.npz`` of answers, by name."""
        members = self._arrays()
        members["answers"] = self.objects
        members["kind"] = np.array(self.kind)
        if self.names is not None:
            members["names"] = np.array(self.names)
        return members

    def _arrays(self) -> dict[str, np.ndarray]:
        """The arrays beside the objects, by name, unless they are None."""
        arrays = {}
        for name in OF_ANSWERS | OF_CATCH_TRIALS:
            array = getattr(self, name)
            if array is not None:
                arrays[name] = array
        return arrays

    def __len__(self) -> int:
        return len(self.objects)

    def __repr__(self) -> str:
        weighted = "" if self.weights is None else ", weighted"
        return f"Answers({len(self)} {self.kind}{weighted})"

    @property
    def pairs(self) -> Pairs:
        """The k candidate pairs of every answer as columns of `objects`, the chosen one first."""
        return candidate_pairs(self.kind, self.objects.shape[1])

    @property
    def chance(self) -> float:
        """The agreement of a random choice: 1/k."""
        k = len(self.pairs)
        return 1 / k

    @property
    def chance_loss(self) -> float:
        """The loss of equal similarities, log k, in nats."""
        k = len(self.pairs)
        return float(np.log(k))

    @property
    def n_people(self) -> int | None:
        """The number of different people, or None if they are not known."""
        if self.person is None:
            return None
        people = set(self.person.tolist())
        return len(people)

    @property
    def all_weights(self) -> Values:
        """The weights in units of answers, so that they sum to `effective_size`."""
        n = len(self)
        if self.weights is None or not n:
            return np.ones(n)
        weights = self.weights / self.weights.mean()
        weights *= self.effective_size / n
        return weights

    @property
    def effective_size(self) -> float:
        """How many answers these are: the sum of the votes, else Kish's (Σ w)² / Σ w²."""
        n = len(self)
        if self.weights is None or not n:
            return float(n)
        if self.votes is not None:
            return float(self.votes.sum())
        w = self.weights / self.weights.mean()
        sum_of_squares = w @ w
        return float(n**2 / sum_of_squares)

    def named_objects(self) -> Numbers:
        """The sorted indices of the objects that the answers name."""
        largest = int(self.objects.max(initial=-1))
        is_named = np.zeros(largest + 1, dtype=bool)
        is_named[self.objects] = True
        return np.flatnonzero(is_named)

    def with_choice(self, j: int) -> Objects:
        """The objects, reordered so that candidate pair j is the chosen pair."""
        pair = list(self.pairs[j])
        m = self.objects.shape[1]
        others = [column for column in range(m) if column not in pair]
        return self.objects[:, pair + others]

    def with_votes(self, counts: Shaped[np.ndarray, "n k"]) -> Answers:
        """Return an answer for each candidate pair j with votes, weighted by ``counts[:, j]``."""
        k = len(self.pairs)
        has_shape = counts.shape == (len(self), k)
        are_numbers = counts.dtype.kind in "fiub"
        if not (has_shape and are_numbers):
            raise DataError(
                f"counts have shape {counts.shape} and hold {counts.dtype}; {len(self)} answers "
                f"need {k} numbers of votes each, one for each candidate pair. If they are votes "
                "for two alternatives to a reference, convert the file: "
                f"{import_line('--kind anchor')} (in Python, pass kind='anchor')."
            )
        counts = counts.astype(np.float64)
        weights = counts
        if self.weights is not None:
            weights = counts * self.weights[:, None]
        rows, pairs = np.nonzero(weights)
        by_choice = [self.with_choice(j) for j in range(k)]
        answers = self.select(rows)
        return replace(
            answers,
            objects=np.stack(by_choice, axis=1)[rows, pairs],
            weights=weights[rows, pairs],
            votes=counts[rows, pairs],
        )

    def inside(self, objects: Bool[np.ndarray, " k"]) -> tuple[Mask, Mask]:
        """The masks of answers that name none of these objects, and that name no others."""
        m = self.objects.shape[1]
        count = objects[self.objects].sum(axis=1)
        are_outside = count == 0
        are_inside = count == m
        return are_outside, are_inside

    def check_range(
        self, n: int, *, what: str = "features", unit: str = "rows", hint: str = ""
    ) -> None:
        """Raise a DataError, which may end in a `hint`, if an object is outside 0..n-1."""
        largest = int(self.objects.max(initial=-1))
        if largest < n:
            return
        smallest = int(self.objects.min())
        if largest == n and smallest >= 1:
            hint = f" Is the file 1-based? Convert it: {import_line('--base 1')}."
        elif not hint:
            hint = " If the answers index another list of objects, name it with `object_ids`."
        raise DataError(
            f"answers name object {largest} but {what} has {n} {unit} (valid 0..{n - 1}).{hint}"
        )

    def select(self, keep: Shaped[np.ndarray, " k"]) -> Answers:
        """Select answers by a mask or by row numbers; object numbers do not change."""
        arrays = self._arrays()
        selected = {name: arrays[name][keep] for name in OF_ANSWERS if name in arrays}
        objects = self.objects[keep]
        return replace(self, objects=objects, **selected)

    def relabel(self, new_index: Numbers) -> Answers:
        """Map object i to ``new_index[i]``, and drop `names`.

        Answers with an object that is mapped to -1 are left out.
        """
        index = new_index.astype(np.int32)
        objects = index[self.objects]
        smallest = objects.min(initial=0)
        if smallest >= 0:
            return replace(self, objects=objects, names=None)
        keep = (objects >= 0).all(axis=1)
        answers = self.select(keep)
        return replace(answers, objects=objects[keep], names=None)


def read_archive(path: PathLike) -> dict[str, np.ndarray | str]:
    """The arguments of `Answers.from_array` in an ``.npz``."""
    fix = "Write it with Answers.save, or numpy.savez(path, answers=…, kind=…)."
    optional = ("kind", "counts", "names", *OF_ANSWERS, *OF_CATCH_TRIALS)
    arrays = read_npz(path, what="answers", fix=fix, required=("answers",), optional=optional)
    objects = arrays.pop("answers")
    arguments: dict[str, np.ndarray | str] = {"array": objects, **arrays}
    if "kind" in arrays:
        kind = arrays["kind"]
        arguments["kind"] = str(kind)
    return arguments
