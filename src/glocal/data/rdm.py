"""Human dissimilarities of objects: one RDM, or one per person, joined to feature rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from glocal.data.features import Features
from glocal.data.join import feature_rows
from glocal.data.tables import has_titles, listed, parse_csv, read_numbers
from glocal.errors import DataError, DataWarning, warn
from glocal.files import PathLike, ending, reading
from glocal.similarity import Numbers

# RDMs are often float32 and written as text: pairs (i, j) and (j, i) may differ in the last digits
_MAX_RELATIVE_DIFFERENCE = 1e-5

RDMs = Float[np.ndarray, "people n n"]
"""The dissimilarities of n objects, for each person."""


class NamedRDMs(NamedTuple):
    """RDMs, and the names of their objects, None if their file has none."""

    rdms: RDMs
    names: tuple[str, ...] | None


class JoinedRDMs(NamedTuple):
    """RDMs, and the feature row of each of their objects."""

    rdms: RDMs
    rows: Numbers


def load_rdms(path: PathLike) -> NamedRDMs:
    """Read one RDM (n, n) from ``.npy`` or text, or one per person (people, n, n) from ``.npy``.

    A text may have the names of the objects as its first column and as its first line, as
    ``write.csv`` of R and ``to_csv`` of pandas write them. `check_rdms` checks the numbers.
    """
    if ending(path) == ".npy" or not has_titles(path):
        return NamedRDMs(check_rdms(read_numbers(path, what="RDM"), str(path)), None)
    fix = "Its first column and its first line must be the same names in the same order."
    with reading(path, "RDM", fix) as file:
        table = parse_csv(file, header=0)
        names = tuple(table.iloc[:, 0].astype(str))
        if tuple(table.columns[1:]) != names:
            raise ValueError(f"it has rows {listed(names)} and columns {listed(table.columns[1:])}")
        numbers = table.iloc[:, 1:].to_numpy(dtype=np.float64)
    return NamedRDMs(check_rdms(numbers, str(path)), names)


def check_rdms(rdms: np.ndarray, source: str = "RDM") -> RDMs:
    """Check RDMs, and return them as (people, n, n) float64 with a diagonal of 0.

    NaN marks a missing pair: that person did not compare the two objects.

    Raises
    ------
    DataError
        If the shape is wrong, or if an RDM has fewer than 3 known pairs, holds an infinite value,
        is asymmetric or constant, or has a diagonal that is not 0.
    """
    rdms = square_matrices(rdms, source)
    for person, rdm in enumerate(rdms):
        _check_rdm(rdm, f"{source}, participant {person}," if len(rdms) > 1 else source)
        np.fill_diagonal(rdm, 0.0)
    return rdms


def square_matrices(numbers: np.ndarray, source: str) -> RDMs:
    """A copy of one matrix of pairs, or of one per person, as (people, n, n) float64."""
    n = numbers.shape[-1] if numbers.ndim in (2, 3) else 0
    if not numbers.size or numbers.shape[-2:] != (n, n) or numbers.dtype.kind not in "fiu":
        raise DataError(
            f"{source} holds {numbers.dtype} of shape {numbers.shape}; it must be real numbers of "
            "shape (n, n), or (people, n, n)."
        )
    return np.array(numbers.reshape(-1, n, n), dtype=np.float64)


def _check_rdm(rdm: Float[np.ndarray, "n n"], source: str) -> None:
    """Raise a DataError if an RDM is asymmetric, has another diagonal, or too few pairs."""
    pairs = rdm[np.triu_indices(len(rdm), 1)]
    pairs = pairs[~np.isnan(pairs)]
    if len(pairs) < 3 or not np.isfinite(pairs).all() or pairs.max() == pairs.min():
        raise DataError(
            f"{source} is about {len(rdm)} objects and has {len(pairs)} known pairs, of them "
            f"{np.isinf(pairs).sum()} infinite; a correlation needs at least 3 that are finite and "
            "not constant, with NaN for a missing pair."
        )
    tolerance = _MAX_RELATIVE_DIFFERENCE * np.abs(pairs).max()
    if not np.allclose(rdm, rdm.T, rtol=0, atol=tolerance, equal_nan=True):
        raise DataError(
            f"{source} is not symmetric; write the dissimilarity of a pair on both sides of the "
            "diagonal."
        )
    if np.nanmax(np.abs(np.diag(rdm)), initial=0.0) > tolerance:
        raise DataError(
            f"{source} has a diagonal that is not 0; an object does not differ from itself. If it "
            "holds similarities, give 1 - similarity."
        )


def join_rdms(
    features: Features,
    rdms: RDMs,
    index: np.ndarray | None = None,
    object_ids: tuple[str, ...] | None = None,
) -> JoinedRDMs:
    """Match each row of the RDMs to a feature row, leaving out objects without features.

    Parameters
    ----------
    features : Features
        Must have names if `object_ids` is given.
    rdms : (people, n, n) float
        As returned by `check_rdms`.
    index : (n,) int or None
        For each row of the RDMs, a line of `object_ids` or, without `object_ids`, a feature row.
        None means 0, 1, 2, …
    object_ids : sequence of str, or None
        The list of objects that `index` refers to.

    Raises
    ------
    DataError
        If the number of rows or indices is wrong, an index is out of range or repeated, or the RDMs
        of the objects with features do not pass `check_rdms`.
    """
    rows = np.arange(len(features))
    if object_ids is not None:
        rows = feature_rows(features, object_ids)
    if index is None:
        index = np.arange(len(rows))
    n = rdms.shape[-1]
    n_known = np.isin(np.arange(len(rows)), index).sum()
    if not len(index) == n == n_known:
        raise DataError(
            f"the RDM is about {n} objects, but `rdm_index`, or without it the list of object ids "
            f"or the features, has {len(index)} entries that name {n_known} different ones. Each "
            f"row of the RDM needs one of its own, an integer from 0 to {len(rows) - 1}."
        )
    rows = rows[index.astype(np.int64)]
    is_kept = rows >= 0
    if not is_kept.all():
        n_dropped = int(np.count_nonzero(~is_kept))
        warn(f"{n_dropped} objects of the RDM have no features and are left out.", DataWarning)
        rdms = check_rdms(rdms[:, is_kept][:, :, is_kept], "the RDM without these objects")
    return JoinedRDMs(rdms, rows[is_kept])
