"""Full fits against rank="auto", in one run: difference of the objectives, seconds and their ratio.

p = 1280: efficientnet-lite0 features of THINGS, real answers and real local images (needs GLOCAL_DATA_DIR).
p = 4096: simulated features of 1845 objects and 1000 local images, whose spectrum falls as that of real networks does
and whose strongest directions know the answers; as many simulated answers as there are real ones.
Run: python benchmarks/subspace.py [--only 1280|4096] [--method global|glocal] [--lmbda 0.1].
"""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: threads that spin are far slower on a busy machine

import numpy as np
import torch

from glocal.aligner import fit_arm
from glocal.data.features import Features
from glocal.data.join import join
from glocal.data.triplets import Triplets
from glocal.data.world import simulated_answers

N, LOCAL, ANSWERS, P, KNOWN = 1845, 1000, 146_168, 4096, 49


def real(data: Path) -> tuple[Features, Triplets, Features]:
    things = data / "things"
    features = Features.load(things / "features" / "efficientnet-lite0")
    names = tuple((things / "unique_id.txt").read_text(encoding="utf-8").split())
    answers = join(features, Triplets.load(things / "triplets.npy"), names).triplets
    return features, answers, Features.load(data / "local" / "efficientnet-lite0")


def simulated(data: Path | None) -> tuple[Features, Triplets, Features]:
    """Coordinates in principal axes: rotating them would change no fit."""
    rng = np.random.default_rng(0)
    spose = data / "things" / "spose_49d.npy" if data else None
    mind = np.load(spose)[:N] if spose and spose.exists() else np.abs(rng.normal(size=(N, KNOWN))) * 0.5
    k = np.arange(1, P + 1)
    spectrum = k**-0.7 * np.exp(-4 * k / P)
    X = rng.normal(size=(N + LOCAL, P))
    mixing = rng.normal(size=(mind.shape[1], KNOWN))
    known = np.concatenate([mind, mind[rng.integers(0, N, LOCAL)]]) @ mixing
    X[:, :KNOWN] = np.sqrt(0.5) * (X[:, :KNOWN] + (known - known.mean(0)) / known.std(0))
    X = (X * np.sqrt(spectrum)).astype(np.float32)
    return Features(X[:N]), simulated_answers(mind, ANSWERS), Features(X[N:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["1280", "4096"])
    parser.add_argument("--method", choices=["global", "glocal"], default="glocal")
    parser.add_argument("--lmbda", type=float, default=0.1)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # held-out agreement is not what is measured here
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    data = Path(os.environ["GLOCAL_DATA_DIR"]) if os.environ.get("GLOCAL_DATA_DIR") else None
    print("   p  method  lmbda  rank   objective  relative   bound    evaluations      seconds  ratio")
    for p in (1280, 4096):
        if str(p) != (options.only or str(p)) or (p == 1280 and data is None):
            continue
        features, answers, local = real(data) if p == 1280 and data is not None else simulated(data)
        reference = None
        for rank in (None, "auto"):
            record = fit_arm(
                features, answers, local_features=local if options.method == "glocal" else None,
                method=options.method, lmbda=options.lmbda, rank=rank,
            ).record  # fmt: skip
            reference = reference or record
            excess = record.objective / reference.objective - 1
            bound = "" if record.rank_bound is None else f"{record.rank_bound / record.objective:.1e}"
            print(
                f"{p:4d}  {options.method:6s}  {options.lmbda:5g}  {record.rank or 'full':>4}  {record.objective:.7f}  "
                f"{excess:+.1e}  {bound:7s}  {record.evaluations:4d} {record.status:9s}  {record.seconds:7.1f}"
                f"  {reference.seconds / record.seconds:5.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
