"""The changes that a transform makes: axes among objects, confirmed neighbours, and answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.evaluation.structure import neighbours
from glocal.results import value_at
from glocal.similarity import (
    Embedding,
    Numbers,
    Objects,
    is_collapsed,
    of_pairs,
    pair_tolerance,
    unit_rows,
)

if TYPE_CHECKING:
    import pandas as pd

    from glocal.transform import LinearTransform

Part = tuple[Embedding, Answers]
"""An embedding Z of all objects, and the answers that are compared with it."""
SHOWN_NEIGHBOURS = 10
MIN_STABILITY = 0.8
"""An axis is called unsure if it correlates less with the axes of a fit to part of the answers."""
_OUTCOMES = ("wrong", "better", "worse", "right")  # wrong before and after, right after, …
_SHOWN_NAMES = 6  # number of objects that are named at each end of an axis
_MIN_GAIN = 1e-9  # a smaller change of a share is rounding
_SPARE_AXES = 4  # further axes of a fold that are compared, because its order may differ


def axes(
    transform: LinearTransform,
    features: Features | Embedding,
    n: int = 5,
    *,
    folds: Sequence[LinearTransform] = (),
) -> pd.DataFrame:
    """The axes among objects whose share of all differences a transform changes the most.

    X holds the standardized features and Z the transformed features, with rows scaled to length 1.
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
    folds : sequence of LinearTransform
        Fits of the same arm, each without a part of the answers. Their records state the number of
        answers that they were fitted to.

    Returns
    -------
    DataFrame
        One row per axis: ``factor``, the factor by which differences along it grow relative to all
        others; ``before`` and ``after``, its shares of the squared differences (fractions);
        ``stability``, the smallest absolute correlation with the most similar axis of a fold (NaN
        without folds; below 0.8 the axis is unsure); ``low`` and ``high``, the names of six objects
        at each end, the outermost first. ``attrs["chance"]`` is the change of a share that chance
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
    X, embedding, fold_embeddings = embeddings(transform, features, folds)
    X = _centred(X)
    Z = _centred(embedding)
    vectors = _changed_axes(Z, X, n, n // 2)
    before = np.square(vectors.T @ X).sum(axis=1)
    after = np.square(vectors.T @ Z).sum(axis=1)
    order = np.argsort(vectors, axis=0, kind="stable").T
    table = AxisTable(
        {
            "factor": np.sqrt(after / np.maximum(before, np.finfo(float).tiny)),
            "before": before,
            "after": after,
            "stability": _stability(vectors, X, [_centred(rows) for rows in fold_embeddings]),
            "low": [_first_names(features.labels, rows) for rows in order],
            "high": [_first_names(features.labels, rows) for rows in order[:, ::-1]],
        }
    )
    chance = _recorded_chance(transform)
    if folds:
        fractions = [_fraction(fold, transform) for fold in folds]
        chance = chance_level(embedding, fold_embeddings, fractions)
    if chance is not None:
        table = AxisTable(table[np.abs(after - before) > chance].reset_index(drop=True))
    table.attrs["chance"] = chance
    return table


def embeddings(
    transform: LinearTransform, features: Features, folds: Sequence[LinearTransform] = ()
) -> tuple[Embedding, Embedding, list[Embedding]]:
    """The objects before a transform, after it, and after the fit of each fold, in float64."""
    raw = np.asarray(features.matrix, dtype=np.float64)
    X = transform.standardization(raw, "float64")
    return X, transform(raw), [fold(raw) for fold in folds]


def _stability(
    vectors: Float[np.ndarray, "n k"], X: Embedding, folds: Sequence[Embedding]
) -> Float[np.ndarray, " k"]:
    """The smallest correlation of each axis with the most similar axis of a fold; NaN for none."""
    k = vectors.shape[1]
    correlations = [np.full(k, np.nan)]
    for fold in folds:
        others = _changed_axes(fold, X, k + _SPARE_AXES, k + _SPARE_AXES)
        # axes are centred and of length 1, so that their dot products are correlations
        correlations.append(np.abs(vectors.T @ others).max(axis=1, initial=0.0))
    stability: np.ndarray = np.fmin.reduce(correlations)
    return stability


def chance_level(Z: Embedding, folds: Sequence[Embedding], fractions: Sequence[float]) -> float:
    """The change of a share that the sampling of answers explains.

        max over folds f of |largest eigenvalue of K - K_f| / √(1/φ_f - 1)

    K_f is the matrix K of a fit to a fraction φ_f of the answers. To first order, the error of a
    fit to t answers has the variance σ²/t, and its difference from a fit to φt of them has the
    variance σ²(1/φ - 1)/t. The quotient therefore estimates the largest eigenvalue of the error of
    K. (Fits to shuffled answers do not: their scale goes to 0, and the map is then mostly
    rounding.)
    """
    Z = _centred(Z)
    levels = [0.0]
    for fold, fraction in zip(folds, fractions, strict=True):
        _, K = _change(Z, _centred(fold))
        largest = float(np.abs(np.linalg.eigvalsh(K)).max())
        levels.append(largest / (1 / fraction - 1) ** 0.5)
    return max(levels)


def _fraction(fold: LinearTransform, transform: LinearTransform) -> float:
    """The fraction of the answers that a fold was fitted to, or 0.5 if no record states it."""
    part, whole = (value_at(fit.meta, "fit.n_answers") or 0 for fit in (fold, transform))
    return part / whole if 0 < part < whole else 0.5


def _recorded_chance(transform: LinearTransform) -> float | None:
    """The chance level in the record, times the strength of the transform; None without one."""
    level = value_at(transform.meta, "fit.heldout.axes_chance")
    return level * transform.meta.get("strength", 1.0) if isinstance(level, float) else None


def _centred(rows: Embedding) -> Embedding:
    """Scale rows to length 1, centre them, and scale all to norm 1; zeros if they are one point."""
    unit = unit_rows(np.asarray(rows, dtype=np.float64))
    if is_collapsed(unit):
        return np.zeros_like(unit)
    centred = unit - unit.mean(axis=0)
    return centred / np.linalg.norm(centred)


def _change(
    Z: Embedding, X: Embedding
) -> tuple[Float[np.ndarray, "n r"], Float[np.ndarray, "r r"]]:
    """Q and K of ZZᵀ - XXᵀ = QKQᵀ, with Q an orthonormal basis of the columns of Z and X."""
    Q, R = np.linalg.qr(np.hstack([Z, X]))
    signs = np.repeat([1.0, -1.0], [Z.shape[1], X.shape[1]])
    return Q, R * signs @ R.T


def _changed_axes(
    Z: Embedding, X: Embedding, n_growing: int, n_shrinking: int
) -> Float[np.ndarray, "n k"]:
    """The eigenvectors of the largest eigenvalues of ZZᵀ - XXᵀ, then those of the smallest.

    Eigenvalues that rounding explains are left out.
    """
    Q, K = _change(Z, X)
    values, vectors = np.linalg.eigh(K)
    growing = np.flatnonzero(values > _MIN_GAIN)[::-1]
    shrinking = np.flatnonzero(values < -_MIN_GAIN)
    vectors = Q @ vectors[:, [*growing[:n_growing], *shrinking[:n_shrinking]]]
    longer_tail = np.where((vectors**3).sum(axis=0) < 0, -1.0, 1.0)
    return vectors * longer_tail


def _first_names(names: Sequence[str], rows: Numbers) -> tuple[str, ...]:
    """The first distinct names of the rows."""
    return tuple(dict.fromkeys(names[row] for row in rows))[:_SHOWN_NAMES]


def pair_support(
    pairs: Int[np.ndarray, "*shape 2"], answers: Answers
) -> Float[np.ndarray, "*shape 2"]:
    """Count the answers that chose each pair of objects, and those that could have.

    Answers count by their weights.
    """
    import pandas as pd

    numbering = np.array([1 << 32, 1])
    number = (np.sort(pairs, axis=-1) @ numbering).ravel()
    counts = []
    for candidates in (answers.pairs[:1], answers.pairs):
        shown = np.concatenate([answers.objects[:, pair] for pair in candidates])
        weights = pd.Series(np.tile(answers.all_weights, len(candidates)))
        totals = weights.groupby(np.sort(shown, axis=1) @ numbering).sum()
        counts.append(totals.reindex(number, fill_value=0.0))
    return np.stack(counts, axis=-1).reshape(pairs.shape)


def change_record(
    transform: LinearTransform | None,
    features: Features,
    X: Embedding,
    parts: Sequence[Part],
    *,
    folds: Sequence[LinearTransform] = (),
    heldout: bool | None,
) -> dict[str, Any]:
    """The change record of a transform, as JSON values.

    Without a transform it has no axes, and without parts no flips and no confirmed pairs.

    Parameters
    ----------
    transform, features, folds
        As in `axes`.
    X : (n, p) array
        The features of all objects before the transform.
    parts : sequence of Part
    heldout : bool or None
        Whether the answers of the parts were held out from the fits; None if that is not known.
    """
    record: dict[str, Any] = {}
    if transform is not None:
        table = axes(transform, features, folds=folds)
        rows = table.astype(object).where(table.notna(), None).to_dict("records")
        record |= {"axes": rows, "chance": table.attrs["chance"]}
    if parts:
        record |= {"flips": flips(X, parts), "confirmed": confirmed(X, parts), "heldout": heldout}
    return record


def confirmed(
    X: Embedding, parts: Sequence[Part], k: int = SHOWN_NEIGHBOURS
) -> dict[str, list[float]]:
    """Count the answers that confirm pairs of neighbours that a transform loses or gains.

    ``lost`` pairs are neighbours only before the transform, ``gained`` pairs only after. Each entry
    is [answers that chose such a pair, answers that could have], and each pair counts once.
    Neighbours are the k nearest among the objects that the answers of a part name.
    """
    totals = {"lost": np.zeros(2), "gained": np.zeros(2)}
    for Z, answers in parts:
        named = answers.named_objects()
        before, after = (neighbours(rows[named], min(k, len(named) - 1)) for rows in (X, Z))
        for name, nearest, others in (("lost", before, after), ("gained", after, before)):
            is_changed = ~is_among(nearest, others)
            pairs = np.column_stack([is_changed.nonzero()[0], nearest[is_changed]])
            pairs = np.unique(np.sort(named[pairs], axis=1), axis=0)
            totals[name] += pair_support(pairs, answers).sum(axis=0)
    return {name: total.tolist() for name, total in totals.items()}


def is_among(
    neighbours: Int[np.ndarray, "n k"], others: Int[np.ndarray, "n k"]
) -> Bool[np.ndarray, "n k"]:
    """Whether each neighbour of an object is also one of its `others`."""
    among: np.ndarray = (neighbours[:, :, None] == others[:, None, :]).any(axis=2)
    return among


def flips(X: Embedding, parts: Sequence[Part], n: int = 4) -> dict[str, Any]:
    """Count the answers that became right or wrong, and list the clearest of them.

    Returns
    -------
    dict
        ``counts`` holds the weights of the answers that became right (``better``) or wrong
        (``worse``), or were ``right`` or ``wrong`` both times. ``better`` and ``worse`` list the
        objects of the n clearest answers, the chosen pair first: those whose smaller margin, before
        or after, is the largest. Listed answers share no object.
    """
    columns = [
        np.stack([_margins(X, answers), _margins(Z, answers), answers.all_weights])
        for Z, answers in parts
    ]
    before, after, weights = np.concatenate(columns, axis=1)
    objects = np.concatenate([answers.objects for _, answers in parts])
    outcomes = np.array(_OUTCOMES)[2 * (before > 0) + (after > 0)]
    counts = {name: float(weights[outcomes == name].sum()) for name in _OUTCOMES}
    order = np.argsort(-np.minimum(np.abs(before), np.abs(after)), kind="stable")
    examples = {}
    for name in ("better", "worse"):
        clearest = objects[order[outcomes[order] == name]]
        examples[name] = list(islice(_without_repetition(clearest), n))
    return {"counts": counts, **examples}


def _margins(Z: Embedding, answers: Answers) -> Float[np.ndarray, " t"]:
    """The margin of the chosen pair over the most similar other pair; at most 0 for a tie."""
    S = of_pairs(Z, answers.objects, answers.pairs)
    return S[:, 0] - S[:, 1:].max(axis=1) - pair_tolerance(Z)


def _without_repetition(answers: Objects) -> Iterator[list[int]]:
    """Yield the objects of each answer that shares none with the answers yielded before."""
    shown: set[int] = set()
    for answer in answers:
        if shown.isdisjoint(answer.tolist()):
            shown.update(answer.tolist())
            yield answer.tolist()
