"""Figures for papers: Altair charts and the axes of a transform, as SVG, PDF and PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glocal.errors import import_optional
from glocal.files import PathLike, atomic_write, writable_target
from glocal.report.templates import render

if TYPE_CHECKING:
    import pandas as pd

_DOTS_PER_INCH = 200


def save_figure(drawing: Any, out: PathLike) -> None:
    """Save an Altair chart or an SVG drawing as PNG, PDF or SVG, by the ending of the file.

    An SVG drawing follows the colour scheme of the page that shows it. PNG has 200 dots per inch.
    """
    target = writable_target(out, what="figure", endings=(".png", ".pdf", ".svg"))
    if not isinstance(drawing, str):
        drawing = import_optional("vl_convert", "a figure").vegalite_to_svg(drawing.to_dict())
    content = drawing.encode()
    if target.suffix.lower() == ".png":
        content = import_optional("vl_convert", "a figure").svg_to_png(drawing, ppi=_DOTS_PER_INCH)
    if target.suffix.lower() == ".pdf":
        content = import_optional("vl_convert", "a figure").svg_to_pdf(drawing)
    with atomic_write(out) as file:
        file.write(content)


def axes_svg(table: pd.DataFrame, title: str = "", *, narrow: bool = False) -> str:
    """Draw axes as SVG, with dark colours too; a narrow drawing is for a phone.

    Parameters
    ----------
    table : DataFrame
        The rows of `glocal.axes` to draw.
    title : str
        Its heading, with a sentence that explains the bars.
    narrow : bool
    """
    layout = "narrow" if narrow else "wide"
    return render(
        "axes.svg", rows=table.to_dict("records"), title=title, layout=layout, pictures=()
    )
