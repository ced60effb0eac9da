"""Folds over objects and blocks of local images are exactly those that the method defines."""

from functools import partial

import numpy as np
import pytest
import world

from glocal import Answers, Features, FitData, object_folds, split_answers
from glocal.aligner.folds import fit_folds
from glocal.data.splits import local_blocks, split_people
from glocal.errors import DataError, ParameterError


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
    "split, arguments, noun",
    [
        (object_folds, (9, 1, 0), "folds"),
        (object_folds, (9, 4, 0), "9 objects"),
        (object_folds, (9, 3, 2**32), "seed"),
        (partial(split_answers, folds=3, fold=-1), (ONE, 9), "3 folds"),
        (partial(split_answers, folds=3, fold=3), (ONE, 9), "3 folds"),
        (split_people, (ONE,), "1 participants"),
        (split_people, (Answers(ONE.objects),), "do not say who gave them"),
    ],
)
def test_what_cannot_be_split_is_refused(split, arguments, noun):
    """Too few or too many parts, unknown parts and bad seeds are refused."""
    with pytest.raises((ParameterError, DataError), match=noun):
        split(*arguments)


@pytest.mark.parametrize(
    "n, block_size", world.matrix("1000 1024; 1025 1024; 2 3; 31 6; 5000 999", int).tolist()
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
    """The defaults are the paper's three folds of the legacy permutation with seed 42, and persons
    are split as objects are: all answers of a person train or are held out.
    """
    permuted = np.random.RandomState(42).permutation(31)
    assert [*np.concatenate(local_blocks(31, 9))] == [*permuted]
    person = np.arange(200) % 31
    answers = world.answers(200, 9, person=person)
    parts = np.array_split(permuted, 3)
    np.testing.assert_equal(object_folds(31), parts)
    for fold, part in enumerate(parts):
        train, heldout = split_people(answers, fold=fold)
        assert set(person[heldout]) == set(part)
        assert (train == ~heldout).all()
    assert (split_people(answers)[1] == split_people(answers, fold=0)[1]).all()


def test_a_fold_holds_out_objects_and_local_images_together():
    """`FitData.folds` fits the objects and images outside the fold and holds out those inside."""
    answers = world.answers(3000, 60)
    data = FitData(Features(np.eye(60)), answers, Features(np.eye(90, 60)), seed=5)
    for k, (fitted, heldout, rows, _) in enumerate(fit_folds(data, 3, "objects")):
        masks = split_answers(answers, 60, folds=3, fold=k, seed=5)
        for part, mask in zip((fitted.answers, heldout), masks, strict=True):
            assert (part.objects == answers.objects[mask]).all()
        assert (rows == object_folds(90, 3, 5)[k]).all()
        assert sorted([*fitted.images, *rows]) == [*range(90)]
