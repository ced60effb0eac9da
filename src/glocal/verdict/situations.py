"""The situations of labelled images, such as one label a class, a search, or finding anomalies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from glocal.data.features import Features
from glocal.data.labels import Superclasses
from glocal.errors import ParameterError
from glocal.evaluation.anomaly import anomaly_of_class
from glocal.evaluation.comparison import Result
from glocal.similarity import Mask
from glocal.verdict.examples import FewLabels, Search, Task, with_labels
from glocal.verdict.images import LabelledImages, Rows
from glocal.verdict.names import ClassNames, NamesBeside, NamesOrExamples

NOT_CLASS = "not "
NUMBERS_OF_LABELS = (1, 5, None)
"""The labels of each class that situations have; None is all of them."""
MIN_NORMAL_IMAGES = 20
"""Different images of the normal classes, and of all others, that finding the others needs."""
ANOMALY_LEVEL = 0.01
"""Intervals are for other test images; here the images that are compared with would vary too."""


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
        names_of_sides = [labels.astype(str) for labels in self.images.labels]
        return [np.isin(names, self.names) for names in names_of_sides]

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
        numbers_normal: list[int] = []
        numbers_others: list[int] = []
        for sizes in self.images.counts:
            normal_sizes = [size for label, size in sizes.items() if str(label) in self.names]
            n_normal = sum(normal_sizes)
            numbers_normal.append(n_normal)
            numbers_others.append(sum(sizes.values()) - n_normal)
        return min(numbers_normal), min(numbers_others)

    @property
    def reason(self) -> str:
        """Why the situation cannot be decided; empty if it can."""
        n_normal, n_others = self.numbers
        if min(n_normal, n_others) >= MIN_NORMAL_IMAGES:
            return ""
        names = ", ".join(self.names)
        return (
            f"needs {MIN_NORMAL_IMAGES} images of {names} and as many others; you have {n_normal} "
            f"and {n_others}"
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
        sides: list[np.ndarray] = []
        for X, is_normal in zip(rows, self.is_normal, strict=True):
            sides += [X, is_normal]
        return sides

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
    most: int | None = NUMBERS_OF_LABELS[0]
    for shots in NUMBERS_OF_LABELS:
        situation = with_labels(images, shots)
        if not situation.reason:
            most = shots
    return most
