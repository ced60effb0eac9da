"""Draw docs/img/method.svg: what the transform does, in two dimensions, with a true linear map.

The colours follow the colour scheme: that of the site if the picture is part of a page, else that
of the system.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

PICTURE = Path(__file__).with_name("img") / "method.svg"
ANGLE = np.deg2rad(28)  # of the direction by which people judge
W = np.array([[np.cos(ANGLE), -np.sin(ANGLE)], [np.sin(ANGLE), np.cos(ANGLE)]])
W = W @ np.diag([1.30, 0.50]) @ W.T
OBJECTS = {  # along the direction by which people judge, and across it
    "dog": (-0.86, 0.82), "cat": (-0.98, -0.72), "owl": (-0.62, 0.10),
    "car": (0.30, 0.92), "bus": (0.12, -0.52), "bike": (0.22, 0.38),
    "axe": (0.80, -0.62), "saw": (0.92, 0.62),
}  # fmt: skip
KIND = dict(zip(OBJECTS, 3 * ["animal"] + 3 * ["vehicle"] + 2 * ["tool"], strict=True))
PAIR = ("dog", "cat")
ODD = "car"
CLUMPS = ((-0.24, -0.98), (0.66, -0.10), (-0.28, 0.50))
SIDE = 330
SCALE = 104
TOP = 46
LEFT = 14
GAP = 150
STYLE = """
  .glocal-figure { --ink: #1b1f24; --soft: #5b636d; --line: #d5d9df; }
  @media (prefers-color-scheme: dark) { .glocal-figure { --ink: #e8eaed; --soft: #a9b0b9; --line: #444c56; } }
  .glocal-figure text { font: 14px system-ui, sans-serif; fill: var(--pst-color-text-base, var(--ink)); }
  .glocal-figure text.title { font-size: 16px; font-weight: 600; }
  .glocal-figure text.soft { fill: var(--pst-color-text-muted, var(--soft)); }
  .glocal-figure .grid { stroke: var(--pst-color-border, var(--line)); stroke-width: 1; fill: none; }
  .glocal-figure .ink { stroke: var(--pst-color-text-base, var(--ink)); fill: none; stroke-width: 1.6; }
  .glocal-figure .inkfill { fill: var(--pst-color-text-base, var(--ink)); }
  .glocal-figure .photo { fill: #009e73; }
  .glocal-figure .near { stroke: #009e73; stroke-width: 1.5; fill: #009e73; fill-opacity: 0.10; }
  .glocal-figure .pair { stroke: #2b8fd0; stroke-width: 3; }
  .glocal-figure .other { stroke: #d55e00; stroke-width: 2; stroke-dasharray: 5 4; }
"""  # noqa: E501  one rule of CSS a line


def rotated(point: tuple[float, float]) -> np.ndarray:
    """The coordinates in the picture of a point along and across the direction of judgments."""
    turn = np.array([[np.cos(ANGLE), -np.sin(ANGLE)], [np.sin(ANGLE), np.cos(ANGLE)]])
    return turn @ np.array(point)


def panel(place: int, title: str, note: str, transform: np.ndarray) -> list[str]:
    """One map: the grid, the neighbourhoods, one answer and the objects."""
    middle = LEFT + place * (SIDE + GAP) + SIDE / 2
    frame = f'x="{middle - SIDE / 2:g}" y="{TOP}" width="{SIDE}" height="{SIDE}" rx="8"'
    text = f'x="{middle:g}" y="{{}}" text-anchor="middle"'

    def project(point: np.ndarray) -> tuple[float, float]:
        x, y = np.array([middle, TOP + SIDE / 2]) + SCALE * (transform @ point) * (1, -1)
        return round(float(x), 1), round(float(y), 1)

    return [
        f'<text class="title" {text.format(24)}>{title}</text>',
        f'<text class="soft" {text.format(TOP + SIDE + 24)}>{note}</text>',
        f'<clipPath id="map{place}"><rect {frame}/></clipPath>',
        f'<g clip-path="url(#map{place})">',
        *grid(project),
        "</g>",
        f'<rect class="grid" {frame}/>',
        *neighbourhoods(project),
        *answer_and_objects(project),
    ]


Projection = Callable[[np.ndarray], tuple[float, float]]
"""From a point to its coordinates in the picture."""


def grid(project: Projection) -> Iterator[str]:
    """The lines of a grid."""
    for step in np.arange(-5, 5.01, 0.5):
        for start, end in (((step, -6), (step, 6)), ((-6, step), (6, step))):
            yield segment("grid", project(np.array(start)), project(np.array(end)))


def neighbourhoods(project: Projection) -> Iterator[str]:
    """Clumps of photographs, each with a ring around it."""
    rng = np.random.default_rng(4)
    for clump in CLUMPS:
        center = rotated(clump)
        ring = [project(center + 0.19 * direction(a)) for a in np.linspace(0, 2 * np.pi, 40)]
        points = " ".join(f"{x},{y}" for x, y in ring)
        yield f'<polygon class="near" points="{points}"/>'
        lengths = rng.uniform(0.06, 0.14, 5)
        for angle, length in zip(np.arange(5) * 2 * np.pi / 5, lengths, strict=True):
            x, y = project(center + length * direction(angle))
            yield f'<circle class="photo" cx="{x}" cy="{y}" r="2.6"/>'


def answer_and_objects(project: Projection) -> Iterator[str]:
    """The lines of one answer, and the objects with their names."""
    a, b, odd = (project(rotated(OBJECTS[name])) for name in (*PAIR, ODD))
    yield segment("other", a, odd)
    yield segment("other", b, odd)
    yield segment("pair", a, b)
    for name, point in OBJECTS.items():
        x, y = project(rotated(point))
        yield sign(KIND[name], x, y)
        yield f'<text x="{x + 9}" y="{y + 5}">{name}</text>'


def direction(angle: float) -> np.ndarray:
    """The unit vector of an angle."""
    return np.array([np.cos(angle), np.sin(angle)])


def segment(kind: str, start: tuple[float, float], end: tuple[float, float]) -> str:
    """A line between two points of the picture."""
    return f'<line class="{kind}" x1="{start[0]}" y1="{start[1]}" x2="{end[0]}" y2="{end[1]}"/>'


def sign(kind: str, x: float, y: float) -> str:
    """A mark of its own shape for each kind of object."""
    if kind == "animal":
        return f'<circle class="inkfill" cx="{x}" cy="{y}" r="5"/>'
    if kind == "vehicle":
        return f'<rect class="inkfill" x="{x - 5:g}" y="{y - 5:g}" width="10" height="10"/>'
    return (
        f'<polygon class="inkfill" points="{x},{y - 6:g} {x + 6:g},{y + 5:g} {x - 6:g},{y + 5:g}"/>'
    )


def drawing() -> str:
    """The whole picture."""
    width = 2 * (SIDE + LEFT) + GAP
    height = TOP + SIDE + 92
    start = LEFT + SIDE + 18
    middle = TOP + SIDE / 2
    end = start + GAP - 36
    key = TOP + SIDE + 62
    centre = f'x="{(start + end) / 2:g}" text-anchor="middle"'
    lines = [
        f'<svg class="glocal-figure" xmlns="http://www.w3.org/2000/svg" '
        f'viewBox="0 0 {width} {height}" role="img" aria-labelledby="glocal-figure-title">',
        '<title id="glocal-figure-title">One matrix brings the pair that people chose together, '
        "and keeps the neighbours of each photograph</title>",
        f"<style>{STYLE}</style>",
        *panel(
            0, "Features of the network", "the dog is nearer to the car than to the cat", np.eye(2)
        ),
        f'<text class="title" {centre} y="{middle - 34:g}">one matrix W</text>',
        f'<path class="ink" d="M{start} {middle:g}H{end}m-9 -7l9 7l-9 7"/>',
        f'<text class="soft" {centre} y="{middle + 28:g}">fitted to answers:</text>',
        f'<text class="soft" {centre} y="{middle + 48:g}">dog, cat | car</text>',
        *panel(1, "Aligned features", "the dog is nearer to the cat", W),
        f'<line class="pair" x1="{LEFT}" y1="{key}" x2="{LEFT + 34}" y2="{key}"/>',
        f'<text x="{LEFT + 42}" y="{key + 5}">the pair people found most alike</text>',
        f'<line class="other" x1="{LEFT + 290}" y1="{key}" x2="{LEFT + 324}" y2="{key}"/>',
        f'<text x="{LEFT + 332}" y="{key + 5}">the two other pairs</text>',
        f'<circle class="near" cx="{LEFT + 510}" cy="{key}" r="10"/>',
        *(
            f'<circle class="photo" cx="{LEFT + 510 + x}" cy="{key + y}" r="2.6"/>'
            for x, y in ((-3, -3), (4, 0), (-2, 4))
        ),
        f'<text x="{LEFT + 528}" y="{key + 5}">other photographs and their neighbours</text>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(drawing(), encoding="utf-8")
