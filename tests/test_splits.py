"""Folds over objects and blocks of local images are exactly those that the method defines."""

import numpy as np
import pytest
import world

from glocal.aligner import FitData
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.splits import local_blocks, object_folds, split_answers, split_persons
from glocal.errors import DataError, ParameterError


@pytest.mark.parametrize("n, folds, seed", [(9, 3, 42), (1845, 3, 42), (100, 7, 0)])
def test_folds_are_those_of_the_legacy_permutation(n, folds, seed):
    """Folds are np.array_split(np.random.RandomState(seed).permutation(n), folds) on
    every platform.
    """
    expected = np.array_split(np.random.RandomState(seed).permutation(n), folds)
    parts = object_folds(n, folds, seed)
    assert [part.tolist() for part in parts] == [part.tolist() for part in expected]


def test_an_answer_trains_is_held_out_or_is_dropped():
    """An answer trains if its objects are all outside the fold, is held out if they are all inside,
    and is else dropped.
    """
    triplets = world.answers(500, n := 30)
    for fold in range(3):
        inside = set(object_folds(n, 3, 5)[fold].tolist())
        counts = [sum(int(i) in inside for i in row) for row in triplets.objects]
        train, heldout = split_answers(triplets, n, folds=3, fold=fold, seed=5)
        assert train.tolist() == [count == 0 for count in counts]
        assert heldout.tolist() == [count == 3 for count in counts]
        assert 0 < heldout.sum() < train.sum()


ONE = Answers.from_array([[0, 1, 2]], person=["ann"])


@pytest.mark.parametrize(
    "split, noun",
    [
        (lambda: object_folds(9, 1, 0), "folds"),
        (lambda: object_folds(9, 4, 0), "9 objects"),
        (lambda: object_folds(9, 3, -1), "seed"),
        (lambda: object_folds(9, 3, 2**32), "seed"),
        (lambda: split_answers(ONE, 9, folds=3, fold=-1), "3 folds"),
        (lambda: split_answers(ONE, 9, folds=3, fold=3), "3 folds"),
        (lambda: split_persons(ONE), "1 participants"),
        (lambda: split_persons(Answers(ONE.objects)), "do not say who gave them"),
        (lambda: local_blocks(1, 3), "local images, but there are 1"),
    ],
)
def test_what_cannot_be_split_is_refused(split, noun):
    """Too few or too many parts, unknown parts, bad seeds and blocks of one are refused."""
    with pytest.raises((ParameterError, DataError), match=noun):
        split()


@pytest.mark.parametrize(
    "n, block_size", [(1000, 1024), (1025, 1024), (7, 3), (2, 3), (31, 6), (5000, 999)]
)
def test_blocks_are_nearly_equal_and_drop_nothing(n, block_size):
    """The permuted local images are cut into ceil(n / block_size) blocks of nearly equal sizes."""
    blocks = local_blocks(n, block_size, seed=7)
    sizes = [len(block) for block in blocks]
    assert len(blocks) == -(-n // block_size)
    assert 2 <= min(sizes) <= max(sizes) <= block_size
    assert max(sizes) - min(sizes) <= 1
    np.testing.assert_array_equal(np.concatenate(blocks), np.random.RandomState(7).permutation(n))


def test_folds_are_three_with_the_seed_42_unless_said_otherwise():
    """The defaults are the paper's three folds with seed 42, and persons are split as objects are:
    all answers of a person train or are held out.
    """
    permuted = np.random.RandomState(42).permutation(30)
    assert [*np.concatenate(local_blocks(30, 9))] == [*permuted]
    person = np.arange(200) % 30
    answers = world.answers(200, 9, person=person)
    for fold, part in enumerate(object_folds(30)):
        assert [*part] == [*permuted[10 * fold :][:10]]
        train, heldout = split_persons(answers, fold=fold)
        assert set(person[heldout]) == set(part)
        assert (train == ~heldout).all()
    assert (split_persons(answers)[1] == split_persons(answers, fold=0)[1]).all()


def test_a_fold_holds_out_objects_and_local_images_together():
    """`FitData.folds` fits the objects and images outside the fold and holds out those inside."""
    rng = np.random.default_rng(0)
    objects = Features(rng.normal(size=(60, 4)))
    images = Features(rng.normal(size=(90, 4)))
    answers = world.answers(3000, 60)
    data = FitData(objects, answers, images, seed=5)
    for k, (fitted, heldout, rows) in enumerate(data.folds(3, "objects")):
        masks = split_answers(answers, 60, folds=3, fold=k, seed=5)
        for part, mask in zip((fitted.answers, heldout), masks, strict=True):
            assert (part.objects == answers.objects[mask]).all()
        assert (rows == object_folds(90, 3, 5)[k]).all()
        assert sorted([*fitted.images, *rows]) == [*range(90)]
        again, watched, _ = fitted.folds(4, "objects")[0]
        assert {*watched.objects.flat} <= {*fitted.objects} - {*again.objects}
    alone, _, rows = FitData(objects, answers, seed=5).folds(3, "objects")[1]
    assert sorted([*alone.objects, *rows]) == [*range(60)]
    with pytest.raises(DataError, match="inside fold"):
        FitData(objects, Answers(np.arange(60).reshape(20, 3)), seed=5).folds(20, "objects")
