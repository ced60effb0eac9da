"""What was measured about an arm, a network or a fit, in words."""

from __future__ import annotations

from collections.abc import Iterator

from glocal.advice.subject import KEPT_CENTRED, LOWER_IS_BETTER, Agreement, Subject
from glocal.results import UNCHANGED, FitRecord, KeepRecord
from glocal.scores import (
    AGREEMENT,
    HELD_OUT_OBJECTS,
    HELD_OUT_QUESTIONS,
    MIN_ANSWERS_FOR_OBJECT_FOLDS,
    MIN_MEASURED_ANSWERS,
    Score,
)
from glocal.screen import plural

FEW_ANSWERS = 5_000
"""If a fit to fewer answers has no certain gain, it is too early to tell."""
ANSWERS = {
    HELD_OUT_OBJECTS: "about objects that the fit had not seen",
    HELD_OUT_QUESTIONS: "to questions that the fit had not seen, about the same objects",
}
"""The answers behind a score in words, by its split."""


def sentence(subject: Subject) -> str:
    """What was measured about the arm, in words."""
    agreement = subject.agreement
    kept = "" if subject.kept is None else _keeping(subject, subject.kept)
    it_keeps = f" It {kept}." if kept else ""
    if subject.is_collapsed:
        return (
            f"The transform maps all objects of {subject.name} to one point: they cannot be told "
            "apart, and it agrees with people as often as guessing does."
        )
    if agreement is None and kept and not subject.gains:
        return f"The transform of {subject.name} {kept}."
    if agreement is None:
        return f"{_comparison(subject)}{it_keeps}"
    if 0 < agreement.after.n < MIN_MEASURED_ANSWERS:
        return (
            f"{agreement.after.n} answers {scored_on(agreement.after)} are too few to measure "
            f"agreement; at least {MIN_MEASURED_ANSWERS} are needed."
        )
    guessing = f"Guessing gives {100 * subject.chance:.1f} %."
    clauses = f"{_agreeing(subject, agreement)}.{it_keeps} {guessing}"
    if agreement.change != "none":
        return f"With {subject.title}, {clauses}"
    n_answers = agreement.after.n if subject.fit is None else subject.fit.n_answers
    is_early = n_answers < FEW_ANSWERS
    opening = "It is too early to tell" if is_early else "No gain is certain"
    return f"{opening}: with {subject.title}, {clauses}"


def network_sentence(gain: Score) -> str:
    """The difference between two networks on one task, in words."""
    p = gain.p if gain.p_corrected is None else gain.p_corrected
    test = "" if p is None else f", p = {p:.2g}"
    is_certain = gain.low is not None and gain.high is not None and gain.low * gain.high > 0
    lower_is_better = gain.quantity in LOWER_IS_BETTER
    outcome = "no difference is certain"
    if is_certain:
        outcome = "it is better" if (gain.value > 0) != lower_is_better else "it is worse"
    return (
        f"On {gain.task}, {gain.network} less {gain.baseline_network} is {gain.text()} "
        f"({gain.transform}{test}): {outcome}."
    )


def fit_notes(fit: FitRecord) -> Iterator[str]:
    """Yield what else to know of a fit: what another share would give, and what is unmeasured."""
    if fit.n_dropped:
        yield f"{fit.n_dropped:,} answers name an object without features, and were left out."
    if fit.keep is not None:
        yield from keep_notes(fit.keep)
    if fit.heldout is None:
        yield "generalisation is unmeasured: --holdout 3 also scores answers on held-out objects."
    elif fit.heldout.of == "questions" and fit.status != UNCHANGED:
        yield (
            f"expect less on new objects. With {MIN_ANSWERS_FOR_OBJECT_FOLDS:,} answers or more, "
            "--holdout 3 measures how much."
        )


def keep_notes(keep: KeepRecord) -> Iterator[str]:
    """Yield that there is nothing to gain, or what another share of neighbours would give."""
    freest = keep.freest
    if keep.gain_error is None or keep.gain <= 2 * keep.gain_error:
        action = "More answers may show a gain."
        if freest is not None:
            action = "A lower keep allows a larger change."
        yield f"there is nothing to gain: agreement rises by {100 * keep.gain:.1f} points. {action}"
        return
    if freest is None or keep.forgone_error is None:
        return
    if keep.forgone > max(keep.gain, 2 * keep.forgone_error):
        reached = f"{100 * (freest.agreement - keep.forgone):.1f} %"
        attainable = f"{100 * freest.agreement:.1f} %"
        share = f"{100 * freest.neighbours_kept:.0f} %"
        yield (
            f"keep {keep.keep:g} agrees with people in {reached} of answers. These features allow "
            f"{attainable}, with {share} of the neighbours kept. Lower keep if agreement matters "
            "more."
        )


def scored_on(score: Score) -> str:
    """What the fit had seen of the answers behind a score, in words that follow "answers"."""
    if score.split in ANSWERS:
        return ANSWERS[score.split]
    if score.seen_answers is None:
        return "(it is not known whether the fit had seen them)"
    if score.seen_objects == 0:
        return ANSWERS[HELD_OUT_OBJECTS]
    if round(100 * score.seen_answers) == 0:
        return "that the fit had not seen"
    return f"of which the fit had seen {100 * score.seen_answers:.0f} %"


def _agreeing(subject: Subject, agreement: Agreement) -> str:
    """The clause on agreement before and after, with the interval of its change."""
    after = agreement.after
    number = f"{after.n:,} " if after.n else ""
    answers = f"{number}answers {scored_on(after)}"
    if len(subject.scores.tasks_of(*AGREEMENT)) > 1:
        answers = f"{number}answers of {after.task}, {scored_on(after)}"
    before = f"{100 * agreement.before.value:.1f} %"
    changes = {
        "none": f"which cannot be told from the {before} before",
        "up": f"up from {before}",
        "down": f"down from {before}",
    }
    gain = agreement.gain
    interval = ""
    if gain is not None and gain.low is not None and gain.high is not None:
        ends = f"{100 * gain.low:+.1f} to {100 * gain.high:+.1f} points"
        interval = f" (95 % interval of the change {ends})"
    return (
        f"{subject.name} agrees with people in {100 * after.value:.1f} % of {answers}, "
        f"{changes[agreement.change]}{interval}"
    )


def _keeping(subject: Subject, kept: Score) -> str:
    """The neighbours kept, beside a moved origin also those in the centred features."""
    k = kept.settings.get("k")
    number = "" if k is None else f"{k} "
    centred = subject.scores.score(subject.network, kept.task, subject.arm, KEPT_CENTRED)
    of_centred = ""
    if centred is not None:
        of_centred = f", {100 * centred.value:.1f} % of those in the centred features"
    images = f" (among {kept.n:,} images)" if kept.n else ""
    share = f"{100 * kept.value:.1f} %"
    return f"keeps {share} of the {number}nearest neighbours of each image{of_centred}{images}"


def _comparison(subject: Subject) -> str:
    """The sentence on tasks, if agreement with people was not measured."""
    n_compared = len(subject.gains)
    if not n_compared:
        return "There are scores, but nothing was compared."
    outcomes = [
        f"{outcome} on {subject.tasks(outcome)}"
        for outcome in ("better", "worse")
        if subject.tasks(outcome)
    ]
    return (
        f"Compared with {subject.baseline} on {n_compared} {plural('task', n_compared)}, "
        f"{subject.arm} is {' and '.join(outcomes) or 'neither certainly better nor worse'}."
    )
