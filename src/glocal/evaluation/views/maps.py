"""Objects in two dimensions, and two maps of the same objects turned to fit each other."""

from __future__ import annotations

import warnings

import numpy as np
from jaxtyping import Float

from glocal.errors import MissingDependencyError, ParameterError
from glocal.similarity import unit_rows

KINDS = ("pca", "umap")


def object_map(Z: Float[np.ndarray, "n p"], kind: str = "pca", *, seed: int = 42) -> Float[np.ndarray, "n 2"]:
    """Place objects in the plane by their cosines, root mean square distance 1 from the middle.

    Parameters
    ----------
    Z : (n, p) real array
    kind : {"pca", "umap"}
        The two leading principal axes of the rows scaled to length 1; or UMAP with 15 neighbours by cosine
        (McInnes, Healy & Melville 2018).
    seed : int
        Of UMAP.

    Raises
    ------
    ParameterError
        Another kind.
    MissingDependencyError
        UMAP without umap-learn.
    """
    if kind not in KINDS:
        raise ParameterError(f"the map is {kind!r}; allowed are {' and '.join(KINDS)}.")
    rows = unit_rows(np.asarray(Z, dtype=np.float64))
    rows = rows - rows.mean(axis=0)
    return _scaled(_principal(rows) if kind == "pca" else _umap(np.asarray(Z, dtype=np.float32), seed))


def turned(positions: Float[np.ndarray, "n 2"], onto: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    """Rotate and mirror a map so that it fits another best (orthogonal Procrustes: min_Q ‖A Q - B‖_F)."""
    left, _, right = np.linalg.svd(positions.T @ onto)
    fitted: np.ndarray = positions @ (left @ right)
    return fitted


def _principal(rows: np.ndarray) -> np.ndarray:
    n, p = rows.shape
    if p <= n:
        axes = np.linalg.eigh(rows.T @ rows)[1][:, ::-1][:, :2]
        found = rows @ axes
    else:
        values, vectors = np.linalg.eigh(rows @ rows.T)
        found = vectors[:, ::-1][:, :2] * np.sqrt(np.maximum(values[::-1][:2], 0))
    # an eigenvector has no sign of its own
    signs = np.sign(found[np.abs(found).argmax(axis=0), np.arange(found.shape[1])])
    found = found * np.where(signs == 0, 1, signs)
    return found if found.shape[1] == 2 else np.column_stack([found, np.zeros(n)])


def _umap(Z: np.ndarray, seed: int) -> np.ndarray:
    try:
        from umap import UMAP  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise MissingDependencyError(
            "the map umap needs umap-learn. Install it: pip install 'glocal[umap]', or take the map pca."
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own threads and dependencies
        found = UMAP(n_neighbors=min(15, len(Z) - 1), metric="cosine", random_state=seed).fit_transform(Z)
    return np.asarray(found, dtype=np.float64)


def _scaled(positions: np.ndarray) -> np.ndarray:
    positions = positions - positions.mean(axis=0)
    spread = float(np.sqrt(np.square(positions).sum(axis=1).mean()))
    return positions / spread if spread > 1e-12 else np.zeros_like(positions)
