"""Colours and shapes of arms, distinguishable without colour too (Okabe & Ito 2008)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7b61c4")
_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
_STAR = "M0,-1.6L.38,-.51L1.52,-.5L.61,.19L.94,1.3L0,.64L-.94,1.3L-.61,.19L-1.52,-.5L-.38,-.51Z"
_KNOWN = {"glocal": 0, "chosen": 0, "global": 1, "naive": 2}
INK = "#1b1f24"
GREY = "#9a9a9a"
CATEGORIES = (
    "#4c78a8", "#f58518", "#54a24b", "#e45756", "#b279a2", "#9d755d", "#72b7b2", "#eeca3b", "#ff9da6", "#439894",
)  # fmt: skip


def looks(arms: Sequence[str], baseline: str) -> tuple[list[str], list[str]]:
    """The colours and the shapes of arms: that of its method for an arm of its name, a black star for the baseline."""
    free = itertools.cycle(place for place in range(len(_COLOURS)) if place not in _KNOWN.values())
    places = [_KNOWN[arm] if arm in _KNOWN else next(free) for arm in arms]
    colours = [INK if arm == baseline else _COLOURS[place] for arm, place in zip(arms, places, strict=True)]
    return colours, [_STAR if arm == baseline else _SHAPES[place] for arm, place in zip(arms, places, strict=True)]
