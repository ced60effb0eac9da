"""The doctor of features: values, columns, rows, repeats and names of one matrix, and local features beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from glocal.data.check.finding import Finding, error, note, warn, warning
from glocal.data.features import Features, Standardization, object_name
from glocal.errors import DataError

_HALF = float(np.finfo(np.float16).max)
_FEW = 0.05  # of the columns: infinity in so few of them is theirs, else that of rows
_ALONE = 0.5  # of the variance in one column; of CLIP's outlier .02, of 11 ratings .21
_OFFSET = 0.8  # of the squares in one column about the mean; of CLIP's outlier .42
_LONG = 10.0  # times the median length; of networks on photographs at most 3
_UNIT = 2e-3  # off length 1, as half precision stores it
_ENOUGH = 8
_SAME = 1e-3  # off mean 0 and std 1, as half precision stores them
_MANY_IMAGES = 2048
_SHIFT, _SPREAD = 0.25, 2.0  # of one network on objects, ImageNet and CIFAR-10: at most .03 and 1.08
_UNRELATED = 4.0  # standard errors of the correlation of p unrelated columns
_COLUMNS = 64
_ANOTHER_KIND = 0.5  # cosine of the mean rows; of a network's images at least .64, of CLIP's texts and images .28


@dataclass(frozen=True, eq=False)
class _Profile:
    """Rows and columns of features; statistics are over the rows without NaN or infinity."""

    finite: Bool[np.ndarray, " n"]
    norms: Float[np.ndarray, " n"]
    bad: Int[np.ndarray, " p"]
    infinite: int
    saturated: Int[np.ndarray, " p"]
    mean: Float[np.ndarray, " p"]
    std: Float[np.ndarray, " p"]
    low: Float[np.ndarray, " p"]
    high: Float[np.ndarray, " p"]


def check_features(features: Features, what: str = "features") -> list[Finding]:
    """Values, columns, rows, repeats and names of one feature matrix, which messages call `what`."""
    return list(_in_features(features, what))


def _in_features(features: Features, what: str) -> Iterator[Finding]:
    found = _profile(features)
    if not found.finite.all():
        yield _not_finite(found, features, what)
        return
    try:
        scalars = features.standardization
    except DataError as refused:
        yield error(
            "constant", f"{what}: {refused}".rstrip("."), "nothing distinguishes the rows",
            "write the features again",
        )  # fmt: skip
        return
    yield from _columns(found, what)
    yield from _rows(found, what)
    yield from _standardized(found, scalars, what)
    yield from _duplicates(features, what)
    names = [object_name(name) for name in features.names or ()]
    if len(set(names)) < len(names):
        yield warning(
            "names",
            f"{what}: {len(names) - len(set(names))} names are not unique (folder and extension ignored)",
            "answers about one object are learned from the image of another",
            "rename them if objects are to be joined by name",
            {"repeated": len(names) - len(set(names))},
        )


def _profile(features: Features) -> _Profile:
    """Read the features once for their rows and columns, and once more for the spread of the columns."""
    n, p = len(features), features.dimensions
    finite, norms = np.ones(n, dtype=bool), np.zeros(n)
    bad, saturated, infinite = np.zeros(p, dtype=np.int64), np.zeros(p, dtype=np.int64), 0
    total, low, high = np.zeros(p), np.full(p, np.inf), np.full(p, -np.inf)
    with np.errstate(over="ignore", invalid="ignore"):  # what cannot be squared in float64 is a finding of its own
        for start, rows in features.chunks():
            chunk, run = rows.astype(np.float64), slice(start, start + len(rows))
            good = np.isfinite(chunk)
            bad += (~good).sum(axis=0)
            infinite += int(np.isinf(chunk).sum())
            if features.matrix.dtype.kind == "f":
                saturated += (np.abs(chunk) == _HALF).sum(axis=0)
            finite[run] = good.all(axis=1)
            norms[run] = np.linalg.norm(np.where(good, chunk, 0), axis=1)
            kept = chunk[finite[run]]
            total += kept.sum(axis=0)
            low = np.minimum(low, kept.min(axis=0, initial=np.inf))
            high = np.maximum(high, kept.max(axis=0, initial=-np.inf))
        k = max(1, int(finite.sum()))
        mean, squares = total / k, np.zeros(p)
        for start, rows in features.chunks():
            squares += np.square(rows[finite[start : start + len(rows)]].astype(np.float64) - mean).sum(axis=0)
    return _Profile(finite, norms, bad, infinite, saturated, mean, np.sqrt(squares / k), low, high)


def _not_finite(found: _Profile, features: Features, what: str) -> Finding:
    (n, p), rows, columns = features.matrix.shape, np.flatnonzero(~found.finite), np.flatnonzero(found.bad)
    message = f"{what}: {len(rows)} of {n} rows hold NaN or infinity (first: row {rows[0]})"
    evidence = {"rows": len(rows), "columns": len(columns), "first_row": int(rows[0])}
    consequence = "such a row has no similarity to any other, and a fit refuses the file"
    if len(columns) > max(1, _FEW * p) or len(rows) <= len(columns):
        return error("finite", message, consequence, "recompute or remove those images", evidence)
    half = features.matrix.dtype == np.float16 and found.infinite == found.bad.sum()
    return error(
        "overflow" if half else "finite",
        f"{message}, all in {len(columns)} of {p} columns (first: column {columns[0]})"
        + (f": half precision ends at {_HALF:.0f}" if half else ""),
        consequence,
        "extract them again in float32, or drop these columns here and in all later features",
        evidence | {"first_column": int(columns[0])},
    )


def _columns(found: _Profile, what: str) -> Iterator[Finding]:
    p, constant, clipped = len(found.mean), found.low == found.high, found.saturated > 0
    if constant.any():
        dead = int((constant & (found.high == 0)).sum())
        yield warning(
            "constant",
            f"{what}: {constant.sum()} of {p} columns are constant"
            + (f", {dead} of them 0 everywhere" if dead else ""),
            "they distinguish nothing, and they distort the two numbers that standardize all columns",
            "drop them, here and in all later features, or leave them",
            {"columns": int(constant.sum()), "dead": dead, "first": int(constant.argmax())},
        )
    if clipped.any():
        yield warning(
            "overflow",
            f"{what}: {int(found.saturated.sum())} values in {clipped.sum()} of {p} columns are {_HALF:.0f}, where "
            f"half precision ends (first: column {int(clipped.argmax())})",
            "these values are clipped at the largest half-precision number",
            "extract them again in float32",
            {"values": int(found.saturated.sum()), "columns": int(clipped.sum())},
        )
    elif p >= _ENOUGH:
        about = np.square(found.mean - found.mean.mean()) + np.square(found.std)
        spread, offset = np.square(found.std) / np.square(found.std).sum(), about / about.sum()
        huge = (spread > _ALONE) | (offset > _OFFSET)
        if huge.any():
            column = int(np.argmax(np.where(huge, about, 0)))
            yield warning(
                "huge",
                f"{what}: column {column} alone has {spread[column]:.0%} of the variance and {offset[column]:.0%} of "
                f"the squares (mean {found.mean[column]:.3g}, std {found.std[column]:.3g}; median std of all "
                f"{np.median(found.std):.3g})",
                "this column alone determines the similarities and the standardization",
                "extract that column again, or drop it here and in all later features",
                {"column": column, "variance": float(spread[column]), "squares": float(offset[column])},
            )


def _rows(found: _Profile, what: str) -> Iterator[Finding]:
    n, typical = len(found.norms), float(np.median(found.norms))
    zero = found.norms <= 1e-6 * typical if typical else found.norms == 0
    long = found.norms > _LONG * typical
    for rows, check, message, consequence in (
        (zero, "zero", "rows are 0 everywhere", "their similarities are those of the offset that all rows share"),
        (long, "scale", f"rows are more than {_LONG:.0f} times as long as the median of {typical:.3g}",
         "these rows decide both scalars, so that all other rows look alike"),
    ):  # fmt: skip
        if rows.any() and rows.mean() < 0.5:
            yield warning(
                check,
                f"{what}: {rows.sum()} of {n} {message} (first: row {int(rows.argmax())})",
                consequence,
                "compute the features of those images again, or remove them",
                {"rows": int(rows.sum()), "first": int(rows.argmax()), "largest": float(found.norms.max())},
            )
    unit = np.abs(found.norms - 1) < _UNIT
    others = ~unit & ~zero
    rest = float(np.median(found.norms[others])) if others.any() else 1.0
    if min(unit.sum(), others.sum()) > 0.01 * n and not 0.5 < rest < 2:
        yield warning(
            "lengths",
            f"{what}: {unit.sum()} of {n} rows have length 1, the others {rest:.3g} (median)",
            "the standardization fits neither part, and similarities separate the two parts instead of the images",
            "prepare all rows in the same way",
            {"unit": int(unit.sum()), "others": rest},
        )


def _standardized(found: _Profile, scalars: Standardization, what: str) -> Iterator[Finding]:
    varies = found.low != found.high
    if not varies.any() or len(found.norms) < _ENOUGH:
        return
    center = float(np.abs(found.mean[varies]).max())
    centred, unit = center < _SAME * scalars.std, bool(np.abs(found.std[varies] - 1).max() < _SAME)
    overall = abs(scalars.mean) < 1e-4 and abs(scalars.std - 1) < 1e-4
    if centred or overall:
        how = f"every column has mean 0 (at most {center:.1g})" + (" and std 1" if unit else "")
        whole = f"all values together have mean {scalars.mean:.1g} and std {scalars.std:.5f}"
        yield warning(
            "standardized",
            f"{what}: {how if centred else whole}; they were {'standardized' if unit or overall else 'centred'} before",
            "a transform learned here applies only to features standardized by the same numbers, which are lost",
            "use the features as the network gives them; the lost numbers cannot be recovered",
            {"column_mean": center, "mean": scalars.mean, "std": scalars.std},
        )


def _duplicates(features: Features, what: str) -> Iterator[Finding]:
    """Rows that equal another one to the byte."""
    hashes = [hash(row.tobytes()) for _, rows in features.chunks() for row in np.ascontiguousarray(rows)]
    _, first, group, counts = np.unique(hashes, return_index=True, return_inverse=True, return_counts=True)
    original = first[group.reshape(-1)]
    copy = original != np.arange(len(features))
    if copy.any():
        row = int(copy.argmax())
        yield warning(
            "duplicates",
            f"{what}: {copy.sum()} rows repeat another row exactly (first: row {row}, which is row {original[row]} "
            f"again; at most {counts.max()} alike)",
            "duplicates are counted more than once, and copies become each other's nearest neighbours",
            "check for images extracted twice, or a failed extraction that repeats its last batch",
            {"rows": int(copy.sum()), "first": row},
        )


def check_local(features: Features, local: Features, images: Int[np.ndarray, " k"] | None = None) -> list[Finding]:
    """Whether local features, standardized by the two scalars of the object features, look like those.

    Features of one network differ little in their overall mean and spread from one set of images to another, and a
    column that is large or varies much on one set does on others. Those that were normalized, standardized, scaled,
    transformed or reordered on one side only do not. `images` are the rows to look at, by default some from everywhere.
    """
    if local.dimensions != features.dimensions:
        return [
            error(
                "shape",
                f"local features have {local.dimensions} columns, features {features.dimensions}",
                "one matrix cannot transform both",
                "extract both with the same model and layer",
                {"local": local.dimensions, "features": features.dimensions},
            )
        ]
    found = []
    mean, std, apart = unlike(features.standardization, local, images)
    if apart:
        ours, theirs = (float(np.median(np.linalg.norm(_some(each), axis=1))) for each in (features, local))
        unit = any(abs(length - 1) < _UNIT for length in (ours, theirs))
        found.append(
            warning(
                "local scale",
                f"local features: standardized like the objects they have mean {mean:.3g} and std "
                f"{std:.3g}, not about 0 and 1"
                + (f"; their rows have length {theirs:.3g}, those of the objects {ours:.3g}" if unit else ""),
                "the local term keeps neighbours under a wrong standardization",
                "prepare both in the same way, as the network gives them or with rows of length 1, and later files too",
                {"mean": mean, "std": std, "length": theirs, "object_length": ours},
            )
        )
    X, Y = _some(features), _some(local, images)
    means, stds = _correlation(X.mean(axis=0), Y.mean(axis=0)), _correlation(X.std(axis=0), Y.std(axis=0))
    limit = _UNRELATED / float(np.sqrt(features.dimensions))
    if features.dimensions >= _COLUMNS and max(means, stds) < limit:
        found.append(
            warning(
                "local columns",
                f"local features: the means of their columns correlate {means:.2f} with those of the objects, the stds "
                f"{stds:.2f}; unrelated columns have less than {limit:.2f}",
                "the local term keeps neighbours of a different space",
                "take both from the same network and layer, with columns in the same order and neither transformed",
                {"means": means, "stds": stds, "limit": limit},
            )
        )
    elif (cosine := _cosine(X.mean(axis=0), Y.mean(axis=0))) < _ANOTHER_KIND:
        found.append(
            note(
                "local kind",
                f"local features: their mean row has a cosine of {cosine:.2f} with that of the objects",
                "the local term keeps the neighbours of other things, such as texts instead of images",
                "nothing, if that is intended; otherwise use images, from the same network and layer",
                {"cosine": cosine},
            )
        )
    return found


def unlike(
    scalars: Standardization, features: Features, rows: Int[np.ndarray, " k"] | None = None
) -> tuple[float, float, bool]:
    """The mean and std of features by the two scalars of others, and whether they are far from 0 and 1."""
    found = scalars(_some(features, rows), "float64")
    if not len(found):
        return 0.0, 1.0, False
    mean, std = float(found.mean()), float(found.std())
    return mean, std, abs(mean) > _SHIFT or not 1 / _SPREAD <= std <= _SPREAD


def warn_of_local(features: Features, local: Features, images: Int[np.ndarray, " k"]) -> None:
    """Warn if the local features of these images were not made as the object features were."""
    warn(check_local(features, local, images))


def _some(features: Features, rows: Int[np.ndarray, " k"] | None = None) -> Float[np.ndarray, "m p"]:
    """The finite ones of these rows, or of some from everywhere: who reads the others names them."""
    if rows is None:
        rows = np.unique(np.linspace(0, len(features) - 1, min(len(features), _MANY_IMAGES)).astype(np.int64))
    found = np.asarray(features.matrix[np.sort(rows)], dtype=np.float64)
    return found[np.isfinite(found).all(axis=1)]


def _correlation(a: Float[np.ndarray, " p"], b: Float[np.ndarray, " p"]) -> float:
    return _cosine(a - a.mean(), b - b.mean())


def _cosine(a: Float[np.ndarray, " p"], b: Float[np.ndarray, " p"]) -> float:
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / scale if scale > 0 else 1.0  # columns that are all alike tell nothing
