"""Centring as part of a fit, without a fit, and by the images of a user."""

from dataclasses import replace

import numpy as np
import pytest
from world import folder, normal, run

from glocal import (
    Exact,
    Features,
    FitData,
    Keep,
    LinearTransform,
    ObjectiveSettings,
    PaperLoop,
    answer_credit,
    cross_score,
    fit,
    odd_one_out,
)
from glocal.aligner.fitting import fit_plan
from glocal.aligner.folds import fit_folds
from glocal.data.rows import row_statistics
from glocal.errors import DataError, DataWarning, ParameterError
from glocal.evaluation.structure import kept_by_image
from glocal.sweep import sweep
from glocal.transform.record import Recentring

pytestmark = pytest.mark.usefixtures("without_type_checks")  # many fits
COLLAPSED = 1e-4
GLOBAL = ObjectiveSettings("global", lmbda=1.0)


@pytest.fixture(scope="module")
def shifted(world):
    """A small world, with a different mean added to each column."""
    shift = 2 * normal(world.objects.dimensions)
    objects, local = (Features(part.matrix + shift) for part in (world.objects, world.local))
    return FitData(objects, world.answers, local)


def test_a_centred_fit_is_a_fit_to_centred_features(shifted):
    """A centred fit is one map with a bias, and equals the fit to objects and local images that are
    centred by hand, by the column means of the objects.
    """
    X, images = (f.matrix.astype(float) for f in (shifted.features, shifted.local_features))
    shift = X.mean(axis=0)
    by_hand = FitData(Features(X - shift), shifted.answers, Features(images - shift))
    arm = ObjectiveSettings("glocal", lmbda=1.0)
    centred, other = (fit(data, arm).transform for data in (replace(shifted, centre=1), by_hand))
    np.testing.assert_allclose(centred(X), other(X - shift), atol=5e-3)
    assert centred.bias is not None
    assert centred.mean == pytest.approx(X.mean())
    assert centred.std == pytest.approx(np.sqrt(np.mean((X - shift) ** 2)))


def test_the_promise_is_about_the_centred_features_and_the_record_has_both_shares(shifted):
    """With a centred fit, `keep` promises neighbours of the centred features, and the record and
    the curve also state the smaller share of those in the raw rows.
    """
    record = fit(replace(shifted, centre=1), Keep(keep=0.8)).record
    assert record.centre == 1.0
    assert record.heldout.neighbours_kept_centred >= 0.8
    assert record.heldout.neighbours_kept < record.heldout.neighbours_kept_centred
    rows = record.keep.curve
    assert all(row.neighbours_kept < row.neighbours_kept_centred for row in rows)


def test_a_holdout_counts_centred_neighbours_and_records_both_shares(shifted):
    """A scaled identity of centred features keeps all of their neighbours in a hold-out, and the
    record also states the share of raw neighbours.
    """
    data = replace(shifted, centre=1)
    arm = ObjectiveSettings("global", lmbda=1e4)
    scores = cross_score(data, arm)
    transform = fit(data, arm).transform
    images = [data.evaluation_rows(fold.rows) for fold in fit_folds(data)]
    shares = [kept_by_image(rows, transform(rows)).mean() for rows in images]
    assert scores.neighbours_kept_centred == pytest.approx(1, abs=1e-3)
    assert scores.neighbours_kept == pytest.approx(np.mean(shares), abs=1e-3)
    assert scores.neighbours_kept < 0.95


def test_the_scores_of_a_centred_fit_refer_to_the_raw_features(shifted):
    """The original agreement, on folds of objects and of questions, and the statistics of the
    fitted rows of a centred fit are those of the raw rows.
    """
    data = replace(shifted, centre=1, local_features=None)
    X = data.features.matrix
    scores = cross_score(data, GLOBAL, Exact(tol=1e-2))
    credit = np.concatenate([answer_credit(X, fold.answers) for fold in fit_folds(data, 3)])
    assert scores.original == pytest.approx(credit.mean())
    data = replace(data, answers=data.answers.select(np.arange(900)))
    fitted = fit(data, Keep())
    original = odd_one_out(X, data.answers, interval=False).agreement
    assert fitted.record.heldout.original == pytest.approx(original)
    assert fitted.transform.record.rows == row_statistics(data.features)


def test_the_scalar_origin_is_the_standardization_of_the_paper(shifted):
    """With `centre="scalar"` the transform has the mean and deviation of all entries and no bias,
    and the paper's loop takes it by default.
    """
    data = replace(shifted, centre="scalar")
    fitted = fit(data, GLOBAL)
    X = shifted.features.matrix
    assert (fitted.transform.mean, fitted.transform.std) == pytest.approx((X.mean(), X.std()))
    assert fitted.transform.bias is None
    assert fitted.record.centre == "scalar"
    assert fit_plan(shifted, GLOBAL, PaperLoop()).data.centre == "scalar"
    assert fit_plan(shifted, GLOBAL, None).data.centre == 0
    assert fit_plan(replace(shifted, centre=1), GLOBAL, PaperLoop()).data.centre == 1


def test_features_that_are_almost_their_means_are_warned_of(shifted):
    """A large offset, which hides the differences of rows, is warned of with the way out."""
    data = replace(shifted, features=Features(shifted.features.matrix + 200), local_features=None)
    with pytest.warns(DataWarning, match="centre=1"):
        fit(data, GLOBAL, Exact(tol=1e-1))
    fit(replace(data, centre=1), GLOBAL, Exact(tol=1e-1))


def test_a_sweep_chooses_by_the_neighbours_that_the_promise_is_about(shifted):
    """The points of a centred sweep have both shares of neighbours, and its choice keeps the share
    of those in the centred rows.
    """
    grid = {"method": ["global"], "lmbda": [100.0, 0.1]}
    result = sweep(replace(shifted, centre=1), grid, folds=2, keep=0.9, solver=Exact(tol=1e-2))
    assert {"neighbours_kept", "neighbours_kept_centred"} <= {*result.points}
    assert result.best["neighbours_kept"] < 0.9 < result.best["neighbours_kept_centred"]
    plain = sweep(shifted, grid, folds=2, solver=Exact(tol=1e-2))
    assert "neighbours_kept_centred" not in plain.points


def test_centring_needs_no_answers(shifted, here):
    """Centring without a fit subtracts the column means, as the command `apply centred` does."""
    X = shifted.features
    folder(here, x_npy=X.matrix)
    assert run("apply centred x.npy --out z.npy").code == 0
    Z = LinearTransform.centring(X)(X.matrix.astype(np.float64))
    assert np.abs(Z.mean(axis=0)).max() < COLLAPSED
    np.testing.assert_allclose(np.load("z.npy"), Z, atol=1e-4)


def test_recentring_moves_the_origin_to_the_mean_of_other_images(shifted):
    """Without weight on the old origin, the mean of other images is mapped to 0; with equal weight,
    halfway to its old place.
    """
    transform = fit(shifted, GLOBAL).transform
    images = shifted.local_features.matrix.astype(np.float64) + 0.2
    mean = images.mean(axis=0, keepdims=True)
    before = np.linalg.norm(transform(mean))
    lengths = [np.linalg.norm(transform.recentred(images, weight)(mean)) for weight in (0, 300)]
    assert lengths[0] < COLLAPSED * before
    assert lengths[1] == pytest.approx(before / 2, rel=1e-3)
    assert transform.recentred(images).record.recentred == Recentring(n=300, weight=30.0)


def test_what_cannot_be_centred_is_refused(shifted):
    """Other values than 0, 1 and "scalar", negative weights and equal rows are refused,
    and few images cause a warning.
    """
    for centre in (-0.1, 0.5, float("nan"), "1", "auto"):
        with pytest.raises(ParameterError, match="centre"):
            replace(shifted, centre=centre)
    transform = LinearTransform.centring(shifted.features)
    with pytest.raises(ParameterError, match="weight"):
        transform.recentred(shifted.features.matrix, weight=-1)
    with pytest.warns(DataWarning, match="mean of 5 images"):
        transform.recentred(shifted.features.matrix[:5])
    same = Features(np.tile(np.arange(8.0), (20, 1)))
    with pytest.raises(DataError, match="same"):
        same.standardization.centred(same.column_means)
