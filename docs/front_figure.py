"""Draw docs/img/front.svg from docs/evidence.json: a real answer, and the scale of agreement.

front-narrow.svg is the same for a phone. Three panels show what a person, CLIP, and CLIP times one
matrix leave out; they appear one after the other, or all at once for who asks for less motion. The
colours follow the colour scheme.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

DOCS = Path(__file__).parent
NETWORK = "clip-vit-b32"
ICONS = {
    "dice": '<rect class="line" x="-22" y="-22" width="44" height="44" rx="9"/>'
    '<circle class="dot" cx="-10" cy="-10" r="4"/><circle class="dot" cx="10" cy="-10" r="4"/>'
    '<circle class="dot" r="4"/><circle class="dot" cx="-10" cy="10" r="4"/>'
    '<circle class="dot" cx="10" cy="10" r="4"/>',
    "ladder": '<path class="line" d="M-11-26L-16 26M11-26L16 26M-12-14H12M-13-1H13M-14 12H14"/>',
    "rabbit": '<ellipse class="line" cx="-8" cy="-18" rx="5" ry="13" transform="rotate(-8)"/>'
    '<ellipse class="line" cx="8" cy="-18" rx="5" ry="13" transform="rotate(8)"/>'
    '<circle class="line" cy="8" r="17"/><circle class="dot" cx="-6" cy="4" r="2.6"/>'
    '<circle class="dot" cx="6" cy="4" r="2.6"/><path class="line" d="M-4 13L0 16L4 13"/>',
}
"""The picture of each object, about 52 pixels high, around the origin."""
SPACING = 94  # pixels between the middles of two cards
CARD = 82  # pixels of the side of a card
STYLE = """
  svg { --ink: #1f2328; --soft: #59636e; --line: #d1d9e0; --card: #f6f8fa; }
  svg { --good: #12805a; --bad: #b35900; }
  @media (prefers-color-scheme: dark) {
    svg { --ink: #f0f6fc; --soft: #9198a1; --line: #3d444d; --card: #151b23; }
    svg { --good: #3fd39a; --bad: #f0a050; }
  }
  text { font: 14px system-ui, sans-serif; fill: var(--ink); }
  .title { font-size: 16px; font-weight: 600; }
  .soft { fill: var(--soft); }
  .card { fill: var(--card); stroke: var(--line); }
  .odd { stroke-dasharray: 5 5; fill: none; }
  .line { fill: none; stroke: var(--ink); stroke-width: 3; stroke-linecap: round; }
  .dot { fill: var(--ink); }
  .good { font-weight: 600; fill: var(--good); }
  .bad { font-weight: 600; fill: var(--bad); }
  .pair { fill: none; stroke-width: 4; }
  .pair.good { stroke: var(--good); fill: none; }
  .pair.bad { stroke: var(--bad); fill: none; }
  .axis { stroke: var(--line); stroke-width: 10; stroke-linecap: round; }
  .people { stroke: var(--good); stroke-width: 10; stroke-linecap: round; opacity: .45; }
  .mark.good { fill: var(--good); }
  .mark.bad { fill: var(--bad); }
  .mark.soft { fill: var(--soft); }
  @media (prefers-reduced-motion: no-preference) {
    .second { animation: second 5s; }
    .third { animation: third 5s; }
  }
  @keyframes second { 0%, 25% { opacity: .3; } 40% { opacity: 1; } }
  @keyframes third { 0%, 60% { opacity: .3; } 75% { opacity: 1; } }
"""


class Panel(NamedTuple):
    """Who answers, what they leave out, whether a person leaves out the same, and when it shows."""

    title: str
    odd: str
    verdict: str
    is_right: bool
    timing: str


class Mark(NamedTuple):
    """A point of the scale: its share of answers, its label, its class, and its line of text."""

    share: float
    label: str
    look: str
    is_above: bool


class Layout(NamedTuple):
    """The size of a drawing, and the places of its panels and of the two ends of its scale."""

    size: tuple[int, int]
    panels: tuple[tuple[int, int], ...]
    scale_top: int
    ends: tuple[float, float]
    is_narrow: bool


WIDE = Layout((960, 358), ((0, 0), (330, 0), (660, 0)), 206, (10.0, 950.0), False)
NARROW = Layout((380, 850), ((0, 0), (0, 186), (0, 372)), 570, (10.0, 370.0), True)
LEAST, MOST = 0.30, 0.70  # shares of answers at the ends of the scale


def panels(answer: dict[str, Any]) -> list[Panel]:
    """The three panels of an answer."""
    person, network, matrix = (answer[name] for name in ("person", "network", "matrix"))
    return [
        Panel("The odd one out, to a person", person, f"the {person}", True, "first"),
        Panel("to CLIP", network, f"the {network}", network == person, "second"),
        Panel("to CLIP × one matrix", matrix, f"the {matrix}, like the person", True, "third"),
    ]


def marks(record: dict[str, Any]) -> list[Mark]:
    """The points of the scale, from the record."""
    arms = {row["arm"]: row["agreement"] for row in record["arms"] if row["network"] == NETWORK}
    return [
        Mark(record["chance"], "guessing", "soft", False),
        Mark(arms["original"], "CLIP", "bad", False),
        Mark(arms["centred"], "its mean subtracted", "soft", True),
        Mark(arms["keep-0.9"], "one matrix", "good", False),
    ]


def ceiling_ends(record: dict[str, Any]) -> list[float]:
    """The two ends of people's agreement with each other; each stands before its interval."""
    return [end[0] for end in record["people"].values()]


def percent(share: float) -> str:
    """A share in per cent, with one decimal."""
    return f"{100 * share:.1f} %"


def drawn_panel(panel: Panel, objects: list[str], corner: tuple[int, int]) -> list[str]:
    """The three cards of a panel, the pair that stays together, and what is left out."""
    look = "good" if panel.is_right else "bad"
    middles = {name: 46 + SPACING * place for place, name in enumerate(objects)}
    pair = [middles[name] for name in objects if name != panel.odd]
    lines = [
        f'<g class="{panel.timing}" transform="translate({corner[0]} {corner[1]})">',
        f'<text class="title" x="4" y="20">{panel.title}</text>',
    ]
    for name, x in middles.items():
        odd = " odd" if name == panel.odd else ""
        side = f'width="{CARD}" height="92" rx="10"'
        lines += [
            f'<g transform="translate({x} 84)">',
            f'<rect class="card{odd}" x="{-CARD // 2}" y="-46" {side}/>',
            f'<g transform="translate(0 -8)">{ICONS[name]}</g>',
            f'<text y="38" text-anchor="middle">{name}</text></g>',
        ]
    lines += [
        f'<path class="pair {look}" d="M{pair[0]} 136v8H{pair[1]}v-8"/>',
        f'<text class="{look}" x="4" y="172">Left out: {panel.verdict}.</text>',
        "</g>",
    ]
    return lines


def drawn_scale(record: dict[str, Any], layout: Layout) -> list[str]:
    """The scale from guessing to people among themselves."""
    left, right = layout.ends
    y = layout.scale_top + 58

    def position(share: float) -> float:
        return round(left + (share - LEAST) / (MOST - LEAST) * (right - left), 1)

    people = sorted(ceiling_ends(record))
    low, high = map(position, people)
    lines = [
        f'<path class="axis" d="M{left} {y}H{right}"/>',
        f'<path class="people" d="M{low} {y}H{high}"/>',
    ]
    label = f"people among themselves {100 * people[0]:.0f} to {100 * people[1]:.0f} %"
    rows = [*marks(record), Mark(sum(people) / 2, label, "soft", True)]
    for number, mark in enumerate(rows):
        x = position(mark.share)
        is_people = mark.label == label
        if not is_people:
            lines.append(f'<circle class="mark {mark.look}" cx="{x}" cy="{y}" r="7"/>')
        text = label if is_people else f"{mark.label} {percent(mark.share)}"
        if layout.is_narrow:
            colour = "good" if is_people else mark.look
            row = y + 34 + 24 * number
            lines.append(f'<circle class="mark {colour}" cx="16" cy="{row - 5}" r="5"/>')
            lines.append(f'<text class="{mark.look}" x="30" y="{row}">{text}</text>')
            continue
        height = y - 16 if mark.is_above else y + 28
        anchor, start = ("end", right) if is_people else ("middle", x)
        place = f'x="{start}" y="{height}" text-anchor="{anchor}"'
        lines.append(f'<text class="{mark.look}" {place}>{text}</text>')
    return lines


def notes(answer: dict[str, Any]) -> list[str]:
    """How the answer was chosen and what became of the others, in two lines."""
    changed = f"{answer['became_right']} became right and {answer['became_wrong']} wrong"
    return [
        f"A chosen answer. Of {answer['answers']:,} answers in fold {answer['fold']}, about "
        f"objects that the fit never saw, {changed}.",
        "The scale is the mean of three folds.",
    ]


def finding(record: dict[str, Any]) -> str:
    """What the drawing shows, in words, for who cannot see it."""
    answer = record["answer"]
    before, after = (mark.share for mark in marks(record)[1::2])
    low, high = sorted(ceiling_ends(record))
    return (
        f"Which is the odd one out of {', '.join(answer['objects'])}? A person leaves out the "
        f"{answer['person']}, CLIP the {answer['network']}, and CLIP times one matrix the "
        f"{answer['matrix']}. On answers about unseen objects agreement with people rises from "
        f"{percent(before)} to {percent(after)}; people agree with each other on {100 * low:.0f} "
        f"to {100 * high:.0f} %."
    )


def drawing(record: dict[str, Any], layout: Layout) -> str:
    """The whole picture as SVG."""
    width, height = layout.size
    answer = record["answer"]
    parts: list[str] = []
    for panel, corner in zip(panels(answer), layout.panels, strict=True):
        parts += drawn_panel(panel, answer["objects"], corner)
    heading = (
        "Answers on which a network and people leave out the same, about objects no fit has seen"
    )
    headings = [heading]
    remarks = notes(answer)
    if layout.is_narrow:
        headings = [
            "Answers on which a network and people leave out",
            "the same, about objects no fit has seen",
        ]
        remarks = wrapped(" ".join(remarks), 52)
    first = layout.scale_top + 18 * (2 - len(headings))
    parts += [
        f'<text class="soft" x="4" y="{first + 18 * number}">{line}</text>'
        for number, line in enumerate(headings)
    ]
    parts += drawn_scale(record, layout)
    bottom = height - 10 - 20 * (len(remarks) - 1)
    parts += [
        f'<text class="soft" x="4" y="{bottom + 20 * number}">{line}</text>'
        for number, line in enumerate(remarks)
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
            f"<title>{finding(record)}</title>",
            f"<style>{STYLE}</style>",
            *parts,
            "</svg>",
            "",
        ]
    )


def wrapped(text: str, width: int) -> list[str]:
    """The lines of a text of at most so many characters."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if len(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


if __name__ == "__main__":
    evidence = json.loads((DOCS / "evidence.json").read_text("utf-8"))
    for name, layout in (("front", WIDE), ("front-narrow", NARROW)):
        (DOCS / "img" / f"{name}.svg").write_text(drawing(evidence, layout), encoding="utf-8")
