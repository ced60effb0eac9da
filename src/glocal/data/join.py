"""Join answers and features by name, and compute the choices that features would make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from glocal.data.answers import Answers
from glocal.data.features import Features, check_finite, transposed_hint
from glocal.data.names import positions_in, positions_of
from glocal.errors import DataError, DataWarning, warn
from glocal.similarity import (
    Choices,
    Mask,
    Numbers,
    choice,
    of_pairs,
    pair_tolerance,
    scaled_to_length_1,
)

_FEWER_ROWS = (
    " Extract the features of all objects that they name. If they index a longer list than the "
    "rows of the features, name it with `object_ids`."
)
_MAX_ROWS_OF_GRAM = 8192  # with more rows, similarities are computed answer by answer

ChoiceModel = Callable[[Answers], Choices]
"""Map answers about feature rows to the share of the model's choice that each pair gets.

The first column is the share of the pair that the person chose.
"""


@dataclass(frozen=True, eq=False)
class Joined:
    """Answers as indices of feature rows, and the mask of the answers that were kept.

    Answers that name an object without features are dropped.
    """

    answers: Answers
    kept: Mask

    @property
    def n_dropped(self) -> int:
        """The number of dropped answers."""
        return len(self.kept) - len(self.answers)


def join(features: Features, answers: Answers, object_ids: Sequence[str] | None = None) -> Joined:
    """Express answers as indices of feature rows.

    Parameters
    ----------
    features : Features
        Must have names if `object_ids` is given.
    answers : Answers
        Answers that index rows of `features`, or entries of `object_ids` if that is given.
    object_ids : sequence of str, or None
        The names of the objects that the answers index, not the path of a file of names;
        `glocal.data.names` says when two names are the same. None means the `names` of the answers
        if both the answers and the features have names.

    Raises
    ------
    DataError
        If an index is out of range, names are missing or repeated, or no answer is left.
    """
    listed = listed_objects(features, answers, object_ids)
    if listed is None:
        if answers.names is not None and len(answers.names) != len(features):
            raise DataError(
                f"the answers name {len(answers.names)} objects but {features.source} has "
                f"{len(features)} rows and no names to join them with. Put a file_names.txt with "
                "one line per row beside it."
                f"{transposed_hint(features, len(answers.names))}"
            )
        if answers.names is not None:
            warn(
                f"the answers name their objects but {features.source} has no names: row i is "
                "taken to be object i of the answers. Put a file_names.txt with one line per row "
                "beside it.",
                DataWarning,
            )
        hint = transposed_hint(features, int(answers.objects.max(initial=-1)) + 1)
        answers.check_range(len(features), hint=hint or _FEWER_ROWS)
        joined = Joined(answers, np.ones(len(answers), dtype=bool))
    else:
        rows = feature_rows(features, listed)
        hint = (
            " Give the whole list that the answers index, including the objects without features; "
            "the names of the feature rows are another list."
        )
        answers.check_range(len(rows), what="the list of object ids", unit="lines", hint=hint)
        joined = Joined(answers.relabel(rows), answers.inside(rows >= 0)[1])
    if not len(joined.answers):
        raise DataError(
            f"no answer is left of {len(answers)}: {joined.n_dropped} name an object without "
            "features. Check that the answers, the object ids and the features belong "
            "together."
        )
    return joined


def choice_model(features: Features, rows: Numbers) -> ChoiceModel:
    """Return the choice model of features on these rows, by the cosines of the rows as given."""
    raw = np.asarray(features.matrix[rows])
    check_finite(raw, features.source, rows)
    X = scaled_to_length_1(raw)
    position = np.full(len(features), -1)
    position[rows] = np.arange(len(rows))
    S = X @ X.T if len(rows) <= _MAX_ROWS_OF_GRAM else None

    def shares(answers: Answers) -> Choices:
        objects = answers.relabel(position).objects
        if S is None:
            similarities = of_pairs(X, objects, answers.pairs)
        else:
            pairs = [S[objects[:, i], objects[:, j]] for i, j in answers.pairs]
            similarities = np.stack(pairs, axis=1)
        return choice(similarities, pair_tolerance(X))

    return shares


def listed_objects(
    features: Features, answers: Answers, object_ids: Sequence[str] | None = None
) -> Sequence[str] | None:
    """The list that the answers index: `object_ids`, or else their names if the features have some.

    None if they index feature rows.
    """
    return object_ids if object_ids is not None or features.names is None else answers.names


def feature_rows(features: Features, object_ids: Sequence[str]) -> Numbers:
    """The feature row of each object id by the rule of `glocal.data.names`, or -1 for none."""
    if not len(object_ids):
        raise DataError(
            "the list of object ids is empty; it must name every object that the answers index, "
            "one per line."
        )
    if features.names is None:
        raise DataError(
            f"object ids were given but {features.source} has no names to join them with. "
            f"Put a file_names.txt with one line per row, {len(features)} here, beside it."
            f"{transposed_hint(features, len(object_ids))}"
        )
    positions_in(object_ids, "object ids")
    row_of = positions_of(object_ids, features.names, f"names of {features.source}")
    if not row_of:
        raise DataError(
            f"none of the {len(object_ids)} object ids (first {object_ids[0]!r}) is a name of "
            f"{features.source} (first {features.names[0]!r}). Write both lists alike."
        )
    return np.array([row_of.get(name, -1) for name in object_ids], dtype=np.int64)
