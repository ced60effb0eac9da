"""A view of one embedding in a small file: the neighbours of each object, and what changed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Literal, NotRequired

import numpy as np
from jaxtyping import Float, Int
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as record
from typing_extensions import TypedDict

from glocal.data.answers import Answers
from glocal.evaluation.change import pair_support
from glocal.evaluation.structure import neighbours
from glocal.files import PathLike, read_npz, reading, write_npz
from glocal.results import to_json
from glocal.similarity import Embedding, is_collapsed

_NEIGHBOURS = 10
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
    """The answers of `glocal.evaluation.change.flips`."""

    counts: dict[Literal["better", "worse", "right", "wrong"], float]
    better: list[list[int]]
    worse: list[list[int]]


class Change(TypedDict, total=False):
    """The record of `glocal.evaluation.change.change_record`."""

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
    neighbours: Int[np.ndarray, "n k"]
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
    nearest = neighbours(Z, min(_NEIGHBOURS, len(Z) - 1))
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
    text = to_json({"names": view.names, "meta": view.meta})
    arrays = {
        "text": np.array(text),
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
