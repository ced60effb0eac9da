"""Read matrices of similarities as comparisons of objects with a reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from glocal.data.rdm import RDMs, square_matrices
from glocal.data.tables import has_titles, read_numbers, read_table
from glocal.data.trials import Trials, keep_valid
from glocal.errors import DataError, ParameterError
from glocal.files import PathLike, naming, reading
from glocal.similarity import Numbers


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
