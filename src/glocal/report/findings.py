"""What must be said before anybody uses a transform: unconverged, collapsed, harmful, overfitted, wrong file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from glocal.evaluation.structure.collapse import at_chance
from glocal.report.fronts import setting
from glocal.report.run import Run
from glocal.suite.table import differences

_LIKENESS = ("accuracy_cosine", "accuracy_dot", "spearman", "pearson")  # agreement with people
_PRICE = "neighbours_kept"  # any transform changes neighbours: a price, said in one sentence, not damage downstream


def findings(run: Run) -> list[str]:
    """Sentences of warning, the gravest first; none if nothing is amiss."""
    return [
        *_wrong_files(run), *_collapsed(run), *_harm(run), *_price(run), *_unfinished(run), *_unconverged(run),
        *_overfit(run),
    ]  # fmt: skip


def _wrong_files(run: Run) -> Iterator[str]:
    said = (str(note) for arms in run.views.values() for view in arms.values() for note in view.meta.get("notes") or ())
    for note in dict.fromkeys(said):
        yield f"Wrong file: {note}"


def _collapsed(run: Run) -> Iterator[str]:
    for network, arms in run.views.items():
        for arm, view in arms.items():
            if view.meta.get("collapsed"):
                yield f"Collapsed: {arm} maps all objects of {network} to one point; its scores are those of chance."
    for sweep in run.sweeps:
        if "parts" in sweep.points:
            losses = [(parts or {}).get("global") for parts in sweep.points["parts"]]
            count = sum(loss is not None and at_chance(loss, math.log(3)) for loss in losses)
            if count:
                yield (
                    f"Collapsed: {count} of {len(losses)} points of {sweep.name} predict the fitted answers no better "
                    "than chance."
                )


def _harm(run: Run) -> Iterator[str]:
    for row in _worse(run):
        metric = str(row["metric"]).removesuffix("_difference")
        if metric == _PRICE:
            continue
        where = f" on {row['network']}" if row["network"] else ""
        what = "agrees less with people" if metric.startswith(_LIKENESS) else "hurts downstream"
        yield (
            f"{row['transform']} {what}{where}: {row['task']} ({metric}) is {row['value']:+.3f} "
            f"[{row['low']:+.3f}, {row['high']:+.3f}] beside {run.baseline}, p = {row['p_holm']:.2g} after correction."
        )


def _price(run: Run) -> Iterator[str]:
    paid = [row for row in _worse(run) if row["metric"] == f"{_PRICE}_difference"]
    if paid:
        most = min(paid, key=lambda row: row["value"])
        compared = int((differences(run.rows)["metric"] == f"{_PRICE}_difference").sum())
        where = f" on {most['network']}" if most["network"] else ""
        yield (
            f"Price: fewer neighbours are kept than by {run.baseline} in {len(paid)} of {compared} comparisons, most "
            f"by {most['transform']}{where}: {most['task']} ({_PRICE}) is {most['value']:+.3f} "
            f"[{most['low']:+.3f}, {most['high']:+.3f}]."
        )


def _worse(run: Run) -> list[dict[Any, Any]]:
    """The rows of differences that the table marks as lower."""
    rows = differences(run.rows)
    return rows[(rows["p_holm"] < 0.05) & (rows["value"] < 0)].to_dict("records")


def _unfinished(run: Run) -> Iterator[str]:
    for sweep in run.sweeps:
        if sweep.front is None:
            yield (
                f"Unfinished: {sweep.name} has {len(sweep.points)} points and no choice yet; what is shown of it is "
                "not all of its grid. glocal sweep --resume goes on with it."
            )


def _unconverged(run: Run) -> Iterator[str]:
    for sweep in run.sweeps:
        if "converged" not in sweep.points:
            continue
        bad = sweep.points[~sweep.points["converged"].astype(bool)]
        if len(bad):
            named = "; ".join(
                " ".join([f"fold {row['fold']}", *setting(row)]) for row in bad.head(3).to_dict("records")
            )
            more = "" if len(bad) <= 3 else f"; and {len(bad) - 3} more"
            yield f"Unconverged: {len(bad)} of {len(sweep.points)} points of {sweep.name} ({named}{more})."
    records = {name: fit for fits in run.fits.values() for name, fit in fits.items()}
    records |= {f"{sweep.name}, the refitted choice": sweep.meta.get("fit", {}) for sweep in run.sweeps}
    for name, fit in records.items():
        if fit.get("converged") is False:
            yield f"Unconverged: the fit of {name} ended with status {fit.get('status')}: {fit.get('reason')}."


def _overfit(run: Run) -> Iterator[str]:
    for sweep in run.sweeps:
        chosen, before = sweep.chosen, sweep.original
        if chosen and before and chosen.get("loss") and before.get("loss") and chosen["loss"] > before["loss"]:
            yield (
                f"Overfitted: the choice of {sweep.name} has a held-out loss of {chosen['loss']:.3f} nats, above "
                f"{before['loss']:.3f} of the features without a transform."
            )
