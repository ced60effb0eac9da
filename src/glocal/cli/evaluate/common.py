"""What every ``glocal evaluate`` command does: embed features, append the rows of a result, show it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from glocal.cli.output import put, put_json
from glocal.data.features import Features, Standardization
from glocal.files import writable_target
from glocal.records import append_rows
from glocal.scores import PEOPLE, Score
from glocal.transform import LinearTransform

ScoresOut = Annotated[Path | None, typer.Option("--out", help="JSON-lines file that the scores are appended to.")]


def embedded(
    features: Features, transform: Path | None, scalars: Standardization | None = None, dtype: str = "float64"
) -> np.ndarray:
    """Rows of the standardized features, or of the transformed ones, computed in float64 piece by piece.

    A transform brings its own two scalars. Without one they are `scalars`, or those of these features.
    """
    fitted = None if transform is None else LinearTransform.load(transform)
    given = (scalars or features.standardization) if fitted is None else fitted.standardization
    columns = features.dimensions if fitted is None else fitted.out_dimensions
    rows = np.empty((len(features), columns), dtype=dtype)
    for start, chunk in features.chunks():
        wide = np.asarray(chunk, dtype=np.float64)
        rows[start : start + len(wide)] = given(wide, "float64") if fitted is None else fitted.apply(wide)
    return rows


def check_scores_out(out: Path | None) -> None:
    """Say before any work that scores could not be written."""
    if out is not None:
        writable_target(out, what="--out", endings=(".jsonl", ".ndjson", ".json", ".txt", ""))


def record(result: Any) -> dict[str, Any]:
    """The fields of a result but for the arrays behind them, which its repr leaves out too."""
    return {field.name: getattr(result, field.name) for field in dataclasses.fields(result) if field.repr}


def with_ends(scores: Iterable[Score]) -> dict[str, Any]:
    """Each score under its metric, its interval under ``METRIC_low`` and ``METRIC_high``."""
    values: dict[str, Any] = {}
    for score in scores:
        values |= {score.metric: score.value, f"{score.metric}_low": score.low, f"{score.metric}_high": score.high}
    return values


def put_result(
    scores: Iterable[Score],
    lines: Iterable[str],
    values: Mapping[str, Any],
    *,
    out: Path | None,
    as_json: bool,
    transform: Path | None,
    split: str,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Append the rows to a file, if one was asked for, and show the result: its lines, or its values as JSON."""
    if out is not None:
        arm = "original" if transform is None else str(transform)
        placed = (
            dataclasses.replace(
                score, split=split, transform=PEOPLE if score.transform == PEOPLE else arm,
                settings={**score.settings, **(settings or {})},
            )
            for score in scores
        )  # fmt: skip
        append_rows(out, [score.row() for score in placed])
    if as_json:
        put_json(values)
    else:
        put(*lines)
