"""Anomaly detection of 10,000 test among 50,000 training images of 768 dimensions: time and peak memory.

Each line is a process of its own that loads float16 feature files, standardizes or transforms them in float64, keeps
them in float32 and scores every class (`whole`), so that its peak resident memory is that of the command; `scoring` is
the library call alone, `cpu` its processor seconds over all cores, and `bare` the time of the same float64 products
with nothing done to them, run right after it (compare the two where the machine is busy). Features are simulated: class
centres with noise and a large common part. Run: make bench, or python benchmarks/anomaly.py [--quick].
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

N, M, P = 50_000, 10_000, 768


def write(folder: Path, classes: int, n: int, m: int) -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(classes, P)).astype("f4")
    common = 2 * rng.normal(size=P).astype("f4")
    for name, count in (("train", n), ("test", m)):
        labels = rng.permutation(np.arange(count) % classes)
        rows = np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.float16, shape=(count, P))
        for start in range(0, count, 5000):
            part = labels[start : start + 5000]
            rows[start : start + 5000] = common + centres[part] + 4 * rng.normal(size=(len(part), P)).astype("f4")
        np.save(folder / f"{name}_labels.npy", labels, allow_pickle=False)
    W = np.eye(P, dtype="f4") + rng.normal(size=(P, P)).astype("f4") / 50
    np.savez(folder / "transform.npz", weights=W, mean=0.0, std=4.0)


def measure(folder: Path, mode: str, transformed: bool) -> None:
    from glocal.data.features import Features
    from glocal.data.labels import load_labels
    from glocal.evaluation.anomaly import anomaly
    from glocal.transform import LinearTransform

    began = time.perf_counter()
    train, test = (Features.load(folder / f"{name}.npy") for name in ("train", "test"))
    labels = [load_labels(folder / f"{name}_labels.npy") for name in ("train", "test")]
    scalars = train.standardization
    arm = LinearTransform.load(folder / "transform.npz") if transformed else lambda rows: scalars(rows, "float64")
    X, Z = (arm(np.asarray(part.matrix, dtype=np.float64)) for part in (train, test))
    loaded, cpu = time.perf_counter(), time.process_time()
    result = anomaly(X, labels[0], Z, labels[1], mode=mode)
    done, cpu = time.perf_counter(), time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    seconds = {"whole": done - began, "scoring": done - loaded, "cpu": cpu, "bare": bare(X, Z)}
    print(json.dumps({**seconds, "peak": peak, "auroc": result.auroc}))


def bare(X: np.ndarray, Z: np.ndarray) -> float:
    """Seconds for the products alone, in blocks that fit 120 MB."""
    X, Z = X.astype("f8"), Z.astype("f8")
    began = time.perf_counter()
    for start in range(0, len(Z), 3000):
        for first in range(0, len(X), 5000):
            Z[start : start + 3000] @ X[first : first + 5000].T
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the images")
    parser.add_argument("--measure", nargs=3, metavar=("FOLDER", "MODE", "TRANSFORMED"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(Path(arguments.measure[0]), arguments.measure[1], arguments.measure[2] == "yes")
        return
    n, m = (N // 10, M // 10) if arguments.quick else (N, M)
    print(f"{n} training x {m} test images, {P} dimensions, k = 5")
    print("classes  mode           transform  whole s  scoring s  cpu s  bare s  peak GiB  AUROC")
    for classes in (10, 100):
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), classes, n, m)
            for mode, transformed in (("one-vs-rest", "no"), ("one-vs-rest", "yes"), ("leave-one-out", "no")):
                command = [sys.executable, __file__, "--measure", folder, mode, transformed]
                told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                found = json.loads(told)
                print(
                    f"{classes:7d}  {mode:13s}  {transformed:9s}  {found['whole']:7.1f}  {found['scoring']:9.1f}"
                    f"  {found['cpu']:5.1f}  {found['bare']:6.1f}  {found['peak']:8.2f}  {found['auroc']:.4f}"
                )


if __name__ == "__main__":
    main()
