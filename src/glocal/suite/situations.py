"""The situations of labelled images, such as one label a class, or a search.

In each, all arms are scored on the same images, and one of them is chosen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Int

from glocal.data.features import Features
from glocal.data.labels import Superclasses, superclass_rows
from glocal.errors import ParameterError
from glocal.evaluation.all_labels import REPEATS, all_labels
from glocal.evaluation.anomaly import anomaly_of_class
from glocal.evaluation.comparison import Result, difference, holm
from glocal.evaluation.few_shot import few_shot, few_shot_by_superclass
from glocal.evaluation.retrieval import retrieval
from glocal.scores import Score
from glocal.similarity import Labels, repeated_rows

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
MIN_IMAGES = 12
"""Different images that the smallest class needs, and that a class keeps in a sample."""
MIN_ROUGH_IMAGES = 6
"""The same without labels, with one label, and in a search.

With fewer than `MIN_IMAGES` these are rough, and no other situation is decided.
"""
MIN_NORMAL_IMAGES = 20
"""Different images of the normal classes, and of all others, that finding the others needs."""
MAX_IMAGES = 2500
"""With more images, a sample of so many decides what all labels give."""
LEVEL = 0.05
ROUGH_LEVEL = 0.01
_FEW = (
    (NAMES, "with no label, class names", 0),
    (ONE_LABEL, "with 1 label a class", 1),
    (FIVE_LABELS, "with 5 labels a class", 5),
)
"""The situations of a few labels or none: each with its words and the number of labels."""

Gains = dict[tuple[str, str], Score]
"""The paired difference of each arm from each earlier arm."""
Results = dict[str, Result]
"""The result of each arm; the others are compared with the first."""
Rows = Sequence[np.ndarray]
"""The rows of an arm: those whose labels are learned and, if they are others, those tested."""
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

    `counts` has them for each side, and `sizes` the smaller number of both sides for each class of
    the first side. `totals` are the labels of each class before a sample of them was drawn.
    """

    labels: Sequence[Labels]
    counts: Sequence[Mapping[Any, int]]
    sizes: Mapping[Any, int]
    totals: Mapping[Any, int]

    @classmethod
    def of(cls, X: Rows, labels: Sequence[Labels], drawn_from: Labels | None = None) -> ImageLabels:
        """Count the different images."""
        counts = [
            Counter(y[~repeated_rows(rows, y)].tolist()) for rows, y in zip(X, labels, strict=True)
        ]
        classes = np.unique(labels[0]).tolist()
        sizes = {label: min(count[label] for count in counts) for label in classes}
        totals = Counter((labels[0] if drawn_from is None else drawn_from).tolist())
        return cls(labels, counts, sizes, totals)

    def of_at_least(self, least: int) -> list[Any]:
        """The classes with so many different images."""
        return [label for label, size in self.sizes.items() if size >= least]

    def sides(self, classes: Sequence[Any], rows: Rows) -> list[np.ndarray]:
        """The rows of some classes and their labels, for each side."""
        sides: list[np.ndarray] = []
        for X, y in zip(rows, self.labels, strict=True):
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
    for name, head, shots in _FEW:
        least = MIN_IMAGES if shots > 1 else MIN_ROUGH_IMAGES
        few = images.question(name, head, least, few_shot, shots=shots, probe="ncm")
        if shots:
            yield few
        if texts is not None:
            yield _with_names(images, few, shots, texts)
    yield _of_all_labels(images)
    yield images.question(SEARCH, "to search by class", MIN_ROUGH_IMAGES, _search)
    if superclasses is not None:
        yield _of_superclasses(images, superclasses)
    if normal:
        yield _not_of(images, normal)


def _with_names(images: ImageLabels, few: Question, shots: int, texts: Features) -> Question:
    """The class names, to which there is one arm; beside labels, all arms are compared with it."""
    classes = [label for label in images.sizes if label not in few.left_out]

    def score(arms: Arms) -> Results:
        sides = {arm: images.sides(classes, rows) for arm, rows in arms.items()}
        originals, *_ = sides.values()
        options: dict[str, Any] = {"texts": texts, "originals": originals[0]}
        if len(originals) > 2:
            options["originals_test"] = originals[2]
        evaluate = partial(few_shot, **options)
        alone = evaluate(*originals, shots=0)
        if not shots:
            return {NAMES_ALONE: alone}
        results = {arm: evaluate(*of_arm, shots=shots) for arm, of_arm in sides.items()}
        draws, *_ = results.values()
        return {NAMES_ALONE: _on_the_draws_of(draws, alone), **results}

    if not shots:
        return replace(few, score=score)
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
    kept = images.labels[0][np.isin(images.labels[0], classes)]
    shown = Counter(kept[sample_rows(kept, MAX_IMAGES)].tolist())
    totals = {label: images.totals[label] for label in classes}
    labels = "all your labels"
    if len({*totals.values()}) == len({*shown.values()}) == 1:
        size = totals[classes[0]]
        size_shown = shown[classes[0]]
        labels = f"all your labels ({size:,} a class)"
        if size != size_shown:
            labels = f"{size_shown:,} of your {size:,} labels a class"
    elif shown != totals:
        labels = f"{shown.total():,} of your {sum(totals.values()):,} labels"
    return images.question(ALL_LABELS, f"with {labels}", MIN_IMAGES, _with_all_labels)


def _with_all_labels(X: np.ndarray, y: Labels, *test: np.ndarray) -> Result:
    """Logistic regression decides, and nearest class means stand beside it."""
    kept = sample_rows(y, MAX_IMAGES)
    results = [all_labels(X[kept], y[kept], *test, probe=probe) for probe in REPEATS]
    scores = [score for result in results for score in result.scores]
    return replace(results[0], scores=tuple(scores))


def sample_rows(labels: Labels, size: int) -> Int[np.ndarray, " k"]:
    """About `size` rows, in proportion to the sizes of the classes; all rows if they are no more.

    A class keeps at least `MIN_IMAGES` of its rows.
    """
    n = len(labels)
    if n <= size:
        return np.arange(n)
    order = np.random.default_rng(0).permutation(n)
    codes, sizes = np.unique(labels[order], return_inverse=True, return_counts=True)[1:]
    by_class = np.argsort(codes, kind="stable")
    places = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # of a row in its class
    quotas = np.maximum(size * sizes // n, MIN_IMAGES)
    return np.sort(order[by_class[places < np.repeat(quotas, sizes)]])


def _search(*sides: np.ndarray) -> Result:
    """Test images, the last side, search among training images, or all images among each other."""
    return retrieval(*sides[-2:], *sides[:-2])


def _of_superclasses(images: ImageLabels, superclasses: Superclasses) -> Question:
    """One label a class, where a class of the true superclass is right."""
    labels = np.array([*images.sizes])
    rows, names = superclass_rows(labels, superclasses)
    superclass_of = dict(zip(labels[rows].tolist(), names.tolist(), strict=True))
    some = replace(images, sizes={label: images.sizes[label] for label in superclass_of})
    question = some.question(
        SUPERCLASSES,
        "for superclasses, 1 label",
        MIN_ROUGH_IMAGES,
        few_shot_by_superclass,
        superclasses=superclass_of,
    )
    classes = some.of_at_least(MIN_ROUGH_IMAGES)
    n = len({superclass_of[label] for label in classes})
    reason = ""
    if n < 2:
        reason = f"needs two superclasses of classes of {MIN_ROUGH_IMAGES} images; you have {n}"
    left_out = {label: size for label, size in images.sizes.items() if label not in classes}
    return replace(question, reason=reason, left_out=left_out)


def _not_of(images: ImageLabels, normal: Sequence[Any]) -> Question:
    """The question of what is of none of the normal classes, which stand for one class."""
    names = [*map(str, normal)]
    classes = {*map(str, images.sizes)}
    for name in names:
        if name not in classes:
            raise ParameterError(f"`normal` names {name!r}, which is the class of no image.")
    n_normal = [
        sum(size for label, size in count.items() if str(label) in names) for count in images.counts
    ]
    n = min(n_normal)
    n_others = min(
        sum(count.values()) - size for count, size in zip(images.counts, n_normal, strict=True)
    )
    is_normal = [np.isin(y.astype(str), names) for y in images.labels]
    two_classes = replace(images, labels=is_normal, sizes={True: n, False: n_others})
    name = NOT_CLASS + ", ".join(names)
    question = two_classes.question(
        name, f"to find what is {name}", MIN_NORMAL_IMAGES, anomaly_of_class
    )
    reason = ""
    if question.reason:
        reason = (
            f"needs {MIN_NORMAL_IMAGES} images of {', '.join(names)} and as many others; you have "
            f"{n} and {n_others}"
        )
    return replace(question, reason=reason, left_out={})


def differences(results: Results, level: float) -> Gains:
    """The paired differences of all pairs of arms, corrected for each other by Holm's method.

    Pairs that are equal in every unit are no test. With p the p-value of a pair and p_c the
    corrected one, the interval has the level 1 - level · p / p_c, and thus excludes 0 exactly if
    p_c is below the level; where p is 0, the ratio is 1 over the number of tests.
    """
    pairs = combinations(results.items(), 2)
    rows = [row for baseline, arm in pairs for row in difference(arm, baseline)]
    p_values = [row.p or 0.0 for row in rows if row.low is not None]
    corrected = iter(holm(p_values))
    gains: Gains = {}
    for row in rows:
        arm = row.transform
        baseline = row.baseline or ""
        is_test = row.low is not None
        p_corrected = next(corrected) if is_test else row.p
        ratio = 1 / max(len(p_values), 1)
        if is_test and row.p and p_corrected:
            ratio = row.p / p_corrected
        level_of_pair = 1 - level * ratio
        (gain,) = difference((arm, results[arm]), (baseline, results[baseline]), level_of_pair)
        settings = {**gain.settings, "level": level_of_pair}
        gains[arm, baseline] = replace(gain, p_corrected=p_corrected, settings=settings)
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
