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
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.append(str(Path(__file__).resolve().parents[2] / "tests"))

import numpy as np
from differential import CHECKS


def main(each: int, seed: int, names: list[str]) -> None:
    totals = collections.Counter(tried=0, differ=0)
    for name in names or CHECKS:
        counts = collections.Counter(tried=0, differ=0)
        for number in range(seed, seed + each):
            wrong = _wrong(name, number, counts)
            counts += collections.Counter(tried=1, differ=bool(wrong))
            for line in wrong:
                print(f"{name} {number}: {line}", file=sys.stderr, flush=True)
        print(f"{name}: {dict(counts)}", file=sys.stderr, flush=True)
        totals += counts
    what = f"whole commands on random small problems, beside loops and scipy: {', '.join(names or CHECKS)}"
    outcomes = {name: count for name, count in totals.items() if name != "tried"}
    print(
        json.dumps(
            {
                "driver": " ".join(["numbers", *names]),
                "what": what,
                "tried": totals["tried"],
                "outcomes": {"differ": 0, **outcomes},
            }
        )
    )


def _wrong(name: str, number: int, counts: collections.Counter[str]) -> list[str]:
    """What differs on one problem; a crash does, too."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        try:
            return CHECKS[name](np.random.default_rng(number), Path(folder), counts)
        except Exception as error:  # noqa: BLE001 - it is a finding, and the next problem is tried
            return [f"{type(error).__name__}: {error}"]


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
