"""Figures for papers: Altair charts and the axes of a transform, as SVG, PDF and PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from glocal.errors import import_optional
from glocal.files import PathLike, atomic_write, writable_target
from glocal.report.templates import render

if TYPE_CHECKING:
    import pandas as pd

_DOTS_PER_INCH = 200
_MAX_CHARACTERS = 42  # of the names at one end of an axis together


def save_figure(chart: Any, out: PathLike) -> None:
    """Save an Altair chart as PNG (200 dots per inch), PDF or SVG, by the ending of the file."""
    kind = _kind(out)
    import_optional("vl_convert", "a figure")  # Altair draws with it
    drawing = io.StringIO()
    chart.save(drawing, format="svg")
    _write(drawing.getvalue(), kind, out)


def save_axes_figure(table: pd.DataFrame, title: str, out: PathLike) -> None:
    """Save the axes that a transform amplifies as PNG, PDF or SVG, by the ending of the file.

    An SVG follows the colour scheme of the page that shows it. PNG and PDF are for print.

    Parameters
    ----------
    table : DataFrame
        The axes that `glocal.axes` returns.
    title : str
    """
    kind = _kind(out)
    _write(axes_svg(table, title, adaptive=kind == "svg"), kind, out)


def axes_svg(table: pd.DataFrame, title: str, *, adaptive: bool = True) -> str:
    """Draw the axes that a transform amplifies as SVG; an adaptive one has dark colours too."""
    rows = table[table["factor"] > 1].to_dict("records")
    widest = max((row["after"] for row in rows), default=1.0)
    return render(
        "axes.svg", rows=rows, widest=widest, title=title, adaptive=adaptive, joined=fitting_names
    )


def fitting_names(names: Sequence[str]) -> str:
    """Join as many of the names as fit beside an axis, at least one.

    >>> fitting_names(["hot_dog", "cat", "a" * 40])
    'hot dog, cat'
    """
    words = [name.replace("_", " ") for name in names]
    text = words[0][: _MAX_CHARACTERS + 6] if words else ""
    for word in words[1:]:
        if len(f"{text}, {word}") > _MAX_CHARACTERS:
            break
        text = f"{text}, {word}"
    return text


def _kind(out: PathLike) -> str:
    """The format that the ending of a file names: png, pdf or svg."""
    return writable_target(out, what="figure", endings=(".png", ".pdf", ".svg")).suffix[1:].lower()


def _write(drawing: str, kind: str, out: PathLike) -> None:
    """Write an SVG drawing, converted if `kind` is png or pdf."""
    content = drawing.encode()
    if kind == "png":
        content = import_optional("vl_convert", "a figure").svg_to_png(drawing, ppi=_DOTS_PER_INCH)
    if kind == "pdf":
        content = import_optional("vl_convert", "a figure").svg_to_pdf(drawing)
    with atomic_write(out) as stream:
        stream.write(content)
