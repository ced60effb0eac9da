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
from glocal.evaluation.accuracy import TRAINING_VARIANCE
from glocal.evaluation.anomaly import anomaly_of_class
from glocal.evaluation.comparison import Result
from glocal.evaluation.episodes import EpisodeValues, balanced_values
from glocal.evaluation.few_shot import few_shot, few_shot_by_superclass
from glocal.evaluation.intervals import ItemValues
from glocal.evaluation.retrieval import retrieval
from glocal.scores import ORIGINAL
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
NAMES_OR_EXAMPLES = "names or examples"
NAMES_ALONE = "names alone"
"""The arm that uses class names and no example."""
EXAMPLES = "examples alone"
NAMES_AND_EXAMPLES = "names and examples"
WITHOUT_MAP = (ORIGINAL, NAMES_ALONE, EXAMPLES, NAMES_AND_EXAMPLES)
"""The arms whose rows stay as they are."""
NUMBERS_OF_LABELS = (1, 5, None)
"""The labels of each class that situations have; None is all of them."""
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
ROUGH_LEVEL = 0.005
ANOMALY_LEVEL = 0.01
"""Intervals are for other test images; here the images that are compared with would vary too."""

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
    def is_rough(self) -> bool:
        """Whether a class has few images."""
        return any(self.images.sizes[label] < MIN_IMAGES for label in self.classes)

    @property
    def level(self) -> float:
        """The level of significance of a step, which is lower where a class has few images."""
        return ROUGH_LEVEL if self.is_rough else LEVEL

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

    def sides(self, rows: Rows) -> list[np.ndarray]:
        """The rows and labels of each side; of many images to learn from, a sample."""
        X, y, *test = super().sides(rows)
        sample = sample_rows(y, limits.MAX_IMAGES)
        return [X[sample], y[sample], *test]

    def score(self, *sides: np.ndarray) -> Result:
        """Logistic regression decides, and nearest class means stand beside it."""
        evaluate = partial(few_shot, *sides, shots=None)
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


def with_labels(images: LabelledImages, shots: int | None) -> FewLabels | AllLabels:
    """The situation with so many labels of each class, or with all."""
    return AllLabels(images) if shots is None else FewLabels(images, shots)


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
        return {NAMES_ALONE: self.score(*self.sides(originals))}

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
        evaluate = partial(by_names, self.texts, originals, shots=self.shots)
        results = {arm: evaluate(self.sides(rows)) for arm, rows in arms.items()}
        first, *_ = results.values()
        alone = by_names(self.texts, originals, originals, shots=0)
        return {NAMES_ALONE: _on_the_images_of(first, alone, originals[-1]), **results}

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
        results = {NAMES_ALONE: alone, EXAMPLES: examples, NAMES_AND_EXAMPLES: both}
        return {arm: _accuracy(result) for arm, result in results.items()}


def _accuracy(result: Result) -> Result:
    """The accuracy of a result, whatever its classifier and its settings."""
    score = replace(result.scores[0], metric="accuracy", settings={})
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
    evaluate = partial(few_shot, *sides, shots=shots, texts=texts, originals=originals[0])
    if len(originals) > 2:
        return evaluate(originals_test=originals[2])
    return evaluate()


def _on_the_images_of(result: Result, alone: Result, y: Labels) -> Result:
    """The result of class names alone on the images that each draw or fold tests, of classes y."""
    units: EpisodeValues | ItemValues
    if isinstance(result.units, EpisodeValues):
        credits = np.where(np.isnan(result.units.values), np.nan, alone.by_image)
        units = replace(result.units, values=credits)
    else:
        inflation = TRAINING_VARIANCE if result.scores[0].settings["folds"] else 1.0
        units = ItemValues(values=balanced_values(alone.by_image, y, inflation))
    value, low, high = units.bounded()
    score = replace(result.scores[0], value=value, low=low, high=high)
    return replace(result, scores=(score,), units=units)


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
    def is_rough(self) -> bool:
        """Whether a class has few images: the situation needs many of each kind."""
        return False

    @property
    def level(self) -> float:
        """The level of significance of a step."""
        return ANOMALY_LEVEL

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
    for shots in NUMBERS_OF_LABELS:
        yield with_labels(images, shots)
        if texts is not None:
            yield NamesBeside(images, texts, shots)
    if texts is not None:
        yield NamesOrExamples(images, texts, _most_labels(images))
    yield Search(images)
    if superclasses is not None:
        yield FewLabels(images, 1, superclasses)
    if normal:
        yield Anomalies(images, normal)


def _most_labels(images: LabelledImages) -> int | None:
    """The largest number of labels that can be decided; None is all of them."""
    decided = [shots for shots in NUMBERS_OF_LABELS if not with_labels(images, shots).reason]
    return decided[-1] if decided else NUMBERS_OF_LABELS[0]
