"""One colour and one shape for each arm, told apart without colour too (Okabe & Ito 2008)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7b61c4")
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
SIGNS = ("●", "■", "▲", "◆", "✚", "▼", "▶", "◀")
GREY = "#7f7f7f"
_KNOWN = {"glocal": 0, "global": 1, "naive": 2}


def places(arms: Sequence[str]) -> dict[str, int]:
    """Give each arm its number in the lists above: that of its method if it bears its name, else the next free one."""
    free = itertools.cycle(place for place in range(len(COLOURS)) if place not in _KNOWN.values())
    return {arm: _KNOWN[arm] if arm in _KNOWN else next(free) for arm in arms}
