"""The changes of the objects of a run, as the page shows them: axes, neighbours, answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from glocal.evaluation.change import SHOWN_NEIGHBOURS, is_among
from glocal.evaluation.view import View
from glocal.report.figures import axes_svg, is_unsure
from glocal.report.finding import Finding
from glocal.report.runs import Run

_N_CHANGED = 6  # objects whose neighbours are shown before the reader searches


def objects_of(
    run: Run, findings: list[Finding], pictures: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Yield what the page shows of the objects of each network, under its featured arm."""
    for finding in findings:
        for network, views in run.views_of(finding.network, finding.arm):
            before = views.get(run.baseline)
            after = views[finding.arm]
            change = after.meta.get("change") or {}
            if before is not None and before.names == after.names:
                axes = change.get("axes") or []
                yield {
                    "network": network if len(run.views) > 1 else "",
                    "names": before.names,
                    "change": change,
                    "axes": _axes(axes, pictures),
                    "has_unsure_axes": any(map(is_unsure, axes)),
                    "neighbours": _neighbours(before, after),
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


def _neighbours(before: View, after: View) -> dict[str, Any]:
    """The nearest neighbours of all objects before and after, with marks of people's choices."""
    k = min(SHOWN_NEIGHBOURS, before.neighbours.shape[1])
    old, new = (view.neighbours[:, :k] for view in (before, after))
    lists = []
    n_judged = np.zeros(len(old))
    for view, nearest, others in ((before, old, new), (after, new, old)):
        stays = is_among(nearest, others)
        marks = _marks(view, k)
        n_judged += ((marks > 0) & ~stays).sum(axis=1)
        lists.append(np.stack([nearest, stays, marks], axis=-1).tolist())
    n_kept = is_among(old, new).sum(axis=1)
    order = np.lexsort((-n_judged, n_kept))
    return {
        "k": k,
        "lists": lists,
        "changed": [i for i in order[:_N_CHANGED].tolist() if n_kept[i] < k],
        "kept": float((n_kept / k).mean()),
        "is_marked": after.support is not None,
    }


def _marks(view: View, k: int) -> Int[np.ndarray, "n k"]:
    """A mark for each neighbour: 1 if most answers chose the pair, 2 if not, 0 without answers."""
    if view.support is None:
        return np.zeros((len(view.names), k), dtype=np.int64)
    chose, could = np.moveaxis(view.support[:, :k], -1, 0)
    return np.where(could == 0, 0, np.where(2 * chose > could, 1, 2))
