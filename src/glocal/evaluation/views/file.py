"""Views as files: compressed ``.npz`` without pickled objects."""

from __future__ import annotations

from typing import Any

import numpy as np

from glocal.data.container import DAMAGE
from glocal.data.npz import read_npz
from glocal.errors import FileError
from glocal.evaluation.views.view import Axes, Matrix, View
from glocal.files import PathLike, atomic_write, one_line
from glocal.files.documents import parse_json
from glocal.records import to_json

FORMAT = 1
_REQUIRED = ("text", "map", "neighbours", "gained", "lost", "order", "rdm", "rdm_range")
_OPTIONAL = ("people", "people_range")
_AXES = ("singular_values", "gains", "share_before", "share_after")


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
        arrays |= {name: value.astype(np.float32) for name, value in vars(view.axes).items()}
    with atomic_write(path) as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def load_view(path: PathLike) -> View:
    """Read a view.

    Raises
    ------
    FileError
        Missing, damaged, of a later format, or not a view.
    """
    fix = "Delete it and run again what wrote it."
    arrays = read_npz(path, what="view", fix=fix, required=_REQUIRED, optional=(*_OPTIONAL, *_AXES))
    try:
        text = parse_json(str(arrays["text"]))
        if text["format"] > FORMAT:
            raise FileError(
                f"view file {path} is of format {text['format']}; this version reads up to {FORMAT}. Upgrade glocal."
            )
        return _view(arrays, text)
    except FileError:
        raise
    except DAMAGE as error:
        raise FileError(f"view file {path} is damaged ({one_line(error)[:160]}). {fix}") from error


def _view(arrays: dict[str, np.ndarray], text: dict[str, Any]) -> View:
    def matrix(name: str) -> Matrix:
        return Matrix(arrays[name], *map(float, arrays[f"{name}_range"]))

    whole = {name: arrays[name].astype(np.int64) for name in ("neighbours", "gained", "lost", "order")}
    return View(
        names=tuple(text["names"]), categories=None if text["categories"] is None else tuple(text["categories"]),
        positions=arrays["map"], rdm=matrix("rdm"), people=matrix("people") if "people" in arrays else None,
        axes=Axes(*(arrays[name] for name in _AXES)) if _AXES[0] in arrays else None, meta=text["meta"], **whole,
    )  # fmt: skip
