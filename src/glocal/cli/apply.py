"""``glocal apply``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from glocal.cli.features import LayerName, ModelName, load_features
from glocal.cli.output import AsJson, progress_bar, put, put_json
from glocal.data.features import Features
from glocal.data.parquet import PARQUET
from glocal.data.zarr import ZARR
from glocal.errors import ParameterError
from glocal.evaluation.structure import neighbours_kept
from glocal.files import writable_target
from glocal.transform import LinearTransform, apply_file, apply_shards
from glocal.transform.file_format import TRANSFORM_ENDINGS
from glocal.transform.reduction import Rows, leading_of, rows_of_parquet
from glocal.transform.shards import is_sharded

_SAMPLE = 2000


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
    dimensions: Annotated[
        int | None,
        typer.Option("--dimensions", help="Write this many: those that keep the similarities of these rows best."),
    ] = None,
    save_transform: Annotated[
        Path | None,
        typer.Option("--save-transform", help="With --dimensions, the transform to them, for queries later."),
    ] = None,
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
    if save_transform is not None:
        if dimensions is None:
            raise ParameterError("--save-transform keeps the transform to fewer dimensions. Pass --dimensions too.")
        writable_target(save_transform, what="--save-transform", endings=TRANSFORM_ENDINGS)
    kept: dict[str, Any] = {}
    if model is None and is_sharded(features, out):
        fitted = LinearTransform.load(transform)
        if dimensions is not None:
            parquet = features.suffix.lower() == PARQUET or (features.is_dir() and features.suffix.lower() != ZARR)
            source = rows_of_parquet(features, column) if parquet else _rows(Features.load(features))
            fitted, kept = _reduced(fitted, strength, source, dimensions, save_transform)
        with progress_bar("applying", unit="rows") as progress:
            rows = apply_shards(
                fitted, features, out, column=column, strength=1.0 if kept else strength, normalize=normalize,
                scheduler=scheduler, progress=progress,
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
        if dimensions is not None:
            before = fitted if strength == 1.0 else fitted.at_strength(strength)
            fitted.check_shape((len(loaded), loaded.dimensions))
            fitted, kept = _reduced(fitted, strength, _rows(loaded), dimensions, save_transform)
            kept |= _neighbours(before, fitted, loaded)
        with progress_bar("applying", len(loaded), unit="rows") as progress:
            rows = apply_file(
                fitted, loaded, out, strength=1.0 if kept else strength, normalize=normalize, progress=progress
            )
    if as_json:
        put_json({"rows": rows, "dimensions": fitted.out_dimensions, "strength": strength, "out": str(out), **kept})
        return
    put(f"{rows} rows of {fitted.out_dimensions} dimensions written to {out}")
    if kept:
        put(
            f"of {kept['of']} dimensions; kept: {kept['energy']:.4f} of the similarities' energy, {kept['length']:.4f} "
            "of the squared length"
        )
    if "neighbours_kept" in kept:
        put(f"neighbours kept (k = {kept['k']})  {kept['neighbours_kept']:.3f}   rows compared {kept['compared']}")
    if save_transform is not None:
        put(f"the transform to {dimensions} dimensions written to {save_transform}")


def _rows(features: Features) -> Rows:
    return ((features.source, start, rows) for start, rows in features.chunks())


def _reduced(
    fitted: LinearTransform, strength: float, rows: Iterable[tuple[str, int, np.ndarray]], dimensions: int,
    save: Path | None,
) -> tuple[LinearTransform, dict[str, Any]]:  # fmt: skip
    """The transform at this strength to fewer dimensions, saved if asked for, and what these keep."""
    most = fitted.out_dimensions
    if not 1 <= dimensions <= most:
        raise ParameterError(f"--dimensions is {dimensions}; the transform has {most}, so allowed are 1 to {most}.")
    fitted = fitted if strength == 1.0 else fitted.at_strength(strength)
    with progress_bar("finding directions", unit="rows") as progress:
        reduced = leading_of(fitted, rows, progress=progress).transform(dimensions)
    if save is not None:
        reduced.save(save)
    told = reduced.meta["reduced"]
    return reduced, {name: told[name] for name in ("of", "energy", "length")}


def _neighbours(before: LinearTransform, after: LinearTransform, features: Features) -> dict[str, Any]:
    """The share of each row's nearest neighbours that stay, over at most 2000 rows spaced evenly through the file."""
    n, k = len(features), 10
    if n <= k + 1:
        return {}
    numbers = np.unique(np.linspace(0, n - 1, min(n, _SAMPLE)).astype(np.int64))
    X = np.empty((len(numbers), features.dimensions))
    for places, rows in features.rows(numbers):
        X[places] = rows
    return {"neighbours_kept": neighbours_kept(before.apply(X), after.apply(X), k), "k": k, "compared": len(numbers)}
