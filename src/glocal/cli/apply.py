"""``glocal apply``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from glocal.cli.inputs import Force
from glocal.cli.options import flat
from glocal.cli.output import AsJson, print_result, progress_bar
from glocal.data.features import Features
from glocal.data.readers import PARQUET
from glocal.errors import ParameterError
from glocal.files import writable_target
from glocal.transform import LinearTransform, check_rows, reduced
from glocal.transform.apply import apply_file, apply_parquet, parquet_rows
from glocal.transform.formats import ENDINGS
from glocal.transform.sharing import locate

CENTRED = "centred"


@flat
def apply(
    transform: Annotated[
        str,
        Argument(
            help="Transform file, or a name that glocal transforms pull lists; centred subtracts "
            "the column means of FEATURES."
        ),
    ],
    features: Annotated[Path, Argument(help="Feature file or folder, not standardized.")],
    out: Annotated[
        Path, Option(help="Output: a .npy file, or from Parquet also a .parquet file or a folder.")
    ],
    strength: float = Option(1.0, help="0 is the original up to scale, 1 the full transform."),
    normalize: bool = Option(
        False, "--normalize", help="With centred: first scale each row to length 1."
    ),
    dimensions: int | None = Option(None, help="Reduce the output to this many dimensions."),
    save_transform: Path | None = Option(
        None,
        help="Also save the transform as it was applied, after --recentre, --strength and "
        "--dimensions, to map queries.",
    ),
    recentre: Path | None = Option(
        None,
        help="Features of your own collection, many different images of balanced classes. The "
        "origin moves toward their mean.",
    ),
    column: str | None = Option(None, help="Parquet column of the vectors; other columns stay."),
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Transform features of any size in constant memory.

    Parquet files are written one by one, and the same command continues an interrupted run.

    Example: glocal apply transform.npz features.npy --out aligned.npy
    """
    if save_transform is not None:
        writable_target(save_transform, what="--save-transform", endings=ENDINGS)
    path = None if transform == CENTRED else locate(transform)
    if normalize and path is not None:
        raise ParameterError(
            "--normalize is for centred alone; a transform scales rows as those of its fit were."
        )
    rows, n_rows, write = _job(features, out, column)
    if path is None:
        fitted = LinearTransform.centring(Features.load(features), normalize=normalize)
    else:
        fitted = LinearTransform.load(path)
    fitted = _adapted(fitted, recentre, strength, force)
    if dimensions is not None:
        fitted = reduced(fitted, rows, dimensions)
    with progress_bar("applying", n_rows, unit="rows") as progress:
        n = write(fitted, out=out, force=force, progress=progress)
    if save_transform is not None:
        fitted.save(save_transform)
    record = {"rows": n, "dimensions": fitted.out_dimensions, "strength": strength, "out": out}
    lines = [f"{n} rows of {fitted.out_dimensions} dimensions written to {out}"]
    if dimensions is not None:
        shares = fitted.meta["reduced"]
        record |= {key: shares[key] for key in ("of", "energy", "length")}
        lines = []  # all fields
    print_result(as_json, record, *lines)


def _adapted(
    transform: LinearTransform, recentre: Path | None, strength: float, force: bool
) -> LinearTransform:
    """The transform with its origin moved toward the user's images and its strength set."""
    if recentre is not None:
        own_images = Features.load(recentre)
        check_rows(transform, own_images, force=force)
        transform = transform.recentred(own_images)
    return transform if strength == 1.0 else transform.at_strength(strength)


def _job(
    features: Path, out: Path, column: str | None
) -> tuple[Any, int | None, Callable[..., int]]:
    """The rows of the features, their number if known, and the function that transforms them.

    Parquet becomes Parquet, one file at a time, and any features become one ``.npy`` file.
    """
    is_parquet = features.is_dir() or features.suffix.lower() == PARQUET
    if is_parquet and out.suffix.lower() != ".npy":
        write = partial(apply_parquet, source=features, column=column)
        return parquet_rows(features, column), None, write
    writable_target(out, what="--out", endings=(".npy",))
    if column is not None:
        raise ParameterError(
            "--column names a column of Parquet files, and needs a Parquet output. Leave it out."
        )
    loaded = Features.load(features)
    return loaded, len(loaded), partial(apply_file, features=loaded)
