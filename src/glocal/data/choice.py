"""What features would answer: the choice of a model among the candidate pairs of each answer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.join import Joined
from glocal.similarity import choice, of_pairs, pair_tolerance, unit_rows

_MAX_ROWS_OF_GRAM = 8192  # above, similarities are computed answer by answer

ChoiceModel = Callable[[Answers], Float[np.ndarray, "t k"]]
"""Answers about rows of features → the share of the model's choice that each candidate pair gets.

The first column is that of the pair that was chosen.
"""


def choice_model(features: Features, rows: Int[np.ndarray, " k"]) -> ChoiceModel:
    """How features choose in answers about these rows: by cosines of standardized rows."""
    X = unit_rows(features.standardization(np.asarray(features.matrix[rows]), "float64"))
    tolerance = pair_tolerance(X)
    position = np.full(len(features), -1)
    position[rows] = np.arange(len(rows))
    S = X @ X.T if len(rows) <= _MAX_ROWS_OF_GRAM else None

    def shares(answers: Answers) -> Float[np.ndarray, "t k"]:
        answers = answers.relabel(position)
        objects = answers.objects
        if S is None:
            return choice(of_pairs(X, objects, answers.pairs), tolerance)
        similarities = [S[objects[:, i], objects[:, j]] for i, j in answers.pairs]
        return choice(np.stack(similarities, axis=1), tolerance)

    return shares


def model_credit(features: Features, joined: Joined) -> Float[np.ndarray, " t"]:
    """The share of the model's choice in each answer; NaN where it has no features.

    `joined` are the answers as rows of these features.
    """
    credit = np.full(len(joined.kept), np.nan)
    shares = choice_model(features, joined.answers.named_objects())(joined.answers)
    credit[joined.kept] = shares[:, 0]
    return credit
