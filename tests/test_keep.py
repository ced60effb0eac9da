"""One dial: the share of neighbours that must stay."""

import functools
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from glocal.aligner import Arm, Exact, FitData, dial, fit
from glocal.aligner.data import joined
from glocal.data.features import Features
from glocal.data.splits import split_answers
from glocal.data.world import simulated_world
from glocal.errors import ParameterError
from glocal.evaluation.agreement import odd_one_out
from glocal.evaluation.structure import neighbours_kept


@pytest.fixture(scope="module")
def turned(world):
    """The dial of the small world, with local images."""
    return dial(FitData(world.objects, world.answers, world.local))


def test_more_neighbours_kept_is_never_more_agreement(turned):
    """A larger keep promises at least as many neighbours, and no more agreement than a smaller one."""
    rows = {keep: turned.choose(keep) for keep in (0.5, 0.7, 0.8, 0.9, 0.95, 1.0)}
    assert all(row.safe >= keep - 1e-9 or not row.at for keep, row in rows.items())
    assert all(a.agreement >= b.agreement - 5e-4 for a, b in pairwise(rows.values()))
    assert turned.choose(1.0).kept == 1.0


def test_objects_without_answers_are_in_no_fold(world):
    """The answers that a split leaves for training can be fitted with keep: its folds cut the objects they name."""
    train, _ = split_answers(world.answers, len(world.objects))
    turned = dial(FitData(world.objects, world.answers.select(train)))
    assert set(turned.data.objects) == set(np.unique(world.answers.objects[train]))


def test_the_ends_of_the_line_are_the_original_and_global(turned, world):
    """The first place scores as the features do, and the last one as a fit of global without the fold does."""
    data = turned.data
    credits, kept = [], []
    lmbda = turned.positions[1].lmbda
    for fold in range(3):
        part, held, rows = data.fold(fold, 3)
        found = fit(part, Arm("global", lmbda=lmbda), Exact(tol=1e-5))
        objects = world.objects.matrix.astype(np.float64)
        original = part.original()
        credits.append([odd_one_out(t(objects), held, interval=False).accuracy for t in (original, found.transform)])
        images = np.asarray(world.local.matrix[np.sort(rows)], dtype=np.float64)
        kept.append(neighbours_kept(original(images), found.transform(images)))
        credits[-1] = [value * len(held) for value in credits[-1]] + [len(held)]
    before, after, n = np.sum(credits, axis=0)
    last = next(one for one in turned.positions if one.lmbda == lmbda and one.at == 3)
    assert turned.positions[0].agreement == pytest.approx(before / n, abs=1e-6)
    assert last.agreement == pytest.approx(after / n, abs=0.004)
    assert last.kept == pytest.approx(np.mean(kept), abs=0.01)


def test_the_error_counts_objects_of_the_whole_set(turned, world):
    """Answers of different folds share no object: their error is that of the held-out answers as they were given."""
    held = joined([turned.data.fold(fold, 3)[1] for fold in range(3)])
    scored = odd_one_out(world.objects.standardization(world.objects.matrix, "float64"), held)
    assert turned.positions[0].agreement_error == pytest.approx(scored.units.estimate().error)


def test_the_fit_mixes_two_certified_fits(turned):
    """The transform lies on the line between two converged fits, and the record states both and what is expected."""
    found = turned.solve(0.9)
    said = found.told["keep"]
    assert found.converged
    assert 0 <= said["share"] <= 1
    assert {one["status"] for one in said["anchors"]} == {"converged"}
    assert said["expected"]["kept"] - said["expected"]["kept_error"] >= 0.9 - 1e-9
    W = found.transform.weights
    np.testing.assert_allclose(W, W.T, atol=1e-5)


def test_slack_and_nothing_to_gain_are_said(turned):
    """A keep of 1 leaves nothing to gain; one below what the best keeps changes nothing; others say none."""
    best = max(turned.positions, key=lambda one: one.agreement)
    said = {keep: " ".join(turned.notes(keep)) for keep in (1.0, 0.01, best.safe + 0.02)}
    assert "nothing to gain" in said[1.0]
    assert "changes nothing" in said[0.01]
    assert said[best.safe + 0.02] == ""
    assert turned.solve(1.0).told["keep"]["notes"] == turned.notes(1.0)


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
    return functools.cache(lambda keep: fit(photographs[0], keep=keep, solver=TIGHT))


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
    scale = np.trace(matrices[0]) / len(matrices[0])
    matrices.append(scale * np.eye(len(matrices[0])))
    mix = record["share"] * matrices[0] + (1 - record["share"]) * matrices[1]
    np.testing.assert_allclose(fit_keeping(keep).transform.weights, mix, atol=3e-4)


@pytest.mark.parametrize("keep", SHARES)
def test_fresh_images_keep_what_was_promised(photographs, fit_keeping, keep):
    """Among as many unseen images as a fold holds out, the expected share of neighbours stays."""
    data, parts = photographs
    record = fit_keeping(keep).record.keep
    assert record["candidates"] == len(parts[0])
    original = data.original()
    transform = fit_keeping(keep).transform
    share = np.mean([neighbours_kept(original(images), transform(images)) for images in parts])
    assert share == pytest.approx(record["expected"]["kept"], abs=0.03)
    assert share > keep - 0.03


def test_the_anchors_are_those_of_the_place(fit_keeping):
    """The fewer neighbours are to stay, the nearer to global lie the fits that are mixed."""
    alphas = [[None, 0.5], [None, 0.5], [0.5, 0.75], [0.75]]
    for keep, expected in zip(SHARES, alphas, strict=True):
        anchors = fit_keeping(keep).record.keep["anchors"]
        assert [anchor.get("alpha") for anchor in anchors] == expected
    assert fit_keeping(0.3).record.keep["share"] == 1
    assert all(0 < fit_keeping(keep).record.keep["share"] < 1 for keep in SHARES[1:])


def test_no_agreement_is_given_away(fit_keeping):
    """Between two places the crossing is found: just so much is promised as was requested."""
    rows = [*fit_keeping(0.7).record.keep["curve"], *fit_keeping(0.95).record.keep["curve"]]
    excess = [row["kept"] - row["kept_error"] - row["keep"] for row in rows]
    assert min(excess) >= -1e-9
    assert np.mean(excess) < 0.002


@pytest.mark.nightly
def test_without_local_images_the_promise_is_about_objects(world):
    """Then the line leads from the original to global alone, at every λ that was visited."""
    found = dial(FitData(world.objects, world.answers))
    assert found.data.judged == ("objects", world.objects)
    assert {one.lmbda for one in found.positions[1:]} == set(found.losses)


@pytest.mark.nightly
def test_few_answers_choose_the_penalty_on_folds_of_answers(world):
    """With 2,000 answers λ is chosen where objects are seen, and no expected agreement is without its error."""
    found = dial(FitData(world.objects, world.answers.select(np.arange(2000)), world.local))
    assert found.choose(0.9).agreement_error > 0
    assert min(found.losses.values()) < np.log(3)


@pytest.mark.parametrize("keep", [0, -1, 1.5, float("nan")])
def test_a_keep_that_is_no_share_is_refused(turned, keep):
    """Zero, negative and larger shares than 1 are refused."""
    with pytest.raises(ParameterError, match="keep"):
        turned.choose(keep)


def test_ties_take_the_larger_penalty(turned):
    """Of two places with the same agreement that of the larger λ is chosen."""
    original = turned.positions[0]
    weak = replace(original, lmbda=0.1, at=1.0, agreement=0.6, kept=0.8)
    strong = replace(weak, lmbda=0.3, agreement=0.6 - 1e-5, kept=0.7)
    better = replace(strong, agreement=0.7)
    for second, lmbda in ((weak, 0.3), (replace(weak, agreement=0.7), 0.1)):
        assert replace(turned, positions=(original, strong, second)).choose(0.5).lmbda == lmbda
    assert replace(turned, positions=(original, better, weak)).choose(0.5).lmbda == 0.3


@pytest.mark.parametrize(("standard_errors", "sentences"), [(1.5, 1), (1.99, 1), (2.5, 0)])
def test_a_gain_within_two_standard_errors_is_none(turned, standard_errors, sentences):
    """A gain over the original of less than two of its standard errors is noted as none."""
    original = turned.positions[0]
    place = replace(
        original,
        at=1.0,
        agreement=original.agreement + 0.01 * standard_errors,
        gain=0.01 * standard_errors,
        gain_error=0.01,
    )
    notes = replace(turned, positions=(original, place)).notes(0.9)
    assert sum("nothing to gain" in note for note in notes) == sentences
