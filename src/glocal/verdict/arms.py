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
from glocal.transform.origin import RECENTRING_WEIGHT
from glocal.transform.record import Recentring
from glocal.verdict.examples import WITHOUT_MAP
from glocal.verdict.images import Arms, Rows, Selection

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
    """The transforms of the package that fit the features, and the caller's own transforms.

    Raises a ParameterError if one of the caller's has the name of another arm.
    """
    packaged: dict[str, LinearTransform] = {}
    for name, transform in _packaged().items():
        differences = row_differences(transform, features)
        if not differences:
            packaged[name] = transform
    names_of_other_arms = {"", CENTRED, *WITHOUT_MAP, *packaged}
    for name in transforms:
        is_recentred = name.endswith(RECENTRED)
        if is_recentred or name in names_of_other_arms:
            raise ParameterError(
                f"a transform is called {name!r}, a name that an arm of this command has or may "
                "have. Give it another name, or leave it out."
            )
    return {**packaged, **transforms}


def _packaged() -> dict[str, LinearTransform]:
    """The transforms that come with the package."""
    transforms: dict[str, LinearTransform] = {}
    for name, file in bundled().items():
        transforms[name] = LinearTransform.load(file)
    return transforms


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
    tables = []
    for side in sides:
        table = table_rows(transforms, side.features, force=force)
        tables.append(table)
    first_table = tables[0]
    centring = LinearTransform.centring(means, normalize=first_table.is_unit)
    arms = {CENTRED: centring}
    for name, transform in _with_recentred(transforms, means):
        arms[name] = transform
    matrices = []
    originals = []
    for table in tables:
        matrix = table.matrix.astype(np.float64)
        original = first_table.scaling(matrix, "float64")
        matrices.append(matrix)
        originals.append(original)
    rows = {ORIGINAL: originals}
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
        has_bias = transform.bias is not None
        if has_bias and name in packaged:
            recentred = transform.recentred(means)
            yield f"{name}{RECENTRED}", recentred


def has_mean_as_origin(arm: str) -> bool:
    """Whether the origin of an arm is a mean of the images, or was moved toward one."""
    return arm == CENTRED or arm.endswith(RECENTRED)


def fixed_arms_first(arms: TransformedArms) -> TransformedArms:
    """The same arms; first come the arms that need no mean of a collection."""
    rows: dict[str, Rows] = {}
    for name in sorted(arms.rows, key=has_mean_as_origin):
        rows[name] = arms.rows[name]
    return replace(arms, rows=rows)


def with_rare_others(arms: TransformedArms, is_normal: Mask) -> TransformedArms:
    """The same arms, with means of a collection in which `SHARE_OF_OTHERS` is not normal.

    Where `m_normal` and `m_others` are the means of the images of the first side, such a collection
    has the mean 0.95 m_normal + 0.05 m_others, whatever share of them is normal here.
    """
    rows = dict(arms.rows)
    transforms = dict(arms.transforms)
    n_normal = np.count_nonzero(is_normal)
    n = round(n_normal / (1 - SHARE_OF_OTHERS))
    for name in filter(has_mean_as_origin, arms.rows):
        base = name.removesuffix(RECENTRED)
        base_rows = arms.rows[base]
        base_transform = arms.transforms[base]
        weight = 0.0 if name == base else RECENTRING_WEIGHT
        first_rows = base_rows[0]
        mean = _mean_with_rare_others(first_rows, is_normal)
        share = n / (n + weight)
        shift = share * mean
        origin = Recentring(n=n, weight=weight)
        rows[name] = [Z - shift for Z in base_rows]
        transforms[name] = _moved(base_transform, shift, origin)
    return TransformedArms(rows, transforms)


def _mean_with_rare_others(Z: np.ndarray, is_normal: Mask) -> np.ndarray:
    """The mean of a collection in which `SHARE_OF_OTHERS` of the images is not normal."""
    normal = Z[is_normal]
    others = Z[~is_normal]
    normal_mean = normal.mean(axis=0)
    mean_of_others = others.mean(axis=0)
    difference = mean_of_others - normal_mean
    return normal_mean + SHARE_OF_OTHERS * difference


def _moved(transform: LinearTransform, shift: np.ndarray, origin: Recentring) -> LinearTransform:
    """The transform with its rows moved by -`shift`, and the record of its origin."""
    bias = transform.bias
    if bias is None:
        bias = np.zeros_like(shift)
    exact_bias = bias - shift
    moved_bias = exact_bias.astype(np.float32)
    changes = {"recentred": origin}
    record = transform.record.model_copy(update=changes)
    return replace(transform, bias=moved_bias, record=record)


def warn_of_seen(transforms: Mapping[str, LinearTransform], features: Features) -> None:
    """Warn of transforms that were fitted to many of the images that are scored."""
    for name, transform in transforms.items():
        fitted = transform.record.fitted
        share = seen_rows(fitted, features) or 0.0
        if share > MAX_SHARE_SEEN:
            warn(
                f"{name} was fitted to answers about {share:.0%} of these images; its gains on "
                "other images may be smaller.",
                DataWarning,
            )
