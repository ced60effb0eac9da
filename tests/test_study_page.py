"""The page of a study advises whether to collect more, and scores answers that no fit has seen."""

import re
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("altair")

from glocal import Answers, Features, LinearTransform
from glocal.data.seen import sketch
from glocal.data.splits import question_folds
from glocal.evaluation.agreement import ceiling, odd_one_out
from glocal.report import transform_run
from glocal.report.study import _agreement as ceiling_in_words
from glocal.report.study import advise
from glocal.results import Score

N_OBJECTS = 40


def random_answers(n, *, people=4, seed=0):
    """Answers about random objects, equally many from each person."""
    rng = np.random.default_rng(seed)
    rows = np.array([rng.choice(N_OBJECTS, 3, replace=False) for _ in range(n)])
    return Answers.from_array(rows, person=np.arange(n) % people)


@pytest.mark.parametrize(
    ("low", "high", "attainable", "verdict"),
    [
        (0.01, 0.05, None, "Go on collecting"),
        (-0.01, 0.05, None, "It is open"),
        (-0.01, 0.05, 0.4, "Go on collecting"),
        (-0.01, 0.05, 0.04, "Stop collecting"),
        (-0.004, 0.004, None, "Stop collecting"),
        (0.001, 0.004, 0.4, "Stop collecting"),
        (None, None, None, "It is open"),
    ],
)
def test_the_formula_and_the_last_doubling_decide_whether_to_go_on(low, high, attainable, verdict):
    """If the formula or the last doubling promises less than a point of agreement, the advice is to
    stop; else it is to go on, or open if neither is certain.
    """
    value = 0.02 if low is None else (low + high) / 2
    gain = Score("odd-one-out", "accuracy_cosine_difference", value, low, high, 1000)
    advice, reason = advise(gain, random_answers(1000), attainable)
    assert advice.startswith(verdict)
    assert ("95 % interval" in reason) == (low is not None)


@pytest.mark.parametrize("n", [200, 1000, 8000])
def test_twice_as_many_answers_add_what_the_formula_of_the_plan_says(n):
    """The advice states the shares that n and 2n answers attain by the formula of the plan, and
    their difference times the attainable gain.
    """
    gain = Score("odd-one-out", "accuracy_cosine_difference", 0.03, 0.02, 0.04, n)
    advice, reason = advise(gain, random_answers(n), 0.4)
    shares = [1 / (1 + (25 * N_OBJECTS / t) ** 0.8) for t in (n, 2 * n)]
    assert f"would add about {40 * (shares[1] - shares[0]):.1f} points" in advice
    assert "from 4 more people like these" in reason
    assert re.findall(r"([0-9]+) %(?: of what|\.)", reason) == [f"{100 * x:.0f}" for x in shares]


def test_the_ceiling_is_called_the_mean_over_questions_that_it_is():
    """Of 22 answers 21 are the most frequent ones, and the mean of 1 and .5 is no bound on them."""
    rows = [[0, 1, 2]] * 20 + [[3, 4, 5], [3, 5, 4]]
    text = ceiling_in_words(ceiling(Answers.from_array(rows)))
    assert "a fraction of 0.750" in text
    assert "as a mean over questions. If all questions have equally many answers, no model" in text
    assert "A fraction of 0.909" in text
    assert "Of 22 answers" in text


def test_answers_are_scored_by_the_fit_that_has_not_seen_them():
    """With folds, each answer is scored by the fit without its fold, not by the whole fit."""
    answers = random_answers(600)
    rng = np.random.default_rng(1)
    features = Features(rng.normal(size=(N_OBJECTS, 5)))

    def transform():
        return LinearTransform(rng.normal(size=(5, 5)).astype(np.float32), None, 0.0, 1.0)

    whole = replace(transform(), meta={"fitted": sketch(features, answers)})
    folds = [(transform(), answers.select(rows)) for rows in question_folds(answers)]
    run = transform_run("fit", whole, features, answers, folds=folds)
    rows = run.rows
    assert run.record["seen"] is False
    X = np.asarray(features.matrix)
    right = sum(len(part) * odd_one_out(fit.apply(X), part).accuracy for fit, part in folds)
    is_agreement = (rows["transform"] == "fit") & (rows["metric"] == "accuracy_cosine")
    (agreement,) = rows.loc[is_agreement, "value"]
    assert agreement == pytest.approx(right / len(answers))
    assert agreement != pytest.approx(odd_one_out(whole.apply(X), answers).accuracy)
