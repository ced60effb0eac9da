"""Agreement with people: of an embedding, with its loss, and of people with each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np
from jaxtyping import Float, Int

from glocal.data.answers import Answers
from glocal.data.people import asked_once, different_rows, tally
from glocal.errors import DataError, DataWarning, warn
from glocal.evaluation.comparison import Result, compared
from glocal.evaluation.intervals import FRACTION, ItemValues, ObjectValues
from glocal.scores import AGREEMENT, PEOPLE, Score
from glocal.similarity import (
    Choices,
    Numbers,
    Objects,
    Values,
    choice_loss,
    credit,
    finite,
    of_pairs,
    pair_tolerance,
)

_METRICS = dict(zip(("cosine", "dot"), AGREEMENT, strict=True))
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
    S = _of_pairs(Z, answers, similarity)
    credits, is_tied = credit(S, pair_tolerance(Z, similarity))
    losses = choice_loss(S if similarity == "dot" else _of_pairs(Z, answers, "dot"))
    units = credit_units(credits, answers)
    low = high = None
    if interval:
        low, high = units.estimate().interval(FRACTION)
        if answers.effective_size < MIN_ANSWERS:
            warn(
                f"{answers.effective_size:.0f} answers are too few to measure agreement, "
                f"which needs at least {MIN_ANSWERS}. Collect more, or hold out more objects.",
                DataWarning,
            )

    means = np.average([credits, is_tied, losses], axis=1, weights=answers.weights)
    agreement, tie_rate, loss = means.tolist()
    score = partial(Score, "odd-one-out", n=len(answers), settings={"chance": answers.chance})
    scores = (
        score(_METRICS[similarity], agreement, low, high),
        score("loss", loss),
        score("tie_rate", tie_rate),
    )
    return Result.from_scores(scores, units, similarity, similarity=similarity, ceiling=None)


def answer_credit(Z: np.ndarray, answers: Answers, similarity: str = "cosine") -> Values:
    """The credit of an embedding on each answer: 0, 1, or 1/(number of tied pairs).

    The weighted mean of the credit is the agreement.
    """
    Z = finite(Z)
    return credit(_of_pairs(Z, answers, similarity), pair_tolerance(Z, similarity))[0]


def agreement_scores(credits: Mapping[str, Values], answers: Answers, split: str) -> list[Score]:
    """The scores of arms by their credit on answers, and their differences from the first arm."""
    results = {}
    for arm, arm_credits in credits.items():
        units = credit_units(arm_credits, answers)
        score = Score("odd-one-out", AGREEMENT[0], *units.bounded(), len(answers), split)
        results[arm] = Result((score,), units)
    first, *others = results
    return compared(results, [(arm, first) for arm in others])


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
    questions, counts = _repeated_questions(answers)  # (questions, objects), (questions, choices)
    n_answers = counts.sum(axis=1)
    is_often = n_answers >= MIN_ANSWERS_A_QUESTION
    if n_answers[is_often].sum() >= MIN_REPEATED_ANSWERS:
        questions, counts, n_answers = questions[is_often], counts[is_often], n_answers[is_often]
    elif not len(counts) or n_answers.sum() < MIN_REPEATED_SHARE * answers.effective_size:
        return None
    n = int(n_answers.sum())
    answers_a_question = float(np.median(np.repeat(n_answers, n_answers.astype(int))))
    units = {
        "leave_one_out": ObjectValues(
            values=_agreeing(counts) / n_answers, objects=questions, weights=n_answers
        )
    }
    if answers_a_question >= MIN_ANSWERS_A_QUESTION:
        units["majority"] = ObjectValues(values=counts.max(axis=1) / n_answers, objects=questions)
    bounds = {name: end.bounded() for name, end in units.items()}
    settings = {"answers_a_question": answers_a_question}
    score = partial(Score, "odd-one-out", n=n, transform=PEOPLE, settings=settings)
    scores = tuple(score(f"ceiling_{name}", *bound) for name, bound in bounds.items())
    values = {"majority": None, **bounds, "n_answers": n, **settings}
    return Result(scores, units["leave_one_out"], values)


def _repeated_questions(answers: Answers) -> tuple[Objects, Choices]:
    """The objects of the questions that were answered twice or more, and the count of each choice.

    Both are empty if the answers have weights that are no whole votes, which cannot be counted.
    """
    votes = answers.votes
    is_counted = answers.weights is None if votes is None else not (votes % 1).any()
    if not len(answers) or not is_counted:
        return answers.objects[:0], np.empty((0, len(answers.pairs)))
    if votes is None:
        answers = answers.select(~asked_once(answers.objects))
    questions, counts = tally(answers)
    is_repeated = counts.sum(axis=1) >= 2
    return questions[is_repeated], counts[is_repeated]


def ceiling_in_words(scores: Iterable[Score]) -> str:
    """The ceiling in the words of every page and command; empty if no score is one."""
    ends = {score.metric.removeprefix("ceiling_"): score for score in scores}
    lower = ends.get("leave_one_out")
    if lower is None:
        return ""
    number = f"{lower.settings['answers_a_question']:g} answers a question"
    if lower.low is not None:
        number += ", 95 % intervals in brackets"
    if "majority" in ends:
        bounds = f"{_in_percent(lower)} to {_in_percent(ends['majority'])}"
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
        values=credits, objects=answers.objects, weights=answers.weights, persons=answers.person
    )


def _of_pairs(Z: np.ndarray, answers: Answers, similarity: str) -> Choices:
    if not isinstance(answers, Answers):
        raise DataError(
            f"`answers` is a {type(answers).__name__}; pass Answers.from_array(triplets)."
        )
    if not len(answers):
        raise DataError("there is no answer to score.")
    answers.check_range(len(Z))
    return of_pairs(Z, answers.objects, answers.pairs, similarity)


def _agreeing(counts: Choices) -> Values:
    """The number of answers to each question that equal the majority of the others, ties shared."""
    others = counts[:, None] - np.eye(counts.shape[1])  # (questions, choice of one answer, choices)
    is_most = others == others.max(axis=2, keepdims=True)
    shares = is_most / is_most.sum(axis=2, keepdims=True)
    return (counts * np.diagonal(shares, axis1=1, axis2=2)).sum(axis=1)


class Reliability(Result):
    """How far people agree with each other, which `reliability` measures."""

    def summary(self) -> str:
        """The ceiling and the correlation of halves of the people, if they are known, in words."""
        bounds = self.ceiling
        sentences = [] if bounds is None else [ceiling_in_words(bounds.scores)]
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
    if (answers.n_people or 0) < 2:
        raise DataError(
            "halves of the people can be compared only if the answers say who gave them, and if "
            f"there are at least two; here {answers.n_people or 'no'} people are known. Import the "
            "answers with a column for the participant."
        )
    correlations, n_pairs = _correlations_of_halves(answers, splits)
    bounds = ceiling(answers)
    halves: dict[str, float] = {}
    n = 0
    if len(correlations):
        r = float(correlations.mean())
        halves = {"split_half": r, "spearman_brown": 2 * r / (1 + r)}
        n = round(float(n_pairs.mean()))
    scores = [
        Score("reliability", name, value, n=n, transform=PEOPLE) for name, value in halves.items()
    ]
    if bounds is not None:
        scores += bounds.scores
    unknown = {"split_half": None, "spearman_brown": None}
    values = {"n_people": answers.n_people, "n_pairs": n, "ceiling": bounds}
    return Reliability(
        tuple(scores), ItemValues(values=np.empty(0)), {**unknown, **halves, **values}
    )


def _correlations_of_halves(answers: Answers, splits: int) -> tuple[Values, Numbers]:
    """The correlation of the halves of each cut, and the number of pairs; some cuts have none."""
    pairs = np.sort(answers.objects[:, np.array(answers.pairs)], axis=2)  # the chosen one first
    number = different_rows(pairs.reshape(-1, 2))[1].reshape(pairs.shape[:2])
    weights = answers.all_weights
    people, person = np.unique(np.asarray(answers.person), return_inverse=True)
    is_first = np.arange(len(people)) < len(people) // 2
    rng = np.random.default_rng(_SEED)
    correlations = []
    n_pairs = []
    for _ in range(splits):
        is_first = rng.permutation(is_first)
        halves = [_pair_counts(number, weights * half[person]) for half in (is_first, ~is_first)]
        chosen, shown = np.stack(halves).T  # (pairs, halves)
        is_known = shown.all(axis=1)
        first, second = (chosen[is_known] / shown[is_known]).T
        if len(first) and first.std() > 0 and second.std() > 0:
            correlations.append(np.corrcoef(first, second)[0, 1])
            n_pairs.append(len(first))
    return np.array(correlations), np.array(n_pairs, dtype=np.int64)


def _pair_counts(number: Int[np.ndarray, "t k"], weights: Values) -> Float[np.ndarray, "pairs 2"]:
    """The weights of the answers that chose each numbered pair, and of those that could have."""
    n = int(number.max(initial=-1)) + 1
    chosen = np.bincount(number[:, 0], weights, n)
    shown = np.bincount(number.ravel(), np.repeat(weights, number.shape[1]), n)
    return np.stack([chosen, shown], axis=1)
