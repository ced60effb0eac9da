"""What must be said before anybody uses a transform: unconverged, collapsed, harmful, overfitted, wrong file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from glocal.evaluation.structure.collapse import at_chance
from glocal.report.loading import Run
from glocal.report.verdict import MARGIN, direction
from glocal.report.words import AGREEMENT, KEPT, counted, decimals, interval_words, listed, metric_words, setting_words
from glocal.results import DIFFERENCE
from glocal.suite.table import differences

_LIKENESS = (*AGREEMENT, "spearman", "pearson")  # agreement with people


def findings(run: Run) -> list[str]:
    """Sentences of warning, the gravest first; none if nothing is amiss."""
    return [
        *_wrong_files(run), *_mixed(run), *_collapsed(run), *_harm(run), *_price(run), *_unfinished(run),
        *_unconverged(run), *_overfit(run),
    ]  # fmt: skip


def all_clear(run: Run) -> str:
    """What it means that there are no findings: only what the folders hold was looked at."""
    records = [
        *(fit for fits in run.fits.values() for fit in fits.values()),
        *(one.meta.get("fit") for one in run.sweeps),
    ]
    fitted = any(records) or any("converged" in sweep.points for sweep in run.sweeps)
    compared = bool(differences(run.rows)["p_holm"].notna().any())
    found = ["every fit converged, nothing collapsed"] * fitted
    found += [f"no task got worse by more than {MARGIN} with p < 0.05 after correction"] * compared
    lacking = ["no fit is recorded"] * (not fitted)
    lacking += [f"no arm is compared with {run.baseline}, with p after correction"] * (not compared)
    told = [f"Nothing: {', and '.join(found)}."] if found else []
    told += [f"Not looked at: in these folders {' and '.join(lacking)}."] if lacking else []
    return " ".join(told)


def _mixed(run: Run) -> Iterator[str]:
    """Folders that do not belong on one page."""
    if run.repeated:
        yield (
            f"Mixed: {listed(run.repeated)} {'scores' if len(run.repeated) == 1 else 'score'} the same arms in the "
            "same tasks as another folder; of each the last score is shown, beside others that may be of other data. "
            "Report them apart."
        )
    plans = {str(suite["plan"]["baseline"]) for suite in run.suites.values()}
    if len(plans) > 1:
        yield (
            f"Mixed: the folders compare with {listed(sorted(plans))}; this page names {run.baseline} alone. Report "
            "them apart."
        )
    versions = {str((suite.get("provenance") or {}).get("version")) for suite in run.suites.values()}
    if len(versions) > 1:
        yield f"Mixed: the folders are of glocal {listed(sorted(versions))}, which may differ in what they measure."


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
            losses = [parts.get("global") if isinstance(parts, dict) else None for parts in sweep.points["parts"]]
            chance = sweep.points["chance_loss"]
            count = sum(
                isinstance(loss, int | float) and at_chance(loss, at) for loss, at in zip(losses, chance, strict=True)
            )
            if count:
                yield (
                    f"Collapsed: {count} of {len(losses)} points of {sweep.name} predict the fitted answers no better "
                    "than chance."
                )


def _harm(run: Run) -> Iterator[str]:
    for row in _worse(run):
        metric = str(row["metric"]).removesuffix(DIFFERENCE)
        if metric == KEPT:
            continue
        where = f" on {row['network']}" if row["network"] else ""
        what = "agrees less with people" if metric.startswith(_LIKENESS) else "hurts downstream"
        yield (
            f"{row['transform']} {what}{where}: {row['task']} ({metric_words(metric)}) changes by "
            f"{decimals(row['value'], signed=True)}{interval_words(row['low'], row['high'])} beside {run.baseline}, "
            f"p = {row['p_holm']:.2g} after correction."
        )


def _price(run: Run) -> Iterator[str]:
    """Any transform changes neighbours: a price, said in one sentence, not damage downstream."""
    paid = [row for row in _worse(run) if row["metric"] == KEPT + DIFFERENCE]
    if paid:
        most = min(paid, key=lambda row: row["value"])
        compared = int((differences(run.rows)["metric"] == KEPT + DIFFERENCE).sum())
        where = f" on {most['network']}" if most["network"] else ""
        yield (
            f"Price: fewer neighbours are kept than by {run.baseline} in {len(paid)} of "
            f"{counted(compared, 'comparison')}, most by {most['transform']}{where}: in {most['task']} their share "
            f"changes by {decimals(most['value'], signed=True)}{interval_words(most['low'], most['high'])}."
        )


def _worse(run: Run) -> list[dict[Any, Any]]:
    """The differences that are losses, larger than the margin and significant."""
    rows = differences(run.rows).assign(difference=lambda rows: rows["value"]).to_dict("records")
    return [row for row in rows if direction(row) == "worse"]


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
        if len(bad) and "eta" in bad and bad["eta"].notna().all():
            yield (
                f"Unconverged: {len(bad)} of {len(sweep.points)} mini-batch points of {sweep.name}, as its "
                "stopping rule leaves them; how far the optima lie below is not measured."
            )
            continue
        if len(bad):
            named = "; ".join(
                " ".join([f"fold {row['fold']}", *setting_words(row)]) for row in bad.head(3).to_dict("records")
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
