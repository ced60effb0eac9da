"""The arm that advice is about: its scores, its baseline and the record of its fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

from glocal.results import UNCHANGED, FitRecord, HeldOutScores
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
        before = self.before.value
        after = self.after.value
        if after == before or self._is_uncertain:
            return "none"
        return "up" if after > before else "down"

    @property
    def _is_uncertain(self) -> bool:
        """Whether the interval of the gain includes 0."""
        gain = self.gain
        if gain is None or gain.low is None or gain.high is None:
            return False
        return gain.low <= 0 <= gain.high


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
        chance = fit.chance or 1 / 3
        return cls(scores, "transform", fit=fit, chance=chance)

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
        before = self._score(task, self.baseline)
        after = self._score(task, self.arm)
        if before is None or after is None:
            return None
        gain = self._gain(task)
        return Agreement(before, after, gain)

    @cached_property
    def kept(self) -> Score | None:
        """The neighbours kept; None if they were not counted."""
        task = self.scores.task_of(KEPT)
        return self._score(task, self.arm)

    @cached_property
    def gains(self) -> dict[str, Score]:
        """The differences from the baseline in tasks other than agreement and neighbours kept."""
        main_tasks = self.scores.tasks_of(*AGREEMENT, KEPT)
        gains = {}
        for task in self.scores.tasks:
            if task in main_tasks:
                continue
            gain = self._gain(task)
            if gain is not None and gain.p_corrected is not None:
                gains[task] = gain
        return gains

    def _score(self, task: str, arm: str, metric: str = "") -> Score | None:
        """The score of an arm of this network."""
        return self.scores.score(self.network, task, arm, metric)

    def _gain(self, task: str) -> Score | None:
        """The difference of the arm from the baseline in a task."""
        return self.scores.gain(self.network, task, self.arm, self.baseline)

    def tasks(self, outcome: str) -> str:
        """The tasks that got ``better`` or ``worse``, listed."""
        tasks = []
        for task, gain in self.gains.items():
            if direction(gain) == outcome:
                tasks.append(task)
        return ", ".join(tasks)

    @property
    def losses(self) -> tuple[float, float] | None:
        """The loss on folds before and after, in nats; None unless both were measured."""
        task = self.scores.task_of("loss") or self.task or self.scores.task_of(*AGREEMENT)
        before = self._score(task, self.baseline, "loss")
        after = self._score(task, self.arm, "loss")
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
    agreement = _agreement_scores(heldout, arm, score)
    structure = _structure_scores(heldout, arm, score)
    return Scores(agreement + structure)


def _agreement_scores(
    heldout: HeldOutScores,
    arm: str,
    score: Callable[..., Score],
) -> list[Score]:
    """Agreement and loss of the original features and of the arm, and their difference."""
    agreement = partial(score, "odd-one-out", n=heldout.n)
    metric, _ = AGREEMENT
    original = (heldout.original, heldout.original_low, heldout.original_high)
    transformed = (heldout.agreement, heldout.low, heldout.high)
    gain = (heldout.gain, heldout.gain_low, heldout.gain_high)
    settings = {"baseline": ORIGINAL}
    return [
        agreement(metric, *original),
        agreement(metric, *transformed, transform=arm),
        agreement(metric + DIFFERENCE, *gain, transform=arm, settings=settings),
        agreement("loss", heldout.original_loss),
        agreement("loss", heldout.loss, transform=arm),
    ]


def _structure_scores(
    heldout: HeldOutScores,
    arm: str,
    score: Callable[..., Score],
) -> list[Score]:
    """The neighbours that images keep in the original features and in the arm."""
    settings = {"k": heldout.k}
    structure = partial(score, "structure", n=heldout.n_images, settings=settings)
    original = structure(KEPT, 1.0)
    transformed = structure(
        KEPT,
        heldout.neighbours_kept,
        heldout.neighbours_kept_low,
        heldout.neighbours_kept_high,
        transform=arm,
    )
    scores = [original, transformed]
    kept_centred = heldout.neighbours_kept_centred
    if kept_centred is not None:
        centred = structure(KEPT_CENTRED, kept_centred, transform=arm)
        scores.append(centred)
    return scores


def direction(gain: Score | None) -> str:
    """How a task changed against the baseline: ``better``, ``worse``, or ``same``."""
    if gain is None or gain.p_corrected is None:
        return "same"
    is_large = abs(gain.value) > MARGIN
    is_significant = gain.p_corrected < SIGNIFICANCE
    if not (is_large and is_significant):
        return "same"
    lower_is_better = gain.quantity in LOWER_IS_BETTER
    return "better" if (gain.value > 0) != lower_is_better else "worse"
