"""Repeated questions, and each person's answers beside the others': agreement, times, catch trials, and odds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int, Shaped

from glocal.data.answers import Answers
from glocal.data.choice import model_credit
from glocal.data.features import Features
from glocal.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

FAST = 0.8
"""Seconds below which an answer counts as fast: nobody has looked at three pictures by then."""
ATTENTIVE = 0.95
"""The share of catch trials that somebody who attends is taken to pass."""


def questions(answers: Answers) -> tuple[Int[np.ndarray, "t m"], Int[np.ndarray, " t"]]:
    """What each answer was asked, its objects in a fixed order, and which candidate pair of these it chose."""
    objects = answers.objects.astype(np.int64)
    if answers.kind == "odd-one-out":
        ordered = np.sort(objects, axis=1)
        return ordered, 2 - (ordered == objects[:, 2:]).argmax(axis=1)
    others = np.sort(objects[:, 1:], axis=1)
    return np.concatenate([objects[:, :1], others], axis=1), (others == objects[:, 1:2]).argmax(axis=1)


def tally(answers: Answers) -> tuple[Int[np.ndarray, "s m"], Float[np.ndarray, "s k"]]:
    """How often each candidate pair of each question was chosen.

    Returns
    -------
    sets : (s, m) int
        The objects of each question in a fixed order: ascending, after the reference if there is one.
    counts : (s, k) float
        The answers that chose each candidate pair of them, or their weights, if they have any.
    """
    asked, chosen = questions(answers)
    n, m, k = int(asked.max()) + 1, asked.shape[1], len(answers.pairs)
    one_number = n**m < 1 << 62  # numbers sort much faster than rows
    keys = asked @ np.int64(n) ** np.arange(m)[::-1] if one_number else asked
    _, first, question = np.unique(keys, axis=None if one_number else 0, return_index=True, return_inverse=True)
    counts = np.bincount(question.reshape(-1) * k + chosen, answers.weights, minlength=k * len(first))
    return asked[first], counts.reshape(-1, k).astype(np.float64)


def people(
    answers: Answers,
    model: Features | Float[np.ndarray, " t"] | None = None,
    *,
    fast: float = FAST,
) -> pd.DataFrame:
    """Describe each person by their answers; a weight counts as copies.

    Answers do not hold the display order, so a preference for a position goes unnoticed; agreement with
    others needs questions that several people answered. To leave persons out by a rule, query the table
    and select their answers.

    Parameters
    ----------
    answers : Answers
        With persons.
    model : Features, (t,) float or None
        Features of the objects, which choose by cosine; or how right a model is on each answer
        (`glocal.evaluation.agreement.answer_credit`), NaN where it has no features.
    fast : float
        Seconds below which an answer counts as fast.

    Returns
    -------
    DataFrame
        One row a person, whose name is the index; NaN marks what is unknown for one person, and a column is missing
        where nothing is known for anybody.

        ==============================  ================================================================================
        ``answers``                     Their number.
        ``agreement``, ``shared``       The share of a person's answers that equal the most frequent answer of the other
                                        persons to the same question, a tie among k counting 1/k, and the number of
                                        answers that it is over: those to questions that others answered too.
        ``model``                       Agreement of the model with the person's answers: where no question is repeated,
                                        persons can only be compared with each other through a model.
        ``seconds``, ``fast``           The median time of an answer; the share of answers below `fast` seconds.
        ``catch``, ``catch_trials``     The share of catch trials passed, and how many there were.
        ``odds``                        The log₁₀ odds that the person answered at random rather than like the others.
        ``odds_inattentive``            The same from the catch trials, of which an attentive person passes `ATTENTIVE`.
        ==============================  ================================================================================

        With r the person's agreement on n answers, c chance and a the mean of the other persons, the odds are

            n [ r log₁₀(c / a) + (1 - r) log₁₀((1 - c) / (1 - a)) ],

        of the agreement with the others where at least half of a person's questions are shared, else with the model; 0
        where neither is known or the others agree no better than chance. Odds above
        `log10_odds_threshold` name people who answered at random.

    Raises
    ------
    DataError
        Who gave the answers is not known, or `model` is neither features nor a number for each answer.

    Examples
    --------
    >>> rows = [[0, 1, 2], [0, 1, 2], [0, 2, 1]]
    >>> answers = Answers.from_array(rows, person=np.array(["ann", "bob", "eve"]))
    >>> table = people(answers)
    >>> table["agreement"].tolist()
    [0.5, 0.5, 0.0]
    >>> attentive = table.query("agreement > 0.2").index
    >>> len(answers.select(np.isin(answers.person, attentive)))
    2
    """
    import pandas as pd

    if answers.person is None:
        raise DataError("the answers do not say who gave them. Import them with a column for the person.")
    names, who = np.unique(answers.person, return_inverse=True)
    weights = np.ones(len(answers)) if answers.weights is None else answers.weights
    right, is_shared = _right(answers, who, weights)
    mean = _mean_of(who, weights, len(names))
    index = pd.Index(names, name="person")
    table = pd.DataFrame({"answers": np.bincount(who, minlength=len(names))}, index=index)
    table["shared"] = np.bincount(who[is_shared], minlength=len(names))
    table["agreement"] = mean(right, is_shared)
    odds = _odds(table["agreement"], table["shared"], answers.chance)
    if model is not None:
        credit = _credit(answers, model)
        table["model"] = mean(np.nan_to_num(credit), ~np.isnan(credit))
        odds_by_model = _odds(table["model"], table["answers"], answers.chance)
        odds = odds.where(2 * table["shared"] >= table["answers"], odds_by_model)
    if answers.seconds is not None:
        table["seconds"] = pd.Series(answers.seconds).groupby(who).median().to_numpy()
        table["fast"] = mean(answers.seconds < fast, ~np.isnan(answers.seconds))
    table["odds"] = odds
    if answers.catch_passed is not None and answers.catch_person is not None:
        of_person = pd.Series(answers.catch_passed).groupby(answers.catch_person)
        trials = of_person.agg(["mean", "size"]).reindex(names)
        table["catch"] = trials["mean"]
        table["catch_trials"] = trials["size"].fillna(0).astype(int)
        table["odds_inattentive"] = _log_odds(
            table["catch"].fillna(0), table["catch_trials"], answers.chance, ATTENTIVE
        )
    return table


def log10_odds_threshold(n_people: int) -> float:
    """The odds beyond which a person is said to be random: in 1 of 100 sets of them anybody is."""
    return float(np.log10(100 * max(1, n_people)))


def _credit(
    answers: Answers, model: Features | Float[np.ndarray, " t"]
) -> Float[np.ndarray, " t"]:
    """How right the model is on each answer."""
    if isinstance(model, Features):
        return model_credit(model, answers)
    credit = np.asarray(model)
    if credit.shape != (len(answers),) or credit.dtype.kind not in "fiub":
        raise DataError(
            f"the model holds {credit.dtype} of shape {credit.shape}; give Features, or one number from "
            f"0 to 1 for each of the {len(answers)} answers."
        )
    return credit


def _mean_of(
    who: Int[np.ndarray, " t"], weights: Float[np.ndarray, " t"], n_people: int
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The weighted mean for each person of values of the answers, over those that are marked."""

    def mean(values: np.ndarray, is_counted: np.ndarray) -> np.ndarray:
        total = np.bincount(who, weights * is_counted, n_people)
        with np.errstate(invalid="ignore"):  # NaN for a person without such answers
            return np.bincount(who, weights * is_counted * values, n_people) / total

    return mean


def _right(
    answers: Answers, who: Shaped[np.ndarray, " t"], weights: Float[np.ndarray, " t"]
) -> tuple[np.ndarray, np.ndarray]:
    """How far each answer is the most frequent one of the others, ties shared, and whether there are others."""
    k = len(answers.pairs)
    asked, chosen = questions(answers)
    question = np.unique(asked, axis=0, return_inverse=True)[1].reshape(-1)
    own = np.unique(np.stack([question, who]), axis=1, return_inverse=True)[1].reshape(-1)

    def votes(group: np.ndarray) -> np.ndarray:
        counts = np.bincount(group * k + chosen, weights, minlength=k * (int(group.max(initial=-1)) + 1))
        return counts.reshape(-1, k)[group]

    others = votes(question) - votes(own)
    most = others.max(axis=1, keepdims=True)
    best = others >= most - 1e-9 * np.maximum(1, most)
    return best[np.arange(len(answers)), chosen] / best.sum(axis=1), most[:, 0] > 1e-9


def _odds(r: pd.Series, n: pd.Series, c: float) -> pd.Series:
    """The odds of agreement r on n answers beside the mean of the other persons."""
    n = n.where(r.notna(), 0)
    r = r.fillna(0)
    n_others = n.sum() - n
    a = (r @ n - r * n) / n_others.clip(lower=1)
    return _log_odds(r, n, c, a.clip(c, 1 - 1e-3))  # a share of 1 would leave no odds to others


def _log_odds(r: pd.Series, n: pd.Series, c: float, a: pd.Series | float) -> pd.Series:
    return n * (r * np.log10(c / a) + (1 - r) * np.log10((1 - c) / (1 - a)))
