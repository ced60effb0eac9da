"""Plant mistakes in the modules that compute results, one at a time, and count those that the tests notice.

    python benchmarks/weather/mutants.py 30 1 --out mutants.jsonl

30 mistakes a module are drawn with the seed 1. A copy of the package and its tests lies in a temporary folder. The
tests run once, traced, to learn which of them reach which line. Then each mistake is written into the copy, and the
tests that reach its line run in a fork of a process that has imported the libraries, the quick ones first, until one
fails. One JSON line a mistake goes to the file, which an interrupted run takes up again; one line of counts is printed.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from mutations import Mutant, mutants, planted

ROOT = Path(__file__).resolve().parents[2]
MODULES = """
    objective/choice_loss objective/local_loss objective/objective objective/penalty objective/choice_kernel
    objective/gather_kernel solver/minimise solver/line_search solver/duality solver/criterion solver/start solver/naive
    similarity/choices similarity/pairs similarity/ties evaluation/statistics/clusters evaluation/statistics/differences
    evaluation/statistics/means evaluation/detection evaluation/rank_correlation evaluation/retrieval evaluation/anomaly
    evaluation/rsa evaluation/alignment data/splits sweep/selection records scores
"""
TESTS = """
    splits similarity kinds mix objective row_space solver alignment front records scores statistics retrieval anomaly
    rsa structure local_scale differential sweep fit
"""
LONGEST = 40.0  # seconds of tests for one mistake

_FILES = [f"{name}.py" for name in MODULES.split()]

_OPTIONS = """
    -q -x -p no:cacheprovider -p no:doctest --assert=plain --no-header --basetemp=basetemp
    --import-mode=importlib -o addopts= -W ignore::pytest.PytestWarning
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("each", type=int, help="mistakes a module")
    parser.add_argument("seed", type=int)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="modules whose path contains this")
    parser.add_argument("--again", action="store_true", help="try those that survived before once more")
    parser.add_argument("--also", nargs="*", default=[], help="tests that run first, such as new ones")
    given = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    os.environ.pop("GLOCAL_DATA_DIR", None)
    before = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    rows = {(row["module"], row["number"]): row for row in before}
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        copied = _Copy(Path(folder))
        copied.prepare()
        for module in _FILES:
            if given.only not in module:
                continue
            todo = _drawn(module, given.each, given.seed)
            if given.again:
                todo = [m for m in todo if rows.get((module, m.number), {}).get("outcome") == "survived"]
            else:
                todo = [m for m in todo if (module, m.number) not in rows]
            if todo and not copied.tests:
                copied.trace(given.out.with_suffix(".reached.json"))
            for one in todo:
                row = {"module": module, **one._asdict(), **copied.outcome(module, one, given.also)}
                rows[module, one.number] = row
                with given.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    counts = collections.Counter(row["outcome"] for row in rows.values())
    what = f"mistakes planted in {len(_FILES)} modules that compute results"
    print(json.dumps({"driver": "mutants", "what": what, "tried": len(rows), "outcomes": dict(counts)}))


def _drawn(module: str, each: int, seed: int) -> list[Mutant]:
    every = mutants((ROOT / "src/glocal" / module).read_text())
    return sorted(random.Random(f"{seed} {module}").sample(every, min(each, len(every))))


class _Copy:
    """A copy of the package in which mistakes are planted, and the processes that test it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.time = folder, int(time.time())
        for name in ("src", "tests"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        self.report = folder / "report.json"
        self.tests: dict[str, dict[str, float]] = collections.defaultdict(dict)

    def prepare(self) -> None:
        """Import what all tests need, once: children are forked from this process."""
        os.chdir(self.folder)
        os.environ["PYTHONPATH"] = str(self.folder / "src")
        sys.path[:0] = [str(self.folder / "src"), str(self.folder / "tests")]
        import beartype
        import hypothesis
        import jaxtyping
        import numba
        import pandas
        import pytest
        import scipy.sparse.linalg
        import scipy.stats
        import sklearn.linear_model
        import torch

        torch.set_num_threads(1)
        del beartype, hypothesis, jaxtyping, numba, pandas, pytest, scipy, sklearn

    def trace(self, kept: Path) -> None:
        """Learn which tests reach each line of the modules, and how long they take; `kept` knows unchanged files."""
        sources = "".join((self.folder / "src/glocal" / module).read_text() for module in _FILES)
        known = json.loads(kept.read_text()) if kept.exists() else {}
        for name in TESTS.split():
            file = Path(f"tests/test_{name}.py")
            if not file.exists():
                continue
            key = hashlib.sha256((sources + file.read_text()).encode()).hexdigest()
            if key not in known:
                self._forked(lambda path=str(file): self._traced(path), limit=900)
                known[key] = json.loads(self.report.read_text())
                kept.write_text(json.dumps(known))
                print(file, flush=True)
            for place, tests in known[key].items():
                self.tests[place] |= tests

    def outcome(self, module: str, one: Mutant, also: list[str]) -> dict[str, object]:
        """What the tests say about a mistake."""
        path = self.folder / "src/glocal" / module
        source = path.read_text()
        tests = self.tests.get(f"{module} {one.line}") or self.tests[f"{module} 0"]
        quick, seconds = [*also], 0.0
        for name, takes in sorted(tests.items(), key=lambda item: item[1]):
            seconds += takes
            if len(quick) > len(also) and seconds > LONGEST:
                break
            quick.append(name)
        began = time.monotonic()
        self._write(path, planted(source, one.number))
        code = self._forked(lambda: _pytest(quick), limit=60 + 3 * LONGEST) if quick else 0
        self._write(path, source)
        found = "survived" if code == 0 else "killed"
        return {"outcome": found, "code": code, "tests": len(quick), "seconds": round(time.monotonic() - began, 1)}

    def _write(self, path: Path, source: str) -> None:
        """Write with a time of its own: whatever was compiled from another text is compiled again."""
        path.write_text(source)
        self.time += 2
        os.utime(path, (self.time, self.time))

    def _forked(self, work, limit: float) -> int | None:
        """The exit code of the work in a fork; None if it takes longer than the limit, in seconds."""
        pid = os.fork()
        if not pid:
            os.setsid()
            with open(self.folder / "output.txt", "wb") as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
            try:
                os._exit(int(work()))
            finally:
                os._exit(70)
        ends = time.monotonic() + limit
        while time.monotonic() < ends:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return None

    def _traced(self, file: str) -> int:
        import pytest

        modules = {str(self.folder / "src/glocal" / module): module for module in _FILES}
        lines: dict[str, set[tuple[str, int]]] = collections.defaultdict(set)
        seconds: dict[str, float] = collections.defaultdict(float)
        running, useless = [""], set()

        def of_call(frame, _event, _argument):
            module = modules.get(frame.f_code.co_filename)
            if module is None:
                return None

            def of_line(frame, _event, _argument):
                lines[running[0]].add((module, frame.f_lineno))
                return of_line

            return of_line(frame, _event, _argument)

        class Watch:
            @pytest.hookimpl(wrapper=True)
            def pytest_runtest_protocol(self, item):
                running[0] = item.nodeid
                threading.settrace(of_call)
                sys.settrace(of_call)
                try:
                    return (yield)
                finally:
                    sys.settrace(None)
                    threading.settrace(None)

            def pytest_runtest_logreport(self, report):
                if report.passed:
                    seconds[report.nodeid] += report.duration
                else:
                    useless.add(report.nodeid)

        _pytest([file, "--maxfail=1000"], [Watch()])
        found: dict[str, dict[str, float]] = collections.defaultdict(dict)
        for name, reached in lines.items():
            for module, line in reached if name in seconds.keys() - useless else ():
                found[f"{module} {line}"][name] = found[f"{module} 0"][name] = seconds[name]
        self.report.write_text(json.dumps(found))
        return 0


def _pytest(tests: list[str], plugins: list[object] | None = None) -> int:
    import pytest

    return int(pytest.main([*_OPTIONS.split(), *tests], plugins=plugins))


if __name__ == "__main__":
    main()
