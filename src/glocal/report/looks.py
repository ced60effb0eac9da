"""One colour for each method, on every page and in every figure.

People with any kind of colour vision can tell the colours apart, and each has a contrast of at
least 3 : 1 on a white and on a dark page.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import NamedTuple

from glocal.scores import ORIGINAL

INK = "currentColor"
"""The colour of the text around a picture; black in a file of its own."""
COLOURS = {
    ORIGINAL: "#6e6e6e",
    "keep": "#d38006",
    "centred": "#53a36c",
    "glocal": "#834dab",
    "naive": "#d86fb4",
    "names": "#8b5b20",
    "mean subtracted": "#1197fa",
    "global": INK,
}
_DASHES = {"0.95": (10, 2), "0.8": (6, 3), "0.6": (2, 3)}
"""The dashes and gaps of a line, in pixels, by the share that `keep` asks for."""


class Look(NamedTuple):
    """The colour of an arm, and the dashes and gaps of its lines; a line without is whole."""

    colour: str
    dashes: tuple[int, ...] = ()


CONTROL = Look(COLOURS[ORIGINAL], (3, 3))


def looks(arms: Iterable[str]) -> dict[str, Look]:
    """Return the look of each arm: its method has a colour, and other arms have the free ones.

    Lines differ by the share that the name of an arm ends in.

    >>> looks(["original", "centred-keep-0.6"])["centred-keep-0.6"]
    Look(colour='#53a36c', dashes=(2, 3))
    """
    methods = {arm: _method(arm) for arm in arms}
    free = [method for method in COLOURS if method not in methods.values()]
    if not free:
        free = list(COLOURS)
    free_cycle = itertools.cycle(free)
    styles = {}
    for arm, method in methods.items():
        colour = COLOURS[method or next(free_cycle)]
        dashes = _DASHES.get(_kept_share(arm), ())
        styles[arm] = Look(colour, dashes)
    return styles


def _method(arm: str) -> str:
    """The method that the name of an arm names, or an empty string."""
    if arm == "centred":  # without a fit
        return "mean subtracted"
    if "centred" in arm:  # also where "keep" follows
        return "centred"
    for method in COLOURS:
        if method in arm:
            return method
    return ""


def _kept_share(arm: str) -> str:
    """The end of the name of an arm that follows "keep", as in keep 0.8 or centred-keep-0.6."""
    _, _, ending = arm.rpartition("keep")
    return ending[1:]  # without the blank or the hyphen
