"""One dial: the share of neighbours that must stay."""

import functools
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from glocal.aligner import Arm, Exact, FitData, Keep, fit, keep_curve
from glocal.aligner.data import joined
from glocal.aligner.exact import scaled_identity
from glocal.aligner.line import Line
from glocal.data.features import Features
from glocal.data.splits import split_answers
from glocal.data.world import simulated_world
from glocal.errors import ParameterError
from glocal.evaluation.agreement import odd_one_out
from glocal.evaluation.structure import neighbours_kept


@pytest.fixture(scope="module")
def curve(world):
    """The curve of the small world, with local images."""
    return keep_curve(FitData(world.objects, world.answers, world.local))


def test_more_neighbours_kept_is_never_more_agreement(curve):
    """A larger keep promises at least as many neighbours, and no more agreement than a smaller one."""
    rows = {keep: curve.choose(keep) for keep in (0.5, 0.7, 0.8, 0.9, 0.95, 1.0)}
    assert all(row.kept_lower_bound >= keep - 1e-9 or not row.place for keep, row in rows.items())
    agreement = [curve.agreement(row) for row in rows.values()]
    assert all(a.mean >= b.mean - b.error for a, b in pairwise(agreement))
    assert curve.choose(1.0).kept.mean() == 1.0


def test_objects_without_answers_are_in_no_fold(world):
    """The answers that a split leaves for training can be fitted with keep: its folds cut the objects they name."""
    train, _ = split_answers(world.answers, len(world.objects))
    curve = keep_curve(FitData(world.objects, world.answers.select(train)))
    assert set(curve.crossfit.answers.objects.ravel()) <= set(world.answers.objects[train].ravel())


def test_the_ends_of_the_line_are_the_original_and_global(curve, world):
    """The first place scores as the features do, and the last one as a fit of global without the fold does."""
    data = curve.data
    credits, kept = [], []
    lmbda = curve.lines[0].lmbda
    for fold in range(3):
        part, held, rows = data.fold(fold, 3)
        found = fit(part, Arm("global", lmbda=lmbda), Exact(tol=1e-5))
        objects = world.objects.matrix.astype(np.float64)
        original = scaled_identity(part)
        credits.append(
            [
                odd_one_out(t(objects), held, interval=False).accuracy
                for t in (original, found.transform)
            ]
        )
        images = np.asarray(world.local.matrix[np.sort(rows)], dtype=np.float64)
        kept.append(neighbours_kept(original(images), found.transform(images)))
        credits[-1] = [value * len(held) for value in credits[-1]] + [len(held)]
    before, after, n = np.sum(credits, axis=0)
    first, last = curve.lines[0].positions[0], curve.lines[0].positions[-1]
    assert last.place == 3
    assert curve.agreement(first).mean == pytest.approx(before / n, abs=1e-6)
    assert curve.agreement(last).mean == pytest.approx(after / n, abs=0.006)
    assert last.kept.mean() == pytest.approx(np.mean(kept), abs=0.01)


def test_the_error_counts_objects_of_the_whole_set(curve, world):
    """Answers of different folds share no object: their error is that of the held-out answers as they were given."""
    held = joined([curve.data.fold(fold, 3)[1] for fold in range(3)])
    scored = odd_one_out(world.objects.standardization(world.objects.matrix, "float64"), held)
    assert curve.agreement(curve.original).error == pytest.approx(scored.units.estimate().error)


def test_the_fit_mixes_two_certified_fits(curve):
    """The transform lies on the line between two converged fits, and the record states both and what is expected."""
    found = curve.solve(0.9)
    said = found.details["keep"]
    assert found.converged
    assert 0 <= said["share"] <= 1
    assert {one["status"] for one in said["anchors"]} == {"converged"}
    assert said["expected"]["kept"] - said["expected"]["kept_error"] >= 0.9 - 1e-9
    W = found.transform.weights
    np.testing.assert_allclose(W, W.T, atol=1e-5)


def test_slack_and_nothing_to_gain_are_said(curve):
    """A keep of 1 leaves nothing to gain; one below what the best keeps changes nothing."""
    notes = {keep: " ".join(curve.notes(keep)) for keep in (1.0, 0.01)}
    assert "nothing to gain" in notes[1.0]
    assert "changes nothing" in notes[0.01]
    assert curve.solve(1.0).details["keep"]["notes"] == curve.notes(1.0)


@pytest.fixture(scope="module")
def photographs():
    """Answers about 192 objects, 360 local images, and as many fresh ones in three parts."""
    world = simulated_world(
        n_superordinate=6,
        n_category=8,
        n_object=4,
        n_local=720,
        n_triplets=6_000,
        dimensions=28,
        seed=5,
    )
    images = np.asarray(world.local.matrix)
    data = FitData(world.objects, world.answers, Features(images[:360], None, "local images"))
    return data, np.split(images[360:].astype(np.float64), 3)


TIGHT = Exact(tol=1e-8, dtype="float64")


@pytest.fixture(scope="module")
def fit_keeping(photographs):
    """The fit of a keep, each done once."""
    return functools.cache(lambda keep: fit(photographs[0], Keep(keep=keep), TIGHT))


# global itself; before global; between both anchors of glocal; near the original
SHARES = (0.3, 0.55, 0.7, 0.95)


def refit(data, anchor):
    """The matrix of the arm that an anchor of the record names."""
    settings = {name: anchor.get(name) for name in Arm.model_fields}
    arm = Arm(**{name: value for name, value in settings.items() if value is not None})
    return fit(data, arm, TIGHT).transform.weights.astype(np.float64)


@pytest.mark.parametrize("keep", SHARES)
def test_the_transform_is_the_stated_mix(photographs, fit_keeping, keep):
    """W is `share` of the first anchor and the rest of the second, or of the scaled identity."""
    data, _ = photographs
    record = fit_keeping(keep).record.keep
    matrices = [refit(data, anchor) for anchor in record["anchors"]]
    scale_root = record["expected"]["scale"] ** 0.5
    scale = np.trace(matrices[0]) / len(matrices[0])
    matrices.append(scale * np.eye(len(matrices[0])))
    mix = record["share"] * matrices[0] + (1 - record["share"]) * matrices[1]
    weights = fit_keeping(keep).transform.weights
    np.testing.assert_allclose(weights, scale_root * mix, atol=1e-3)


@pytest.mark.parametrize("keep", SHARES)
def test_fresh_images_keep_what_was_promised(photographs, fit_keeping, keep):
    """Among as many unseen images as a fold holds out, the expected share of neighbours stays."""
    data, parts = photographs
    record = fit_keeping(keep).record.keep
    assert record["candidates"] == len(parts[0])
    transform = fit_keeping(keep).transform
    share = np.mean(
        [neighbours_kept(data.scalars(images, "float64"), transform(images)) for images in parts]
    )
    assert share == pytest.approx(record["expected"]["kept"], abs=0.03)
    assert share > keep - 0.03


def test_the_anchors_are_those_of_the_place(fit_keeping):
    """The two fits that are mixed are neighbours on the line from the original to global."""
    order = [None, 0.5, 0.75]
    for keep in SHARES:
        record = fit_keeping(keep).record.keep
        indices = [order.index(anchor["alpha"]) for anchor in record["anchors"]]
        assert indices in ([0, 1], [1, 2], [2])
        assert 0 <= record["share"] <= 1


def test_no_agreement_is_given_away(fit_keeping):
    """Between two places the crossing is found: just so much is promised as was requested."""
    rows = [*fit_keeping(0.7).record.keep["curve"], *fit_keeping(0.95).record.keep["curve"]]
    excess = [row["kept"] - row["kept_error"] - row["keep"] for row in rows]
    assert min(excess) >= -1e-9
    assert np.mean(excess) < 0.002


@pytest.mark.nightly
def test_without_local_images_the_promise_is_about_objects(world):
    """Then the line leads from the original to global alone, at every λ that was visited."""
    found = keep_curve(FitData(world.objects, world.answers))
    assert found.data.evaluation_kind == "objects"
    assert {line.lmbda for line in found.lines} == set(found.losses)


@pytest.mark.nightly
def test_few_answers_choose_the_penalty_on_folds_of_answers(world):
    """With 2,000 answers λ is chosen where objects are seen, and no expected agreement is without its error."""
    found = keep_curve(FitData(world.objects, world.answers.select(np.arange(2000)), world.local))
    assert found.agreement(found.choose(0.9)).error > 0
    assert min(found.losses.values()) < np.log(3)


@pytest.mark.parametrize("keep", [0, -1, 1.5, float("nan")])
def test_a_keep_that_is_no_share_is_refused(curve, keep):
    """Zero, negative and larger shares than 1 are refused."""
    with pytest.raises(ParameterError, match="keep"):
        curve.choose(keep)


def agreeing(position, share, **changes):
    """A position whose credit is 1 on this share of the answers, in a fixed random order."""
    order = np.random.default_rng(0).permutation(len(position.credit))
    return replace(position, credit=(order < share * len(order)).astype(float), **changes)


def line_of(curve, *positions):
    return Line(positions, curve.crossfit.answers.weights)


def test_ties_take_the_larger_penalty(curve):
    """Of two places within a standard error of each other that of the larger λ is chosen, whatever it keeps."""
    original = agreeing(curve.original, 0.4)
    for weak_share, lmbda in ((0.6005, 0.3), (0.7, 0.1)):
        weak = agreeing(curve.original, weak_share, lmbda=0.1, place=1.0)
        strong = agreeing(curve.original, 0.6, lmbda=0.3, place=1.0)
        lines = (line_of(curve, original, strong), line_of(curve, original, weak))
        assert replace(curve, original=original, lines=lines).choose(0.5).lmbda == lmbda


def test_a_gain_within_an_error_leaves_the_features_as_they_are(curve):
    """A place that gains nothing that could be told from 0 is not chosen, and this is said."""
    original = agreeing(curve.original, 0.5)
    better = agreeing(curve.original, 0.5005, place=1.0)
    some = replace(
        curve,
        original=original,
        lines=(line_of(curve, original, better),),
        raw_credit=original.credit,
    )
    assert some.choose(0.5).place == 0
    assert "nothing to gain" in some.notes(0.5)[0]


def test_the_place_is_the_top_of_the_parabola(curve):
    """Through .5, .7 and .6 at 1, 2 and 3 it is at 2 + 1/6; on a tie of two places it is between them, from both."""
    base = [
        agreeing(curve.original, share, place=float(at))
        for at, share in enumerate((0.4, 0.5, 0.7, 0.6))
    ]
    assert line_of(curve, *base).best(0.01).place == pytest.approx(2 + 1 / 6, abs=1e-3)
    tie = [
        agreeing(curve.original, share, place=float(at))
        for at, share in enumerate((0.4, 0.6, 0.6, 0.5))
    ]
    assert line_of(curve, *tie).best(0.01).place == pytest.approx(1.5, abs=1e-3)
