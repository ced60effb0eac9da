"""The changes of the objects of a run, as the page shows them: axes, neighbours, answers, maps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from glocal.evaluation.change import SHOWN_NEIGHBOURS, is_among
from glocal.evaluation.view import View
from glocal.report.charts import COLOURS
from glocal.report.figures import axes_svg
from glocal.report.finding import Headline, featured_views
from glocal.report.runs import Run

MAX_PICTURES = 200
"""Largest number of objects for which a map shows all of them as pictures."""
_N_CHANGED = 6  # objects whose neighbours are shown before the reader searches
_SIDE = 520  # width and height of a map, in its own units
_OTHER_COLOUR = "#8a8f96"
_NAME_ROOM = (88, 15)  # smallest distance of two names, across or down, in units of the map
_PICTURE_SIDE = 30


class Pair(NamedTuple):
    """The views of the objects before and after a transform."""

    before: View
    after: View


def objects_of(
    run: Run, findings: list[Headline], pictures: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Yield what the page shows of the objects of each network, under its featured arm."""
    for finding in findings:
        for network, views in featured_views(run, finding.network, finding.arm):
            before = views.get(run.baseline)
            after = views[finding.arm]
            change = after.meta.get("change") or {}
            if before is not None and before.names == after.names:
                pair = Pair(before, after)
                yield {
                    "network": network if len(run.views) > 1 else "",
                    "names": before.names,
                    "change": change,
                    "axes": _axes(change.get("axes") or [], pictures),
                    "neighbours": _neighbours(pair),
                    "map": _map(pair, pictures),
                }


def _axes(rows: Sequence[Mapping[str, Any]], pictures: Mapping[str, str]) -> dict[str, list[str]]:
    """The drawings, wide and narrow, of the axes that grow and of those that shrink."""
    import pandas as pd

    table = pd.DataFrame(rows, columns=["factor", "before", "after", "stability", "low", "high"])
    groups = {"more": table[table["factor"] > 1], "less": table[table["factor"] < 1]}
    return {
        kind: [axes_svg(group, narrow=narrow, pictures=pictures) for narrow in (False, True)]
        for kind, group in groups.items()
        if len(group)
    }


def _neighbours(pair: Pair) -> dict[str, Any]:
    """The nearest neighbours of all objects before and after, with marks of people's choices."""
    k = min(SHOWN_NEIGHBOURS, pair.before.neighbours.shape[1])
    before, after = (view.neighbours[:, :k] for view in pair)
    lists = []
    n_judged = np.zeros(len(before))
    for view, nearest, others in ((pair.before, before, after), (pair.after, after, before)):
        stays = is_among(nearest, others)
        marks = _marks(view, k)
        n_judged += ((marks > 0) & ~stays).sum(axis=1)
        lists.append(np.stack([nearest, stays, marks], axis=-1).tolist())
    n_kept = is_among(before, after).sum(axis=1)
    order = np.lexsort((-n_judged, n_kept))
    return {
        "k": k,
        "lists": lists,
        "changed": [i for i in order[:_N_CHANGED].tolist() if n_kept[i] < k],
        "kept": float((n_kept / k).mean()),
        "is_marked": pair.after.support is not None,
    }


def _marks(view: View, k: int) -> Int[np.ndarray, "n k"]:
    """A mark for each neighbour: 1 if most answers chose the pair, 2 if not, 0 without answers."""
    if view.support is None:
        return np.zeros((len(view.names), k), dtype=np.int64)
    chose, could = np.moveaxis(view.support[:, :k], -1, 0)
    return np.where(could == 0, 0, np.where(2 * chose > could, 1, 2))


def _map(pair: Pair, pictures: Mapping[str, str]) -> dict[str, Any]:
    """Both maps: positions, the objects drawn as a picture or a name, and the coloured groups."""
    names = pair.before.names
    has_pictures = len(names) <= MAX_PICTURES and any(name in pictures for name in names)
    margin = _PICTURE_SIDE if has_pictures else _NAME_ROOM[0] / 2
    places = [_places(view.positions, margin) for view in pair]
    shown = list(range(len(names))) if has_pictures else _apart(places)
    return {
        "side": _SIDE,
        "picture": _PICTURE_SIDE,
        "pictures": has_pictures,
        "places": [xy.tolist() for xy in places],
        "drawn": shown,
        "is_same": bool(np.abs(places[0] - places[1]).max() < 1),
        "groups": [] if has_pictures else _groups(pair.before),
    }


def _places(positions: Float[np.ndarray, "n 2"], margin: float) -> Float[np.ndarray, "n 2"]:
    """Positions scaled to the units of a map, with a margin so that nothing is cut at its edge."""
    low = positions.min(axis=0)
    extent = np.maximum(positions.max(axis=0) - low, 1e-9)
    xy = (positions.astype(np.float64) - low) / extent * (_SIDE - 2 * margin) + margin
    return np.round(np.column_stack([xy[:, 0], _SIDE - xy[:, 1]]), 1)


def _apart(places: list[Float[np.ndarray, "n 2"]]) -> list[int]:
    """The objects whose names do not overlap in either map, the outermost first."""
    distance = np.abs(places[1] - _SIDE / 2).sum(axis=1)
    shown: list[int] = []
    for i in np.argsort(-distance, kind="stable"):
        gaps = [np.abs(xy[shown] - xy[i]) > _NAME_ROOM for xy in places]
        if all(gap.any(axis=1).all() for gap in gaps):
            shown.append(int(i))
    return shown


def _groups(view: View) -> list[dict[str, Any]]:
    """The largest categories with their colours, and a group of all other objects."""
    categories = view.categories or ("",) * len(view.names)
    counts = Counter(name for name in categories if name not in ("", "other"))
    largest = [name for name, _ in counts.most_common(len(COLOURS))]
    groups = np.array([name if name in largest else "other" for name in categories])
    colours = dict(zip(largest, COLOURS, strict=False)) | {"other": _OTHER_COLOUR}
    return [
        {
            "name": name if largest else "",
            "colour": colour,
            "members": np.flatnonzero(groups == name).tolist(),
        }
        for name, colour in colours.items()
        if name in groups
    ]
