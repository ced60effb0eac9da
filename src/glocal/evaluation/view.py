"""A view of one embedding in a small file: a map of the objects, and the neighbours of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from pydantic import BaseModel

from glocal.data.answers import Answers
from glocal.evaluation.change import pair_support
from glocal.evaluation.structure import neighbours
from glocal.files import PathLike, read_npz, reading, write_npz
from glocal.results import to_json
from glocal.similarity import Embedding, is_collapsed, one_point, unit_rows

_NEIGHBOURS = 10
_FIX = "Delete it and repeat the command that wrote it."


class _Axis(BaseModel):
    factor: float
    before: float
    after: float
    stability: float | None
    low: list[str]
    high: list[str]


class _Flips(BaseModel):
    counts: dict[Literal["better", "worse", "right", "wrong"], float]
    better: list[list[int]]
    worse: list[list[int]]


class _Change(BaseModel):
    """The part of the `meta` of a view that a page reads, checked because files are not trusted."""

    axes: list[_Axis] = []
    chance: float | None = None
    flips: _Flips | None = None
    confirmed: dict[Literal["lost", "gained"], tuple[float, float]] = {}
    heldout: bool | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """One embedding of n objects, for display beside a baseline.

    `positions` is the map of `object_map`, in float32. `neighbours` holds the nearest rows by
    cosine, nearest first. `meta` holds the network, the arm, whether the embedding is collapsed,
    notes that the page must show, and for a transform its ``change`` (see
    `glocal.evaluation.change.change_record`). `support` holds for each neighbour the number of
    answers that chose the pair and the number that could have; it is None without answers.
    """

    names: tuple[str, ...]
    categories: tuple[str, ...] | None
    positions: Float[np.ndarray, "n 2"]
    neighbours: Int[np.ndarray, "n k"]
    meta: dict[str, Any] = field(default_factory=dict)
    support: Float[np.ndarray, "n k 2"] | None = None


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
        meta={**(meta or {}), "collapsed": is_collapsed(Z)},
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
        "neighbours": view.neighbours.astype(np.uint32),
        "support": None if view.support is None else view.support.astype(np.float32),
    }
    write_npz(path, arrays)


def load_view(path: PathLike) -> View:
    """Read a view, or raise a FileError if it is missing or damaged."""
    required = ("text", "map", "neighbours")
    arrays = read_npz(path, what="view", fix=_FIX, required=required, optional=("support",))
    with reading(path, "view", _FIX):
        text = json.loads(str(arrays["text"]))
        categories = text["categories"]
        flips = _Change.model_validate(text["meta"].get("change", {})).flips
        for answer in [*flips.better, *flips.worse] if flips is not None else ():
            if not 0 <= min(answer) <= max(answer) < len(text["names"]):
                raise ValueError("an answer names an object that the view does not have")
        if not isinstance(text["meta"].get("notes") or [], list):
            raise ValueError("its notes are not a list")
        _check_arrays(arrays, len(text["names"]))
        if categories is not None and len(categories) != len(text["names"]):
            raise ValueError("its names and categories differ in number")
        return View(
            names=tuple(text["names"]),
            categories=None if categories is None else tuple(categories),
            positions=arrays["map"],
            neighbours=arrays["neighbours"].astype(np.int64),
            meta=text["meta"],
            support=arrays.get("support"),
        )


def _check_arrays(arrays: Mapping[str, np.ndarray], n: int) -> None:
    """Raise a ValueError if the arrays do not fit a view of n objects."""
    nearest = arrays["neighbours"]
    kinds = {"map": "f", "neighbours": "iu", "support": "f"}
    shapes = {"map": (n, 2), "neighbours": (n, *nearest.shape[1:2]), "support": (*nearest.shape, 2)}
    for name, array in arrays.items():
        if name in shapes and (array.shape != shapes[name] or array.dtype.kind not in kinds[name]):
            raise ValueError(f"its {name} has the shape {array.shape} and the type {array.dtype}")
    if nearest.ndim != 2 or not 0 <= nearest.min(initial=0) <= nearest.max(initial=0) < n:
        raise ValueError("a neighbour is not one of its objects")
