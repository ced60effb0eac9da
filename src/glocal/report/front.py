"""The front of agreement against neighbours kept, its summary as a table, and the warnings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal.report.runs import AXES, Run
from glocal.results import DIFFERENCE, UNCHANGED, interval_text, value_at
from glocal.suite.table import SIGNIFICANCE, differences, main_rows

if TYPE_CHECKING:
    import pandas as pd

MARGIN = 0.01  # fraction; a smaller change of a score counts as none, however certain its sign
LOWER_IS_BETTER = ("fpr95", "loss")
_METRICS = {"agreement": "accuracy_cosine", "kept": "neighbours_kept"}


def front_points(run: Run) -> pd.DataFrame:
    """Return one row for each setting of a sweep, or else for each network and arm, if any.

    The columns are network, method (or the arm), setting (in words), agreement and
    kept, both with …_low and …_high (one standard error over folds, or the 95 %
    interval), strong (whether the point is on the front of its method), and chosen.
    """
    from glocal.sweep import pareto_front  # loads the solver, which importing this module does not

    points = _arms(run.rows) if run.settings is None else run.settings
    strong: list[Any] = []
    for _, group in points.groupby(["network", "method"]):
        # pareto_front breaks ties by alpha, which points need not have
        strong += pareto_front(group.assign(alpha=0.0)).index.tolist()
    return points.assign(strong=points.index.isin(strong))


def method_points(run: Run) -> pd.DataFrame:
    """Return the point of `front_points` that stands for each network and method.

    For a sweep, it is the setting that the rule of the sweep chooses for the method.
    """
    from glocal.sweep import choose

    points = front_points(run)
    labels: list[Any] = []
    for _, settings in points.groupby(["network", "method"], sort=False):
        label = settings["chosen"].idxmax()
        if len(settings) > 1 and not settings["chosen"].any():
            errors = settings["kept"] - settings["kept_low"]
            label, _ = choose(settings.assign(kept_se=errors), run.choice.get("keep"))
        labels.append(label)
    return points.loc[labels].drop(columns=["strong", "loss", "alpha"], errors="ignore")


def neighbour_counts(run: Run) -> list[int]:
    """Return the numbers of nearest neighbours that the scores of a run count, in order."""
    rows = run.rows[run.rows["metric"] == "neighbours_kept"]
    numbers = [value_at(settings, "k") for settings in rows["settings"]]
    return sorted({k for k in numbers if isinstance(k, int)})


def summary(run: Run) -> pd.DataFrame:
    """Return one row for each network and method: agreement and neighbours kept, with intervals.

    For a sweep, each method has the setting that the rule of the sweep chooses for it, and a column
    compares the neighbours kept at equal agreement. That agreement is that of the choice, or the
    largest that all methods reach if it is lower. Neighbours kept are interpolated between the
    settings of a front.
    """
    methods = method_points(run)
    points = methods.to_dict("records")
    table = methods[["network", "method"]]
    for axis, title in AXES.items():
        table = table.assign(**{title: [_interval(point, axis) for point in points]})
    if run.settings is not None:
        agreement, neighbours = _at_equal_agreement(run)
        title = f"neighbours kept at agreement {agreement:.3f}"
        table[title] = table["method"].map(neighbours).fillna("")
    table["setting"] = methods["setting"]
    superfluous = []
    if table["network"].nunique() == 1:
        superfluous.append("network")
    if (table["setting"] == "").all():
        superfluous.append("setting")
    return table.drop(columns=superfluous)


def _at_equal_agreement(run: Run) -> tuple[float, dict[Any, str]]:
    """The agreement at which methods are compared, and the neighbours that each keeps there.

    It is the agreement of the choice, or the largest that all methods reach if that is lower.
    """
    points = front_points(run)
    fitted = points[(points["method"] != run.baseline) & points["strong"]]
    fronts = fitted.sort_values("agreement").groupby("method")
    chosen = points.loc[points["chosen"], "agreement"]
    agreement = min([*chosen, *fronts["agreement"].max()], default=0.0)
    kept = {
        method: np.interp(agreement, front["agreement"], front["kept"]) for method, front in fronts
    }
    return agreement, {method: f"{share:.3f}" for method, share in kept.items()}


def _arms(rows: pd.DataFrame) -> pd.DataFrame:
    """Arms whose agreement and neighbours kept were both measured."""
    main = main_rows(rows).rename(columns={"transform": "method"})
    arm = ["network", "method"]
    axes = []
    for axis, metric in _METRICS.items():
        scores = main[(main["metric"] == metric) & main["value"].notna()].drop_duplicates(arm)
        columns = {axis: scores["value"]}
        for end in ("low", "high"):
            columns[f"{axis}_{end}"] = scores[end].fillna(scores["value"])
        axes.append(scores[arm].assign(**columns))
    agreement, neighbours = axes
    return agreement.merge(neighbours, on=arm).assign(setting="", chosen=False)


def _interval(point: Mapping[Any, Any], axis: str) -> str:
    low, high = (point[f"{axis}_{end}"] for end in ("low", "high"))
    return f"{point[axis]:.3f}" if low == high else interval_text(point[axis], low, high)


def warnings_of(run: Run) -> list[str]:
    """Return the warnings about a run as sentences, the most severe first."""
    return [*_wrong_files(run), *_worse(run), *run.notes, *_unconverged(run), *_overfitted(run)]


def direction(row: Mapping[Any, Any]) -> str:
    """How a task changed against the baseline: ``better``, ``worse``, or ``same``."""
    difference = row["difference"]
    if not (abs(difference) > MARGIN and row["p_corrected"] < SIGNIFICANCE):
        return "same"
    lower_is_better = str(row["metric"]).removesuffix(DIFFERENCE) in LOWER_IS_BETTER
    return "better" if (difference > 0) != lower_is_better else "worse"


def _wrong_files(run: Run) -> Iterator[str]:
    for network, arms in run.views.items():
        for arm, view in arms.items():
            yield from (f"Wrong file: {note}" for note in view.meta.get("notes") or ())
            if view.meta.get("collapsed"):
                yield (
                    f"Collapsed: {arm} maps all objects of {network} to one point; its scores are "
                    "those of chance."
                )


def _worse(run: Run) -> Iterator[str]:
    compared = differences(run.rows)
    for row in compared.assign(difference=compared["value"]).to_dict("records"):
        if direction(row) == "worse" and not row["metric"].startswith("neighbours_kept"):
            network = f" of {row['network']}" if run.rows["network"].nunique() > 1 else ""
            yield (
                f"Worse: {row['transform']}{network} is worse than {run.baseline} on {row['task']} "
                f"by {abs(row['value']):.3f} (p = {row['p_corrected']:.2g} after correction)."
            )


def _unconverged(run: Run) -> Iterator[str]:
    for name, fit in run.fits.items():
        if fit.get("converged") is False:
            yield f"Not converged: {name} ended with status {fit.get('status')}."


def is_overfitted(run: Run) -> bool:
    """Whether the held-out loss of the choice is above that of the features without a transform."""
    return any(_overfitted(run))


def _overfitted(run: Run) -> Iterator[str]:
    losses = run.rows[run.rows["metric"] == "loss"].set_index("transform")["value"]
    is_unchanged = any(fit.get("status") == UNCHANGED for fit in run.fits.values())
    if is_unchanged or run.featured not in losses.index:
        return
    chosen = losses[run.featured]
    original = losses[run.baseline]
    if chosen > original:
        yield (
            f"Overfitted: the choice has a held-out loss of {chosen:.3f} nats, above the "
            f"{original:.3f} nats of the features without a transform."
        )
