"""Count the functions and files that a fit enters, by a profile hook.

The counts are for a fit of one arm with the hold-out of few answers, and for the choice of `Keep`.
Comprehensions and lambdas count as parts of the functions that contain them. With -v the functions
are listed by file.

Run: python benchmarks/entered.py [-v].
"""

import sys
import warnings
from collections import defaultdict
from types import FrameType
from typing import Any

from glocal import Arm, FitData, Keep, fit
from glocal.data.world import simulated_world

PACKAGE = "/glocal/"


def functions_entered(data: FitData, what: Arm | Keep) -> dict[str, set[str]]:
    """The names of the functions that a fit enters, by file."""
    entered: dict[str, set[str]] = defaultdict(set)

    def record(frame: FrameType, event: str, _argument: Any) -> None:
        code = frame.f_code
        is_inner = code.co_name.startswith("<")
        if event == "call" and PACKAGE in code.co_filename and not is_inner:
            file = code.co_filename.rpartition(PACKAGE)[2]
            entered[file].add(code.co_qualname.replace(".<locals>", ""))

    fit(data, what)  # what is imported or compiled once is no part of it
    sys.setprofile(record)
    try:
        fit(data, what)
    finally:
        sys.setprofile(None)
    return entered


def main() -> None:
    """Print the counts."""
    warnings.simplefilter("ignore")
    world = simulated_world(n_triplets=3000, n_local=90)
    data = FitData(world.objects, world.answers, world.local)
    for what in (Arm("glocal", lmbda=1.0), Keep()):
        entered = functions_entered(data, what)
        total = sum(map(len, entered.values()))
        print(f"{what!r}: {total} functions in {len(entered)} files")
        if "-v" in sys.argv:
            for file, names in sorted(entered.items()):
                print(f"  {len(names):3} {file}: {', '.join(sorted(names))}")


if __name__ == "__main__":
    main()
