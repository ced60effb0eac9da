"""What holds for every evaluation: the names of its metrics, the units behind its scores, the rows
that it refuses, ties, and rows at one point.
"""

import re

import numpy as np
import pytest
from scipy.spatial.distance import squareform
from world import ROOT, answers

from glocal import (
    Answers,
    Features,
    anomaly,
    answer_credit,
    few_shot,
    neighbours_kept,
    odd_one_out,
    retrieval,
    rsa,
    structure,
)
from glocal.errors import DataError
from glocal.evaluation.anomaly import anomaly_against
from glocal.evaluation.ceiling import ceiling
from glocal.evaluation.comparison import Result, compared
from glocal.evaluation.intervals import ItemValues
from glocal.evaluation.structure import cka, neighbours

RNG = np.random.default_rng(2)
ROWS = RNG.normal(size=(40, 5))
LABELS = np.repeat(np.arange(4), 10)
ANSWERS = answers(200, 40)
RDMS = np.array([squareform(RNG.uniform(size=780)) for _ in range(3)])


def evaluations(Z, X):
    """Each evaluation of rows Z, or of X beside them, by a name."""
    return {
        "agreement": lambda: odd_one_out(Z, ANSWERS),
        "dot products": lambda: odd_one_out(Z, ANSWERS, similarity="dot"),
        "credit": lambda: answer_credit(Z, ANSWERS),
        "rsa": lambda: rsa(Z, RDMS),
        "rsa, dot": lambda: rsa(Z, RDMS, kernel="dot"),
        "rsa, correlation": lambda: rsa(Z, RDMS, kernel="correlation"),
        "few-shot, train": lambda: few_shot(Z, LABELS, X, LABELS, probe="ncm"),
        "few-shot, test": lambda: few_shot(X, LABELS, Z, LABELS, probe="ncm"),
        "few-shot, logistic": lambda: few_shot(Z, LABELS, draws=2),
        "few-shot, 1nn": lambda: few_shot(Z, LABELS, draws=2, probe="1nn"),
        "names": lambda: few_shot(
            Z, LABELS, shots=0, texts=Features(X[::10], (*"0123",)), originals=X
        ),
        "labels": lambda: few_shot(Z, LABELS, shots=None),
        "labels, ncm": lambda: few_shot(Z, LABELS, X, LABELS, shots=None, probe="ncm"),
        "anomaly, train": lambda: anomaly(Z, LABELS, X, LABELS),
        "anomaly, test": lambda: anomaly(X, LABELS, Z, LABELS, mode="leave-one-out"),
        "anomalies": lambda: anomaly_against(X, X, Z),
        "queries": lambda: retrieval(Z, LABELS),
        "gallery": lambda: retrieval(X, LABELS, Z, LABELS),
        "structure": lambda: structure(X, Z, k=5),
        "neighbours kept": lambda: neighbours_kept(Z, X, 5),
        "neighbours": lambda: neighbours(Z, 5),
        "cka": lambda: cka(X, Z),
    }


every = pytest.mark.parametrize("name", evaluations(ROWS, ROWS))


@pytest.fixture(scope="module")
def results():
    """One result of every evaluation, with each similarity, kernel and probe."""
    scored = [evaluation() for evaluation in evaluations(ROWS, ROWS[::-1].copy()).values()]
    asked_again = Answers(np.tile(ANSWERS.objects, (5, 1)))
    return [ceiling(asked_again), *(result for result in scored if isinstance(result, Result))]


def test_the_metrics_of_all_results_are_those_of_the_docs(results):
    """docs/file-formats.md lists exactly the tasks, metrics and settings that the
    evaluations give.
    """
    page = (ROOT / "docs" / "file-formats.md").read_text("utf-8")
    block = page.split("| command | metrics | settings |")[1].split("\n\n")[0]
    lines = [re.findall(r"`([^`]+)`", line) for line in block.splitlines()[2:]]
    documented = {(task, name) for task, *names in lines for name in names}
    scores = [score for result in results for score in result.scores]
    stated = {(score.task, name) for score in scores for name in (score.metric, *score.settings)}
    assert stated == documented


def test_the_first_score_is_the_mean_of_the_units(results):
    """The first score of a result is the mean of its units with its interval, and units that are
    lower by a constant differ by that constant, whatever they share.
    """
    for result in results:
        first, units = result.scores[0], result.units
        assert (first.value, first.low, first.high) == pytest.approx(units.bounded())
        nothing = ItemValues(values=0 * units.values)
        assert units.minus(nothing).mean == pytest.approx(first.value)
        lower = Result(result.scores, ItemValues(values=units.values - 0.25))
        row = compared({"arm": result, "before": lower}, [("arm", "before")])[-1]
        assert row.metric == f"{first.metric}_difference"
        assert row.value == pytest.approx(0.25)


def test_completion_lists_the_values_of_a_result(results):
    """`dir` of a result has every value that its attributes give, and its methods."""
    for result in results:
        assert {*result.values, "scores", "table"} <= {*dir(result)}


@every
def test_rows_that_cannot_be_scored_are_refused(name, as_a_user):
    """Every evaluation refuses NaN, infinity, complex numbers and a single column."""
    bad = [(rows, "real numbers") for rows in (ROWS + 0j, ROWS[:, 0], ROWS.astype(str))]
    for value, noun in ((np.nan, "NaN"), (np.inf, "infinity")):
        bad.append((np.where(ROWS[3, 1] < ROWS, ROWS, value), noun))
    for rows, noun in bad:
        with pytest.raises(DataError, match=noun):
            evaluations(rows, ROWS)[name]()


@every
def test_a_reflection_of_many_dimensions_breaks_no_tie(name):
    """On rows of 2,000 signs, whose dot products often tie, a reflection changes no score."""
    rng = np.random.default_rng(1)
    rows = np.tile(rng.choice([-1.0, 1.0], size=(40, 20)), 100)
    v = rng.normal(size=2000)
    v -= v.mean()  # so that the mean of a row stays
    mirrored = rows - 2 * np.outer(rows @ v, v) / (v @ v)
    scores = [getattr(evaluations(Z, Z)[name](), "scores", ()) for Z in (rows, mirrored)]
    before, after = ([score.value for score in part] for part in scores)
    assert after == pytest.approx(before, rel=1e-9)


CHANCE = {"agreement": 1 / 3, "few-shot": 1 / 4, "anomal": 1 / 2}


@pytest.mark.parametrize("noise", [0, 1e-9])
@pytest.mark.parametrize("kind", CHANCE)
def test_rows_at_one_point_score_exactly_chance(kind, noise, recwarn):
    """If all rows are at one point, apart only by rounding, the score is that of guessing, without
    an interval; few-shot classification and anomaly detection warn of it.
    """
    rows = 1 / 3 + noise * ROWS
    for name, evaluation in evaluations(rows, rows).items():
        if not name.startswith(kind):
            continue
        score = evaluation().scores[0]
        assert score.value == pytest.approx(CHANCE[kind], abs=1e-12)
        assert score.low is None
    assert bool(recwarn.list) == (kind != "agreement")
