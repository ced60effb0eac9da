"""Repeated questions, and measures of each person: agreement, times and catch trials."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from glocal.data.answers import Answers
from glocal.errors import DataError
from glocal.similarity import (
    KINDS,
    Choices,
    Mask,
    Numbers,
    Objects,
    Values,
    choice,
)

if TYPE_CHECKING:
    import pandas as pd

FAST = 0.8
"""Seconds below which an answer counts as fast: too short to look at three pictures."""


def questions(answers: Answers) -> tuple[Objects, Numbers]:
    """The question of each answer, and the number of the candidate pair that was chosen.

    A question is its objects in a fixed order: the reference first, if there is one, and the others
    ascending, if the candidate pairs stay the same.
    """
    objects = answers.objects.astype(np.int64)
    ordered = _ordered(objects, answers)
    chosen = np.sort(objects[:, :2], axis=1)
    is_chosen = []
    for pair in answers.pairs:
        candidates = np.sort(ordered[:, list(pair)], axis=1)
        is_chosen.append((candidates == chosen).all(axis=1))
    return ordered, np.argmax(is_chosen, axis=0)


def _ordered(objects: Objects, answers: Answers) -> Objects:
    """The objects of each answer in the order of its question."""
    m = objects.shape[1]
    n_fixed = int(KINDS[answers.kind].has_reference)
    n_all_pairs = m * (m - 1) // 2
    has_all_pairs = len(answers.pairs) == n_all_pairs
    if n_fixed or has_all_pairs:  # all other columns are alike
        ordered = objects.copy()
        ordered[:, n_fixed:].sort(axis=1)
        return ordered
    # the first, in the order of a dictionary, of the rows that ask for the same pairs
    pairs = {frozenset(pair) for pair in answers.pairs}
    ordered = objects
    for columns in itertools.permutations(range(m)):
        moved_pairs = {frozenset((columns[i], columns[j])) for i, j in pairs}
        if moved_pairs == pairs:
            same_question = objects[:, columns]
            first_difference = (same_question != ordered).argmax(axis=1)
            is_smaller = same_question < ordered
            is_before = np.take_along_axis(is_smaller, first_difference[:, None], axis=1)
            ordered = np.where(is_before, same_question, ordered)
    return ordered


def question_numbers(answers: Answers) -> Numbers:
    """The question number of each answer; questions are numbered in the order of their objects."""
    objects, _ = questions(answers)
    _, number = different_rows(objects)
    return number


def set_keys(objects: Objects) -> Numbers:
    """A random number for each set of objects in any order: the sum of a number for each object."""
    n_objects = int(objects.max(initial=0)) + 1
    n_numbers = min(n_objects, 1 << 20)  # of more, some objects share a number
    rng = np.random.default_rng(0)
    numbers = rng.integers(1 << 48, size=n_numbers)
    keys = np.zeros(len(objects), dtype=np.int64)
    for column in objects.T:
        keys += numbers.take(column, mode="wrap")
    return keys


def asked_once(objects: Objects) -> Mask:
    """Mark rows whose set of objects no other row has; about a quarter of them stay unmarked.

    Sets that share a bucket of `set_keys` are not told apart. Sorting the few that remain is
    several times as fast as sorting all.
    """
    n_buckets = 1 << (2 * len(objects)).bit_length()
    bucket = set_keys(objects) & (n_buckets - 1)
    return np.bincount(bucket)[bucket] == 1


def different_rows(objects: Objects) -> tuple[Int[np.ndarray, "s m"], Numbers]:
    """The different rows, sorted, and the number of each row among them."""
    n = int(objects.max(initial=0)) + 1
    m = objects.shape[1]
    if n**m >= 1 << 63:
        rows, number = np.unique(objects, axis=0, return_inverse=True)
        return rows, number.reshape(-1)
    # one integer for each row sorts much faster than rows
    place_values = np.int64(n) ** np.arange(m)[::-1]
    keys, number = np.unique(objects @ place_values, return_inverse=True)
    columns = np.unravel_index(keys, (n,) * m)
    return np.stack(columns, axis=1), number


def tally(answers: Answers) -> tuple[Objects, Choices]:
    """Count how often each candidate pair of each question was chosen.

    Returns
    -------
    sets : (s, m) int
        The objects of each question, in the order of `questions`.
    counts : (s, k) float
        The number of answers that chose each candidate pair, or the sum of their votes.
    """
    objects, chosen = questions(answers)
    sets, question = different_rows(objects)
    k = len(answers.pairs)
    cell = question * k + chosen
    n_cells = k * len(sets)
    counts = np.bincount(cell, answers.votes, minlength=n_cells)
    counts = counts.astype(np.float64)
    return sets, counts.reshape(-1, k)


def describe(answers: Answers) -> pd.DataFrame:
    """Describe each person by their answers; a vote counts as an answer.

    Answers do not hold the display order, so that a preference for a position cannot be detected.
    Agreement with others needs questions that several people answered. To exclude people by a
    rule, query the table and select the answers of the others.

    Parameters
    ----------
    answers : Answers
        Answers that record who gave each.

    Returns
    -------
    DataFrame
        One row per person, with the names of the people as the index. NaN marks a value that is
        unknown for a person. A column is missing if its values are unknown for everybody.

        ==============================  ========================================================
        ``answers``                     The number of answers.
        ``agreement``, ``shared``       The share of a person's answers that equal the most frequent
                                        answer of the other people to the same question (a tie
                                        among k counts 1/k), and the number of answers that this
                                        share is based on: those to questions that others answered
                                        too.
        ``repeats``, ``alike``          The number of answers to a question that the person had
                                        answered before, and the share of them that equal the
                                        previous answer.
        ``seconds``, ``fast``           The median response time, and the share of answers given in
                                        less than `FAST` seconds.
        ``catch``, ``catch_trials``     The share of catch trials passed, and their number.
        ==============================  ========================================================

    Raises
    ------
    DataError
        If the answers do not record who gave them.

    Examples
    --------
    >>> rows = [[0, 1, 2], [0, 1, 2], [0, 2, 1]]
    >>> answers = Answers.from_array(rows, person=np.array(["ann", "bob", "eve"]))
    >>> table = describe(answers)
    >>> table["agreement"].tolist()
    [0.5, 0.5, 0.0]
    >>> attentive = table.query("agreement > 0.2").index
    >>> len(answers.select(np.isin(answers.person, attentive)))
    2
    """
    import pandas as pd

    if answers.person is None:
        raise DataError(
            "the answers do not say who gave them. Import them with a column for the participant."
        )
    objects, chosen = questions(answers)
    _, question = different_rows(objects)
    person_number, _ = pd.factorize(answers.person)
    question_of_person = question * len(answers) + person_number
    agreement, is_shared = _agreement(answers, chosen, question, question_of_person)
    weights = answers.all_weights
    shared = weights * is_shared
    person = pd.Series(answers.person, name="person")
    columns = {
        "answers": weights,
        "shared": shared,
        "agreement": shared * agreement,
    }
    table = pd.DataFrame(columns).groupby(person).sum()
    table["agreement"] /= table["shared"]
    if answers.weights is None:
        table = table.astype({"answers": int, "shared": int})
    _add_repeats(table, person, pd.Series(chosen), question_of_person)
    if answers.seconds is not None:
        _add_times(table, person, answers.seconds, weights)
    if answers.catch_passed is not None and answers.catch_person is not None:
        passed = pd.Series(answers.catch_passed).groupby(answers.catch_person)
        n_trials = passed.size()
        table["catch"] = passed.mean()
        table["catch_trials"] = n_trials.reindex(table.index, fill_value=0)
    return table


def _add_repeats(
    table: pd.DataFrame, person: pd.Series, chosen: pd.Series, question_of_person: Numbers
) -> None:
    """Add how often each person answered a question again, and the share of equal answers."""
    previous = chosen.groupby(question_of_person).shift()
    is_alike = (previous == chosen).astype(float)
    repeats = is_alike.where(previous.notna()).groupby(person)
    table["repeats"] = repeats.count()
    table["alike"] = repeats.mean()


def _add_times(table: pd.DataFrame, person: pd.Series, seconds: Values, weights: Values) -> None:
    """Add the median time of each person, and the share of fast answers among those with a time."""
    import pandas as pd

    table["seconds"] = pd.Series(seconds).groupby(person).median()
    timed = weights * ~np.isnan(seconds)
    fast = timed * (seconds < FAST)
    sum_fast = pd.Series(fast).groupby(person).sum()
    sum_timed = pd.Series(timed).groupby(person).sum()
    table["fast"] = sum_fast / sum_timed


def _agreement(
    answers: Answers, chosen: Numbers, question: Numbers, question_of_person: Numbers
) -> tuple[Values, Mask]:
    """The agreement of each answer with the most frequent one of the others; whether others exist.

    `question_of_person` numbers the questions of each person apart.
    """
    import pandas as pd

    k = len(answers.pairs)
    one_hot = np.eye(k)[chosen]
    votes = pd.DataFrame(one_hot * answers.all_weights[:, None])
    all_votes = votes.groupby(question).transform("sum")
    votes_of_person = votes.groupby(question_of_person).transform("sum")
    votes_of_others = (all_votes - votes_of_person).to_numpy()
    highest = votes_of_others.max(axis=1, keepdims=True)
    shares = choice(votes_of_others, 1e-9 * np.maximum(1, highest))
    agreement = shares[np.arange(len(answers)), chosen]
    return agreement, highest[:, 0] > 1e-9
