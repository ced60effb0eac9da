"""`Keep` chooses the transform by the share of neighbours that must stay."""

import functools
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from world import run

from glocal.aligner import Arm, Exact, FitData, Keep, PaperLoop, cross_score, fit, keep_curve
from glocal.aligner.crossfit import CrossFit, Path
from glocal.aligner.data import pooled_answers
from glocal.aligner.heldout import best_similarity_scale, scaled_identity
from glocal.cli.app import execute
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.splits import split_answers
from glocal.data.world import simulated_world
from glocal.errors import DataError, DataWarning, ParameterError
from glocal.evaluation.agreement import odd_one_out
from glocal.evaluation.structure import neighbours_kept
from glocal.transform.card import card

pytestmark = pytest.mark.usefixtures("without_type_checks")  # many fits


@pytest.fixture(scope="module")
def curve(world):
    """The curve of the small world, with local images."""
    return keep_curve(FitData(world.objects, world.answers, world.local))


def test_more_neighbours_kept_is_never_more_agreement(curve):
    """A larger `keep` keeps at least its share of neighbours, and never promises more agreement."""
    rows = {keep: curve.choose(keep) for keep in (0.5, 0.7, 0.8, 0.9, 0.95, 1.0)}
    assert all(row.promise >= keep - 1e-9 or not row.step for keep, row in rows.items())
    kept = rows[0.7].kept
    assert rows[0.7].kept_error == pytest.approx(kept.std() / 300**0.5)  # over the 300 images
    assert [path.lmbda for path in curve.paths] == [0.03, 0.01]  # one step above λ*, and λ*
    assert len(curve.paths[0].mixtures) == 16  # five steps from one of four fits to the next
    agreement = [curve.crossfit.estimate(row.credit) for row in rows.values()]
    assert all(a.mean >= b.mean - b.error for a, b in pairwise(agreement))
    assert curve.choose(1.0).kept.mean() == 1.0


def test_objects_without_answers_are_in_no_fold(world):
    """Answers that name only some of the objects, as a split leaves them for training, are cut into
    folds of the objects that they name.
    """
    train, _ = split_answers(world.answers, len(world.objects))
    curve = keep_curve(FitData(world.objects, world.answers.select(train)))
    assert set(curve.crossfit.answers.objects.ravel()) <= set(world.answers.objects[train].ravel())


def test_the_ends_of_the_line_are_the_original_and_global(curve, world):
    """The first mixture of a path scores as the features do, and the last as fits of `global`
    without each fold do.
    """
    path = curve.paths[0]
    folds = curve.data.folds()
    scores = [fold_scores(world, fold, path.lmbda) for fold in folds]
    n_heldout = [len(fold.answers) for fold in folds]
    before, after, _ = np.average(scores, axis=0, weights=n_heldout)
    _, _, kept = np.mean(scores, axis=0)
    last = path.mixtures[-1]
    assert last.step == 3
    assert path.mixtures[0].agreement == pytest.approx(before, abs=1e-6)
    assert last.agreement == pytest.approx(after, abs=0.006)
    assert last.kept.mean() == pytest.approx(kept, abs=0.01)


def fold_scores(world, fold, lmbda):
    """Held-out agreement of the original features and of `global`, and the neighbours it keeps."""
    aligned = fit(fold.data, Arm("global", lmbda=lmbda), Exact(tol=1e-5)).transform
    original = scaled_identity(fold.data)
    X = world.objects.matrix.astype(np.float64)
    before, after = (
        odd_one_out(transform(X), fold.answers, interval=False).accuracy
        for transform in (original, aligned)
    )
    images = np.asarray(world.local.matrix[np.sort(fold.rows)], dtype=np.float64)
    return before, after, neighbours_kept(original(images), aligned(images))


def test_the_error_counts_objects_of_the_whole_set(curve, world):
    """The error of the agreement over all folds equals that of the pooled held-out answers, with
    objects numbered as in the whole set.
    """
    heldout = pooled_answers([fold.answers for fold in curve.data.folds()])
    score = odd_one_out(world.objects.standardization(world.objects.matrix, "float64"), heldout)
    assert curve.crossfit.estimate(curve.original.credit).error == pytest.approx(
        score.units.estimate().error
    )


def test_the_fit_mixes_two_certified_fits(curve):
    """The transform is a mix of two converged fits, and the record states both and the expected
    scores.
    """
    solution = curve.solve(0.9)
    record = solution.keep
    assert solution.converged
    heldout = solution.heldout
    assert (heldout.n_images, heldout.k, heldout.among) == (100, 10, "local images")
    assert {(settings["alpha"], settings["tau"]) for settings in record["fits"]} <= {
        (0.75, 0.1),
        (0.5, 0.1),
        (None, None),
    }
    assert 0 <= record["share"] <= 1
    assert {fit["status"] for fit in record["fits"]} == {"converged"}
    choice = curve.choose(0.9)
    assert choice.promise >= 0.9 - 1e-9
    assert heldout.kept == pytest.approx(choice.kept.mean(), abs=0.01)
    assert heldout.agreement == pytest.approx(choice.agreement, abs=0.01)
    W = solution.transform.weights
    np.testing.assert_allclose(W, W.T, atol=1e-5)


def test_the_gain_has_its_paired_interval(curve):
    """The interval of the gain is that of the paired credits of the same answers."""
    heldout = curve.solve(0.9).heldout
    gain = curve.crossfit.estimate(curve.choose(0.9).credit - curve.raw_credit)
    assert (heldout.gain_low, heldout.gain_high) == pytest.approx(gain.interval(), abs=0.01)
    assert heldout.gain_high - heldout.gain_low < heldout.high - heldout.low


def test_an_error_that_is_not_known_is_none(tmp_path, capsys):
    """Any two answers about five objects share one: no error can be estimated, and none is
    stated, nor is a gain called certain.
    """
    rng = np.random.default_rng(0)
    X = rng.normal(size=(5, 4))
    answers = Answers.from_array([rng.permutation(5)[:3] for _ in range(60)])
    record = fit(FitData(Features(X), answers)).record
    keep = record.keep
    names = ("low", "high", "gain_low", "gain_high")
    assert [getattr(record.heldout, name) for name in names] == [None] * 4
    assert "nothing to gain" in keep["notes"][0]
    assert "within two standard errors" not in keep["notes"][0]
    np.save(tmp_path / "X.npy", X)
    answers.save(tmp_path / "answers.npz")
    command = ["fit", "--features", str(tmp_path / "X.npy"), "--answers"]
    assert execute([*command, str(tmp_path / "answers.npz"), "--out", str(tmp_path / "t.npz")]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "measured on" in line]
    assert "[" not in line.split("neighbours kept")[0]


def test_slack_and_nothing_to_gain_are_said(curve):
    """The notes say that a `keep` of 1 leaves nothing to gain, and that a `keep` below the share
    which the best transform keeps changes nothing.
    """
    notes = {keep: " ".join(curve.notes(keep)) for keep in (1.0, 0.01)}
    assert "nothing to gain" in notes[1.0]
    assert "changes nothing" in notes[0.01]
    assert curve.solve(1.0).keep["notes"] == curve.notes(1.0)


@pytest.fixture(scope="module")
def photographs():
    """Answers about 192 objects, 360 local images, and 360 fresh images in three parts."""
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
    """A function that returns the fit of a `keep`, and does each fit once."""
    return functools.cache(lambda keep: fit(photographs[0], Keep(keep=keep), TIGHT))


# at `global`; just before `global`; between both fits of `glocal`; near the original features
SHARES = (0.3, 0.55, 0.7, 0.95)


def refit(data, settings):
    """The matrix of the arm of a fit in the record, fitted again."""
    return fit(data, Arm.of(settings), TIGHT).transform.weights.astype(np.float64)


@pytest.mark.parametrize(
    "keep", [0.7, *(pytest.param(keep, marks=pytest.mark.nightly) for keep in (0.3, 0.55, 0.95))]
)
def test_the_transform_is_the_stated_mix(photographs, fit_keeping, keep):
    """W is `share` of the first fit plus the rest of the second one, or of a scaled identity."""
    data, _ = photographs
    record = fit_keeping(keep).record.keep
    matrices = [refit(data, settings) for settings in record["fits"]]
    scale_root = record["scale"] ** 0.5
    scale = np.trace(matrices[0]) / len(matrices[0])
    matrices.append(scale * np.eye(len(matrices[0])))
    mix = record["share"] * matrices[0] + (1 - record["share"]) * matrices[1]
    weights = fit_keeping(keep).transform.weights
    np.testing.assert_allclose(weights, scale_root * mix, atol=1e-3)


@pytest.mark.parametrize("keep", SHARES)
def test_fresh_images_keep_what_was_promised(photographs, fit_keeping, keep):
    """Among as many fresh images as a fold holds out, the expected share of neighbours stays."""
    data, parts = photographs
    heldout = fit_keeping(keep).record.heldout
    assert heldout.n_images == len(parts[0])
    transform = fit_keeping(keep).transform
    share = np.mean(
        [neighbours_kept(data.scalars(images, "float64"), transform(images)) for images in parts]
    )
    assert share == pytest.approx(heldout.kept, abs=0.03)
    assert share > keep - 0.03


def test_the_fits_are_those_beside_the_mixture(fit_keeping):
    """The fits that are mixed are adjacent on the path from the original features to `global`."""
    order = [None, 0.5, 0.75]
    for keep in SHARES:
        record = fit_keeping(keep).record.keep
        indices = [order.index(settings["alpha"]) for settings in record["fits"]]
        assert indices in ([0], [0, 1], [1, 2], [2])
        assert 0 < record["share"] <= 1
        assert record["share"] < 1 or len(indices) == 1


def test_no_agreement_is_given_away(fit_keeping):
    """The promised share of neighbours exceeds the requested share only slightly, since the mixture
    where they meet is found between two fits.
    """
    rows = [*fit_keeping(0.7).record.keep["curve"], *fit_keeping(0.95).record.keep["curve"]]
    excess = [row["kept"] - row["kept_error"] - row["keep"] for row in rows]
    assert min(excess) >= -1e-9
    assert np.mean(excess) < 0.002


@pytest.mark.nightly
def test_without_local_images_the_promise_is_about_objects(world):
    """Without local images, the evaluation is on objects, and there is one path, from the original
    features to `global`, for every λ that was tried.
    """
    curve = keep_curve(FitData(world.objects, world.answers))
    assert curve.data.evaluation_kind == "objects"
    assert {path.lmbda for path in curve.paths} == set(curve.losses)


@pytest.mark.nightly
def test_few_answers_choose_the_penalty_on_folds_of_answers(world):
    """With 2,000 answers, λ is chosen by answers to held-out questions, and the expected agreement
    has an error.
    """
    answers = world.answers.select(np.arange(2000))
    curve = keep_curve(FitData(world.objects, answers, world.local))
    assert curve.crossfit.estimate(curve.choose(0.9).credit).error > 0
    assert min(curve.losses.values()) < np.log(3)


@pytest.mark.parametrize("keep", [0, -1, 1.5, float("nan")])
def test_a_keep_that_is_no_share_is_refused(curve, keep):
    """A `keep` of 0, below 0, above 1 or NaN is refused."""
    with pytest.raises(ParameterError, match="keep"):
        curve.choose(keep)


def agreeing(mixture, share, **changes):
    """A mixture whose credit is 1 on this share of the answers, in a fixed random order."""
    order = np.random.default_rng(0).permutation(len(mixture.credit))
    credit = (order < share * len(order)).astype(float)
    return replace(mixture, credit=credit, agreement=credit.mean(), **changes)


def test_ties_take_the_larger_penalty(curve):
    """Of two mixtures whose agreement differs by less than a standard error, that with the larger λ
    is chosen, and else the better one.
    """
    original = agreeing(curve.original, 0.4)
    for weak_share, lmbda in ((0.6005, 0.3), (0.7, 0.1)):
        weak = agreeing(curve.original, weak_share, lmbda=0.1, step=1.0)
        strong = agreeing(curve.original, 0.6, lmbda=0.3, step=1.0)
        paths = (Path((original, strong)), Path((original, weak)))
        assert replace(curve, original=original, paths=paths).choose(0.5).lmbda == lmbda


def test_a_gain_within_an_error_leaves_the_features_as_they_are(curve):
    """A mixture whose gain is within its error is not chosen, and the notes say so."""
    original = agreeing(curve.original, 0.5)
    better = agreeing(curve.original, 0.5005, step=1.0)
    flat = replace(
        curve,
        original=original,
        paths=(Path((original, better)),),
        raw_credit=original.credit,
    )
    assert flat.choose(0.5).step == 0
    assert "nothing to gain" in flat.notes(0.5)[0]


@pytest.mark.parametrize("factor", [1e-4, 1.0, 1e4])
def test_the_best_scale_does_not_depend_on_the_scale_of_the_similarities(factor):
    """Multiplying the similarities by a factor divides their best scale by it."""
    rng = np.random.default_rng(0)
    S = rng.normal(size=(500, 3)) + np.array([0.5, 0, 0])
    scale = best_similarity_scale(S, None)
    assert best_similarity_scale(factor * S, None) * factor == pytest.approx(scale, rel=1e-3)


def test_random_answers_leave_features_of_many_columns_as_they_are():
    """The features without a transform are scored at their own best scale, and are chosen if no λ
    gains.
    """
    rng = np.random.default_rng(1)
    features = Features(rng.normal(size=(60, 400)).astype(np.float32) + 3 * rng.normal(size=400))
    answers = Answers([rng.permutation(60)[:3] for _ in range(600)])
    curve = keep_curve(FitData(features, answers), keep=None)
    assert curve.choose(None).step == 0
    assert curve.losses[np.inf] == pytest.approx(np.log(3), abs=0.01)


@pytest.mark.parametrize("keep", [None, 1.0])
def test_a_fit_that_changes_nothing_says_so(keep):
    """W is the identity, the record has no arm and no result of another fit, and neither a collapse
    nor a fit that is not returned is warned of, in the fit or in `cross_score`.
    """
    rng = np.random.default_rng(1)
    features = Features(rng.normal(size=(60, 20)))
    local = None if keep is None else Features(rng.normal(size=(40, 20)))
    data = FitData(features, Answers([rng.permutation(60)[:3] for _ in range(300)]), local)
    fitted = fit(data, Keep(keep=keep), Exact(max_evaluations=5))
    record = fitted.record
    np.testing.assert_array_equal(fitted.transform.weights, np.eye(20))
    assert (record.status, record.converged) == ("unchanged", True)
    settings = (record.method, record.lmbda, record.alpha)
    assert {*settings, record.objective, record.parts, record.keep["share"]} == {None}
    assert record.keep["fits"] == []
    assert record.n_local == (0 if keep is None else 40)
    nested = cross_score(data, Keep(keep=keep), Exact(max_evaluations=5), folds=2)
    for heldout in (record.heldout, nested):
        assert heldout.loss == heldout.original_loss == pytest.approx(np.log(3), abs=0.01)
        assert (heldout.gain, heldout.kept) == (0, 1)
    assert "the features stay as they are" in card(fitted.transform)


def test_the_command_says_that_nothing_changes(tmp_path):
    """The command says that the features stay as they are, by how much they are centred, and no
    more about new objects; the page of the transform advises more answers.
    """
    rng = np.random.default_rng(1)
    np.save(tmp_path / "X.npy", rng.normal(size=(60, 20)))
    np.save(tmp_path / "answers.npy", [rng.permutation(60)[:3] for _ in range(300)])
    paths = ["--features", tmp_path / "X.npy", "--answers", tmp_path / "answers.npy"]
    code, output, notes = run("fit", *paths, "--centre", "1", "--out", tmp_path / "t.npz")
    assert code == 0
    assert "the features stay as they are, centred by 1: 300 answers" in output
    assert "new objects" not in notes
    code, output, _ = run("report", tmp_path / "t.npz", *paths, "--out", tmp_path / "t.html")
    assert "It leaves the features as they are" in (tmp_path / "t.html").read_text()


@pytest.mark.parametrize("unconverged", [0, 1])
def test_an_unconverged_fit_of_a_mixture_is_reported(curve, monkeypatch, unconverged):
    """If either of the two fits that are mixed did not converge, the mixture did not."""
    minimise = Exact.minimise
    results = []

    def spend(*arguments, **options):
        status = "budget" if len(results) == unconverged else "converged"
        results.append(replace(minimise(*arguments, **options), status=status, reason=status))
        return results[-1]

    monkeypatch.setattr(Exact, "minimise", spend)
    solution = curve.solve(0.7)
    assert (len(results), solution.status, solution.reason) == (2, "budget", "budget")


def held_out(world, answers):
    """The held-out parts of three folds of questions."""
    data = FitData(world.objects, answers)
    folds = data.folds(3, "questions")
    return CrossFit(data, folds, Exact())


def test_weights_count_as_copies_in_scores_and_ties(world):
    """Agreement, loss and scale of weighted answers are those of copies, and a deficit is weighted
    before it counts as a tie.
    """
    objects = world.answers.objects[:200]
    weights = np.where(np.arange(200) < 120, 1, 3)
    person = np.arange(200) % 7
    weighted = held_out(world, Answers(objects, weights.astype(float), person=person))
    assert [*np.bincount(weighted.answers.person)] == [*np.bincount(person)]
    copied = held_out(world, Answers(np.repeat(objects, weights, axis=0)))
    first, second = (
        (crossfit.original().agreement, crossfit.mean(crossfit.search()[np.inf]))
        for crossfit in (weighted, copied)
    )
    assert first == pytest.approx(second, rel=1e-3)
    assert weighted.is_tie(np.where(weighted.answers.weights == 1, 1.0, -1.0))


def test_copies_of_a_question_are_no_further_evidence(world):
    """A mean deficit of 1.5 standard errors is no tie; with all answers to a question alike the
    error is twice that of as many questions, and it is one.
    """
    objects = world.answers.objects[:400]
    crossfit = held_out(world, Answers(objects))
    noise = np.random.default_rng(1).normal(size=400)
    deficit = noise - noise.mean() + 1.5 * noise.std() / 20
    assert not crossfit.is_tie(deficit)
    copied = held_out(world, Answers(np.repeat(objects[:100], 4, axis=0)))
    order = np.argsort(np.lexsort(copied.answers.objects.T))
    deficit = np.repeat(noise[:100] - noise[:100].mean(), 4) + 1.5 * noise[:100].std() / 20
    assert copied.is_tie(deficit[order])


def gaining(curve, errors, kept, **changes):
    """A mixture whose gain over the original is this multiple of its error."""
    noise = np.random.default_rng(int(errors)).normal(size=len(curve.raw_credit))
    gain = noise + (errors * curve.crossfit.estimate(noise).error - noise.mean())
    credit = curve.raw_credit + gain
    mixture = replace(curve.original, step=1.0, credit=credit, agreement=credit.mean(), **changes)
    return replace(mixture, kept=np.full(len(mixture.kept), kept))


@pytest.mark.parametrize(
    ("errors", "keep", "noun"),
    [  # of the mixture that keeps .95 of the neighbours, and of that which keeps .5
        ((1.5, None), None, "More answers"),
        ((3.0, None), None, None),
        ((1.5, None), 0.9, "lower keep"),
        ((0.1, 0.2), 0.9, "More answers"),
        ((3.0, None), 0.9, "changes nothing"),
        ((3.0, 5.0), 0.9, None),
        ((3.0, 9.0), 0.9, "Lower keep"),
    ],
)
def test_each_note_has_its_condition(curve, errors, keep, noun):
    """Advice depends on the gain of the choice, and on what a lower `keep` would add to it, in
    standard errors.
    """
    original = replace(curve.original, credit=curve.raw_credit, agreement=curve.raw_credit.mean())
    mixtures = [
        gaining(curve, number, kept, lmbda=lmbda)
        for number, kept, lmbda in zip(errors, (0.95, 0.5), (1.0, 0.1), strict=True)
        if number is not None
    ]
    paths = tuple(Path((original, mixture)) for mixture in mixtures)
    changed = replace(curve, original=original, paths=paths)
    vars(changed)["least_loss"] = mixtures[0]
    notes = changed.notes(keep)
    assert len(notes) == (noun is not None)
    assert noun is None or noun in notes[0]


def test_a_share_that_is_kept_only_on_average_is_not_promised(curve):
    """The promise is one standard error below the mean: a mixture that keeps .9 on average
    lies beyond the one that is chosen for .9.
    """
    mixture = gaining(curve, 9.0, 0.9, lmbda=1.0)
    spread = np.resize([0.8, 1.0], len(mixture.kept))
    best = Path((curve.original, replace(mixture, kept=spread))).best(0.9)
    assert 0.5 < best.step < 1
    assert best.promise == pytest.approx(0.9, abs=0.01)


def test_a_choice_on_folds_is_not_suspected_of_a_collapse(world, monkeypatch):
    """The loss of a fit that is a part of a mixture says nothing about the mixture."""
    monkeypatch.setattr("glocal.aligner.fitting.at_chance", lambda loss, chance: True)
    few = world.answers.select(np.arange(600))
    assert fit(FitData(world.objects, few), Keep()).record.method == "global"


def test_without_a_share_the_penalty_decides(curve):
    """Without `keep` the choice is `global` at λ*, or the original features."""
    for lmbda, step in ((np.inf, 0), (curve.penalty, 3)):
        choice = replace(curve, penalty=lmbda).choose(None)
        assert (choice.lmbda, choice.step) == (lmbda, step)


def test_the_search_for_the_penalty_goes_on_while_the_loss_falls(world):
    """On folds of questions λ falls in multiples of p / t until two losses in a row are higher; on
    folds of objects it rises from 1 too if the loss is no lower below.
    """
    few = FitData(world.objects, world.answers.select(np.arange(600)))
    curve = keep_curve(few, keep=None)
    assert [*curve.losses] == [np.inf, 5.3, 1.6, 0.53, 0.16, 0.053, 0.016]
    assert curve.penalty == min(curve.losses, key=curve.losses.get) == 0.16
    rng = np.random.default_rng(1)
    random = Answers([rng.permutation(30)[:3] for _ in range(5000)])
    with pytest.warns(DataWarning, match="chance"):
        curve = keep_curve(FitData(Features(rng.normal(size=(30, 4))), random))
    assert (min(curve.losses), max(curve.losses), curve.penalty) == (0.001, 100.0, 100.0)


def test_thirty_answers_are_enough_to_choose(world):
    """With 29 the choice is refused."""
    for count in (30, 29):
        data = FitData(world.objects, world.answers.select(np.arange(count)))
        if count == 30:
            assert keep_curve(data, keep=None).losses
            continue
        with pytest.raises(DataError, match="29 answers"):
            keep_curve(data, keep=None)


def test_local_images_are_kept_to_nine_tenths_by_default(world, monkeypatch):
    """`Keep()` promises .9 with local images, and no share without any."""
    requests = []

    def curve(data, solver, *, keep, counter):
        requests.append(keep)
        return SimpleNamespace(solve=lambda *arguments: None)

    monkeypatch.setattr("glocal.aligner.keep.keep_curve", curve)
    for local in (world.local, None):
        Keep().solve(FitData(world.objects, world.answers, local), Exact())
    assert requests == [0.9, None]


def test_only_the_exact_solver_fits_a_choice(world):
    """The paper's loop is refused."""
    with pytest.raises(ParameterError, match="exact solver"):
        fit(FitData(world.objects, world.answers), Keep(), PaperLoop())


def test_few_local_images_are_named():
    """Three folds of at least three need nine local images."""
    rng = np.random.default_rng(0)
    answers = Answers([rng.permutation(20)[:3] for _ in range(60)])
    data = FitData(Features(rng.normal(size=(20, 4))), answers, Features(rng.normal(size=(8, 4))))
    with pytest.raises(DataError, match="8 local images"):
        fit(data, Keep(keep=0.9))
