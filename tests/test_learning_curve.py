"""Whether more answers would help: held-out agreement against their number, and the law that carries it on."""

import numpy as np
import pytest

from glocal.aligner import curve as curves
from glocal.aligner.curve import learning_curve
from glocal.data.features import Features
from glocal.data.world import simulated_answers
from glocal.errors import DataError
from glocal.evaluation.agreement import odd_one_out


@pytest.fixture(scope="module")
def features():
    rows = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    return Features(rows, tuple(f"{number}.png" for number in range(20)), "features")


def test_each_answer_is_held_out_once_from_fits_that_never_saw_its_question(features, monkeypatch):
    """All answers are held out once; no fit sees an answer to a question that it is scored on; parts are nested."""
    given = simulated_answers(2 * features.matrix[:, :2].astype(np.float64), 300, seed=1)
    fitted = []
    monkeypatch.setattr(curves, "LAMBDAS", (1.0,))
    monkeypatch.setattr(curves, "_path", lambda features, answers: fitted.append(answers) or [features.matrix])
    found = learning_curve(features, given)
    assert sorted(found.heldout.objects.tolist()) == sorted(given.objects.tolist())
    sets = [{tuple(sorted(row)) for row in part.objects.tolist()} for part in fitted]
    assert all(sets[number] <= sets[number + 1] for number in range(16) if number % 4 < 3)
    everything = {tuple(sorted(row)) for row in given.objects.tolist()}
    held = [everything - sets[4 * fold + 3] for fold in range(4)]
    assert sum(map(len, held)) == len(everything)
    assert [len(one) for one in fitted[:4]] == [round(share * len(fitted[3])) for share in curves.SHARES]


def test_the_curve_rises_where_there_is_something_to_learn(features, monkeypatch):
    """With people who see two of eight dimensions, more answers agree more, and far more than chance."""
    monkeypatch.setattr(curves, "LAMBDAS", (1.6, 0.1))
    given = simulated_answers(3 * features.matrix[:, :2].astype(np.float64), 320, seed=1)
    found = learning_curve(features, given, folds=2)
    first, *_, last = found.scores
    assert last.value > max(0.7, first.value + 0.05)
    assert last.low < last.value < last.high
    assert (last.settings["answers"], last.n, found.lmbda in curves.LAMBDAS) == (160, 320, True)


def test_lambda_of_a_fold_is_chosen_on_the_others(features, monkeypatch):
    """A fold has the credit of the fit whose loss is least on the other folds, each part of the curve alike."""
    rng = np.random.default_rng(0)
    fits = [rng.normal(size=(len(features), 3)) for _ in curves.LAMBDAS]
    monkeypatch.setattr(curves, "_path", lambda features, answers: fits)
    given = simulated_answers(np.zeros((len(features), 2)), 120, seed=1)
    found = learning_curve(features, given)
    fold_of = curves._folds_of_questions(given, 4, np.random.default_rng(0))
    parts = [given.select(fold_of == fold) for fold in range(4)]
    scores = [[odd_one_out(Z, part) for Z in fits] for part in parts]
    losses = np.array([[score.loss * len(part) for score in row] for row, part in zip(scores, parts, strict=True)])
    best = [int(np.delete(losses, fold, axis=0).sum(axis=0).argmin()) for fold in range(4)]
    assert best != (losses.sum(axis=0) + losses).argmin(axis=1).tolist()  # its own loss would choose another
    credit = np.concatenate([row[chosen].units.values for row, chosen in zip(scores, best, strict=True)])
    np.testing.assert_array_equal(found.credit, np.repeat(credit[:, None], 4, axis=1))
    assert found.lmbda == curves.LAMBDAS[int(losses.sum(axis=0).argmin())]


def test_few_answers_make_no_curve(features):
    """Fewer than 60 answers are refused."""
    with pytest.raises(DataError, match="59"):
        learning_curve(features, simulated_answers(features.matrix.astype(np.float64), 59, seed=1))


def test_the_last_doubling_is_a_paired_difference(features, monkeypatch):
    """It is the agreement of all answers less that of half of them, with an error that is smaller than theirs."""
    monkeypatch.setattr(curves, "LAMBDAS", (1.0,))
    found = learning_curve(features, simulated_answers(3 * features.matrix[:, :2].astype(np.float64), 320, seed=1))
    half, whole = found.scores[-2:]
    gain = found.last_doubling
    assert gain.mean == pytest.approx(whole.value - half.value)
    assert 0 < gain.half < whole.high - whole.value
