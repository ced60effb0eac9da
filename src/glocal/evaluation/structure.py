"""What a transform does to the global and the local structure of features, in one result."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Shaped

from glocal.data.labels import check_labels
from glocal.errors import DataError
from glocal.evaluation.collapse import unless_collapsed
from glocal.evaluation.intervals import Units
from glocal.evaluation.neighbours import kept_by_image
from glocal.evaluation.rsa import pair_dissimilarities, spearman
from glocal.results import Score
from glocal.similarity import unit_rows

_SIZES = (1, 5, 10, 50)  # other numbers of neighbours that are reported beside k
_MOST = 2000  # images whose dissimilarities are compared


@dataclass(frozen=True, kw_only=True)
class Structure:
    """What stays of the structure of n images under a transform.

    Local: `neighbours_kept` at k with its 95 % interval over images (the candidates fixed; images share them, so that
    it is a little narrow; None where all are equal), and `overlap`, the same at k of 1, 5, 10 and 50.
    Global: `cka` (debiased) and `rdm_spearman`, 1 for embeddings equal up to rotation and scale and about 0 for
    unrelated ones; `participation`, the effective number of directions, and `class_gap`, how much nearer, in cosine,
    images of one class are than images of two (None without labels), both before and after.
    `units` hold the share of its neighbours that each image keeps.
    """

    neighbours_kept: float
    low: float | None
    high: float | None
    overlap: dict[int, float]
    cka: float
    rdm_spearman: float
    participation: tuple[float, float]
    class_gap: tuple[float, float] | None
    k: int
    n: int
    units: Units = field(repr=False, compare=False)

    @property
    def scores(self) -> tuple[Score, ...]:
        """Neighbours kept, and every other measure."""
        values = {f"neighbours_kept_{size}": value for size, value in self.overlap.items()}
        values |= {"cka": self.cka, "rdm_spearman": self.rdm_spearman}
        for name, pair in (("participation", self.participation), ("class_gap", self.class_gap)):
            values |= {} if pair is None else {f"{name}_before": pair[0], f"{name}_after": pair[1]}
        task, settings = "structure", {"k": self.k}
        first = Score(task, "neighbours_kept", self.neighbours_kept, self.low, self.high, self.n, settings=settings)
        return first, *(Score(task, name, value, n=self.n, settings=settings) for name, value in values.items())


def structure(
    X: Float[np.ndarray, "n p"],
    Z: Float[np.ndarray, "n q"],
    *,
    k: int = 10,
    labels: Shaped[np.ndarray, " n"] | None = None,
    seed: int = 42,
) -> Structure:
    """Measure what a transform does to global and local structure; each measure is defined in the function of its name.

    Parameters
    ----------
    X, Z : (n, p) and (n, q) real arrays
        Standardized features before and after the transform, the same images in the same order; at least 4.
    k : int
        Neighbours, below n.
    labels : (n,) integers or names, or None
        Classes or superclasses whose separation is measured.
    seed : int
        Random seed of the sample of images whose dissimilarities are compared, if there are more than 2000.

    Raises
    ------
    DataError
        Other images after than before, labels of another number, or of one class only.
    ParameterError
        k out of range.

    Warns
    -----
    CollapseWarning
        One side is a single point: every measure is that of chance, k/(n-1) and 0.
    """
    (X,), (Z,) = unless_collapsed(X), unless_collapsed(Z)
    n, names = len(X), None if labels is None else check_labels(labels, len(X))
    kept = {size: kept_by_image(X, Z, size) for size in (k, *_SIZES) if size == k or size < n}
    units = Units(values=kept[k])
    low, high = units.estimate().interval(fraction=True)
    return Structure(
        neighbours_kept=float(kept[k].mean()), low=low, high=high, units=units, k=k, n=n,
        overlap={size: float(kept[size].mean()) for size in _SIZES if size < n},
        cka=cka(X, Z), rdm_spearman=rdm_spearman(X, Z, seed),
        participation=(participation(X), participation(Z)),
        class_gap=None if names is None else (class_gap(X, names), class_gap(Z, names)),
    )  # fmt: skip


def cka(X: Float[np.ndarray, "n p"], Z: Float[np.ndarray, "n q"]) -> float:
    """Debiased linear CKA, from p × q products, so that memory does not grow with the number of images squared.

        CKA = HSIC(X, Z) / √(HSIC(X, X) HSIC(Z, Z)),
        HSIC = ‖ZᵀX‖² - Σ a_i b_i + (Σ K̃)(Σ L̃) / ((n-1)(n-2)) - 2 / (n-2) · Σ_i K̃_i L̃_i,

    columns centred, a_i = ‖x_i‖², b_i = ‖z_i‖² and K̃_i, L̃_i the row sums of the Gram matrices without their diagonals.
    It is 1 for embeddings equal up to rotation, scale and shift, 0 on average for unrelated ones, whatever their
    dimensions (plain CKA rises towards 1 with them), and 0 if one is constant. At least 4 images.

    References
    ----------
    Kornblith, Norouzi, Lee & Hinton (2019), ICML; Song et al. (2012), JMLR 13:1393, Eq. 4; Nguyen, Raghu & Kornblith
    (2021), ICLR.
    """
    n = len(X)
    if n < 4:
        raise DataError(f"there are {n} images; the debiased CKA needs at least 4.")
    X, Z = X - X.mean(axis=0), Z - Z.mean(axis=0)

    def hsic(A: np.ndarray, B: np.ndarray) -> float:
        a, b = np.square(A).sum(axis=1), np.square(B).sum(axis=1)
        K, L = A @ A.sum(axis=0) - a, B @ B.sum(axis=0) - b
        return float(np.square(A.T @ B).sum() - a @ b + K.sum() * L.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (K @ L))

    scale = hsic(X, X) * hsic(Z, Z)
    return hsic(X, Z) / scale**0.5 if scale > 0 else 0.0


def rdm_spearman(X: Float[np.ndarray, "n p"], Z: Float[np.ndarray, "n q"], seed: int = 42) -> float:
    """Spearman correlation of the cosines of all pairs before and after, of at most 2000 images drawn with the seed.

    0 if one side is constant.
    """
    rows = np.sort(np.random.RandomState(seed).permutation(len(X))[:_MOST])
    return float(np.nan_to_num(spearman(pair_dissimilarities(X[rows]), pair_dissimilarities(Z[rows]))))


def participation(Z: Float[np.ndarray, "n p"]) -> float:
    """(Σ λ)² / Σ λ² of the eigenvalues λ of the covariance: p if all directions vary alike, 1 if one does."""
    Z = Z - Z.mean(axis=0)
    C = Z.T @ Z
    squares = float(np.square(C).sum())
    return float(np.trace(C)) ** 2 / squares if squares > 0 else 0.0


def class_gap(Z: Float[np.ndarray, "n p"], labels: Shaped[np.ndarray, " n"]) -> float:
    """Mean cosine of pairs of one class less that of pairs of two."""
    U, (_, own, counts) = unit_rows(Z), np.unique(labels, return_inverse=True, return_counts=True)
    if len(counts) < 2 or counts.max() < 2:
        raise DataError(
            f"labels put {len(labels)} images into {len(counts)} classes; separation needs two classes and two images "
            "in one of them."
        )
    sums = np.zeros((len(counts), U.shape[1]))
    np.add.at(sums, own, U)
    inside = np.square(sums).sum() - np.square(U).sum()
    across = np.square(sums.sum(axis=0)).sum() - np.square(sums).sum()
    return float(inside / (counts @ counts - len(U)) - across / (len(U) ** 2 - counts @ counts))
