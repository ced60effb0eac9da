"""Drawings of the owner's page: Vega-Lite in its light and dark colours, drawn in a process of its own."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from glocal.errors import MissingDependencyError
from glocal.extras import needed
from glocal.report.palette import CATEGORIES, GREY
from glocal.results import to_json

if TYPE_CHECKING:
    import altair as alt

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7b61c4")
_LABEL = 110  # pixels of the name of a category
_DOTS = 200  # an inch, of a PNG

_DRAW = f"""
import base64, json, sys, vl_convert
kinds = {{
    ".svg": str.encode,
    ".png": lambda svg: vl_convert.svg_to_png(svg, ppi={_DOTS}),
    ".pdf": lambda svg: vl_convert.svg_to_pdf(svg),
}}
specs, endings = json.load(sys.stdin)
svgs = map(vl_convert.vegalite_to_svg, specs)
json.dump([[base64.b64encode(kinds[ending](svg)).decode() for ending in endings] for svg in svgs], sys.stdout)
"""


def drawn(specs: Sequence[dict[str, Any]], endings: Sequence[str]) -> list[list[bytes]]:
    """Draw Vega-Lite specifications: for each the content of a file of each ending, .svg, .png or .pdf."""
    if not specs:
        return []
    files = json.loads(_ran(_DRAW, to_json([_printable(specs), endings]).encode()))
    return [[base64.b64decode(file) for file in of_one] for of_one in files]


def _ran(code: str, given: bytes) -> bytes:
    needed("vl_convert", "a figure")
    made = subprocess.run([sys.executable, "-c", code], input=given, capture_output=True, check=False)
    if made.returncode < 0:
        raise MissingDependencyError(
            f"vl-convert, which draws charts and brings the scripts of the page, ended with signal {-made.returncode}. "
            "Its JavaScript engine reserves more address space than it uses: lift the limit (ulimit -v unlimited), or "
            "run this on another machine."
        )
    if made.returncode:
        last = made.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise MissingDependencyError(
            f"vl-convert, which draws charts and brings the scripts of the page, ended with exit code "
            f"{made.returncode}: {' '.join(last)[:300]}. Install it again: pip install --upgrade vl-convert-python."
        )
    return made.stdout


def _printable(value: Any) -> Any:
    """The same value without the characters that no font and no SVG file has."""
    if isinstance(value, str):
        return "".join(character if character.isprintable() else " " for character in value)
    if isinstance(value, dict):
        return {key: _printable(item) for key, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list | tuple) else value


def altair() -> Any:
    """The module, or the sentence that says how to install it."""
    return needed("altair", "a report")


def map_chart(
    categories: Sequence[str],
    when: str,
    *,
    others: bool = True,
    rows: Sequence[dict[str, Any]] | None = None,
    named: bool = True,
) -> alt.LayerChart:
    """Objects in two dimensions before or after a transform: x, y, name, category, colour and state of each.

    `categories` are those with a colour of their own, in a legend if `named`; without `rows` the page fills them in.
    """
    alt = altair()
    rest = ["other"] if others else []
    scale = alt.Scale(
        domain=[*categories, *rest], range=[*CATEGORIES[: len(categories)], *(GREY for _ in rest)]
    )  # fmt: skip
    picked = alt.selection_point(fields=["colour"], bind="legend", name=f"category_{when}")
    hidden = alt.Axis(labels=False, ticks=False, domain=False, grid=True)
    legend = alt.Legend(orient="bottom", columns=3, symbolOpacity=1, labelLimit=_LABEL)
    base = alt.Chart(_rows("objects", rows)).encode(
        x=alt.X("x:Q", title=None, axis=hidden), y=alt.Y("y:Q", title=None, axis=hidden), tooltip="name:N"
    )
    near, here = (base.transform_filter(f"datum.state === '{state}'") for state in ("neighbour", "selected"))
    layers = [
        base.transform_filter("!datum.state").mark_circle(size=22, cursor="pointer").encode(
            color=alt.Color("colour:N", title=None, legend=legend if categories and named else None, scale=scale),
            opacity=alt.condition(picked, alt.value(0.75), alt.value(0.06)),
        ).add_params(picked),
        near.mark_point(size=70, style="ink", strokeWidth=2),
        here.mark_point(size=200, style="picked", filled=True, opacity=1),
        # its name on a halo, since it lies on other marks
        *(
            here.mark_text(dy=-16, fontSize=13, style=style, limit=220).encode(text="name:N")
            for style in ("halo", "inkfill")
        ),
    ]  # fmt: skip
    return alt.layer(*layers).properties(height=380, description=f"Map of the objects {when} the transform")


def _rows(name: str, rows: Sequence[dict[str, Any]] | None) -> alt.Data:
    alt = altair()
    return alt.NamedData(name) if rows is None else alt.Data(values=list(rows))


def theme(*, dark: bool = False) -> dict[str, Any]:
    """Configuration of Vega-Lite; marks of the styles ``ink`` and ``picked`` stand out on either paper."""
    ink, soft, line = ("#e8eaed", "#a9b0b9", "#3a414a") if dark else ("#1b1f24", "#545b64", "#e1e4e9")
    paper, mark = ("#15181c", "#ff7ad9") if dark else ("#ffffff", "#c2007a")
    text = {
        "labelColor": soft, "titleColor": ink, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal",
    }  # fmt: skip
    return {
        "background": "transparent", "font": "system-ui, sans-serif", "aria": True, "mark": {"aria": False},
        "axis": {**text, "gridColor": line, "domainColor": soft, "tickColor": soft, "aria": False},
        "legend": {**text, "aria": False}, "view": {"stroke": line},
        "title": {"color": ink, "fontSize": 13, "frame": "group"},
        "style": {
            "halo": {"stroke": paper, "strokeWidth": 4, "strokeJoin": "round", "strokeOpacity": 0.85},
            "ink": {"stroke": ink, "color": ink}, "inkfill": {"fill": ink, "color": ink},
            "picked": {"stroke": mark, "fill": mark, "color": mark},
        },
    }  # fmt: skip
