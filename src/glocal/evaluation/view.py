"""What people look at: map, neighbours, flips, dissimilarities and spectrum of one embedding of the objects."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from glocal.arrays import read_npz, write_npz
from glocal.data.answers import Answers
from glocal.errors import DataError
from glocal.evaluation.agreement import answer_credit, flips
from glocal.evaluation.collapse import collapsed, one_point
from glocal.evaluation.intervals import Units
from glocal.evaluation.neighbours import neighbours
from glocal.files import PathLike, reading
from glocal.results import to_json
from glocal.similarity import unit_rows

_K = 10
_MOST_FLIPS = 1000
_CELLS = 256  # of a side of a matrix
_CLUSTERED = 4000  # objects whose n²/2 distances are clustered
_AXES = ("singular_values", "gains", "share_before", "share_after")
_FIX = "Delete it and run again what wrote it."


@dataclass(frozen=True, eq=False)
class Matrix:
    """Dissimilarities in 8 bits: 0 … 255 are `low` … `high`; objects in order, averaged in groups."""

    cells: UInt8[np.ndarray, "m m"]
    low: float
    high: float

    def values(self) -> Float[np.ndarray, "m m"]:
        """The dissimilarities, to 1/255 of their range."""
        return self.low + self.cells / 255 * (self.high - self.low)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """A transform W seen from the principal axes u_1, u_2, … of the features, largest variance first.

    `singular_values` (p,) are those of W; `gains` (p,) are ‖u_kᵀ W‖ / c, with c = |tr W| / p what W multiplies on
    average: above 1 where a direction is raised; `share_before` and `share_after` (p,) the fractions of the variance
    that lie along u_k before and after the transform.
    """

    singular_values: Float[np.ndarray, " p"]
    gains: Float[np.ndarray, " p"]
    share_before: Float[np.ndarray, " p"]
    share_after: Float[np.ndarray, " p"]

    @property
    def raised(self) -> int:
        """The number of principal directions with a gain above 1, by more than float32 weights round."""
        return int(np.count_nonzero(self.gains > 1 + 1e-6))


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """One embedding of n objects, to be looked at beside a baseline.

    Parameters
    ----------
    names, categories : tuple of n str
        Categories are None if none were given.
    positions : (n, 2) float32
        The map, root mean square distance 1 from its middle; turned so that it fits the baseline's best.
    neighbours : (n, k) int
        Nearest first, by cosine.
    gained, lost : (g, 3) and (l, 3) int
        Answers (the pair found most similar, another object) that the baseline has wrong and this embedding right, and
        the reverse; those with the largest shift of margin first, at most 1000.
    order : (n,) int
        Objects in the order of the matrix: by category, inside it by likeness in the baseline.
    rdm : Matrix
        1 - cosine.
    axes : Spectrum or None
        None without a transform.
    meta : dict
        network, arm, baseline, how many answers flipped out of how many and of which split, collapsed, notes.
    """

    names: tuple[str, ...]
    categories: tuple[str, ...] | None
    positions: Float[np.ndarray, "n 2"]
    neighbours: Int[np.ndarray, "n k"]
    gained: Int[np.ndarray, "g 3"]
    lost: Int[np.ndarray, "l 3"]
    order: Int[np.ndarray, " n"]
    rdm: Matrix
    axes: Spectrum | None = None
    meta: dict[str, Any] = field(default_factory=dict)


class BeforeAfter(NamedTuple):
    """Answers on which two embeddings of the objects are compared; those of a fold, under the transform of the fold."""

    before: np.ndarray
    after: np.ndarray
    answers: Answers


def object_view(
    Z: Float[np.ndarray, "n p"],
    names: Sequence[str],
    *,
    categories: Sequence[str] | None = None,
    baseline: View | None = None,
    parts: Sequence[BeforeAfter] = (),
    weights: Float[np.ndarray, "p r"] | None = None,
    features: Float[np.ndarray, "n p"] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> View:
    """Map, ten nearest neighbours, flips, ordered dissimilarities and spectrum of one embedding.

    The `baseline` beside which it is looked at gives the order of the matrix (else the `categories` do), and the map is
    turned to fit its. Flips are listed of the answers of `parts`; `weights` and `features` are the transform and the
    standardized features, for the spectrum.

    Examples
    --------
    >>> view = object_view(np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), ["cat", "dog", "car"])
    >>> [view.names[i] for i in view.neighbours[0]]
    ['dog', 'car']
    """
    n = len(Z)
    held = None if baseline is None else baseline.names
    for what, other in (("names", names), ("categories", categories), ("rows in the baseline", held)):
        if other is not None and len(other) != n:
            raise DataError(f"there are {n} objects but {len(other)} {what}; give one an object.")
    if n < 2:
        raise DataError("a view needs at least two objects.")
    order = object_order(Z, categories) if baseline is None else baseline.order
    positions = object_map(Z, None if baseline is None else baseline.positions.astype(np.float64))
    gained, lost, flipped = _flipped(parts)
    return View(
        names=tuple(names), categories=None if categories is None else tuple(categories),
        positions=positions.astype(np.float32), neighbours=neighbours(Z, min(_K, n - 1)), gained=gained, lost=lost,
        order=order, rdm=matrix_of(Z, order),
        axes=None if weights is None or features is None else spectrum(weights, features),
        meta={**(meta or {}), **flipped, "collapsed": collapsed(Z)},
    )  # fmt: skip


def object_map(Z: Float[np.ndarray, "n p"], onto: Float[np.ndarray, "n 2"] | None = None) -> Float[np.ndarray, "n 2"]:
    """The two leading principal axes of the rows scaled to length 1, root mean square distance 1 from the middle.

    The map is rotated and mirrored so that it fits the map `onto` best (orthogonal Procrustes).
    """
    from scipy.linalg import orthogonal_procrustes
    from sklearn.decomposition import PCA

    rows, found = unit_rows(np.asarray(Z, dtype=np.float64)), np.zeros((len(Z), 2))
    if not one_point(rows):
        axes = min(2, *rows.shape)
        found[:, :axes] = PCA(axes, random_state=0).fit_transform(rows)
        found /= np.sqrt(np.square(found).sum(axis=1).mean())
    return found if onto is None else found @ orthogonal_procrustes(found, onto)[0]


def object_order(Z: Float[np.ndarray, "n p"], categories: Sequence[str] | None = None) -> Int[np.ndarray, " n"]:
    """Objects in the order of a matrix: by category, inside it by average linkage of their cosines.

    Of more than 4000 objects the second key is the first principal axis.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage

    n, place = len(Z), np.empty(len(Z), dtype=np.int64)
    rows = unit_rows(np.asarray(Z, dtype=np.float64))
    if 2 < n <= _CLUSTERED:
        distances = np.maximum(1 - (rows @ rows.T)[np.triu_indices(n, 1)], 0)
        place[leaves_list(linkage(distances, "average"))] = np.arange(n)
    else:
        place[np.argsort(object_map(Z)[:, 0], kind="stable")] = np.arange(n)
    names = np.array(["other"] * n if categories is None else categories)
    return np.lexsort([place, names, names == "other"])


def matrix_of(Z: Float[np.ndarray, "n p"], order: Int[np.ndarray, " n"], most: int = _CELLS) -> Matrix:
    """1 - cosine of all pairs, averaged over the pairs of two groups of neighbours in the order, in 8 bits.

    The mean over two groups is 1 - ū_G·ū_H with ū the mean of the rows scaled to length 1; on the diagonal an object is
    not compared with itself. The range is that between different groups.
    """
    rows = unit_rows(np.asarray(Z, dtype=np.float64))[order]
    m = min(len(rows), most)
    edges = np.arange(m + 1) * len(rows) // m  # a place along the matrix is the same share of the objects everywhere
    sizes, sums = np.diff(edges), np.add.reduceat(rows, edges[:-1], axis=0)
    products, pairs = sums @ sums.T, np.outer(sizes, sizes).astype(float)
    products[np.diag_indices(m)] -= np.add.reduceat(np.square(rows).sum(axis=1), edges[:-1])
    np.fill_diagonal(pairs, sizes * (sizes - 1))
    D = 1 - products / np.maximum(pairs, 1)
    D[np.diag_indices(m)] *= sizes > 1
    outside = D[~np.eye(m, dtype=bool)]
    low, high = float(outside.min()), float(outside.max())
    scale = high - low if high - low > 1e-12 else 1.0
    return Matrix(np.round(np.clip((D - low) / scale, 0, 1) * 255).astype(np.uint8), low, low + scale)


def spectrum(W: Float[np.ndarray, "p r"], X: Float[np.ndarray, "n p"]) -> Spectrum:
    """The spectrum of a transform on features (standardized by its scalars); for tr W = 0 gains are relative to 1.

    A W to fewer dimensions stands for (W Wᵀ)^½, the symmetric (p, p) map with the same similarities.
    """
    W, X = np.asarray(W, dtype=np.float64), X - X.mean(axis=0, dtype=np.float64)
    if X.shape[1] != len(W):
        raise DataError(f"the transform maps {len(W)} dimensions but the features have {X.shape[1]}.")
    if W.shape[0] != W.shape[1]:
        U, singular, _ = np.linalg.svd(W, full_matrices=False)
        W = (U * singular) @ U.T
    covariance = X.T @ X / len(X)
    variances, axes = np.linalg.eigh(covariance)
    variances, axes = np.maximum(variances[::-1], 0), axes[:, ::-1]
    after = np.maximum(np.einsum("ik,ij,jk->k", axes, W.T @ covariance @ W, axes, optimize=True), 0)
    gains = np.linalg.norm(axes.T @ W, axis=1) / (abs(float(np.trace(W))) / len(W) or 1.0)
    shares = [each / (each.sum() or 1.0) for each in (variances, after)]
    return Spectrum(np.linalg.svd(W, compute_uv=False), gains, shares[0], shares[1])


def save_view(view: View, path: PathLike) -> None:
    """Write a view atomically: compressed ``.npz`` without pickles."""
    index = np.uint16 if len(view.names) < 1 << 16 else np.uint32
    text = {"names": view.names, "categories": view.categories, "meta": view.meta}
    arrays = {
        "text": np.array(to_json(text)), "map": view.positions, "rdm": view.rdm.cells,
        "rdm_range": np.array([view.rdm.low, view.rdm.high]),
        **{name: getattr(view, name).astype(index) for name in ("neighbours", "gained", "lost", "order")},
    }  # fmt: skip
    axes = {} if view.axes is None else {name: getattr(view.axes, name).astype(np.float32) for name in _AXES}
    write_npz(path, {**arrays, **axes})


def load_view(path: PathLike) -> View:
    """Read a view; a FileError where it is missing or damaged."""
    needed = ("text", "map", "neighbours", "gained", "lost", "order", "rdm", "rdm_range")
    arrays = read_npz(path, what="view", fix=_FIX, required=needed, optional=_AXES)
    with reading(path, "view", _FIX):
        text = json.loads(str(arrays["text"]))
        whole = {name: arrays[name].astype(np.int64) for name in ("neighbours", "gained", "lost", "order")}
        return View(
            names=tuple(text["names"]), categories=None if text["categories"] is None else tuple(text["categories"]),
            positions=arrays["map"], rdm=Matrix(arrays["rdm"], *map(float, arrays["rdm_range"])),
            axes=Spectrum(*(arrays[name] for name in _AXES)) if _AXES[0] in arrays else None, meta=text["meta"],
            **whole,
        )  # fmt: skip


def _flipped(parts: Sequence[BeforeAfter]) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Flips of all parts, strongest shift of margin first, and the paired difference over all their answers."""
    nothing = np.empty((0, 3), dtype=np.int64)
    if not parts:
        return nothing, nothing, {"n_answers": 0, "n_gained": 0, "n_lost": 0}
    found = [flips(*part) for part in parts]
    sides = []
    for side in (0, 1):  # of wide answers the first three: a view shows the chosen pair and another object
        answers = [part.answers.objects[one[side], :3] for part, one in zip(parts, found, strict=True)]
        shifts = np.concatenate([np.abs(one[2][one[side]]) for one in found])
        sides.append(np.concatenate(answers)[np.argsort(-shifts, kind="stable")].astype(np.int64))
    units = [
        Units(
            values=np.concatenate([answer_credit((part.before, part.after)[side], part.answers) for part in parts]),
            answers=np.concatenate([part.answers.objects for part in parts]),
            weights=_listed([part.answers.weights for part in parts]),
            clusters=_listed([part.answers.person for part in parts]),
        )
        for side in (0, 1)
    ]
    paired = units[1].less(units[0])
    counts = {
        "n_answers": len(units[0].values), "n_gained": len(sides[0]), "n_lost": len(sides[1]),
        "difference": [paired.mean, *paired.interval()],
    }  # fmt: skip
    return sides[0][:_MOST_FLIPS], sides[1][:_MOST_FLIPS], counts


def _listed(lists: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """One list of what each part has one of."""
    known = [one for one in lists if one is not None]
    return np.concatenate(known) if len(known) == len(lists) else None
