"""The arms of a verdict: original features, means subtracted, and transforms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from glocal.data.features import Features
from glocal.data.seen import seen_rows
from glocal.errors import DataWarning, ParameterError, warn
from glocal.scores import MAX_SHARE_SEEN, ORIGINAL
from glocal.transform import LinearTransform
from glocal.transform.catalogue import bundled
from glocal.transform.checks import row_differences, table_rows
from glocal.verdict.images import Arms, Selection
from glocal.verdict.situations import NAMES_ALONE

CENTRED = "centred"
RECENTRED = ", recentred"


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
    taken = {"", ORIGINAL, CENTRED, NAMES_ALONE, *packaged}
    for name in transforms:
        if name.removesuffix(RECENTRED) in taken:
            raise ParameterError(
                f"a transform is called {name!r}, as is an arm of this command. Give it another "
                "name, or leave it out."
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
