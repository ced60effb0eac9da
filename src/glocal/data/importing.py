"""Read the answer files of other systems into `Answers`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from glocal.data.answers import Answers
from glocal.data.tables import has_titles, read_numbers, read_table
from glocal.data.trials import Trials, keep_valid, read_trials
from glocal.errors import DataError, ParameterError
from glocal.files import (
    PathLike,
    ending,
    file_sha256,
    naming,
    read_lines,
    reading,
)


class Imported(NamedTuple):
    """Answers, the number of trials left out for each reason, and how the file was read."""

    answers: Answers
    dropped: dict[str, int]
    interpretation: dict[str, Any]


def import_answers(
    path: PathLike, *, names: PathLike | Sequence[str] | None = None, **options: Any
) -> Imported:
    """Read answers from a file of another system.

    The file is a table (see `read_trials`), or with the option `values` a matrix (`read_matrix`),
    or else one that `Answers.load` reads. THINGS numbers objects in the order of their collection,
    which its sort index (`order`) maps to the order of `names`.

    Parameters
    ----------
    path : path
    names : path or sequence of str, or None
        The objects in the order of their indices; a file has one per line.
    **options
        The options of the function that reads the file; None means the default.

    Raises
    ------
    ParameterError
        If the function that reads the file does not have an option.
    FileError, DataError
        If the file is missing, damaged or of another form.
    """
    options = {name: value for name, value in options.items() if value is not None}
    stated = {
        name: value.name if isinstance(value, Path) else value for name, value in options.items()
    }
    if isinstance(names, str | Path):
        names = read_lines(names, what="object ids")
    if names is not None:
        options["names"] = names
    read: Callable[..., Trials | Answers] = read_trials
    if "values" in options:
        read = read_matrix
    elif ending(path) == ".npz":
        raise DataError(f"{path} needs no import: every command reads an .npz file of answers.")
    elif ending(path) == ".npy" or not has_titles(path):
        read = Answers.load
    allowed = [*inspect.signature(read).parameters][1:]
    if unknown := [name for name in options if name not in allowed]:
        raise ParameterError(
            f"`{unknown[0]}` does not apply to {path}; the options of such a file are "
            f"{', '.join(allowed)}."
        )
    answers = read(path, **options)
    dropped: dict[str, int] = {}
    origin = {"file": Path(path).name, "sha256": file_sha256(path), **stated}
    if isinstance(answers, Trials):
        arguments, dropped, interpretation = answers
        answers = Answers.from_array(**arguments)
        origin |= interpretation
    if answers.names is not None:
        answers.check_range(len(answers.names), what="the list of object ids", unit="lines")
    return Imported(answers, dropped, origin)


def read_matrix(
    path: PathLike,
    *,
    values: str,
    names: Sequence[str] | None = None,
    limit: int = 1_000_000,
    seed: int = 42,
) -> Trials:
    """Read one matrix (n, n), or one per person (people, n, n), as comparisons.

    For each reference and person, every two known similarities are compared. The choice is the
    larger one, weighted by their difference divided by the range of that person's similarities.
    Equal similarities give no choice. Of more than `limit` comparisons, a random sample is read.
    `values` states whether a matrix holds similarities or dissimilarities. NaN marks an unknown
    pair, and the diagonal is not read. Names in the first line of a text file are those of the
    objects.
    """
    if values not in ("similarity", "dissimilarity"):
        raise ParameterError(f"`values` is {values!r}; it must be similarity or dissimilarity.")
    if limit < 1:
        raise ParameterError(f"`limit` is {limit}; it must be at least 1.")
    matrices, names_in_file = _matrices(Path(path))
    names = names_in_file if names is None else names
    n = matrices.shape[-1]
    if names is not None and len(names) != n:
        raise DataError(f"{path} has {n} objects, but the list of object ids has {len(names)}.")
    matrices[:, range(n), range(n)] = np.nan
    similarities = matrices if values == "similarity" else -matrices
    with naming(path):
        return _compare(similarities, names, limit, seed)


def _compare(
    similarities: Float[np.ndarray, "people n n"],
    names: Sequence[str] | None,
    limit: int,
    seed: int,
) -> Trials:
    """Turn every two known similarities of a person and a reference into an answer."""
    n = similarities.shape[-1]
    S = similarities.reshape(-1, n)  # a row for each person and reference
    others, more_others = np.triu_indices(n - 1, 1)
    n_comparisons = len(S) * len(others)  # 1,854 objects have three billion
    n_drawn = min(n_comparisons, limit)
    rng = np.random.default_rng(seed)
    number = np.sort(rng.choice(n_comparisons, n_drawn, replace=False, shuffle=False))
    row, pair = np.divmod(number, len(others))
    person, reference = np.divmod(row, n)
    first = others[pair] + (others[pair] >= reference)  # the reference is none of the others
    second = more_others[pair] + (more_others[pair] >= reference)
    difference = S[row, first] - S[row, second]
    nearer = np.where(difference > 0, first, second)
    farther = np.where(difference > 0, second, first)
    excluded = {"unknown similarities": np.isnan(difference), "equal similarities": difference == 0}
    kept, dropped = keep_valid(excluded)
    if n_comparisons > limit:
        dropped["comparisons beyond the limit"] = n_comparisons - limit
    span = np.nanmax(similarities, axis=(1, 2), initial=-np.inf)
    span -= np.nanmin(similarities, axis=(1, 2), initial=np.inf)
    arguments = {
        "array": np.stack([reference, nearer, farther], axis=1)[kept],
        "weights": (np.abs(difference) / span[person])[kept],
        "kind": "anchor",
        "names": names,
        "person": person[kept] if len(similarities) > 1 else None,
    }
    return Trials(arguments, dropped, {})


def _matrices(path: Path) -> tuple[Float[np.ndarray, "people n n"], list[str] | None]:
    """Read the matrices of a file, and the names of the objects if a table has titles."""
    names = None
    if ending(path) == ".npy" or not has_titles(path):
        numbers = read_numbers(path, what="answers")
    else:
        table = read_table(path, what="answers")
        names = [*table]
        if len(names) == len(table) + 1:
            names = names[1:]  # the first column repeats the names
        with reading(path, "answers", "All cells below the names must be numbers."):
            numbers = table[names].replace("", "nan").to_numpy(dtype=float)
    matrices = numbers[None] if numbers.ndim == 2 else numbers
    are_square = matrices.ndim == 3 and matrices.shape[1] == matrices.shape[2] >= 3
    if not are_square or numbers.dtype.kind not in "fiu":
        raise DataError(
            f"{path} holds {numbers.dtype} of shape {numbers.shape}; similarities are real numbers "
            "of shape (n, n), or (people, n, n), of 3 objects or more."
        )
    return np.where(np.isfinite(matrices), matrices, np.nan).astype(np.float64), names
