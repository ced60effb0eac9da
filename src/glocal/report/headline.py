"""The headlines of a run, one for each network, its warnings, and the paragraph to copy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from glocal._version import __version__
from glocal.advice import (
    ACTIONS,
    Advice,
    Choice,
    Subject,
    advise,
    direction,
    network_sentence,
    sentence,
)
from glocal.evaluation.ceiling import MIN_REPEATED_ANSWERS, ceiling_in_words
from glocal.report.runs import Run, is_of_network
from glocal.report.templates import render
from glocal.results import FitRecord, method_in_words
from glocal.scores import AGREEMENT, DIFFERENCE, KEPT, Scores
from glocal.screen import plural

MIN_KEPT = 0.9
"""Smallest share of neighbours that the featured arm of a suite keeps, if any arm keeps as many."""
_MAX_RUNS = 64  # whose headlines are kept


@dataclass(frozen=True, kw_only=True)
class Headline(Advice):
    """The advice about the featured arm of a network, with details and warnings.

    `warnings` are those about the arm or about the whole run. `task` is the task of agreement that
    it is about, if there is one.
    """

    network: str = ""
    arm: str = ""
    details: str = ""
    warnings: tuple[str, ...] = ()
    task: str = ""


class Warned(NamedTuple):
    """A warning about an arm of a network, or about all if they are empty."""

    network: str
    arm: str
    sentence: str


@lru_cache(_MAX_RUNS)
def headlines(run: Run) -> tuple[Headline, ...]:
    """Return one headline for each network of a run and each of its tasks of agreement.

    A page, its figures and its tables share them.
    """
    if n_points := run.record.unfinished_points:
        unfinished = (
            f"The sweep is unfinished: {n_points} of its points are computed, and nothing is "
            "chosen yet."
        )
        return (Headline(Choice.UNFINISHED, unfinished, ACTIONS[Choice.UNFINISHED]),)
    networks = run.scores.networks or [""]
    of_networks = [
        _headline(run, network, featured_arm(run, network), task)
        for network in networks
        for task in run.agreement_tasks(network)
        if task or not run.situations
    ]
    between_networks = [
        Headline(Choice.NETWORKS_COMPARED, network_sentence(gain), task=gain.task)
        for gain in run.network_gains
    ]
    return tuple(of_networks + between_networks)


def featured_arm(run: Run, network: str) -> str:
    """Return the arm that the page features.

    For a transform or a sweep, it is the transform or the choice. For a suite, it is the arm with
    the best agreement among those that keep .9 of the neighbours, or the arm that keeps most if
    none keeps so many. Without neighbours kept, it is the arm with the best agreement, and without
    agreement the best arm of the first task. An arm whose neighbours were not counted is featured
    only if no arm has them counted. An arm that was fitted to the answers is featured only
    if all are.
    """
    if run.featured:
        return run.featured
    scores = run.scores
    of_agreement = scores.task_of(*AGREEMENT)
    task = of_agreement or next(iter(scores.tasks), "")
    ranks = {}
    for _, arm in scores.arms:
        score = scores.score(network, task, arm)
        kept = scores.score(network, scores.task_of(KEPT), arm)
        if score is not None and arm != run.baseline:
            is_enough = not of_agreement or kept is None or kept.value >= MIN_KEPT
            value = score.value if kept is None or is_enough else kept.value
            ranks[arm] = (kept is not None, not score.is_seen, is_enough, value)
    return max(ranks, key=lambda arm: ranks[arm], default=run.baseline)


@lru_cache(_MAX_RUNS)
def warnings_of(run: Run) -> tuple[Warned, ...]:
    """Return the warnings about a run and its arms, the most severe first."""
    return tuple(_warnings(run))


def _warnings(run: Run) -> Iterator[Warned]:
    """Yield the warnings about a run and its arms, the most severe first."""
    for network, arms in run.views.items():
        for arm, view in arms.items():
            if view.meta.get("collapsed"):
                yield Warned(network, arm, f"Collapsed: {arm} maps all objects to one point.")
    for score in run.scores.shown:
        if score.metric in AGREEMENT and score.is_seen:
            message = (
                f"Seen: {score.transform} was fitted to {100 * (score.seen_answers or 0):.0f} % of "
                f"the questions of {score.task}, so this is no agreement with new answers."
            )
            yield Warned(score.network or "", score.transform, message)
    for score in run.scores.shown:
        is_kept = score.metric == KEPT + DIFFERENCE
        if score.baseline_network is None and direction(score) == "worse" and not is_kept:
            message = (
                f"Caution: {score.transform} is worse than {score.baseline} on {score.task} by "
                f"{abs(score.value):.3f} (p = {score.p_corrected:.2g} after correction)."
            )
            yield Warned(score.network or "", score.transform, message)
    for (network, arm), fit in run.fits.items():
        if not fit.converged:
            yield Warned(network, arm, f"Not converged: {arm} ended as {fit.status}.")
    for network in run.scores.networks:
        subject = run.subject(network, run.featured)
        if subject.is_overfitted and subject.losses is not None:
            original, chosen = subject.losses
            message = (
                f"Overfitted: the held-out loss is {chosen:.3f} nats, above the {original:.3f} "
                "nats of the features without a transform."
            )
            yield Warned(network, run.featured, message)


def _headline(run: Run, network: str, arm: str, task: str) -> Headline:
    subject = run.subject(network, arm, task)
    standard_command = "glocal apply TRANSFORM FEATURES --out OUT"
    advice = advise(subject, run.commands.get((network, arm), standard_command))
    warnings = [
        warned.sentence
        for warned in warnings_of(run)
        if warned.arm in ("", arm) and is_of_network(warned.network, network)
    ]
    return Headline(
        **vars(advice),
        network=network,
        arm=arm,
        details=" ".join(_details(run, subject)),
        warnings=tuple(warnings),
        task=task,
    )


def _details(run: Run, subject: Subject) -> Iterator[str]:
    """Sentences on the data of the fit, on the ceiling and on other tasks."""
    if run.record.plan is not None and run.record.plan.simulated:
        yield "These are simulated data: the “people” are simulated too."
    if subject.fit is not None:
        yield f"The transform was fitted to {_fitted_data(subject.fit)}."
    if ceiling := ceiling_in_words(run.scores.of_people(subject.network, subject.task)):
        yield ceiling
    if not subject.gains:
        yield "Its effect on other tasks was not measured."


def methods_paragraph(run: Run, headlines: Sequence[Headline]) -> str:
    """Return how the data of a run were collected and fitted, and what was found, as HTML.

    It is empty for a run in which nothing was compared.
    """
    subjects = [
        run.subject(headline.network, headline.arm, headline.task)
        for headline in headlines
        if headline.choice != Choice.NETWORKS_COMPARED
    ]
    text = render(
        "methods.html",
        run=run,
        subjects=[subject for subject in subjects if subject.agreement or subject.gains],
        comparisons=[network_sentence(gain) for gain in run.network_gains],
        ceiling=_ceiling(run.scores),
        version=__version__,
        sentence=sentence,
        fitted_data=_fitted_data,
        method_in_words=lambda fit: method_in_words(vars(fit)),
    )
    return " ".join(text.split())


def _ceiling(scores: Scores) -> str:
    """The ceiling of the one set of answers, if enough of these were repeated."""
    if len(scores.tasks_of(*AGREEMENT)) > 1:
        return ""
    return ceiling_in_words(score for score in scores if score.n >= MIN_REPEATED_ANSWERS)


def _fitted_data(fit: FitRecord) -> str:
    """The answers, people, objects and local images of a fit."""
    parts = [f"{fit.n_answers:,} answers"]
    if fit.n_people:
        parts.append(f" from {fit.n_people:,} {plural('participant', fit.n_people)}")
    parts.append(f" about {fit.n_objects:,} objects")
    if fit.n_local:
        parts.append(f" and the neighbours of {fit.n_local:,} images")
    return "".join(parts)
