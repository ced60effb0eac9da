"""Repeated questions, and measures of each person: agreement, times and catch trials."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Int

from glocal.data.answers import Answers
from glocal.errors import DataError
from glocal.similarity import (
    KINDS,
    Choices,
    Labels,
    Mask,
    Numbers,
    Objects,
    Pairs,
    Values,
    choice,
)

if TYPE_CHECKING:
    import pandas as pd

FAST = 0.8
"""Seconds below which an answer counts as fast: too short to look at three pictures."""
_MAX_NUMBERS = 1 << 20  # random numbers of objects; of more objects, some share a number
_MIN_VOTES = 1e-9  # the sum of no votes is smaller, whatever its rounding


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
        columns = list(pair)
        candidates = np.sort(ordered[:, columns], axis=1)
        is_equal = candidates == chosen
        is_chosen.append(is_equal.all(axis=1))
    chosen_pair = np.argmax(is_chosen, axis=0)
    return ordered, chosen_pair


def _ordered(objects: Objects, answers: Answers) -> Objects:
    """The objects of each answer in the order of its question."""
    m = objects.shape[1]
    kind = KINDS[answers.kind]
    n_fixed = 1 if kind.has_reference else 0
    n_all_pairs = m * (m - 1) // 2
    has_all_pairs = len(answers.pairs) == n_all_pairs
    if n_fixed or has_all_pairs:  # all other columns are alike
        ordered = objects.copy()
        others = ordered[:, n_fixed:]
        others.sort(axis=1)
        return ordered
    ordered = objects
    for columns in _orders_of_same_pairs(answers.pairs, m):
        same_question = objects[:, columns]
        ordered = _first_in_dictionary(same_question, ordered)
    return ordered


def _orders_of_same_pairs(pairs: Pairs, m: int) -> Iterator[tuple[int, ...]]:
    """The orders of m columns in which the candidate pairs are the same pairs."""
    pairs_in_any_order = {frozenset(pair) for pair in pairs}
    for columns in itertools.permutations(range(m)):
        moved_pairs = set()
        for i, j in pairs:
            moved_pair = frozenset((columns[i], columns[j]))
            moved_pairs.add(moved_pair)
        if moved_pairs == pairs_in_any_order:
            yield columns


def _first_in_dictionary(rows: Objects, others: Objects) -> Objects:
    """Of each row and the other one, the one that comes first in the order of a dictionary."""
    is_different = rows != others
    first_difference = is_different.argmax(axis=1)
    is_smaller = rows < others
    is_before = np.take_along_axis(is_smaller, first_difference[:, None], axis=1)
    return np.where(is_before, rows, others)


def question_numbers(answers: Answers) -> Numbers:
    """The question number of each answer; questions are numbered in the order of their objects."""
    objects, _ = questions(answers)
    _, number = different_rows(objects)
    return number


def set_keys(objects: Objects) -> Numbers:
    """A random number for each set of objects in any order: the sum of a number for each object."""
    largest = int(objects.max(initial=0))
    n_numbers = min(largest + 1, _MAX_NUMBERS)
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
    bucket = set_keys(objects)
    bucket &= n_buckets - 1  # in place: answers are many
    bucket_sizes = np.bincount(bucket)
    return bucket_sizes[bucket] == 1


def different_rows(objects: Objects) -> tuple[Int[np.ndarray, "s m"], Numbers]:
    """The different rows, sorted, and the number of each row among them."""
    largest = int(objects.max(initial=0))
    n = largest + 1
    m = objects.shape[1]
    n_keys = n**m
    if n_keys >= 1 << 63:
        rows, number = np.unique(objects, axis=0, return_inverse=True)
        return rows, number.reshape(-1)
    # one integer for each row sorts much faster than rows
    places = np.arange(m)
    place_values = np.int64(n) ** places[::-1]
    row_keys = objects @ place_values
    keys, number = np.unique(row_keys, return_inverse=True)
    shape = (n,) * m
    columns = np.unravel_index(keys, shape)
    rows = np.stack(columns, axis=1)
    return rows, number


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
    if answers.person is None:
        raise DataError(
            "the answers do not say who gave them. Import them with a column for the participant."
        )
    trials = _numbered_trials(answers)
    table = _table_of_agreement(answers, trials)
    _add_repeats(table, trials)
    if answers.seconds is not None:
        _add_times(table, trials.person, answers.seconds, answers.all_weights)
    if answers.catch_passed is not None and answers.catch_person is not None:
        _add_catch_trials(table, answers.catch_person, answers.catch_passed)
    return table


class _Trials(NamedTuple):
    """The person, the question and the number of the chosen candidate pair of each answer.

    `question_of_person` numbers the questions of each person apart.
    """

    person: pd.Series
    question: Numbers
    question_of_person: Numbers
    chosen: Numbers


def _numbered_trials(answers: Answers) -> _Trials:
    """Number the questions and the people of answers whose people are known."""
    import pandas as pd

    person = pd.Series(answers.person, name="person")
    person_number, _ = pd.factorize(answers.person)
    objects, chosen = questions(answers)
    _, question = different_rows(objects)
    question_of_person = question * len(answers) + person_number
    return _Trials(person, question, question_of_person, chosen)


def _table_of_agreement(answers: Answers, trials: _Trials) -> pd.DataFrame:
    """The number of answers of each person, and their agreement with the others."""
    import pandas as pd

    agreement, is_shared = _agreement(answers, trials)
    weights = answers.all_weights
    shared = weights * is_shared
    columns = {
        "answers": weights,
        "shared": shared,
        "agreement": shared * agreement,
    }
    table = pd.DataFrame(columns)
    sums = table.groupby(trials.person).sum()
    sums["agreement"] /= sums["shared"]
    if answers.weights is None:
        sums = sums.astype({"answers": int, "shared": int})
    return sums


def _add_repeats(table: pd.DataFrame, trials: _Trials) -> None:
    """Add how often each person answered a question again, and the share of equal answers."""
    import pandas as pd

    chosen = pd.Series(trials.chosen)
    previous = chosen.groupby(trials.question_of_person).shift()
    is_alike = (previous == chosen).astype(float)
    is_repeat = previous.notna()
    repeats = is_alike.where(is_repeat).groupby(trials.person)
    table["repeats"] = repeats.count()
    table["alike"] = repeats.mean()


def _add_times(table: pd.DataFrame, person: pd.Series, seconds: Values, weights: Values) -> None:
    """Add the median time of each person, and the share of fast answers among those with a time."""
    import pandas as pd

    times = pd.Series(seconds)
    table["seconds"] = times.groupby(person).median()
    has_time = ~np.isnan(seconds)
    is_fast = seconds < FAST
    timed = weights * has_time
    fast = timed * is_fast
    sum_fast = pd.Series(fast).groupby(person).sum()
    sum_timed = pd.Series(timed).groupby(person).sum()
    table["fast"] = sum_fast / sum_timed


def _add_catch_trials(table: pd.DataFrame, person: Labels, passed: Mask) -> None:
    """Add the share of catch trials that each person passed, and their number."""
    import pandas as pd

    trials = pd.Series(passed).groupby(person)
    n_trials = trials.size()
    table["catch"] = trials.mean()
    table["catch_trials"] = n_trials.reindex(table.index, fill_value=0)


def _agreement(answers: Answers, trials: _Trials) -> tuple[Values, Mask]:
    """The agreement of each answer with the most frequent one of the others; whether any exist."""
    votes_of_others = _votes_of_others(answers, trials)
    highest = votes_of_others.max(axis=1, keepdims=True)
    tolerance = _MIN_VOTES * np.maximum(1, highest)
    shares = choice(votes_of_others, tolerance)
    rows = np.arange(len(answers))
    agreement = shares[rows, trials.chosen]
    is_shared = highest[:, 0] > _MIN_VOTES
    return agreement, is_shared


def _votes_of_others(answers: Answers, trials: _Trials) -> Choices:
    """The votes of the other people for each candidate pair of the question of each answer."""
    import pandas as pd

    k = len(answers.pairs)
    one_hot = np.eye(k)[trials.chosen]
    weights = answers.all_weights
    weighted = one_hot * weights[:, None]
    votes = pd.DataFrame(weighted)
    all_votes = votes.groupby(trials.question).transform("sum")
    votes_of_person = votes.groupby(trials.question_of_person).transform("sum")
    votes_of_others = all_votes - votes_of_person
    return votes_of_others.to_numpy()
