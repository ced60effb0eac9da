"""Images that are in a file twice: repeated exactly, or so nearly that they are one picture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from glocal.data.check.finding import Finding
from glocal.data.features import Features, object_name
from glocal.similarity import unit_rows

_NEAR = 0.999  # cosine about the mean; the nearest two of 1,854 photographs under six networks have .977
_COMPARED = 8192
_RUN = 1024


def repeated_rows(features: Features, what: str, role: str) -> Iterator[Finding]:
    """Rows that equal another one exactly, and rows that equal another one nearly."""
    n, hashes = len(features), _row_hashes(features)
    _, first, group, counts = np.unique(hashes, return_index=True, return_inverse=True, return_counts=True)
    original = first[group.reshape(-1)]
    copy = original != np.arange(n)
    if copy.any():
        names = features.names
        same = np.zeros(n, dtype=bool)
        if names is not None:
            same = copy & np.array([object_name(names[i]) == object_name(names[j]) for i, j in enumerate(original)])
        yield Finding(
            "warning",
            "duplicates",
            f"{what}: {copy.sum()} rows repeat another row exactly (first: row {int(copy.argmax())}, which is row "
            f"{original[copy.argmax()]} again; at most {counts.max()} alike)",
            "check for images extracted twice, or a failed extraction that repeats its last batch"
            + ("; --fix drops copies that have the same name" if same.any() else ""),
            {"rows": int(copy.sum()), "same_name": int(same.sum()), "first": int(copy.argmax())},
            (lambda case: case.without_rows(role, same, original)) if same.any() else None,
        )
    near, pair = _near(features, copy)
    if near:
        yield Finding(
            "warning",
            "near duplicates",
            f"{what}: {near} rows have a cosine above {_NEAR} with another row about the mean of all (first: rows "
            f"{pair[0]} and {pair[1]})",
            "look at these images: one photograph under two names, cropped or compressed again; keep one of them",
            {"rows": near, "first": list(pair), "cosine": _NEAR},
        )


def _near(features: Features, copy: np.ndarray) -> tuple[int, tuple[int, int]]:
    """How many rows, of at most so many from everywhere, nearly equal another, and the first such pair."""
    rows = np.flatnonzero(~copy)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _COMPARED)).astype(np.int64))]
    if len(rows) < 3 or features.dimensions < 8:
        return 0, (0, 0)
    X = np.asarray(features.matrix[rows], dtype=np.float64)
    Z = _about_the_mean(X).astype(np.float32)
    near, first = np.zeros(len(rows), dtype=bool), (0, 0)
    for start in range(0, len(rows), _RUN):
        cosines = Z[start : start + _RUN] @ Z.T
        cosines[np.arange(len(cosines)), start + np.arange(len(cosines))] = -1
        alike = cosines > _NEAR
        if alike.any() and not near.any():
            i, j = np.argwhere(alike)[0]
            first = (int(rows[start + i]), int(rows[j]))
        near[start : start + _RUN] = alike.any(axis=1)
    return int(near.sum()), first


def _about_the_mean(X: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n p"]:
    """Directions about the mean, columns on one scale: an outlier column must not make all rows alike."""
    std = X.std(axis=0)
    centred = X - X.mean(axis=0)
    return unit_rows(centred / np.where(std > 0, std, 1))


def _row_hashes(features: Features) -> np.ndarray:
    """A 64-bit hash of each row, by its bytes."""
    return np.array([hash(row.tobytes()) for _, rows in features.chunks() for row in np.ascontiguousarray(rows)])
