"""The changes of the objects of a run, as the page shows them: axes, neighbours, answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from glocal.evaluation.structure import Neighbours
from glocal.evaluation.view import Axis, Change, View, is_among
from glocal.report.headline import Headline, headlines
from glocal.report.runs import Run

_N_CHANGED = 6  # objects whose neighbours are shown before the reader searches


@dataclass(frozen=True)
class ArmAxes:
    """The axes of a featured transform, and the change of a share that chance explains."""

    network: str
    arm: str
    axes: list[Axis]
    chance: float | None


@dataclass(frozen=True)
class ChangedNeighbours:
    """The nearest neighbours of all objects before and after, each with whether it stays.

    `changed` are the objects whose neighbours changed most, and `kept` is the share of neighbours
    kept, of k.
    """

    names: tuple[str, ...]
    k: int
    lists: list[list[list[list[int]]]]
    changed: list[int]
    kept: float


@dataclass(frozen=True)
class ShownObjects:
    """What the page shows of the objects of a network, which is named if the run has several."""

    network: str
    change: Change
    neighbours: ChangedNeighbours


def axes_records(run: Run) -> list[ArmAxes]:
    """Return the axes of each featured transform, with its network and arm."""
    records = []
    for headline in _of_each_arm(headlines(run)):
        network = headline.network
        arm = headline.arm
        for _, views in run.views_of(network, arm):
            change = _change(views[arm])
            axes = change.get("axes")
            if axes:
                record = ArmAxes(network, arm, axes, change["chance"])
                records.append(record)
    return records


def objects_of(run: Run, headlines: Sequence[Headline]) -> Iterator[ShownObjects]:
    """Yield what the page shows of the objects of each network, under its featured arm."""
    is_named = len(run.views) > 1
    for headline in _of_each_arm(headlines):
        arm = headline.arm
        for network, views in run.views_of(headline.network, arm):
            before = views.get(run.baseline)
            after = views[arm]
            if before is not None and before.names == after.names:
                yield ShownObjects(
                    network=network if is_named else "",
                    change=_change(after),
                    neighbours=_neighbours(before, after),
                )


def _of_each_arm(headlines: Sequence[Headline]) -> Iterable[Headline]:
    """The last headline about each featured arm."""
    last = {}
    for headline in headlines:
        last[headline.network, headline.arm] = headline
    return last.values()


def _change(view: View) -> Change:
    """What the transform of a view changed; empty if that was not recorded."""
    return view.meta.get("change") or Change()


def _neighbours(before: View, after: View) -> ChangedNeighbours:
    """The nearest neighbours of all objects before and after, and whether each stays."""
    old = before.neighbours
    new = after.neighbours
    was_there = is_among(new, old)
    k = new.shape[1]
    n_kept = was_there.sum(axis=1)
    most_changed_first = np.argsort(n_kept, kind="stable")
    changed = []
    for row in most_changed_first[:_N_CHANGED].tolist():
        if n_kept[row] < k:
            changed.append(row)
    kept = (n_kept / k).mean()
    return ChangedNeighbours(
        names=before.names,
        k=k,
        lists=[
            _marked(old, is_among(old, new)),
            _marked(new, was_there),
        ],
        changed=changed,
        kept=float(kept),
    )


def _marked(neighbours: Neighbours, stays: Bool[np.ndarray, "n k"]) -> list[list[list[int]]]:
    """Each neighbour of each object in a pair with whether it stays."""
    pairs = np.stack([neighbours, stays], axis=-1)
    marked: list[list[list[int]]] = pairs.tolist()
    return marked
