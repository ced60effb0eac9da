"""``glocal apply``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from glocal.cli.features import LayerName, ModelName, load_features
from glocal.cli.options import AsJson
from glocal.cli.output import progress_bar, put, put_json
from glocal.data.zarr import ZARR
from glocal.errors import ParameterError
from glocal.files import writable_target
from glocal.transform import LinearTransform, apply_file, apply_shards
from glocal.transform.shards import is_sharded


def apply(
    transform: Annotated[Path, typer.Argument(help="Transform file, ours or the authors'.")],
    features: Annotated[
        Path, typer.Argument(help="Feature file or folder, not standardized; or images, with --model.")
    ],
    out: Annotated[
        Path,
        typer.Option("--out", help="A .npy file, a .zarr folder, or from Parquet a folder of shards or a .parquet."),
    ],
    strength: Annotated[
        float, typer.Option("--strength", help="0 is the original up to scale, 1 the transform.")
    ] = 1.0,
    normalize: Annotated[bool, typer.Option("--normalize", help="Scale every row to length 1.")] = False,
    column: Annotated[
        str | None, typer.Option("--column", help="Parquet column of the vectors; the others are carried over.")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", help="Dask cluster to map zarr or Parquet on: tcp://..., or its scheduler file."),
    ] = None,
    model: ModelName = None,
    layer: LayerName = None,
    as_json: AsJson = False,
) -> None:
    """Transform features of any size in constant memory; zarr and Parquet also on a Dask cluster.

    A zarr or Parquet output that was interrupted is taken up again by the same command.

    Example: glocal apply transform.npz features.npy --out aligned.npy
    """
    if model is None and is_sharded(features, out):
        fitted = LinearTransform.load(transform)
        with progress_bar("applying", unit="rows") as progress:
            rows = apply_shards(
                fitted, features, out, column=column, strength=strength, normalize=normalize, scheduler=scheduler,
                progress=progress,
            )  # fmt: skip
    else:
        if scheduler is not None or column is not None:
            raise ParameterError(
                f"--{'column' if scheduler is None else 'scheduler'} goes with zarr and Parquet outputs and {out} is "
                "neither. Name an --out that ends in .zarr, or from Parquet a folder or a .parquet."
            )
        writable_target(out, what="--out", endings=(".npy",) if model else (".npy", ZARR))
        loaded = load_features(features, model, layer)
        fitted = LinearTransform.load(transform)
        with progress_bar("applying", len(loaded), unit="rows") as progress:
            rows = apply_file(fitted, loaded, out, strength=strength, normalize=normalize, progress=progress)
    if as_json:
        put_json({"rows": rows, "dimensions": fitted.dimensions, "strength": strength, "out": str(out)})
    else:
        put(f"{rows} rows of {fitted.dimensions} dimensions written to {out}")
