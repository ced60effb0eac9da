"""Colours, shapes and the theme of all charts; arms are told apart without colour too (Okabe & Ito 2008)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7b61c4")
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
SIGNS = ("●", "■", "▲", "◆", "✚", "▼", "▶", "◀")
GREY = "#7f7f7f"
CATEGORIES = (
    "#4c78a8", "#f58518", "#54a24b", "#e45756", "#b279a2", "#9d755d", "#72b7b2", "#eeca3b", "#ff9da6", "#439894",
)  # fmt: skip
VIRIDIS = (
    "#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725",
)  # fmt: skip
_KNOWN = {"glocal": 0, "global": 1, "naive": 2}


def places(arms: Sequence[str]) -> dict[str, int]:
    """Give each arm its number in the lists above: that of its method if it bears its name, else the next free one."""
    free = itertools.cycle(place for place in range(len(COLOURS)) if place not in _KNOWN.values())
    return {arm: _KNOWN[arm] if arm in _KNOWN else next(free) for arm in arms}


def theme(*, dark: bool = False) -> dict[str, Any]:
    """Configuration of Vega-Lite; marks of the styles ``ink`` and ``picked`` stand out on either paper."""
    ink, soft, line = ("#e8eaed", "#a9b0b9", "#3a414a") if dark else ("#1b1f24", "#545b64", "#e1e4e9")
    paper, mark = ("#15181c", "#ff7ad9") if dark else ("#ffffff", "#c2007a")
    text = {
        "labelColor": soft, "titleColor": ink, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal",
    }  # fmt: skip
    return {
        "background": "transparent", "font": "system-ui, sans-serif", "aria": True, "mark": {"aria": False},
        "axis": {**text, "gridColor": line, "domainColor": soft, "tickColor": soft, "aria": False},
        "legend": {**text, "aria": False}, "view": {"stroke": line},
        "title": {"color": ink, "fontSize": 13, "frame": "group"},
        "style": {
            "halo": {"stroke": paper, "strokeWidth": 4, "strokeJoin": "round", "strokeOpacity": 0.85},
            "ink": {"stroke": ink, "color": ink}, "inkfill": {"fill": ink, "color": ink},
            "picked": {"stroke": mark, "fill": mark, "color": mark},
        },
    }  # fmt: skip
