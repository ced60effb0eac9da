"""The findings of a run, one for each network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from glocal.evaluation.agreement import ceiling_in_words
from glocal.finding import ADVICE, Subject, choice, plural, sentence
from glocal.report.front import warnings_of
from glocal.report.runs import Run
from glocal.results import value_at
from glocal.scores import AGREEMENT, KEPT

MIN_KEPT = 0.9
"""Smallest share of neighbours that the featured arm of a suite keeps, if any arm keeps as many."""


@dataclass(frozen=True)
class Finding:
    """The finding about the featured arm of a network, the advice with its command, and details.

    `choice` is a key of `glocal.finding.ADVICE`. `warnings` are those about the arm or about the
    whole run.
    """

    network: str
    arm: str
    choice: str
    sentence: str
    advice: str
    command: str = ""
    details: str = ""
    warnings: tuple[str, ...] = ()


def findings(run: Run) -> list[Finding]:
    """Return one finding for each network of a run."""
    if n_points := run.record.get("unfinished_points"):
        unfinished = (
            f"The sweep is unfinished: {n_points} of its points are computed, and nothing is "
            "chosen yet."
        )
        return [Finding("", "", "unfinished", unfinished, ADVICE["unfinished"])]
    networks = run.scores.networks or [""]
    return [_finding(run, network, featured_arm(run, network)) for network in networks]


def featured_arm(run: Run, network: str) -> str:
    """Return the arm that the page features.

    For a transform or a sweep, it is the transform or the choice. For a suite, it is the arm with
    the best agreement among those that keep .9 of the neighbours, or the arm that keeps most if
    none keeps so many. Without neighbours kept, it is the arm with the best agreement, and without
    agreement the best arm of the first task. An arm whose neighbours were not counted is featured
    only if those of no arm were. An arm that was fitted to the answers is featured only
    if all are.
    """
    if run.featured:
        return run.featured
    scores = run.scores
    of_agreement = scores.task_of(*AGREEMENT)
    task = of_agreement or next(iter(scores.tasks), "")
    ranks = {}
    for of_network, arm in scores.arms:
        score = scores.of(network, task, arm)
        kept = scores.of(network, scores.task_of(KEPT), arm)
        if score is not None and of_network == network and arm != run.baseline:
            is_enough = not of_agreement or kept is None or kept.value >= MIN_KEPT
            value = score.value if kept is None or is_enough else kept.value
            ranks[arm] = (kept is not None, not score.is_seen, is_enough, value)
    return max(ranks, key=lambda arm: ranks[arm], default=run.baseline)


def _finding(run: Run, network: str, arm: str) -> Finding:
    subject = run.subject(network, arm)
    the_choice = choice(subject)
    command = ""
    if the_choice.startswith("use"):
        standard = "glocal apply TRANSFORM FEATURES --out OUT"
        command = run.commands.get((network, arm), standard)
    return Finding(
        network,
        arm,
        the_choice,
        sentence(subject),
        ADVICE[the_choice].format(worse=subject.tasks("worse")),
        command,
        " ".join(_details(run, subject)),
        tuple(_warnings(run, subject)),
    )


def _warnings(run: Run, subject: Subject) -> Iterator[str]:
    """The warnings about the arm or about the whole run."""
    for network, arm, warning in warnings_of(run):
        is_of_network = "" in (network, subject.network) or network == subject.network
        if is_of_network and arm in ("", subject.arm):
            yield warning


def _details(run: Run, subject: Subject) -> Iterator[str]:
    """Sentences on the data of the fit, on the ceiling and on other tasks."""
    fit = subject.fit
    if value_at(run.record, "plan.simulated"):
        yield "These are simulated data: the “people” are simulated too."
    n_answers = fit.get("n_answers")
    if n_answers:
        n_people = fit.get("n_people")
        people = f" from {n_people:,} {plural('participant', n_people)}" if n_people else ""
        objects = f" about {fit['n_objects']:,} objects" if fit.get("n_objects") else ""
        local = f" and to the neighbours of {fit['n_local']:,} images" if fit.get("n_local") else ""
        yield f"The transform was fitted to {n_answers:,} answers{people}{objects}{local}."
    of_network = [score for score in run.scores if (score.network or "") == subject.network]
    if ceiling := ceiling_in_words(of_network):
        yield ceiling
    if not subject.gains:
        yield "Its effect on other tasks was not measured."
