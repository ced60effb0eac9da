"""What the page of a study says of more answers, and that its scores are of unseen answers."""

import re

import numpy as np
import pytest

pytest.importorskip("altair")

from glocal import Answers, Features, LinearTransform
from glocal.data.splits import question_folds
from glocal.evaluation.agreement import odd_one_out
from glocal.report import transform_run
from glocal.report.study import MIN_GAIN, advise
from glocal.results import Score

N_OBJECTS = 40


def random_answers(n, *, people=4, seed=0):
    """Answers about random objects, as many of each person."""
    rng = np.random.default_rng(seed)
    rows = np.array([rng.choice(N_OBJECTS, 3, replace=False) for _ in range(n)])
    return Answers.from_array(rows, person=np.arange(n) % people)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.01, 0.05, "Go on collecting"),
        (-0.01, 0.05, "It is open"),
        (-0.004, 0.004, "Stop collecting"),
        (0.001, 0.004, "Stop collecting"),
        (-0.05, -0.01, "Stop collecting"),
        (None, None, "It is open"),
    ],
)
def test_the_interval_of_the_last_doubling_decides_whether_to_go_on(low, high, verdict):
    """Surely below a point of agreement: stop; else surely above zero: go on; else open."""
    value = 0.02 if low is None else (low + high) / 2
    gain = Score("odd-one-out", "accuracy_cosine_difference", value, low, high, 1000)
    advice, reason = advise(gain, random_answers(1000))
    assert advice.startswith(verdict)
    assert ("95 % interval" in reason) == (low is not None)
    assert MIN_GAIN == 0.01, "the page of the docs names it"


@pytest.mark.parametrize("n", [200, 1000, 8000])
def test_the_next_doubling_gains_what_the_formula_of_the_plan_says(n):
    """The measured gain, from 3/8 to 3/4 of the answers, times the ratio of the formula's gains."""

    def share(t):
        return 1 / (1 + (25 * N_OBJECTS / t) ** 0.8)

    gain = Score("odd-one-out", "accuracy_cosine_difference", 0.03, 0.02, 0.04, n)
    _, reason = advise(gain, random_answers(n))
    expected = 0.03 * (share(2 * n) - share(n)) / (share(0.75 * n) - share(0.375 * n))
    assert f"by about {100 * expected:+.1f} points" in reason
    assert "from 4 more people like these" in reason
    shares = [f"{100 * share(t):.0f} %" for t in (n, 2 * n)]
    assert re.findall(r"[0-9]+ %(?= of what|\.$)", reason) == shares


def test_answers_are_scored_by_the_fit_that_has_not_seen_them():
    """With folds the agreement is that of the folds on their parts, not that of the transform."""
    answers = random_answers(600)
    rng = np.random.default_rng(1)
    features = Features(rng.normal(size=(N_OBJECTS, 5)))

    def transform():
        return LinearTransform(rng.normal(size=(5, 5)).astype(np.float32), None, 0.0, 1.0)

    whole = transform()
    folds = [(transform(), rows) for rows in question_folds(answers)]
    rows = transform_run("fit", whole, features, answers, folds=folds).rows
    X = np.asarray(features.matrix)
    right = sum(
        len(part) * odd_one_out(fit.apply(X), answers.select(part)).accuracy for fit, part in folds
    )
    is_agreement = (rows["transform"] == "fit") & (rows["metric"] == "accuracy_cosine")
    (agreement,) = rows.loc[is_agreement, "value"]
    assert agreement == pytest.approx(right / len(answers))
    assert agreement != pytest.approx(odd_one_out(whole.apply(X), answers).accuracy)
