"""Three sentences at the end: what was gained, what it costs, what to do next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_MANY = 0.7  # of the neighbours: fewer than that is a high price
_NEIGHBOURS = 10


def sentences(score: dict[str, Any] | None, *, local: bool, warnings: int, transform: Path) -> list[str]:
    """What was gained, what it costs and what to do next.

    Parameters
    ----------
    score : dict or None
        The result of the step ``score``; None where it was skipped.
    local : bool
        Whether there are local images.
    warnings : int
        How many the check raised.
    transform : path
        The file that was written.

    Examples
    --------
    >>> score = {"before": 0.5, "after": 0.6, "difference": 0.1, "low": 0.08, "high": 0.12, "p": 0.001, "n": 900,
    ...          "n_settings": 20, "kept": 0.9, "images": 300}
    >>> for sentence in sentences(score, local=True, warnings=0, transform=Path("transform.npz")):
    ...     print(sentence)
    Gained: agreement with people on 900 answers about held-out objects rises from 0.500 to 0.600, by +0.100 [+0.080, +0.120] (p = 0.001, corrected for the 20 settings it was chosen from).
    It costs neighbours: of each image's ten nearest, 9.0 stay (300 held-out local images).
    Next: use it: glocal apply transform.npz FEATURES --out ALIGNED.
    """  # noqa: E501
    if score is None:
        return [
            "Gained: unknown, since the step score was skipped.",
            "It costs: unknown, for the same reason.",
            "Next: run the same command without --skip score; everything else is kept.",
        ]
    return [_gained(score), _costs(score, local), _next(score, local, warnings, transform)]


def _gained(score: dict[str, Any]) -> str:
    rises = "rises" if score["difference"] > 0 else "falls" if score["difference"] < 0 else "stays"
    what = f"agreement with people on {score['n']:,} answers about held-out objects {rises} from "
    what += f"{score['before']:.3f} to {score['after']:.3f}, by {score['difference']:+.3f}"
    if score["low"] is None:
        return f"Gained: {what}; it has no interval, so that no gain is shown."
    verdict = f"p = {score['p']:.2g}, corrected for the {score['n_settings']} settings it was chosen from"
    return f"Gained: {what} [{score['low']:+.3f}, {score['high']:+.3f}] ({verdict})."


def _costs(score: dict[str, Any], local: bool) -> str:
    among = f"{score['images']:,} held-out {'local images' if local else 'objects, since no local images were given'}"
    return f"It costs neighbours: of each image's ten nearest, {_NEIGHBOURS * score['kept']:.1f} stay ({among})."


def _next(score: dict[str, Any], local: bool, warnings: int, transform: Path) -> str:
    apply = f"glocal apply {transform} FEATURES --out ALIGNED"
    first = "" if not warnings else " First look at what the check warned of."
    if not _significant(score):
        do = (
            "do not use it on this evidence; collect more answers about more objects (four times as many halve the "
            "interval), or try another model or layer."
        )
    elif score["difference"] < 0:
        do = "leave the features as they are; try another model or layer."
    elif score["kept"] >= _MANY:
        do = f"use it: {apply}."
    elif not local:
        do = "give --local-images, images like those you will use it on, so that their neighbours are kept."
    else:
        do = f"where neighbours matter, use it at half its strength ({apply} --strength 0.5) and score that."
    return f"Next: {do}{first}"


def _significant(score: dict[str, Any]) -> bool:
    return score["p"] is not None and score["p"] < 0.05
