"""`import_answers`: answers of other systems by the name of their format; and the formats that are no tables."""

from __future__ import annotations

import inspect
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from glocal.arrays import read_npy, read_npz
from glocal.data.answers import Answers
from glocal.data.importing.table import Imported, import_table, read_table, sifted
from glocal.data.tables import read_numbers
from glocal.errors import DataError, ParameterError
from glocal.files import PathLike, file_sha256, read_lines, reading

_QUERIES = ("query", "queries", "triplets", "quadruplets", "data", "X")
_RESPONSES = ("response", "responses", "target", "y")
_TOLERANCE = 1e-5  # of a diagonal, as matrices written as text have it
RULE = (
    "of one reference and one person, every two known similarities; the choice is the larger, its weight their "
    "difference divided by the range of that person's similarities"
)


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
        The objects in the order of their indices; a file has one a line.
    **options
        Those of the function that reads the format; None leaves its default.

    Returns
    -------
    Imported
        The answers, how many trials were left out for which reason, and how the file was interpreted.

    Raises
    ------
    ParameterError
        An unknown format, or an option that it does not have.
    FileError, DataError
        Missing, damaged, or of another format.
    """
    if format not in FORMATS:
        raise ParameterError(f"format is {format!r}; allowed are {', '.join(FORMATS)}.")
    read = FORMATS[format]
    listed = read_lines(names, what="object ids") if isinstance(names, str | Path) else names
    given = {name: value for name, value in {"names": listed, **options}.items() if value is not None}
    allowed = [*inspect.signature(read).parameters][1:]
    if unread := [name for name in given if name not in allowed]:
        raise ParameterError(f"{unread[0]} does not apply to the format {format}, which has {', '.join(allowed)}.")
    found = read(path, **given)
    how = {name: value for name, value in given.items() if name != "names"}
    origin = {"format": format, "file": Path(path).name, "sha256": file_sha256(path)}
    return replace(found, understood={**origin, **how, **found.understood})


def read_things(
    path: PathLike, *, odd_column: int = 2, base: int = 0, order: PathLike | None = None,
    names: Sequence[str] | None = None,
) -> Imported:  # fmt: skip
    """Lines of three objects as THINGS distributes them, and the person behind them in a table of repeated answers.

    They count objects in the order in which these were collected, which a sort index (`order`) maps to that of `names`.
    """
    answers = replace(Answers.load(path, odd_column=odd_column, base=base, order=order), names=names)
    if names is not None:
        answers.check_range(len(names), what="the list of object ids", unit="lines")
    return Imported(answers, {}, {"object order": "the file's own" if order is None else "through the sort index"})


def read_cblearn(path: PathLike, *, names: Sequence[str] | None = None, base: int = 0) -> Imported:
    """Comparisons of cblearn: rows (i, j, k), i is nearer to j than to k, with or without a response to each.

    A response is 1 or true where that is so, -1 or false where it is not, 0 where it is undecided; other counts are
    that many answers. Quadruplets (i, j, k, l), i is nearer to j than k is to l, are answers if they share an object.
    """
    query, response = _cblearn_arrays(Path(path))
    if query.ndim != 2 or query.shape[1] not in (3, 4) or query.dtype.kind not in "iu":
        raise DataError(
            f"{path} holds {query.dtype} of shape {query.shape}; comparisons are (t, 3) or (t, 4) integers."
        )
    signs = np.ones(len(query)) if response is None else response
    if signs.shape != (len(query),) or signs.dtype.kind not in "biuf" or not np.isfinite(signs).all():
        raise DataError(
            f"{path} has responses of {signs.dtype} and shape {signs.shape}; {len(query)} comparisons need a finite "
            "number, or true or false, each."
        )
    if response is not None and np.isin(signs, (0, 1)).all():
        signs = 2 * signs.astype(float) - 1  # as cblearn reads it: these are false and true
    query, shares = _with_shared_object(query)
    objects = np.where((signs > 0)[:, None], query, query[:, [0, 2, 1]])
    i, j, k = objects.T
    taken, dropped = sifted({
        "pairs that share no object": ~shares, "equal alternatives": (i == j) | (i == k) | (j == k),
        "no answer": signs == 0,
    })  # fmt: skip
    weights = np.abs(signs[taken]).astype(float)
    answers = Answers.from_array(
        objects[taken], base=base, kind="anchor", names=names, weights=None if (weights == 1).all() else weights
    )
    if names is not None:
        answers.check_range(len(names), what="the list of object ids", unit="lines")
    return Imported(answers, dropped, {"responses": "none" if response is None else "yes"})


def _cblearn_arrays(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    if path.suffix.lower() == ".npy":
        return np.array(read_npy(path, what="answers")), None
    with reading(path, "answers", "Write it with numpy.savez.") as file, zipfile.ZipFile(file) as archive:
        held = {name.removesuffix(".npy") for name in archive.namelist()}
    pair = "coords" in held  # a sparse tensor: a response for each place (i, j, k)
    query = "coords" if pair else next((name for name in _QUERIES if name in held), "query")
    response = "data" if pair else next((name for name in _RESPONSES if name in held), "response")
    fix = "It must hold an array named query."
    found = read_npz(path, what="answers", fix=fix, required=(query,), optional=(response,))
    return found[query].T if pair else found[query], found.get(response)


def _with_shared_object(query: Int[np.ndarray, "t m"]) -> tuple[Int[np.ndarray, "t 3"], Bool[np.ndarray, " t"]]:
    """Quadruplets (i, j, k, l) as (shared, i or j, k or l), and which of them share an object."""
    found, shares = query[:, :3].copy(), np.full(len(query), query.shape[1] == 3)
    for p, other, q, another in ((0, 1, 2, 3), (0, 1, 3, 2), (1, 0, 2, 3), (1, 0, 3, 2))[: 4 * (query.shape[1] == 4)]:
        rows = ~shares & (query[:, p] == query[:, q])
        found[rows] = query[np.ix_(rows, [p, other, another])]
        shares |= rows
    return found, shares


def read_alignet(path: PathLike, *, limit: int = 1_000_000, seed: int = 42) -> Imported:
    """AligNet's triplets with the similarities s01, s02 and s12 of their pairs, as soft odd-one-out answers.

    The weights of a triplet's three answers are softmax(s), the target of AligNet's own losses. Of more than `limit`
    answers some are drawn.
    """
    fix = "It must hold similarities, and indices or filenames of the pictures."
    required = ("similarities",)
    found = read_npz(path, what="answers", fix=fix, required=required, optional=("indices", "filenames"))
    similarities, shown = found["similarities"], found.get("indices", found.get("filenames", np.empty(0)))
    if similarities.shape != shown.shape or shown.shape[1:] != (3,) or not len(shown) or similarities.dtype.kind != "f":
        raise DataError(
            f"{path} has similarities of shape {similarities.shape} and pictures of shape {shown.shape}; both must be "
            "(t, 3), three pictures and the similarities of their three pairs, of one triplet or more."
        )
    rows = drawn(len(shown), max(1, limit // 3), seed)
    _, first, member = np.unique(shown[rows], return_index=True, return_inverse=True)
    names = [str(label) for label in found.get("filenames", shown)[rows].reshape(-1)[first]]
    scores = similarities[rows].astype(np.float64)
    finite = np.isfinite(scores).all(axis=1)
    scores = np.exp(scores[finite] - scores[finite].max(axis=1, keepdims=True))
    answers = Answers.from_array(
        member.reshape(-1, 3)[finite], counts=scores / scores.sum(axis=1, keepdims=True), names=names
    )
    dropped = {"triplets beyond the limit": len(shown) - len(rows), "similarities not finite": int((~finite).sum())}
    understood = {"weights": "softmax of s01, s02 and s12"}
    return Imported(answers, {reason: n for reason, n in dropped.items() if n}, understood)


def read_matrix(
    path: PathLike, *, values: Literal["similarity", "dissimilarity"] | None = None,
    names: Sequence[str] | None = None, limit: int = 1_000_000, seed: int = 42,
) -> Imported:  # fmt: skip
    """One matrix (n, n), or one a person (people, n, n): choices by `RULE`, of which some are drawn above `limit`.

    NaN is a pair that is not known, the diagonal is not read. A matrix with zeros on its diagonal and nothing below
    holds dissimilarities, one whose largest values lie on its diagonal similarities; else `values` must say it. Names
    in the first line of a text are those of the objects.
    """
    matrices, listed = _matrices(Path(path))
    n, names = matrices.shape[-1], listed if names is None else names
    if names is not None and len(names) != n:
        raise DataError(f"{path} is about {n} objects, but the list of object ids has {len(names)}.")
    sign = 1 if (values or _values(matrices, path)) == "similarity" else -1
    known = np.isfinite(matrices) & ~np.eye(n, dtype=bool)
    person, i, j = np.nonzero(known)
    found = compared(person, i, j, sign * matrices[known], limit, seed)
    answers = replace(found.answers, names=names, person=found.answers.person if len(matrices) > 1 else None)
    understood = {"values": "similarity" if sign > 0 else "dissimilarity", "pairs": RULE}
    return replace(found, answers=answers, understood=understood)


def compared(
    person: Int[np.ndarray, " k"], i: Int[np.ndarray, " k"], j: Int[np.ndarray, " k"],
    similarity: Float[np.ndarray, " k"], limit: int, seed: int,
) -> Imported:  # fmt: skip
    """Choices from known similarities of object j to object i, in the order of (person, i), by `RULE`.

    Equal similarities give no choice.
    """
    start = np.flatnonzero(np.r_[True, (np.diff(i) != 0) | (np.diff(person) != 0)][: len(i)])
    size = np.diff(np.r_[start, len(i)])
    before = np.r_[0, np.cumsum(size * (size - 1) // 2)]
    chosen = drawn(int(before[-1]), limit, seed)
    group = np.searchsorted(before, chosen, side="right") - 1
    within = chosen - before[group]
    q = ((1 + np.sqrt(1 + 8 * within.astype(np.float64))) // 2).astype(np.int64)  # the pairs (p, q), p < q, in turn
    q += (q * (q + 1) // 2 <= within).astype(np.int64) - (q * (q - 1) // 2 > within)
    p, q = start[group] + within - q * (q - 1) // 2, start[group] + q
    p, q = np.where(similarity[q] > similarity[p], (q, p), (p, q))
    difference = similarity[p] - similarity[q]
    unequal = difference > 0
    if not unequal.any():
        raise DataError("no object has two known similarities that differ; nothing can be compared.")
    span = np.full(int(person.max()) + 1, -np.inf), np.full(int(person.max()) + 1, np.inf)
    np.maximum.at(span[0], person, similarity)
    np.minimum.at(span[1], person, similarity)
    by = person[p][unequal]
    weights = difference[unequal] / (span[0] - span[1])[by]
    answers = Answers(np.stack([i[p], j[p], j[q]], axis=1)[unequal], weights, kind="anchor", person=by)
    counts = {
        "comparisons beyond the limit": int(before[-1]) - len(chosen),
        "equal similarities": int((~unequal).sum()),
    }
    return Imported(answers, {reason: n for reason, n in counts.items() if n})


def _matrices(path: Path) -> tuple[Float[np.ndarray, "people n n"], list[str] | None]:
    """The matrices of a file, and the names of the objects where a table has them in its first line or column."""
    names = None
    if path.suffix.lower() != ".npy" and _names_columns(path):
        table = read_table(path)
        names = [*table][1:] if table.shape[1] == len(table) + 1 else [*table]  # the names again, in the first
        with reading(path, "answers", "All below the names must be numbers."):
            numbers = table[names].to_numpy(dtype=float)
    else:
        numbers = read_numbers(path, what="answers")
    matrices = numbers[None] if numbers.ndim == 2 else numbers
    if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2] or numbers.dtype.kind not in "fiu":
        raise DataError(
            f"{path} holds {numbers.dtype} of shape {numbers.shape}; similarities are real numbers of shape (n, n), or "
            "(people, n, n)."
        )
    matrices = np.where(np.isfinite(matrices), matrices, np.nan).astype(np.float64)
    if matrices.shape[1] < 3 or np.isnan(matrices).all():
        raise DataError(f"{path} has known similarities of fewer than 3 objects; nothing can be compared.")
    return matrices, names


def _names_columns(path: Path) -> bool:
    """Whether the first line of a text holds names, and not numbers."""
    with reading(path, "answers") as file, file.open(encoding="utf-8-sig", errors="replace") as stream:
        try:
            float(re.split(r"[,;\s]", stream.readline(1 << 20).strip(" "))[0])
        except ValueError:  # also of an empty corner
            return True
        return False


def _values(matrices: Float[np.ndarray, "people n n"], path: PathLike) -> str:
    """Whether the numbers are similarities or dissimilarities."""
    diagonal = np.diagonal(matrices, axis1=1, axis2=2)
    if (np.abs(diagonal) <= _TOLERANCE * np.nanmax(np.abs(matrices))).all() and np.nanmin(matrices) >= 0:
        return "dissimilarity"
    if (diagonal >= np.where(np.isnan(matrices), -np.inf, matrices).max(axis=2)).all():
        return "similarity"
    raise DataError(
        f"{path} does not show whether it holds similarities or dissimilarities: its diagonal is neither 0 nor the "
        "largest of each row. State values='similarity' or values='dissimilarity'."
    )


def drawn(total: int, limit: int, seed: int) -> Int[np.ndarray, " k"]:
    """The numbers 0 … total - 1, or, if there are more than `limit`, that many drawn without replacement, in order."""
    if limit < 1:
        raise ParameterError(f"limit is {limit}; it must be at least 1.")
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
