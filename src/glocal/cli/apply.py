"""``glocal apply``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
from typer import Argument, Option

from glocal.cli.inputs import Force
from glocal.cli.options import flat
from glocal.cli.output import print_result, progress_bar
from glocal.data.features import Features
from glocal.data.readers import PARQUET
from glocal.errors import ParameterError
from glocal.files import ending, writable_target
from glocal.transform import LinearTransform, check_rows, reduced
from glocal.transform.apply import apply_csv, apply_file, apply_parquet, parquet_rows
from glocal.transform.formats import ENDINGS
from glocal.transform.sharing import locate

CENTRED = "centred"
_ENDINGS = (".npy", ".csv")


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
        Path,
        Option(
            help="Output: a .npy file, a small .csv table, or from Parquet also a .parquet file or "
            "a folder."
        ),
    ],
    strength: float = Option(1.0, help="0 changes nothing but the scale, 1 is the full transform."),
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
        help="Features of your own images, toward whose mean the origin moves: many, different, of "
        "balanced classes.",
    ),
    column: str | None = Option(None, help="Parquet column of the vectors; other columns stay."),
    force: Force = False,
) -> None:
    """Transform features of any size in constant memory.

    Parquet files are written one by one, and the same command continues an interrupted run.

    Example: glocal apply transform.npz features.npy --out aligned.npy
    """
    if save_transform is not None:
        writable_target(save_transform, what="--save-transform", endings=ENDINGS)
    fitted = None if transform == CENTRED else _loaded(transform, normalize)
    rows = _rows(features, column, out)
    if fitted is None:
        fitted = LinearTransform.centring(Features.load(features), normalize=normalize)
    fitted = _adapted(fitted, recentre, strength, force)
    if dimensions is not None:
        fitted = reduced(fitted, rows, dimensions)
    n_rows = len(rows) if isinstance(rows, Features) else None
    with progress_bar("applying", n_rows, unit="rows") as progress:
        if isinstance(rows, Features):
            write = apply_csv if ending(out) == ".csv" else apply_file
            n = write(fitted, rows, out, force=force, progress=progress)
        else:
            n = apply_parquet(fitted, features, out, column=column, force=force, progress=progress)
    if save_transform is not None:
        fitted.save(save_transform)
    record = {"rows": n, "dimensions": fitted.out_dimensions, "strength": strength, "out": out}
    lines = [f"{n} rows of {fitted.out_dimensions} dimensions written to {out}"]
    if dimensions is not None:
        shares = fitted.meta["reduced"]
        record |= {key: shares[key] for key in ("of", "energy", "length")}
        lines = []  # all fields
    print_result(record, *lines)


def _loaded(name: str, normalize: bool) -> LinearTransform:
    """The transform of a file or name, which scales rows by itself if they are to be scaled."""
    path = locate(name)
    if normalize:
        raise ParameterError(
            "--normalize is for centred alone; a transform scales rows as those of its fit were."
        )
    return LinearTransform.load(path)


def _adapted(
    transform: LinearTransform, recentre: Path | None, strength: float, force: bool
) -> LinearTransform:
    """The transform with its origin moved toward the user's images and its strength set."""
    if recentre is not None:
        own_images = Features.load(recentre)
        check_rows(transform, own_images, force=force)
        transform = transform.recentred(own_images)
    return transform if strength == 1.0 else transform.at_strength(strength)


def _rows(features: Path, column: str | None, out: Path) -> Features | Iterator[np.ndarray]:
    """The features, or the rows of Parquet files that become Parquet files."""
    is_parquet = features.is_dir() or ending(features) == PARQUET
    if is_parquet and ending(out) not in _ENDINGS:
        return parquet_rows(features, column)
    writable_target(out, what="--out", endings=_ENDINGS)
    if column is not None:
        raise ParameterError(
            "--column names a column of Parquet files, and needs a Parquet output. Leave it out."
        )
    return Features.load(features)
