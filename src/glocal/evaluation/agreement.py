"""Agreement with people: of an embedding, with its loss, and of people with each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from glocal.data.answers import Answers
from glocal.data.people import asked_once, different_rows, tally
from glocal.errors import DataError, DataWarning, warn
from glocal.evaluation.comparison import Result, Value, compared
from glocal.evaluation.intervals import ItemValues, ObjectValues
from glocal.scores import AGREEMENT, PEOPLE, Score
from glocal.similarity import (
    SIMILARITIES,
    Choices,
    Embedding,
    Mask,
    Numbers,
    Objects,
    Values,
    choice_loss,
    credit,
    finite,
    of_pairs,
    pair_tolerance,
)

_METRICS = dict(zip(SIMILARITIES, AGREEMENT, strict=True))
MIN_ANSWERS = 30
"""With fewer answers their agreement is too uncertain, and comes with a warning."""
MIN_REPEATED_SHARE = 0.1
"""If a smaller share of the answers is to repeated questions, these repeat by accident."""
MIN_ANSWERS_A_QUESTION = 5
"""With fewer answers a question the ceiling has no upper end."""
MIN_REPEATED_ANSWERS = 200
"""With fewer answers no paragraph states their ceiling."""
SPLITS = 100
"""Random halves of the people whose similarities are correlated."""
_SEED = 0


class AnswerValues(NamedTuple):
    """The credit of an embedding on each answer, whether its choice is a tie, and its loss."""

    credits: Values
    is_tied: Mask
    losses: Values


def odd_one_out(
    Z: np.ndarray, answers: Answers, *, similarity: str = "cosine", interval: bool = True
) -> Result:
    """Score an embedding on answers of any kind.

    The agreement is the weighted share of answers in which the pair that people chose has the
    highest similarity; a tie among k pairs counts 1/k. The loss is the weighted mean of -log
    softmax of the candidate pairs' dot products at the chosen pair (L_global of Muttenthaler et al.
    2023, Eq. 1), whichever similarity decides the agreement.

    Parameters
    ----------
    Z : (n, p) real array
        Standardized features, transformed or not; the answers index its rows.
    similarity : {"cosine", "dot"}
        The similarity that decides the model's choice.
    interval : bool
        Whether to compute `low` and `high`, and to warn if there are too few answers for them.

    Returns
    -------
    Result
        ``agreement`` with ``low`` and ``high``, its 95 % interval over objects and, if they are
        known, people (None without an interval); ``tie_rate``, the share of answers whose highest
        similarity is tied; ``loss`` in nats; ``chance``, the agreement of equal similarities; ``n``
        answers; ``similarity``.

    Raises
    ------
    DataError
        If there is no answer, an index is not a row of Z, or Z holds NaN or infinity.

    Warns
    -----
    DataWarning
        If there are fewer than `MIN_ANSWERS` answers.

    Examples
    --------
    >>> Z = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> odd_one_out(Z, Answers.from_array([[0, 1, 2]]), interval=False).agreement
    1.0
    """
    Z = finite(Z)
    values = _answer_values(Z, answers, similarity)
    units = credit_units(values.credits, answers)
    low = None
    high = None
    if interval:
        _, low, high = units.bounded()
        _warn_if_few(answers)
    means = np.average(values, axis=1, weights=answers.weights)
    agreement, tie_rate, loss = means.tolist()
    n = len(answers)
    settings = {"chance": answers.chance}
    score = partial(Score, "odd-one-out", n=n, settings=settings)
    scores = [
        score(_METRICS[similarity], agreement, low, high),
        score("loss", loss),
        score("tie_rate", tie_rate),
    ]
    return Result.from_scores(
        scores,
        units,
        similarity,
        similarity=similarity,
        ceiling=None,
    )


def _answer_values(Z: Embedding, answers: Answers, similarity: str) -> AnswerValues:
    """The credit, the tie and the loss of an embedding on each answer."""
    S = _similarities(Z, answers, similarity)
    tolerance = pair_tolerance(Z, similarity)
    credits, is_tied = credit(S, tolerance)
    if similarity != "dot":
        S = _similarities(Z, answers, "dot")  # the loss is always of dot products
    losses = choice_loss(S)
    return AnswerValues(credits, is_tied, losses)


def _warn_if_few(answers: Answers) -> None:
    """Warn if there are too few answers for an agreement."""
    n = answers.effective_size
    if n < MIN_ANSWERS:
        warn(
            f"{n:.0f} answers are too few to measure agreement, which needs at least "
            f"{MIN_ANSWERS}. Collect more, or hold out more objects.",
            DataWarning,
        )


def answer_credit(Z: np.ndarray, answers: Answers, similarity: str = "cosine") -> Values:
    """The credit of an embedding on each answer: 0, 1, or 1/(number of tied pairs).

    The weighted mean of the credit is the agreement.
    """
    Z = finite(Z)
    S = _similarities(Z, answers, similarity)
    tolerance = pair_tolerance(Z, similarity)
    credits, _ = credit(S, tolerance)
    return credits


def agreement_scores(credits: Mapping[str, Values], answers: Answers, split: str) -> list[Score]:
    """The scores of arms by their credit on answers, and their differences from the first arm."""
    metric = _METRICS["cosine"]
    results = {}
    for arm, arm_credits in credits.items():
        units = credit_units(arm_credits, answers)
        value, low, high = units.bounded()
        score = Score("odd-one-out", metric, value, low, high, len(answers), split)
        results[arm] = Result((score,), units)
    first, *others = results
    pairs = [(arm, first) for arm in others]
    return compared(results, pairs)


def ceiling(answers: Answers) -> Result | None:
    """Compute how far people agree with each other, a range, from repeated answers of any kind.

    Each answer is compared with the other answers to its question, also by the same person. Only
    questions with `MIN_ANSWERS_A_QUESTION` answers count if they have `MIN_REPEATED_ANSWERS`
    answers in all: they were repeated on purpose, others by accident. Otherwise all repeated
    questions count.

    Returns
    -------
    Result or None
        ``leave_one_out``, the lower end: the share of the ``n_answers`` that equal the majority of
        the other answers to the same question, with ties shared. ``majority``, the upper end: the
        mean over questions of the share of answers that equal the most frequent one, which no
        model can exceed if all questions have equally many answers. Each is (value, low, high),
        with a 95 % interval over questions that accounts for shared objects.
        ``answers_a_question`` is the number of answers to the question of a median answer. Below
        `MIN_ANSWERS_A_QUESTION` there is no upper end, and ``majority`` is None: chance often
        decides which of a few answers is the most frequent. The result is None if no question was
        answered twice, if less than `MIN_REPEATED_SHARE` of all answers are to questions that count
        because all do, or if answers have weights but no whole votes, so that they cannot be
        counted.

    Examples
    --------
    >>> bounds = ceiling(Answers.from_array([[0, 1, 2]] * 4 + [[0, 2, 1]]))
    >>> round(bounds.leave_one_out[0], 3), round(bounds.majority[0], 3)
    (0.8, 0.8)
    """
    questions, counts = _counted_questions(answers)
    if not len(questions):
        return None
    n_answers = counts.sum(axis=1)
    n = int(n_answers.sum())
    answers_a_question = _answers_a_question(n_answers)
    lower_end = _lower_end(questions, counts)
    units = {"leave_one_out": lower_end}
    if answers_a_question >= MIN_ANSWERS_A_QUESTION:
        units["majority"] = _upper_end(questions, counts)
    settings = {"answers_a_question": answers_a_question}
    score = partial(Score, "odd-one-out", n=n, transform=PEOPLE, settings=settings)
    scores = []
    values: dict[str, Value] = {"majority": None}
    for name, end in units.items():
        bounds = end.bounded()
        values[name] = bounds
        row = score(f"ceiling_{name}", *bounds)
        scores.append(row)
    values["n_answers"] = n
    values.update(settings)
    return Result(tuple(scores), lower_end, values)


def _lower_end(questions: Objects, counts: Choices) -> ObjectValues:
    """The share of the answers to each question that equal the majority of the others.

    If k choices of the others are the most frequent, each of them counts 1/k.
    """
    n_choices = counts.shape[1]
    one_answer = np.eye(n_choices)
    others = counts[:, None] - one_answer  # (questions, choice of one answer, choices)
    most = others.max(axis=2, keepdims=True)
    is_most = others == most
    n_tied = is_most.sum(axis=2, keepdims=True)
    credits = is_most / n_tied
    credits_of_choices = np.diagonal(credits, axis1=1, axis2=2)
    agreeing = counts * credits_of_choices
    n_agreeing = agreeing.sum(axis=1)
    n_answers = counts.sum(axis=1)
    shares = n_agreeing / n_answers
    return ObjectValues(values=shares, objects=questions, weights=n_answers)


def _upper_end(questions: Objects, counts: Choices) -> ObjectValues:
    """The share of the answers to each question that equal the most frequent one."""
    n_answers = counts.sum(axis=1)
    most = counts.max(axis=1)
    shares = most / n_answers
    return ObjectValues(values=shares, objects=questions)


def _counted_questions(answers: Answers) -> tuple[Objects, Choices]:
    """The objects of the questions that count for the ceiling, and the count of each choice."""
    questions, counts = _repeated_questions(answers)
    n_answers = counts.sum(axis=1)
    is_often = n_answers >= MIN_ANSWERS_A_QUESTION
    n_often = n_answers[is_often].sum()
    if n_often >= MIN_REPEATED_ANSWERS:
        return questions[is_often], counts[is_often]
    least = MIN_REPEATED_SHARE * answers.effective_size
    if n_answers.sum() < least:
        return questions[:0], counts[:0]
    return questions, counts


def _answers_a_question(n_answers: Values) -> float:
    """The number of answers to the question of a median answer."""
    repeats = n_answers.astype(int)
    numbers = np.repeat(n_answers, repeats)
    return float(np.median(numbers))


def _repeated_questions(answers: Answers) -> tuple[Objects, Choices]:
    """The objects of the questions that were answered twice or more, and the count of each choice.

    Both are empty if the answers have weights that are no whole votes, which cannot be counted.
    """
    votes = answers.votes
    if votes is None:
        is_weighted = answers.weights is not None
    else:
        parts_of_votes = votes % 1
        is_weighted = bool(parts_of_votes.any())
    if is_weighted or not len(answers):
        n_choices = len(answers.pairs)
        no_counts = np.empty((0, n_choices))
        return answers.objects[:0], no_counts
    if votes is None:
        is_alone = asked_once(answers.objects)
        answers = answers.select(~is_alone)
    questions, counts = tally(answers)
    n_answers = counts.sum(axis=1)
    is_repeated = n_answers >= 2
    return questions[is_repeated], counts[is_repeated]


def ceiling_in_words(scores: Iterable[Score]) -> str:
    """The ceiling in the words of every page and command; empty if no score is one."""
    ends = {}
    for score in scores:
        end = score.metric.removeprefix("ceiling_")
        ends[end] = score
    lower = ends.get("leave_one_out")
    if lower is None:
        return ""
    answers_a_question = lower.settings["answers_a_question"]
    number = f"{answers_a_question:g} answers a question"
    if lower.low is not None:
        number += ", 95 % intervals in brackets"
    upper = ends.get("majority")
    if upper is not None:
        bounds = f"{_in_percent(lower)} to {_in_percent(upper)}"
        return f"People agree with each other on {bounds} % of {lower.n:,} answers ({number})."
    bounds = f"at least {_in_percent(lower)}"
    return (
        f"People agree with each other on {bounds} % of {lower.n:,} answers ({number}; an upper "
        f"end needs {MIN_ANSWERS_A_QUESTION}, since the most frequent of few is often so by "
        "chance)."
    )


def _in_percent(score: Score) -> str:
    """A score in per cent, with its interval in brackets if it has one."""
    value = f"{100 * score.value:.1f}"
    if score.low is None or score.high is None:
        return value
    return f"{value} [{100 * score.low:.1f}, {100 * score.high:.1f}]"


def credit_units(credits: Values, answers: Answers) -> ObjectValues:
    """The units of one value per answer, with the objects and the people of the answers."""
    return ObjectValues(
        values=credits,
        objects=answers.objects,
        weights=answers.weights,
        persons=answers.person,
    )


def _similarities(Z: np.ndarray, answers: Answers, similarity: str) -> Choices:
    """The similarities of the candidate pairs of each answer, which must be about rows of Z."""
    if not isinstance(answers, Answers):
        raise DataError(
            f"`answers` is a {type(answers).__name__}; pass Answers.from_array(triplets)."
        )
    if not len(answers):
        raise DataError("there is no answer to score.")
    answers.check_range(len(Z))
    return of_pairs(Z, answers.objects, answers.pairs, similarity)


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
