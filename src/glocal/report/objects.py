"""The changes of the objects of a run, as the page shows them: axes, neighbours, answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from glocal.evaluation.view import View, is_among
from glocal.report.headline import Headline, headlines
from glocal.report.runs import Run

_N_CHANGED = 6  # objects whose neighbours are shown before the reader searches


def axes_records(run: Run) -> list[dict[str, Any]]:
    """Return the axes of each featured transform, with its network and arm."""
    records = []
    for headline in _of_each_arm(headlines(run)):
        names = {"network": headline.network, "arm": headline.arm}
        for _, views in run.views_of(headline.network, headline.arm):
            change = views[headline.arm].meta.get("change") or {}
            if change.get("axes"):
                records.append({**names, "axes": change["axes"], "chance": change["chance"]})
    return records


def objects_of(run: Run, headlines: Sequence[Headline]) -> Iterator[dict[str, Any]]:
    """Yield what the page shows of the objects of each network, under its featured arm."""
    for headline in _of_each_arm(headlines):
        for network, views in run.views_of(headline.network, headline.arm):
            before = views.get(run.baseline)
            after = views[headline.arm]
            if before is not None and before.names == after.names:
                yield {
                    "network": network if len(run.views) > 1 else "",
                    "change": after.meta.get("change") or {},
                    "neighbours": _neighbours(before, after),
                }


def _of_each_arm(headlines: Sequence[Headline]) -> Iterable[Headline]:
    """The last headline about each featured arm."""
    return {(headline.network, headline.arm): headline for headline in headlines}.values()


def _neighbours(before: View, after: View) -> dict[str, Any]:
    """The nearest neighbours of all objects before and after, and whether each stays."""
    lists = []
    for view, other in ((before, after), (after, before)):
        stays = is_among(view.neighbours, other.neighbours)
        lists.append(np.stack([view.neighbours, stays], axis=-1).tolist())
    k = after.neighbours.shape[1]
    n_kept = stays.sum(axis=1)
    order = np.argsort(n_kept, kind="stable")
    return {
        "names": before.names,
        "k": k,
        "lists": lists,
        "changed": [i for i in order[:_N_CHANGED].tolist() if n_kept[i] < k],
        "kept": float((n_kept / k).mean()),
    }
