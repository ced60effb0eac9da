"""``glocal anomaly``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from typer import Argument, Option

from glocal.cli.apply import CENTRED
from glocal.cli.inputs import Force
from glocal.cli.options import flat
from glocal.cli.output import print_result
from glocal.data.features import Features
from glocal.errors import ParameterError
from glocal.evaluation.alarms import Anomalies, find_anomalies
from glocal.files import writable_target, write_text
from glocal.transform import LinearTransform, check_rows

if TYPE_CHECKING:
    import pandas as pd


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
        None, help="With --transform centred: features of a broad collection of images."
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
    chosen = _transform(transform, means)
    sides = [Features.load(path) for path in (normal, new)]
    anomalies = find_anomalies(*_rows(sides, chosen, force), alarm=alarm, k=k)
    write_text(out, _table(anomalies, *sides).to_csv(index=False))
    n_anomalies = int(anomalies.is_anomaly.sum())
    record = {
        "n": len(sides[1]),
        "n_anomalies": n_anomalies,
        "n_known": anomalies.n_known,
        "n_normal": anomalies.n_normal,
        "threshold": anomalies.threshold,
        "alarm": alarm,
        "k": k,
        "out": out,
    }
    lines = [
        f"{n_anomalies} of {len(sides[1])} new images are anomalies: scores above "
        f"{anomalies.threshold:.4f}, from {anomalies.n_normal} different normal images"
    ]
    if anomalies.n_known:
        lines.append(f"{anomalies.n_known} new rows equal a normal one")
    print_result(record, *lines, f"written to {out}")


def _transform(name: str | None, means: Path | None) -> LinearTransform | None:
    """The transform of both sides; None for the original features."""
    if (name == CENTRED) != (means is not None):
        raise ParameterError(
            "`transform=centred` and `means` go together: the means of normal images alone hide "
            "anomalies, so that they come from a broad collection. Give both or neither."
        )
    if means is not None:
        return LinearTransform.centring(Features.load(means))
    return None if name is None else LinearTransform.from_pretrained(name)


def _rows(
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

    normal_names, new_names = (
        np.array(range(len(side)) if side.names is None else side.names) for side in (normal, new)
    )
    return pd.DataFrame(
        {
            "image": new_names,
            "score": anomalies.scores,
            "is_anomaly": anomalies.is_anomaly,
            "nearest_normal": normal_names[anomalies.nearest],
        }
    )
