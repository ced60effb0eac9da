"""Draw docs/img/method.svg: what the transform does, in two dimensions, with a true linear map.

method-narrow.svg is the same for a phone. The colours follow the colour scheme.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

IMAGES = Path(__file__).with_name("img")
TITLE = "One matrix brings dog and cat together"
DESCRIPTION = "and keeps the neighbours of each photograph"
ANGLE = np.deg2rad(28)  # of the direction by which people judge
W = np.array([[np.cos(ANGLE), -np.sin(ANGLE)], [np.sin(ANGLE), np.cos(ANGLE)]])
W = W @ np.diag([1.30, 0.50]) @ W.T
OBJECTS = {  # along the direction by which people judge, and across it
    "dog": (-0.86, 0.82), "cat": (-0.98, -0.72), "owl": (-0.38, -0.26),
    "car": (0.30, 0.92), "bus": (0.12, -0.52), "bike": (0.22, 0.38),
    "axe": (0.80, -0.62), "saw": (0.92, 0.62),
}  # fmt: skip
KIND = dict(zip(OBJECTS, 3 * ["animal"] + 3 * ["vehicle"] + 2 * ["tool"], strict=True))
PAIR = ("dog", "cat")
ODD = "car"
CLUMPS = ((-0.24, -0.98), (0.66, -0.10), (-0.28, 0.50))
SIDE = 330
SCALE = 104
TOP = 90
LEFT = 14
GAP = 150
GAP_BELOW = 170
STYLE = """
  svg { --ink: #1b1f24; --soft: #5b636d; --line: #d5d9df; }
  @media (prefers-color-scheme: dark) { svg { --ink: #e8eaed; --soft: #a9b0b9; --line: #444c56; } }
  text { font: 14px system-ui, sans-serif; fill: var(--ink); }
  .title { font-size: 15px; font-weight: 600; }
  .soft { fill: var(--soft); }
  .grid { stroke: var(--line); stroke-width: 1; fill: none; }
  .ink { stroke: var(--ink); fill: none; stroke-width: 1.6; }
  .inkfill { fill: var(--ink); }
  .photo { fill: #53a36c; }
  .near { stroke: #53a36c; stroke-width: 1.5; fill: #53a36c; fill-opacity: 0.10; }
  .pair { stroke: #1197fa; stroke-width: 3; }
  .other { stroke: #d38006; stroke-width: 2; stroke-dasharray: 5 4; }
"""


def rotated(point: tuple[float, float]) -> np.ndarray:
    """The coordinates in the picture of a point along and across the direction of judgments."""
    turn = np.array([[np.cos(ANGLE), -np.sin(ANGLE)], [np.sin(ANGLE), np.cos(ANGLE)]])
    return turn @ np.array(point)


Point = tuple[float, float]


def panel(corner: Point, title: str, note: str, transform: np.ndarray) -> list[str]:
    """One map with its upper left corner: the grid, the neighbourhoods, one answer, the objects."""
    left, top = corner
    middle = left + SIDE / 2
    frame = f'x="{left:g}" y="{top}" width="{SIDE}" height="{SIDE}" rx="8"'
    text = f'x="{middle:g}" y="{{}}" text-anchor="middle"'
    clip = f"map{left:g}-{top:g}"

    def project(point: np.ndarray) -> Point:
        x, y = np.array([middle, top + SIDE / 2]) + SCALE * (transform @ point) * (1, -1)
        return round(float(x), 1), round(float(y), 1)

    return [
        f"<text {text.format(top - 12)}>{title}</text>",
        f'<text class="soft" {text.format(top + SIDE + 24)}>{note}</text>',
        f'<clipPath id="{clip}"><rect {frame}/></clipPath>',
        f'<g clip-path="url(#{clip})">',
        *grid(project),
        "</g>",
        f'<rect class="grid" {frame}/>',
        *neighbourhoods(project),
        *answer_and_objects(project),
    ]


Projection = Callable[[np.ndarray], Point]
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


def segment(kind: str, start: Point, end: Point) -> str:
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


def arrow(is_narrow: bool) -> list[str]:
    """The arrow from the first map to the second, with what it stands for."""
    if is_narrow:
        x, y = LEFT + SIDE / 2, TOP + SIDE + 44
        path, text = f"M{x:g} {y}v62m-7 -9l7 9l7 -9", f'x="{x + 20:g}"'
        heights = y + 18, y + 38, y + 58
    else:
        x, y = LEFT + SIDE + 18, TOP + SIDE / 2
        path = f"M{x} {y:g}h{GAP - 36}m-9 -7l9 7l-9 7"
        text = f'x="{x + GAP / 2 - 18:g}" text-anchor="middle"'
        heights = y - 24, y + 28, y + 48
    words = ("one matrix W", "fitted to answers:", "dog, cat | car")
    return [
        f'<path class="ink" d="{path}"/>',
        *(
            f'<text class="soft" {text} y="{height:g}">{word}</text>'
            for word, height in zip(words, heights, strict=True)
        ),
    ]


def key(is_narrow: bool, y: float) -> Iterator[str]:
    """What the lines and rings stand for, in one row or in three."""
    words = (
        "the pair people found most alike",
        "the two other pairs",
        "other photographs and their neighbours",
    )
    places = [
        (LEFT, y + 26 * i) if is_narrow else (LEFT + x, y) for i, x in enumerate((0, 282, 492))
    ]
    for number, ((x, height), word) in enumerate(zip(places, words, strict=True)):
        if number < 2:
            yield segment(("pair", "other")[number], (x, height), (x + 30, height))
        else:
            yield f'<circle class="near" cx="{x + 15}" cy="{height}" r="10"/>'
            for dx, dy in ((12, -3), (19, 0), (13, 4)):
                yield f'<circle class="photo" cx="{x + dx}" cy="{height + dy}" r="2.6"/>'
        yield f'<text x="{x + 38}" y="{height + 5}">{word}</text>'


def drawing(is_narrow: bool = False) -> str:
    """The whole picture; a narrow one has its maps one below the other."""
    step = np.array((0, SIDE + GAP_BELOW) if is_narrow else (SIDE + GAP, 0))
    start = np.array((LEFT, TOP))
    width, height = start + step + SIDE + (LEFT, 56)
    end = height + (78 if is_narrow else 26)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{end}" '
        f'viewBox="0 0 {width} {end}" role="img">',
        f"<title>{TITLE}, {DESCRIPTION}</title>",
        f"<style>{STYLE}</style>",
        f'<text class="title" x="{LEFT}" y="24">{TITLE}</text>',
        f'<text class="soft" x="{LEFT}" y="46">{DESCRIPTION}</text>',
        *panel(
            (LEFT, TOP), "Features of the network", "the dog is nearer to the car than to the cat",
            np.eye(2),
        ),
        *arrow(is_narrow),
        *panel(
            tuple((start + step).tolist()), "Aligned features", "the dog is nearer to the cat", W
        ),
        *key(is_narrow, height),
        "</svg>",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for layout in ("", "-narrow"):
        file = IMAGES / f"method{layout}.svg"
        file.write_text(drawing(is_narrow=bool(layout)), encoding="utf-8")
