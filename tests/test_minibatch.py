"""The paper's loop: steps with the exact solver's terms, ended, resumed and said as they are."""

import copy
import errno
import os
import signal
import sys
from dataclasses import dataclass, replace

import numpy as np
import processes
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glocal.aligner import fit_arm
from glocal.aligner.loop import strict_credit
from glocal.aligner.profile import MODERN
from glocal.cli.app import execute
from glocal.errors import (
    FileError,
    MissingDependencyError,
    NotConvergedWarning,
    ParameterError,
)
from glocal.objective import ChoiceLoss, Objective, Penalty
from glocal.solver.minibatch import (
    Engine,
    SampledObjective,
    Step,
    Stopping,
    Training,
    epoch_steps,
    minimise_by_batches,
)

pytestmark = pytest.mark.nightly

F64 = torch.float64
P, N, T = 5, 30, 90
SHRINK = Penalty("scaled-identity")


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def answers(t=T, n=N, seed=0):
    rng = np.random.default_rng(seed)
    return np.array([rng.permutation(n)[:3] for _ in range(t)])


X, IMAGES = normal(N, P), normal(24, P, seed=1)
WEIGHTS = np.random.default_rng(2).uniform(0.5, 2, T)


def sampled(*, sizes=(24,), weights=None, alpha=0.3, local=True):
    loss = ChoiceLoss(X, answers(), weights)
    if not local:
        return SampledObjective(loss, SHRINK, 0.1)
    return SampledObjective(loss, SHRINK, 0.1, IMAGES, sizes, alpha, 0.5)


def plain_objective(W, b, triplets, block, alpha=0.3, lmbda=0.1, tau=0.5):
    """The objective of a mini-batch in autograd: one-hot rows, masked diagonal, cross-entropy, as a script would."""
    one_hot = torch.eye(N, dtype=F64)[torch.as_tensor(triplets)]
    Z = X @ W + (0 if b is None else b)
    anchor, positive, negative = (one_hot @ Z).unbind(1)
    dots = torch.stack([(anchor * positive).sum(1), (anchor * negative).sum(1), (positive * negative).sum(1)], 1)
    loss = torch.nn.functional.cross_entropy(dots, torch.zeros(len(dots), dtype=torch.long))
    if block is not None:
        off = ~torch.eye(len(block), dtype=torch.bool)

        def similarities(V):
            V = torch.nn.functional.normalize(V, dim=1)
            return (V @ V.T)[off].view(len(V), -1) / tau

        student = similarities(block @ W + (0 if b is None else b))
        teacher = torch.softmax(similarities(block), 1)
        loss = (1 - alpha) * loss + alpha * torch.nn.functional.cross_entropy(student, teacher)
    return loss + lmbda * ((W - torch.eye(P, dtype=F64) * W.diagonal().mean()) ** 2).sum()


@pytest.fixture
def point():
    return 0.3 * torch.eye(P, dtype=F64) + 0.1 * normal(P, P, seed=3), 0.1 * normal(P, seed=4)


# the objective of a step


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_a_step_on_everything_is_the_whole_objective(point, weights):
    """With all answers and all images in the batch, value and gradient are those of the exact solver's objective."""
    problem = sampled(weights=weights)
    step = problem.of(Step(np.random.default_rng(0).permutation(T), 0))(*point)
    whole = problem.whole(*point)
    assert step.value == pytest.approx(whole.value, rel=1e-12)
    torch.testing.assert_close(step.dW, whole.dW)
    torch.testing.assert_close(step.db, whole.db)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("local", [True, False])
def test_a_step_is_that_of_a_script_in_autograd(point, bias, local):
    """Value and gradient of a mini-batch agree with dense one-hots and autograd."""
    W, b = point[0].clone().requires_grad_(), point[1].clone().requires_grad_() if bias else None
    rows = np.random.default_rng(1).permutation(T)[:17]
    problem = sampled(sizes=(10, 14), local=local)
    at = problem.of(Step(rows, 1 if local else None))(W.detach(), None if b is None else b.detach())
    plain = plain_objective(W, b, answers()[rows], IMAGES[10:] if local else None)
    plain.backward()
    assert at.value == pytest.approx(float(plain.detach()), rel=1e-12)
    torch.testing.assert_close(at.dW, W.grad)
    if b is not None:
        torch.testing.assert_close(at.db, b.grad)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_the_steps_of_an_epoch_average_to_the_whole_gradient(point, weights):
    """Equal batches and equal blocks, as many of each: the gradients of the epoch have the whole one as mean."""
    problem = sampled(sizes=(8, 8, 8), weights=weights)
    steps = epoch_steps(T, 30, seed=0, epoch=0, n_blocks=3)
    mean = sum(problem.of(step)(*point).dW for step in steps) / 3
    local = problem.whole.terms[1][1]
    assert [len(block) for block in local.blocks] == [8, 8, 8]
    torch.testing.assert_close(mean, problem.whole(*point).dW)


def test_drawn_images_are_a_block(point):
    """A block drawn by its rows is the same term as a fixed block of these rows."""
    problem = sampled(sizes=(10, 14))
    fixed, drawn = (problem.of(Step(np.arange(9), block))(*point) for block in (0, np.arange(10)))
    assert fixed.value == pytest.approx(drawn.value, rel=1e-12)


def test_gathered_rows_and_gram_matrix_agree_in_a_batch(point):
    """A batch reads rows where the matrices would be larger, and the result is the same."""
    given = np.concatenate([np.arange(N).reshape(-1, 3), answers(T - N // 3)])
    loss = ChoiceLoss(X, given, WEIGHTS)
    few, many = loss.batch(np.arange(N // 3)), loss.batch(np.arange(T))  # both name all 30 objects
    assert few.gathered
    assert not many.gathered
    for part, rows in ((few, slice(0, N // 3)), (many, slice(0, T))):
        expected = ChoiceLoss(X, given[rows], WEIGHTS[rows])(*point)
        found = part(*point)
        assert found[0] == pytest.approx(expected[0], rel=1e-12)
        torch.testing.assert_close(found[1], expected[1])


# batches


def test_every_answer_and_every_block_comes_once_in_a_pass():
    """An epoch is as long as the longer of the two; the shorter is repeated, in a new order each time."""
    steps = epoch_steps(100, 8, seed=1, epoch=3, n_blocks=5)
    assert len(steps) == 13
    assert sorted(np.concatenate([step.answers for step in steps])) == list(range(100))
    assert [len(step.answers) for step in steps] == [8] * 12 + [4]
    blocks = [step.block for step in steps]
    assert sorted(blocks[:5]) == sorted(blocks[5:10]) == list(range(5))
    assert blocks[:5] != blocks[5:10]
    more = epoch_steps(20, 8, seed=1, epoch=3, n_blocks=7)
    assert sorted(step.block for step in more) == list(range(7))
    assert sorted(np.concatenate([step.answers for step in more[:3]])) == list(range(20))


def test_an_epoch_depends_on_its_number_alone():
    """The same seed and epoch give the same steps; another epoch or seed gives others."""

    def orders(**given):
        return np.concatenate([step.answers for step in epoch_steps(50, 7, **given)])

    assert (orders(seed=1, epoch=2) == orders(seed=1, epoch=2)).all()
    assert (orders(seed=1, epoch=2) != orders(seed=1, epoch=3)).any()
    assert (orders(seed=1, epoch=2) != orders(seed=2, epoch=2)).any()


def test_reshuffled_blocks_are_new_in_every_pass():
    """Drawn blocks cover the images once a pass, the last one smaller; a rest of one image is left out."""
    steps = epoch_steps(60, 10, seed=0, epoch=0, images=(10, 4))
    passes = [np.concatenate([step.block for step in steps[start : start + 3]]) for start in (0, 3)]
    assert all(sorted(one) == list(range(10)) for one in passes)
    assert (passes[0] != passes[1]).any()
    assert {len(step.block) for step in epoch_steps(60, 10, seed=0, epoch=0, images=(9, 4))} == {4}


# schedule and stopping


def test_the_warm_up_is_the_authors_schedule():
    """warmup over all epochs from a third is torch's LinearLR with its defaults: it climbs and never falls."""
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, total_iters=10)
    settings = Training(eta=0.1, warmup_epochs=10, warmup_from=1 / 3, decay="none", max_epochs=14)
    for epoch in range(14):
        assert 0.1 * settings.rate(epoch) == pytest.approx(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()


@pytest.mark.parametrize(("decay", "middle"), [("none", 1.0), ("linear", 0.5), ("cosine", 0.5)])
def test_a_decay_begins_after_the_warm_up(decay, middle):
    """The rate is whole at the end of the warm-up, half way down in the middle, and near 0 at the end."""
    settings = Training(warmup_epochs=10, warmup_from=0.5, decay=decay, max_epochs=110)
    assert settings.rate(0) == 0.5
    assert settings.rate(10) == pytest.approx(1)
    assert settings.rate(60) == pytest.approx(middle)
    assert settings.rate(109) == pytest.approx(1.0 if decay == "none" else 0, abs=0.02)


def ended_after(losses, min_epochs, patience, min_delta):
    """The authors' rule in plain Python: their callback's counter, which the trainer obeys from min_epochs on."""
    best, waited = float("inf"), 0
    for epoch, loss in enumerate(losses, start=1):
        if loss < best - min_delta:
            best, waited = loss, 0
        else:
            waited += 1
        if waited >= patience and epoch >= min_epochs:
            return epoch
    return None


@given(
    st.lists(st.integers(0, 40).map(lambda k: k / 8), max_size=60),
    st.integers(0, 20),
    st.integers(1, 6),
    st.sampled_from([0.0, 0.125, 0.5]),
)
def test_the_walk_ends_where_the_authors_rule_says(losses, min_epochs, patience, min_delta):
    """Any sequence of losses ends at the same epoch as under the rule in plain Python."""
    stopping = Stopping(min_epochs, patience, min_delta)
    found = None
    for loss in losses:
        stopping = stopping.after(loss)
        if stopping.ended:
            found = stopping.epochs
            break
    assert found == ended_after(losses, min_epochs, patience, min_delta)


def test_small_gains_do_not_count_but_are_the_lowest():
    """A gain below min_delta does not reset the patience, yet its weights are the best so far."""
    stopping = Stopping(0, 3, 0.1).after(1.0).after(0.95)
    assert stopping.waited == 1
    assert stopping.best == 1.0
    assert stopping.fell
    assert stopping.lowest == 0.95
    assert not stopping.after(float("nan")).fell


# the walk


def start(bias=False, scale=0.3):
    return scale * torch.eye(P, dtype=F64), torch.full((P,), scale, dtype=F64) if bias else None


SHORT = Training(eta=0.05, max_epochs=4, min_epochs=4, batch_size=16, warmup_from=1 / 3, decay="none", kept="last")


def plain_loop(settings, schedule_of):
    """W and b after a loop over the same batches in autograd, with torch's optimiser, clipping and schedule."""
    W, b = (part.clone().requires_grad_() for part in start(bias=True))
    walker = {
        "sgd": lambda: torch.optim.SGD([W, b], lr=settings.eta, momentum=0.9),
        "adam": lambda: torch.optim.Adam([W, b], lr=settings.eta),
        "adamw": lambda: torch.optim.AdamW([W, b], lr=settings.eta),
    }[settings.optimiser]()
    schedule = schedule_of(walker)
    for epoch in range(settings.max_epochs):
        for step in epoch_steps(T, settings.batch_size, seed=42, epoch=epoch, n_blocks=2):
            walker.zero_grad()
            plain_objective(W, b, answers()[step.answers], IMAGES[:10] if step.block == 0 else IMAGES[10:]).backward()
            torch.nn.utils.clip_grad_norm_([W, b], float("inf") if settings.clip is None else settings.clip)
            walker.step()
        schedule.step()
    return W.detach(), b.detach()


@pytest.mark.parametrize("clip", [0.2, None])
@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw"])
def test_the_walk_is_that_of_a_plain_loop(optimiser, clip):
    """After four epochs W and b equal those of a loop over the same batches in autograd, with torch's clipping."""
    settings = replace(SHORT, optimiser=optimiser, warmup_epochs=4, clip=clip)
    found = minimise_by_batches(sampled(sizes=(10, 14)), start(bias=True), settings)
    W, b = plain_loop(settings, lambda walker: torch.optim.lr_scheduler.LinearLR(walker, total_iters=4))
    torch.testing.assert_close(found.W, W, atol=1e-7, rtol=1e-6)
    torch.testing.assert_close(found.b, b, atol=1e-7, rtol=1e-6)
    assert found.evaluations == 4 * 6


@pytest.mark.filterwarnings("ignore::UserWarning:torch.optim.lr_scheduler")  # SequentialLR of torch warns of itself
def test_the_walk_warms_up_and_decays():
    """The steps have the lengths of torch's linear warm-up followed by its cosine decay."""
    settings = replace(SHORT, warmup_epochs=2, warmup_from=0.5, decay="cosine", max_epochs=6, min_epochs=6)

    def schedule_of(walker):
        parts = [
            torch.optim.lr_scheduler.LinearLR(walker, start_factor=0.5, total_iters=2),
            torch.optim.lr_scheduler.CosineAnnealingLR(walker, T_max=4),
        ]
        return torch.optim.lr_scheduler.SequentialLR(walker, parts, milestones=[2])

    found = minimise_by_batches(sampled(sizes=(10, 14)), start(bias=True), settings)
    W, b = plain_loop(settings, schedule_of)
    torch.testing.assert_close(found.W, W, atol=1e-7, rtol=1e-6)
    torch.testing.assert_close(found.b, b, atol=1e-7, rtol=1e-6)


def test_the_seed_decides():
    """The same seed gives the same bits, another one does not."""
    first, again, other = (minimise_by_batches(sampled(), start(), SHORT, seed=seed).W for seed in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_an_early_end_is_said_and_never_called_converged():
    """The walk ends at the epoch that the plain rule gives for its curve, and says what ended it."""
    settings = replace(SHORT, max_epochs=40, min_epochs=3, patience=2, min_delta=1e-2)
    curve = []
    found = minimise_by_batches(
        sampled(), start(), settings, on_epoch=lambda steps, at: curve.append((steps, at.value))
    )
    losses = [value for _, value in curve]
    assert ended_after(losses, 3, 2, 1e-2) == len(losses) == found.epochs < 40
    assert [steps for steps, _ in curve] == [6 * epoch for epoch in range(1, len(curve) + 1)]
    assert found.status == "stalled"
    assert not found.converged
    assert "2 epochs without a gain" in found.reason
    assert found.gap is None
    spent = minimise_by_batches(sampled(), start(), SHORT)
    assert spent.status == "budget"
    assert "all epochs are spent" in spent.reason


def test_the_best_weights_are_those_of_the_lowest_epoch():
    """With steps so long that the loss rises again, the best weights are not the last, and have the lowest loss."""
    settings = replace(SHORT, eta=0.5, max_epochs=12, min_epochs=12, clip=None)
    curve = []
    best = minimise_by_batches(
        sampled(), start(bias=True), replace(settings, kept="best"), on_epoch=lambda _, at: curve.append(at.value)
    )
    last = minimise_by_batches(sampled(), start(bias=True), settings)
    assert best.at.value == pytest.approx(min(curve))
    assert last.at.value == pytest.approx(curve[-1])
    assert min(curve) < curve[-1]


def test_the_rule_can_watch_something_else():
    """What is watched decides the end and the best weights, not what is fitted."""
    other, seen = ChoiceLoss(X, answers(seed=9)), []

    @dataclass
    class Recorded:
        name: str = "global"

        def __call__(self, W, b=None):
            found = other(W, b)
            seen.append(found[0])
            return found

    settings = replace(SHORT, max_epochs=30, min_epochs=1, patience=3, kept="best")
    found = minimise_by_batches(sampled(), start(), settings, watched=Objective(((1.0, Recorded()),)))
    assert other(found.W, found.b)[0] == pytest.approx(min(seen))
    assert ended_after(seen, 1, 3, 1e-4) == found.epochs == len(seen)


def test_a_diverging_walk_is_an_error():
    """A loss that is no number ends the fit with a sentence."""
    with pytest.raises(ParameterError, match=r"diverged in epoch \d+ at eta 1e\+200.*Lower eta"):
        minimise_by_batches(sampled(), start(), replace(SHORT, eta=1e200))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"eta": 0.0}, "eta is 0.0"),
        ({"eta": float("inf")}, "eta is inf"),
        ({"optimiser": "lion"}, "allowed are sgd, adam, adamw"),
        ({"decay": "step"}, "allowed are none, linear, cosine"),
        ({"kept": "mean"}, "allowed are last, best"),
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"clip": 0.0}, "clip is 0.0"),
        ({"warmup_from": 0.0}, "warmup_from is 0.0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"min_delta": -1.0}, "min_delta is -1.0"),
    ],
)
def test_settings_out_of_range_are_refused(change, sentence):
    """Every setting of the loop has a range, and a sentence for what lies outside."""
    with pytest.raises(ParameterError, match=sentence):
        Training(**change)
    with pytest.raises(ParameterError, match="allowed are full, bf16-mixed, 16-mixed"):
        Engine(precision="8")


def test_without_lightning_a_sentence_says_what_to_install(monkeypatch):
    """The extra is named where Lightning is missing."""
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'glocal\[paper\]'"):
        minimise_by_batches(sampled(), start(), SHORT)


def test_the_command_without_lightning_is_one_sentence(world, monkeypatch, tmp_path, capsys):
    """glocal fit --solver minibatch names the extra on one line, and writes nothing."""
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    np.save(tmp_path / "x.npy", world.objects.matrix)
    np.save(tmp_path / "t.npy", world.triplets.answers)
    command = ["fit", "--features", "x.npy", "--triplets", "t.npy", "--out", "w.npz", "--solver", "minibatch"]
    monkeypatch.chdir(tmp_path)
    assert execute(command) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "pip install 'glocal[paper]'" in said[0]
    assert not (tmp_path / "w.npz").exists()


def test_a_logger_gets_losses_of_steps_and_epochs(tmp_path):
    """Any Lightning logger is passed through: Lightning's own CSV logger here."""
    from lightning.pytorch.loggers import CSVLogger

    minimise_by_batches(sampled(), start(), replace(SHORT, batch_size=1), engine=Engine(logger=CSVLogger(tmp_path)))
    header = next(tmp_path.rglob("metrics.csv")).read_text().splitlines()[0].split(",")
    assert {"train_objective", "train_global", "train_local", "watched", "watched_penalty"} <= set(header)


def test_a_logger_of_ones_own_gets_every_epoch():
    """Any subclass of Lightning's Logger will do, here one that only remembers: the watched loss of each epoch."""
    from lightning.pytorch.loggers.logger import Logger

    class Memory(Logger):
        name, version, seen = "memory", 0, ()

        def log_metrics(self, metrics, step=None):
            self.seen += tuple(metrics[key] for key in ("watched",) if key in metrics)

        def log_hyperparams(self, params, *args, **kwargs):
            pass

    logger, curve = Memory(), []
    minimise_by_batches(
        sampled(), start(), SHORT, engine=Engine(logger=logger), on_epoch=lambda _, at: curve.append(at.value)
    )
    assert logger.seen == pytest.approx(curve)


def test_mixed_precision_ends_close_by():
    """Products in bfloat16 give nearly the same walk; W itself stays in the dtype of the features."""
    loss = ChoiceLoss(X.float(), answers())
    problem = SampledObjective(loss, SHRINK, 0.1, IMAGES.float(), (24,), 0.3, 0.5)
    W = 0.3 * torch.eye(P)
    full, mixed = (
        minimise_by_batches(problem, (W, None), SHORT, engine=Engine(precision=precision))
        for precision in ("full", "bf16-mixed")
    )
    assert mixed.W.dtype == torch.float32
    assert not torch.equal(full.W, mixed.W)
    assert mixed.at.value == pytest.approx(full.at.value, rel=1e-2)
    with pytest.raises(ParameterError, match="16-mixed is not supported on a CPU"):
        minimise_by_batches(problem, (W, None), SHORT, engine=Engine(precision="16-mixed"))


# checkpoints


class CutError(Exception):
    pass


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_a_resumed_walk_ends_at_the_same_bits(tmp_path, optimiser):
    """A walk cut in its third epoch and taken up again takes the very steps of one that was not."""
    settings = replace(SHORT, optimiser=optimiser, max_epochs=6, decay="cosine", kept="best")
    undisturbed = minimise_by_batches(sampled(sizes=(10, 14)), start(bias=True), settings)
    epochs = []

    def cut(steps, at):
        epochs.append(steps)
        if len(epochs) == 3:
            raise CutError

    engine = Engine(checkpoints=tmp_path)
    with pytest.raises(CutError):
        minimise_by_batches(sampled(sizes=(10, 14)), start(bias=True), settings, engine=engine, on_epoch=cut)
    assert (tmp_path / "last.ckpt").exists()
    resumed = minimise_by_batches(
        sampled(sizes=(10, 14)), start(bias=True), settings, engine=engine, on_epoch=lambda s, _: epochs.append(s)
    )
    assert torch.equal(resumed.W, undisturbed.W)
    assert torch.equal(resumed.b, undisturbed.b)
    assert resumed.evaluations == undisturbed.evaluations
    assert epochs == [6, 12, 18, 18, 24, 30, 36]
    again = minimise_by_batches(sampled(sizes=(10, 14)), start(bias=True), settings, engine=engine)
    assert torch.equal(again.W, undisturbed.W)
    assert again.evaluations == undisturbed.evaluations


def test_a_walk_that_ended_early_stays_ended(tmp_path):
    """Run again, an early end takes no further step."""
    settings = replace(SHORT, max_epochs=40, min_epochs=3, patience=2, min_delta=1e-2)
    first, again = (
        minimise_by_batches(sampled(), start(), settings, engine=Engine(checkpoints=tmp_path)) for _ in range(2)
    )
    assert first.reason == again.reason
    assert torch.equal(first.W, again.W)


def test_a_checkpoint_of_another_fit_is_refused(tmp_path):
    """Another setting, or a damaged file, is a sentence and no silent start from elsewhere."""
    engine = Engine(checkpoints=tmp_path)
    minimise_by_batches(sampled(), start(), SHORT, engine=engine, kept_with={"data": "a"})
    with pytest.raises(ParameterError, match=r"of another fit \(it differs in data, training\)"):
        minimise_by_batches(sampled(), start(), replace(SHORT, eta=0.1), engine=engine, kept_with={"data": "b"})
    (tmp_path / "last.ckpt").write_bytes(b"nonsense")
    with pytest.raises(FileError, match="is not a whole PyTorch file"):
        minimise_by_batches(sampled(), start(), SHORT, engine=engine)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError):
        minimise_by_batches(sampled(), start(), SHORT, engine=Engine(checkpoints=tmp_path / "file" / "folder"))


def test_a_checkpoint_that_cannot_be_written_leaves_the_earlier_one(tmp_path, monkeypatch):
    """A disk that is full after the second epoch is one sentence; the checkpoint of that epoch is whole and goes on."""
    engine, settings = Engine(checkpoints=tmp_path), replace(SHORT, max_epochs=4)
    undisturbed = minimise_by_batches(sampled(), start(), settings)
    save, saved = torch.save, []

    def fill(value, stream, *more, **options):
        saved.append(1)
        if len(saved) > 2:
            stream.write(b"the beginning")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(value, stream, *more, **options)

    monkeypatch.setattr(torch, "save", fill)
    with pytest.raises(FileError, match="the disk is full"):
        minimise_by_batches(sampled(), start(), settings, engine=engine)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]
    epochs = []
    resumed = minimise_by_batches(sampled(), start(), settings, engine=engine, on_epoch=lambda s, _: epochs.append(s))
    assert len(epochs) == 2
    assert torch.equal(resumed.W, undisturbed.W)


def test_an_interrupt_is_one():
    """Ctrl-C within a walk raises KeyboardInterrupt, and the next one is heard too."""
    handler = signal.getsignal(signal.SIGINT)

    def interrupt(steps, at):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        minimise_by_batches(sampled(), start(), SHORT, on_epoch=interrupt)
    assert signal.getsignal(signal.SIGINT) is handler


# whole fits


@pytest.fixture(scope="module")
def quick():
    """The modern loop, short."""
    return replace(MODERN, solver="minibatch", max_epochs=6, min_epochs_global=6, min_epochs=6)


def fitted(world, **options):
    with pytest.warns(NotConvergedWarning, match="how far the optimum lies below is not measured"):
        return fit_arm(world.objects, world.triplets, **options)


@pytest.mark.parametrize(("method", "lmbda"), [("global", 0.1), ("glocal", 0.1), ("naive", 0.05)])
def test_the_two_solvers_continue_each_other(world, quick, method, lmbda):
    """The exact optimum is below the loop's end; the loop stays near it; from there the exact solver finds it."""
    options = {"method": method, "lmbda": lmbda, "local_features": world.local}
    exact = fit_arm(world.objects, world.triplets, **options)
    loop = fitted(world, profile=quick, **options)
    assert exact.record.objective <= loop.record.objective
    assert loop.record.objective < exact.record.objective + 0.02
    stayed = fitted(world, profile=replace(quick, eta=1e-3), start=exact.transform, **options)
    assert stayed.record.objective == pytest.approx(exact.record.objective, rel=1e-4)
    back = fit_arm(world.objects, world.triplets, start=loop.transform, **options)
    assert back.record.objective == pytest.approx(exact.record.objective, rel=3e-5)


def test_a_record_says_how_the_loop_went(world, quick):
    """Solver, profile, eta, optimiser, epochs and steps are in the record; the gap is unknown."""
    record = fitted(world, profile=quick, method="global", eta=0.02, optimiser="adam").record
    assert (record.solver, record.eta, record.optimiser, record.epochs) == ("minibatch", 0.02, "adam", 6)
    assert record.steps == record.evaluations == 6 * 47
    assert (record.status, record.converged, record.gap) == ("budget", False, None)
    assert record.certificate == "none: not converged"


# more objects than a Gram matrix is made for

LARGE = """
import sys, warnings
import numpy as np
from dataclasses import replace
from glocal.aligner import fit_arm
from glocal.aligner.loop import strict_credit
from glocal.aligner.profile import MODERN
from glocal.data.features import Features
from glocal.data.answers import Answers

warnings.simplefilter("ignore")
n, rng = 30_000, np.random.default_rng(0)
X = rng.normal(size=(n, 8)).astype(np.float32)
answers = rng.permutation(n).reshape(-1, 3)
options = {"max_evaluations": 3}
if sys.argv[1] == "minibatch":
    options = {"profile": replace(MODERN, solver="minibatch", max_epochs=1)}
features, triplets = Features(X, None, "X"), Answers.from_array(answers)
peak, fit = peak_of(lambda: fit_arm(features, triplets, method="global", **options))
print(peak, fit.record.n_objects, int(fit.record.gathered))
"""


@pytest.mark.parametrize("solver", ["lbfgs", "minibatch"])
def test_memory_is_linear_in_objects_above_the_limit(solver):
    """30,000 objects, whose Gram matrix alone takes 3.4 GB, are fitted in far less, and the record says how."""
    peak, n, gathered = processes.numbers(LARGE, solver)
    assert (n, gathered) == (30_000, 1)
    assert peak < 1500


def test_the_switch_is_automatic_and_can_be_asked_for(point):
    """Up to the limit the Gram matrix is used, above it rows are gathered; both give the same."""
    below = ChoiceLoss(torch.cat([X, torch.zeros(20_000 - N, P, dtype=F64)]), answers())
    above = ChoiceLoss(torch.cat([X, torch.zeros(20_001 - N, P, dtype=F64)]), answers())
    assert above.gathered
    assert not below.gathered
    below = ChoiceLoss(X, answers(), gathered=False)  # its matrix alone would be 3.2 GB
    assert above(*point)[0] == pytest.approx(below(*point)[0], rel=1e-12)
    assert copy.copy(above).double().gathered


def strict_by_hand(pairs):
    """The authors' rule, answer by answer."""
    earned = []
    for column in pairs:
        p = torch.softmax(torch.tensor(column, dtype=torch.float32), 0)
        tied = len(torch.unique(p)) < 3 or len(torch.unique(p.round(decimals=2))) == 1
        earned.append(float(not tied and int(p.argmax()) == 0))
    return np.array(earned)


def test_the_authors_tie_rule():
    """Any two equal probabilities, or three that agree to two decimals, count as wrong."""
    rng = np.random.default_rng(0)
    pairs = np.concatenate(
        [rng.normal(size=(200, 3)), rng.integers(0, 3, (200, 3)).astype(float), 1e-3 * rng.normal(size=(50, 3))]
    )
    np.testing.assert_array_equal(strict_credit(pairs), strict_by_hand(pairs))
    assert strict_credit(np.array([[2.0, 0.0, 0.0]])) == [0]
    assert strict_credit(np.zeros((4, 3))).sum() == 0, "a collapsed model scores 0"
    assert strict_credit(np.array([[100.0, 99.0, 5.0]])) == [1], "no exponential overflows"
