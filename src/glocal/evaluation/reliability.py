"""Reliability: the agreement of random halves of the people, and the ceiling."""

from __future__ import annotations

from functools import partial

import numpy as np
from jaxtyping import Float, Int

from glocal.data.answers import Answers
from glocal.data.people import different_rows
from glocal.errors import DataError
from glocal.evaluation.ceiling import ceiling, ceiling_in_words
from glocal.evaluation.comparison import Result, Value
from glocal.evaluation.intervals import ItemValues
from glocal.scores import PEOPLE, Score
from glocal.similarity import Mask, Numbers, Values

SPLITS = 100
"""Random halves of the people whose similarities are correlated."""
_SEED = 0


class Reliability(Result):
    """How far people agree with each other, which `reliability` measures."""

    def summary(self) -> str:
        """The ceiling and the correlation of halves of the people, if they are known, in words."""
        sentences = []
        bounds = self.ceiling
        if bounds is not None:
            sentence = ceiling_in_words(bounds.scores)
            sentences.append(sentence)
        if self.split_half is not None:
            sentences.append(
                f"Halves of the {self.n_people:,} people correlate by {self.split_half:.2f} about "
                f"the similarities of {self.n_pairs:,} pairs; all people would correlate with as "
                f"many others by {self.spearman_brown:.2f}."
            )
        return " ".join(sentences) or "No pair or question was judged by different people."


def reliability(answers: Answers, *, splits: int = SPLITS) -> Reliability:
    """Measure how far people agree with each other; no features are needed.

    The people are cut into random halves `splits` times. In a half, the similarity of a pair of
    objects is the share of the answers which chose the pair, of those for which it was a candidate.
    The halves are compared by the Pearson correlation r of these similarities, over the pairs that
    both know. By the formula of Spearman and Brown, 2 r / (1 + r) is the correlation that all
    people would have with as many others.

    Parameters
    ----------
    answers : Answers
        Answers with the person who gave each of them.
    splits : int
        The number of random cuts.

    Returns
    -------
    Reliability
        ``split_half``, the mean of r over the cuts; ``spearman_brown``, 2 r / (1 + r) of this mean;
        both are None if halves know no pairs in common. ``n_people``; ``n_pairs``, the mean number
        of pairs that both halves know. ``ceiling``, by `glocal.evaluation.ceiling.ceiling`, is
        None if it is not known.

    Raises
    ------
    DataError
        The answers do not say who gave them, or there are fewer than two people.

    References
    ----------
    Brown (1910), Some experimental results in the correlation of mental abilities, British Journal
    of Psychology 3.

    Examples
    --------
    >>> from glocal.data.world import simulated_world
    >>> answers = simulated_world(n_object=1, n_answers=9000, n_local=10).answers
    >>> people_of_study = Answers(answers.objects, person=np.arange(9000) % 10)
    >>> round(reliability(people_of_study).spearman_brown, 1)
    0.9
    """
    n_people = answers.n_people or 0
    if n_people < 2:
        raise DataError(
            "halves of the people can be compared only if the answers say who gave them, and if "
            f"there are at least two; here {n_people or 'no'} people are known. Import the answers "
            "with a column for the participant."
        )
    correlations, n_pairs = _correlations_of_halves(answers, splits)
    bounds = ceiling(answers)
    halves: dict[str, float] = {}
    n = 0
    if len(correlations):
        r = float(correlations.mean())
        halves["split_half"] = r
        halves["spearman_brown"] = 2 * r / (1 + r)
        mean_n_pairs = float(n_pairs.mean())
        n = round(mean_n_pairs)
    score = partial(Score, "reliability", n=n, transform=PEOPLE)
    scores = [score(name, value) for name, value in halves.items()]
    if bounds is not None:
        scores += bounds.scores
    values: dict[str, Value] = {"split_half": None, "spearman_brown": None}
    values.update(halves)
    values["n_people"] = n_people
    values["n_pairs"] = n
    values["ceiling"] = bounds
    no_units = ItemValues(values=np.empty(0))
    return Reliability(tuple(scores), no_units, values)


def _correlations_of_halves(answers: Answers, splits: int) -> tuple[Values, Numbers]:
    """The correlation of the halves of each cut, and the number of pairs; some cuts have none."""
    pair_numbers = _pair_numbers(answers)
    weights = answers.all_weights
    persons = np.asarray(answers.person)
    people, person = np.unique(persons, return_inverse=True)
    n_people = len(people)
    is_first = np.arange(n_people) < n_people // 2
    rng = np.random.default_rng(_SEED)
    correlations = []
    n_pairs = []
    for _ in range(splits):
        is_first = rng.permutation(is_first)
        is_of_first = is_first[person]
        first, second = _similarities_of_halves(pair_numbers, weights, is_of_first)
        if _varies(first) and _varies(second):
            correlation = np.corrcoef(first, second)[0, 1]
            correlations.append(correlation)
            n_pairs.append(len(first))
    return np.array(correlations), np.array(n_pairs, dtype=np.int64)


def _varies(values: Values) -> bool:
    """Whether there are values, and not all are equal."""
    return len(values) > 0 and float(values.std()) > 0


def _pair_numbers(answers: Answers) -> Int[np.ndarray, "t k"]:
    """Number the pairs of objects among the candidates of each answer, the chosen one first."""
    columns = np.array(answers.pairs)
    pairs = answers.objects[:, columns]  # (answers, candidates, 2)
    ascending = np.sort(pairs, axis=2)
    rows = ascending.reshape(-1, 2)
    _, numbers = different_rows(rows)
    return numbers.reshape(pairs.shape[:2])


def _similarities_of_halves(
    pair_numbers: Int[np.ndarray, "t k"],
    weights: Values,
    is_first: Mask,
) -> Float[np.ndarray, "2 pairs"]:
    """The similarities of the pairs that both halves of the answers know, in each half."""
    first_counts = _pair_counts(pair_numbers, weights * is_first)
    second_counts = _pair_counts(pair_numbers, weights * ~is_first)
    counts = np.stack([first_counts, second_counts])
    chosen, shown = counts.T  # (pairs, halves)
    is_known = shown.all(axis=1)
    similarities = chosen[is_known] / shown[is_known]
    return similarities.T


def _pair_counts(
    pair_numbers: Int[np.ndarray, "t k"], weights: Values
) -> Float[np.ndarray, "pairs 2"]:
    """The weights of the answers that chose each numbered pair, and of those that could have."""
    n_candidates = pair_numbers.shape[1]
    largest = int(pair_numbers.max(initial=-1))
    n_pairs = largest + 1
    chosen_numbers = pair_numbers[:, 0]
    chosen = np.bincount(chosen_numbers, weights, n_pairs)
    weights_of_pairs = np.repeat(weights, n_candidates)
    shown = np.bincount(pair_numbers.ravel(), weights_of_pairs, n_pairs)
    return np.stack([chosen, shown], axis=1)
