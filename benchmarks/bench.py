"""The cost of whole commands, in a unit that makes it nearly the same on every machine.

Run: make bench, or python benchmarks/bench.py [CASE ...] [--against CHECKOUT].

Each case is a process of its own with two threads. Its cost is its processor time, user and system,
in units that are timed right before and after it on one thread: half of one mini-batch step of the
authors' scripts (256 answers, which dense one-hot rows select from the whole projected matrix) and
one product, the Gram matrix of as many objects. A case above 1.3 of its budget runs twice more, and
the median counts. Budgets are costs on the finished code. The data are simulated. With
--against, each runs in turns with another checkout, and the ratios of processor time and of peak
memory are printed instead.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import workbench
from threadpoolctl import threadpool_limits
from workbench import ROOT

from glocal.data.world import simulated_answers

BATCH = 256  # answers
MAX_SHARE_OF_BUDGET = 1.3
ROUNDS = 3  # against another checkout
PLAN = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
SIZES = PLAN["sizes"]
CASES = PLAN["cases"]


class Run(NamedTuple):
    """What a process took: processor seconds, and the peak of its memory."""

    cpu: float
    peak_mb: float


def write(folder: Path, n: int, p: int, t: int, n_local: int = 0) -> None:
    """Simulate objects and local images with a spectrum like that of networks, and answers."""
    rng = np.random.default_rng(0)
    mind = np.abs(rng.standard_normal((n + n_local, 49), np.float32)) / 2
    X = mind @ rng.standard_normal((49, p), np.float32) / 7
    X += rng.standard_normal(X.shape, np.float32) * np.linspace(2, 0.05, p, dtype=np.float32) ** 2
    folder.mkdir()
    np.save(folder / "x.npy", X[:n])
    np.save(folder / "local.npy", X[n:])
    if t:
        np.save(folder / "t.npy", simulated_answers(mind[:n], t).objects)


class Bench:
    """A folder with the data of the cases, made when a case needs them, and outputs by checkout."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.finished: set[tuple[str, Path]] = set()
        rng = np.random.default_rng(0)
        self.X = rng.standard_normal((1854, 768), np.float32)
        self.triplets = rng.integers(0, len(self.X), 3 * BATCH)

    def make(self, name: str, size: tuple[int, ...]) -> None:
        """Simulate data once, in a process of its own: commands inherit the peak of memory."""
        data = self.folder / name
        if not data.exists():
            with ProcessPoolExecutor(1) as pool:
                pool.submit(write, data, *size).result()

    def run(self, name: str, source: Path = ROOT) -> Run:
        """Run a case of a checkout, after the case that it needs."""
        case = CASES[name]
        if "data" in case:
            self.make(case["data"], SIZES[case["data"]])
        if "needs" in case and (case["needs"], source) not in self.finished:
            self.run(case["needs"], source)
        self.finished.add((name, source))
        return self.process(case["line"], case.get("data", ""), source)

    def process(self, pattern: str, data: str, source: Path = ROOT) -> Run:
        """Run a line of Python or a command on some data in a process of its own."""
        data = f"../{data}"
        line = pattern.format(
            data=f"--features {data}/x.npy --answers {data}/t.npy",
            local=f"--local-features {data}/local.npy",
            folder=data,
        )
        arguments = ["-c", line] if line.startswith("import") else ["-m", *line.split()]
        outputs = self.outputs(source)
        shutil.rmtree(outputs / line.rsplit(maxsplit=1)[-1], ignore_errors=True)
        log = outputs / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=outputs,
                env=workbench.environment(source, threads=2),
                stdout=output,
                stderr=output,
            )
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if status:
            sys.exit(f"{line}\n{log.read_text(encoding='utf-8')}")
        cpu = usage.ru_utime + usage.ru_stime
        return Run(cpu, usage.ru_maxrss / 1024)

    def outputs(self, source: Path) -> Path:
        """The folder with the outputs of a checkout, which another one may be unable to read."""
        folder = self.folder / ("outputs" if source == ROOT else "outputs-against")
        folder.mkdir(exist_ok=True)
        return folder

    def cost(self, name: str) -> float:
        """The processor time of a case in units of the work around it."""
        before = self.unit()
        cpu = self.run(name).cpu
        return 2 * cpu / (before + self.unit())

    def unit(self) -> float:
        """Half the processor seconds of a step of the authors and one Gram matrix."""
        times = []
        with threadpool_limits(1):
            for _ in range(7):
                start = time.process_time()
                self.step()
                self.X @ self.X.T
                times.append(time.process_time() - start)
        return median(times) / 2

    def step(self) -> np.ndarray:
        """W after one of the authors' steps, without the penalty."""
        W = np.eye(self.X.shape[1], dtype=np.float32) / 1000
        one_hot = np.eye(len(self.X), dtype=np.float32)[self.triplets]
        a, b, c = (one_hot @ (self.X @ W)).reshape(3, BATCH, -1)
        exp = np.exp([(a * b).sum(1), (a * c).sum(1), (b * c).sum(1)])
        ab, ac, bc = (exp / exp.sum(axis=0) - [[1], [0], [0]])[:, :, None]
        dZ = np.concatenate([ab * b + ac * c, ab * a + bc * c, ac * a + bc * b])
        return W - 1e-3 * self.X.T @ (one_hot.T @ dZ.astype(np.float32))


def compare_with_budgets(bench: Bench, names: list[str]) -> int:
    """Print each cost beside its budget; 1 if one of them is too high."""
    slow = []
    print("case          cost   budget   share")
    for name in names:
        budget = CASES[name]["budget"]
        costs = [bench.cost(name)]
        if costs[0] > MAX_SHARE_OF_BUDGET * budget:
            costs += [bench.cost(name), bench.cost(name)]
        share = median(costs) / budget
        print(f"{name:10s} {median(costs):7.1f}  {budget:7.1f} {share:7.2f}", flush=True)
        if share > MAX_SHARE_OF_BUDGET:
            slow.append(name)
    if slow:
        print(f"above {MAX_SHARE_OF_BUDGET} of the budget: {', '.join(slow)}")
    return int(bool(slow))


def compare_with(bench: Bench, names: list[str], other: Path) -> None:
    """Run the cases here and in another checkout in turns; print the median ratios."""
    for name in names:
        pairs = [(bench.run(name), bench.run(name, other)) for _ in range(ROUNDS)]
        cpu = median(run.cpu / before.cpu for run, before in pairs)
        peak = median(run.peak_mb / before.peak_mb for run, before in pairs)
        print(f"{name}: {cpu:.2f} of its processor time, {peak:.2f} of its memory", flush=True)


def main() -> int:
    """Compare with the budgets, or with another checkout."""
    parser = workbench.parser(__doc__)
    parser.add_argument("cases", nargs="*", choices=[[], *CASES], default=[], metavar="CASE")
    parser.add_argument("--against", metavar="CHECKOUT", type=Path)
    options = parser.parse_args()
    names = options.cases or list(CASES)
    with tempfile.TemporaryDirectory(dir=os.environ.get("GLOCAL_BENCH_DIR")) as folder:
        bench = Bench(Path(folder))
        if options.against:
            compare_with(bench, names, options.against.resolve())
            return 0
        return compare_with_budgets(bench, names)


if __name__ == "__main__":
    sys.exit(main())
