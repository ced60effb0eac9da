"""The advice about an arm: the choice to make and its reason, from scores and a fit's record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, partial
from typing import NamedTuple

from glocal.results import UNCHANGED, FitRecord, KeepRecord
from glocal.scores import (
    AGREEMENT,
    DIFFERENCE,
    HELD_OUT_OBJECTS,
    HELD_OUT_QUESTIONS,
    KEPT,
    MIN_ANSWERS_FOR_OBJECT_FOLDS,
    MIN_MEASURED_ANSWERS,
    ORIGINAL,
    Score,
    Scores,
)
from glocal.screen import plural

MIN_KEPT_FOR_SEARCH = 0.8
FEW_ANSWERS = 5_000
"""If a fit to fewer answers has no certain gain, it is too early to tell."""
MARGIN = 0.01  # fraction; a smaller change of a score counts as none, however certain its sign
SIGNIFICANCE = 0.05
"""The level of corrected p-values below which two arms are called different."""
ANSWERS = {
    HELD_OUT_OBJECTS: "about objects that the fit had not seen",
    HELD_OUT_QUESTIONS: "to questions that the fit had not seen, about the same objects",
}
"""The answers behind a score in words, by its split."""
KEPT_CENTRED = "neighbours_kept_centred"
_FOLDS = (HELD_OUT_OBJECTS, HELD_OUT_QUESTIONS)
_LOWER_IS_BETTER = ("fpr95", "loss")


class Choice(StrEnum):
    """What to do with an arm, or why nothing can be said."""

    UNFINISHED = "unfinished"
    COLLAPSED = "collapsed"
    OVERFITTED = "overfitted"
    NOT_COMPARED = "not compared"
    NETWORKS_COMPARED = "networks compared"
    NOT_MEASURED = "not measured"
    TOO_FEW_ANSWERS = "too few answers"
    SEEN = "seen"
    UNCHANGED = "unchanged"
    MOVED = "moved"
    UNCERTAIN = "uncertain"
    WORSE = "worse"
    USE_NOT_FOR_SEARCH = "use, not for search"
    USE_WITH_EXCEPTIONS = "use, with exceptions"
    USE = "use"


ACTIONS = {
    Choice.UNFINISHED: "Continue it with glocal sweep --resume.",
    Choice.COLLAPSED: "Do not use it: lower --lmbda, or check that answers and features belong "
    "together.",
    Choice.OVERFITTED: "Do not use it as it is: raise --lmbda, or let glocal fit choose it.",
    Choice.NOT_COMPARED: "",
    Choice.NETWORKS_COMPARED: "",
    Choice.NOT_MEASURED: "For its agreement with people, pass --answers that are new.",
    Choice.TOO_FEW_ANSWERS: "Collect more answers.",
    Choice.SEEN: "Do not rely on it: score answers that the fit had not seen.",
    Choice.UNCHANGED: "It leaves the features as they are. Collect more answers.",
    Choice.MOVED: "It only moves the origin of the features. Collect more answers.",
    Choice.UNCERTAIN: "Do not rely on it yet. Collect more answers.",
    Choice.WORSE: "Do not use it.",
    Choice.USE_NOT_FOR_SEARCH: "Where neighbours matter, as in search, fit again with --keep 0.9. "
    "Elsewhere, use it:",
    Choice.USE_WITH_EXCEPTIONS: "Except for {worse}, use it:",
    Choice.USE: "Use it:",
}
"""What to do by the choice; a command follows the choices to use an arm."""
USES = (Choice.USE, Choice.USE_WITH_EXCEPTIONS, Choice.USE_NOT_FOR_SEARCH)
"""The choices to use an arm."""


@dataclass(frozen=True)
class Advice:
    """The choice about an arm, what was measured in a sentence, what to do, and the command."""

    choice: Choice
    sentence: str
    action: str = ""
    command: str | None = None


class _Agreement(NamedTuple):
    """Agreement before and after; the change is up, down, or none if it is not certain."""

    before: Score
    after: Score
    gain: Score | None

    @property
    def change(self) -> str:
        """The direction of the change."""
        low, high = (None, None) if self.gain is None else (self.gain.low, self.gain.high)
        is_open = low is not None and high is not None and low <= 0 <= high
        if is_open or self.after.value == self.before.value:
            return "none"
        return "up" if self.after.value > self.before.value else "down"


@dataclass(frozen=True, eq=False)
class Subject:
    """What a finding is about: an arm of a network, its scores, and the record of its fit.

    `title` names the arm in a sentence, and `chance` is the agreement that guessing gives. `task`
    is the task that measures agreement, by default the first.
    """

    scores: Scores
    arm: str
    network: str = ""
    baseline: str = ORIGINAL
    title: str = "the transform"
    fit: FitRecord | None = None
    chance: float = 1 / 3
    is_collapsed: bool = False
    task: str = ""

    @classmethod
    def from_fit(cls, fit: FitRecord) -> Subject:
        """The transform of a fit, by the record of the fit."""
        scores = recorded_scores(fit, "transform")
        return cls(scores, "transform", fit=fit, chance=fit.chance or 1 / 3)

    @property
    def is_unchanged(self) -> bool:
        """Whether the fit leaves the features as they are, but for their origin."""
        return self.fit is not None and self.fit.status == UNCHANGED

    @property
    def name(self) -> str:
        """The network in a sentence."""
        return f"the network {self.network}".rstrip()

    @cached_property
    def agreement(self) -> _Agreement | None:
        """Agreement before and after; None if it was not measured."""
        task = self.task or self.scores.task_of(*AGREEMENT)
        before = self.scores.score(self.network, task, self.baseline)
        after = self.scores.score(self.network, task, self.arm)
        if before is None or after is None:
            return None
        gain = self.scores.gain(self.network, task, self.arm, self.baseline)
        return _Agreement(before, after, gain)

    @cached_property
    def kept(self) -> Score | None:
        """The neighbours kept; None if they were not counted."""
        return self.scores.score(self.network, self.scores.task_of(KEPT), self.arm)

    @cached_property
    def gains(self) -> dict[str, Score]:
        """The differences from the baseline in tasks other than agreement and neighbours kept."""
        main_tasks = self.scores.tasks_of(*AGREEMENT, KEPT)
        gains = {}
        for task in self.scores.tasks:
            gain = self.scores.gain(self.network, task, self.arm, self.baseline)
            if gain is not None and gain.p_corrected is not None and task not in main_tasks:
                gains[task] = gain
        return gains

    def tasks(self, outcome: str) -> str:
        """The tasks that got ``better`` or ``worse``, listed."""
        return ", ".join(task for task, gain in self.gains.items() if direction(gain) == outcome)

    @property
    def losses(self) -> tuple[float, float] | None:
        """The loss on folds before and after, in nats; None unless both were measured."""
        task = self.scores.task_of("loss") or self.task or self.scores.task_of(*AGREEMENT)
        before, after = (
            self.scores.score(self.network, task, arm, "loss") for arm in (self.baseline, self.arm)
        )
        # elsewhere the scale of the original features, and so their loss, is arbitrary
        if before is None or after is None or before.split not in _FOLDS:
            return None
        return before.value, after.value

    @property
    def is_overfitted(self) -> bool:
        """Whether the held-out loss is above the loss of the features without a transform."""
        if self.losses is None or self.is_unchanged:
            return False
        before, after = self.losses
        return after > before


def recorded_scores(fit: FitRecord | None, arm: str, network: str = "") -> Scores:
    """The held-out scores in the record of a fit as rows of the original features and of the arm.

    They are empty if the record has none.
    """
    heldout = None if fit is None else fit.heldout
    if heldout is None:
        return Scores()
    split = HELD_OUT_OBJECTS if heldout.of == "objects" else HELD_OUT_QUESTIONS
    score = partial(Score, split=split, network=network or None)
    agreement = partial(score, "odd-one-out", n=heldout.n)
    structure = partial(score, "structure", n=heldout.n_images, settings={"k": heldout.k})
    ends = (heldout.low, heldout.high)
    kept_ends = (heldout.neighbours_kept_low, heldout.neighbours_kept_high)
    gain = (heldout.gain, heldout.gain_low, heldout.gain_high)
    metric, _ = AGREEMENT
    scores = [
        agreement(metric, heldout.original, heldout.original_low, heldout.original_high),
        agreement(metric, heldout.agreement, *ends, transform=arm),
        agreement(metric + DIFFERENCE, *gain, transform=arm, settings={"baseline": ORIGINAL}),
        agreement("loss", heldout.original_loss),
        agreement("loss", heldout.loss, transform=arm),
        structure(KEPT, 1.0),
        structure(KEPT, heldout.neighbours_kept, *kept_ends, transform=arm),
    ]
    if heldout.neighbours_kept_centred is not None:
        scores.append(structure(KEPT_CENTRED, heldout.neighbours_kept_centred, transform=arm))
    return Scores(scores)


def direction(gain: Score | None) -> str:
    """How a task changed against the baseline: ``better``, ``worse``, or ``same``."""
    if gain is None or gain.p_corrected is None:
        return "same"
    if not (abs(gain.value) > MARGIN and gain.p_corrected < SIGNIFICANCE):
        return "same"
    lower_is_better = gain.quantity in _LOWER_IS_BETTER
    return "better" if (gain.value > 0) != lower_is_better else "worse"


def advise(subject: Subject, command: str | None = None) -> Advice:
    """The advice about an arm; the command is kept if the choice is to use it."""
    choice = _choice(subject)
    action = ACTIONS[choice].format(worse=subject.tasks(Choice.WORSE))
    return Advice(choice, sentence(subject), action, command if choice in USES else None)


def _choice(subject: Subject) -> Choice:
    """The choice to make."""
    agreement = subject.agreement
    if subject.is_collapsed:
        return Choice.COLLAPSED
    if subject.is_overfitted:
        return Choice.OVERFITTED
    if agreement is None:
        is_known = subject.kept is None or subject.gains
        return Choice.NOT_COMPARED if is_known else Choice.NOT_MEASURED
    if 0 < agreement.after.n < MIN_MEASURED_ANSWERS:
        return Choice.TOO_FEW_ANSWERS
    if agreement.after.is_seen:
        return Choice.SEEN
    if subject.fit is not None and subject.is_unchanged:
        return Choice.MOVED if subject.fit.centre else Choice.UNCHANGED
    if agreement.change == "none":
        return Choice.UNCERTAIN
    if agreement.change == "down":
        return Choice.WORSE
    if subject.kept is not None and subject.kept.value < MIN_KEPT_FOR_SEARCH:
        return Choice.USE_NOT_FOR_SEARCH
    return Choice.USE_WITH_EXCEPTIONS if subject.tasks(Choice.WORSE) else Choice.USE


def sentence(subject: Subject) -> str:
    """What was measured about the arm, in words."""
    agreement = subject.agreement
    kept = "" if subject.kept is None else _keeping(subject, subject.kept)
    if subject.is_collapsed:
        return (
            f"The transform maps all objects of {subject.name} to one point: they cannot be told "
            "apart, and agreement with people is that of guessing."
        )
    if agreement is None and kept and not subject.gains:
        return f"The transform of {subject.name} {kept}."
    if agreement is None:
        return _comparison(subject) + (kept and f" It {kept}.")
    if 0 < agreement.after.n < MIN_MEASURED_ANSWERS:
        return (
            f"{agreement.after.n} answers {scored_on(agreement.after)} are too few to measure "
            f"agreement; at least {MIN_MEASURED_ANSWERS} are needed."
        )
    guessing = f"Guessing gives {100 * subject.chance:.1f} %."
    clauses = f"{_agreeing(subject, agreement)}.{kept and f' It {kept}.'} {guessing}"
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
    lower_is_better = gain.quantity in _LOWER_IS_BETTER
    outcome = "no difference is certain"
    if is_certain:
        outcome = "it is better" if (gain.value > 0) != lower_is_better else "it is worse"
    return (
        f"On {gain.task}, {gain.network} less {gain.baseline_network} is {gain.text()} "
        f"({gain.transform}{test}): {outcome}."
    )


def fit_notes(fit: FitRecord) -> Iterator[str]:
    """Yield what else to know of a fit: what another share would give, and what is unmeasured."""
    if fit.keep is not None:
        yield from keep_notes(fit.keep)
    if fit.heldout is None:
        yield "generalisation is unmeasured: --holdout 3 also scores answers on held-out objects."
    elif fit.heldout.of == "questions" and fit.status != UNCHANGED:
        yield (
            "on new objects expect less; folds hold out objects, which measures how much, from "
            f"{MIN_ANSWERS_FOR_OBJECT_FOLDS:,} answers on."
        )


def keep_notes(keep: KeepRecord) -> Iterator[str]:
    """Yield that there is nothing to gain, or what another share of neighbours would give."""
    freest = keep.freest
    if keep.gain_error is None or keep.gain <= 2 * keep.gain_error:
        action = "More answers may show a gain."
        if freest is not None:
            action = "A lower keep allows a larger change."
        yield f"there is nothing to gain: agreement rises by {keep.gain:.3f}. {action}"
        return
    if freest is None or keep.forgone_error is None:
        return
    if keep.forgone > max(keep.gain, 2 * keep.forgone_error):
        yield (
            f"keep={keep.keep:g} reaches an agreement of {freest.agreement - keep.forgone:.3f}. "
            f"These features allow {freest.agreement:.3f}, with {freest.neighbours_kept:.2f} of "
            "the neighbours kept. Lower keep if agreement matters more."
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


def _agreeing(subject: Subject, agreement: _Agreement) -> str:
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
