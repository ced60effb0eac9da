"""``glocal apply``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from glocal.cli.features import LayerName, ModelName, load_features
from glocal.cli.options import AsJson
from glocal.cli.output import progress_bar, put_json
from glocal.files import writable_target
from glocal.transform import LinearTransform, apply_file


def apply(
    transform: Annotated[Path, typer.Argument(help="Transform file, ours or the authors'.")],
    features: Annotated[
        Path, typer.Argument(help="Feature file or folder, not standardized; or images, with --model.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The .npy file to write.")],
    strength: Annotated[
        float, typer.Option("--strength", help="0 is the original up to scale, 1 the transform.")
    ] = 1.0,
    normalize: Annotated[bool, typer.Option("--normalize", help="Scale every row to length 1.")] = False,
    model: ModelName = None,
    layer: LayerName = None,
    as_json: AsJson = False,
) -> None:
    """Transform a feature file of any size in constant memory.

    Example: glocal apply transform.npz features.npy --out aligned.npy
    """
    writable_target(out, what="--out")
    loaded = load_features(features, model, layer)
    with progress_bar("applying", len(loaded)) as progress:
        rows = apply_file(
            LinearTransform.load(transform), loaded, out, strength=strength, normalize=normalize, progress=progress
        )
    if as_json:
        put_json({"rows": rows, "dimensions": loaded.dimensions, "strength": strength, "out": str(out)})
    else:
        typer.echo(f"{rows} rows of {loaded.dimensions} dimensions written to {out}")
