"""Where the name of each arm stands beside its front: next to one of its points, away from all other marks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_SIDE = (520.0, 330.0)  # pixels of a chart as it is on a desktop
_LETTER, _LINE = 7.0, 15.0  # pixels of a letter in width, of a line in height
# dx, dy, and to which side of the point the text goes
_PLACES = (
    (10, -11, "left"), (12, 0, "left"), (10, 12, "left"), (0, -17, "center"), (0, 18, "center"), (-10, -11, "right"),
    (-12, 0, "right"), (-10, 12, "right"), (0, -32, "center"), (0, 34, "center"),
)  # fmt: skip
_OUT, _COVERED = 50.0, 8.0  # what it costs to leave the chart, and to cover another name


@dataclass(frozen=True)
class Label:
    """A text beside the point `at`, `dx` and `dy` pixels from it."""

    text: str
    at: dict[str, Any]
    dx: int
    dy: int
    align: str


def labels(points: Sequence[dict[str, Any]], kept: Sequence[float], accuracy: Sequence[float]) -> list[Label]:
    """The names of the arms, of the original features and of the choice, where they cover least.

    `kept` and `accuracy` are the ends of the two axes.
    """
    if not points:
        return []
    at = _pixels([(point["kept"], point["accuracy"]) for point in points], kept, accuracy)
    weights = np.array([1.0 if point["strong"] else 0.4 for point in points])
    lines = _along(points, at)
    marks = np.concatenate([at, lines])
    weights = np.concatenate([weights, np.full(len(lines), 0.5)])
    found: list[Label] = []
    boxes: list[tuple[float, ...]] = []
    for text, candidates in _wanted(points):
        best: Label | None = None
        cost, box = np.inf, (0.0, 0.0, 0.0, 0.0)
        for number, (dx, dy, align) in itertools.product(candidates, _PLACES):
            here = _box(text, at[number] + (dx, dy), align)
            left, top, right, bottom = here
            inside = (marks > (left, top)).all(axis=1) & (marks < (right, bottom)).all(axis=1)
            covered = sum(left < r and near < right and top < low and high < bottom for near, high, r, low in boxes)
            out = left < 0 or top < 0 or right > _SIDE[0] or bottom > _SIDE[1]
            costs = float(weights[inside].sum()) + _COVERED * covered + _OUT * out + 0.02 * (abs(dy) > 20)
            if costs < cost:
                best, cost, box = Label(text, points[number], dx, dy, align), costs, here
        if best is not None:
            found.append(best)
            boxes.append(box)
    return found


def _wanted(points: Sequence[dict[str, Any]]) -> Iterator[tuple[str, list[int]]]:
    """Texts and the numbers of the points that they may stand at."""
    for text, which in (("original", "original"), ("chosen", None)):
        numbers = [
            n for n, point in enumerate(points) if point["method"] == which or (which is None and point["chosen"])
        ]
        for number in numbers:
            several = which is None and len(numbers) > 1
            yield f"{text}: {points[number]['method']}" if several else text, [number]
    for method in dict.fromkeys(point["method"] for point in points):
        if method != "original":
            yield method, [n for n, point in enumerate(points) if point["method"] == method and point["strong"]]


def _along(points: Sequence[dict[str, Any]], at: np.ndarray) -> np.ndarray:
    """Places along the lines that join the points of each arm."""
    found = [np.empty((0, 2))]
    for method in {point["method"] for point in points} - {"original"}:
        line = at[[n for n, point in enumerate(points) if point["method"] == method and point["strong"]]]
        line = line[np.argsort(line[:, 0])]
        found += [a + (b - a) * np.linspace(0, 1, 8)[1:-1, None] for a, b in itertools.pairwise(line)]
    return np.concatenate(found)


def _pixels(values: Sequence[tuple[float, float]], kept: Sequence[float], accuracy: Sequence[float]) -> np.ndarray:
    low, high = np.array([kept[0], accuracy[0]]), np.array([kept[1], accuracy[1]])
    share = (np.array(values) - low) / (high - low)
    return np.column_stack([share[:, 0], 1 - share[:, 1]]) * _SIDE


def _box(text: str, centre: np.ndarray, align: str) -> tuple[float, float, float, float]:
    width = _LETTER * len(text)
    left = centre[0] - {"left": 0.0, "center": width / 2, "right": width}[align]
    return left, centre[1] - _LINE / 2, left + width, centre[1] + _LINE / 2
