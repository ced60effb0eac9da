"""The learning curve: agreement with held-out answers against the number of fitted answers."""

import json
from dataclasses import replace

import numpy as np
import pytest

from glocal.aligner import curve as curves
from glocal.aligner.curve import learning_curve
from glocal.cli.app import execute
from glocal.data.features import Features
from glocal.data.splits import question_folds
from glocal.data.world import simulated_answers
from glocal.errors import DataError
from glocal.evaluation.agreement import odd_one_out


@pytest.fixture(scope="module")
def features():
    rows = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    return Features(rows, tuple(f"{number}.png" for number in range(20)), "features")


def test_each_answer_is_held_out_once_from_fits_that_never_saw_its_question(features, monkeypatch):
    """Each answer is held out once, from fits to nested parts that have no answer to its question;
    fewer than 60 answers are refused.
    """
    answers = simulated_answers(2 * features.matrix[:, :2].astype(np.float64), 300, seed=1)
    fitted = []
    monkeypatch.setattr(curves, "LAMBDAS", (1.0,))
    monkeypatch.setattr(
        curves, "_path", lambda features, part: fitted.append(part) or [features.matrix]
    )
    with pytest.raises(DataError, match="59"):
        learning_curve(features, answers.select(np.arange(59)))
    scores = learning_curve(features, answers)
    assert [score.n for score in scores] == [300] * 5
    questions = [{tuple(sorted(row)) for row in part.objects.tolist()} for part in fitted]
    assert all(questions[i] <= questions[i + 1] for i in range(16) if i % 4 < 3)
    all_questions = {tuple(sorted(row)) for row in answers.objects.tolist()}
    heldout = [all_questions - questions[4 * fold + 3] for fold in range(4)]
    assert sum(map(len, heldout)) == len(all_questions)
    sizes = [len(part) for part in fitted[:4]]
    assert sizes == [round(share * sizes[3]) for share in curves.SHARES]


def test_the_curve_rises_where_there_is_something_to_learn(features, monkeypatch):
    """If people judge by two of eight dimensions, more answers raise agreement, to far
    above chance.
    """
    monkeypatch.setattr(curves, "LAMBDAS", (1.6, 0.1))
    answers = simulated_answers(3 * features.matrix[:, :2].astype(np.float64), 320, seed=1)
    first, _, half, whole, gain = learning_curve(features, answers, folds=2)
    assert whole.value > max(0.7, first.value + 0.05)
    assert whole.low < whole.value < whole.high
    assert (whole.transform, whole.n) == ("160 answers", 320)
    assert gain.value == pytest.approx(whole.value - half.value)
    assert gain.high - gain.low < 2 * (whole.high - whole.low)  # paired


def test_lambda_of_a_fold_is_chosen_on_the_others(features, monkeypatch):
    """The credit of a fold is that of the fit with the least loss on the other folds,
    for each size.
    """
    rng = np.random.default_rng(0)
    fits = [rng.normal(size=(len(features), 3)) for _ in curves.LAMBDAS]
    monkeypatch.setattr(curves, "_path", lambda features, answers: fits)
    answers = simulated_answers(np.zeros((len(features), 2)), 120, seed=1)
    curve = learning_curve(features, answers)
    parts = [answers.select(rows) for rows in question_folds(answers, 4, 0)]
    scores = [[odd_one_out(Z, part, interval=False) for Z in fits] for part in parts]
    losses = np.array([[score.loss * score.n for score in row] for row in scores])
    best = [np.delete(losses, fold, axis=0).sum(axis=0).argmin() for fold in range(4)]
    expected = pooled_agreement(scores, best)
    with_heldout_loss = pooled_agreement(scores, (losses.sum(axis=0) + losses).argmin(axis=1))
    assert expected != pytest.approx(with_heldout_loss)  # so that the test can fail
    assert [score.value for score in curve[:4]] == pytest.approx([expected] * 4)


def test_votes_are_copies_where_lambda_is_chosen(features, monkeypatch):
    """λ of a fold is that of the same answers copied as often as their votes say."""
    rng = np.random.default_rng(8)
    fits = [rng.normal(size=(len(features), 3)) for _ in curves.LAMBDAS]
    monkeypatch.setattr(curves, "_path", lambda features, answers: fits)
    answers = simulated_answers(np.zeros((len(features), 2)), 120, seed=1)
    weights = np.ones(len(answers))
    weights[question_folds(answers, 4, 0)[0]] = 9
    copies = answers.select(np.repeat(np.arange(len(answers)), weights.astype(int)))
    weighted = replace(answers, votes=weights)
    values = [[score.value for score in learning_curve(features, x)] for x in (weighted, copies)]
    assert values[0] == pytest.approx(values[1])


def pooled_agreement(scores, choices):
    """The mean credit over folds, with the fit of each fold that `choices` names."""
    chosen = [row[choice] for row, choice in zip(scores, choices, strict=True)]
    return np.concatenate([score.units.values for score in chosen]).mean()


def test_the_command_prints_the_curve(features, tmp_path, capsys):
    """``glocal data curve`` prints the scores of the function, as a table or as JSON."""
    answers = simulated_answers(2 * features.matrix[:, :2].astype(np.float64), 120, seed=1)
    np.save(tmp_path / "features.npy", features.matrix)
    answers.save(tmp_path / "answers.npz")
    command = ["data", "curve", "--features", str(tmp_path / "features.npy")]
    command += ["--answers", str(tmp_path / "answers.npz"), "--folds", "2"]
    assert execute([*command, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    *curve, gain = learning_curve(features, answers, folds=2)
    assert [row["answers"] for row in record["curve"]] == [8, 15, 30, 60]
    assert [row["value"] for row in record["curve"]] == [score.value for score in curve]
    assert record["gain_of_last_doubling"] == {
        "value": gain.value,
        "low": gain.low,
        "high": gain.high,
    }
    assert execute(command) == 0
    output = capsys.readouterr().out
    assert "60 answers" in output
    assert f"{gain.value:+.3f}" in output
