"""The front of a sweep as a figure: agreement with people against neighbours kept."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glocal.errors import FileError
from glocal.extras import needed
from glocal.files import PathLike, atomic_write, check_ending, existing_file

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".pdf", ".svg")
_COLOURS = {"glocal": "#0072b2", "global": "#d55e00", "naive": "#009e73"}
_X, _Y = "neighbours_kept", "accuracy_cosine"


def front_figure(folders: PathLike | Sequence[PathLike], *, title: str = "") -> Figure:
    """Draw the settings of one or several sweeps, their front, the original features and the choice.

    Parameters
    ----------
    folders : path or sequence of paths
        Output folders of sweeps of the same features and answers, e.g. one of `glocal` and one of `global`. The front
        is that of the first; the settings of `global` and `naive` are joined along lmbda.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
        Means over folds; bars are standard errors.

    Raises
    ------
    FileError
        A folder holds no finished sweep.
    MissingDependencyError
        matplotlib is not installed.
    """
    Figure = needed("matplotlib.figure", "a figure").Figure
    several = [folders] if isinstance(folders, str) or not isinstance(folders, Sequence) else list(folders)
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    for place, folder in enumerate(several):
        means = _table(folder, "means.csv")
        for method, settings in means.groupby("method"):
            if method == "glocal":
                axes.scatter(settings[_X], settings[_Y], s=10, color="0.75", label="glocal, every setting", zorder=1)
            else:
                _line(axes, settings.sort_values("lmbda"), str(method), f"{method}, from λ to λ")
        if place == 0:
            front = _table(folder, "front.csv")
            _original(axes, front)
            on_front = front[front["method"] == "glocal"]
            if len(on_front):
                _line(axes, on_front.sort_values(_X), "glocal", "glocal, front")
            _chosen(axes, front)
    axes.set_xlabel("neighbours kept (fraction of the 10 nearest, held-out images)")
    axes.set_ylabel("odd-one-out accuracy (held-out objects)")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def save_figure(figure: Figure, out: PathLike) -> None:
    """Write a figure as PNG (200 dots an inch), PDF or SVG, by its ending, atomically.

    Raises
    ------
    ParameterError
        Another ending.
    FileError
        It cannot be written.
    """
    ending = check_ending(out, FORMATS, what="the figure")
    drawn = io.BytesIO()
    figure.savefig(drawn, format=ending[1:], dpi=200)
    with atomic_write(out) as stream:
        stream.write(drawn.getvalue())


def _table(folder: PathLike, name: str) -> pd.DataFrame:
    import pandas as pd

    path = existing_file(Path(folder) / name, what="sweep")
    try:
        table = pd.read_csv(path)
        _ = table[[_X, _Y, f"{_X}_se", f"{_Y}_se", "method", "lmbda"]]
    except (OSError, ValueError, KeyError) as error:
        raise FileError(f"{path} is not the table of a sweep. Run glocal sweep --resume to write it again.") from error
    return table


def _line(axes: Axes, points: pd.DataFrame, method: str, label: str) -> None:
    axes.errorbar(
        points[_X], points[_Y], xerr=points[f"{_X}_se"], yerr=points[f"{_Y}_se"], color=_COLOURS[method],
        marker="o", markersize=4, linewidth=1.2, capsize=2, elinewidth=0.7, label=label, zorder=2,
    )  # fmt: skip


def _original(axes: Axes, front: pd.DataFrame) -> None:
    rows = front[front["method"] == "original"]
    axes.scatter(rows[_X], rows[_Y], marker="*", s=120, color="black", label="original", zorder=3)


def _chosen(axes: Axes, front: pd.DataFrame) -> None:
    line: Any = front[front["chosen"].astype(str) == "True"]
    axes.scatter(
        line[_X], line[_Y], s=130, facecolors="none", edgecolors="black", linewidths=1.4, label="chosen", zorder=4
    )
