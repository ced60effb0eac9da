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

_SOURCE = (
    "Muttenthaler, L., Linhardt, L., Dippel, J., Vandermeulen, R. A., Hermann, K., Lampinen, A. K. "
    "& Kornblith, S. (2023). Improving neural network representations using human similarity "
    "judgments. Advances in Neural Information Processing Systems, 36."
)
_INTERVALS = (
    "Agreement is a fraction; in brackets are 95 % intervals, unless another level is stated."
)


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
        less = "" if agreement.gain is None else f", a difference of {agreement.gain.text()}"
        yield (
            f"On {number}, the agreement of {subject.name} with people was "
            f"{agreement.before.text()} before and {agreement.after.text()} after{less}."
        )
        if subject.kept is not None:
            k = subject.kept.settings.get("k", 10)
            share = subject.kept.text()
            yield f"The share of its {k} nearest neighbours that an image kept was {share}."
    for task, gain in subject.gains.items():
        level = gain.settings.get("level")
        interval = "" if level is None else f"{100 * level:.3g} % interval, "
        p = f"p {gain.p_corrected:.2g}, corrected by Holm"
        yield f"The score of {task} changed by {gain.text()} ({interval}{p})."
