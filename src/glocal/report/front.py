"""The front of agreement against neighbours kept, and the warnings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from glocal.report.folders import AXES
from glocal.report.runs import Run
from glocal.results import UNCHANGED
from glocal.scores import DIFFERENCE
from glocal.suite.table import SIGNIFICANCE, differences, main_rows

if TYPE_CHECKING:
    import pandas as pd

MARGIN = 0.01  # fraction; a smaller change of a score counts as none, however certain its sign
LOWER_IS_BETTER = ("fpr95", "loss")


class Warned(NamedTuple):
    """A warning about an arm of a network, or about all if they are empty."""

    network: str
    arm: str
    sentence: str


def front_points(run: Run) -> pd.DataFrame:
    """Return one row for each setting of a sweep, or else for each network and arm, if any.

    The columns are network, method (or the arm), setting (in words), agreement and kept, both with
    …_low and …_high (the 95 % interval, or the value itself if there is none), strong (whether the
    point is on the front of its method), and chosen.
    """
    from glocal.sweep import pareto_front  # loads the solver, which importing this module does not

    points = _arms(run.rows) if run.settings is None else run.settings
    strong: list[Any] = []
    for _, group in points.groupby(["network", "method"]):
        # pareto_front breaks ties by alpha, which points need not have
        strong += pareto_front(group.assign(alpha=0.0)).index.tolist()
    return points.assign(strong=points.index.isin(strong))


def _arms(rows: pd.DataFrame) -> pd.DataFrame:
    """Arms whose agreement and neighbours kept were both measured."""
    main = main_rows(rows).rename(columns={"transform": "method"})
    arm = ["network", "method"]
    axes = []
    for axis, metric in AXES.items():
        scores = main[(main["metric"] == metric) & main["value"].notna()].drop_duplicates(arm)
        columns = {axis: scores["value"]}
        for end in ("low", "high"):
            columns[f"{axis}_{end}"] = scores[end].fillna(scores["value"])
        axes.append(scores[arm].assign(**columns))
    agreement, neighbours = axes
    return agreement.merge(neighbours, on=arm).assign(setting="", chosen=False)


def warnings_of(run: Run) -> list[Warned]:
    """Return the warnings about a run and its arms, the most severe first."""
    notes = (Warned("", "", note) for note in run.notes)
    return [*_collapsed(run), *_worse(run), *notes, *_unconverged(run), *_overfitted(run)]


def direction(row: Mapping[Any, Any]) -> str:
    """How a task changed against the baseline: ``better``, ``worse``, or ``same``."""
    difference = row["difference"]
    if not (abs(difference) > MARGIN and row["p_corrected"] < SIGNIFICANCE):
        return "same"
    lower_is_better = str(row["metric"]).removesuffix(DIFFERENCE) in LOWER_IS_BETTER
    return "better" if (difference > 0) != lower_is_better else "worse"


def _collapsed(run: Run) -> Iterator[Warned]:
    for network, arms in run.views.items():
        for arm, view in arms.items():
            if view.meta.get("collapsed"):
                yield Warned(network, arm, f"Collapsed: {arm} maps all objects to one point.")


def _worse(run: Run) -> Iterator[Warned]:
    compared = differences(run.rows)
    for row in compared.assign(difference=compared["value"]).to_dict("records"):
        if direction(row) == "worse" and not row["metric"].startswith("neighbours_kept"):
            sentence = (
                f"Worse: {row['transform']} is worse than {run.baseline} on {row['task']} by "
                f"{abs(row['value']):.3f} (p = {row['p_corrected']:.2g} after correction)."
            )
            yield Warned(row["network"], row["transform"], sentence)


def _unconverged(run: Run) -> Iterator[Warned]:
    for name, fit in run.fits.items():
        if fit.get("converged") is False:
            network, _, arm = name.rpartition(", ")
            yield Warned(network, arm, f"Not converged: {arm} ended as {fit.get('status')}.")


def is_overfitted(run: Run) -> bool:
    """Whether the held-out loss of the choice is above that of the features without a transform."""
    return any(_overfitted(run))


def _overfitted(run: Run) -> Iterator[Warned]:
    losses = run.rows[run.rows["metric"] == "loss"].set_index("transform")["value"]
    is_unchanged = any(fit.get("status") == UNCHANGED for fit in run.fits.values())
    if is_unchanged or run.featured not in losses.index:
        return
    chosen = losses[run.featured]
    original = losses[run.baseline]
    if chosen > original:
        sentence = (
            f"Overfitted: the held-out loss is {chosen:.3f} nats, above the {original:.3f} nats of "
            "the features without a transform."
        )
        yield Warned("", run.featured, sentence)
