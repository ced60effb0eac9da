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
from glocal.data.importing.table import Imported, import_table, sifted
from glocal.data.tables import names_columns, read_numbers, read_table
from glocal.errors import DataError, ParameterError
from glocal.files import PathLike, file_sha256, read_lines, read_npy, read_npz, reading

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
        The objects in the order of their indices; a file has one per line.
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
    how = {
        name: Path(value).name if isinstance(value, Path) else value for name, value in given.items() if name != "names"
    }
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
    how = "the file's own" if order is None else "through the sort index"
    return Imported(_in_range(answers), {}, {"object order": how})


def _in_range(answers: Answers) -> Answers:
    """The answers, whose objects are all in the list of their names."""
    if answers.names is not None:
        answers.check_range(len(answers.names), what="the list of object ids", unit="lines")
    return answers


def read_cblearn(path: PathLike, *, names: Sequence[str] | None = None, base: int = 0) -> Imported:
    """Comparisons of cblearn: ``query`` of rows (i, j, k), i is nearer to j than to k, and perhaps ``response``.

    A response is 1 or true where that is so, -1 or false where it is not, 0 where it is undecided; other counts are
    that many answers.
    """
    if Path(path).suffix.lower() == ".npy":
        found = {"query": np.array(read_npy(path, what="answers"))}
    else:
        fix = "It must hold an array named query."
        found = read_npz(path, what="answers", fix=fix, required=("query",), optional=("response",))
    query, signs = found["query"], found.get("response", np.ones(len(found["query"]) if found["query"].ndim else 0))
    if query.ndim != 2 or query.shape[1] != 3 or query.dtype.kind not in "iu":
        raise DataError(f"{path} holds {query.dtype} of shape {query.shape}; comparisons are (t, 3) integers.")
    if signs.shape != (len(query),) or signs.dtype.kind not in "biuf" or not np.isfinite(signs).all():
        raise DataError(
            f"{path} has responses of {signs.dtype} and shape {signs.shape}; {len(query)} comparisons need a finite "
            "number, or true or false, each."
        )
    if "response" in found and np.isin(signs, (0, 1)).all():
        signs = 2 * signs.astype(float) - 1  # as cblearn reads it: these are false and true
    i, j, k = query.T
    reasons = {"equal alternatives": (i == j) | (i == k) | (j == k), "no answer": signs == 0}
    taken, dropped = sifted(reasons)
    objects, weights = np.where((signs > 0)[:, None], query, query[:, [0, 2, 1]]), np.abs(signs[taken]).astype(float)
    answers = Answers.from_array(
        objects[taken], base=base, kind="anchor", names=names, weights=None if (weights == 1).all() else weights
    )
    return Imported(_in_range(answers), dropped, {"responses": "yes" if "response" in found else "none"})


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

    `values` says what it holds. NaN is a pair that is not known, the diagonal is not read. Names in the first line of a
    text are those of the objects.
    """
    if values not in ("similarity", "dissimilarity"):
        raise ParameterError(f"values is {values!r}; say what a matrix holds: similarity or dissimilarity.")
    matrices, listed = _matrices(Path(path))
    n, names = matrices.shape[-1], listed if names is None else names
    if names is not None and len(names) != n:
        raise DataError(f"{path} is about {n} objects, but the list of object ids has {len(names)}.")
    sign = 1 if values == "similarity" else -1
    known = np.isfinite(matrices) & ~np.eye(n, dtype=bool)
    person, i, j = np.nonzero(known)
    found = compared(person, i, j, sign * matrices[known], limit, seed)
    answers = replace(found.answers, names=names, person=found.answers.person if len(matrices) > 1 else None)
    return replace(found, answers=answers, understood={"pairs": RULE})


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
    if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2] or numbers.dtype.kind not in "fiu":
        raise DataError(
            f"{path} holds {numbers.dtype} of shape {numbers.shape}; similarities are real numbers of shape (n, n), or "
            "(people, n, n)."
        )
    matrices = np.where(np.isfinite(matrices), matrices, np.nan).astype(np.float64)
    if matrices.shape[1] < 3 or np.isnan(matrices).all():
        raise DataError(f"{path} has known similarities of fewer than 3 objects; nothing can be compared.")
    return matrices, names


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
