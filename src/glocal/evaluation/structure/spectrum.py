"""Which directions of the features a transform raises and lowers, and how many it leaves."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from glocal.errors import DataError


@dataclass(frozen=True, eq=False)
class Spectrum:
    """A transform W seen from the principal axes u_1, u_2, … of the features, largest variance first.

    `singular_values` (p,) are those of W; `scale` is c = |tr W| / p, what W multiplies on average (NaN in a view, which
    does not keep it); `gains` (p,) are ‖u_kᵀ W‖ / c, above 1 where a direction is raised; `share_before` and
    `share_after` (p,) the fractions of the variance that lie along u_k before and after the transform. A W to fewer
    dimensions stands for (W Wᵀ)^½, the symmetric (p, p) map with the same similarities.
    """

    singular_values: Float[np.ndarray, " p"]
    gains: Float[np.ndarray, " p"]
    share_before: Float[np.ndarray, " p"]
    share_after: Float[np.ndarray, " p"]
    scale: float = field(default=float("nan"), kw_only=True)

    @property
    def raised(self) -> int:
        """The number of principal directions with a gain above 1, by more than float32 weights round."""
        return int(np.count_nonzero(self.gains > 1 + 1e-6))


def spectrum(W: Float[np.ndarray, "p r"], X: Float[np.ndarray, "n p"]) -> Spectrum:
    """The spectrum of a transform on features (standardized by its scalars); for tr W = 0 gains are relative to 1."""
    W = np.asarray(W, dtype=np.float64)
    if X.shape[1] != len(W):
        raise DataError(f"the transform maps {len(W)} dimensions but the features have {X.shape[1]}.")
    if W.shape[0] != W.shape[1]:
        U, singular, _ = np.linalg.svd(W, full_matrices=False)
        W = (U * singular) @ U.T
    covariance = _covariance(X)
    variances, axes = np.linalg.eigh(covariance)
    variances, axes = np.maximum(variances[::-1], 0), axes[:, ::-1]
    mapped = W.T @ covariance @ W
    after = np.maximum(np.einsum("ik,ij,jk->k", axes, mapped, axes, optimize=True), 0)
    scale = float(abs(np.trace(W))) / len(W)
    gains = np.linalg.norm(axes.T @ W, axis=1) / (scale or 1.0)
    return Spectrum(np.linalg.svd(W, compute_uv=False), gains, _shares(variances), _shares(after), scale=scale)


def variances(Z: Float[np.ndarray, "n p"]) -> Float[np.ndarray, " p"]:
    """The eigenvalues of the covariance of the rows, largest first."""
    return np.maximum(np.linalg.eigvalsh(_covariance(Z))[::-1], 0)


def participation_ratio(variances: Float[np.ndarray, " p"]) -> float:
    """(Σ λ)² / Σ λ², the effective number of directions: p if all vary alike, 1 if one does, 0 if none does."""
    squares = float(variances @ variances)
    return float(variances.sum()) ** 2 / squares if squares > 0 else 0.0


def directions_for(variances: Float[np.ndarray, " p"], share: float = 0.9) -> int:
    """How many leading directions hold this share of the variance."""
    total = float(variances.sum())
    if total == 0:
        return 0
    return int(np.searchsorted(np.cumsum(variances) / total, share - 1e-12) + 1)


def _covariance(Z: np.ndarray) -> np.ndarray:
    Z = np.asarray(Z, dtype=np.float64)
    Z = Z - Z.mean(axis=0)
    return Z.T @ Z / len(Z)


def _shares(values: np.ndarray) -> np.ndarray:
    total = float(values.sum())
    return values / total if total > 0 else values
