"""The situations in which labelled examples decide: a few labels, all labels, and a search.

Each says why it cannot be decided, or scores all arms on the same images.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from glocal.data.labels import Superclasses, superclass_rows
from glocal.evaluation.comparison import Result
from glocal.evaluation.few_shot import few_shot, few_shot_by_superclass
from glocal.evaluation.retrieval import retrieval
from glocal.scores import ORIGINAL
from glocal.verdict import images as limits
from glocal.verdict.images import MIN_IMAGES, Arms, LabelledImages, Rows, sample_rows

ONE_LABEL = "1 label a class"
FIVE_LABELS = "5 labels a class"
ALL_LABELS = "all labels"
SEARCH = "search by class"
SUPERCLASSES = "superclasses"
NAMES = "class names"
AND_NAMES = " and the names"
NAMES_OR_EXAMPLES = "names or examples"
NAMES_ALONE = "names alone"
"""The arm that uses class names and no example."""
EXAMPLES = "examples alone"
NAMES_AND_EXAMPLES = "names and examples"
WITHOUT_MAP = (ORIGINAL, NAMES_ALONE, EXAMPLES, NAMES_AND_EXAMPLES)
"""The arms whose rows stay as they are."""
MIN_ROUGH_IMAGES = 6
"""Images of the smallest class without labels, with one label, and in a search.

With fewer than `MIN_IMAGES` these are rough, and no other situation is decided.
"""
FEW_LABELS_STRENGTH = 10.0
"""C of logistic regression with few labels; on rows of length 1, no C of 1, 10 and 100 is better
with one label and with five."""
_FEW_LABELS_DRAWS = 40
LEVEL = 0.05
ROUGH_LEVEL = 0.005
Results = Mapping[str, Result]
"""The result of each arm; the others are compared with the first."""


@dataclass(frozen=True, eq=False)
class Task(ABC):
    """What arms are compared in: `name`, and `head` in the words of a sentence.

    Classes with fewer than `least` different images are left out.
    """

    images: LabelledImages

    @property
    @abstractmethod
    def name(self) -> str:
        """The situation, as in scores."""

    @property
    @abstractmethod
    def head(self) -> str:
        """The situation in the words of a sentence."""

    @property
    def least(self) -> int:
        """The different images that a class needs."""
        return MIN_ROUGH_IMAGES

    @cached_property
    def classes(self) -> list[Any]:
        """The classes that enter."""
        return self.images.classes_of(self.least)

    @property
    def left_out(self) -> Mapping[Any, int]:
        """The classes that do not enter, with their numbers of images."""
        sizes = self.images.sizes
        return {label: size for label, size in sizes.items() if label not in self.classes}

    @property
    def reason(self) -> str:
        """Why the situation cannot be decided; empty if it can."""
        n = len(self.classes)
        if n > 1:
            return ""
        return f"needs two classes of {self.least} images; you have {n}"

    @property
    def is_rough(self) -> bool:
        """Whether a class has few images."""
        sizes = [self.images.sizes[label] for label in self.classes]
        return any(size < MIN_IMAGES for size in sizes)

    @property
    def level(self) -> float:
        """The level of significance of a step, which is lower where a class has few images."""
        return ROUGH_LEVEL if self.is_rough else LEVEL

    def results(self, arms: Arms) -> Results:
        """The result of each arm."""
        results: dict[str, Result] = {}
        for arm, rows in arms.items():
            sides = self.sides(rows)
            results[arm] = self.score(*sides)
        return results

    def sides(self, rows: Rows) -> list[np.ndarray]:
        """The rows and labels of each side."""
        return self.images.sides(self.classes, rows)

    @abstractmethod
    def score(self, *sides: np.ndarray) -> Result:
        """The result of one arm."""


@dataclass(frozen=True, eq=False)
class FewLabels(Task):
    """So many labels of each class; with superclasses, a class of the true superclass is right."""

    shots: int = 1
    superclasses: Superclasses | None = None

    @property
    def name(self) -> str:
        """The situation, as in scores."""
        if self.superclasses is not None:
            return SUPERCLASSES
        if self.shots == 1:
            return ONE_LABEL
        return f"{self.shots} labels a class"

    @property
    def head(self) -> str:
        """The situation in the words of a sentence."""
        if self.superclasses is not None:
            return f"for superclasses, {self.shots} label"
        return f"with {self.name}"

    @property
    def least(self) -> int:
        """The different images that a class needs."""
        return MIN_ROUGH_IMAGES if self.shots == 1 else MIN_IMAGES

    @cached_property
    def superclass_of(self) -> Superclasses:
        """The superclass of each class that has one."""
        labels = np.array([*self.images.sizes])
        rows, superclasses = superclass_rows(labels, self.superclasses or {})
        classes = labels[rows].tolist()
        return dict(zip(classes, superclasses.tolist(), strict=True))

    @cached_property
    def classes(self) -> list[Any]:
        """The classes that enter."""
        classes = self.images.classes_of(self.least)
        if self.superclasses is None:
            return classes
        return [label for label in classes if label in self.superclass_of]

    @property
    def reason(self) -> str:
        """Why the situation cannot be decided; empty if it can."""
        if self.superclasses is None:
            return super().reason
        superclasses = {self.superclass_of[label] for label in self.classes}
        n = len(superclasses)
        if n > 1:
            return ""
        return f"needs two superclasses of classes of {self.least} images; you have {n}"

    def results(self, arms: Arms) -> Results:
        """The result of each arm by the classifier that is better on the first one."""
        by_mean = super().results(arms)
        if self.superclasses is not None:
            return by_mean
        by_regression = {
            arm: few_shot(
                *self.sides(rows),
                shots=self.shots,
                probe="logistic",
                strength=FEW_LABELS_STRENGTH,
                draws=_FEW_LABELS_DRAWS,
            )
            for arm, rows in arms.items()
        }
        first = next(iter(arms))
        accuracy_by_mean = by_mean[first].accuracy
        accuracy_by_regression = by_regression[first].accuracy
        if accuracy_by_regression > accuracy_by_mean:
            return _beside(by_regression, by_mean)
        return _beside(by_mean, by_regression)

    def score(self, *sides: np.ndarray) -> Result:
        """The result of one arm by nearest class means."""
        if self.superclasses is None:
            return few_shot(
                *sides,
                shots=self.shots,
                probe="ncm",
            )
        return few_shot_by_superclass(
            *sides,
            superclasses=self.superclass_of,
            shots=self.shots,
        )


def _beside(results: Results, others: Results) -> Results:
    """The results of each arm, with the scores of another classifier beside them."""
    both: dict[str, Result] = {}
    for arm, result in results.items():
        scores = result.scores + others[arm].scores
        both[arm] = replace(result, scores=scores)
    return both


@dataclass(frozen=True, eq=False)
class AllLabels(Task):
    """All labels; above `MAX_IMAGES` images, a sample of them decides."""

    name = ALL_LABELS

    @property
    def least(self) -> int:
        """The different images that a class needs."""
        return MIN_IMAGES

    @property
    def head(self) -> str:
        """The situation in the words of a sentence."""
        labels = self.images.labels[0]
        labels = labels[np.isin(labels, self.classes)]
        sample = sample_rows(labels, limits.MAX_IMAGES)
        shown = Counter(labels[sample].tolist())
        totals = {label: self.images.totals[label] for label in self.classes}
        distinct_sizes = {*totals.values()}
        distinct_sizes_shown = {*shown.values()}
        if len(distinct_sizes) == len(distinct_sizes_shown) == 1:
            (size,) = distinct_sizes
            (size_shown,) = distinct_sizes_shown
            if size == size_shown:
                return f"with all your labels ({size:,} a class)"
            return f"with {size_shown:,} of your {size:,} labels a class"
        if shown != totals:
            n_labels = sum(totals.values())
            return f"with {shown.total():,} of your {n_labels:,} labels"
        return "with all your labels"

    def sides(self, rows: Rows) -> list[np.ndarray]:
        """The rows and labels of each side; of many images to learn from, a sample."""
        X, y, *test = super().sides(rows)
        sample = sample_rows(y, limits.MAX_IMAGES)
        return [X[sample], y[sample], *test]

    def score(self, *sides: np.ndarray) -> Result:
        """Logistic regression decides, and nearest class means stand beside it."""
        by_regression = few_shot(*sides, shots=None, probe="logistic")
        by_mean = few_shot(*sides, shots=None, probe="ncm")
        scores = by_regression.scores + by_mean.scores
        return replace(by_regression, scores=scores)


@dataclass(frozen=True, eq=False)
class Search(Task):
    """Test images search among training images, or all images among each other."""

    name = SEARCH
    head = "to search by class"

    def score(self, *sides: np.ndarray) -> Result:
        """The result of one arm."""
        *gallery, query_rows, query_labels = sides
        return retrieval(query_rows, query_labels, *gallery)


def with_labels(images: LabelledImages, shots: int | None) -> FewLabels | AllLabels:
    """The situation with so many labels of each class, or with all."""
    if shots is None:
        return AllLabels(images)
    return FewLabels(images, shots)
