"""Memory and time of a fit of too many objects for a Gram matrix, each in its own process.

The objects are simulated (Gaussian), with about 5 answers per object on three random objects each,
given from a hidden transform with noise. The arm is `global`. Peak memory is VmHWM of
/proc/self/status; "of the fit" is the peak less the memory of the process after all imports and
after the data were made. Seconds are wall-clock and CPU seconds; compare CPU seconds on a busy
machine.

Run: python benchmarks/many_objects.py
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings

import numpy as np


def memory_mb(field: str) -> float:
    """VmHWM (peak) or VmRSS (now) of this process; ru_maxrss would include the parent's peak."""
    with open("/proc/self/status", encoding="ascii") as status:
        return int(status.read().split(f"{field}:")[1].split()[0]) / 1024


def simulated(n: int, p: int, answers_per_object: float) -> tuple[np.ndarray, np.ndarray]:
    """Features and answers: the pair is the most similar in 16 hidden directions, with noise."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p), dtype=np.float32)
    hidden = X[:, :16]
    n_answers = int(n * answers_per_object)
    rows = rng.integers(0, n, (n_answers + n_answers // 10, 3))
    a, b, c = rows.T
    rows = rows[(a != b) & (a != c) & (b != c)][:n_answers]
    orders = ((1, 2, 0), (0, 2, 1), (0, 1, 2))  # pair first, odd one last
    dots = np.stack(
        [(hidden[rows[:, a]] * hidden[rows[:, b]]).sum(1) for a, b, _ in orders], axis=1
    )
    order = (dots + rng.gumbel(size=dots.shape)).argmax(axis=1)
    return X, np.take_along_axis(rows, np.array(orders)[order], axis=1)


def child(options: argparse.Namespace) -> None:
    """Run one fit and print its numbers as a line of JSON."""
    from glocal import Answers, Arm, Features, FitData, fit

    warnings.simplefilter("ignore")
    X, answers = simulated(options.n, options.dimensions, options.answers)
    data = FitData(Features(X, None, "X"), Answers(answers))
    before = memory_mb("VmRSS")
    start = time.perf_counter()
    cpu_start = time.process_time()
    record = fit(data, Arm("global")).record
    row = {
        "gathered": record.gathered,
        "n_objects": record.n_objects,
        "n_answers": record.n_answers,
        "seconds": time.perf_counter() - start,
        "cpu": time.process_time() - cpu_start,
        "peak_mb": memory_mb("VmHWM"),
        "before_mb": before,
        "evaluations": record.evaluations,
        "status": record.status,
        "objective": record.objective,
    }
    print(json.dumps(row))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--objects", nargs="+", type=int, default=[25_000, 50_000, 100_000])
    parser.add_argument("--dimensions", type=int, default=256)
    parser.add_argument("--answers", type=float, default=5.0, help="answers an object")
    parser.add_argument("--n", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.n is not None:
        child(options)
        return
    print(f"{options.dimensions} dimensions, {options.answers:g} answers an object, float32")
    print(
        "objects  answers  gathered  peak MB  of the fit  n x n MB  seconds    CPU  evaluations  "
        "status"
    )
    for n in options.objects:
        arguments = [*sys.argv[1:], "--n", str(n)]
        process = subprocess.run(
            [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True, check=True
        )
        row = json.loads(process.stdout.splitlines()[-1])
        print(
            f"{row['n_objects']:7d} {row['n_answers']:8d}  {row['gathered']!s:8s} "
            f"{row['peak_mb']:8.0f} {row['peak_mb'] - row['before_mb']:11.0f} "
            f"{n * n * 4 / 2**20:9.0f} "
            f"{row['seconds']:8.1f} {row['cpu']:6.1f} {row['evaluations']:12d}  {row['status']}",
            flush=True,
        )


if __name__ == "__main__":
    main()
