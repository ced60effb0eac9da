"""Folds over objects and blocks of local images, exactly as the design defines them."""

import numpy as np
import pytest

from glocal.aligner import FitData
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.splits import local_blocks, object_folds, split_answers, split_persons
from glocal.errors import DataError, ParameterError


@pytest.mark.parametrize(("n", "folds", "seed"), [(9, 3, 42), (1845, 3, 42), (100, 7, 0)])
def test_folds_are_those_of_the_legacy_permutation(n, folds, seed):
    """Folds are np.array_split(np.random.RandomState(seed).permutation(n), folds), the same everywhere."""
    wanted = np.array_split(np.random.RandomState(seed).permutation(n), folds)
    found = object_folds(n, folds, seed)
    assert len(found) == folds
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_an_answer_trains_is_held_out_or_is_dropped():
    """An answer trains with three objects outside the fold, is held out with three inside, else is in neither part."""
    rng = np.random.default_rng(0)
    n = 30
    triplets = Answers.from_array(np.array([rng.permutation(n)[:3] for _ in range(500)]))
    for fold in range(3):
        inside = set(object_folds(n, 3, 5)[fold].tolist())
        counts = [sum(int(i) in inside for i in row) for row in triplets.objects]
        train, heldout = split_answers(triplets, n, folds=3, fold=fold, seed=5)
        assert train.tolist() == [count == 0 for count in counts]
        assert heldout.tolist() == [count == 3 for count in counts]
        assert 0 < heldout.sum() < train.sum()


@pytest.mark.parametrize(
    ("n", "folds", "seed", "sentence"),
    [
        (9, 1, 0, "allow 2 to 3"),
        (9, 4, 0, "folds is 4 but 9 objects allow 2 to 3"),
        (9, 3, -1, "seed is -1"),
        (9, 3, 2**32, "seed is 4294967296"),
    ],
)
def test_folds_that_cannot_be_are_refused(n, folds, seed, sentence):
    """Too few or too many folds and seeds that RandomState does not take are refused."""
    with pytest.raises(ParameterError, match=sentence):
        object_folds(n, folds, seed)


@pytest.mark.parametrize("fold", [-1, 3])
def test_a_fold_that_does_not_exist_is_refused(fold):
    """The held-out fold must be one of 0 to folds - 1."""
    with pytest.raises(ParameterError, match=rf"fold is {fold} but there are 3 folds \(valid 0..2\)"):
        split_answers(Answers.from_array([[0, 1, 2]]), 9, folds=3, fold=fold)


@pytest.mark.parametrize(("n", "block_size"), [(1000, 1024), (1024, 1024), (1025, 1024), (7, 3), (2, 3), (5000, 999)])
def test_blocks_are_nearly_equal_and_drop_nothing(n, block_size):
    """Local images are permuted with the seed and cut into ceil(n / block_size) blocks whose sizes differ by one."""
    blocks = local_blocks(n, block_size, seed=7)
    sizes = [len(block) for block in blocks]
    assert len(blocks) == -(-n // block_size)
    assert max(sizes) <= block_size
    assert max(sizes) - min(sizes) <= 1
    np.testing.assert_array_equal(np.concatenate(blocks), np.random.RandomState(7).permutation(n))


@pytest.mark.parametrize(("n", "block_size", "sentence"), [(1, 3, "there is 1 local image"), (9, 2, "block_size is 2")])
def test_blocks_that_compare_nothing_are_refused(n, block_size, sentence):
    """A single image, or blocks that could hold a single one, compare nothing and are refused."""
    with pytest.raises(ParameterError, match=sentence):
        local_blocks(n, block_size)


@pytest.mark.parametrize("n", range(3, 40))
def test_no_block_is_left_with_one_image(n):
    """Every block of every allowed size holds at least two images."""
    assert min(len(block) for size in range(3, 10) for block in local_blocks(n, size)) >= 2


def test_local_blocks_refuse_a_seed_out_of_range():
    """Blocks refuse the seeds that folds refuse, with the same sentence."""
    with pytest.raises(ParameterError, match="seed is -1"):
        local_blocks(10, 5, -1)


def test_two_parts_are_the_fewest():
    """Objects and persons may be split into two parts, not into one."""
    assert [len(part) for part in object_folds(9, 2)] == [5, 4]
    given = Answers.from_array(np.tile([0, 1, 2], (4, 1)), person=["ann", "ann", "bob", "cem"])
    train, heldout = split_persons(given, folds=2, fold=1)
    assert heldout.any()
    assert (train == ~heldout).all()
    with pytest.raises(ParameterError, match="3 persons allow 2 to 3"):
        split_persons(given, folds=1)


def test_folds_are_three_with_the_seed_42_unless_said_otherwise():
    """The defaults are those of the paper's protocol: fold 0 of 3, seed 42, for objects, persons and local blocks."""
    np.testing.assert_array_equal(np.concatenate(local_blocks(30, 9)), np.random.RandomState(42).permutation(30))
    rng, stated = np.random.default_rng(1), {"folds": 3, "fold": 0, "seed": 42}
    answers = np.array([rng.permutation(30)[:3] for _ in range(200)])
    given = Answers.from_array(answers, person=rng.integers(0, 12, size=200))
    np.testing.assert_array_equal(split_answers(given, 30), split_answers(given, 30, **stated))
    np.testing.assert_array_equal(split_persons(given), split_persons(given, **stated))
    other = {**stated, "seed": 43}
    assert (split_answers(given, 30)[0] != split_answers(given, 30, **other)[0]).any()
    assert (split_persons(given)[0] != split_persons(given, **other)[0]).any()


def test_a_fold_holds_out_objects_and_local_images_together():
    """`FitData.fold` fits what lies outside the fold, holds out what lies inside, and a fold of it is cut from that."""
    rng = np.random.default_rng(0)
    objects, images = Features(rng.normal(size=(60, 4))), Features(rng.normal(size=(90, 4)))
    answers = Answers.from_array(np.array([rng.permutation(60)[:3] for _ in range(3000)]))
    data = FitData(objects, answers, images, seed=5)
    for k in range(3):
        fitted, heldout, rows = data.fold(k, 3)
        masks = split_answers(answers, 60, folds=3, fold=k, seed=5)
        for found, mask in zip((fitted.answers, heldout), masks, strict=True):
            np.testing.assert_array_equal(found.objects, answers.objects[mask])
        np.testing.assert_array_equal(rows, object_folds(90, 3, 5)[k])
        np.testing.assert_array_equal(np.sort(np.concatenate([fitted.images, rows])), np.arange(90))
        again, watched, _ = fitted.fold(0, 4)
        assert set(watched.objects.ravel()) <= set(fitted.objects) - set(again.objects)
    alone, _, rows = FitData(objects, answers, seed=5).fold(1, 3)
    np.testing.assert_array_equal(np.sort(np.concatenate([alone.objects, rows])), np.arange(60))
    with pytest.raises(DataError, match="held out"):
        FitData(objects, answers.select(np.arange(5)), seed=5).fold(0, 20)
    with pytest.raises(ParameterError, match="fold is 3"):
        data.fold(3, 3)
