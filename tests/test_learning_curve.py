"""Whether more answers would help: held-out agreement against their number."""

import numpy as np
import pytest

from glocal.aligner import curve as curves
from glocal.aligner.curve import learning_curve
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
    """All answers are held out once; no fit sees an answer to a question that it is scored on; parts are nested. Fewer
    than 60 answers are refused."""
    given = simulated_answers(2 * features.matrix[:, :2].astype(np.float64), 300, seed=1)
    fitted = []
    monkeypatch.setattr(curves, "LAMBDAS", (1.0,))
    monkeypatch.setattr(
        curves, "_path", lambda features, answers: fitted.append(answers) or [features.matrix]
    )
    with pytest.raises(DataError, match="59"):
        learning_curve(features, given.select(np.arange(59)))
    found = learning_curve(features, given)
    assert [score.n for score in found] == [300] * 5
    sets = [{tuple(sorted(row)) for row in part.objects.tolist()} for part in fitted]
    assert all(sets[number] <= sets[number + 1] for number in range(16) if number % 4 < 3)
    everything = {tuple(sorted(row)) for row in given.objects.tolist()}
    held = [everything - sets[4 * fold + 3] for fold in range(4)]
    assert sum(map(len, held)) == len(everything)
    assert [len(one) for one in fitted[:4]] == [
        round(share * len(fitted[3])) for share in curves.SHARES
    ]


def test_the_curve_rises_where_there_is_something_to_learn(features, monkeypatch):
    """With people who see two of eight dimensions, more answers agree more, and far more than chance."""
    monkeypatch.setattr(curves, "LAMBDAS", (1.6, 0.1))
    given = simulated_answers(3 * features.matrix[:, :2].astype(np.float64), 320, seed=1)
    found = learning_curve(features, given, folds=2)
    first, _, half, whole, gain = found
    assert whole.value > max(0.7, first.value + 0.05)
    assert whole.low < whole.value < whole.high
    assert (whole.transform, whole.n) == ("160 answers", 320)
    assert gain.value == pytest.approx(whole.value - half.value)
    assert gain.high - gain.low < 2 * (whole.high - whole.low)  # paired


def test_lambda_of_a_fold_is_chosen_on_the_others(features, monkeypatch):
    """A fold has the credit of the fit whose loss is least on the other folds, each part of the curve alike."""
    rng = np.random.default_rng(0)
    fits = [rng.normal(size=(len(features), 3)) for _ in curves.LAMBDAS]
    monkeypatch.setattr(curves, "_path", lambda features, answers: fits)
    given = simulated_answers(np.zeros((len(features), 2)), 120, seed=1)
    found = learning_curve(features, given)
    parts = [given.select(rows) for rows in question_folds(given, 4, 0)]
    scores = [[odd_one_out(Z, part, interval=False) for Z in fits] for part in parts]
    losses = np.array(
        [[score.loss * len(part) for score in row] for row, part in zip(scores, parts, strict=True)]
    )
    best = [int(np.delete(losses, fold, axis=0).sum(axis=0).argmin()) for fold in range(4)]
    own = (losses.sum(axis=0) + losses).argmin(axis=1).tolist()
    wanted, other = (
        np.concatenate([row[at].units.values for row, at in zip(scores, which, strict=True)]).mean()
        for which in (best, own)
    )
    assert wanted != pytest.approx(other)  # its own loss would choose another
    assert [score.value for score in found[:4]] == pytest.approx([wanted] * 4)
