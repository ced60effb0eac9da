"""Find the people of a study who answer as if at random, by models fitted without them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from glocal.aligner.data import FitData
from glocal.aligner.exact import Exact
from glocal.aligner.folds import Fold
from glocal.aligner.penalty import choose_global
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.join import join
from glocal.data.people import people
from glocal.data.splits import split_persons

if TYPE_CHECKING:
    import pandas as pd

MIN_ANSWERS = 100
"""Nobody with fewer answers is marked."""
MIN_LOG10_ODDS = 1.0
"""A person is marked above these log₁₀ odds (10 : 1) of random to careful answers."""
MAX_OBJECTS = 300
"""With more objects, and without features, there is no model of the answers."""
_FOLDS = 5  # folds of the people
_MAX_ROUNDS = 10
_SOLVER = Exact(tol=1e-3)
_SOLVER_WITHOUT_FEATURES = Exact(tol=1e-3, max_evaluations=30)  # a longer fit overfits


def participants(answers: Answers, features: Features | None = None) -> pd.DataFrame:
    """Describe each person as `people` does, and mark those who answer as if at random.

    `global` is fitted to the answers of four fifths of the people, with the λ that predicts the
    answers of the others best (see `keep_curve`), and compared with these. A person with at least
    `MIN_ANSWERS` answers is marked if random answers are more than ten times as likely to agree
    this little as the answers of the other people. The answers of marked people are then left out
    of the fits, and the fits are repeated until the same people are marked again.

    Parameters
    ----------
    answers : Answers
        Answers with the person who gave each of them.
    features : Features or None
        Features of the objects, joined by name. If None, a one-hot code of each object replaces
        them; such a model needs several times as many answers.

    Returns
    -------
    DataFrame
        The columns of `people`, the agreement with the models fitted without the person as
        ``model``, and the log₁₀ ``odds`` of random to careful answers that follow from it.
        ``is_marked`` is true for a person who answers as if at random.

    Raises
    ------
    DataError
        The answers have no persons, or an object has neither features nor a name.

    Examples
    --------
    >>> from glocal.data.world import simulated_world
    >>> world = simulated_world(n_object=1, n_triplets=390, n_local=10)
    >>> answers = world.answers.objects.copy()
    >>> answers[:130] = np.random.default_rng(0).permuted(answers[:130], axis=1)
    >>> people_of_study = Answers(answers, person=np.repeat(np.arange(3), 130))
    >>> participants(people_of_study, world.objects).query("is_marked").index.tolist()
    [0]
    """
    import pandas as pd

    table = people(answers).assign(is_marked=False)
    if not len(answers):
        return table
    person = np.asarray(answers.person)
    is_careless = np.zeros(len(answers), dtype=bool)
    for _ in range(_MAX_ROUNDS):
        credit = _credit(answers, is_careless, features)
        weights = pd.Series(answers.all_weights * ~np.isnan(credit)).groupby(person)
        scores = pd.Series(answers.all_weights * np.nan_to_num(credit)).groupby(person)
        n_answers = weights.sum()
        table["model"] = scores.sum() / n_answers
        table["odds"] = log10_odds(table["model"], n_answers, answers.chance)
        table["is_marked"] = (table["odds"] > MIN_LOG10_ODDS) & (n_answers >= MIN_ANSWERS)
        was_careless = is_careless
        is_careless = np.isin(person, table.index[table["is_marked"]])
        if (is_careless == was_careless).all():
            break
    return table


def log10_odds(r: pd.Series, n: pd.Series, c: float) -> pd.Series:
    """The log₁₀ odds of random against careful answers, from the agreement r on n answers.

    With c the chance level and a the mean agreement of the other persons, they are

        n [ r log₁₀(c / a) + (1 - r) log₁₀((1 - c) / (1 - a)) ].
    """
    r = r.fillna(0)  # without answers that a model can judge, n is 0 and so are the odds
    a = (r @ n - r * n) / (n.sum() - n).clip(lower=1)
    a = a.clip(c, 1 - 1e-3)  # a mean of 1 would give infinite odds
    return n * (r * np.log10(c / a) + (1 - r) * np.log10((1 - c) / (1 - a)))


def _credit(
    answers: Answers, is_careless: Bool[np.ndarray, " t"], features: Features | None
) -> Float[np.ndarray, " t"]:
    """The credit of each answer by a model fitted to other people; NaN without such a model."""
    credit = np.full(len(answers), np.nan)
    solver = _SOLVER
    if features is None:
        n = len(answers.names or ()) or int(answers.objects.max(initial=0)) + 1
        if n > MAX_OBJECTS:
            return credit
        answers = replace(answers, names=None)
        features = Features(np.eye(n), None, "numbers of the objects")
        solver = _SOLVER_WITHOUT_FEATURES
    joined = join(features, answers)
    data = FitData(features, joined.answers)
    n_folds = min(_FOLDS, joined.answers.n_people or 0)
    rows = joined.answers.named_objects()
    folds = []
    scored = []
    for number in range(n_folds if n_folds > 1 else 0):
        is_other, is_scored = split_persons(joined.answers, folds=n_folds, fold=number)
        others = joined.answers.select(is_other & ~is_careless[joined.kept])
        if len(others):
            scored.append(np.flatnonzero(joined.kept)[is_scored])
            fold_data = replace(data, answers=others)
            folds.append(Fold(fold_data, joined.answers.select(is_scored), rows, "questions"))
    if folds:
        credit[np.concatenate(scored)] = choose_global(data, folds, solver)
    return credit
