"""Maps that cost nothing and know no answers: what a transform must beat besides the original features."""

from __future__ import annotations

import numpy as np

from glocal.data.features import Features
from glocal.errors import ParameterError
from glocal.transform import LinearTransform

BASELINES = ("centred", "pca")
_DIRECTIONS = 100


def baseline(name: str, features: Features) -> LinearTransform:
    """A baseline by its name, as a transform that is applied like any other.

    `centred` is the standardized features less the mean of each column, so that cosines are those of deviations;
    `pca` these on the 100 leading principal axes (all, if there are fewer). Scalars, means and axes are those of the
    given features.

    Examples
    --------
    >>> X = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
    >>> bool(np.abs(baseline("centred", Features(X))(X).mean(axis=0)).max() < 1e-6)
    True
    """
    if name not in BASELINES:
        raise ParameterError(f"baseline is {name!r}; allowed are {' and '.join(BASELINES)}.")
    scalars = features.standardization
    X = scalars(features.matrix, "float64")
    means, W = X.mean(axis=0), np.eye(X.shape[1])
    if name == "pca":
        from sklearn.decomposition import PCA

        W = PCA(min(_DIRECTIONS, *X.shape), random_state=0).fit(X).components_.T
    return LinearTransform(W.astype(np.float32), (-means @ W).astype(np.float32), scalars.mean, scalars.std)
