"""`import_answers`: answers of other systems by the name of their format; and the formats that are no tables."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from glocal.data.answers import Answers
from glocal.data.importing.table import Imported, import_table, keep_valid
from glocal.data.tables import names_columns, read_numbers, read_table
from glocal.errors import DataError, ParameterError
from glocal.files import PathLike, file_sha256, read_lines, read_npz, reading


def import_answers(
    path: PathLike, format: str = "table", *, names: PathLike | Sequence[str] | None = None, **options: Any
) -> Imported:
    """Read answers from a file of another system.

    Parameters
    ----------
    path : path
    format : str
        One of `FORMATS`.
    names : path or sequence of str, or None
        The objects in the order of their indices; a file has one per line.
    **options
        Those of the function that reads the format; None leaves its default.

    Raises
    ------
    ParameterError
        An unknown format, or an option that it does not have.
    FileError, DataError
        Missing, damaged, or of another format.
    """
    if format not in FORMATS:
        raise ParameterError(f"`format` is {format!r}; allowed are {', '.join(FORMATS)}.")
    read = FORMATS[format]
    listed = read_lines(names, what="object ids") if isinstance(names, str | Path) else names
    given = {name: value for name, value in {"names": listed, **options}.items() if value is not None}
    allowed = [*inspect.signature(read).parameters][1:]
    if unread := [name for name in given if name not in allowed]:
        raise ParameterError(f"`{unread[0]}` does not apply to the format {format}, which has {', '.join(allowed)}.")
    found = read(path, **given)
    answers = found.answers
    if answers.names is not None:
        answers.check_range(len(answers.names), what="the list of object ids", unit="lines")
    how = {
        name: Path(value).name if isinstance(value, Path) else value for name, value in given.items() if name != "names"
    }
    origin = {"format": format, "file": Path(path).name, "sha256": file_sha256(path)}
    return replace(found, interpretation={**origin, **how, **found.interpretation})


def read_things(
    path: PathLike, *, odd_column: int = 2, base: int = 0, order: PathLike | None = None,
    names: Sequence[str] | None = None,
) -> Imported:  # fmt: skip
    """Lines of three objects as THINGS distributes them, and the person behind them in a table of repeated answers.

    They count objects in the order in which these were collected, which a sort index (`order`) maps to that of `names`.
    """
    return Imported(replace(Answers.load(path, odd_column=odd_column, base=base, order=order), names=names))


def read_cblearn(path: PathLike, *, names: Sequence[str] | None = None, base: int = 0) -> Imported:
    """Comparisons of cblearn: ``query`` of rows (i, j, k), i is nearer to j than to k, and perhaps ``response``.

    A response is 1 or true where that is so, -1 or false where it is not, 0 where it is undecided; other counts are
    that many answers.
    """
    fix = "It must hold an array named query."
    found = read_npz(path, what="answers", fix=fix, required=("query",), optional=("response",))
    query, signs = found["query"], found.get("response", np.ones(found["query"].shape[:1]))
    if query.ndim != 2 or query.shape != (*signs.shape, 3) or signs.dtype.kind not in "biuf":
        raise DataError(
            f"{path} has queries of shape {query.shape} and responses of shape {signs.shape} and type {signs.dtype}; "
            "comparisons are (t, 3) integers, with a number, or true or false, each."
        )
    if np.isin(signs, (0, 1)).all():
        signs = 2 * signs.astype(float) - 1  # as cblearn reads it: these are false and true
    i, j, k = query.T
    reasons = {"equal alternatives": (i == j) | (i == k) | (j == k), "no answer": ~(np.abs(signs) > 0)}
    taken, dropped = keep_valid(reasons)
    objects, weights = np.where((signs > 0)[:, None], query, query[:, [0, 2, 1]]), np.abs(signs[taken]).astype(float)
    answers = Answers.from_array(
        objects[taken], base=base, kind="anchor", names=names, weights=None if (weights == 1).all() else weights
    )
    return Imported(answers, dropped)


def read_alignet(path: PathLike, *, limit: int = 1_000_000, seed: int = 42) -> Imported:
    """AligNet's triplets with the similarities s01, s02 and s12 of their pairs, as soft odd-one-out answers.

    The weights of a triplet's three answers are softmax(s), the target of AligNet's own losses. Of more than `limit`
    answers some are drawn.
    """
    fix = "It must hold similarities, and indices or filenames of the pictures."
    required = ("similarities",)
    found = read_npz(path, what="answers", fix=fix, required=required, optional=("indices", "filenames"))
    similarities, shown = found["similarities"], found.get("filenames", found.get("indices", np.empty(0)))
    if similarities.shape != shown.shape or shown.shape[1:] != (3,) or not len(shown) or similarities.dtype.kind != "f":
        raise DataError(
            f"{path} has similarities of shape {similarities.shape} and pictures of shape {shown.shape}; both must be "
            "(t, 3), three pictures and the similarities of their three pairs, of one triplet or more."
        )
    rows = sample_indices(len(shown), max(1, limit // 3), seed)
    names, member = np.unique(shown[rows].astype(np.str_), return_inverse=True)
    scores = similarities[rows].astype(np.float64)
    finite = np.isfinite(scores).all(axis=1)
    scores = np.exp(scores[finite] - scores[finite].max(axis=1, keepdims=True))
    answers = Answers.from_array(
        member.reshape(-1, 3)[finite], counts=scores / scores.sum(axis=1, keepdims=True), names=names
    )
    dropped = {"triplets beyond the limit": len(shown) - len(rows), "similarities not finite": int((~finite).sum())}
    return Imported(answers, {reason: n for reason, n in dropped.items() if n})


def read_matrix(
    path: PathLike, *, values: Literal["similarity", "dissimilarity"] | None = None,
    names: Sequence[str] | None = None, limit: int = 1_000_000, seed: int = 42,
) -> Imported:  # fmt: skip
    """One matrix (n, n), or one a person (people, n, n): of each reference and person, every two known similarities.

    The choice is the larger one, its weight their difference divided by the range of that person's similarities; equal
    ones give no choice. Above `limit` some are drawn. `values` says what a matrix holds. NaN is a pair that is not
    known, and the diagonal is not read. Names in the first line of a text are those of the objects.
    """
    if values not in ("similarity", "dissimilarity"):
        raise ParameterError(f"`values` is {values!r}; say what a matrix holds: similarity or dissimilarity.")
    matrices, listed = _matrices(Path(path))
    n, names = matrices.shape[-1], listed if names is None else names
    if names is not None and len(names) != n:
        raise DataError(f"{path} is about {n} objects, but the list of object ids has {len(names)}.")
    matrices[:, range(n), range(n)] = np.nan
    S = (matrices if values == "similarity" else -matrices).reshape(-1, n)  # a row for each person and reference
    known = np.isfinite(S)
    size = known.sum(axis=1)
    ends = np.cumsum(size * (size - 1) // 2)
    # NOTE 1,854 objects have three billion comparisons: their numbers are drawn, and only those that are drawn are made
    number = sample_indices(int(ends[-1]), limit, seed)
    row = np.searchsorted(ends, number, side="right")
    number = number - np.r_[0, ends][row]  # of the pairs (0, 1), (0, 2), (1, 2), (0, 3), … of a row's known objects
    second = ((1 + np.sqrt(1 + 8 * number)) // 2).astype(np.int64)
    first = number - second * (second - 1) // 2
    objects = np.argsort(~known, axis=1, kind="stable")  # the known ones of each row before the others
    j, k = objects[row, first], objects[row, second]
    difference = S[row, j] - S[row, k]
    j, k = np.where(difference > 0, (j, k), (k, j))
    unequal = difference != 0
    if not unequal.any():
        raise DataError(f"{path}: no object has two known similarities that differ; nothing can be compared.")
    person, reference = np.divmod(row, n)
    span = np.nanmax(matrices, axis=(1, 2), initial=-np.inf) - np.nanmin(matrices, axis=(1, 2), initial=np.inf)
    answers = Answers(
        np.stack([reference, j, k], axis=1)[unequal], (np.abs(difference) / span[person])[unequal], kind="anchor",
        names=names, person=person[unequal] if len(matrices) > 1 else None,
    )  # fmt: skip
    dropped = {"comparisons beyond the limit": int(ends[-1]) - len(row), "equal similarities": int((~unequal).sum())}
    return Imported(answers, {reason: n for reason, n in dropped.items() if n})


def _matrices(path: Path) -> tuple[Float[np.ndarray, "people n n"], list[str] | None]:
    """The matrices of a file, and the names of the objects where a table has them in its first line."""
    names = None
    if path.suffix.lower() == ".npy" or not names_columns(path):
        numbers = read_numbers(path, what="answers")
    else:
        table = read_table(path, what="answers")
        names = [*table][1:] if table.shape[1] == len(table) + 1 else [*table]  # the names again, in the first
        with reading(path, "answers", "All below the names must be numbers."):
            numbers = table[names].replace("", "nan").to_numpy(dtype=float)
    matrices = numbers[None] if numbers.ndim == 2 else numbers
    _, n, m = matrices.shape if matrices.ndim == 3 else (0, 0, 0)
    if not 3 <= n == m or numbers.dtype.kind not in "fiu":
        raise DataError(
            f"{path} holds {numbers.dtype} of shape {numbers.shape}; similarities are real numbers of shape (n, n), or "
            "(people, n, n), of 3 objects or more."
        )
    return np.where(np.isfinite(matrices), matrices, np.nan).astype(np.float64), names


def sample_indices(total: int, limit: int, seed: int) -> Int[np.ndarray, " k"]:
    """The numbers 0 … total - 1, or, if there are more than `limit`, that many drawn without replacement, in order."""
    if limit < 1:
        raise ParameterError(f"`limit` is {limit}; it must be at least 1.")
    if total <= limit:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).choice(total, limit, replace=False, shuffle=False))


FORMATS: dict[str, Callable[..., Imported]] = {
    "table": import_table,
    "things": read_things,
    "cblearn": read_cblearn,
    "alignet": read_alignet,
    "matrix": read_matrix,
}
"""Who reads which format: a table with named columns (CSV, salmon, NIGHTS, JSON of jsPsych), answers of THINGS,
comparisons of cblearn, soft triplets of AligNet, and matrices of similarities."""
