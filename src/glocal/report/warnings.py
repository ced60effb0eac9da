"""Warnings before a transform is used: wrong file, collapsed, harmful, unfinished, overfitted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from glocal.report.runs import Run
from glocal.results import DIFFERENCE
from glocal.suite.table import differences

MARGIN = 0.01  # an effect on a task that is smaller is called none, however certain its sign
_LOWER = ("fpr95", "loss")  # metrics of which less is better
_DONE = ("converged", "trivial")


def warnings_of(run: Run) -> list[str]:
    """Sentences of warning, the gravest first; none if all is well."""
    return [*_wrong_files(run), *_worse(run), *_unfinished(run), *_overfitted(run)]


def direction(row: Mapping[Any, Any]) -> str:
    """What became of a task beside the baseline: ``better``, ``worse``, or ``same``."""
    value, p = row["difference"], row["p_holm"]
    if not (abs(value) > MARGIN and p < 0.05):
        return "same"
    return "better" if (value > 0) != (str(row["metric"]).removesuffix(DIFFERENCE) in _LOWER) else "worse"


def _wrong_files(run: Run) -> Iterator[str]:
    for network, arms in run.views.items():
        for arm, view in arms.items():
            yield from (f"Wrong file: {note}" for note in view.meta.get("notes") or ())
            if view.meta.get("collapsed"):
                yield f"Collapsed: {arm} maps all objects of {network} to one point; its scores are those of chance."


def _worse(run: Run) -> Iterator[str]:
    for row in differences(run.rows).assign(difference=lambda rows: rows["value"]).to_dict("records"):
        if direction(row) == "worse" and not row["metric"].startswith("neighbours_kept"):
            where = f" of {row['network']}" if run.rows["network"].nunique() > 1 else ""
            yield (
                f"Worse: {row['transform']}{where} on {row['task']} than {run.baseline}, by {abs(row['value']):.3f} "
                f"(p = {row['p_holm']:.2g} after correction)."
            )


def _unfinished(run: Run) -> Iterator[str]:
    points = run.points
    if points is not None and run.means is None:
        yield f"Unfinished: {len(points)} points, and no choice yet. glocal sweep --resume goes on."
    if points is not None:
        bad = points[(points["method"] != "original") & ~points["status"].isin(_DONE)]
        if len(bad):
            statuses = ", ".join(sorted(set(bad["status"])))
            yield f"Not converged: {len(bad)} of {len(points)} points of the sweep ({statuses})."
    for name, fit in run.fits.items():
        if fit.get("converged") is False:
            yield f"Not converged: {name} ended with status {fit.get('status')}."


def _overfitted(run: Run) -> Iterator[str]:
    if run.means is None or "loss" not in run.means:
        return
    chosen, before = (run.means[rows]["loss"] for rows in (run.means["chosen"], run.means["method"] == "original"))
    if len(chosen) and len(before) and chosen.iloc[0] > before.iloc[0]:
        yield (
            f"Overfitted: the choice has a held-out loss of {chosen.iloc[0]:.3f} nats, above {before.iloc[0]:.3f} of "
            "the features without a transform."
        )
