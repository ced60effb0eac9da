"""Read the answer files of other systems, or of other conventions, into `Answers`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from glocal.data.answers import Answers, read_archive
from glocal.data.rdm import RDMs, square_matrices
from glocal.data.tables import has_titles, read_list, read_numbers, read_table
from glocal.data.trials import Trials, keep_valid, read_trials
from glocal.errors import DataError, ParameterError
from glocal.files import PathLike, ending, file_sha256, naming, read_lines, reading
from glocal.similarity import Numbers


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
    or else rows of integers (`read_rows`). THINGS numbers objects in the order of their collection,
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
    read, allowed = _reader(path, is_matrix="values" in options)
    if unknown := [name for name in options if name not in allowed]:
        raise ParameterError(
            f"`{unknown[0]}` does not apply to {path}; the options of such a file are "
            f"{', '.join(allowed)}."
        )
    listed = read_lines(names, what="object ids") if isinstance(names, str | Path) else names
    arguments, dropped, interpretation = read(path, names=listed, **options)
    with naming(path):
        answers = Answers.from_array(**arguments)
    if answers.names is not None:
        answers.check_range(len(answers.names), what="the list of object ids", unit="lines")
    stated = {
        name: value.name if isinstance(value, Path) else value for name, value in options.items()
    }
    origin = {"file": Path(path).name, "sha256": file_sha256(path), **stated, **interpretation}
    return Imported(answers, dropped, origin)


def _reader(path: PathLike, is_matrix: bool) -> tuple[Callable[..., Trials], tuple[str, ...]]:
    """The function that reads a file, and the names of its options."""
    if is_matrix:
        return read_matrix, ("values", "limit", "seed")
    if ending(path) == ".npz":
        return read_rows, ("kind",)
    if not has_titles(path):
        return read_rows, ("kind", "odd_column", "base", "order")
    return read_trials, ("columns", "where", "base", "place_base")


def read_rows(
    path: PathLike,
    *,
    names: Sequence[str] | None = None,
    order: PathLike | None = None,
    **conventions: Any,
) -> Trials:
    """Read rows of integers with stated conventions, or an ``.npz`` that does not state its kind.

    Parameters
    ----------
    path, order : path
        The file of the rows, and that of the sort index (text or ``.npy``).
    names : sequence of str or None
        The objects in the order of their indices.
    **conventions
        ``kind``, ``odd_column`` and ``base`` of `Answers.from_array`.
    """
    if ending(path) == ".npz":
        rows = read_archive(path)
        if "kind" in rows or not conventions:
            raise DataError(
                f"{path} needs no import: every command reads an .npz file of answers. `kind` is "
                "for a file that does not state it."
            )
    else:
        rows = {"array": read_numbers(path, what="answers")}
    if order is not None:
        rows["order"] = read_list(order, what="order")
    return Trials({"names": names} | rows | conventions, {}, {})


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
    similarities, names = _matrices(Path(path), names)
    if values == "dissimilarity":
        similarities = -similarities
    n_people, n, _ = similarities.shape
    n_comparisons = n_people * n * (n - 1) * (n - 2) // 2  # 1,854 objects have three billion
    person, reference, first, second = _drawn(n_comparisons, n, limit, seed)
    difference = similarities[person, reference, first] - similarities[person, reference, second]
    with naming(path):
        kept, dropped = keep_valid(
            {"unknown similarities": np.isnan(difference), "equal similarities": difference == 0}
        )
    if n_comparisons > limit:
        dropped["comparisons beyond the limit"] = n_comparisons - limit
    nearer = np.where(difference > 0, first, second)
    array = np.stack([reference, nearer, first + second - nearer], axis=1)
    return Trials(
        {
            "array": array[kept],
            "weights": (np.abs(difference) / _ranges(similarities)[person])[kept],
            "kind": "anchor",
            "names": names,
            "person": person[kept] if n_people > 1 else None,
        },
        dropped,
        {},
    )


def _drawn(n_comparisons: int, n: int, limit: int, seed: int) -> tuple[Numbers, ...]:
    """All comparisons of n objects, or a random sample of `limit` of them, in order.

    These are the person and the reference of each, and the two objects that are compared with it.
    """
    rng = np.random.default_rng(seed)
    n_drawn = min(n_comparisons, limit)
    number = np.sort(rng.choice(n_comparisons, n_drawn, replace=False, shuffle=False))
    others, more_others = np.triu_indices(n - 1, 1)
    row, pair = np.divmod(number, len(others))  # a row for each person and reference
    person, reference = np.divmod(row, n)
    # the reference is none of the others
    first = others[pair] + (others[pair] >= reference)
    second = more_others[pair] + (more_others[pair] >= reference)
    return person, reference, first, second


def _ranges(similarities: RDMs) -> Float[np.ndarray, " people"]:
    """The largest known similarity of each person less the smallest."""
    largest = np.nanmax(similarities, axis=(1, 2), initial=-np.inf)
    return largest - np.nanmin(similarities, axis=(1, 2), initial=np.inf)


def _matrices(path: Path, names: Sequence[str] | None) -> tuple[RDMs, Sequence[str] | None]:
    """Read the matrices of a file, and the names of the objects unless they are given."""
    if not has_titles(path):
        numbers = read_numbers(path, what="answers")
    else:
        table = read_table(path, what="answers")
        columns = list(table)
        if len(columns) == len(table) + 1:
            columns = columns[1:]  # the first column repeats the names
        names = names or columns
        with reading(path, "answers", "All cells below the names must be numbers."):
            numbers = table[columns].replace("", "nan").to_numpy(dtype=float)
    matrices = square_matrices(numbers, f"{path}")
    n = matrices.shape[-1]
    if names is not None and len(names) != n:
        raise DataError(f"{path} has {n} objects, but the list of object ids has {len(names)}.")
    matrices[~np.isfinite(matrices)] = np.nan
    matrices[:, range(n), range(n)] = np.nan
    return matrices, names
