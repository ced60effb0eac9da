"""A view of one embedding in a small file: a map of the objects, and the neighbours of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Literal

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
from glocal.similarity import Embedding, is_collapsed, one_point, unit_rows

_NEIGHBOURS = 10
_FIX = "Delete it and repeat the command that wrote it."


class Axis(TypedDict):
    """An axis of `glocal.evaluation.change.axes`."""

    factor: float
    before: float
    after: float
    stability: float | None
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
    heldout: bool | None


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

    `positions` is the map of `object_map`, in float32. `neighbours` holds the nearest rows by
    cosine, nearest first. `support` holds for each neighbour the number of answers that chose the
    pair and the number that could have; it is None without answers. What a file holds is checked
    as what is made here.
    """

    names: tuple[str, ...]
    categories: tuple[str, ...] | None
    positions: Float[np.ndarray, "n 2"]
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
        parts = (self.categories, self.positions, self.neighbours, self.support)
        if {len(part) for part in parts if part is not None} != {n}:
            raise ValueError("its parts are of different numbers of objects")


def object_view(
    Z: Embedding,
    names: Sequence[str],
    *,
    categories: Sequence[str] | None = None,
    baseline: View | None = None,
    meta: Mapping[str, Any] | None = None,
    answers: Answers | None = None,
) -> View:
    """Return the map and the ten nearest neighbours of one embedding.

    The map is rotated to fit that of `baseline`. `answers` index the rows.

    >>> view = object_view(np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), ["cat", "dog", "car"])
    >>> [view.names[i] for i in view.neighbours[0]]
    ['dog', 'car']
    """
    nearest = neighbours(Z, min(_NEIGHBOURS, len(Z) - 1))
    positions = object_map(Z, None if baseline is None else baseline.positions)
    return View(
        names=tuple(names),
        categories=None if categories is None else tuple(categories),
        positions=positions.astype(np.float32),
        neighbours=nearest,
        meta=Meta({**(meta or {}), "collapsed": is_collapsed(Z)}),  # type: ignore[typeddict-item]
        support=None if answers is None else pair_support(nearest, answers),
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
    after = object_view(Z, names, baseline=before, meta=meta, answers=answers)
    return {"original": before, name: after}


def object_map(
    Z: Embedding, onto: Float[np.ndarray, "n 2"] | None = None
) -> Float[np.ndarray, "n 2"]:
    """Project the rows, scaled to length 1, onto their two leading principal axes.

    The root mean square distance from the centre is 1. If a map `onto` is given, the result is
    rotated and mirrored to fit it best (orthogonal Procrustes).
    """
    from scipy.linalg import orthogonal_procrustes
    from sklearn.decomposition import PCA

    rows = unit_rows(np.asarray(Z, dtype=np.float64))
    positions = np.zeros((len(Z), 2))
    if not one_point(rows):
        axes = min(2, *rows.shape)
        positions[:, :axes] = PCA(axes, random_state=0).fit_transform(rows)
        positions /= np.sqrt(np.square(positions).sum(axis=1).mean())
    if onto is None:
        return positions
    rotation, _ = orthogonal_procrustes(positions, onto.astype(np.float64))
    return positions @ rotation


def save_view(view: View, path: PathLike) -> None:
    """Write a view atomically, as a compressed ``.npz`` without pickles."""
    text = to_json({"names": view.names, "categories": view.categories, "meta": view.meta})
    arrays = {
        "text": np.array(text),
        "map": view.positions,
        "neighbours": view.neighbours.astype(np.int32),
        "support": None if view.support is None else view.support.astype(np.float32),
    }
    write_npz(path, arrays)


def load_view(path: PathLike) -> View:
    """Read a view, or raise a FileError if it is missing or damaged."""
    required = ("text", "map", "neighbours")
    arrays = read_npz(path, what="view", fix=_FIX, required=required, optional=("support",))
    with reading(path, "view", _FIX):
        return View(
            **json.loads(str(arrays["text"])),
            positions=arrays["map"],
            neighbours=arrays["neighbours"],
            support=arrays.get("support"),
        )
