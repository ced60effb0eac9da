"""``glocal apply``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from glocal.cli.inputs import LayerName, ModelName, load_features, refuse_overwriting_inputs
from glocal.cli.output import AsJson, progress_bar, show
from glocal.data.readers import PARQUET
from glocal.errors import ParameterError
from glocal.files import ending, writable_target
from glocal.transform import LinearTransform, check_rows, reduced
from glocal.transform.apply import apply_file, apply_parquet, parquet_rows
from glocal.transform.formats import ENDINGS


def apply(
    transform: Annotated[str, typer.Argument(help="Transform file, or a name that glocal transforms pull lists.")],
    features: Annotated[Path, typer.Argument(help="Feature file or folder, not standardized; images with --model.")],
    out: Annotated[Path, typer.Option(help="A .npy file; from Parquet also a .parquet file or a folder.")],
    strength: Annotated[float, typer.Option(help="0 is the original up to scale, 1 the transform.")] = 1.0,
    normalize: Annotated[bool, typer.Option("--normalize", help="First scale each row to length 1.")] = False,
    dimensions: Annotated[int | None, typer.Option(help="Reduce the output to this many dimensions.")] = None,
    save_transform: Annotated[
        Path | None, typer.Option(help="Save the transform as it is applied, for later queries.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="Parquet column of the vectors; the others are kept.")] = None,
    model: ModelName = None,
    layer: LayerName = None,
    as_json: AsJson = False,
) -> None:
    """Transform features of any size in constant memory.

    Parquet files are written one by one; the same command continues an interrupted run.

    Example: glocal apply transform.npz features.npy --out aligned.npy
    """
    if save_transform is not None:
        writable_target(save_transform, what="--save-transform", endings=ENDINGS)
    outputs = {"--out": out, "--save-transform": save_transform}
    refuse_overwriting_inputs(outputs, transform, features)
    fitted = LinearTransform.from_pretrained(transform)
    rows: Any
    sample: Any
    if model is None and ending(out) != ".npy" and (features.is_dir() or ending(features) == PARQUET):
        rows, sample = parquet_rows(features, column), next(parquet_rows(features, column), None)
        total, write = None, partial(apply_parquet, source=features, column=column)
    else:
        writable_target(out, what="--out", endings=(".npy",))
        if column is not None:
            raise ParameterError("--column names a column of Parquet, for a Parquet output. Leave it out.")
        rows = sample = load_features(features, model, layer)
        total, write = len(sample), partial(apply_file, features=sample)
    if sample is not None:  # a table without rows
        check_rows(fitted, sample, normalize=normalize)
    fitted = fitted if strength == 1.0 else fitted.at_strength(strength)
    if dimensions is not None:
        fitted = reduced(fitted, rows, dimensions, normalize=normalize)
    if save_transform is not None:
        fitted.save(save_transform)
    with progress_bar("applying", total, unit="rows") as progress:
        n = write(fitted, out=out, normalize=normalize, progress=progress)
    kept = {} if dimensions is None else {key: fitted.meta["reduced"][key] for key in ("of", "energy", "length")}
    told = [f"{n} rows of {fitted.out_dimensions} dimensions written to {out}"]
    if kept:
        told += ["kept: {energy:.4f} of the similarities' energy, {length:.4f} of the squared length".format_map(kept)]
    record = {"rows": n, "dimensions": fitted.out_dimensions, "strength": strength, "out": str(out), **kept}
    show(as_json, record, *told)
