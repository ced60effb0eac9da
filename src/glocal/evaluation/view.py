"""What a page shows of an embedding: neighbours, what a transform changed, and the file of both."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NotRequired

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as record
from typing_extensions import TypedDict

from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.evaluation.agreement import numbered_pairs, pair_counts, pair_keys
from glocal.evaluation.axes import axes
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
_OUTCOMES = ("wrong", "better", "worse", "right")  # wrong before and after, right after, …
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

    counts: dict[Literal["better", "worse", "right", "wrong"], float]
    better: list[list[int]]
    worse: list[list[int]]


class Change(TypedDict, total=False):
    """The record of `change_record`."""

    axes: list[Axis]
    chance: float | None
    flips: Flips
    confirmed: dict[Literal["lost", "gained"], tuple[float, float]]
    is_unseen: bool | None


class Meta(TypedDict, total=False):
    """What a view is of, and what its transform changed."""

    network: str
    arm: str
    key: str
    collapsed: bool
    change: Change


@record(frozen=True, eq=False, kw_only=True, config=ConfigDict(arbitrary_types_allowed=True))
class View:
    """One embedding of n objects, for display beside a baseline.

    `neighbours` holds the nearest rows by cosine, nearest first. `support` holds for each neighbour
    the number of answers that chose the pair and the number that could have; it is None without
    answers. What a file holds is checked as what is made here.
    """

    names: tuple[str, ...]
    neighbours: Neighbours
    meta: Meta = field(default_factory=Meta)
    support: Float[np.ndarray, "n k 2"] | None = None

    def __post_init__(self) -> None:
        n = len(self.names)
        rows = self.neighbours.tolist()
        if (flips := self.meta.get("change", {}).get("flips")) is not None:
            rows += [*flips["better"], *flips["worse"]]
        if any(not 0 <= index < n for row in rows for index in row):
            raise ValueError("it names an object that it does not have")
        parts = (self.neighbours, self.support)
        if {len(part) for part in parts if part is not None} != {n}:
            raise ValueError("its parts are of different numbers of objects")


def object_view(
    Z: Embedding,
    names: Sequence[str],
    *,
    meta: Mapping[str, Any] | None = None,
    answers: Answers | None = None,
) -> View:
    """Return the ten nearest neighbours in one embedding, whose rows `answers` index.

    >>> view = object_view(np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), ["cat", "dog", "car"])
    >>> [view.names[i] for i in view.neighbours[0]]
    ['dog', 'car']
    """
    nearest = neighbours(Z, min(SHOWN_NEIGHBOURS, len(Z) - 1))
    pairs = np.stack(np.broadcast_arrays(np.arange(len(Z))[:, None], nearest), axis=-1)
    return View(
        names=tuple(names),
        neighbours=nearest,
        meta=Meta({**(meta or {}), "collapsed": is_collapsed(Z)}),  # type: ignore[typeddict-item]
        support=None if answers is None else pair_support(pairs, answers),
    )


def paired_views(
    X: Embedding,
    Z: Embedding,
    names: Sequence[str],
    *,
    name: str,
    change: Mapping[str, Any],
    answers: Answers | None,
) -> dict[str, View]:
    """The views of objects before and after the transform `name`, with its `change` record."""
    before = object_view(X, names, meta={"arm": "original"}, answers=answers)
    meta = {"arm": name, "change": change}
    after = object_view(Z, names, meta=meta, answers=answers)
    return {"original": before, name: after}


def save_view(view: View, path: PathLike) -> None:
    """Write a view atomically, as a compressed ``.npz`` without pickles."""
    arrays = {
        "text": np.array(to_json({"names": view.names, "meta": view.meta})),
        "neighbours": view.neighbours.astype(np.int32),
        "support": None if view.support is None else view.support.astype(np.float32),
    }
    write_npz(path, arrays)


def load_view(path: PathLike) -> View:
    """Read a view, or raise a FileError if it is missing or damaged."""
    required = ("text", "neighbours")
    arrays = read_npz(path, what="view", fix=_FIX, required=required, optional=("support",))
    with reading(path, "view", _FIX):
        return View(
            **json.loads(str(arrays["text"])),
            neighbours=arrays["neighbours"],
            support=arrays.get("support"),
        )


def pair_support(
    pairs: Int[np.ndarray, "*shape 2"], answers: Answers
) -> Float[np.ndarray, "*shape 2"]:
    """Count the answers that chose each pair of objects, and those that could have.

    Answers count by their weights.
    """
    import pandas as pd

    keys, number = numbered_pairs(answers)
    counts = pd.DataFrame(pair_counts(number, answers.all_weights), index=keys)
    support = counts.reindex(pair_keys(pairs).ravel(), fill_value=0.0)
    return support.to_numpy(np.float64).reshape(pairs.shape)


def change_record(
    transform: LinearTransform | None,
    features: Features,
    X: Embedding,
    parts: Sequence[Part],
    *,
    folds: Sequence[LinearTransform] = (),
    is_unseen: bool | None,
) -> dict[str, Any]:
    """The change record of a transform, as JSON values.

    Without a transform it has no axes, and without parts no flips and no confirmed pairs.

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
    changes: dict[str, Any] = {}
    if transform is not None:
        table = axes(transform, features, folds=folds)
        changes |= {"axes": table.to_dict("records"), "chance": table.attrs["chance"]}
    if parts:
        changes |= {
            "flips": flips(X, parts),
            "confirmed": confirmed(X, parts),
            "is_unseen": is_unseen,
        }
    return changes


def confirmed(
    X: Embedding, parts: Sequence[Part], k: int = SHOWN_NEIGHBOURS
) -> dict[str, list[float]]:
    """Count the answers that confirm pairs of neighbours that a transform loses or gains.

    ``lost`` pairs are neighbours only before the transform, ``gained`` pairs only after. Each entry
    is [answers that chose such a pair, answers that could have], and each pair counts once.
    Neighbours are the k nearest among the objects that the answers of a part name.
    """
    totals = {"lost": np.zeros(2), "gained": np.zeros(2)}
    for Z, answers in parts:
        named = answers.named_objects()
        before, after = (neighbours(rows[named], min(k, len(named) - 1)) for rows in (X, Z))
        for name, nearest, others in (("lost", before, after), ("gained", after, before)):
            rows, places = np.nonzero(~is_among(nearest, others))
            pairs = named[np.stack([rows, nearest[rows, places]], axis=1)]
            pairs = np.unique(np.sort(pairs, axis=1), axis=0)
            totals[name] += pair_support(pairs, answers).sum(axis=0)
    return {name: total.tolist() for name, total in totals.items()}


def is_among(neighbours: Neighbours, others: Neighbours) -> Bool[np.ndarray, "n k"]:
    """Whether each neighbour of an object is also one of its `others`."""
    return (neighbours[:, :, None] == others[:, None, :]).any(axis=2)


def flips(X: Embedding, parts: Sequence[Part]) -> dict[str, Any]:
    """Count the answers that became right or wrong, and list the clearest of them.

    Returns
    -------
    dict
        ``counts`` holds the weights of the answers that became right (``better``) or wrong
        (``worse``), or were ``right`` or ``wrong`` both times. ``better`` and ``worse`` list the
        objects of the four clearest answers, the chosen pair first: those whose smaller margin,
        before or after, is the largest. Listed answers share no object.
    """
    columns = [
        np.stack([_margins(X, answers), _margins(Z, answers), answers.all_weights])
        for Z, answers in parts
    ]
    before, after, weights = np.concatenate(columns, axis=1)
    objects = np.concatenate([answers.objects for _, answers in parts])
    outcomes = np.array(_OUTCOMES)[2 * (before > 0) + (after > 0)]
    counts = {name: float(weights[outcomes == name].sum()) for name in _OUTCOMES}
    order = np.argsort(-np.minimum(np.abs(before), np.abs(after)), kind="stable")
    examples = {}
    for name in ("better", "worse"):
        clearest = objects[order[outcomes[order] == name]]
        examples[name] = list(islice(_without_repetition(clearest), _SHOWN_FLIPS))
    return {"counts": counts, **examples}


def _margins(Z: Rows, answers: Answers) -> Values:
    """The margin of the chosen pair over the most similar other pair; at most 0 for a tie."""
    S = of_pairs(Z, answers.objects, answers.pairs)
    return S[:, 0] - S[:, 1:].max(axis=1) - pair_tolerance(Z)


def _without_repetition(answers: Objects) -> Iterator[list[int]]:
    """Yield the objects of each answer that shares none with the answers yielded before."""
    shown: set[int] = set()
    for answer in map(np.ndarray.tolist, answers):
        if shown.isdisjoint(answer):
            shown.update(answer)
            yield answer
