"""Objects in two dimensions, and two maps of the same objects turned to fit each other."""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np
from jaxtyping import Float

from glocal.errors import ParameterError
from glocal.evaluation.structure.collapse import one_point
from glocal.extras import needed
from glocal.similarity import unit_rows

KINDS = ("auto", "pca", "umap")
_FEW = 16  # objects: with fewer every object is a neighbour of every other
_LEAST = 5  # objects that UMAP needs


def object_map(
    Z: Float[np.ndarray, "n p"],
    kind: str = "auto",
    *,
    seed: int = 42,
    start: Float[np.ndarray, "n 2"] | None = None,
) -> Float[np.ndarray, "n 2"]:
    """Place objects in the plane by their cosines, root mean square distance 1 from the middle.

    The map is of the two leading principal axes of the rows scaled to length 1 (``pca``), or UMAP with 15 neighbours by
    cosine (McInnes, Healy & Melville 2018) that starts at `start`, e.g. the map of the baseline, so that two maps can
    be compared; see `map_kind` for ``auto``.
    """
    kind = map_kind(kind, len(Z))
    rows = unit_rows(np.asarray(Z, dtype=np.float64))
    if one_point(rows):  # UMAP would scatter it
        return np.zeros((len(rows), 2))
    if kind == "pca":
        return _scaled(_principal(rows - rows.mean(axis=0)))
    return _scaled(_umap(rows.astype(np.float32), seed, start))


def map_kind(kind: str, n: int) -> str:
    """The map that is drawn of n objects: ``auto`` is UMAP if umap-learn is installed and n at least 16, else PCA.

    Of fewer than 5 objects there is no UMAP.
    """
    if kind not in KINDS:
        raise ParameterError(f"the map is {kind!r}; allowed are {', '.join(KINDS[:-1])} and {KINDS[-1]}.")
    if kind == "auto":
        return "umap" if n >= _FEW and importlib.util.find_spec("umap") is not None else "pca"
    return "pca" if n < _LEAST else kind


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
    found = found * np.sign(found[np.abs(found).argmax(axis=0), np.arange(found.shape[1])])
    return found if found.shape[1] == 2 else np.column_stack([found, np.zeros(n)])


def _umap(rows: np.ndarray, seed: int, start: np.ndarray | None) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own threads and dependencies
        umap = needed("umap", "the map umap")
        if start is None or not np.any(start):
            start = _scaled(_principal(rows - rows.mean(axis=0)))
        # starting from given positions: its own spectral start fails for few objects
        neighbours = min(15, len(rows) - 1)
        found = umap.UMAP(
            n_neighbors=neighbours, metric="cosine", random_state=seed, n_jobs=1, init=start.astype(np.float32)
        ).fit_transform(rows)
    return np.asarray(found, dtype=np.float64)


def _scaled(positions: np.ndarray) -> np.ndarray:
    positions = positions - positions.mean(axis=0)
    scaled: np.ndarray = positions / np.sqrt(np.square(positions).sum(axis=1).mean())
    return scaled
