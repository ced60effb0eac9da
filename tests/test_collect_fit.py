"""The fit of a study: held-out curve, projection, what is worth asking, and what the owner's page is told."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sql

from glocal.aligner import Arm, Exact, FitData, fit
from glocal.cli.app import execute
from glocal.collect import curve as curves
from glocal.collect.alone import alone
from glocal.collect.curve import Curve, learning_curve, path, rotated
from glocal.collect.database import answers as answers_table
from glocal.collect.database import open_database, people, proposals, trials
from glocal.collect.export import Collected, collected
from glocal.collect.informative import greedy, information, posterior, probabilities, propose, random_questions
from glocal.collect.owner import LOCK, STATE, between_people, own_repeats, state
from glocal.collect.projection import PowerLaw, power_law, project
from glocal.collect.refit import follow, refit
from glocal.collect.settings import Settings
from glocal.collect.study import Study
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.world import simulated_answers
from glocal.errors import DataError, ParameterError
from glocal.evaluation.alignment import odd_one_out
from glocal.files import make_folder
from glocal.similarity import candidate_pairs
from glocal.transform import LinearTransform

NAMES = tuple(f"image{number}.png" for number in range(20))


@pytest.fixture
def features():
    """Twenty objects in eight dimensions, of which people see two."""
    rows = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    return Features(rows, NAMES, "features")


@pytest.fixture
def study(tmp_path, features):
    """The folder of a study of twenty images with features, without its images."""
    np.save(tmp_path / "features.npy", features.matrix)
    settings = Settings(features=str(tmp_path / "features.npy"), order="informative", per_person=100)
    folder = make_folder(tmp_path / "study")
    return Study(folder, settings, "images", NAMES, NAMES, (), 0.0, "n", "key", f"sqlite:///{tmp_path / 'a.sqlite'}")


def filled(study, features, number=240, catch=6):
    """The database of a study that four people have answered by two directions of the features, and some repeats."""
    engine = open_database(study)
    told = simulated_answers(2 * features.matrix[:, :2].astype(np.float64), number, seed=1).objects.tolist()
    items = [*told, *[[0, 0, 1]] * catch, told[0], told[4]]
    sources = ["random"] * (number - 40) + ["informative"] * 40 + ["catch"] * catch + ["repeat"] * 2
    rows, given = [], []
    for place, (item, source) in enumerate(zip(items, sources, strict=True)):
        again = {number + catch: 1, number + catch + 1: 5}.get(place)
        rows.append(
            {"id": place + 1, "person": f"p{place % 4}", "number": place, "images": json.dumps(item), "source": source,
             "again": again, "made": 0.0}
        )  # fmt: skip
        given.append({"trial": place + 1, "choice": 2, "seconds": 2.0, "time": 60.0 * place})
    given[-1]["choice"] = None
    with engine.begin() as connection:
        connection.execute(people.insert(), [{"id": f"p{i}", "made": 0.0} for i in range(4)])
        connection.execute(trials.insert(), rows)
        connection.execute(answers_table.insert(), given)
    return engine


def test_held_out_answers_are_random_ones_that_no_fit_has_seen(features, monkeypatch):
    """Each answer asked at random is held out once; no fit sees an answer to a question that it is scored on."""
    given = simulated_answers(2 * features.matrix[:, :2].astype(np.float64), 200, seed=1)
    random = np.arange(200) % 2 == 0
    fitted = []
    monkeypatch.setattr(curves, "LAMBDAS", (1.0,))
    monkeypatch.setattr(curves, "path", lambda X, answers: fitted.append(answers) or [X])
    found = learning_curve(features, given, random, folds=4)
    assert sorted(found.heldout.objects.tolist()) == sorted(given.select(random).objects.tolist())
    held = np.array_split(np.sort(found.heldout.objects, axis=1), np.cumsum(_held_sizes(given, fitted, random))[:-1])
    for fold, part in enumerate(held):
        seen = np.sort(fitted[4 * fold + 3].objects, axis=1).tolist()
        assert not [row for row in part.tolist() if row in seen]
    assert [len(one) for one in fitted[:4]] == [round(share * len(fitted[3])) for share in curves.SHARES]


def _held_sizes(given, fitted, random):
    """How many answers asked at random each fold's largest fit leaves out."""
    seen = [{tuple(row) for row in one.objects.tolist()} for one in fitted[3::4]]
    asked = [tuple(row) for row in given.select(random).objects.tolist()]
    return [sum(one not in part for one in asked) for part in seen]


def test_the_curve_rises_where_there_is_something_to_learn(features, monkeypatch):
    """With people who see two of eight dimensions, more answers agree more, and far more than chance."""
    monkeypatch.setattr(curves, "LAMBDAS", (1.6, 0.1))
    given = simulated_answers(3 * features.matrix[:, :2].astype(np.float64), 320, seed=1)
    found = learning_curve(features, given, np.ones(320, dtype=bool), folds=2)
    values = [estimate.mean for estimate in found.estimates]
    assert values[-1] > values[0] + 0.05
    assert values[-1] > 0.7
    assert len(found.credit) == 320


def test_a_fit_in_principal_axes_is_the_fit_of_the_features(monkeypatch):
    """With fewer objects than columns a path on rotated rows has the Gram matrix of the fit of the features."""
    rows = np.random.default_rng(0).normal(size=(9, 15))
    features = Features(rows, None, "features")
    given = simulated_answers(rows[:, :2], 200, seed=1)
    X = features.standardization(rows, "float64")
    monkeypatch.setattr(curves, "_TOL", 1e-6)
    (found,) = path(rotated(X), given, [0.4])
    Z = fit(FitData(features, given), Arm("global", lmbda=0.4), Exact(tol=1e-6)).transform.apply(rows)
    assert found @ found.T == pytest.approx(Z @ Z.T, abs=0.01 * np.square(Z).sum(axis=1).max())


def test_lambda_of_a_fold_is_chosen_on_the_others(features, monkeypatch):
    """A fold has the credit of the fit whose loss is least on the other folds, each part of the curve alike."""
    rng = np.random.default_rng(0)
    fits = [rng.normal(size=(len(features), 3)) for _ in curves.LAMBDAS]
    monkeypatch.setattr(curves, "path", lambda X, answers: fits)
    given = simulated_answers(np.zeros((len(features), 2)), 120, seed=1)
    found = learning_curve(features, given, np.ones(120, dtype=bool))
    fold_of = curves._folds_of_questions(given, 4, np.random.default_rng(0))
    parts = [given.select(fold_of == fold) for fold in range(4)]
    scores = [[odd_one_out(Z, part) for Z in fits] for part in parts]
    losses = np.array([[score.loss * len(part) for score in row] for row, part in zip(scores, parts, strict=True)])
    best = [int(np.delete(losses, fold, axis=0).sum(axis=0).argmin()) for fold in range(4)]
    assert best != (losses.sum(axis=0) + losses).argmin(axis=1).tolist()  # its own loss would choose another
    credit = np.concatenate([row[chosen].units.values for row, chosen in zip(scores, best, strict=True)])
    np.testing.assert_array_equal(found.credit, np.repeat(credit[:, None], 4, axis=1))
    assert found.lmbda == curves.LAMBDAS[int(losses.sum(axis=0).argmin())]
    np.testing.assert_allclose(found.sizes, 90 * np.array([0.125, 0.25, 0.5, 1.0]), atol=1)


def test_too_few_random_answers_make_no_curve(features):
    """Fewer than 60 answers asked at random are refused with their number."""
    given = simulated_answers(features.matrix.astype(np.float64), 100, seed=1)
    for number in (30, 59):
        with pytest.raises(DataError, match=f"{number} answers were asked at random"):
            learning_curve(features, given, np.arange(100) < number)


def planted(law, sizes=(500, 1000, 2000, 4000), n=4000):
    """A curve whose credits have the means of a law; the same answers are easy for all fits."""
    ease = np.random.default_rng(0).permutation((np.arange(n) + 0.5) / n)  # the means are those of the law
    credit = np.stack([(ease < law(size)).astype(float) for size in sizes], axis=1)
    heldout = Answers(np.tile([0, 1, 2], (n, 1)))
    return Curve(np.array(sizes, dtype=float), credit, heldout, 1.0)


def test_a_planted_power_law_is_carried_on():
    """The projection of a planted power law has its price of +.01 in its interval, and its value at four times."""
    law = PowerLaw(0.65, 3.0, 0.5)
    found = project(planted(law), 5000)
    assert found.more[1] <= law.more(5000) <= found.more[2]
    number, value, low, high = found.points[-1]
    assert number == 20_000
    assert value == pytest.approx(law(20_000), abs=0.01)
    assert low <= value <= high


def test_a_flat_curve_promises_nothing():
    """Where more answers have not helped, +.01 is not in sight."""
    found = project(planted(PowerLaw(0.6, 0.0, 1.0)), 5000)
    assert math.isinf(found.more[0])
    assert found.sentence.startswith("+.01 is not in sight")


def test_the_power_law_of_falling_points_is_flat():
    """b is at least 0: a curve that falls is not carried on downwards."""
    assert power_law(np.array([1.0, 2, 4]), np.array([0.6, 0.5, 0.4])).b == 0


@pytest.mark.parametrize("kind", ["odd-one-out", "anchor"])
def test_information_is_the_log_determinant_written_out(kind):
    """The information of a question equals ½ log det(I + s Σ^½ J' F J Σ^½) with the features of pairs written out."""
    rng = np.random.default_rng(0)
    X, counts, asked = rng.normal(size=(6, 3)), rng.integers(0, 5, 6).astype(float), np.array([[0, 1, 2], [5, 3, 1]])
    pairs = candidate_pairs(kind)
    p = probabilities(X, asked, pairs)
    found = information(posterior(X, counts), asked, pairs, p)
    sigma = np.linalg.inv(np.square(X).sum() / X.size * np.eye(3) + X.T @ np.diag(counts) @ X)
    for row, q, value in zip(asked, p, found, strict=True):
        J = [np.outer(X[row[i]], X[row[j]]) for i, j in pairs]
        J = np.array([(one + one.T).ravel() / 2 for one in J])
        F = np.diag(q) - np.outer(q, q)
        expected = np.linalg.slogdet(np.eye(9) + 10 * J.T @ F @ J @ np.kron(sigma, sigma))[1] / 2
        assert value == pytest.approx(expected)


def test_what_was_never_asked_is_asked(features):
    """Questions are proposed about the objects that no answer names yet, more often than about the others."""
    given = simulated_answers(features.matrix[:10].astype(np.float64), 400, seed=1)
    asked = propose(features, given, LinearTransform(np.eye(8, dtype=np.float32), None, 0.0, 1.0), 40)
    assert asked.shape == (40, 3)
    assert all(len(set(row)) == 3 for row in asked.tolist())
    assert (asked >= 10).mean() > 0.7
    assert len({tuple(sorted(row)) for row in asked.tolist()}) > 30


def test_what_is_chosen_counts_as_asked_in_the_next_round():
    """The best questions are chosen in eight rounds; each is told how often objects were asked about before it."""
    rng, told = np.random.default_rng(1), []
    asked, worth = random_questions(rng, 9, 60), rng.uniform(size=60)

    def of_counts(counts):
        told.append(counts.copy())
        return worth

    chosen = greedy(of_counts, asked, np.ones(9), 16)
    np.testing.assert_array_equal(chosen, np.argsort(-worth)[:16])
    before = [1 + np.bincount(asked[chosen[:number]].ravel(), minlength=9) for number in range(0, 16, 2)]
    np.testing.assert_array_equal(told, before)


def test_questions_of_other_sizes_are_not_proposed(features):
    """Answers about four objects are refused."""
    wide = Answers(np.arange(8).reshape(2, 4), kind="nearest-of-n")
    with pytest.raises(DataError, match="three objects"):
        propose(features, wide, LinearTransform(np.eye(8, dtype=np.float32), None, 0.0, 1.0), 4)


def test_random_questions_are_about_three_objects():
    """Drawn questions name three different objects, each equally often."""
    drawn = random_questions(np.random.default_rng(0), 5, 3000)
    assert drawn.shape == (3000, 3)
    assert all(len(set(row)) == 3 for row in drawn.tolist())
    assert np.bincount(drawn.ravel()) == pytest.approx(1800, rel=0.05)


def given(rows, kind="odd-one-out"):
    """Answers of a study: (person, items, choice, time, source, again) each, numbered from 0."""
    person, items, choice, time, source, again = zip(*rows, strict=True)
    n = len(rows)
    return Collected(
        kind, NAMES, np.array(person), np.arange(n), np.array(items), np.array(choice), np.full(n, 2.0),
        np.array(time, dtype=float), np.array(source), np.arange(n), np.array(again),
    )  # fmt: skip


ROWS = [
    ("a", (0, 1, 2), 2, 10, "random", -1),
    ("a", (3, 4, 5), 0, 20, "random", -1),
    ("b", (6, 7, 8), 0, 3700, "random", -1),
    ("a", (2, 1, 0), 0, 3800, "repeat", 0),  # image 2 again
    ("a", (4, 3, 5), 2, 3900, "repeat", 1),  # 5 in place of 3
    ("b", (5, 3, 4), 1, 4000, "repeat", 1),  # as another person: 3
    ("b", (9, 9, 1), 2, 4100, "catch", -1),
    ("a", (9, 1, 9), 0, 4200, "catch", -1),
    ("b", (1, 2, 3), -1, 4300, "random", -1),
]


def test_the_state_counts_what_each_person_did(study):
    """Repeats compare the image, not its place; those of other people are no repeats; catch trials are counted."""
    found = state(study, given(ROWS))
    a, b = found["people"]
    assert (a["person"], a["done"], a["of"], a["repeats"], a["catch"], a["cannot_tell"]) == (
        "a",
        5,
        100,
        [1, 2],
        [0, 1],
        0,
    )
    assert (b["person"], b["done"], b["repeats"], b["catch"], b["cannot_tell"]) == ("b", 4, [0, 0], [1, 1], 1)
    assert (found["answers"], found["cannot_tell"], found["catch"]) == (6, 1, [1, 2])
    assert (found["reliability"]["value"], found["reliability"]["n"]) == (0.5, 2)
    assert found["hours"] == [
        {"hour": "1970-01-01T00:00:00Z", "answers": 2}, {"hour": "1970-01-01T01:00:00Z", "answers": 4},
    ]  # fmt: skip
    assert a["last"] == "1970-01-01T01:10:00Z"
    bound = between_people(given(ROWS))
    assert (bound["value"], bound["n"], found["ceiling"]) == (1.0, 1, None), "the ceiling is of the latest fit"
    assert found["fit"] == {"state": "never"}
    json.dumps(found, allow_nan=False)


def test_a_study_that_nobody_has_answered_has_a_state(study):
    """Without answers everything that is not known is None or empty."""
    engine = open_database(study)
    found = state(study, collected(study, engine))
    engine.dispose()
    assert (found["answers"], found["people"], found["hours"], found["reliability"], found["ceiling"]) == (
        0, [], [], None, None,
    )  # fmt: skip


def test_an_own_repeat_needs_an_answer_on_both_sides(study):
    """A repeat of what was not told, or by somebody else, is not one of reliability."""
    again, first = own_repeats(given(ROWS))
    assert (again.tolist(), first.tolist()) == ([3, 4], [0, 1])


def test_a_fit_leaves_all_that_the_page_shows(study, features, monkeypatch):
    """Fitting writes transform, report, charts, state and proposals, and the page's state holds them."""
    monkeypatch.setattr(curves, "LAMBDAS", (1.6,))
    engine = filled(study, features)
    refit(study, engine)
    found = state(study, collected(study, engine))
    assert found["fit"]["state"] == "done"
    assert found["fit"]["answers"] == 241
    assert set(found["fit"]["charts"]) == {"curve", "before", "after"}
    assert found["curve"][-1]["value"] > found["chance"]
    assert "more answers" in found["projection"]["sentence"]
    assert len(found["map"]["after"]) == len(NAMES)
    assert 0 < found["neighbours"]["value"] < 1
    assert LinearTransform.load(study.fit / "transform.npz").dimensions == 8
    assert "<title>" in (study.fit / "report.html").read_text(encoding="utf-8")
    with engine.connect() as connection:
        waiting = connection.execute(sql.select(proposals.c.images)).scalars().all()
    engine.dispose()
    assert len(waiting) == 500
    assert all(len(set(json.loads(one))) == 3 for one in waiting)


def test_few_answers_are_fitted_without_a_curve(study, features):
    """With too few answers there is a transform and no claim about held-out agreement."""
    engine = filled(study, features, number=60, catch=0)
    found = refit(study, engine)
    engine.dispose()
    assert (found["curve"], found["projection"], found["fit"]["state"]) == ([], None, "done")
    assert (study.fit / "transform.npz").exists()


def test_a_failed_fit_says_why_and_keeps_the_last_one(study, features, tmp_path):
    """After an error the state has its sentence, and the numbers of the fit before."""
    engine = filled(study, features, number=60, catch=0)
    refit(study, engine)
    np.save(tmp_path / "features.npy", features.matrix[:5])
    with pytest.raises(DataError, match="has 5 rows and no names"):
        refit(study, engine)
    found = state(study, collected(study, engine))
    engine.dispose()
    assert found["fit"]["state"] == "failed"
    assert "has 5 rows and no names" in found["fit"]["message"]
    assert len(found["map"]["after"]) == len(NAMES)


def test_a_second_fit_waits_its_turn(study, features):
    """While one fit runs another one is refused; one that was killed is told as interrupted."""
    engine = filled(study, features, number=60, catch=0)
    make_folder(study.fit)
    (study.fit / STATE).write_text('{"fit": {"state": "running"}}', encoding="utf-8")
    with alone(study.fit / LOCK) as mine:
        assert mine
        assert state(study, collected(study, engine))["fit"]["state"] == "running"
        with pytest.raises(ParameterError, match="running already"):
            refit(study, engine)
    found = state(study, collected(study, engine))["fit"]
    engine.dispose()
    assert found["state"] == "failed"
    assert "interrupted" in found["message"]


def test_a_followed_study_is_fitted_again_when_answers_have_come(study, features):
    """`follow` fits, waits without more answers, and fits again once there are a tenth more."""
    engine = filled(study, features, number=50, catch=0)
    waited = []

    def wait(seconds):
        waited.append(seconds)
        with engine.begin() as connection:  # five answers more in each pause, of 51
            last = connection.execute(sql.select(sql.func.max(trials.c.id))).scalar_one()
            new = [
                {"id": last + i, "person": "p0", "number": last + i, "images": json.dumps([0, i, i + 1]),
                 "source": "random", "made": 0.0}
                for i in range(1, 6)
            ]  # fmt: skip
            connection.execute(trials.insert(), new)
            told = [{"trial": one["id"], "choice": 0, "seconds": 1.0, "time": 9e3} for one in new]
            connection.execute(answers_table.insert(), told)

    fits = follow(study, engine, wait=wait)
    assert next(fits)["fit"]["answers"] == 51
    assert waited == []
    assert next(fits)["fit"]["answers"] == 61
    engine.dispose()
    assert len(waited) == 2


def test_a_study_without_features_says_how_to_give_them(study, features):
    """A fit needs features; the sentence names the options."""
    bare = replace(study, settings=Settings())
    engine = filled(bare, features, number=60, catch=0)
    with pytest.raises(ParameterError, match="--features FEATURES, or --model MODEL"):
        refit(bare, engine)
    engine.dispose()


def test_a_folder_that_is_no_study_is_refused(tmp_path, capsys):
    """``glocal collect fit`` of another folder ends with one sentence."""
    assert execute(["collect", "fit", str(tmp_path)]) == 1
    assert "is not the folder of a study" in capsys.readouterr().err
