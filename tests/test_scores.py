"""Rows of results: their file, the one name of each metric, and the names of older versions."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from glocal.data.answers import Answers
from glocal.data.catch import CatchTrials
from glocal.data.people import people
from glocal.data.triplets import Triplets
from glocal.evaluation.alignment import odd_one_out
from glocal.evaluation.anomaly import anomaly
from glocal.evaluation.ceiling import ceiling, reached
from glocal.evaluation.cosines import cosine_shift
from glocal.evaluation.fewshot import PROBES, few_shot
from glocal.evaluation.model_rdm import KERNELS
from glocal.evaluation.result import EvaluationResult, Units, difference_score
from glocal.evaluation.retrieval import retrieval
from glocal.evaluation.rsa import rsa
from glocal.evaluation.structure import structure
from glocal.records import append_rows, read_rows
from glocal.scores import Score, read_scores
from glocal.similarity import SIMILARITIES

SCORE = Score(
    task="odd-one-out", metric="accuracy_cosine", value=0.47, low=0.45, high=0.49, n=5362, split="heldout",
    transform="global",
)  # fmt: skip


def results(rng: np.random.Generator) -> list[EvaluationResult]:
    """One result of every evaluation, with each of its similarities, kernels and probes."""
    X = rng.normal(size=(120, 6))
    y = np.arange(120) % 4
    rdms = np.abs(rng.normal(size=(3, 12, 12)))
    rdms = (rdms + rdms.transpose(0, 2, 1)) * (1 - np.eye(12))
    answers = Triplets.from_array([[0, 1, 2], [1, 2, 0], [0, 1, 2], [3, 4, 5], [3, 4, 5], [6, 7, 8], [7, 8, 6]])
    return [
        *(odd_one_out(X, answers, similarity=similarity) for similarity in SIMILARITIES),
        ceiling(answers),
        *(reached(X, answers, similarity=similarity, brain_score=True) for similarity in SIMILARITIES),
        *(rsa(X[:12], rdms, kernel=kernel, replicates=0) for kernel in KERNELS),
        *(few_shot(X[:60], y[:60], X[60:], y[60:], shots=3, draws=2, probe=probe) for probe in PROBES),
        anomaly(X[:60], y[:60], X[60:], y[60:]),
        structure(X, X @ rng.normal(size=(6, 6)), labels=y),
        retrieval(X, y),
        cosine_shift(X, X**3),
    ]


def test_the_metrics_of_all_results_are_those_of_the_docs():
    """docs/file-formats.md lists exactly the tasks, metrics and settings that the evaluations give."""
    page = (Path(__file__).parents[1] / "docs" / "file-formats.md").read_text(encoding="utf-8")
    block = page.split("| command | metrics | settings |")[1].split("\n\n")[0]
    lines = [[re.findall(r"`([^`]+)`", cell) for cell in line.split("|")[1:4]] for line in block.splitlines()[2:]]
    told = {(task, metric) for (task,), metrics, _ in lines for metric in metrics}
    scores = [score for result in results(np.random.default_rng(0)) for score in result.scores]
    answers = Answers.from_array([[0, 1, 2], [0, 1, 2]], person=[1, 2], seconds=[0.1, 3.0])
    answers = replace(answers, catch=CatchTrials(np.array([True, False]), np.array([1, 2])))
    about_people = {("people", metric) for metric, _, _ in people(answers, np.ones(2)).means()}
    assert {(score.task, score.metric) for score in scores} | about_people == told
    settings = {(task, name) for (task,), _, names in lines for name in names}
    given = {(score.task, name) for score in scores for name in score.settings}
    assert given == settings


def test_the_first_score_is_the_mean_of_the_units():
    """The difference of two results to themselves less a constant is that constant, whatever their units share."""
    for result in results(np.random.default_rng(1)):
        first, units = result.scores[0], result.units
        if units is None:
            continue
        lower = Units(values=units.values - 0.25, answers=units.answers, weights=units.weights, clusters=units.clusters)
        row = difference_score(first, units.less(lower), "before")
        assert (row.metric, row.value) == (f"{first.metric}_difference", pytest.approx(0.25))
        nothing = replace(lower, values=np.zeros_like(units.values))
        assert units.less(nothing).difference == pytest.approx(first.value)


def test_scores_become_objects(tmp_path):
    """A Score is written as one JSON object with its fields, the last ones only where it has them."""
    path = tmp_path / "scores.jsonl"
    append_rows(path, [SCORE.row(), SCORE.row()])
    row = {
        "task": "odd-one-out", "metric": "accuracy_cosine", "value": 0.47, "low": 0.45, "high": 0.49, "n": 5362,
        "split": "heldout", "transform": "global",
    }  # fmt: skip
    assert read_rows(path) == [row, row]
    assert len(path.read_text().splitlines()) == 2
    assert read_scores(path) == [SCORE, SCORE]
    network = replace(SCORE, network="net", settings={"k": 5})
    assert network.row() == row | {"network": "net", "settings": {"k": 5}, "p": None, "p_holm": None}
    assert replace(SCORE, p=0.5).row() == row | {"p": 0.5}


@pytest.mark.parametrize(
    ("task", "old", "metric", "settings"),
    [
        ("few-shot", "accuracy_logistic_5", "accuracy_logistic", {"shots": 5}),
        ("few-shot", "accuracy_1nn_2", "accuracy_1nn", {"shots": 2}),
        ("find", "recall_at_5", "recall_5", {}),
        ("retrieval", "recall_1_concat_0.4", "recall_1", {"concat_weight": 0.4}),
        ("retrieval", "map_concat_0.4", "map", {"concat_weight": 0.4}),
        ("anomaly", "auroc_one-vs-rest", "auroc", {"mode": "one-vs-rest"}),
        ("anomaly", "fpr95_leave-one-out", "fpr95", {"mode": "leave-one-out"}),
        ("odd-one-out", "gain_dot_over_old/w.npz", "accuracy_dot_difference", {"baseline": "old/w.npz"}),
        ("ceiling", "normalised_cosine_leave_one_out", "normalised_by_leave_one_out", {"similarity": "cosine"}),
        ("ceiling", "accuracy_cosine", "accuracy_cosine", {}),
        ("heldout", "accuracy_cosine_difference", "accuracy_cosine_difference", {}),
    ],
)
def test_old_rows_are_read_under_the_names_of_today(tmp_path, task, old, metric, settings):
    """Metrics that once held settings in their names are read as the one metric and its settings."""
    path = tmp_path / "scores.jsonl"
    row = {key: value for key, value in SCORE.row().items() if key != "settings"}
    append_rows(path, [{**row, "task": task, "metric": old}])
    assert read_scores(path) == [replace(SCORE, task=task, metric=metric, settings=settings)]


def test_old_rows_of_ceilings_are_read_as_those_of_people(tmp_path):
    """Commands once wrote the ceilings under the name of the transform beside them."""
    path = tmp_path / "scores.jsonl"
    append_rows(path, [{"task": "ceiling", "metric": "majority", "value": None, "transform": "w.npz"}])
    (score,) = read_scores(path)
    assert (score.metric, score.transform) == ("ceiling_majority", "people")
    assert np.isnan(score.value)
