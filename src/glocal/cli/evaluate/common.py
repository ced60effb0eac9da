"""What every ``glocal evaluate`` command shares: its options, how features are embedded, where the scores go."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from glocal.cli.features import LayerName, ModelName, load_features
from glocal.cli.output import AsJson, put, put_json
from glocal.data.features import Features, Standardization
from glocal.files import writable_target
from glocal.results import PEOPLE, Score, append_rows
from glocal.transform import LinearTransform, check_rows

TransformPath = Annotated[
    str | None,
    typer.Option("--transform", help="Transform: a file, or a name that glocal transforms pull takes. [default: none]"),
]


@dataclass(frozen=True)
class Scored:
    """The options that all commands have."""

    transform: TransformPath = None
    model: ModelName = None
    layer: LayerName = None
    out: Annotated[Path | None, typer.Option("--out", help="JSON-lines file that the scores are appended to.")] = None
    as_json: AsJson = False

    def __post_init__(self) -> None:
        if self.out is not None:  # said before any work
            writable_target(self.out, what="--out", endings=(".jsonl", ".ndjson", ".json", ".txt", ""))

    def load(self, path: Path) -> Features:
        """The features of a file, or of images by the network that was named."""
        return load_features(path, self.model, self.layer)

    def embedded(
        self, features: Features, scalars: Standardization | None = None, dtype: str = "float64"
    ) -> np.ndarray:
        """Rows of the standardized features, or of the transformed ones, computed in float64 piece by piece.

        A transform brings its own two scalars. Without one they are `scalars`, or those of these features.
        """
        return embedded(features, self.transform, scalars, dtype)

    def put(self, scores: Iterable[Score], lines: Iterable[str], values: Mapping[str, Any], *, split: str) -> None:
        """Append the rows to a file, if one was asked for, and show the result: its lines, or its values as JSON."""
        if self.out is not None:
            arm = "original" if self.transform is None else str(self.transform)
            placed = (
                dataclasses.replace(score, split=split, transform=PEOPLE if score.transform == PEOPLE else arm)
                for score in scores
            )
            append_rows(self.out, [score.row() for score in placed])
        if self.as_json:
            put_json(values)
        else:
            put(*lines)


def embedded(
    features: Features, transform: str | None, scalars: Standardization | None = None, dtype: str = "float64"
) -> np.ndarray:
    """`Scored.embedded` under any transform."""
    fitted = None if transform is None else LinearTransform.from_pretrained(transform)
    given = (scalars or features.standardization) if fitted is None else fitted.standardization
    columns = features.dimensions if fitted is None else fitted.out_dimensions
    if fitted is not None:
        check_rows(fitted, features)
    rows = np.empty((len(features), columns), dtype=dtype)
    for start, chunk in features.chunks():
        wide = np.asarray(chunk, dtype=np.float64)
        rows[start : start + len(wide)] = given(wide, "float64") if fitted is None else fitted.apply(wide)
    return rows


def record(result: Any) -> dict[str, Any]:
    """The fields of a result but for the arrays behind them, which its repr leaves out too."""
    return {field.name: getattr(result, field.name) for field in dataclasses.fields(result) if field.repr}


def with_ends(scores: Iterable[Score]) -> dict[str, Any]:
    """Each score under its metric, its interval under ``METRIC_low`` and ``METRIC_high``."""
    values: dict[str, Any] = {}
    for score in scores:
        values |= {score.metric: score.value, f"{score.metric}_low": score.low, f"{score.metric}_high": score.high}
    return values
