"""One dial: the share of neighbours that must stay."""

from itertools import pairwise

import numpy as np
import pytest

from glocal.aligner import Arm, Exact, FitData, Keep, fit, keep_curve
from glocal.aligner.data import joined
from glocal.aligner.exact import scaled_identity
from glocal.data.splits import split_answers
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
        credits.append([odd_one_out(t(objects), held, interval=False).accuracy for t in (original, found.transform)])
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
