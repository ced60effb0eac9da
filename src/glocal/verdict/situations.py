"""The situations of labelled images, such as one label a class, or a search.

Each says why it cannot be decided, or scores all arms on the same images.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from glocal.data.features import Features
from glocal.data.labels import Superclasses, superclass_rows
from glocal.errors import ParameterError
from glocal.evaluation.anomaly import anomaly_of_class
from glocal.evaluation.comparison import Result
from glocal.evaluation.few_shot import few_shot, few_shot_by_superclass
from glocal.evaluation.retrieval import retrieval
from glocal.similarity import Labels, Mask
from glocal.verdict import images as limits
from glocal.verdict.images import MIN_IMAGES, Arms, LabelledImages, Rows, sample_rows

ONE_LABEL = "1 label a class"
FIVE_LABELS = "5 labels a class"
ALL_LABELS = "all labels"
SEARCH = "search by class"
SUPERCLASSES = "superclasses"
NAMES = "class names"
AND_NAMES = " and the names"
NOT_CLASS = "not "
NAMES_ALONE = "names alone"
"""The arm that uses class names and no example."""
MIN_ROUGH_IMAGES = 6
"""Images of the smallest class without labels, with one label, and in a search.

With fewer than `MIN_IMAGES` these are rough, and no other situation is decided.
"""
FEW_LABELS_STRENGTH = 10.0
"""C of logistic regression with few labels; on rows of length 1, no C of 1, 10 and 100 is better
with one label and with five."""
_FEW_LABELS_DRAWS = 40
MIN_NORMAL_IMAGES = 20
"""Different images of the normal classes, and of all others, that finding the others needs."""
LEVEL = 0.05
ROUGH_LEVEL = 0.01

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
        return "" if n > 1 else f"needs two classes of {self.least} images; you have {n}"

    @property
    def level(self) -> float:
        """The level of significance of a step, which is lower where a class has few images."""
        is_rough = any(self.images.sizes[label] < MIN_IMAGES for label in self.classes)
        return ROUGH_LEVEL if is_rough else LEVEL

    def results(self, arms: Arms) -> Results:
        """The result of each arm."""
        return {arm: self.score(*self.sides(rows)) for arm, rows in arms.items()}

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
        return ONE_LABEL if self.shots == 1 else f"{self.shots} labels a class"

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
        rows, names = superclass_rows(labels, self.superclasses or {})
        return dict(zip(labels[rows].tolist(), names.tolist(), strict=True))

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
        n = len({self.superclass_of[label] for label in self.classes})
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
        if by_regression[first].accuracy > by_mean[first].accuracy:
            return _beside(by_regression, by_mean)
        return _beside(by_mean, by_regression)

    def score(self, *sides: np.ndarray) -> Result:
        """The result of one arm by nearest class means."""
        if self.superclasses is None:
            return few_shot(*sides, shots=self.shots, probe="ncm")
        return few_shot_by_superclass(*sides, superclasses=self.superclass_of, shots=self.shots)


def _beside(results: Results, others: Results) -> Results:
    """The results of each arm, with the scores of another classifier beside them."""
    return {
        arm: replace(result, scores=result.scores + others[arm].scores)
        for arm, result in results.items()
    }


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
        shown = Counter(labels[sample_rows(labels, limits.MAX_IMAGES)].tolist())
        totals = {label: self.images.totals[label] for label in self.classes}
        if len({*totals.values()}) == len({*shown.values()}) == 1:
            size = totals[self.classes[0]]
            size_shown = shown[self.classes[0]]
            if size == size_shown:
                return f"with all your labels ({size:,} a class)"
            return f"with {size_shown:,} of your {size:,} labels a class"
        if shown != totals:
            return f"with {shown.total():,} of your {sum(totals.values()):,} labels"
        return "with all your labels"

    def score(self, X: np.ndarray, y: Labels, *test: np.ndarray) -> Result:  # type: ignore[override]
        """Logistic regression decides, and nearest class means stand beside it."""
        rows = sample_rows(y, limits.MAX_IMAGES)
        evaluate = partial(few_shot, X[rows], y[rows], *test, shots=None)
        results = [evaluate(probe=probe) for probe in ("logistic", "ncm")]
        scores = [score for result in results for score in result.scores]
        return replace(results[0], scores=tuple(scores))


@dataclass(frozen=True, eq=False)
class Search(Task):
    """Test images search among training images, or all images among each other."""

    name = SEARCH
    head = "to search by class"

    def score(self, *sides: np.ndarray) -> Result:
        """The result of one arm."""
        return retrieval(*sides[-2:], *sides[:-2])


@dataclass(frozen=True, eq=False)
class ClassNames(Task):
    """The texts of the class names, alone or beside so many labels of each class.

    Alone they are the only arm; beside labels, all arms are compared with them. Texts meet the rows
    of the first arm, which are the original ones.
    """

    texts: Features
    shots: int = 0

    @property
    def name(self) -> str:
        """The situation, as in scores."""
        return FewLabels(self.images, self.shots).name + AND_NAMES if self.shots else NAMES

    @property
    def head(self) -> str:
        """The situation in the words of a sentence."""
        return "  … and the names" if self.shots else "with no label, class names"

    @property
    def least(self) -> int:
        """The different images that a class needs."""
        return MIN_ROUGH_IMAGES if self.shots <= 1 else MIN_IMAGES

    def results(self, arms: Arms) -> Results:
        """The result of each arm."""
        originals, *_ = arms.values()
        evaluate = self._with_texts(self.sides(originals))
        alone = evaluate(*self.sides(originals), shots=0)
        if not self.shots:
            return {NAMES_ALONE: alone}
        results = {arm: evaluate(*self.sides(rows), shots=self.shots) for arm, rows in arms.items()}
        draws, *_ = results.values()
        return {NAMES_ALONE: _on_the_draws_of(draws, alone), **results}

    def _with_texts(self, originals: Sequence[np.ndarray]) -> partial[Result]:
        """`few_shot` with the texts and the original rows of each side."""
        evaluate = partial(few_shot, texts=self.texts, originals=originals[0])
        if len(originals) > 2:
            return partial(evaluate, originals_test=originals[2])
        return evaluate

    def score(self, *sides: np.ndarray) -> Result:
        """The result of one arm."""
        return self._with_texts(sides)(*sides, shots=self.shots)


def _on_the_draws_of(draws: Result, alone: Result) -> Result:
    """The result of class names alone on the images that each draw tests."""
    credits = np.where(np.isnan(draws.units.values), np.nan, alone.by_image)
    units = replace(draws.units, values=credits)
    value, low, high = units.bounded()
    score = replace(draws.scores[0], value=value, low=low, high=high)
    return replace(draws, scores=(score,), units=units)


@dataclass(frozen=True, eq=False)
class Anomalies(Task):
    """The named classes together are normal; everything else is an anomaly."""

    normal: Sequence[Any] = ()

    def __post_init__(self) -> None:
        classes = {*map(str, self.images.sizes)}
        for label in self.normal:
            if str(label) not in classes:
                raise ParameterError(f"`normal` names {label!r}, which is the class of no image.")

    @cached_property
    def is_normal(self) -> list[Mask]:
        """The normal images of each side."""
        return [np.isin(y.astype(str), self.names) for y in self.images.labels]

    @cached_property
    def names(self) -> list[str]:
        """The normal classes as texts."""
        return [*map(str, self.normal)]

    @property
    def name(self) -> str:
        """The situation, as in scores."""
        return NOT_CLASS + ", ".join(self.names)

    @property
    def head(self) -> str:
        """The situation in the words of a sentence."""
        return f"to find what is {self.name}"

    @property
    def left_out(self) -> Mapping[Any, int]:
        """The classes that do not enter, with their numbers of images."""
        return {}

    @cached_property
    def numbers(self) -> tuple[int, int]:
        """The different images of the normal classes, and all others, on the side with fewer."""
        pairs = []
        for count in self.images.counts:
            n = sum(size for label, size in count.items() if str(label) in self.names)
            pairs.append((n, sum(count.values()) - n))
        n_normal, n_others = zip(*pairs, strict=True)
        return min(n_normal), min(n_others)

    @property
    def reason(self) -> str:
        """Why the situation cannot be decided; empty if it can."""
        n_normal, n_others = self.numbers
        if min(self.numbers) >= MIN_NORMAL_IMAGES:
            return ""
        return (
            f"needs {MIN_NORMAL_IMAGES} images of {', '.join(self.names)} and as many others; you "
            f"have {n_normal} and {n_others}"
        )

    @property
    def level(self) -> float:
        """The level of significance of a step."""
        return LEVEL

    def sides(self, rows: Rows) -> list[np.ndarray]:
        """The rows and labels of each side."""
        return [part for side in zip(rows, self.is_normal, strict=True) for part in side]

    def score(self, *sides: np.ndarray) -> Result:
        """The result of one arm."""
        return anomaly_of_class(*sides)


def tasks(
    images: LabelledImages,
    *,
    superclasses: Superclasses | None = None,
    normal: Sequence[Any] = (),
    texts: Features | None = None,
) -> Iterator[Task]:
    """Yield the situations of labelled images; the options add some of them."""
    if texts is not None:
        yield ClassNames(images, texts)
    for shots in (1, 5):
        yield FewLabels(images, shots)
        if texts is not None:
            yield ClassNames(images, texts, shots)
    yield AllLabels(images)
    yield Search(images)
    if superclasses is not None:
        yield FewLabels(images, 1, superclasses)
    if normal:
        yield Anomalies(images, normal)
