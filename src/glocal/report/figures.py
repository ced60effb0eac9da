"""Figures for papers from a run, one call each: PNG and PDF by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal.evaluation.views import View
from glocal.extras import needed
from glocal.files import PathLike, make_folder
from glocal.files.stems import file_stems
from glocal.report.front import save_figure
from glocal.report.fronts import axis_title, fronts
from glocal.report.palette import COLOURS, GREY, places
from glocal.report.run import Run, run_names
from glocal.report.scores import arms, main_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FRONT = ("means.csv", "front.csv")
_MARKERS = ("o", "s", "^", "D", "P", "v", ">", "<")


def scores_figure(run: Run) -> Figure:
    """One panel a task: every arm with its 95 % interval, networks below each other."""
    main, order = main_rows(run), arms(run)
    tasks = list(dict.fromkeys(main["task"]))
    number, across = places(order), min(3, len(tasks))
    down = -(-len(tasks) // across)
    figure = _figure((3.1 * across, (0.9 + 0.17 * len(main) / max(1, len(tasks))) * down))
    panels = np.atleast_1d(figure.subplots(down, across)).ravel()
    for panel, task in zip(panels, tasks, strict=False):
        rows = main[main["task"] == task]
        networks = list(dict.fromkeys(rows["network"]))
        for arm in order:
            mine = rows[rows["transform"] == arm]
            height = [networks.index(n) + 0.7 * (order.index(arm) + 0.5) / len(order) - 0.35 for n in mine["network"]]
            bars = np.nan_to_num(np.array([mine["value"] - mine["low"], mine["high"] - mine["value"]], dtype=float))
            panel.errorbar(
                mine["value"], height, xerr=np.maximum(bars, 0), fmt=_MARKERS[number[arm]], markersize=4,
                color=COLOURS[number[arm]], linewidth=1.2, label=_plain(arm),
            )  # fmt: skip
        panel.set_yticks(range(len(networks)), [_plain(network) for network in networks], fontsize=7)
        panel.invert_yaxis()
        panel.set_title(_plain(task), fontsize=9)
        panel.set_xlabel(str(rows["metric"].iloc[0]), fontsize=8)
        panel.tick_params(axis="x", labelsize=7)
        panel.grid(axis="x", alpha=0.3)
    for panel in panels[len(tasks) :]:
        panel.set_axis_off()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(6, len(labels)), frameon=False, fontsize=8)
    return figure


def slices_figure(run: Run) -> Figure:
    """Held-out accuracy against one parameter, the others as chosen: a line a fold, their mean thick."""
    slices = [one for front in fronts(run) for one in front.slices]
    figure = _figure((3.1 * max(1, len(slices)), 2.6))
    panels = np.atleast_1d(figure.subplots(1, max(1, len(slices)))).ravel()
    for panel, (sweep, parameter, rows) in zip(panels, slices, strict=False):
        values = sorted({row["value"] for row in rows})
        for place, fold in enumerate(sorted({row["fold"] for row in rows})):
            mine = sorted((row["value"], row["accuracy"]) for row in rows if row["fold"] == fold)
            panel.plot(
                *zip(*mine, strict=True), color=COLOURS[place % len(COLOURS)], marker="o", markersize=3, linewidth=0.8
            )
        mean = [np.mean([row["accuracy"] for row in rows if row["value"] == value]) for value in values]
        panel.plot(values, mean, color="black", linewidth=2)
        panel.set_xscale("linear" if parameter in ("alpha", "mix") else "log" if min(values) > 0 else "symlog")
        panel.set_xlabel(axis_title(parameter))
        panel.set_title(_plain(sweep), fontsize=9)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("odd-one-out accuracy")
    return figure


def map_figure(before: View, after: View) -> Figure:
    """Objects in two dimensions before and after, coloured by category (the largest ten)."""
    figure = _figure((8, 4.2))
    categories = np.array(before.categories or [""] * len(before.names))
    names, counts = np.unique(categories[categories != "other"], return_counts=True)
    shown = sorted(str(name) for name in names[np.argsort(-counts, kind="stable")][:10] if name)
    from matplotlib import colormaps

    for panel, view in zip(figure.subplots(1, 2), (before, after), strict=True):
        rest = ~np.isin(categories, shown)
        panel.scatter(*view.positions[rest].T, s=4, color=GREY, alpha=0.5, linewidths=0)
        for place, name in enumerate(shown):
            panel.scatter(
                *view.positions[categories == name].T,
                s=6,
                color=colormaps["tab10"](place),
                linewidths=0,
                label=_plain(name),
            )
        panel.set_title(_plain(str(view.meta.get("arm", ""))), fontsize=10)
        panel.set_xticks([])
        panel.set_yticks([])
    if shown:
        handles, labels = panel.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False, fontsize=7, markerscale=2.5)
    return figure


def matrix_figure(before: View, after: View) -> Figure:
    """Dissimilarities of all pairs before and after, and people's own where there are answers."""
    shown: list[tuple[str, Any]] = [(str(view.meta.get("arm", "")), view.rdm) for view in (before, after)]
    if before.people is not None:
        shown.append(("people", before.people))
    figure = _figure((3.2 * len(shown), 3.1))
    for panel, (name, matrix) in zip(figure.subplots(1, len(shown)), shown, strict=True):
        image = panel.imshow(matrix.values(), vmin=matrix.low, vmax=matrix.high, interpolation="nearest")
        figure.colorbar(image, ax=panel, shrink=0.8)
        panel.set_title(_plain(name), fontsize=10)
        panel.set_xticks([])
        panel.set_yticks([])
    return figure


def spectrum_figure(view: View) -> Figure:
    """Gain of each principal direction, and where the variance lies before and after."""
    figure = _figure((7, 2.8))
    gain, share = figure.subplots(1, 2)
    if view.axes is not None:
        axes = np.arange(1, len(view.axes.gains) + 1)
        gain.semilogx(axes, view.axes.gains, color=COLOURS[0], linewidth=1)
        gain.axhline(1, color="black", linewidth=0.8, linestyle="--")
        share.loglog(axes, np.maximum(view.axes.share_before, 1e-8), color=GREY, linewidth=1, label="before")
        share.loglog(axes, np.maximum(view.axes.share_after, 1e-8), color=COLOURS[0], linewidth=1, label="after")
        share.legend(frameon=False)
    for panel, label in ((gain, "gain"), (share, "share of the variance")):
        panel.set_xlabel("principal axis of the features")
        panel.set_ylabel(label)
        panel.grid(alpha=0.3)
    return figure


def save_figures(run: Run, folders: Sequence[PathLike], out: PathLike) -> list[Path]:
    """Write every figure that the run has material for, as PNG and PDF; the files."""
    from glocal.report.front import front_figure

    where = make_folder(out)
    drawn: dict[str, Figure] = {}
    if len(run.rows):
        drawn["scores"] = scores_figure(run)
    paths = [Path(folder) for folder in folders]
    named = zip(paths, run_names(paths), strict=True)
    swept: dict[tuple[str, ...], Path] = {
        (name,): path for path, name in named if all((path / file).is_file() for file in _FRONT)
    }
    for one, stem in file_stems(swept).items():
        drawn["front" if len(swept) == 1 else f"front-{stem}"] = front_figure(swept[one])
    if any(front.slices for front in fronts(run)):
        drawn["slices"] = slices_figure(run)
    stems = file_stems((network, arm) for network, views in run.views.items() for arm in views)
    for network, views in run.views.items():
        before, *others = views.values()
        for arm, after in list(views.items())[1:] if others else []:
            name = stems[network, arm]
            drawn |= {f"map-{name}": map_figure(before, after), f"matrix-{name}": matrix_figure(before, after)}
            if after.axes is not None:
                drawn[f"spectrum-{name}"] = spectrum_figure(after)
    written = []
    for name, figure in drawn.items():
        for ending in ("png", "pdf"):
            written.append(where / f"{name}.{ending}")
            save_figure(figure, written[-1])
    return written


def _figure(size: tuple[float, float]) -> Figure:
    Figure = needed("matplotlib.figure", "a figure").Figure
    return Figure(figsize=size, layout="constrained")


def _plain(name: str) -> str:
    """A name as it stands: no mathematics between dollar signs, no longer than a panel, no characters fonts lack."""
    shown = "".join(character if character.isprintable() else " " for character in name)
    return (shown if len(shown) <= 40 else shown[:39] + "…").replace("$", r"\$")
