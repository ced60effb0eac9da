"""Figures for papers: Altair charts and the axes of a transform, as SVG, PDF and PNG."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from glocal.errors import import_optional
from glocal.files import PathLike, atomic_write, writable_target

if TYPE_CHECKING:
    import pandas as pd

_DOTS_PER_INCH = 200
_WIDTH = 820  # pixels of the figure of axes
_ROW_HEIGHT = 34
_TOP = 72
_BAR_LEFT = 330
_BAR_WIDTH = 100
_HIGH_LEFT = 512
_MAX_CHARACTERS = 42  # of the names at one end of an axis together
_LIGHT = {"ink": "#1b1f24", "soft": "#545b64", "after": "#56b4e9"}
_DARK = {"ink": "#e8eaed", "soft": "#a9b0b9", "after": "#2f7fb5"}
_CAPTION = (
    "Bars: the share of all differences among the objects that lies along an axis, before (thin) "
    "and after (thick);",
    "×: the factor by which differences along it have grown relative to all others.",
)


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
    height = _TOP + _ROW_HEIGHT * len(rows)
    widest = max((row["after"] for row in rows), default=1.0)
    lines = [_axis_svg(row, _TOP + _ROW_HEIGHT * i, widest) for i, row in enumerate(rows)]
    style = _style(_LIGHT)
    if adaptive:
        style += f"@media(prefers-color-scheme:dark){{{_style(_DARK)}}}"
    captions = [
        f'<text class="soft" x="12" y="{38 + 17 * i}">{text}</text>'
        for i, text in enumerate(_CAPTION)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" role="img" font-family="system-ui,sans-serif" '
        f'font-size="13.5"><title>{html.escape(title)}</title><style>{style}</style>'
        f'<text x="12" y="18" font-size="15" font-weight="600">{html.escape(title)}</text>'
        f"{''.join(captions)}{''.join(lines)}</svg>\n"
    )


def _axis_svg(row: dict[Any, Any], top: int, widest: float) -> str:
    """One axis: names at its low end, bars, factor, names at its high end."""
    low, high = (html.escape(fitting_names(row[end])) for end in ("low", "high"))
    before, after = (_BAR_WIDTH * row[when] / widest for when in ("before", "after"))
    middle = top + 12
    baseline = middle + 5
    return (
        f'<text x="{_BAR_LEFT - 15}" y="{baseline}" text-anchor="end">{low}</text>'
        f'<rect class="after" x="{_BAR_LEFT}" y="{middle - 8}" width="{after:.1f}" height="16"/>'
        f'<rect class="before" x="{_BAR_LEFT}" y="{middle - 3}" width="{before:.1f}" height="6"/>'
        f'<text font-weight="600" x="{_BAR_LEFT + max(before, after) + 6:.1f}" y="{baseline}">'
        f"×{row['factor']:.2f}</text>"
        f'<text x="{_HIGH_LEFT}" y="{baseline}">{high}</text>'
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


def _style(colours: dict[str, str]) -> str:
    return (
        f"text{{fill:{colours['ink']}}}.soft{{fill:{colours['soft']};font-size:12px}}"
        f".after{{fill:{colours['after']}}}.before{{fill:{colours['ink']}}}"
    )


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
