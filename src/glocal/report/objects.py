"""Views as the page carries them: numbers in base64, matrices as 8-bit pictures, categories with few colours."""

from __future__ import annotations

import base64
import io
import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from glocal.evaluation.views import View
from glocal.evaluation.views.view import Matrix
from glocal.extras import needed
from glocal.report.captions import gain_title, map_caption, map_title, matrix_caption, matrix_title, share_title
from glocal.report.loading import Run
from glocal.report.palette import CATEGORIES, VIRIDIS
from glocal.report.thumbnails import Thumbnails

_OTHER = "other"
_LABELLED = 0.03  # of the side of a matrix: the room that a label needs


def object_data(run: Run, thumbnails: Thumbnails | None = None) -> dict[str, Any]:
    """All views as JSON values, the categories that have a colour of their own (the largest ten), and the pictures.

    `others` says whether an object has another category or none; `pictures` are shared by all networks.
    """
    pictures = {} if thumbnails is None else thumbnails.pictures
    places = {name: place for place, name in enumerate(pictures)}
    seen = [name for arms in run.views.values() for name in next(iter(arms.values())).categories or (_OTHER,)]
    named = coloured(seen)
    return {
        "coloured": named,
        "others": not set(seen) <= set(named),
        "pictures": list(pictures.values()),
        "networks": [_network(network, list(arms.values()), places, named) for network, arms in run.views.items()],
    }


def coloured(categories: Iterable[str]) -> list[str]:
    """The categories that have a colour of their own: the largest ten, by name."""
    counts = Counter(category for category in categories if category not in ("", _OTHER))
    return sorted(category for category, _ in counts.most_common(len(CATEGORIES)))


def _network(name: str, views: Sequence[View], pictures: Mapping[str, int], named: Collection[str]) -> dict[str, Any]:
    first = views[0]
    return {
        "name": name, "names": _distinct(first.names), "categories": first.categories,
        "people": None if first.people is None else picture(first.people), "bands": category_bands(first),
        "pictures": [pictures.get(object_, -1) for object_ in first.names] if pictures else None,
        "arms": [_arm(view, first) for view in views if view.names == first.names],
        "captions": {
            "map-caption": map_caption(first, coloured=bool(named)) + " Rings: the nearest neighbours of the object "
            "looked for." + (" A click on a category shows it alone." if named else ""),
            "matrix-caption": matrix_caption(first),
        },
    }  # fmt: skip


def _arm(view: View, first: View) -> dict[str, Any]:
    largest = float(np.abs(view.positions).max()) or 1.0
    meta = view.meta
    axes, titles = None, {"map-title": map_title(first, view), "matrix-title": matrix_title(first, view)}
    if view.axes is not None:
        titles |= {"gain-title": gain_title(view.axes), "share-title": share_title(view.axes)}
        values = (view.axes.gains, view.axes.share_before, view.axes.share_after)
        axes = [[float(f"{value:.4g}") for value in array.tolist()] for array in values]
    positions = _packed(view.positions / largest * 32767, "<i2")
    return {
        "name": str(meta.get("arm", "")), "split": meta.get("split"), "n_answers": meta.get("n_answers", 0),
        "n_gained": meta.get("n_gained", 0), "n_lost": meta.get("n_lost", 0), "difference": meta.get("difference"),
        "map": {"scale": largest / 32767, "values": positions}, "titles": titles,
        "k": view.neighbours.shape[1], "wide": len(view.names) > 1 << 16,
        "neighbours": _packed(view.neighbours, "<u4" if len(view.names) > 1 << 16 else "<u2"),
        "gained": view.gained.tolist(), "lost": view.lost.tolist(), "rdm": picture(view.rdm), "axes": axes,
    }  # fmt: skip


def picture(matrix: Matrix) -> dict[str, Any]:
    """A matrix as a PNG in a data URI, dark is alike and bright is not, grey is unknown; with its range and size."""
    Image = needed("PIL.Image", "a report", extra="report")
    stops = np.array([[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in VIRIDIS])
    steps = np.linspace(0, len(VIRIDIS) - 1, 255)
    colours = np.stack([np.interp(steps, np.arange(len(VIRIDIS)), channel) for channel in stops.T], axis=1).round()
    image = Image.fromarray(np.ascontiguousarray(matrix.cells))
    image.putpalette(np.vstack([colours, [[127, 127, 127]]]).astype(np.uint8).tobytes())
    drawn = io.BytesIO()
    image.save(drawn, format="PNG", optimize=True)
    return {
        "url": "data:image/png;base64," + base64.b64encode(drawn.getvalue()).decode(),
        "low": matrix.low, "high": matrix.high, "cells": len(matrix.cells),
    }  # fmt: skip


def category_bands(view: View) -> list[list[Any]]:
    """Where each category lies along a matrix: [name, from, to] as fractions, those with room for a label."""
    if view.categories is None:
        return []
    ordered = np.array(view.categories)[view.order]
    starts = np.concatenate([[0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1, [len(ordered)]])
    bands = [[str(ordered[a]), a / len(ordered), b / len(ordered)] for a, b in itertools.pairwise(starts)]
    return [band for band in bands if band[2] - band[1] >= _LABELLED]


def _distinct(names: Sequence[str]) -> list[str]:
    """Names by which an object can be found: those that occur again have their row behind them."""
    seen: set[str] = set()
    found = []
    for row, name in enumerate(names):
        found.append(f"{name} (row {row})" if name in seen else name)
        seen.add(name)
    return found


def _packed(values: np.ndarray, dtype: str) -> str:
    integers = np.round(values) if values.dtype.kind == "f" else values
    return base64.b64encode(np.ascontiguousarray(integers.astype(dtype)).tobytes()).decode()
