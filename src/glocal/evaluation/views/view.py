"""`View`, all that a page shows of one embedding of the objects, and its file: compressed ``.npz`` without pickles."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from glocal.arrays import read_npz
from glocal.errors import FileError
from glocal.evaluation.structure.spectrum import Spectrum
from glocal.files import PathLike, atomic_write, reading
from glocal.results import to_json

UNKNOWN = 255  # of an 8-bit matrix: nobody was asked
FORMAT = 1
_REQUIRED = ("text", "map", "neighbours", "gained", "lost", "order", "rdm", "rdm_range")
_OPTIONAL = ("people", "people_range")
_AXES = ("singular_values", "gains", "share_before", "share_after")


@dataclass(frozen=True, eq=False)
class Matrix:
    """Dissimilarities in 8 bits: 0 … 254 are `low` … `high`, 255 is unknown; objects in order, averaged in groups."""

    cells: UInt8[np.ndarray, "m m"]
    low: float
    high: float

    def values(self) -> Float[np.ndarray, "m m"]:
        """The dissimilarities, to 1/254 of their range; NaN where unknown."""
        return np.where(self.cells == UNKNOWN, np.nan, self.low + self.cells / 254 * (self.high - self.low))


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """One embedding of n objects, to be looked at beside a baseline.

    Parameters
    ----------
    names, categories : tuple of n str
        Categories are None if none were given.
    positions : (n, 2) float32
        The map, root mean square distance 1 from its middle; turned so that it fits the baseline's best.
    neighbours : (n, k) int
        Nearest first, by cosine.
    gained, lost : (g, 3) and (l, 3) int
        Answers (pair found most similar, odd one) that the baseline has wrong and this embedding right, and the
        reverse; those with the largest shift of margin first, at most 1000.
    order : (n,) int
        Objects in the order of the matrices: by category, inside it by likeness in the baseline.
    rdm, people : Matrix
        1 - cosine; and the share of people's answers about a pair that found another pair more alike (None: not
        computed).
    axes : Spectrum or None
        None without a transform.
    meta : dict
        network, arm, baseline, how many answers flipped out of how many and of which split, collapsed, notes.
    """

    names: tuple[str, ...]
    categories: tuple[str, ...] | None
    positions: Float[np.ndarray, "n 2"]
    neighbours: Int[np.ndarray, "n k"]
    gained: Int[np.ndarray, "g 3"]
    lost: Int[np.ndarray, "l 3"]
    order: Int[np.ndarray, " n"]
    rdm: Matrix
    people: Matrix | None = None
    axes: Spectrum | None = None
    meta: dict[str, Any] = field(default_factory=dict)


def save_view(view: View, path: PathLike) -> None:
    """Write a view atomically."""
    index = np.uint16 if len(view.names) < 1 << 16 else np.uint32
    text = {"format": FORMAT, "names": view.names, "categories": view.categories, "meta": view.meta}
    arrays: dict[str, np.ndarray] = {
        "text": np.array(to_json(text)), "map": view.positions.astype(np.float32),
        "neighbours": view.neighbours.astype(index), "gained": view.gained.astype(index),
        "lost": view.lost.astype(index), "order": view.order.astype(index),
    }  # fmt: skip
    for name, matrix in (("rdm", view.rdm), ("people", view.people)):
        if matrix is not None:
            arrays |= {name: matrix.cells, f"{name}_range": np.array([matrix.low, matrix.high])}
    if view.axes is not None:
        arrays |= {name: getattr(view.axes, name).astype(np.float32) for name in _AXES}
    with atomic_write(path) as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def load_view(path: PathLike) -> View:
    """Read a view."""
    fix = "Delete it and run again what wrote it."
    arrays = read_npz(path, what="view", fix=fix, required=_REQUIRED, optional=(*_OPTIONAL, *_AXES))
    with reading(path, "view", fix):
        text = json.loads(str(arrays["text"]))
        if text["format"] > FORMAT:
            raise FileError(
                f"view file {path} is of format {text['format']}; this version reads up to {FORMAT}. Upgrade glocal."
            )
        return _view(arrays, text)


def _view(arrays: dict[str, np.ndarray], text: dict[str, Any]) -> View:
    def matrix(name: str) -> Matrix:
        return Matrix(arrays[name], *map(float, arrays[f"{name}_range"]))

    whole = {name: arrays[name].astype(np.int64) for name in ("neighbours", "gained", "lost", "order")}
    return View(
        names=tuple(text["names"]), categories=None if text["categories"] is None else tuple(text["categories"]),
        positions=arrays["map"], rdm=matrix("rdm"), people=matrix("people") if "people" in arrays else None,
        axes=Spectrum(*(arrays[name] for name in _AXES)) if _AXES[0] in arrays else None, meta=text["meta"], **whole,
    )  # fmt: skip
