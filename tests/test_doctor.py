"""The doctor: every planted fault is named by its cause, nothing is said of data that are right, and rules mend."""

from __future__ import annotations

import re

import numpy as np
import planted
import pytest

from glocal.data.check import Case, diagnose, mended
from glocal.data.features import Features
from glocal.data.world import simulated_world


def told(case):
    """What is found that needs something done about it."""
    return [finding for finding in diagnose(case) if finding.severity != "note"]


def names_fault(fault, findings):
    return any(f.check == fault.check and re.search(fault.words, f.message) for f in findings)


@pytest.fixture(scope="module")
def small():
    """A small world without faults: objects with names that are listed in an order of their own."""
    world = simulated_world(
        n_superordinate=5, n_category=8, n_object=5, n_local=200, n_triplets=8_000, dimensions=64, seed=5
    )
    rng, names = np.random.default_rng(0), world.objects.names
    rows, listed = rng.permutation(len(names)), rng.permutation(len(names))
    objects = Features(world.objects.matrix[rows], names)  # neighbours in the list are not alike
    answers = world.triplets.relabel(np.argsort(listed)[np.argsort(rows)])[0]
    return Case(objects, world.local, answers, object_ids=tuple(names[i] for i in listed))


def test_data_that_are_right_are_left_alone(small):
    """Nothing is said of a world without faults, and nothing in it is mended."""
    assert told(small) == []
    case, done, _ = mended(small, diagnose(small))
    assert case is small
    assert done == []


FAULTS = planted.FEATURES | planted.NAMES | planted.ANSWERS | planted.LOCAL


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_named_and_mended(small, name):
    """The cause is named with numbers, a consequence and a fix; what a rule can mend scores as before."""
    fault = FAULTS[name]
    case = fault.plant(small, np.random.default_rng(1))
    findings = told(case)
    assert names_fault(fault, findings), [f.message for f in findings]
    finding = next(f for f in findings if f.check == fault.check)
    assert finding.consequence
    assert finding.fix
    after, done, left = mended(case, findings)
    if fault.score is None:
        assert fault.check not in {f.check for f in done}
        assert names_fault(fault, left)
    else:
        assert fault.check in {f.check for f in done}
        assert not names_fault(fault, left)
        assert planted.agreement(after) == pytest.approx(planted.agreement(small), abs=fault.score)
