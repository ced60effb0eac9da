"""The doctor of one feature matrix: values, columns, rows, lengths, repeats and names."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from glocal.data.check.case import Case
from glocal.data.check.columns import HALF, ColumnProfile, profile
from glocal.data.check.duplicates import repeated_rows
from glocal.data.check.finding import Finding
from glocal.data.features import Features, object_name
from glocal.errors import DataError
from glocal.similarity import unit_rows

_FEW = 0.05  # of the columns: infinity in so few of them is theirs, else that of rows
_ALONE = 0.5  # of the variance in one column; of CLIP's outlier .02, of 11 ratings .21
_OFFSET = 0.8  # of the squares in one column about the mean; of CLIP's outlier .42
_LONG = 10.0  # times the median length; of networks on photographs at most 3
_UNIT = 2e-3  # off length 1, as half precision stores it
_ENOUGH = 8
_SAME = 1e-3  # off mean 0 and std 1, as half precision stores them


def check_features(features: Features, what: str = "features") -> list[Finding]:
    """Values, columns, rows, repeats and names of one feature matrix.

    Parameters
    ----------
    features : Features
    what : str
        The role of the file in the messages: ``features`` or ``local features``.

    Returns
    -------
    list of Finding
    """
    return list(_in_features(features, what, "local" if what.startswith("local") else "features"))


def _in_features(features: Features, what: str, role: str) -> Iterator[Finding]:
    found = profile(features)
    if not found.finite.all():
        yield _not_finite(found, features, what, role)
        return
    try:
        scalars = features.standardization
    except DataError as error:
        yield Finding("error", "constant", f"{what}: {error}", "write the features again")
        return
    yield from _columns(found, features, what)
    yield from _rows(found, what, role)
    yield from _standardized(found, scalars.mean, scalars.std, what)
    yield from repeated_rows(features, what, role)
    if features.names is not None:
        names = [object_name(name) for name in features.names]
        if len(set(names)) < len(names):
            yield Finding(
                "warning",
                "names",
                f"{what}: {len(names) - len(set(names))} names are not unique (folder and extension ignored)",
                "rename them if objects are to be joined by name",
                {"repeated": len(names) - len(set(names))},
            )


def _not_finite(found: ColumnProfile, features: Features, what: str, role: str) -> Finding:
    (n, p), rows = features.matrix.shape, np.flatnonzero(~found.finite)
    bad = found.bad_in_column > 0
    columns = np.flatnonzero(bad)
    message = f"{what}: {len(rows)} of {n} rows hold NaN or infinity (first: row {rows[0]})"
    evidence = {"rows": len(rows), "columns": len(columns), "first_row": int(rows[0])}
    if len(columns) <= max(1, _FEW * p) and len(rows) > len(columns):
        half = features.matrix.dtype == np.float16 and found.infinite == found.bad_in_column.sum()
        return Finding(
            "error",
            "overflow" if half else "finite",
            f"{message}, all in {len(columns)} of {p} columns (first: column {columns[0]})"
            + (f": half precision ends at {HALF:.0f}" if half else ""),
            "extract them again in float32; --fix drops the columns, which later features must lose too",
            evidence | {"first_column": int(columns[0])},
            lambda case: case.without_columns(bad),
        )
    return Finding(
        "error",
        "finite",
        message,
        "recompute or remove those images",
        evidence,
        lambda case: case.without_rows(role, ~found.finite),
    )


def _columns(found: ColumnProfile, features: Features, what: str) -> Iterator[Finding]:
    p, constant = features.dimensions, found.constant
    if constant.any():
        dead = int((constant & (found.high == 0)).sum())
        yield Finding(
            "warning",
            "constant",
            f"{what}: {constant.sum()} of {p} columns are constant"
            + (f", {dead} of them 0 everywhere" if dead else ""),
            "drop them, here and in all later features, or leave them",
            {"columns": int(constant.sum()), "dead": dead, "first": int(constant.argmax())},
            None if what.startswith("local") else lambda case: case.without_columns(constant),
        )
    clipped = found.saturated > 0
    if clipped.any():
        yield Finding(
            "warning",
            "overflow",
            f"{what}: {int(found.saturated.sum())} values in {clipped.sum()} of {p} columns are {HALF:.0f}, where half "
            f"precision ends (first: column {int(clipped.argmax())})",
            "extract them again in float32; --fix drops the columns, which later features must lose too",
            {"values": int(found.saturated.sum()), "columns": int(clipped.sum())},
            lambda case: case.without_columns(clipped),
        )
        return
    if p < _ENOUGH:
        return
    about = np.square(found.mean - found.mean.mean()) + np.square(found.std)
    spread, offset = np.square(found.std) / np.square(found.std).sum(), about / about.sum()
    huge = (spread > _ALONE) | (offset > _OFFSET)
    if huge.any():
        column = int(np.argmax(np.where(huge, about, 0)))
        yield Finding(
            "warning",
            "huge",
            f"{what}: column {column} alone has {spread[column]:.0%} of the variance and {offset[column]:.0%} of the "
            f"squares (mean {found.mean[column]:.3g}, std {found.std[column]:.3g}; median std of all "
            f"{np.median(found.std):.3g})",
            "extract that column again; --fix drops it, and later features must lose it too",
            {"column": column, "variance": float(spread[column]), "squares": float(offset[column])},
            lambda case: case.without_columns(huge),
        )


def _rows(found: ColumnProfile, what: str, role: str) -> Iterator[Finding]:
    n, typical = len(found.norms), float(np.median(found.norms))
    zero = found.norms <= 1e-6 * typical if typical else found.norms == 0
    long = found.norms > _LONG * typical
    for rows, check, message in (
        (zero, "zero", "rows are 0 everywhere"),
        (long, "scale", f"rows are more than {_LONG:.0f} times as long as the median of {typical:.3g}"),
    ):
        if rows.any() and rows.mean() < 0.5:

            def drop(case: Case, rows: np.ndarray = rows) -> Case:
                return case.without_rows(role, rows)

            yield Finding(
                "warning",
                check,
                f"{what}: {rows.sum()} of {n} {message} (first: row {int(rows.argmax())})",
                "compute the features of those images again, or remove them",
                {"rows": int(rows.sum()), "first": int(rows.argmax()), "largest": float(found.norms.max())},
                drop,
            )
    unit = np.abs(found.norms - 1) < _UNIT
    rest = float(np.median(found.norms[~unit & ~zero])) if (~unit & ~zero).any() else 1.0
    if unit.sum() > 0.01 * n and (~unit & ~zero).sum() > 0.01 * n and not 0.5 < rest < 2:
        yield Finding(
            "warning",
            "lengths",
            f"{what}: {unit.sum()} of {n} rows have length 1, the others {rest:.3g} (median)",
            "write all rows in one way; --fix gives all of them length 1, as later rows must have",
            {"unit": int(unit.sum()), "others": rest},
            lambda case: of_length_one(case, role),
        )


def of_length_one(case: Case, *roles: str) -> Case:
    """All rows of the features in these roles scaled to length 1."""
    for role in roles:
        matrix = np.asarray(case.of(role).matrix[:])
        kept = matrix.dtype if matrix.dtype.kind == "f" else np.dtype(np.float32)
        case = case.with_matrix(role, unit_rows(matrix.astype(np.float64)).astype(kept))
    return case


def _standardized(found: ColumnProfile, mean: float, std: float, what: str) -> Iterator[Finding]:
    varies = ~found.constant
    if not varies.any():
        return
    center = np.abs(found.mean[varies]).max() < _SAME * std
    unit = bool(np.abs(found.std[varies] - 1).max() < _SAME)
    overall = abs(mean) < 1e-4 and abs(std - 1) < 1e-4
    if not (center or overall) or len(found.norms) < _ENOUGH:
        return
    how = (
        f"every column has mean 0 (at most {np.abs(found.mean[varies]).max():.1g})" + (" and std 1" if unit else "")
        if center
        else f"all values together have mean {mean:.1g} and std {std:.5f}"
    )
    yield Finding(
        "warning",
        "standardized",
        f"{what}: {how}; they were {'standardized' if unit or overall else 'centred'} before",
        "give the features as the network makes them; the numbers taken off cannot be found again, so --fix cannot",
        {"column_mean": float(np.abs(found.mean[varies]).max()), "mean": mean, "std": std},
    )
