"""Local features beside those of the objects: one network, one layer, one scale."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from glocal.data.check.features import of_length_one
from glocal.data.check.finding import Finding, warn
from glocal.data.features import Features, Standardization

_MANY_IMAGES = 2048
_SHIFT, _SPREAD = 0.25, 2.0  # of one network on objects, ImageNet and CIFAR-10: at most .03 and 1.08
_UNIT = 2e-3
_UNRELATED = 4.0  # standard errors of the correlation of p unrelated columns
_ENOUGH = 64


def check_local(features: Features, local: Features, images: Int[np.ndarray, " k"] | None = None) -> list[Finding]:
    """Whether local features, standardized by the two scalars of the object features, look like those.

    Features of one network differ little in their overall mean and spread from one set of images to another, also from
    objects to photographs of all kinds, and a column that is large or varies much on one set does on others. Those
    that were normalized, standardized, scaled, transformed or reordered on one side only do not.
    `images` are the rows to look at, by default some from everywhere.
    """
    if local.dimensions != features.dimensions:
        return [
            Finding(
                "error",
                "shape",
                f"local features have {local.dimensions} columns, features {features.dimensions}",
                "extract both with the same model and layer",
                {"local": local.dimensions, "features": features.dimensions},
            )
        ]
    mean, std, apart = unlike(features.standardization, local, images)
    found = []
    if apart:
        of_objects, of_images = _length(features), _length(local)
        unit = any(abs(length - 1) < _UNIT for length in (of_objects, of_images))
        mendable = unit and not any(_centred(each.standardization) for each in (features, local))  # reads all rows
        lengths = f"; rows have length {of_images:.3g}, those of the objects {of_objects:.3g}"
        found.append(
            Finding(
                "warning",
                "local scale",
                f"local features: by the mean and std of the object features they have mean {mean:.3g} and std "
                f"{std:.3g}, where features made alike have about 0 and 1" + (lengths if unit else ""),
                "make both alike and leave both raw (steps before Aligner in a Pipeline do not reach local_features by "
                "themselves: see Aligner.fit)"
                + ("; --fix gives all rows length 1, as later rows must have" if mendable else ""),
                {"mean": mean, "std": std, "length": of_images, "object_length": of_objects},
                (lambda case: of_length_one(case, "features", "local")) if mendable else None,
            )
        )
    of_means, of_stds = (_correlation(*both) for both in zip(_columns(features), _columns(local, images), strict=True))
    limit = _UNRELATED / np.sqrt(features.dimensions)
    if features.dimensions >= _ENOUGH and max(of_means, of_stds) < limit:
        found.append(
            Finding(
                "warning",
                "local columns",
                f"local features: the means of their columns correlate {of_means:.2f} with those of the objects, the "
                f"stds {of_stds:.2f}; unrelated columns have less than {limit:.2f}",
                "take both from the same network and layer, columns in the same order, and neither of them transformed",
                {"means": of_means, "stds": of_stds, "limit": float(limit)},
            )
        )
    return found


def unlike(
    scalars: Standardization, features: Features, rows: Int[np.ndarray, " k"] | None = None
) -> tuple[float, float, bool]:
    """The mean and std of features by the two scalars of others, and whether they are far from 0 and 1.

    NaN and infinity are left out: who reads those rows names them.
    """
    found = scalars(_some(features, rows), "float64")
    if not len(found):
        return 0.0, 1.0, False
    mean, std = float(found.mean()), float(found.std())
    return mean, std, abs(mean) > _SHIFT or not 1 / _SPREAD <= std <= _SPREAD


def warn_of_local(features: Features, local: Features, images: Int[np.ndarray, " k"]) -> None:
    """Warn if the local features of these images were not made as the object features were."""
    warn(check_local(features, local, images))


def _some(features: Features, rows: Int[np.ndarray, " k"] | None = None) -> np.ndarray:
    """The finite ones of these rows, or of some from everywhere."""
    if rows is None:
        rows = np.unique(np.linspace(0, len(features) - 1, min(len(features), _MANY_IMAGES)).astype(np.int64))
    found = np.asarray(features.matrix[np.sort(rows)])
    return found[np.isfinite(found).all(axis=1)]


def _centred(scalars: Standardization) -> bool:
    """The offset that the network gave to all rows was taken off: lengths of rows no longer mean what they did."""
    return abs(scalars.mean) < 1e-3 * scalars.std


def _length(features: Features) -> float:
    return float(np.median(np.linalg.norm(_some(features).astype(np.float64), axis=1)))


def _columns(features: Features, rows: Int[np.ndarray, " k"] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the std of each column."""
    found = _some(features, rows).astype(np.float64)
    return found.mean(axis=0), found.std(axis=0)


def _correlation(a: Float[np.ndarray, " p"], b: Float[np.ndarray, " p"]) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / scale if scale > 0 else 1.0  # columns that are all alike tell nothing
