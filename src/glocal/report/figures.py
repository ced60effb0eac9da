"""Figures for papers: Altair charts and the axes of a transform, as SVG, PDF and PNG."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from glocal.errors import import_optional
from glocal.evaluation.axes import MIN_STABILITY
from glocal.files import PathLike, atomic_write, writable_target
from glocal.report.templates import render

if TYPE_CHECKING:
    import pandas as pd

_DOTS_PER_INCH = 200
_LAYOUTS = {"wide": (820, 42, 44), "narrow": (360, 62, 30)}
"""The pixels of a drawing of axes: its width, the height of a row, and more for its pictures."""
_MAX_CHARACTERS = 42  # of the names at one end of an axis together


def save_figure(drawing: Any, out: PathLike) -> None:
    """Save an Altair chart or an SVG drawing as PNG, PDF or SVG, by the ending of the file.

    An SVG drawing follows the colour scheme of the page that shows it. PNG has 200 dots per inch.
    """
    target = writable_target(out, what="figure", endings=(".png", ".pdf", ".svg"))
    if not isinstance(drawing, str):
        import_optional("vl_convert", "a figure")  # Altair draws with it
        stream = io.StringIO()
        drawing.save(stream, format="svg")
        drawing = stream.getvalue()
    content = drawing.encode()
    if target.suffix.lower() == ".png":
        content = import_optional("vl_convert", "a figure").svg_to_png(drawing, ppi=_DOTS_PER_INCH)
    if target.suffix.lower() == ".pdf":
        content = import_optional("vl_convert", "a figure").svg_to_pdf(drawing)
    with atomic_write(out) as file:
        file.write(content)


def axes_svg(
    table: pd.DataFrame, title: str = "", *, narrow: bool = False, pictures: Collection[str] = ()
) -> str:
    """Draw axes as SVG, with dark colours too; a narrow drawing is for a phone.

    Parameters
    ----------
    table : DataFrame
        The rows of `glocal.axes` to draw.
    title : str
        Its heading, with a sentence that explains the bars.
    narrow : bool
    pictures : collection of str
        Names of objects with pictures, which the script of a page fills in.
    """
    layout = "narrow" if narrow else "wide"
    width, space, room = _LAYOUTS[layout]
    rows = table.to_dict("records")
    return render(
        "axes.svg",
        rows=rows,
        widest=table[["before", "after"]].max(axis=None),
        title=title,
        pictures=pictures,
        layout=layout,
        width=width,
        space=space,
        room=room if pictures else 0,
        is_unsure=is_unsure,
        joined=fitting_names,
    )


def is_unsure(axis: Mapping[str, Any]) -> bool:
    """Whether fits to parts of the answers disagree about an axis."""
    stability = axis.get("stability")
    return stability is not None and bool(stability < MIN_STABILITY)


def fitting_names(names: Sequence[str]) -> str:
    """Join as many of the names as fit beside an axis, at least one.

    >>> fitting_names(["hot_dog", "cat", "a" * 40])
    'hot dog, cat'
    """
    texts = list(accumulate((name.replace("_", " ") for name in names), "{}, {}".format))
    fitting = [text for text in texts if len(text) <= _MAX_CHARACTERS]
    return fitting[-1] if fitting else "".join(texts[:1])[: _MAX_CHARACTERS + 6]
