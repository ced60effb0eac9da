"""The learning curve: agreement with held-out answers against the number of fitted answers."""

from types import SimpleNamespace

import numpy as np
import pytest
from world import folder, normal, run

from glocal import Features, FitData, Keep, fit, learning_curve, simulated_answers
from glocal.aligner import curve as curves
from glocal.aligner.curve import choose_global, curve_record
from glocal.errors import DataError

pytestmark = pytest.mark.usefixtures("without_type_checks")  # many fits


@pytest.fixture(scope="module")
def study():
    """The curve of people who judge by two of six dimensions, its data, and the answers of each
    fit.
    """
    features = Features(normal(20, 6).astype(np.float32))
    answers = simulated_answers(3 * features.matrix[:, :2].astype(np.float64), 320, seed=1)
    fitted = []

    def choose(data, folds):
        fitted.extend(fold.data.answers for fold in folds)
        return choose_global(data, folds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curves, "choose_global", choose)
        scores = learning_curve(features, answers)
    return SimpleNamespace(features=features, answers=answers, fitted=fitted, scores=scores)


def test_each_answer_is_held_out_once_from_fits_that_never_saw_its_question(study):
    """Each answer is held out once, from fits to nested parts that have no answer to its question;
    fewer than 60 answers are refused.
    """
    assert [score.n for score in study.scores] == [320] * 5
    questions = [{tuple(sorted(row)) for row in part.objects.tolist()} for part in study.fitted]
    assert all(questions[i] <= questions[i + 3] for i in range(9))
    all_questions = {tuple(sorted(row)) for row in study.answers.objects.tolist()}
    heldout = [all_questions - whole for whole in questions[9:]]
    assert sum(map(len, heldout)) == len(all_questions)
    sizes = [len(part) for part in study.fitted[::3]]
    assert sizes == [round(share * sizes[3]) for share in curves.SHARES]
    with pytest.raises(DataError, match="59"):
        learning_curve(study.features, study.answers.select(np.arange(59)))


def test_the_curve_rises_where_there_is_something_to_learn(study):
    """More answers raise agreement, to far above chance; with all answers it is that of the default
    fit, with the same folds and λ.
    """
    first, _, half, whole, gain = study.scores
    assert whole.value > max(0.7, first.value + 0.05)
    assert whole.low < whole.value < whole.high
    assert whole.transform == "213 answers"
    assert gain.value == pytest.approx(whole.value - half.value)
    assert gain.high - gain.low < 2 * (whole.high - whole.low)  # paired
    heldout = fit(FitData(study.features, study.answers), Keep()).record.heldout
    assert whole.value == pytest.approx(heldout.agreement, abs=0.01)


def test_the_command_prints_the_curve(study, here, monkeypatch):
    """``glocal data curve`` prints the scores of the function, as a table or as JSON."""
    monkeypatch.setattr(curves, "learning_curve", lambda *arguments, **options: study.scores)
    folder(here, x_npy=study.features.matrix, a_npz=study.answers)
    command = "data curve --features x.npy --answers a.npz"
    counts = {"n": 320, "n_dropped": 0}
    assert run(command + " --json").json == curve_record(study.scores) | counts
    *_, whole, gain = study.scores
    output = run(command).out
    assert whole.transform in output
    assert f"{gain.value:+.3f}" in output
