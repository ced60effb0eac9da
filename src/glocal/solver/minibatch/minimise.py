"""Run a walk, from the start or from a checkpoint, and say why it ended."""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from glocal.errors import DivergedError, ParameterError
from glocal.extras import needed
from glocal.files import PathLike, make_folder, reading
from glocal.objective import Evaluation, Objective
from glocal.solver.criterion import Status
from glocal.solver.minibatch.sampled import SampledObjective
from glocal.solver.minibatch.training import Training
from glocal.solver.minimise import Solution

if TYPE_CHECKING:
    from glocal.solver.minibatch.walk import Walk

PRECISIONS = ("full", "bf16-mixed", "16-mixed")
_CHECKPOINT = "last.ckpt"


@dataclass(frozen=True)
class Engine:
    """Where a walk runs; nothing here changes what it computes, apart from rounding.

    Parameters
    ----------
    precision : {"full", "bf16-mixed", "16-mixed"}
        Mixed: matrix products in 16 bits, everything else, and W itself, in the dtype of the features.
    checkpoints : path or None
        A folder that gets ``last.ckpt`` after every epoch. A fit that finds its own checkpoint there goes on from it.
    logger : Lightning logger or None
        Any of ``lightning.pytorch.loggers``; gets the loss of the steps and the watched loss of the epochs.
    """

    precision: str = "full"
    checkpoints: PathLike | None = None
    logger: Any = None

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ParameterError(f"precision is {self.precision!r}; allowed are {', '.join(PRECISIONS)}.")


def minimise_by_batches(
    sampled: SampledObjective,
    start: tuple[Float[Tensor, "p p"], Float[Tensor, " p"] | None],
    training: Training,
    *,
    seed: int = 42,
    watched: Objective | None = None,
    engine: Engine | None = None,
    kept_with: dict[str, Any] | None = None,
    on_epoch: Callable[[int, Evaluation], None] | None = None,
) -> Solution:
    """Walk towards the minimum of an objective by stochastic gradients on mini-batches, from `start` (W, b).

    W is not kept symmetric. The solution is never called converged: nothing measures how far it is from the optimum.
    Its status is ``"stalled"`` where the stopping rule ended it, ``"budget"`` where the epochs are spent, and its
    `evaluations` are the steps taken, each on a mini-batch; `at` is the whole objective there. The rule looks at
    `watched`, else at the whole objective. `kept_with`, JSON values that identify the fit, goes into every checkpoint
    and must agree with one that is resumed. `on_epoch` is called with the steps taken and the whole objective.

    A loss that is not finite is a DivergedError, a checkpoint of another fit a ParameterError.
    """
    engine = Engine() if engine is None else engine
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what Lightning imports
        lightning = needed("lightning.pytorch", "solver minibatch")
    from glocal.solver.minibatch.walk import Walk, WholeCheckpoints

    settings = {setting.name: getattr(training, setting.name) for setting in fields(Training)}
    identity = {**(kept_with or {}), "training": {**settings, "seed": seed}}
    walk = Walk(sampled, start, training, seed, watched, identity, on_epoch)
    resumed = _own_checkpoint(engine, identity)
    with _quiet(), _interruptible():
        trainer = lightning.Trainer(
            max_epochs=training.max_epochs,
            gradient_clip_val=training.clip,
            gradient_clip_algorithm="norm",
            reload_dataloaders_every_n_epochs=1,
            callbacks=_callbacks(engine),
            logger=False if engine.logger is None else engine.logger,
            enable_checkpointing=engine.checkpoints is not None,
            enable_progress_bar=False,
            enable_model_summary=False,
            plugins=[WholeCheckpoints()],
            **_hardware(sampled.answers.X.device, engine),
        )
        trainer.fit(walk, ckpt_path=resumed, weights_only=True)
    return _solution(walk, sampled)


def _solution(walk: Walk, sampled: SampledObjective) -> Solution:
    W, b = walk.found
    stopping, settings = walk.stopping, walk.training_settings
    at = sampled.whole(W, b)
    if not math.isfinite(at.value):  # the very last steps were too long: no step after them has said so
        raise DivergedError(
            f"the mini-batch solver diverged in its last epoch at eta {settings.eta:g}: the loss is not finite. "
            "Lower eta.",
            walk.steps,
        )
    status: Status = "stalled" if stopping.ended else "budget"
    ending = (
        f"stopped early: {stopping.waited} epochs without a gain of {settings.min_delta:g}"
        if stopping.ended
        else "all epochs are spent"
    )
    reason = (
        f"{ending}, after {stopping.epochs} epochs and {walk.steps} steps at eta {settings.eta:g}; "
        "how far the optimum lies below is not measured"
    )
    return Solution(W, b, at, status, reason, None, walk.steps, epochs=stopping.epochs)


def _hardware(device: torch.device, engine: Engine) -> dict[str, Any]:
    if device.type == "cpu" and engine.precision == "16-mixed":  # NOTE Lightning would take bfloat16 in its place
        raise ParameterError("precision 16-mixed is not supported on a CPU; use bf16-mixed, or another --device.")
    return {
        "precision": "32-true" if engine.precision == "full" else engine.precision,
        "accelerator": "gpu" if device.type == "cuda" else device.type,
        "devices": 1 if device.index is None else [device.index],
    }


def _callbacks(engine: Engine) -> list[Any]:
    if engine.checkpoints is None:
        return []
    from lightning.pytorch.callbacks import ModelCheckpoint

    return [
        ModelCheckpoint(
            dirpath=make_folder(engine.checkpoints), filename=_CHECKPOINT.removesuffix(".ckpt"), every_n_epochs=1,
            save_top_k=1, save_on_train_epoch_end=True, enable_version_counter=False,
        )
    ]  # fmt: skip


def _own_checkpoint(engine: Engine, identity: dict[str, Any]) -> Path | None:
    """The checkpoint to go on from, if there is one; an error if it belongs to another fit."""
    from glocal.solver.minibatch.walk import CHECKPOINT_KEY

    path = None if engine.checkpoints is None else Path(engine.checkpoints) / _CHECKPOINT
    if path is None or not path.exists():
        return None
    with reading(path, "checkpoint", "Remove it to start anew.") as file:
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    kept = checkpoint.get(CHECKPOINT_KEY) if isinstance(checkpoint, dict) else None
    if kept != identity:
        known = kept if isinstance(kept, dict) else {}
        other = sorted(key for key in {*identity, *known} if known.get(key) != identity.get(key))
        raise ParameterError(
            f"checkpoint {path} is of another fit (it differs in {', '.join(other)}). "
            "Give another folder, or remove it to start anew."
        )
    return path


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let an interrupt be one: Lightning ignores further ones and ends the process with exit code 1."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as ended:
        if isinstance(ended.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from ended
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's messages about hardware and training scripts, none of which concern this fit."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(lightning|torch)\..*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
