"""The ceiling: how far people agree with each other on questions that were repeated."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np

from glocal.data.answers import Answers
from glocal.data.people import asked_once, tally
from glocal.evaluation.comparison import Result, Value
from glocal.evaluation.intervals import ObjectValues
from glocal.scores import PEOPLE, Score
from glocal.similarity import Choices, Objects, Values

MIN_REPEATED_SHARE = 0.1
"""If a smaller share of the answers is to repeated questions, these repeat by accident."""
MIN_ANSWERS_A_QUESTION = 5
"""With fewer answers a question the ceiling has no upper end."""
MIN_REPEATED_ANSWERS = 200
"""With fewer answers no paragraph states their ceiling."""


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
