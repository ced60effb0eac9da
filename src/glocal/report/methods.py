"""The paragraph on methods and results that an author can copy from a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from glocal._version import __version__
from glocal.evaluation.agreement import ceiling_in_words
from glocal.finding import Subject, scored_on
from glocal.report.finding import Finding
from glocal.report.runs import Run
from glocal.results import method_in_words, value_at
from glocal.scores import Score

_SOURCE = (
    "Muttenthaler, L., Linhardt, L., Dippel, J., Vandermeulen, R. A., Hermann, K., Lampinen, A. K. "
    "& Kornblith, S. (2023). Improving neural network representations using human similarity "
    "judgments. Advances in Neural Information Processing Systems, 36."
)
_INTERVALS = "In brackets are 95 % intervals."


def methods_paragraph(run: Run, findings: Sequence[Finding]) -> str:
    """Return how the data of a run were collected and fitted, and what was found, with references.

    It is empty for a run in which nothing was compared.
    """
    subjects = [run.subject(finding.network, finding.arm) for finding in findings]
    results = [sentence for subject in subjects for sentence in _results(subject)]
    if not results:
        return ""
    fits = dict.fromkeys(_fitting(subject) for subject in subjects if subject.fit)
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


def _results(subject: Subject) -> Iterator[str]:
    """Sentences on agreement, neighbours and other tasks, each with its interval."""
    agreement = subject.agreement
    if agreement is not None:
        number = f"{agreement.after.n:,} answers {scored_on(agreement.after)}".strip()
        sentence = (
            f"On {number}, the agreement of {subject.name} with people was "
            f"{_percent(agreement.before)} before and {_percent(agreement.after)} after"
        )
        gain = agreement.gain
        yield f"{sentence}." if gain is None else f"{sentence}, a difference of {_points(gain)}."
        if subject.kept is not None:
            k = subject.kept.settings.get("k", 10)
            yield f"Of the {k} nearest neighbours of an image {_percent(subject.kept)} stayed."
    for task, gain in subject.gains.items():
        yield f"{task} changed by {gain.text()} (p {gain.p_corrected:.2g}, corrected by Holm)."


def _percent(score: Score) -> str:
    """A score in per cent with its interval."""
    ends = ""
    if score.low is not None and score.high is not None:
        ends = f" [{100 * score.low:.1f}, {100 * score.high:.1f}]"
    return f"{100 * score.value:.1f} %{ends}"


def _points(gain: Score) -> str:
    """A difference in points of a per cent with its interval."""
    ends = ""
    if gain.low is not None and gain.high is not None:
        ends = f" [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
    return f"{100 * gain.value:+.1f} points{ends}"
