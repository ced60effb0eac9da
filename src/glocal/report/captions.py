"""Titles that say what a figure shows, and captions that could stand below it in a paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from glocal.report.fronts import Front
from glocal.report.verdict import MARGIN, at_equal_agreement, direction
from glocal.report.words import counted, decimals, listed, metric_words, plain, stay

if TYPE_CHECKING:
    import pandas as pd


def front_title(front: Front) -> str:
    """What the front shows of the arms."""
    at, arms = at_equal_agreement(front)
    if len(arms) > 1:
        told = [f"{stay(arms[arm], 10)} with {arm}" for arm in sorted(arms, key=lambda arm: -arms[arm])]
        return f"At an agreement of {decimals(at)}, {listed(told)} of ten neighbours stay"
    points = [point for point in front.points if point["method"] != "original"]
    if not points:
        return front.title
    best, safest = (max(points, key=lambda point: point[axis]) for axis in ("accuracy", "kept"))
    if best is safest:
        return f"{best['name']} agrees best ({decimals(best['accuracy'])}) and keeps most neighbours"
    return (
        f"{best['name']} agrees best ({decimals(best['accuracy'])}), {safest['name']} keeps most neighbours "
        f"({decimals(safest['kept'])})"
    )


def front_caption(front: Front) -> str:
    """What is drawn, of what, and how sure it is."""
    swept = front.choice is not None
    number = counted(sum(point["method"] != "original" for point in front.points), "setting" if swept else "arm")
    text = (
        "Agreement with people on held-out answers against the share of each image's ten nearest neighbours that stay, "
        f"for {number}. "
    )
    if not swept:
        return text + "Bars are 95 % intervals. The star marks the untransformed features."
    reason = f" Chosen: {front.reason}." if front.reason else ""
    return (
        f"{text}Means over folds of objects and images, with standard errors. Lines join the settings that no other of "
        f"the same arm beats, pale marks are the others. Star: untransformed features; ring: the choice.{reason}"
    )


def task_title(rows: pd.DataFrame) -> str:
    """What became of a task under the transforms, by the main rows of it."""
    task = str(rows["task"].iloc[0])
    compared = rows[rows["difference"].notna()].to_dict("records")
    several = rows["network"].nunique() > 1
    if not compared:
        best = rows.loc[rows["value"].idxmax()] if rows["value"].notna().any() else None
        return task if best is None else f"{task}: highest with {best['transform']} ({decimals(best['value'])})"
    told = []
    for wanted in ("better", "worse"):
        hit = [str(row["transform"]) for row in compared if direction(row) == wanted]
        if hit:
            told.append(f"{wanted} in {len(hit)} of {len(compared)}" if several else f"{wanted} with {listed(hit)}")
    return f"{task}: {', '.join(told) or f'no change beyond {decimals(MARGIN)[:-1]}'}"


def task_caption(rows: pd.DataFrame, ceilings: Sequence[str] = ()) -> str:
    """The measure, its intervals and on how much it rests."""
    words = metric_words(str(rows["metric"].iloc[0]))
    numbers = {int(n) for n in rows["n"] if plain(n)}
    rests = f"; n = {min(numbers):,}" if len(numbers) == 1 else ""
    strokes = f" Upright strokes: {listed([metric_words(name) for name in ceilings])}." if ceilings else ""
    return f"{words[:1].upper()}{words[1:]} with 95 % intervals{rests}.{strokes}"
