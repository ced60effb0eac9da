"""The arms of a verdict: original features, means subtracted, and transforms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from glocal.data.features import Features
from glocal.data.seen import seen_rows
from glocal.errors import DataWarning, ParameterError, warn
from glocal.scores import MAX_SHARE_SEEN, ORIGINAL
from glocal.similarity import Mask
from glocal.transform import LinearTransform
from glocal.transform.catalogue import bundled
from glocal.transform.checks import row_differences, table_rows
from glocal.transform.linear import RECENTRING_WEIGHT
from glocal.transform.record import Recentring
from glocal.verdict.images import Arms, Selection
from glocal.verdict.situations import WITHOUT_MAP

CENTRED = "centred"
RECENTRED = ", recentred"
SHARE_OF_OTHERS = 0.05
"""The share of other images in the mean that is subtracted to find anomalies, which are rare."""


@dataclass(frozen=True, eq=False)
class TransformedArms:
    """The rows of each arm by its name, and the transform of each but the original features."""

    rows: Arms
    transforms: Mapping[str, LinearTransform]


def fitting_transforms(
    features: Features, transforms: Mapping[str, LinearTransform]
) -> dict[str, LinearTransform]:
    """The transforms of the package that fit the features, and those of the caller.

    Raises a ParameterError if one of the latter has the name of another arm.
    """
    packaged = {
        name: transform
        for name, transform in _packaged().items()
        if not row_differences(transform, features)
    }
    taken = {"", CENTRED, *WITHOUT_MAP, *packaged}
    for name in transforms:
        if name in taken or name.endswith(RECENTRED):
            raise ParameterError(
                f"a transform is called {name!r}, a name that an arm of this command has or may "
                "have. Give it another name, or leave it out."
            )
    return {**packaged, **transforms}


def _packaged() -> dict[str, LinearTransform]:
    return {name: LinearTransform.load(file) for name, file in bundled().items()}


def transformed_arms(
    sides: Sequence[Selection],
    transforms: Mapping[str, LinearTransform],
    means: Features,
    *,
    force: bool,
) -> TransformedArms:
    """The arms, all of which begin from rows of the same scale.

    `means` are the rows whose column means are subtracted, and on which the transforms of the
    package are recentred.
    """
    tables = [table_rows(transforms, side.features, force=force) for side in sides]
    arms = {CENTRED: LinearTransform.centring(means, normalize=tables[0].is_unit)}
    arms |= _with_recentred(transforms, means)
    matrices = [table.matrix.astype(np.float64) for table in tables]
    rows = {ORIGINAL: [tables[0].scaling(matrix, "float64") for matrix in matrices]}
    for name, transform in arms.items():
        rows[name] = [transform.map_rows(matrix) for matrix in matrices]
    return TransformedArms(rows, arms)


def _with_recentred(
    transforms: Mapping[str, LinearTransform], means: Features
) -> Iterator[tuple[str, LinearTransform]]:
    """Yield each transform, and each of the package that has a bias recentred too."""
    packaged = bundled()
    for name, transform in transforms.items():
        yield name, transform
        if name in packaged and transform.bias is not None:
            yield f"{name}{RECENTRED}", transform.recentred(means)


def has_mean_as_origin(arm: str) -> bool:
    """Whether the origin of an arm is a mean of the images, or was moved toward one."""
    return arm == CENTRED or arm.endswith(RECENTRED)


def fixed_arms_first(arms: TransformedArms) -> TransformedArms:
    """The same arms, those before the others that need no mean of a collection."""
    names = sorted(arms.rows, key=has_mean_as_origin)
    return replace(arms, rows={name: arms.rows[name] for name in names})


def with_rare_others(arms: TransformedArms, is_normal: Mask) -> TransformedArms:
    """The same arms, with means of a collection in which `SHARE_OF_OTHERS` is not normal.

    Where `m_normal` and `m_others` are the means of the images of the first side, such a collection
    has the mean 0.95 m_normal + 0.05 m_others, whatever share of them is normal here.
    """
    rows = dict(arms.rows)
    transforms = dict(arms.transforms)
    n = round(np.count_nonzero(is_normal) / (1 - SHARE_OF_OTHERS))
    for name in filter(has_mean_as_origin, arms.rows):
        base = name.removesuffix(RECENTRED)
        weight = 0.0 if name == base else RECENTRING_WEIGHT
        shift = n / (n + weight) * _mean_with_rare_others(arms.rows[base][0], is_normal)
        rows[name] = [Z - shift for Z in arms.rows[base]]
        transforms[name] = _moved(arms.transforms[base], shift, Recentring(n=n, weight=weight))
    return TransformedArms(rows, transforms)


def _mean_with_rare_others(Z: np.ndarray, is_normal: Mask) -> np.ndarray:
    """The mean of a collection in which `SHARE_OF_OTHERS` of the images is not normal."""
    normal_mean = Z[is_normal].mean(axis=0)
    return normal_mean + SHARE_OF_OTHERS * (Z[~is_normal].mean(axis=0) - normal_mean)


def _moved(transform: LinearTransform, shift: np.ndarray, origin: Recentring) -> LinearTransform:
    """The transform with its rows moved by -`shift`, and the record of its origin."""
    bias = np.zeros_like(shift) if transform.bias is None else transform.bias
    record = transform.record.model_copy(update={"recentred": origin})
    return replace(transform, bias=(bias - shift).astype(np.float32), record=record)


def warn_of_seen(transforms: Mapping[str, LinearTransform], features: Features) -> None:
    """Warn of transforms that were fitted to many of the images that are scored."""
    for name, transform in transforms.items():
        share = seen_rows(transform.record.fitted, features) or 0.0
        if share > MAX_SHARE_SEEN:
            warn(
                f"{name} was fitted to answers about {share:.0%} of these images; its gains on "
                "other images may be smaller.",
                DataWarning,
            )
