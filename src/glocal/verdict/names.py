"""The situations in which the texts of class names decide, alone or beside examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from glocal.data.features import Features
from glocal.evaluation.accuracy import TRAINING_VARIANCE
from glocal.evaluation.comparison import Result
from glocal.evaluation.episodes import EpisodeValues, balanced_values
from glocal.evaluation.few_shot import few_shot
from glocal.evaluation.intervals import ItemValues
from glocal.scores import ORIGINAL
from glocal.similarity import Labels
from glocal.verdict.examples import (
    AND_NAMES,
    EXAMPLES,
    NAMES,
    NAMES_ALONE,
    NAMES_AND_EXAMPLES,
    NAMES_OR_EXAMPLES,
    AllLabels,
    FewLabels,
    Results,
    Task,
    with_labels,
)
from glocal.verdict.images import Arms, Rows


@dataclass(frozen=True, eq=False)
class ClassNames(Task):
    """The texts of the class names alone, which need no example."""

    texts: Features

    name = NAMES
    head = "with no label, class names"

    @property
    def least(self) -> int:
        """The different images that a class needs."""
        return 1

    def results(self, arms: Arms) -> Results:
        """The result of names alone."""
        originals, *_ = arms.values()
        sides = self.sides(originals)
        return {NAMES_ALONE: self.score(*sides)}

    def score(self, *sides: np.ndarray) -> Result:
        """The result of names alone on original rows."""
        return by_names(self.texts, sides, sides, shots=0)


@dataclass(frozen=True, eq=False)
class NamesBeside(Task):
    """The texts of the class names beside so many labels of each class, or beside all.

    All arms are compared with the names alone. Texts meet the rows of the first arm, which are the
    original ones.
    """

    texts: Features
    shots: int | None

    @cached_property
    def examples(self) -> FewLabels | AllLabels:
        """The situation with the same labels and no names."""
        return with_labels(self.images, self.shots)

    @property
    def name(self) -> str:
        """The situation, as in scores."""
        return self.examples.name + AND_NAMES

    @property
    def head(self) -> str:
        """The situation in the words of a sentence."""
        return "  … and the names"

    @property
    def least(self) -> int:
        """The different images that a class needs."""
        return self.examples.least

    def sides(self, rows: Rows) -> list[np.ndarray]:
        """The rows and labels of each side."""
        return self.examples.sides(rows)

    def results(self, arms: Arms) -> Results:
        """The result of names alone, and of each arm beside them."""
        rows, *_ = arms.values()
        originals = self.sides(rows)
        results: dict[str, Result] = {}
        for arm, arm_rows in arms.items():
            sides = self.sides(arm_rows)
            results[arm] = by_names(self.texts, originals, sides, shots=self.shots)
        first, *_ = results.values()
        tested_labels = originals[-1]
        alone = by_names(self.texts, originals, originals, shots=0)
        baseline = _on_the_images_of(first, alone, tested_labels)
        return {NAMES_ALONE: baseline, **results}

    def score(self, *sides: np.ndarray) -> Result:
        """The result of original rows beside the names."""
        return by_names(self.texts, sides, sides, shots=self.shots)


@dataclass(frozen=True, eq=False)
class NamesOrExamples(NamesBeside):
    """Names alone, examples alone, or both, on the original rows."""

    name = NAMES_OR_EXAMPLES

    @property
    def head(self) -> str:
        """The situation in the words of a sentence."""
        labels = "all your labels" if self.shots is None else self.examples.name
        return f"names or {labels}"

    def results(self, arms: Arms) -> Results:
        """The result of names, of examples, and of both."""
        rows, *_ = arms.values()
        originals = {ORIGINAL: rows}
        alone, both = super().results(originals).values()
        (examples,) = self.examples.results(originals).values()
        return {
            NAMES_ALONE: _accuracy(alone),
            EXAMPLES: _accuracy(examples),
            NAMES_AND_EXAMPLES: _accuracy(both),
        }


def _accuracy(result: Result) -> Result:
    """The accuracy of a result, whatever its classifier and its settings."""
    first_score = result.scores[0]
    score = replace(first_score, metric="accuracy", settings={})
    return replace(result, scores=(score,))


def has_baseline_names(task: str) -> bool:
    """Whether the arms of a situation are compared with the names alone."""
    return task.endswith(AND_NAMES) or task == NAMES_OR_EXAMPLES


def by_names(
    texts: Features,
    originals: Sequence[np.ndarray],
    sides: Sequence[np.ndarray],
    *,
    shots: int | None,
) -> Result:
    """`few_shot` with the texts of the classes, which meet the original rows of each side."""
    has_test = len(originals) > 2
    return few_shot(
        *sides,
        shots=shots,
        texts=texts,
        originals=originals[0],
        originals_test=originals[2] if has_test else None,
    )


def _on_the_images_of(result: Result, alone: Result, y: Labels) -> Result:
    """The result of class names alone on the images that each draw or fold tests, of classes y."""
    first_score = result.scores[0]
    units: EpisodeValues | ItemValues
    if isinstance(result.units, EpisodeValues):
        is_untested = np.isnan(result.units.values)
        credits = np.where(is_untested, np.nan, alone.by_image)
        units = replace(result.units, values=credits)
    else:
        has_folds = first_score.settings["folds"] != 0
        inflation = TRAINING_VARIANCE if has_folds else 1.0
        values = balanced_values(alone.by_image, y, inflation)
        units = ItemValues(values=values)
    value, low, high = units.bounded()
    score = replace(
        first_score,
        value=value,
        low=low,
        high=high,
    )
    return replace(result, scores=(score,), units=units)
