"""The findings of a run, one for each network, and the paragraph to copy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glocal._version import __version__
from glocal.evaluation.agreement import ceiling_in_words
from glocal.finding import ADVICE, Subject, choice, plural, sentence
from glocal.report.front import warnings_of
from glocal.report.runs import Run
from glocal.results import method_in_words, value_at
from glocal.scores import AGREEMENT, KEPT

MIN_KEPT = 0.9
"""Smallest share of neighbours that the featured arm of a suite keeps, if any arm keeps as many."""
_SOURCE = (
    "Muttenthaler, L., Linhardt, L., Dippel, J., Vandermeulen, R. A., Hermann, K., Lampinen, A. K. "
    "& Kornblith, S. (2023). Improving neural network representations using human similarity "
    "judgments. Advances in Neural Information Processing Systems, 36."
)
_INTERVALS = "In brackets are 95 % intervals, unless another level is stated."


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


def methods_paragraph(run: Run, findings: Sequence[Finding]) -> str:
    """Return how the data of a run were collected and fitted, and what was found, with references.

    It is empty for a run in which nothing was compared.
    """
    subjects = [run.subject(finding.network, finding.arm) for finding in findings]
    compared = [subject for subject in subjects if subject.agreement or subject.gains]
    if not compared:
        return ""
    fits = dict.fromkeys(_fitting(subject) for subject in subjects if subject.fit)
    results = [text for subject in compared for text in (sentence(subject), *_on_tasks(subject))]
    ceilings = dict.fromkeys([ceiling_in_words(run.scores)])
    sentences = [*run.design, *fits, *results, *ceilings, _INTERVALS, _SOURCE]
    return " ".join(filter(None, sentences))


def _fitting(subject: Subject) -> str:
    """The sentence on the fit of a transform: the method, its settings and the data."""
    fit = subject.fit
    data = []
    if fit.get("n_answers"):
        data.append(f"{fit['n_answers']:,} answers about {fit.get('n_objects', 0):,} images")
    if fit.get("n_local"):
        data.append(f"the neighbours of {fit['n_local']:,} images")
    to_data = f" to {' and '.join(data)}" if data else ""
    version = value_at(fit, "provenance.version") or __version__
    return (
        f"A linear transform of the features of {subject.name} was fitted{to_data} by the method "
        f"of Muttenthaler et al. (2023) with glocal {version} ({_settings(fit)})."
    )


def _settings(fit: Mapping[str, Any]) -> str:
    """The settings of a fit, and how they were chosen."""
    keep = value_at(fit, "keep.keep")
    if keep is not None:
        return f"its settings were chosen to keep {100 * keep:g} % of each image's neighbours"
    if fit.get("keep") is not None:
        return "λ was chosen on held-out questions"
    return method_in_words(fit) if fit.get("method") else "no transform was better than none"


def _on_tasks(subject: Subject) -> Iterator[str]:
    """Sentences on tasks other than agreement and neighbours kept, each with its interval."""
    for task, gain in subject.gains.items():
        level = gain.settings.get("level")
        interval = "" if level is None else f"{100 * level:.3g} % interval, "
        p = f"p {gain.p_corrected:.2g}, corrected by Holm"
        yield f"The score of {task} changed by {gain.text()} ({interval}{p})."
