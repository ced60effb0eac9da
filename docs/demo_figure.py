"""Draw docs/img/demo.svg: the nearest drawings to one of the demo, before and after its fit.

demo-narrow.svg is the same for a phone. The fit, `keep` 0.8, has not seen the drawing. It takes
some seconds.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import glocal
from glocal.suite.demo import write_demo
from glocal.suite.run import run_suite

IMAGES = Path(__file__).with_name("img")
DRAWING = "green house 02"
TITLE = "Before: same colour. After: same kind"
ROWS = {"before": "its five nearest before the fit", "after": "its five nearest after the fit"}
SIDE = 60  # pixels of a drawing


def nearest(X: np.ndarray, row: int, k: int = 5) -> list[int]:
    """The rows that are nearest to one, by cosine."""
    X = X / np.linalg.norm(X, axis=1, keepdims=True)
    order = np.argsort(-(X @ X[row]), kind="stable")
    return [int(other) for other in order if other != row][:k]


def neighbours() -> tuple[dict[str, str], dict[str, list[str]]]:
    """The pictures of the demo by name, and the names of the nearest drawings before and after."""
    with tempfile.TemporaryDirectory() as folder:
        plan, drawings = write_demo(folder)
        run_suite(plan, folder)
        transform = glocal.LinearTransform.load(f"{folder}/transforms/simulated/keep-0.8.npz")
    objects = drawings.world.objects
    X = np.asarray(objects.matrix)
    row = objects.names.index(DRAWING)
    sides = dict(zip(ROWS, (X, transform(X)), strict=True))
    return drawings.pictures, {
        when: [objects.names[other] for other in nearest(rows, row)] for when, rows in sides.items()
    }


def drawing(pictures: dict[str, str], near: dict[str, list[str]], is_narrow: bool = False) -> str:
    """The whole picture; a narrow one has the rows one below the other."""
    width, height = (380, 328) if is_narrow else (500, 234)
    left, first = (14, 152) if is_narrow else (150, 60)
    parts = [picture(pictures[DRAWING], 14, 60)]
    for number, (when, title) in enumerate(ROWS.items()):
        top = first + 98 * number
        parts.append(f'<text x="{left}" y="{top - 8}">{title}</text>')
        for place, name in enumerate(near[when]):
            parts.append(picture(pictures[name], left + place * (SIDE + 8), top))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" role="img">',
            f"<title>{TITLE}</title>",
            "<style>text { font: 13px system-ui, sans-serif; fill: #1b1f24 }",
            ".title { font-size: 15px; font-weight: 600 }",
            "@media (prefers-color-scheme: dark) { text { fill: #e8eaed } }</style>",
            f'<text class="title" x="14" y="24">{TITLE}</text>',
            '<text x="14" y="52">a new drawing</text>',
            *parts,
            "</svg>",
            "",
        ]
    )


def picture(address: str, x: float, y: float) -> str:
    """A drawing at a place."""
    return f'<image href="{address}" x="{x}" y="{y}" width="{SIDE}" height="{SIDE}"/>'


if __name__ == "__main__":
    pictures_and_near = neighbours()
    for layout in ("", "-narrow"):
        text = drawing(*pictures_and_near, is_narrow=bool(layout))
        (IMAGES / f"demo{layout}.svg").write_text(text, encoding="utf-8")
