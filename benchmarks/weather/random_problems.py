"""Whole commands on random small problems beside an independent implementation: how often do the two differ?

    python benchmarks/weather/random_problems.py 300 1 [CHECK ...]

300 problems of each check, from the seed 1. Every difference is printed to standard error with the seed that makes it
again; the last line is one JSON object of counts. `tests/differential.py` has the checks, `tests/oracle.py` the
implementation: explicit loops and scipy.
"""

from __future__ import annotations

import collections
import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.append(str(Path(__file__).resolve().parents[2] / "tests"))

import numpy as np
from differential import CHECKS


def main(each: int, seed: int, names: list[str]) -> None:
    began, result = time.monotonic(), {}
    for name in names or CHECKS:
        counts = collections.Counter(tried=0, differ=0)
        for number in range(seed, seed + each):
            with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
                try:
                    wrong = CHECKS[name](np.random.default_rng(number), Path(folder), counts)
                except Exception as error:  # noqa: BLE001 - a crash is a finding, and the next problem is tried
                    wrong = [f"{type(error).__name__}: {error}"]
            counts["tried"] += 1
            counts["differ"] += bool(wrong)
            for line in wrong:
                print(f"{name} {number}: {line}", file=sys.stderr, flush=True)
        result[name] = dict(counts)
    tried, differ = (sum(counts[key] for counts in result.values()) for key in ("tried", "differ"))
    seconds = round(time.monotonic() - began)
    print(
        json.dumps({"driver": "numbers", "seed": seed, "tried": tried, "differ": differ, "seconds": seconds, **result})
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
