"""The situations of labelled images, such as one label a class, or a search.

In each, all arms are scored on the same images, and one of them is chosen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from glocal.data.features import Features
from glocal.data.labels import Superclasses, superclass_rows
from glocal.errors import ParameterError
from glocal.evaluation.all_labels import REPEATS, all_labels
from glocal.evaluation.anomaly import anomaly_of_class
from glocal.evaluation.comparison import Result, holm
from glocal.evaluation.few_shot import few_shot, few_shot_by_superclass
from glocal.evaluation.intervals import Estimate
from glocal.evaluation.retrieval import retrieval
from glocal.scores import DIFFERENCE, Score
from glocal.similarity import Labels, repeated_rows
from glocal.suite.selection import MIN_IMAGES, sample_rows

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
"""Different images that the smallest class needs with one label, and in a search.

With fewer than `MIN_IMAGES` these are rough, and no other situation is decided.
"""
MIN_NORMAL_IMAGES = 20
"""Different images of the normal classes, and of all others, that finding the others needs."""
MAX_IMAGES = 2500
"""With more images, a sample of so many decides what all labels give."""
LEVEL = 0.05
ROUGH_LEVEL = 0.01
_FEW = ((ONE_LABEL, "with 1 label a class", 1), (FIVE_LABELS, "with 5 labels a class", 5))
"""The situations of a few labels: each with its words and the number of labels."""

Gains = dict[tuple[str, str], Score]
"""The paired difference of each arm from each earlier arm."""
Results = dict[str, Result]
"""The result of each arm; the others are compared with the first."""


class Rows(NamedTuple):
    """The rows of an arm: those whose labels are learned, and those tested; None: the same."""

    train: np.ndarray
    test: np.ndarray | None = None


Arms = Mapping[str, Rows]


@dataclass(frozen=True, eq=False)
class Question:
    """A situation that is to be decided; `head` is the situation in words.

    `score` gives the results of arms, at a `level` of significance. `reason` says why the situation
    cannot be decided, and `left_out` has the classes that do not enter, with their numbers of
    images.
    """

    name: str
    head: str
    score: Callable[[Arms], Results]
    level: float = LEVEL
    reason: str = ""
    left_out: Mapping[Any, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ImageLabels:
    """The labels of images on one side or two, and the different images of each class.

    With test images, the smaller number of both sides counts. `totals` are the labels of each class
    before a sample of them was drawn.
    """

    y: Labels
    y_test: Shaped[np.ndarray, " m"] | None
    sizes: Mapping[Any, int]
    totals: Mapping[Any, int]

    @classmethod
    def of(
        cls,
        X: Rows,
        y: Labels,
        y_test: Shaped[np.ndarray, " m"] | None = None,
        drawn_from: Shaped[np.ndarray, " all"] | None = None,
    ) -> ImageLabels:
        """Count the different images."""
        sizes = Counter(y[~repeated_rows(X.train, y)].tolist())
        if X.test is not None and y_test is not None:
            sizes &= Counter(y_test[~repeated_rows(X.test, y_test)].tolist())
        totals = Counter((y if drawn_from is None else drawn_from).tolist())
        return cls(y, y_test, {label: sizes[label] for label in np.unique(y).tolist()}, totals)

    def of_at_least(self, least: int) -> list[Any]:
        """The classes with so many different images."""
        return [label for label, size in self.sizes.items() if size >= least]

    def sides(self, classes: Sequence[Any], rows: Rows) -> list[np.ndarray]:
        """The rows of some classes and their labels, for each side."""
        sides: list[np.ndarray] = []
        for X, y in ((rows.train, self.y), (rows.test, self.y_test)):
            if X is not None and y is not None:
                kept = np.isin(y, classes)
                sides += [X[kept], y[kept]]
        return sides

    def question(
        self, name: str, head: str, least: int, evaluate: Callable[..., Result], **options: Any
    ) -> Question:
        """A question about all classes of at least so many images; two are needed."""
        classes = self.of_at_least(least)

        def score(arms: Arms) -> Results:
            return {
                arm: evaluate(*self.sides(classes, rows), **options) for arm, rows in arms.items()
            }

        reason = ""
        if len(classes) < 2:
            reason = f"needs two classes of {least} images; you have {len(classes)}"
        is_rough = any(self.sizes[label] < MIN_IMAGES for label in classes)
        left_out = {label: size for label, size in self.sizes.items() if size < least}
        level = ROUGH_LEVEL if is_rough else LEVEL
        return Question(name, head, score, level, reason, left_out)


def questions(
    images: ImageLabels,
    *,
    superclasses: Superclasses | None = None,
    normal: Sequence[Any] = (),
    texts: Features | None = None,
) -> Iterator[Question]:
    """Yield the situations of labelled images; the options add some of them.

    Texts of the class names meet the rows of the first arm, which are the original ones.
    """
    if texts is not None:
        yield _of_names(images, texts)
    for name, head, shots in _FEW:
        least = MIN_ROUGH_IMAGES if shots == 1 else MIN_IMAGES
        question = images.question(name, head, least, few_shot, shots=shots, probe="ncm")
        yield question
        if texts is not None:
            yield _and_names(images, question, shots, texts)
    yield _of_all_labels(images)
    yield images.question(SEARCH, "to search by class", MIN_ROUGH_IMAGES, _search)
    if superclasses is not None:
        yield _of_superclasses(images, superclasses)
    if normal:
        yield _not_of(images, normal)


def _of_names(images: ImageLabels, texts: Features) -> Question:
    """The question of class names without an example, to which there is one arm."""
    question = images.question(NAMES, "with no label, class names", MIN_ROUGH_IMAGES, few_shot)
    classes = images.of_at_least(MIN_ROUGH_IMAGES)

    def score(arms: Arms) -> Results:
        originals = images.sides(classes, next(iter(arms.values())))
        return {NAMES_ALONE: _with_names(originals, originals, 0, texts)}

    return replace(question, score=score)


def _with_names(
    sides: list[np.ndarray], originals: list[np.ndarray], shots: int, texts: Features
) -> Result:
    """The result of class names, which meet the original rows, beside a few labels or none."""
    names = ("originals", "originals_test")
    options: dict[str, Any] = dict(zip(names, originals[::2], strict=False))
    return few_shot(*sides, shots=shots, texts=texts, **options)


def _and_names(images: ImageLabels, few: Question, shots: int, texts: Features) -> Question:
    """A few labels and the class names, compared with the names alone on the same draws."""
    classes = [label for label in images.sizes if label not in few.left_out]

    def score(arms: Arms) -> Results:
        sides = {arm: images.sides(classes, rows) for arm, rows in arms.items()}
        originals, *_ = sides.values()
        results = {arm: _with_names(each, originals, shots, texts) for arm, each in sides.items()}
        draws, *_ = results.values()
        alone = _on_the_draws_of(draws, _with_names(originals, originals, 0, texts))
        return {NAMES_ALONE: alone, **results}

    return replace(few, name=few.name + AND_NAMES, head="  … and the names", score=score)


def _on_the_draws_of(draws: Result, alone: Result) -> Result:
    """The result of class names alone on the images that each draw tests."""
    credits = np.where(np.isnan(draws.units.values), np.nan, alone.by_image)
    units = replace(draws.units, values=credits)
    value, low, high = units.bounded()
    score = replace(draws.scores[0], value=value, low=low, high=high)
    return replace(draws, scores=(score,), units=units)


def _of_all_labels(images: ImageLabels) -> Question:
    """The question of all labels; above `MAX_IMAGES` images, a sample of them decides."""
    classes = images.of_at_least(MIN_IMAGES)
    kept = images.y[np.isin(images.y, classes)]
    shown = Counter(kept[sample_rows(kept, MAX_IMAGES)].tolist())
    totals = {label: images.totals[label] for label in classes}
    labels = "all your labels"
    if len({*totals.values()}) == len({*shown.values()}) == 1:
        size = totals[classes[0]]
        size_shown = shown[classes[0]]
        labels = f"all {size}" if size == size_shown else f"{size_shown:,} of your {size:,}"
    elif shown != totals:
        labels = f"{shown.total():,} of your {sum(totals.values()):,} labels"
    return images.question(ALL_LABELS, f"with {labels}", MIN_IMAGES, _with_all_labels)


def _with_all_labels(X: np.ndarray, y: Labels, *test: np.ndarray) -> Result:
    """Logistic regression decides, and nearest class means stand beside it."""
    kept = sample_rows(y, MAX_IMAGES)
    results = [all_labels(X[kept], y[kept], *test, probe=probe) for probe in REPEATS]
    scores = [score for result in results for score in result.scores]
    return replace(results[0], scores=tuple(scores))


def _search(X: np.ndarray, y: Labels, *test: np.ndarray) -> Result:
    """Test images search among training images, or all images among each other."""
    if test:
        return retrieval(test[0], test[1], X, y)
    return retrieval(X, y)


def _of_superclasses(images: ImageLabels, superclasses: Superclasses) -> Question:
    """One label a class, where a class of the true superclass is right."""
    labels = np.array([*images.sizes])
    rows, names = superclass_rows(labels, superclasses)
    superclass_of = dict(zip(labels[rows].tolist(), names.tolist(), strict=True))
    listed = {label: size for label, size in images.sizes.items() if label in superclass_of}
    some = replace(images, sizes=listed)
    question = some.question(
        SUPERCLASSES,
        "for superclasses, 1 label",
        MIN_ROUGH_IMAGES,
        few_shot_by_superclass,
        superclasses=superclass_of,
    )
    classes = some.of_at_least(MIN_ROUGH_IMAGES)
    reason = question.reason
    if (n := len({superclass_of[label] for label in classes})) < 2:
        reason = f"needs two superclasses of classes of {MIN_ROUGH_IMAGES} images; you have {n}"
    left_out = {label: size for label, size in images.sizes.items() if label not in classes}
    return replace(question, reason=reason, left_out=left_out)


def _not_of(images: ImageLabels, normal: Sequence[Any]) -> Question:
    """The question of what is of none of the normal classes."""
    unknown = [label for label in normal if str(label) not in map(str, images.sizes)]
    if unknown:
        raise ParameterError(f"`normal` names {unknown[0]!r}, which is the class of no image.")
    names = [*map(str, normal)]
    is_normal = np.isin(images.y.astype(str), names)
    is_normal_test = None
    if images.y_test is not None:
        is_normal_test = np.isin(images.y_test.astype(str), names)
    n = sum(size for label, size in images.sizes.items() if str(label) in names)
    counts = (n, sum(images.sizes.values()) - n)
    reason = ""
    if min(counts) < MIN_NORMAL_IMAGES:
        reason = (
            f"needs {MIN_NORMAL_IMAGES} images of {', '.join(names)} and as many others; you have "
            f"{counts[0]} and {counts[1]}"
        )

    def score(arms: Arms) -> Results:
        return {
            arm: anomaly_of_class(rows.train, is_normal, rows.test, is_normal_test)
            for arm, rows in arms.items()
        }

    name = NOT_CLASS + ", ".join(names)
    return Question(name, f"to find what is {name}", score, reason=reason)


def differences(results: Results, level: float) -> Gains:
    """The paired differences of all pairs of arms, corrected for each other by Holm's method.

    Pairs that are equal in every unit are no test. With p the p-value of a pair and p_c the
    corrected one, the interval has the level 1 - level · p / p_c, and thus excludes 0 exactly if
    p_c is below the level; where p is 0, the ratio is 1 over the number of tests.
    """
    estimates = {
        (arm, baseline): results[arm].units.minus(results[baseline].units)
        for baseline, arm in combinations(results, 2)
        if not np.array_equal(
            results[arm].units.values, results[baseline].units.values, equal_nan=True
        )
    }
    p_values = {pair: estimate.p for pair, estimate in estimates.items() if estimate.p is not None}
    corrected = dict(zip(p_values, holm([*p_values.values()]), strict=True))
    gains: Gains = {}
    for baseline, arm in combinations(results, 2):
        pair = (arm, baseline)
        estimate = estimates.get(pair, Estimate(0.0, None, 0.0))
        ratio = 1 / max(len(p_values), 1)
        if p_values.get(pair):
            ratio = p_values[pair] / corrected[pair]
        lowest, highest = results[arm].units.limits
        corrected_level = 1 - level * ratio
        low, high = estimate.interval((lowest - highest, highest - lowest), corrected_level)
        score = results[arm].scores[0]
        gains[pair] = replace(
            score,
            metric=score.metric + DIFFERENCE,
            value=estimate.mean,
            low=low,
            high=high,
            p=estimate.p,
            p_corrected=corrected.get(pair, estimate.p),
            transform=arm,
            settings={**score.settings, "baseline": baseline, "level": corrected_level},
        )
    return gains


def choose(arms: Sequence[str], gains: Gains, level: float) -> str:
    """Go through the arms and step to each that is certainly better.

    A step needs a positive gain over the present arm and over the first one, each with a corrected
    p-value below the level.
    """
    first, *others = arms
    arm = first
    for candidate in others:
        steps = [gains[candidate, arm], gains[candidate, first]]
        if all(is_certain(step, level) for step in steps):
            arm = candidate
    return arm


def is_certain(gain: Score, level: float) -> bool:
    """Whether a gain is positive and significant after the correction."""
    return gain.value > 0 and gain.p_corrected is not None and gain.p_corrected < level
