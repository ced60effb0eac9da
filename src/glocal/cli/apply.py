"""``glocal apply`` and ``glocal anomaly``: the rows of a transform, and what is unusual in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from typer import Argument, Option

from glocal.cli.options import Force, flat
from glocal.cli.output import print_result, progress_bar
from glocal.data.features import Features
from glocal.errors import ParameterError
from glocal.evaluation.alarms import Anomalies, find_anomalies
from glocal.files import ending, make_folder, writable_target, write_text
from glocal.transform import LinearTransform, check_rows, reduced
from glocal.transform.apply import apply_csv, apply_file
from glocal.transform.checks import row_differences
from glocal.transform.formats import ENDINGS

if TYPE_CHECKING:
    import pandas as pd

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
        Option(help="Output: a .npy file, with the names of the rows beside it, or a small .csv."),
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
    force: Force = False,
) -> None:
    """Transform features of any size in constant memory.

    Example: glocal apply transform.npz features.npy --out aligned.npy
    """
    if save_transform is not None:
        writable_target(save_transform, what="--save-transform", endings=ENDINGS)
    make_folder(out.parent)
    writable_target(out, what="--out", endings=_ENDINGS)
    rows = Features.load(features)
    fitted = _adapted(_loaded(transform, features, normalize), recentre, strength, force)
    if dimensions is not None:
        fitted = reduced(fitted, rows, dimensions)
    write = apply_csv if ending(out) == ".csv" else apply_file
    with progress_bar("applying", len(rows), unit="rows") as progress:
        n = write(fitted, rows, out, force=force, progress=progress)
    if save_transform is not None:
        fitted.save(save_transform)
    record = {
        "rows": n,
        "dimensions": fitted.out_dimensions,
        "strength": strength,
        "out": out,
        "row_differences": [other.sentence for other in row_differences(fitted, rows)],
    }
    lines = [f"{n} rows of {fitted.out_dimensions} dimensions written to {out}"]
    shares = fitted.record.reduced
    if dimensions is not None and shares is not None:
        record |= {"of": shares.of, "energy": shares.energy, "length": shares.length}
        lines = []  # all fields
    print_result(record, *lines)


def _loaded(name: str, features: Path, normalize: bool) -> LinearTransform:
    """The transform of a file or name, or the one that subtracts the means of the features."""
    if name == CENTRED:
        return LinearTransform.centring(Features.load(features), normalize=normalize)
    if normalize:
        raise ParameterError(
            "--normalize is for centred alone; a transform scales rows as its fit did."
        )
    return LinearTransform.from_pretrained(name)


def _adapted(
    transform: LinearTransform, recentre: Path | None, strength: float, force: bool
) -> LinearTransform:
    """The transform with its origin moved toward the user's images and its strength set."""
    if recentre is not None:
        own_images = Features.load(recentre)
        check_rows(transform, own_images, force=force)
        transform = transform.recentred(own_images)
    return transform if strength == 1.0 else transform.at_strength(strength)


@flat
def anomaly(
    normal: Annotated[Path, Argument(help="Features of normal images, not standardized.")],
    new: Annotated[Path, Argument(help="Features of the images to score.")],
    out: Annotated[Path, Option(help="Table of the scores (.csv), a line for each new image.")],
    transform: str | None = Option(
        None,
        help="Transform of both, a file or a name that glocal transforms pull lists; centred "
        "subtracts the column means of --means.",
    ),
    means: Path | None = Option(
        None,
        help="Features of a broad collection of images, whose mean centred subtracts; another "
        "transform is recentred on it.",
    ),
    alarm: float = Option(
        0.05, help="Share of normal images that may be called anomalies, at most 0.5."
    ),
    k: int = Option(5, min=1, help="Nearest normal images that a score averages."),
    force: Force = False,
) -> None:
    """Find the new images that are unlike the normal ones, with a threshold from the normal ones.

    A score is minus the mean cosine to the nearest normal images; higher is more anomalous.

    Example: glocal anomaly normal.npy new.npy --transform clip-vit-b-32 --out scores.csv
    """
    writable_target(out, what="--out", endings=(".csv",))
    chosen = _transform_of_both(transform, means)
    sides = [Features.load(path) for path in (normal, new)]
    anomalies = find_anomalies(*_compared_rows(sides, chosen, force), alarm=alarm, k=k)
    write_text(out, _table(anomalies, *sides).to_csv(index=False))
    n_anomalies = int(anomalies.is_anomaly.sum())
    differences = [] if chosen is None else row_differences(chosen, sides[1])
    record = {
        "n": len(sides[1]),
        "n_anomalies": n_anomalies,
        "n_known": anomalies.n_known,
        "n_normal": anomalies.n_normal,
        "threshold": anomalies.threshold,
        "alarm": alarm,
        "k": k,
        "out": out,
        "row_differences": [difference.sentence for difference in differences],
    }
    lines = [
        f"{n_anomalies} of {len(sides[1])} new images are anomalies: scores above "
        f"{anomalies.threshold:.4f}, from {anomalies.n_normal} different normal images"
    ]
    if anomalies.n_known:
        lines.append(f"{anomalies.n_known} new rows equal a normal one")
    print_result(record, *lines, f"written to {out}")


def _transform_of_both(name: str | None, means: Path | None) -> LinearTransform | None:
    """The transform of both sides; None for the original features."""
    if name == CENTRED and means is None:
        raise ParameterError(
            "`transform=centred` needs `means`: the mean of normal images alone hides anomalies. "
            "Give the features of a broad collection."
        )
    if name is None:
        if means is not None:
            raise ParameterError("`means` is for a transform. Give `transform=centred` too.")
        return None
    if name == CENTRED:
        return LinearTransform.centring(Features.load(str(means)))
    transform = LinearTransform.from_pretrained(name)
    return transform if means is None else transform.recentred(Features.load(means))


def _compared_rows(
    sides: list[Features], transform: LinearTransform | None, force: bool
) -> list[np.ndarray]:
    """The rows of both sides that are compared."""
    rows = [np.asarray(side.matrix, dtype=np.float64) for side in sides]
    if transform is None:
        return rows
    for side in sides:
        side.check_finite()
        check_rows(transform, side, force=force)
    # equal rows stay equal to the bit: a product of matrices may round them differently
    different, numbers = np.unique(np.concatenate(rows), axis=0, return_inverse=True)
    mapped = transform.map_rows(different)[numbers.ravel()]
    return np.split(mapped, [len(rows[0])])


def _table(anomalies: Anomalies, normal: Features, new: Features) -> pd.DataFrame:
    """A line for each new image, which is called by its name, or else its row."""
    import pandas as pd

    normal_names = np.array(normal.names or range(len(normal)))
    return pd.DataFrame(
        {
            "image": new.names or range(len(new)),
            "score": anomalies.scores,
            "is_anomaly": anomalies.is_anomaly,
            "nearest_normal": normal_names[anomalies.nearest],
        }
    )
