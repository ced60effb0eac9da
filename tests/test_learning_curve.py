"""The learning curve: agreement with held-out answers against the number of fitted answers."""

import json

import numpy as np
import pytest

from glocal.aligner import FitData, Keep, fit
from glocal.aligner import curve as curves
from glocal.aligner.crossfit import choose_global
from glocal.aligner.curve import learning_curve
from glocal.cli.app import execute
from glocal.data.features import Features
from glocal.data.world import simulated_answers
from glocal.errors import DataError


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

    def choose(data, folds, *arguments):
        fitted.extend(fold.data.answers for fold in folds)
        return choose_global(data, folds, *arguments)

    monkeypatch.setattr(curves, "choose_global", choose)
    with pytest.raises(DataError, match="59"):
        learning_curve(features, answers.select(np.arange(59)))
    scores = learning_curve(features, answers)
    assert [score.n for score in scores] == [300] * 5
    questions = [{tuple(sorted(row)) for row in part.objects.tolist()} for part in fitted]
    assert all(questions[i] <= questions[i + 3] for i in range(9))
    all_questions = {tuple(sorted(row)) for row in answers.objects.tolist()}
    heldout = [all_questions - whole for whole in questions[9:]]
    assert sum(map(len, heldout)) == len(all_questions)
    sizes = [len(part) for part in fitted[::3]]
    assert sizes == [round(share * sizes[3]) for share in curves.SHARES]


def test_the_curve_rises_where_there_is_something_to_learn(features):
    """If people judge by two of eight dimensions, more answers raise agreement, to far
    above chance.
    """
    answers = simulated_answers(3 * features.matrix[:, :2].astype(np.float64), 320, seed=1)
    first, _, half, whole, gain = learning_curve(features, answers, folds=2)
    assert whole.value > max(0.7, first.value + 0.05)
    assert whole.low < whole.value < whole.high
    assert (whole.transform, whole.n) == ("160 answers", 320)
    assert gain.value == pytest.approx(whole.value - half.value)
    assert gain.high - gain.low < 2 * (whole.high - whole.low)  # paired


def test_the_whole_curve_ends_at_the_default_fit(features):
    """With all answers the agreement is that of the default fit, with the same folds and λ."""
    answers = simulated_answers(3 * features.matrix[:, :2].astype(np.float64), 320, seed=1)
    *_, whole, _ = learning_curve(features, answers)
    heldout = fit(FitData(features, answers), Keep()).record.heldout
    assert whole.value == pytest.approx(heldout.agreement, abs=0.01)


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
