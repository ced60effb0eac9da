"""The outcomes of fits, sweeps, curves and suites in two checkouts, which should be equal.

Run: python benchmarks/outcomes.py OTHER_CHECKOUT [CASE ...].

Both checkouts run the same commands on the same simulated data, on one thread. All texts and whole
numbers that both print must be equal, the numbers of evaluations too, and other numbers to 1e-6.
Each difference is printed, and the status is 1 if there is any.
"""

import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import workbench
from workbench import ROOT

from glocal.data.world import simulated_world

TOLERANCE = 1e-6
LARGE = "--features large/x.npy --answers large/t.npy --local-features large/local.npy"
SMALL = "--features small/x.npy --answers small/t.npy"
CASES = {
    "keep": f"fit {LARGE} --keep 0.8 --out keep.npz",
    "keep few": f"fit {SMALL} --local-features small/local.npy --out few.npz",
    "keep loss": f"fit {SMALL} --holdout 2 --out loss.npz",
    "keep centred": f"fit {LARGE} --keep 0.9 --centre 1 --out centred.npz",
    "arm": f"fit {LARGE} --method glocal --lmbda 0.3 --alpha 0.25 --holdout 3 --out arm.npz",
    "arm few": f"fit {SMALL} --method global --lmbda 1 --out arm-few.npz",
    "naive": f"fit {LARGE} --method naive --lmbda 0.05 --dtype float64 --out naive.npz",
    "nested": f"fit {LARGE} --keep 0.8 --holdout 3 --out nested.npz",
    "sweep": f"sweep {LARGE} --grid grid.toml --out sweep",
    "sweep few": f"sweep {SMALL} --out sweep-few",
    "curve": f"data curve {SMALL}",
    "people": "people",
    "suite": "suite suite.toml --out suite",
}
GRID = """
method = ["global", "glocal", "naive"]
lmbda = [0.3, 0.1]
alpha = [0.1, 0.5]
tau = [0.1, 0.25]
"""
SUITE = """
answers = "large/t.npy"
simulated = true

[networks.simulated]
features = "large/x.npy"
local = "large/local.npy"

[arms.original]
[arms."keep 0.8"]
keep = 0.8
[arms.glocal]
method = "glocal"
lmbda = 0.2

[tasks.agreement]
kind = "odd-one-out"
[tasks.neighbours]
kind = "structure"
features = "large/near.npy"
"""
COUNTED_RUN = """
import contextlib, io, json, sys
from glocal.solver import Counter

evaluations = 0
count = Counter.__call__

def counted(counter, evaluation, steps=1):
    global evaluations
    evaluations += steps
    count(counter, evaluation, steps)

Counter.__call__ = counted
output = io.StringIO()
with contextlib.redirect_stdout(output):
    if sys.argv[1] == "people":
        import glocal
        answers = glocal.Answers.load("small/people.npz")
        print(glocal.people(answers, glocal.Features.load("small/x.npy")).to_json())
        print(glocal.people(answers).to_json())
    else:
        from glocal.cli.app import main
        sys.argv += ["--json"]
        with contextlib.suppress(SystemExit):
            main()
print(json.dumps([evaluations, *map(json.loads, output.getvalue().splitlines())]))
"""
VARYING = {"seconds", "version", "sha256", "threads", "out", "provenance", "hashes"}


def write_data(folder: Path) -> None:
    """Simulate a large and a small study, whose folds are of objects and of questions."""
    sizes = {"large": (9_000, 300), "small": (1_200, 90)}
    for name, (n_answers, n_local) in sizes.items():
        world = simulated_world(n_object=2, n_answers=n_answers, n_local=n_local, dimensions=48)
        part = folder / name
        part.mkdir()
        triplets = world.answers.objects
        np.save(part / "x.npy", world.objects.matrix)
        np.save(part / "t.npy", triplets)
        np.save(part / "local.npy", world.local.matrix[: n_local - 60])
        np.save(part / "near.npy", world.local.matrix[n_local - 60 :])
        person = np.arange(len(triplets)) % 12
        at_random = np.random.default_rng(0).permuted(triplets, axis=1)
        judged = np.where((person < 2)[:, None], at_random, triplets)
        np.savez(part / "people.npz", answers=judged, kind="odd-one-out", person=person)
    (folder / "grid.toml").write_text(GRID)
    (folder / "suite.toml").write_text(SUITE)


def outcome(checkout: Path, folder: Path, command: str) -> Any:
    """The number of evaluations of a command, the JSON that it prints, and its points."""
    process = subprocess.run(
        [sys.executable, "-c", COUNTED_RUN, *shlex.split(command)],
        cwd=folder,
        env=workbench.environment(checkout, threads=1),
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode or not process.stdout:
        sys.exit(f"{checkout}: glocal {command}\n{process.stderr}")
    results = json.loads(process.stdout.splitlines()[-1])
    points = folder / command.rsplit(maxsplit=1)[-1] / "points.jsonl"
    if points.exists():
        results += map(json.loads, points.read_text("utf-8").splitlines())
    return results


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The numbers and texts of a JSON value, each with its path."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        yield path, value
        return
    for key, part in value.items():
        if str(key) not in VARYING:
            yield from leaves(part, f"{path}.{key}")


def differences(old: Any, new: Any) -> list[str]:
    """A line for each value that both have and that differs."""
    before = dict(leaves(old))
    after = dict(leaves(new))
    lines = []
    for path in before.keys() & after.keys():
        was, now = before[path], after[path]
        is_equal = was == now
        if isinstance(was, float) and isinstance(now, float):
            is_equal = abs(was - now) <= TOLERANCE * max(1.0, abs(was))
        if not is_equal:
            lines.append(f"{path}: {was} → {now}")
    return sorted(lines)


def main() -> int:
    """Print the differences of each case."""
    parser = workbench.parser(__doc__)
    parser.add_argument("other", metavar="OTHER_CHECKOUT", type=Path)
    parser.add_argument("cases", nargs="*", metavar="CASE", default=[*CASES])
    options = parser.parse_args()
    total = 0
    with tempfile.TemporaryDirectory() as base:
        folders = [Path(base, "other"), Path(base, "this")]
        for folder in folders:
            folder.mkdir()
            write_data(folder)
        for name in options.cases:
            old = outcome(options.other.resolve(), folders[0], CASES[name])
            new = outcome(ROOT, folders[1], CASES[name])
            lines = differences(old, new)
            n_values = len(dict(leaves(old)).keys() & dict(leaves(new)).keys())
            print(
                f"{name}: {new[0]} evaluations, {n_values} values, {len(lines)} differ", flush=True
            )
            for line in lines:
                print(f"    {line}")
            total += len(lines)
    return int(total > 0)


if __name__ == "__main__":
    sys.exit(main())
