"""What a page shows of an embedding: neighbours, what a transform changed, and the file of both."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import field
from itertools import islice
from typing import TYPE_CHECKING, Literal, NotRequired, get_args

import numpy as np
from jaxtyping import Bool
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as record
from typing_extensions import TypedDict

from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.evaluation.axes import FoldTransform, axes
from glocal.evaluation.structure import Neighbours, neighbours
from glocal.files import PathLike, read_npz, reading, write_npz
from glocal.results import to_json
from glocal.similarity import (
    Embedding,
    Objects,
    Rows,
    Values,
    is_collapsed,
    of_pairs,
    pair_tolerance,
)

if TYPE_CHECKING:
    from glocal.transform import LinearTransform

Part = tuple[Embedding, Answers]
"""An embedding Z of all objects, and the answers that are compared with it."""
SHOWN_NEIGHBOURS = 10
_SHOWN_FLIPS = 4
Outcome = Literal["wrong", "better", "worse", "right"]
_OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)  # wrong before and after, right after, …
_FIX = "Delete it and repeat the command that wrote it."


class Axis(TypedDict):
    """An axis of `glocal.evaluation.axes.axes`."""

    factor: float
    before: float
    after: float
    stability: NotRequired[float | None]
    low: list[str]
    high: list[str]


class Flips(TypedDict):
    """The answers of `flips`."""

    counts: dict[Outcome, float]
    better: list[list[int]]
    worse: list[list[int]]


class Change(TypedDict, total=False):
    """What a transform changes."""

    axes: list[Axis]
    chance: float | None
    flips: Flips
    is_unseen: bool | None


class Meta(TypedDict, total=False):
    """The network and the arm of a view, and what its transform changed."""

    network: str
    arm: str
    key: str
    collapsed: bool
    change: Change


@record(frozen=True, eq=False, kw_only=True, config=ConfigDict(arbitrary_types_allowed=True))
class View:
    """One embedding of n objects, for display beside a baseline.

    `neighbours` holds the nearest rows by cosine, nearest first. A file is checked like a view that
    is made here.
    """

    names: tuple[str, ...]
    neighbours: Neighbours
    meta: Meta = field(default_factory=Meta)

    def __post_init__(self) -> None:
        n = len(self.names)
        if len(self.neighbours) != n:
            raise ValueError("its names and neighbours are of different numbers of objects")
        rows = self.neighbours.tolist()
        flips = self.meta.get("change", {}).get("flips")
        if flips is not None:
            rows += flips["better"] + flips["worse"]
        for row in rows:
            if any(not 0 <= index < n for index in row):
                raise ValueError("it names an object that it does not have")


def object_view(Z: Embedding, names: Sequence[str], *, meta: Meta | None = None) -> View:
    """Return the ten nearest neighbours in one embedding.

    >>> view = object_view(np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), ["cat", "dog", "car"])
    >>> [view.names[i] for i in view.neighbours[0]]
    ['dog', 'car']
    """
    k = min(SHOWN_NEIGHBOURS, len(Z) - 1)
    details = meta or {}
    return View(
        names=tuple(names),
        neighbours=neighbours(Z, k),
        meta=Meta(**details, collapsed=is_collapsed(Z)),
    )


def paired_views(
    X: Embedding,
    Z: Embedding,
    names: Sequence[str],
    *,
    name: str,
    change: Change,
) -> dict[str, View]:
    """The views of objects before and after the transform `name`, with its `change` record."""
    original_meta = Meta(arm="original")
    transformed_meta = Meta(arm=name, change=change)
    return {
        "original": object_view(X, names, meta=original_meta),
        name: object_view(Z, names, meta=transformed_meta),
    }


def save_view(view: View, path: PathLike) -> None:
    """Write a view atomically, as a compressed ``.npz`` without pickles."""
    text = to_json({"names": view.names, "meta": view.meta})
    arrays = {
        "text": np.array(text),
        "neighbours": view.neighbours.astype(np.int32),
    }
    write_npz(path, arrays)


def load_view(path: PathLike) -> View:
    """Read a view, or raise a FileError if it is missing or damaged."""
    arrays = read_npz(
        path,
        what="view",
        fix=_FIX,
        required=("text", "neighbours"),
    )
    with reading(path, "view", _FIX):
        fields = json.loads(str(arrays["text"]))
        return View(**fields, neighbours=arrays["neighbours"])


def change_record(
    transform: LinearTransform | None,
    features: Features,
    X: Embedding,
    parts: Sequence[Part],
    *,
    folds: Sequence[FoldTransform] = (),
    is_unseen: bool | None,
) -> Change:
    """What a transform changes.

    Without a transform it has no axes, and without parts no flips.

    Parameters
    ----------
    transform, features, folds
        As in `axes`.
    X : (n, p) array
        The features of all objects before the transform.
    parts : sequence of Part
    is_unseen : bool or None
        Whether the fits had not seen the answers of the parts; None if that is not known.
    """
    change = Change()
    if transform is not None:
        table = axes(transform, features, folds=folds)
        change["axes"] = table.to_dict("records")
        change["chance"] = table.attrs["chance"]
    if parts:
        change["flips"] = flips(X, parts)
        change["is_unseen"] = is_unseen
    return change


def is_among(neighbours: Neighbours, others: Neighbours) -> Bool[np.ndarray, "n k"]:
    """Whether each neighbour of an object is also one of its `others`."""
    is_equal = neighbours[:, :, None] == others[:, None, :]
    return is_equal.any(axis=2)


def flips(X: Embedding, parts: Sequence[Part]) -> Flips:
    """Count the answers that became right or wrong, and list the clearest of them.

    Returns
    -------
    Flips
        ``counts`` holds the weights of the answers that became right (``better``) or wrong
        (``worse``), or were ``right`` or ``wrong`` both times. ``better`` and ``worse`` list the
        objects of the four clearest answers, the chosen pair first: those whose smaller margin,
        before or after, is the largest. Listed answers share no object.
    """
    before = np.concatenate([_margins(X, answers) for _, answers in parts])
    after = np.concatenate([_margins(Z, answers) for Z, answers in parts])
    weights = np.concatenate([answers.all_weights for _, answers in parts])
    objects = np.concatenate([answers.objects for _, answers in parts])
    outcome_numbers = 2 * (before > 0) + (after > 0)
    outcomes = np.array(_OUTCOMES)[outcome_numbers]
    counts: dict[Outcome, float] = {}
    for name in _OUTCOMES:
        weights_of_outcome = weights[outcomes == name]
        counts[name] = float(weights_of_outcome.sum())
    smaller_margins = np.minimum(np.abs(before), np.abs(after))
    order = np.argsort(-smaller_margins, kind="stable")
    ordered_outcomes = outcomes[order]
    return Flips(
        counts=counts,
        better=_first_answers(objects[order[ordered_outcomes == "better"]]),
        worse=_first_answers(objects[order[ordered_outcomes == "worse"]]),
    )


def _first_answers(answers: Objects) -> list[list[int]]:
    """The first answers that share no object, as many as are shown."""
    distinct_answers = _without_repetition(answers)
    return list(islice(distinct_answers, _SHOWN_FLIPS))


def _margins(Z: Rows, answers: Answers) -> Values:
    """The margin of the chosen pair over the most similar other pair; at most 0 for a tie."""
    S = of_pairs(Z, answers.objects, answers.pairs)
    chosen = S[:, 0]
    most_similar_other = S[:, 1:].max(axis=1)
    return chosen - most_similar_other - pair_tolerance(Z)


def _without_repetition(answers: Objects) -> Iterator[list[int]]:
    """Yield the objects of each answer that shares none with the answers yielded before."""
    shown: set[int] = set()
    for answer in map(np.ndarray.tolist, answers):
        if shown.isdisjoint(answer):
            shown.update(answer)
            yield answer
