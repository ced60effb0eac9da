"""The arm that advice is about: its scores, its baseline and the record of its fit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

from glocal.results import UNCHANGED, FitRecord
from glocal.scores import (
    AGREEMENT,
    DIFFERENCE,
    HELD_OUT_OBJECTS,
    HELD_OUT_QUESTIONS,
    KEPT,
    ORIGINAL,
    Score,
    Scores,
)

MARGIN = 0.01  # fraction; a smaller change of a score counts as none, however certain its sign
SIGNIFICANCE = 0.05
"""The level of corrected p-values below which two arms are called different."""
KEPT_CENTRED = "neighbours_kept_centred"
_FOLDS = (HELD_OUT_OBJECTS, HELD_OUT_QUESTIONS)
LOWER_IS_BETTER = ("fpr95", "loss")


class Agreement(NamedTuple):
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
    def agreement(self) -> Agreement | None:
        """Agreement before and after; None if it was not measured."""
        task = self.task or self.scores.task_of(*AGREEMENT)
        before = self.scores.score(self.network, task, self.baseline)
        after = self.scores.score(self.network, task, self.arm)
        if before is None or after is None:
            return None
        gain = self.scores.gain(self.network, task, self.arm, self.baseline)
        return Agreement(before, after, gain)

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
    lower_is_better = gain.quantity in LOWER_IS_BETTER
    return "better" if (gain.value > 0) != lower_is_better else "worse"
