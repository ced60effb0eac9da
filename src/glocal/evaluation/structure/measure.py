"""`structure`: what a transform does to the global and the local structure of features, in one result."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float, Shaped

from glocal.data.labels import check_labels
from glocal.errors import CollapseWarning, DataError
from glocal.evaluation.result import Units
from glocal.evaluation.statistics import mean_estimate
from glocal.evaluation.structure.collapse import collapsed
from glocal.evaluation.structure.likeness import divergence, linear_cka, local_cka, rdm_correlation
from glocal.evaluation.structure.neighbourhoods import (
    chance_of_ranks,
    check_k,
    cosine_blocks,
    nearest,
    rank_penalty,
    shared,
    trust,
)
from glocal.evaluation.structure.separation import Separation, separation
from glocal.evaluation.structure.spectrum import directions_for, participation_ratio, variances
from glocal.results import Score
from glocal.similarity import tie_tolerance

_MEASURES = (
    "trustworthiness", "continuity", "local_cka", "divergence", "cka", "cka_debiased", "rdm_spearman", "rdm_pearson",
    "participation_before", "participation_after", "directions90_before", "directions90_after",
)  # fmt: skip
_SIZES = (1, 5, 10, 50)  # other numbers of neighbours that are reported beside k


@dataclass(frozen=True, kw_only=True)
class Structure:
    """What stays of the structure of n images under a transform.

    Local: `neighbours_kept` at k with its 95 % interval `low`, `high` over images (the candidates fixed; images share
    them, so that it is a little narrow; None if collapsed or all equal), `overlap` the same at k of 1, 5, 10 and 50,
    `trustworthiness`, `continuity`, `local_cka` (None for k below 3), `divergence` in nats at `tau`.
    Global: `cka`, `cka_debiased`, `rdm_spearman` and `rdm_pearson` over `rdm_images` images; `participation_*` and
    `directions90_*`, the effective number of directions and the number that hold 90 % of the variance, before and
    after; `separation_before`, `separation_after` of the classes, if labels were given.
    `collapsed` says that one side is a single point; then every measure has the value of chance. `kept` (n,) is the
    share of its neighbours that each image keeps.
    """

    neighbours_kept: float
    low: float | None
    high: float | None
    overlap: dict[int, float]
    trustworthiness: float
    continuity: float
    local_cka: float | None
    divergence: float
    cka: float
    cka_debiased: float
    rdm_spearman: float
    rdm_pearson: float
    rdm_images: int
    participation_before: float
    participation_after: float
    directions90_before: int
    directions90_after: int
    separation_before: Separation | None
    separation_after: Separation | None
    collapsed: bool
    k: int
    tau: float
    n: int
    kept: Float[np.ndarray, " n"] = field(repr=False, compare=False)

    @property
    def scores(self) -> tuple[Score, ...]:
        """Neighbours kept, and every other measure that is a number."""
        values = {f"neighbours_kept_{size}": value for size, value in self.overlap.items()}
        values |= {name: getattr(self, name) for name in _MEASURES}
        for when, apart in (("before", self.separation_before), ("after", self.separation_after)):
            if apart is not None:
                values |= {f"class_gap_{when}": apart.gap, f"silhouette_{when}": apart.silhouette}
        settings, n = {"k": self.k, "tau": self.tau}, self.n
        return (
            Score("structure", "neighbours_kept", self.neighbours_kept, self.low, self.high, n, settings=settings),
            *(
                Score("structure", name, float(value), n=n, settings=settings)
                for name, value in values.items()
                if value is not None
            ),
        )

    @property
    def units(self) -> Units:
        """The share of its neighbours that each image keeps."""
        return Units(values=self.kept)


def structure(
    X: Float[np.ndarray, "n p"],
    Z: Float[np.ndarray, "n q"],
    *,
    k: Annotated[int, "Neighbours of each image."] = 10,
    tau: Annotated[float, "Temperature of the divergence of neighbourhoods."] = 0.25,
    labels: Shaped[np.ndarray, " n"] | None = None,
    block_size: int = 1024,
    seed: int = 42,
) -> Structure:
    """Measure what a transform does to global and local structure.

    Each measure is defined in the function of its name. Everything is computed in blocks: memory is that of the
    features, of p × p, and of 1024 rows of the n × n cosines; the correlation of dissimilarities takes a sample of
    images.

    Parameters
    ----------
    X, Z : (n, p) and (n, q) real arrays
        Standardized features before and after the transform, the same images in the same order.
    k : int
        Neighbours, 2k < n.
    tau : float
        Temperature of `divergence`, above 0.
    labels : (n,) integers or names, or None
        Classes or superclasses whose separation is measured.
    block_size, seed : int
        Blocks of `divergence`, and the sample of `rdm_correlation`.

    Returns
    -------
    Structure

    Raises
    ------
    DataError
        Other images after than before, labels of another number, or of one class only.
    ParameterError
        k or tau out of range.

    Warns
    -----
    CollapseWarning
        One side is a single point: neighbours, ranks and correlations are reported at chance (k/(n-1), about 1/2, 0).
    """
    n = len(X)
    if n != len(Z):
        raise DataError(f"there are {n} rows before the transform and {len(Z)} after; they must be the same images.")
    check_k(n, k)
    names = None if labels is None else check_labels(labels, n)
    flat = collapsed(X) or collapsed(Z)
    sizes = [size for size in _SIZES if size < n]
    if flat:
        warnings.warn(
            "collapse: all images are one point before or after the transform; measures of structure are those of "
            "chance.",
            CollapseWarning,
            stacklevel=2,
        )
    kept = _chance(n, k, sizes) if flat else {**_local(X, Z, k, sizes), **_global(X, Z, seed)}
    before, after = variances(X), variances(Z)
    return Structure(
        **kept,
        divergence=divergence(X, Z, tau=tau, block_size=block_size, seed=seed),
        participation_before=participation_ratio(before),
        participation_after=participation_ratio(after),
        directions90_before=directions_for(before),
        directions90_after=directions_for(after),
        separation_before=None if names is None else _separation(X, names),
        separation_after=None if names is None else _separation(Z, names),
        collapsed=flat,
        k=k,
        tau=tau,
        n=n,
    )


def _local(X: np.ndarray, Z: np.ndarray, k: int, sizes: list[int]) -> dict[str, Any]:
    n = len(X)
    every = sorted({k, *sizes})
    tolerance_x, tolerance_z = tie_tolerance(X.shape[1]), tie_tolerance(Z.shape[1])
    index = np.empty((n, k), dtype=np.int64)
    kept = {size: np.empty(n) for size in every}
    came, went = 0.0, 0.0
    for (part, S), (_, T) in zip(cosine_blocks(X), cosine_blocks(Z), strict=True):
        before, after = nearest(S, every, tolerance_x), nearest(T, every, tolerance_z)
        for size in every:
            kept[size][part] = shared(before[size], after[size])
        came += rank_penalty(S, after[k], tolerance_x)
        went += rank_penalty(T, before[k], tolerance_z)
        index[part] = before[k].index
    low, high = mean_estimate(kept[k]).interval(fraction=True)
    return {
        "neighbours_kept": float(kept[k].mean()),
        "low": low,
        "high": high,
        "kept": kept[k],
        "overlap": {size: float(kept[size].mean()) for size in sizes},
        "trustworthiness": trust(came, n, k),
        "continuity": trust(went, n, k),
        "local_cka": local_cka(X, Z, index) if k >= 3 else None,
    }


def _global(X: np.ndarray, Z: np.ndarray, seed: int) -> dict[str, Any]:
    rdm = rdm_correlation(X, Z, seed=seed)
    return {
        "cka": linear_cka(X, Z),
        "cka_debiased": linear_cka(X, Z, debiased=True),
        "rdm_spearman": rdm.spearman,
        "rdm_pearson": rdm.pearson,
        "rdm_images": rdm.n,
    }


def _chance(n: int, k: int, sizes: list[int]) -> dict[str, Any]:
    """What unrelated embeddings get, in place of what rounding would."""
    ranks = chance_of_ranks(n, k)
    chance = k / (n - 1)
    local: dict[str, Any] = {"neighbours_kept": chance, "low": None, "high": None, "kept": np.full(n, chance)}
    nothing = dict.fromkeys(("cka", "cka_debiased", "rdm_spearman", "rdm_pearson"), 0.0)
    local |= {"overlap": {size: size / (n - 1) for size in sizes}, "local_cka": 0.0 if k >= 3 else None}
    return {**local, **nothing, "trustworthiness": ranks, "continuity": ranks, "rdm_images": n}


def _separation(Z: np.ndarray, labels: np.ndarray) -> Separation:
    """Separation of classes; none at all on a single point, whatever rounding says."""
    found = separation(Z, labels)
    return Separation(found.between, found.between, 0.0) if collapsed(Z) else found
