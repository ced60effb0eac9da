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
    choice,
)

if TYPE_CHECKING:
    import pandas as pd

FAST = 0.8
"""Seconds below which an answer counts as fast: too short to look at three pictures."""


def questions(answers: Answers) -> tuple[Objects, Numbers]:
    """The question of each answer, and the number of the candidate pair that was chosen.

    A question is its objects in a fixed order: the reference first, if there is one, and the others
    ascending as far as that leaves the candidate pairs the same.
    """
    objects = answers.objects.astype(np.int64)
    ordered = _ordered(objects, answers)
    chosen = np.sort(objects[:, :2], axis=1)
    is_chosen = [
        (np.sort(ordered[:, list(pair)], axis=1) == chosen).all(axis=1) for pair in answers.pairs
    ]
    return ordered, np.argmax(is_chosen, axis=0)


def _ordered(objects: Objects, answers: Answers) -> Objects:
    """The objects of each answer in the order of its question."""
    m = objects.shape[1]
    n_fixed = int(KINDS[answers.kind].has_reference)
    if n_fixed or len(answers.pairs) == m * (m - 1) / 2:  # all other columns are alike
        ordered = objects.copy()
        ordered[:, n_fixed:].sort(axis=1)
        return ordered
    # the first, in the order of a dictionary, of the rows that ask for the same pairs
    pairs = {frozenset(pair) for pair in answers.pairs}
    ordered = objects
    for columns in itertools.permutations(range(m)):
        if {frozenset((columns[i], columns[j])) for i, j in pairs} == pairs:
            same = objects[:, columns]
            first_difference = (same != ordered).argmax(axis=1)[:, None]
            is_before = np.take_along_axis(same < ordered, first_difference, axis=1)
            ordered = np.where(is_before, same, ordered)
    return ordered


def question_numbers(answers: Answers) -> Numbers:
    """The question number of each answer; questions are numbered in the order of their objects."""
    return different_rows(questions(answers)[0])[1]


def set_keys(objects: Objects) -> Numbers:
    """A random number for each set of objects, whatever their order: the sum of theirs."""
    n = min(int(objects.max(initial=0)) + 1, 1 << 20)  # of more, some objects share a number
    numbers = np.random.default_rng(0).integers(1 << 48, size=n)
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
    keys, number = np.unique(objects @ np.int64(n) ** np.arange(m)[::-1], return_inverse=True)
    return np.stack(np.unravel_index(keys, (n,) * m), axis=1), number


def tally(answers: Answers) -> tuple[Objects, Choices]:
    """Count how often each candidate pair of each question was chosen.

    Returns
    -------
    sets : (s, m) int
        The objects of each question, in the order of `questions`.
    counts : (s, k) float
        The number of answers that chose each candidate pair, or the sum of their votes.
    """
    objects, choice = questions(answers)
    k = len(answers.pairs)
    sets, question = different_rows(objects)
    counts = np.bincount(question * k + choice, answers.votes, minlength=k * len(sets))
    return sets, counts.reshape(-1, k).astype(np.float64)


def describe(answers: Answers) -> pd.DataFrame:
    """Describe each person by their answers; a vote counts as an answer.

    Answers do not hold the display order, so that a preference for a position cannot be detected.
    Agreement with others needs questions that several people answered. To exclude persons by a
    rule, query the table and select the answers of the others.

    Parameters
    ----------
    answers : Answers
        Answers whose persons are known.

    Returns
    -------
    DataFrame
        One row per person, with the names of the persons as the index. NaN marks a value that is
        unknown for a person. A column is missing if its values are unknown for everybody.

        ==============================  ========================================================
        ``answers``                     The number of answers.
        ``agreement``, ``shared``       The share of a person's answers that equal the most frequent
                                        answer of the other persons to the same question (a tie
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
        If the persons are not known.

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
    person = pd.Series(answers.person, name="person")
    weights = answers.all_weights
    objects, chosen = questions(answers)
    question = different_rows(objects)[1]
    pair = question * len(answers) + pd.factorize(person)[0]  # a number for each of their pairs
    agreement, is_shared = _agreement(answers, chosen, question, pair)
    shared = weights * is_shared
    table = pd.DataFrame({"answers": weights, "shared": shared, "agreement": shared * agreement})
    table = table.groupby(person).sum()
    table["agreement"] /= table["shared"]
    if answers.weights is None:
        table = table.astype({"answers": int, "shared": int})
    previous = pd.Series(chosen).groupby(pair).shift()
    alike = (previous == chosen).astype(float).where(previous.notna()).groupby(person)
    table[["repeats", "alike"]] = alike.agg(["count", "mean"])
    if answers.seconds is not None:
        timed = weights * ~np.isnan(answers.seconds)
        fast = pd.DataFrame({"fast": timed * (answers.seconds < FAST), "timed": timed})
        table["seconds"] = pd.Series(answers.seconds).groupby(person).median()
        table["fast"] = fast.groupby(person).sum().eval("fast / timed")
    if answers.catch_passed is not None and answers.catch_person is not None:
        of_person = pd.Series(answers.catch_passed).groupby(answers.catch_person)
        table["catch"] = of_person.mean()
        table["catch_trials"] = of_person.size().reindex(table.index, fill_value=0)
    return table


def _agreement(
    answers: Answers, chosen: np.ndarray, question: np.ndarray, pair: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The agreement of each answer with the others' most frequent one; whether others exist.

    `question` and `pair` number the questions, and the pairs of a question and a person.
    """
    import pandas as pd

    k = len(answers.pairs)
    votes = pd.DataFrame(np.eye(k)[chosen] * answers.all_weights[:, None])
    of_person = votes.groupby(pair).transform("sum")
    votes_of_others = (votes.groupby(question).transform("sum") - of_person).to_numpy()
    highest = votes_of_others.max(axis=1, keepdims=True)
    shares = choice(votes_of_others, 1e-9 * np.maximum(1, highest))
    return shares[np.arange(len(answers)), chosen], highest[:, 0] > 1e-9
