"""The paper's loop: each choice in the authors' scripts, with a line in docs/method.md each, and"""

import functools
import sys
from dataclasses import replace

import numpy as np
import oracle
import pytest
import world
from world import chosen, folder, matrix, run

from glocal import Answers, Features, FitData, ObjectiveSettings, PaperLoop
from glocal.aligner.folds import fit_folds
from glocal.errors import DivergedError, MissingDependencyError
from glocal.solver import Counter

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.filterwarnings(
        "ignore::glocal.errors.NotConvergedWarning", "ignore::glocal.errors.CollapseWarning"
    ),
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),  # Lightning warns about torch
]
torch = pytest.importorskip("torch")


@pytest.fixture(scope="module", autouse=True)
def loop():
    """The module of the loop, which loads Lightning."""
    return pytest.importorskip(
        "glocal.solver.paper_loop", reason="the paper's loop needs glocal[paper]"
    )


# 60 objects, answers by noisy dot products in a stretched space, and 40 local images
RNG = np.random.RandomState(0)
X = RNG.normal(size=(60, 6))
IMAGES = RNG.normal(size=(40, 6))
TRIPLETS = np.array([RNG.permutation(60)[:3] for _ in range(900)])
Z = (X @ np.diag([2.0, 1, 1, 0.5, 0.1, 0.1]))[TRIPLETS]
DOTS = np.einsum("tip,tjp->ijt", Z, Z)[[0, 0, 1], [1, 2, 2]] + RNG.normal(size=(3, 900))
ORDER = matrix("0 1 2; 0 2 1; 1 2 0", int)[DOTS.argmax(0)]
TRIPLETS = np.take_along_axis(TRIPLETS, ORDER, axis=1)
GLOCAL = ObjectiveSettings("glocal", alpha=0.3, lmbda=0.01, tau=0.5)
GLOBAL = ObjectiveSettings("global", lmbda=0.01)


def data(weights=None, local=True, **options):
    images = Features(IMAGES) if local else None
    return FitData(Features(X), Answers(TRIPLETS, weights), images, **options)


class OtherLoop(PaperLoop):
    """The loop with some constants of the authors replaced."""

    constants: dict

    def loop_settings(self, data, settings):
        return replace(super().loop_settings(data, settings), **self.constants)


def loop_of(*, constants=(), **options):
    """A loop in float64, with steps of 64 answers."""
    options = {"batch_size": 64, "dtype": "float64", **options}
    return OtherLoop(constants=dict(constants), **options)


def short(*, max_epochs=3, constants=(), **options):
    """A loop of three epochs in float64."""
    constants = {"min_epochs": 3, **dict(constants)}
    return loop_of(max_epochs=max_epochs, constants=constants, **options)


def by_hand(W, b, triplets, weights, images, arm):
    """The objective of a step; local images are not standardized, and the norm is not squared."""
    Z = torch.as_tensor(oracle.standardized(X, X)) @ W + b
    value = weights.mean() * oracle.global_loss(Z, triplets, weights)
    if not arm.local:
        return value + arm.lmbda * W.norm()
    raw = torch.as_tensor(IMAGES[images])
    local = oracle.local_loss(raw, raw @ W + b, arm.tau, [range(len(raw))])
    rest = W - torch.eye(6, dtype=torch.float64) * W.diagonal().mean()
    return (1 - arm.alpha) * value + arm.alpha * local + arm.lmbda * rest.square().sum()


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("arm", [GLOCAL, ObjectiveSettings("naive", lmbda=0.001)])
def test_the_walk_is_that_of_a_plain_loop(loop, optimiser, arm):
    """W and b of the last epoch are those of a loop with torch's momentum, clipping at 1, and
    LinearLR from 1e-3; weights of answers have a mean of 1.
    """
    weights = np.random.RandomState(1).uniform(0.5, 2, 900)
    fit_data = data(weights, arm.local, block_size=12, centre="scalar")
    result = short(eta=0.05, optimiser=optimiser, bias=True).solve(fit_data, arm).transform
    W = (1e-3 * torch.eye(6, dtype=torch.float64)).requires_grad_()
    b = torch.full((6,), 1e-3, dtype=torch.float64).requires_grad_()
    kind = {"sgd": functools.partial(torch.optim.SGD, momentum=0.9), "adam": torch.optim.Adam}
    walker = kind[optimiser]([W, b], 0.05)
    schedule = torch.optim.lr_scheduler.LinearLR(walker, total_iters=3)
    part = fit_folds(fit_data, 4, "objects")[0][0]
    objects = part.answers.objects
    weights = part.answers.weights / part.answers.weights.mean()
    n_images = 30 if arm.local else 0
    for epoch in range(3):
        for batch, block in loop.epoch_steps(len(objects), 64, n_images, 12, (42, epoch)):
            walker.zero_grad()
            images = part.images[block] if arm.local else None
            by_hand(W, b, objects[batch], weights[batch], images, arm).backward()
            torch.nn.utils.clip_grad_norm_([W, b], 1.0)
            walker.step()
        schedule.step()
    for fitted, expected in ((result.weights, W), (result.bias, b)):
        np.testing.assert_allclose(fitted, expected.detach(), atol=1e-6)


def test_answers_are_zipped_with_images_shuffled_anew(loop):
    """An epoch is as long as the longer list, and each pass has each row once, in a new order that
    depends on the seed, with a smaller last batch; one image has no neighbours.
    """
    answers, images = zip(*loop.epoch_steps(100, 8, 20, 6, (1, 3)), strict=True)
    assert sorted(np.concatenate(answers)) == list(range(100))
    assert [*map(len, answers)] == [8] * 12 + [4]
    assert [*map(len, images)] == [6, 6, 6, 2] * 3 + [6]
    passes = [np.concatenate(images[start : start + 4]).tolist() for start in (0, 4, 8)]
    assert all(sorted(order) == list(range(20)) for order in passes)
    assert len({*map(str, passes)}) == 3
    assert {len(block) for _, block in loop.epoch_steps(60, 10, 9, 4, (0, 0))} == {4}
    for epoch in (3, 4):
        again, _ = zip(*loop.epoch_steps(100, 8, 0, 6, (1, epoch)), strict=True)
        is_same = np.array_equal(np.concatenate(again), np.concatenate(answers))
        assert is_same == (epoch == 3)


def test_the_defaults_are_those_of_the_scripts(loop):
    """The defaults are 256 answers, at most 100 epochs and min_delta 1e-4; glocal runs at least 20
    epochs with patience 15, other arms 15 epochs with patience 10.
    """
    expected = {"batch_size": 256, "max_epochs": 100, "min_delta": 1e-4, "eta": 0.01}
    expected |= {"optimiser": "sgd", "bias": False, "squared": False}
    defaults = vars(PaperLoop().loop_settings(data(), GLOBAL))
    assert defaults | expected == defaults
    assert loop.START == 1e-3
    assert data().seed == 42
    for arm, least, patience in ((GLOCAL, 20, 15), (GLOBAL, 15, 10)):
        # so that no epoch after the first is a gain
        result = loop_of(max_epochs=40, constants={"min_delta": 9.0}).solve(data(), arm)
        assert result.report.epochs == max(least, patience + 1)
        assert f"{patience} epochs without a gain of 9" in result.report.reason


def test_the_norm_can_be_squared():
    """The penalty of `naive` is ‖W‖², as in the paper, if `squared` requests it."""
    naive = short(constants={"squared": True}).solve(data(), ObjectiveSettings("naive", lmbda=0.1))
    norm = np.linalg.norm(naive.transform.weights.astype(float))
    assert naive.report.parts["penalty"] == pytest.approx(norm**2, rel=1e-6)


def test_fold_0_of_4_is_watched_without_weights_or_penalty():
    """The loss after each epoch is L_global + L_local of the held-out objects and of the held-out
    images in blocks, whatever α and λ.
    """
    steps = []
    fit_data = data(block_size=4)
    result = short().solve(fit_data, GLOCAL, Counter(lambda *step: steps.append(step)))
    parts = [*result.report.watched.parts.values()]
    assert [number for number, _ in steps] == [8, 16, 24]
    assert steps[-1][1].value == pytest.approx(sum(parts))
    fitted, heldout, rows, _ = fit_folds(fit_data, 4, "objects")[0]
    assert result.report.watched.n == len(heldout)
    assert result.report.n_fitted == len(fitted.answers)
    images = IMAGES[rows]
    mapped = images @ result.transform.weights.astype(float)
    blocks = np.array_split(np.arange(10), 3)
    watched = oracle.global_loss(result.transform(X), heldout.objects, heldout.all_weights)
    local = oracle.local_loss(images, mapped, GLOCAL.tau, blocks)
    assert parts == pytest.approx([float(watched), float(local)], rel=1e-5)


def ended_after(losses, min_epochs, patience, min_delta):
    """The rule of the scripts: a counter in a callback, which the trainer obeys from
    min_epochs on.
    """
    best = float("inf")
    waited = 0
    for epoch, value in enumerate(losses, start=1):
        best, waited = (value, 0) if value + min_delta < best else (best, waited + 1)
        if waited >= patience and epoch >= min_epochs:
            return epoch
    return None


@pytest.mark.parametrize("seed", range(8))
def test_it_stops_where_the_rule_of_the_scripts_says(loop, monkeypatch, seed):
    """Any sequence of watched losses ends where the rule in plain Python says, with gains before
    min_epochs.
    """
    rng = np.random.default_rng(seed)
    losses = (rng.integers(0, 24, 20) / 8).tolist()
    rule = {"min_epochs": int(rng.integers(1, 12)), "patience": int(rng.integers(1, 4))}
    rule["min_delta"] = float(rng.choice([0, 0.125]))
    remaining_losses = iter(losses)
    measure = loop.Procedure.parts

    def parts(self, name):
        return {"global": next(remaining_losses)} if name == "watched" else measure(self, name)

    monkeypatch.setattr(loop.Procedure, "parts", parts)
    result = short(max_epochs=20, batch_size=400, constants=rule).solve(data(local=False), GLOBAL)
    expected = ended_after(losses, **rule)
    status = "stalled" if expected else "budget"
    report = result.report
    assert report.epochs == (expected or 20)
    assert report.status == status
    assert not result.converged


def test_answers_about_a_reference_are_fitted():
    """The loss is over the candidate pairs of the kind, and falls."""
    kind = "nearest-of-n"
    fit_data = FitData(Features(X), chosen(world.answers(60_000, 60, kind), 9 * X))
    result = short(eta=0.1, batch_size=750, max_epochs=6).solve(fit_data, GLOBAL)
    heldout = fit_folds(fit_data, 4, "objects")[0].answers
    watched = result.report.watched.parts["global"]
    expected = oracle.global_loss(result.transform(X), heldout.objects, heldout.all_weights, kind)
    assert watched == pytest.approx(float(expected), rel=1e-5)
    assert watched < heldout.chance_loss / 2


def test_what_goes_wrong_is_said(monkeypatch):
    """Too large a learning rate, a missing Lightning and an interrupt are reported."""
    with pytest.raises(DivergedError, match="eta"):
        short(eta=1e200).solve(data(), GLOCAL)

    def interrupt(steps, evaluation):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        short().solve(data(), GLOCAL, Counter(interrupt))
    monkeypatch.setitem(sys.modules, "lightning", None)
    with pytest.raises(MissingDependencyError, match="lightning"):
        short().solve(data(), GLOCAL)


def test_the_command_line(here):
    """`--solver paper` takes --eta, --optimiser and --bias, of which the exact solver refuses the
    first, and says nothing of Lightning's; a dry sweep counts its fits.
    """
    grid = 'method = "global"\nlmbda = [0.1, 1.0]\n'
    folder(here, x_npy=X, t_npy=TRIPLETS, grid_toml=grid)
    data = "--features x.npy --answers t.npy --out out"
    fit_line = f"fit {data}.npz --json"
    result = run(f"{fit_line} --solver paper --eta 0.05 --optimiser adam --bias")
    expected = {"solver": "paper", "eta": 0.05, "optimiser": "adam", "bias": True}
    assert result.json | expected == result.json
    assert [word for word in ("GPU", "lightning") if word in result.err] == []
    for line, option in (("--eta 0.05", "--solver paper"), ("--solver paper --tol 1e-3", "--tol")):
        assert option in run(f"{fit_line} {line}").error(2)
    grid_line = "--grid grid.toml --folds 2 --dry-run --json"
    dry = run(f"sweep {data} --solver paper {grid_line}").json
    assert dry == {"fits": 2 * 2 + 1}
    assert not (here / "out").exists()


def test_a_grid_of_the_loop_holds_eta():
    """A sweep with the loop fits each learning rate on each fold from a cold start, and refits with
    the chosen rate.
    """
    from glocal.sweep import sweep

    data = FitData(Features(X), chosen(world.answers(6000, 60), X), centre="scalar")
    solver = short(optimiser="adam")
    grid = {"method": "global", "lmbda": 0.01, "eta": [0.01, 0.1]}
    result = sweep(data, grid, folds=2, solver=solver)
    points = result.points[result.points["method"] == "global"].set_index(["fold", "eta"])
    assert sorted(points.index) == [(0, 0.01), (0, 0.1), (1, 0.01), (1, 0.1)]
    alone = solver.replace(eta=0.1).solve(fit_folds(data, 2, "objects")[0].data, GLOBAL)
    assert points.loc[(0, 0.1), "objective"] == pytest.approx(alone.report.objective)
    assert result.transform.record.fit.eta == result.best["eta"]
