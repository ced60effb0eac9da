"""The front of agreement against neighbours kept, and the warnings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from glocal.finding import direction
from glocal.report.runs import Point, Run
from glocal.scores import AGREEMENT, DIFFERENCE, KEPT, Score

if TYPE_CHECKING:
    import pandas as pd


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
    import pandas as pd

    from glocal.sweep import pareto_front  # loads the solver, which importing this module does not

    names = ["network", "method", "setting", "chosen"]
    columns = [*names, *_ends("agreement"), *_ends("neighbours_kept")]
    measured = [*run.settings]
    if not measured:
        for network, arm in run.scores.arms:
            agreement = run.scores.of(network, run.scores.task_of(AGREEMENT[0]), arm)
            kept = run.scores.of(network, run.scores.task_of(KEPT), arm)
            if agreement is not None and kept is not None:
                measured.append(Point(network, arm, "", False, agreement, kept))
    rows = [(*point[:4], *_interval(point.agreement), *_interval(point.kept)) for point in measured]
    points = pd.DataFrame(rows, columns=columns)
    strong: list[int] = []
    for _, group in points.groupby(["network", "method"]):
        # pareto_front breaks ties by alpha, which points need not have
        strong += pareto_front(group.assign(alpha=0.0)).index.tolist()
    return points.assign(strong=points.index.isin(strong))


def warnings_of(run: Run) -> Iterator[Warned]:
    """Yield the warnings about a run and its arms, the most severe first."""
    for network, arms in run.views.items():
        for arm, view in arms.items():
            if view.meta.get("collapsed"):
                yield Warned(network, arm, f"Collapsed: {arm} maps all objects to one point.")
    for score in run.scores:
        if score.metric in AGREEMENT and score.is_seen:
            sentence = (
                f"Seen: {score.transform} was fitted to {100 * (score.seen_answers or 0):.0f} % of "
                f"the questions of {score.task}, so this is no agreement with new answers."
            )
            yield Warned(score.network or "", score.transform, sentence)
    for score in run.scores:
        is_kept = score.metric == KEPT + DIFFERENCE
        if score.baseline_network is None and direction(score) == "worse" and not is_kept:
            sentence = (
                f"Worse: {score.transform} is worse than {score.baseline} on {score.task} by "
                f"{abs(score.value):.3f} (p = {score.p_corrected:.2g} after correction)."
            )
            yield Warned(score.network or "", score.transform, sentence)
    for (network, arm), fit in run.fits.items():
        if fit.get("converged") is False:
            yield Warned(network, arm, f"Not converged: {arm} ended as {fit.get('status')}.")
    for network in run.scores.networks:
        subject = run.subject(network, run.featured)
        if subject.is_overfitted and subject.losses is not None:
            original, chosen = subject.losses
            sentence = (
                f"Overfitted: the held-out loss is {chosen:.3f} nats, above the {original:.3f} "
                "nats of the features without a transform."
            )
            yield Warned(network, run.featured, sentence)


def _ends(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


def _interval(score: Score) -> tuple[float, float, float]:
    """The value of a score and the ends of its interval, which is empty if there is none."""
    low, high = (score.value if end is None else end for end in (score.low, score.high))
    return score.value, low, high
