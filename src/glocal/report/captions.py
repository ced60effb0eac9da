"""Titles that say what a figure shows, and captions that could stand below it in a paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal.evaluation.structure.spectrum import Spectrum
from glocal.evaluation.views import View
from glocal.evaluation.views.view import Matrix
from glocal.report.fronts import Front
from glocal.report.verdict import MARGIN, at_equal_agreement, direction
from glocal.report.words import count_words, counted, decimals, listed, metric_words, plain, stay, value_words

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
    if len(rows) == 1:
        return f"{task}: {decimals(rows['value'].iloc[0])} with {rows['transform'].iloc[0]}"
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


def slice_title(rows: Sequence[dict[str, Any]], parameter: str) -> str:
    """Where agreement is highest along one parameter, in the mean over folds."""
    found: dict[float, list[float]] = {}
    for row in rows:
        found.setdefault(row["value"], []).append(row["accuracy"])
    means = {value: float(np.mean(accuracies)) for value, accuracies in found.items()}
    best = max(means, key=lambda value: means[value])
    return f"Agreement is highest at {value_words(parameter, best)} ({decimals(means[best])})"


SLICE_CAPTION = (
    "Agreement with people on held-out answers against one parameter, the others as chosen. A thin line a fold, their "
    "mean thick."
)


def map_title(before: View, after: View) -> str:
    """How much of the neighbourhoods two maps share."""
    if after is before:
        return f"{counted(len(before.names), 'object')} as {arm_name(before)} has them"
    k = before.neighbours.shape[1]
    both = (before.neighbours[:, :, None] == after.neighbours[:, None, :]).sum() / before.neighbours.size
    return f"Of each object's {count_words(k)} nearest neighbours {stay(both, k)} stay with {arm_name(after)}"


def map_caption(view: View, *, coloured: bool) -> str:
    """What a place and a colour of a map mean."""
    umap = view.meta.get("map") == "umap"
    return (
        f"{'UMAP' if umap else 'The two leading principal axes'} of the cosines of "
        f"{counted(len(view.names), 'object')}; the second map is turned to fit the first"
        f"{', from which it starts' if umap else ''}."
        f"{' Colours: the largest categories.' if coloured else ''}"
    )


def matrix_title(before: View, after: View) -> str:
    """Whether dissimilarities come nearer to people's, or, without answers, how large they are."""
    views = (before,) if after is before else (before, after)
    if before.people is not None:
        told = [_correlation(view.rdm, before.people) for view in views]
        if not np.isnan(told).any():
            return f"Correlation with people's dissimilarities: {_from_to(told)}"
    return f"Mean dissimilarity of all pairs: {_from_to([float(np.nanmean(view.rdm.values())) for view in views])}"


def matrix_caption(view: View) -> str:
    """What a cell of the matrices is."""
    order = "by likeness before the transform"
    if view.categories is not None:
        order = f"by category, inside a category {order}"
    people = ""
    if view.people is not None:
        people = (
            " People: the share of their answers about a pair and a third object that found another pair more alike, "
            "of all answers, those of the fit too; grey where nobody was asked."
        )
    return f"1 - cosine of {counted(len(view.names), 'object')}, ordered {order}, averaged in groups.{people}"


def gain_title(axes: Spectrum) -> str:
    """How many directions a transform raises."""
    return f"{axes.raised:,} of {counted(len(axes.gains), 'direction')} are raised above the average"


def share_title(axes: Spectrum) -> str:
    """Whether the variance moves to the leading axes."""
    k = min(10, len(axes.gains))
    before, after = (float(share[:k].sum()) for share in (axes.share_before, axes.share_after))
    return f"Share of the variance along the {count_words(k)} leading axes: {_from_to([before, after])}"


SPECTRUM_CAPTION = (
    "Along the principal axes of the features: what the transform multiplies an axis by, as a multiple of its average, "
    "and the share of the variance that lies along it before and after."
)


def arm_name(view: View) -> str:
    """What a view is called."""
    return str(view.meta.get("arm", ""))


def _from_to(values: Sequence[float]) -> str:
    words = ("before", "after") if len(values) > 1 else ("",)
    return listed([f"{decimals(value)} {word}".strip() for value, word in zip(values, words, strict=True)])


def _correlation(matrix: Matrix, people: Matrix) -> float:
    """With people's matrix off its diagonal, where they were asked, averaged in its groups; NaN if one is constant."""
    m, n = len(people.cells), len(matrix.cells)
    groups = (np.arange(n) * m // n == np.arange(m)[:, None]).astype(float)
    groups /= groups.sum(axis=1, keepdims=True)
    upper = np.triu_indices(m, 1)
    cells = np.stack([(groups @ matrix.values() @ groups.T)[upper], people.values()[upper]])
    cells = cells[:, ~np.isnan(cells).any(axis=0)]
    if cells.shape[1] < 3 or (np.ptp(cells, axis=1) == 0).any():
        return float("nan")
    return float(np.corrcoef(cells)[0, 1])
