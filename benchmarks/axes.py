"""Draw docs/img/axes-clip.svg from docs/evidence.json. Run: make figure.

The figure shows what people's answers amplify in CLIP ViT-B/32: the axes of the transform that
comes with the package, as `glocal.axes` computes them. `measured` computes them again from the real
data (python benchmarks/evidence.py axes), with three fits of the same setting, each without the
answers about a third of the objects.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import workbench  # noqa: F401  # isort: skip  before torch

import pandas as pd

import glocal
from glocal.files import write_text
from glocal.report import axes_svg

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "docs" / "evidence.json"
FIGURE = ROOT / "docs" / "img" / "axes-clip.svg"
TITLE = "What people’s answers amplify in CLIP ViT-B/32"
NAME = "clip-vit-b-32"


def measured() -> dict[str, Any]:
    """The axes of the transform in the package, with their stability over folds."""
    import pretrained

    data = pretrained.data()
    transform = glocal.pretrained(NAME)
    table = glocal.axes(transform, data.features, folds=pretrained.folds(transform, data))
    rows = json.loads(table.to_json(orient="records"))
    return {"axes": {"transform": NAME, "chance": table.attrs["chance"], "rows": rows}}


def main() -> None:
    """Draw the figure from the record."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    write_text(FIGURE, axes_svg(pd.DataFrame(record["axes"]["rows"]), TITLE))


if __name__ == "__main__":
    main()
