"""How reliable people's answers are: the ceiling, and the correlation of halves of the people."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from glocal.data.answers import Answers
from glocal.errors import DataError
from glocal.evaluation.agreement import ceiling, ceiling_in_words
from glocal.evaluation.comparison import Result
from glocal.evaluation.intervals import ItemValues
from glocal.similarity import Numbers, Values

SPLITS = 100
_SEED = 0


def reliability(answers: Answers, *, splits: int = SPLITS) -> Result:
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
    Result
        ``split_half``, the mean of r over the cuts; ``spearman_brown``, 2 r / (1 + r) of this mean;
        both are None if halves know no pairs in common. ``n_people``; ``n_pairs``, the mean number
        of pairs that both halves know. ``ceiling``, by `glocal.evaluation.agreement.ceiling`, is
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
    if (answers.n_people or 0) < 2:
        raise DataError(
            "halves of the people can be compared only if the answers say who gave them, and if "
            f"there are at least two; here {answers.n_people or 'no'} people are known. Import the "
            "answers with a column for the participant."
        )
    correlations, n_pairs = _correlations_of_halves(answers, splits)
    r = float(correlations.mean()) if len(correlations) else None
    values = {
        "split_half": r,
        "spearman_brown": None if r is None else 2 * r / (1 + r),
        "n_people": answers.n_people,
        "n_pairs": round(float(n_pairs.mean())) if len(n_pairs) else 0,
        "ceiling": ceiling(answers),
    }
    return Result((), ItemValues(values=np.empty(0)), values)


def reliability_in_words(result: Result) -> list[str]:
    """The ceiling, if it is known, and the correlation of halves of the people, in sentences."""
    bounds = result.ceiling
    sentences = [] if bounds is None else [ceiling_in_words(bounds.scores)]
    if result.split_half is not None:
        sentences.append(
            f"Halves of the {result.n_people:,} people correlate by {result.split_half:.2f} about "
            f"the similarities of {result.n_pairs:,} pairs; all people would correlate with as "
            f"many others by {result.spearman_brown:.2f}."
        )
    return sentences


def _correlations_of_halves(answers: Answers, splits: int) -> tuple[Values, Numbers]:
    """The correlation of the halves of each cut, and the number of pairs; some cuts have none."""
    number = _pair_numbers(answers)
    weights = answers.all_weights
    people, person = np.unique(np.asarray(answers.person), return_inverse=True)
    is_first = np.arange(len(people)) < len(people) // 2
    rng = np.random.default_rng(_SEED)
    correlations = []
    n_pairs = []
    for _ in range(splits):
        is_first = rng.permutation(is_first)
        of_halves = [weights * half[person] for half in (is_first, ~is_first)]
        halves = np.stack([_similarities(number, of_half) for of_half in of_halves])
        first, second = halves[:, np.isfinite(halves).all(axis=0)]
        if len(first) and first.std() > 0 and second.std() > 0:
            correlations.append(np.corrcoef(first, second)[0, 1])
            n_pairs.append(len(first))
    return np.array(correlations), np.array(n_pairs, dtype=np.int64)


def _similarities(number: Int[np.ndarray, "t k"], weights: Float[np.ndarray, " t"]) -> Values:
    """The share of the weighted answers that chose each pair; NaN for one never shown."""
    n_pairs = int(number.max()) + 1
    shown = np.bincount(number.ravel(), np.repeat(weights, number.shape[1]), n_pairs)
    with np.errstate(invalid="ignore"):
        return np.bincount(number[:, 0], weights, n_pairs) / shown


def _pair_numbers(answers: Answers) -> Int[np.ndarray, "t k"]:
    """The numbers of the candidate pairs of each answer, the chosen one first."""
    objects = answers.objects.astype(np.int64)
    numbering = np.array([int(objects.max()) + 1, 1])
    pairs = [np.sort(objects[:, list(pair)], axis=1) @ numbering for pair in answers.pairs]
    keys = np.stack(pairs, axis=1)
    return np.unique(keys, return_inverse=True)[1].reshape(keys.shape)
