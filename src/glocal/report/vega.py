"""vl-convert in a process of its own: where address space is short, its JavaScript engine ends the process it is in."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from glocal.errors import MissingDependencyError
from glocal.extras import needed
from glocal.results import to_json

_DOTS = 200  # an inch, of a PNG

_BUNDLE = "import sys, vl_convert; sys.stdout.buffer.write(vl_convert.javascript_bundle().encode())"
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


def bundle() -> str:
    """Vega, Vega-Lite and vega-embed as one script."""
    return _run(_BUNDLE, b"").decode()


def drawn(specs: Sequence[dict[str, Any]], endings: Sequence[str]) -> list[list[bytes]]:
    """Draw Vega-Lite specifications: for each the content of a file of each ending, .svg, .png or .pdf."""
    if not specs:
        return []
    files = json.loads(_run(_DRAW, to_json([_printable(specs), endings]).encode()))
    return [[base64.b64decode(file) for file in of_one] for of_one in files]


def _run(code: str, given: bytes) -> bytes:
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
