"""Anomaly detection of 10,000 test among 50,000 training images: time and peak memory.

Each line is a process of its own. It loads float16 feature files, standardizes or transforms them
in float64, keeps them in float32 and scores every class (`whole`), so its peak resident memory is
that of the command. `scoring` is the library call alone, and `cpu` its processor seconds over all
cores. `bare` is the time of the same float64 products without further work, measured right
afterwards; compare `scoring` with it on a busy machine. The features are simulated: class centres
with noise and a large common part.

Run: make bench, or python benchmarks/anomaly.py [--quick].
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

N_TRAIN = 50_000
N_TEST = 10_000
N_DIMENSIONS = 768


def write(folder: Path, classes: int, n_train: int, n_test: int) -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(classes, N_DIMENSIONS)).astype("f4")
    common = 2 * rng.normal(size=N_DIMENSIONS).astype("f4")
    for name, count in (("train", n_train), ("test", n_test)):
        labels = rng.permutation(np.arange(count) % classes)
        rows = np.lib.format.open_memmap(
            folder / f"{name}.npy", mode="w+", dtype=np.float16, shape=(count, N_DIMENSIONS)
        )
        for start in range(0, count, 5000):
            part = labels[start : start + 5000]
            noise = rng.normal(size=(len(part), N_DIMENSIONS)).astype("f4")
            rows[start : start + 5000] = common + centres[part] + 4 * noise
        np.save(folder / f"{name}_labels.npy", labels, allow_pickle=False)
    noise = rng.normal(size=(N_DIMENSIONS, N_DIMENSIONS)).astype("f4")
    W = np.eye(N_DIMENSIONS, dtype="f4") + noise / 50
    np.savez(folder / "transform.npz", weights=W, mean=0.0, std=4.0)


def measure(folder: Path, mode: str, transformed: bool) -> None:
    from glocal.data.features import Features
    from glocal.data.labels import load_labels
    from glocal.evaluation.anomaly import anomaly
    from glocal.transform import LinearTransform

    start = time.perf_counter()
    train, test = (Features.load(folder / f"{name}.npy") for name in ("train", "test"))
    labels = [load_labels(folder / f"{name}_labels.npy") for name in ("train", "test")]
    if transformed:
        transform = LinearTransform.load(folder / "transform.npz")
        X, Z = (transform(np.asarray(part.matrix, dtype=np.float64)) for part in (train, test))
    else:
        X, Z = (train.standardization(part.matrix, "float64") for part in (train, test))
    scoring_start = time.perf_counter()
    cpu_start = time.process_time()
    result = anomaly(X, labels[0], Z, labels[1], mode=mode)
    cpu_seconds = time.process_time() - cpu_start
    end = time.perf_counter()
    seconds = {
        "whole": end - start,
        "scoring": end - scoring_start,
        "cpu": cpu_seconds,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "bare": seconds_of_products(X, Z),
    }
    print(json.dumps({**seconds, "auroc": result.auroc}))


def seconds_of_products(X: np.ndarray, Z: np.ndarray) -> float:
    """The seconds of the products alone, in blocks that fit into 120 MB."""
    X = X.astype("f8")
    Z = Z.astype("f8")
    began = time.perf_counter()
    for start in range(0, len(Z), 3000):
        for first in range(0, len(X), 5000):
            Z[start : start + 3000] @ X[first : first + 5000].T
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the images")
    parser.add_argument(
        "--measure", nargs=3, metavar=("FOLDER", "MODE", "TRANSFORMED"), help=argparse.SUPPRESS
    )
    arguments = parser.parse_args()
    if arguments.measure:
        measure(Path(arguments.measure[0]), arguments.measure[1], arguments.measure[2] == "yes")
        return
    divisor = 10 if arguments.quick else 1
    n_train = N_TRAIN // divisor
    n_test = N_TEST // divisor
    print(f"{n_train} training x {n_test} test images, {N_DIMENSIONS} dimensions, k = 5")
    print("classes  mode           transform  whole s  scoring s  cpu s  bare s  peak GiB  AUROC")
    for classes in (10, 100):
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), classes, n_train, n_test)
            for mode, transformed in (
                ("one-vs-rest", "no"),
                ("one-vs-rest", "yes"),
                ("leave-one-out", "no"),
            ):
                command = [sys.executable, __file__, "--measure", folder, mode, transformed]
                process = subprocess.run(command, check=True, capture_output=True, text=True)
                row = json.loads(process.stdout)
                print(
                    f"{classes:7d}  {mode:13s}  {transformed:9s}  {row['whole']:7.1f}"
                    f"  {row['scoring']:9.1f}  {row['cpu']:5.1f}  {row['bare']:6.1f}"
                    f"  {row['peak']:8.2f}  {row['auroc']:.4f}"
                )


if __name__ == "__main__":
    main()
