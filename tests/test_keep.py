"""`Keep` chooses the transform by the share of neighbours that must stay."""

import functools
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from fits import fold_means, spend_budget
from world import answers, folder, normal, run, table

from glocal import (
    Answers,
    Exact,
    Features,
    FitData,
    Keep,
    ObjectiveSettings,
    PaperLoop,
    cross_score,
    fit,
    neighbours_kept,
    simulated_world,
)
from glocal.advice.sentences import keep_notes
from glocal.aligner import keep_curve
from glocal.aligner.folds import fit_folds
from glocal.aligner.heldout import best_similarity_scale, scaled_identity
from glocal.aligner.mixtures import PathPosition, best_on_path
from glocal.aligner.search import PathSearch, path_settings
from glocal.errors import DataError, DataWarning, ParameterError
from glocal.transform.card import card

pytestmark = pytest.mark.usefixtures("without_type_checks")  # many fits
FIRST = PathPosition(1, 1.0)
TIGHT = Exact(tol=1e-6, dtype="float64")
# at `global`; just before `global`; between both fits of `glocal`; near the original features
SHARES = (0.3, 0.55, 0.7, 0.95)


@pytest.fixture(scope="module")
def photographs():
    """Answers about 192 objects, and 180 local images."""
    world = simulated_world(
        n_category=8, n_object=4, n_local=360, n_answers=6_000, dimensions=28, seed=5
    )
    images = np.asarray(world.local.matrix, np.float64)
    local, fresh = np.split(images, 2)
    data = FitData(world.objects, world.answers, Features(local, None, "local images"))
    return SimpleNamespace(data=data, fresh=np.split(fresh, 3))


@pytest.fixture(scope="module")
def curve(photographs):
    return keep_curve(photographs.data, TIGHT)


@pytest.fixture(scope="module")
def solved(curve):
    """A function that returns the solution of a `keep`, and fits each once."""
    return functools.cache(curve.solve)


@pytest.fixture(scope="module")
def few(photographs):
    """A function that makes data of the first answers, without local images."""
    data = photographs.data
    return lambda n: FitData(data.features, data.answers.select(np.arange(n)))


def random_data(n, p, t, n_local=0, seed=1):
    """Random answers about random features, and random local images."""
    rng = np.random.default_rng(seed)
    features = Features(rng.normal(size=(n, p)))
    local = Features(rng.normal(size=(n_local, p))) if n_local else None
    return FitData(features, answers(t, n, seed=seed + 5), local)


# paths and promises


@pytest.mark.nightly
def test_more_neighbours_kept_is_never_more_agreement(curve):
    """A larger `keep` keeps at least its share of neighbours, and never promises more agreement."""
    rows = {keep: curve.choose(keep) for keep in (0.5, 0.7, 0.8, 0.9, 0.95, 1.0)}
    assert all(row.promise >= keep - 1e-9 or row.is_original for keep, row in rows.items())
    lambdas = curve.search.penalties
    index = lambdas.index(curve.penalty)
    assert [path[-1].lmbda for path in curve.paths] == lambdas[index - 1 : index + 1]
    agreement = [curve.search.heldout.estimate(row.credit) for row in rows.values()]
    assert all(a.mean >= b.mean - b.error for a, b in pairwise(agreement))
    assert curve.choose(1.0).kept.mean() == 1.0


def test_the_ends_of_a_path_are_the_original_and_global(curve, photographs):
    """The first mixture of a path scores as the features do, and the last as fits of `global`
    without each fold do.
    """
    data = photographs.data
    first, *_, last = curve.paths[0]
    folds = fit_folds(data)
    arm = ObjectiveSettings("global", lmbda=last.lmbda)
    original, *_ = fold_means(data, folds, [scaled_identity(fold.data, 0.0) for fold in folds])
    aligned, _, kept = fold_means(data, folds, [fit(fold.data, arm).transform for fold in folds])
    assert last.position == PathPosition(3, 1.0)
    assert first.agreement == pytest.approx(original, abs=1e-6)
    for identity, fitted, *_ in curve.search.path_weights(last.lmbda):
        assert identity == pytest.approx(np.trace(fitted) / len(fitted) * np.eye(len(fitted)))
    assert last.agreement == pytest.approx(aligned, abs=0.006)
    assert last.kept.mean() == pytest.approx(kept, abs=0.01)


@pytest.mark.parametrize("keep", SHARES)
def test_fresh_images_keep_what_was_promised(photographs, solved, keep):
    """Among as many fresh images as a fold holds out, the expected share of neighbours stays, and
    little more is promised than `keep`. The fits that are mixed are adjacent on the path.
    """
    solution = solved(keep)
    heldout = solution.heldout
    record = solution.keep
    assert heldout.n_images == 60
    assert heldout.k == 10
    assert heldout.among == "local images"
    kept = np.mean([neighbours_kept(rows, solution.transform(rows)) for rows in photographs.fresh])
    assert kept == pytest.approx(heldout.neighbours_kept, abs=0.04)
    assert kept > keep - 0.04
    alphas = [fit.alpha for fit in record.fits]
    assert alphas in ([None], [None, 0.5], [0.5, 0.75], [0.75])
    assert 0 < record.share <= 1
    assert record.share < 1 or len(alphas) == 1
    promised = [row.neighbours_kept - row.neighbours_kept_error for row in record.curve]
    excess = np.subtract(promised, [row.keep for row in record.curve])
    assert min(excess) >= -1e-9
    assert keep < 0.7 or np.mean(excess) < 0.004


def test_a_share_that_is_kept_only_on_average_is_not_promised(curve):
    """The promise is one standard error, over the 180 images, below the mean: a mixture that keeps
    .9 on average lies beyond the one that is chosen for .9.
    """
    mixture = gaining(curve, 9.0, 0.9, lmbda=1.0)
    spread = np.resize([0.8, 1.0], len(mixture.kept))
    best = best_on_path([curve.original, replace(mixture, kept=spread)], 0.9)
    assert best.position.following == 1
    assert best.position.share == pytest.approx(1 / (1 + 180**-0.5))


# the solution


@pytest.mark.parametrize("keep", [0.7, 0.95])
def test_the_transform_is_the_stated_mix(photographs, curve, solved, keep):
    """W is `share` of the first fit plus the rest of the second one, or of a scaled identity; both
    fits converged, and the record has the scores of the folds, whose W have their best scale.
    """
    solution = solved(keep)
    record = solution.keep
    fits = [
        fit(photographs.data, ObjectiveSettings.from_values(vars(mixed)), TIGHT)
        for mixed in record.fits
    ]
    first, *rest = (fitted.transform.weights.astype(np.float64) for fitted in fits)
    identity = np.trace(first) / len(first) * np.eye(len(first))
    mix = record.share * first + (1 - record.share) * [*rest, identity][0]
    np.testing.assert_allclose(solution.transform.weights, record.scale**0.5 * mix, atol=2e-3)
    assert {mixed.status for mixed in record.fits} == {solution.report.status} == {"converged"}
    choice = curve.choose(keep)
    heldout = curve.search.heldout
    gain = heldout.estimate(choice.credit - heldout.original_credit)  # paired
    expected = [choice.kept.mean(), choice.agreement, *gain.interval()]
    names = ("neighbours_kept", "agreement", "gain_low", "gain_high")
    scores = [getattr(solution.heldout, name) for name in names]
    assert scores == pytest.approx(expected, abs=0.01)
    matrices = curve.search.weights(choice)[1]
    Z = [X @ W for X, W in zip(heldout.rows, matrices, strict=True)]
    assert best_similarity_scale(heldout.similarities(Z), None) == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("unconverged", [0, 1])
def test_an_unconverged_fit_of_a_mixture_is_reported(curve, monkeypatch, unconverged):
    """If either of the two fits that are mixed did not converge, the mixture did not, and its
    report has the objective of that fit.
    """
    results = spend_budget(monkeypatch, "minimise", unconverged)
    solution = replace(curve, solver=Exact(max_evaluations=5)).solve(0.7)
    report = solution.report
    assert len(results) == 2
    assert report.status == "budget"
    assert report.reason == "budget"
    assert report.objective == results[unconverged].report.objective
    assert solution.settings == results[unconverged].settings


def test_an_error_that_is_not_known_is_none(here):
    """Any two answers about five objects share one: no error can be estimated, and none is stated,
    nor is a gain claimed. The command says that only the origin moved, and nothing about new
    objects.
    """
    data = random_data(5, 4, 60, seed=0)
    record = fit(data).record
    names = ("low", "high", "gain_low", "gain_high")
    assert {getattr(record.heldout, name) for name in names} == {None}
    assert "nothing to gain" in next(keep_notes(record.keep))
    folder(here, x_npy=data.features.matrix, a_npz=data.answers)
    code, output, notes = run("fit --features x.npy --answers a.npz --centre 1 --out t.npz")
    assert code == 0
    assert "new objects" not in notes
    assert "only the origin was moved (centre 1.0): 60 answers" in output
    assert "which cannot be told from" in output
    assert "interval" not in output


@pytest.mark.parametrize("keep", [None, 1.0])
def test_a_fit_that_changes_nothing_says_so(keep):
    """W is the identity, the record has no arm and no result of another fit, and neither a collapse
    nor a fit that is not returned is warned of, in the fit or in `cross_score`.
    """
    n_local = 40 if keep else 0
    arguments = random_data(40, 8, 300, n_local), Keep(keep=keep), Exact(max_evaluations=5)
    fitted = fit(*arguments)
    np.testing.assert_array_equal(fitted.transform.weights, np.eye(8))
    record = vars(fitted.record)
    expected = dict.fromkeys("method lmbda alpha objective parts".split())
    expected |= {"status": "unchanged", "converged": True, "n_local": n_local}
    assert record | expected == record
    assert record["keep"].share is None
    assert record["keep"].fits == ()
    for heldout in (record["heldout"], cross_score(*arguments, folds=2)):
        assert heldout.loss == heldout.original_loss == pytest.approx(np.log(3), abs=0.01)
        assert heldout.gain == 0
        assert heldout.neighbours_kept == 1
    assert "the features stay as they are" in card(fitted.transform)


def test_features_whose_origin_alone_moves_keep_all_neighbours_there():
    """If nothing else changes, the record has the scores of the rows with the new origin."""
    data = replace(random_data(30, 6, 300, n_local=40), centre=1.0)
    heldout = fit(data, Keep(keep=1.0)).record.heldout
    assert heldout.neighbours_kept_centred == 1 > heldout.neighbours_kept


def test_held_out_scores_say_that_a_fit_on_a_fold_did_not_converge(curve, monkeypatch):
    """One fit that did not converge, of those on all folds, is enough."""
    solutions = curve.search.fits.solutions
    key = path_settings(curve.penalty, 0.0)
    first, *others = solutions[key]
    budget = replace(first, report=first.report.model_copy(update={"status": "budget"}))
    monkeypatch.setitem(solutions, key, [budget, *others])
    choice = curve.paths[-1][-1]
    assert choice.lmbda == curve.penalty
    assert not curve.heldout_scores(choice).converged


def test_a_choice_on_folds_is_not_suspected_of_a_collapse(few, monkeypatch):
    """The loss of a fit that is a part of a mixture says nothing about the mixture."""
    monkeypatch.setattr("glocal.aligner.fitting.at_chance", lambda loss, chance: True)
    assert fit(few(600), Keep()).record.method == "global"


# choices and notes


def agreeing(mixture, share, **changes):
    """A mixture whose credit is 1 on this share of the answers, in a fixed random order."""
    order = np.random.default_rng(0).permutation(len(mixture.credit))
    credit = (order < share * len(order)).astype(float)
    return replace(mixture, credit=credit, agreement=credit.mean(), **changes)


def test_ties_take_the_larger_penalty(curve):
    """Of two mixtures whose agreement differs by less than a standard error, that with the larger λ
    is chosen, and else the better one. The features stay if a gain is within its error.
    """
    original = agreeing(curve.original, 0.4)
    strong = agreeing(original, 0.6, lmbda=0.3, position=FIRST)
    for ends, lmbda in (
        ([strong, agreeing(original, 0.6005, lmbda=0.1, position=FIRST)], 0.3),
        ([strong, agreeing(original, 0.7, lmbda=0.1, position=FIRST)], 0.1),
        ([agreeing(original, 0.4005, position=FIRST)], original.lmbda),
    ):
        paths = tuple([original, end] for end in ends)
        choice = replace(curve, original=original, paths=paths).choose(0.5)
        assert choice.lmbda == lmbda
        assert choice.is_original != (lmbda != original.lmbda)


def gaining(curve, errors, kept, **changes):
    """A mixture whose gain over the original is this multiple of its error."""
    raw = curve.search.heldout.original_credit
    noise = np.random.default_rng(int(errors)).normal(size=len(raw))
    credit = raw + noise + (errors * curve.search.heldout.estimate(noise).error - noise.mean())
    kept = np.full(len(curve.original.kept), kept)
    changes |= {"credit": credit, "agreement": credit.mean(), "kept": kept}
    return replace(curve.original, position=FIRST, **changes)


# the gains, in errors, of what keeps .95 and .5 of the neighbours | keep | the note
NOTES = """
1.5 | | More answers
3 | |
1.5 | 0.9 | lower keep
0.1 0.2 | 0.9 | More answers
3 5 | 0.9 |
3 9 | 0.9 | Lower keep
4 7.6 | 0.9 |
3 | 1 | nothing to gain
"""


@table("errors, keep, noun", NOTES)
def test_each_note_has_its_condition(curve, monkeypatch, errors, keep, noun):
    """Advice depends on the gain of the choice, and on what a lower `keep` would add to it, in
    standard errors. The gain is over the rows as given, also where another origin agrees less.
    """
    raw = curve.search.heldout.original_credit
    original = replace(curve.original, credit=raw if keep else raw - 1, agreement=raw.mean())
    options = zip(errors.split(), (0.95, 0.5), (1.0, 0.1), strict=False)
    mixtures = [gaining(curve, float(error), kept, lmbda=lmbda) for error, kept, lmbda in options]
    paths = tuple([original, mixture] for mixture in mixtures)
    changed = replace(curve, original=original, paths=paths)
    monkeypatch.setattr(curve.search, "global_scores", lambda _: mixtures[0])
    notes = [*keep_notes(changed.record(float(keep) if keep else None, [], None, 1.0))]
    assert len(notes) == bool(noun)
    assert noun in "".join(notes)


# the search and its scores


def test_the_search_for_the_penalty_goes_on_while_the_loss_falls(few):
    """On folds of questions λ falls in multiples of p / t until two losses in a row are higher, and
    without local images each λ has a path; on folds of objects λ rises from 1 too if the loss is no
    lower below.
    """
    curve = keep_curve(few(600), keep=0.9)
    lambdas = [4.7, 1.4, 0.47, 0.14, 0.047, 0.014]
    assert [*curve.losses] == lambdas[: len(curve.losses)]
    assert curve.penalty == min(curve.losses, key=curve.losses.get) < 4.7
    assert [path[-1].lmbda for path in curve.paths] == [*curve.losses]
    with pytest.warns(DataWarning, match="chance"):
        curve = keep_curve(random_data(30, 4, 5000), keep=0.9)
    assert min(curve.losses) == 0.001
    assert max(curve.losses) == 100.0
    assert curve.penalty == 100.0


@pytest.mark.parametrize("factor", [1e-4, 1e4])
def test_the_best_scale_does_not_depend_on_the_scale_of_the_similarities(factor):
    """Multiplying the similarities by a factor divides their best scale by it."""
    S = normal(500, 3) + np.array([0.5, 0, 0])
    scale = best_similarity_scale(S, None)
    assert best_similarity_scale(factor * S, None) * factor == pytest.approx(scale, rel=1e-3)


def held_out(photographs, objects, weights=None):
    """The held-out parts of three folds of questions."""
    data = FitData(photographs.data.features, Answers(objects, weights))
    return PathSearch(Exact().problem(data, local=False), fit_folds(data, 3, "questions"))


def test_weights_count_as_copies_in_scores_and_ties(photographs):
    """Agreement, loss and scale of weighted answers are those of copies, and a deficit is weighted
    before it counts as a tie.
    """
    objects = photographs.data.answers.objects[:200]
    weights = np.where(np.arange(200) < 120, 1, 3)
    weighted = held_out(photographs, objects, weights.astype(float))
    copied = held_out(photographs, np.repeat(objects, weights, axis=0))
    first, second = (
        (
            search.scores(search.heldout.rows).agreement,
            search.heldout.mean(search.heldout_losses(np.inf)),
            scaled_identity(search.problem.data, 0).weights[0, 0],
            search.weights(search.global_scores(3.0))[0],
        )
        for search in (weighted, copied)
    )
    assert first == pytest.approx(second, rel=1e-3)
    assert weighted.heldout.is_tie(np.where(weighted.heldout.answers.weights == 1, 1.0, -1.0))


def test_copies_of_a_question_are_no_further_evidence(photographs):
    """A mean deficit of 1.5 standard errors is no tie; with all answers to a question alike the
    error is twice that of as many questions, and it is one.
    """
    objects = photographs.data.answers.objects[:400]
    noise = normal(400, seed=1)

    def deficit(noise):
        return noise - noise.mean() + 1.5 * noise.std() / 20

    assert not held_out(photographs, objects).heldout.is_tie(deficit(noise))
    copied = held_out(photographs, np.repeat(objects[:100], 4, axis=0))
    order = np.argsort(np.lexsort(copied.heldout.answers.objects.T))
    assert copied.heldout.is_tie(np.repeat(deficit(noise[:100]), 4)[order])


# what is refused


def test_a_choice_needs_answers_images_and_the_exact_solver(curve):
    """29 answers are too few, three folds of at least three need nine local images, and the paper's
    loop, a share outside (0, 1] and a share of a curve that chose by the loss are refused; 30
    answers are enough.
    """
    for size, keep, solver, noun in (
        ((20, 4, 29), None, Exact(), "29 answers"),
        ((20, 4, 60, 8), 0.9, Exact(), "8 local images"),
        ((20, 4, 60), None, PaperLoop(), "exact solver"),
    ):
        with pytest.raises((DataError, ParameterError), match=noun):
            fit(random_data(*size), Keep(keep=keep), solver)
    for keep in (0, 1.5):
        with pytest.raises(ParameterError, match="keep"):
            curve.choose(keep)
    by_loss = keep_curve(random_data(20, 4, 30))
    assert by_loss.losses
    with pytest.raises(ParameterError, match="loss"):
        by_loss.choose(0.5)


def test_an_arm_without_a_penalty_has_that_of_the_search(photographs):
    """λ of an arm that names none is the one that `Keep` chooses without local features, and a
    search that ends without a transform leaves the features as they are.
    """
    data = photographs.data
    without_local = replace(data, local_features=None)
    chosen = fit(without_local, Keep()).record
    arm = fit(data, ObjectiveSettings("glocal", alpha=0.3)).record
    assert arm.lmbda == chosen.lmbda
    assert arm.alpha == 0.3
    assert arm.reason.endswith("lmbda was chosen on held-out questions")
    rng = np.random.default_rng(0)
    shuffled = Answers(rng.permuted(data.answers.objects[:300], axis=1))
    record = fit(replace(without_local, answers=shuffled), ObjectiveSettings("global")).record
    assert record.status == "unchanged"
    assert record.method is None
