"""The axes among objects that a transform changes the most, and how much chance explains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from glocal.data.features import Features
from glocal.similarity import (
    Embedding,
    Numbers,
    Square,
    is_collapsed,
    unit_rows,
)

if TYPE_CHECKING:
    import pandas as pd

    from glocal.transform import LinearTransform

AxisVectors = Float[np.ndarray, "n k"]
"""k axes among n objects, one a column."""
AxisShares = Float[np.ndarray, " k"]
"""One share or correlation for each of k axes."""
MIN_STABILITY = 0.8
"""An axis is called unsure if it correlates less with the axes of a fit to part of the answers."""
_SHOWN_NAMES = 6  # number of objects that are named at each end of an axis
_MIN_GAIN = 1e-9  # a smaller change of a share is rounding
_SPARE_AXES = 4  # further axes of a fold that are compared, because its order may differ


class FoldTransform(NamedTuple):
    """A fit without a part of the answers, and the number of answers that it was fitted to."""

    transform: LinearTransform
    n_answers: int


def axes(
    transform: LinearTransform,
    features: Features | Embedding,
    n: int = 5,
    *,
    folds: Sequence[FoldTransform] = (),
) -> pd.DataFrame:
    """The axes among objects whose share of all differences a transform changes the most.

    X holds the original features and Z the transformed features, with rows scaled to length 1.
    Both are centred over the objects and scaled to ‖·‖_F = 1. The axes are the eigenvectors a,
    ‖a‖ = 1, of the change of the centred cosine matrix,

        K = ZZᵀ - XXᵀ,   aᵀKa = share after - share before,   factor = √(share after / before),

    so that the rotation and the scale of the transform, the lengths of the rows, duplicates of all
    objects and the sign of an axis do not matter. With `folds`, an axis is left out unless its
    share changes by more than chance, see `chance_level`. Without folds, this level is read from
    the record of a transform that comes with the package or was fitted with a hold-out. If the
    level is unknown, no axis is left out.

    Parameters
    ----------
    transform : LinearTransform
        Any transform: with bias, centred, to fewer dimensions, or a published one.
    features : Features or (n_objects, p) array
        Raw features of the objects. Their rows are first scaled to length 1 if the transform was
        fitted on such rows.
    n : int
        Largest number of axes whose share grows. After them come up to half as many axes whose
        share shrinks.
    folds : sequence of FoldTransform
        Fits of the same arm, each without a part of the answers.

    Returns
    -------
    DataFrame
        One row per axis: ``factor``, the factor by which differences along it grow relative to all
        others; ``before`` and ``after``, its shares of the squared differences (fractions);
        with `folds`, ``stability``, the smallest absolute correlation with the most similar axis of
        a fold (below 0.8 the axis is unsure); ``low`` and ``high``, the names of six objects at
        each end, the outermost first. ``attrs["chance"]`` is the change of a share that chance
        explains, or None. ``print`` shows all of it.

    Raises
    ------
    DataError
        If the features have other dimensions than the transform.

    Examples
    --------
    >>> from glocal.transform import LinearTransform
    >>> X = np.random.default_rng(0).normal(size=(60, 2))
    >>> longer = LinearTransform(np.diag([3.0, 1.0]).astype(np.float32), None, 0.0, 1.0)
    >>> axes(longer, X, 1)["factor"].round(1).tolist()
    [1.3]
    """
    from glocal.evaluation.axis_table import AxisTable

    if not isinstance(features, Features):
        features = Features(features)
    original, embedding, fold_embeddings = embeddings(transform, features, folds)
    X = _centred(original)
    Z = _centred(embedding)
    n_shrinking = n // 2
    vectors = _most_changed_axes(Z, X, n_growing=n, n_shrinking=n_shrinking)
    table = _axis_table(vectors, X, Z, features.labels)
    chance = _recorded_chance(transform)
    if folds:
        stability = _stability(vectors, X, fold_embeddings)
        position = table.columns.get_loc("low")
        table.insert(position, "stability", stability)
        fractions = [_fraction(fold, transform) for fold in folds]
        chance = chance_level(embedding, fold_embeddings, fractions)
    if chance is not None:
        table = _beyond_chance(table, chance)
    shown = AxisTable(table)
    shown.attrs["chance"] = chance
    return shown


def _axis_table(
    vectors: AxisVectors,
    X: Embedding,
    Z: Embedding,
    names: Sequence[str],
) -> pd.DataFrame:
    """The shares of each axis before and after a transform, and the objects at its ends."""
    import pandas as pd

    before = _shares(vectors, X)
    after = _shares(vectors, Z)
    smallest = np.finfo(float).tiny
    divisors = np.maximum(before, smallest)
    ratios = after / divisors
    low = []
    high = []
    order = np.argsort(vectors, axis=0, kind="stable")
    for ascending in order.T:
        descending = ascending[::-1]
        first_names = _first_names(names, ascending)
        last_names = _first_names(names, descending)
        low.append(first_names)
        high.append(last_names)
    table = pd.DataFrame()
    table["factor"] = np.sqrt(ratios)
    table["before"] = before
    table["after"] = after
    table["low"] = low
    table["high"] = high
    return table


def _shares(vectors: AxisVectors, X: Embedding) -> AxisShares:
    """The shares aᵀXXᵀa of the axes a."""
    projections = vectors.T @ X
    squares = np.square(projections)
    return squares.sum(axis=1)


def _beyond_chance(table: pd.DataFrame, chance: float) -> pd.DataFrame:
    """The axes whose share changes by more than chance explains."""
    change = table["after"] - table["before"]
    size = change.abs()
    is_beyond_chance = size > chance
    remaining = table[is_beyond_chance]
    return remaining.reset_index(drop=True)


def embeddings(
    transform: LinearTransform, features: Features, folds: Sequence[FoldTransform] = ()
) -> tuple[Embedding, Embedding, list[Embedding]]:
    """The objects before a transform, after it, and after the fit of each fold, in float64."""
    raw = np.asarray(features.matrix, dtype=np.float64)
    original = features.scaling(raw, "float64")
    transformed = transform(raw)
    transformed_by_folds = [fold.transform(raw) for fold in folds]
    return original, transformed, transformed_by_folds


def _stability(
    vectors: AxisVectors,
    X: Embedding,
    fold_embeddings: Sequence[Embedding],
) -> AxisShares:
    """The smallest correlation of each axis with the most similar axis of a fold."""
    n_axes = vectors.shape[1]
    n_compared = n_axes + _SPARE_AXES
    largest_of_folds = []
    for fold in fold_embeddings:
        Z = _centred(fold)
        fold_axes = _most_changed_axes(Z, X, n_growing=n_compared, n_shrinking=n_compared)
        # axes are centred and of length 1, so that their dot products are correlations
        products = vectors.T @ fold_axes
        correlations = np.abs(products)
        largest = correlations.max(axis=1, initial=0.0)
        largest_of_folds.append(largest)
    return np.min(largest_of_folds, axis=0)


def chance_level(
    embedding: Embedding, folds: Sequence[Embedding], fractions: Sequence[float]
) -> float:
    """The change of a share that the sampling of answers explains.

        max over folds f of |largest eigenvalue of K - K_f| / √(1/φ_f - 1)

    K_f is the matrix K of a fit to a fraction φ_f of the answers. To first order, the error of a
    fit to t answers has the variance σ²/t, and its difference from a fit to φt of them has the
    variance σ²(1/φ - 1)/t. The quotient therefore estimates the largest eigenvalue of the error of
    K. (Fits to shuffled answers do not: their scale goes to 0, and the map is then mostly
    rounding.)
    """
    Z = _centred(embedding)
    levels = [0.0]
    pairs = zip(folds, fractions, strict=True)
    for fold, fraction in pairs:
        centred_fold = _centred(fold)
        _, K = _change(Z, centred_fold)
        eigenvalues = np.linalg.eigvalsh(K)
        changes = np.abs(eigenvalues)
        largest = float(changes.max())
        extra_variance = 1 / fraction - 1
        extra_error = extra_variance**0.5
        level = largest / extra_error
        levels.append(level)
    return max(levels)


def _fraction(fold: FoldTransform, transform: LinearTransform) -> float:
    """The fraction of the answers that a fold was fitted to, or 0.5 if that is not recorded."""
    fit = transform.record.fit
    if fit is None:
        return 0.5
    is_part = 0 < fold.n_answers < fit.n_answers
    return fold.n_answers / fit.n_answers if is_part else 0.5


def _recorded_chance(transform: LinearTransform) -> float | None:
    """The chance level in the record, times the strength of the transform; None without one."""
    fit = transform.record.fit
    heldout = None if fit is None else fit.heldout
    chance = None if heldout is None else heldout.axes_chance
    if chance is None:
        return None
    return chance * transform.record.strength


def _centred(rows: Embedding) -> Embedding:
    """Scale rows to length 1, centre them, and scale all to norm 1; zeros if they are one point."""
    exact_rows = np.asarray(rows, dtype=np.float64)
    rows_of_length_1 = unit_rows(exact_rows)
    if is_collapsed(rows_of_length_1):
        return np.zeros_like(rows_of_length_1)
    mean = rows_of_length_1.mean(axis=0)
    centred = rows_of_length_1 - mean
    scale = np.linalg.norm(centred)
    return centred / scale


def _change(Z: Embedding, X: Embedding) -> tuple[Embedding, Square]:
    """Q and K of ZZᵀ - XXᵀ = QKQᵀ, with Q an orthonormal basis of the columns of Z and X."""
    columns = np.hstack([Z, X])
    Q, R = np.linalg.qr(columns)
    n_after = Z.shape[1]
    n_columns = R.shape[1]
    signs = np.ones(n_columns)
    signs[n_after:] = -1
    signed = R * signs
    K = signed @ R.T
    return Q, K


def _most_changed_axes(
    Z: Embedding,
    X: Embedding,
    *,
    n_growing: int,
    n_shrinking: int,
) -> AxisVectors:
    """The eigenvectors of ZZᵀ - XXᵀ with the largest eigenvalues, then with the smallest.

    Eigenvalues that rounding explains are left out.
    """
    Q, K = _change(Z, X)
    eigenvalues, eigenvectors = np.linalg.eigh(K)
    is_growing = eigenvalues > _MIN_GAIN
    is_shrinking = eigenvalues < -_MIN_GAIN
    ascending = np.flatnonzero(is_growing)
    growing = ascending[::-1]
    shrinking = np.flatnonzero(is_shrinking)
    first_growing = growing[:n_growing]
    first_shrinking = shrinking[:n_shrinking]
    chosen = np.concatenate([first_growing, first_shrinking])
    coordinates = eigenvectors[:, chosen]
    vectors = Q @ coordinates
    return _directed(vectors)


def _directed(vectors: AxisVectors) -> AxisVectors:
    """The axes with their longer tails at the high end."""
    cubes = vectors**3
    skewness = cubes.sum(axis=0)
    is_reversed = skewness < 0
    signs = np.where(is_reversed, -1.0, 1.0)
    return vectors * signs


def _first_names(names: Sequence[str], rows: Numbers) -> tuple[str, ...]:
    """The first distinct names of the rows."""
    names_of_rows = [names[row] for row in rows]
    distinct_names = tuple(dict.fromkeys(names_of_rows))
    return distinct_names[:_SHOWN_NAMES]
