"""Plant mistakes in the modules that compute results, one at a time, and count those that the tests notice.

    python benchmarks/weather/mutants.py 30 1 --out mutants.jsonl

30 mistakes a module are drawn with the seed 1. pytest collects the tests once, with all that they import. They run,
traced, to learn which of them reach which line. Then, for each mistake, a fork of this process puts it into the module
and runs the tests that reach its line, the quick ones first, until one fails. A module whose tests fail when it is put
in place without a mistake is named and left out. One JSON line a mistake goes to the file, which an interrupted run
takes up again; the last line that is printed has the counts.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from in_place import put_in_place
from mutations import mutants, planted

ROOT = Path(__file__).resolve().parents[2]
MODULES = """
    data/splits data/answers data/people data/repeated data/catch data/rdm data/check/agreement
    sweep/selection similarity/choices similarity/pairs similarity/ties records scores
    evaluation/detection evaluation/rank_correlation evaluation/retrieval evaluation/anomaly evaluation/rsa
    evaluation/alignment evaluation/statistics/clusters evaluation/statistics/differences evaluation/statistics/means
    evaluation/ceiling evaluation/cosines evaluation/flips evaluation/model_rdm evaluation/normality
    evaluation/structure/collapse evaluation/structure/neighbourhoods evaluation/structure/likeness
    evaluation/structure/spectrum evaluation/structure/separation evaluation/structure/measure
    evaluation/fewshot/score evaluation/fewshot/logistic evaluation/fewshot/probes evaluation/fewshot/episodes
    evaluation/views/matrices evaluation/views/measure evaluation/views/maps
    collect/informative collect/curve align/score
    objective/penalty objective/objective objective/local_loss objective/choice_loss solver/minimise solver/line_search
    solver/duality solver/criterion solver/start solver/naive objective/choice_kernel objective/gather_kernel
"""
TESTS = """
    splits similarity kinds mix objective row_space solver alignment records scores statistics retrieval anomaly
    rsa structure local_scale differential sweep ceiling cosines flips fewshot views people triplets reduction doctor
    importers check_command collect_fit align
"""
LONGEST = 12.0  # seconds of tests for one mistake

_FILES = [f"{name}.py" for name in MODULES.split()]
_OPTIONS = """
    -q -p no:cacheprovider -p no:doctest --assert=plain --no-header --import-mode=importlib -o addopts=
    -W ignore::pytest.PytestWarning
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("each", type=int, help="mistakes a module")
    parser.add_argument("seed", type=int)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="modules whose path contains this")
    parser.add_argument("--again", action="store_true", help="try those that survived before once more")
    given = parser.parse_args()
    given.out = given.out.resolve()
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    os.environ |= {"PYTHONPATH": str(ROOT / "src"), "OMP_WAIT_POLICY": "PASSIVE"}
    os.environ.pop("GLOCAL_DATA_DIR", None)
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT / "src"))
    import pytest

    files = [f"tests/test_{name}.py" for name in TESTS.split()]
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        run = _Run(given, Path(folder))
        code = pytest.main([*_OPTIONS.split(), f"--basetemp={folder}/basetemp", *files], plugins=[run])
    if code != 0:
        sys.exit(int(code))
    what = f"mistakes planted in {len(_FILES)} modules that compute results"
    counts = collections.Counter(row["outcome"] for row in run.rows.values())
    print(json.dumps({"driver": "mutants", "what": what, "tried": len(run.rows), "outcomes": dict(counts)}))


class _Run:
    """What pytest does once it has collected the tests, in place of running them."""

    def __init__(self, given: argparse.Namespace, folder: Path) -> None:
        self.given, self.folder = given, folder
        before = given.out.read_text().splitlines() if given.out.exists() else []
        self.rows = {(row["module"], row["number"]): row for row in map(json.loads, before)}
        self.tests: dict[str, dict[str, float]] = collections.defaultdict(dict)
        self.failed = False

    def pytest_runtestloop(self, session) -> bool:
        import torch

        torch.set_num_threads(1)
        self.items = {item.nodeid: item for item in session.items}
        self._trace(self.given.out.with_suffix(".reached.json"))
        for module in _FILES:
            if self.given.only in module:
                self._of_module(module)
        return True

    def pytest_runtest_logreport(self, report) -> None:
        self.failed |= report.failed

    def _of_module(self, module: str) -> None:
        source = (ROOT / "src/glocal" / module).read_text()
        every = mutants(source)
        todo = sorted(random.Random(f"{self.given.seed} {module}").sample(every, min(self.given.each, len(every))))
        earlier = {one.number: self.rows.get((module, one.number), {}).get("outcome") for one in todo}
        todo = [one for one in todo if earlier[one.number] == ("survived" if self.given.again else None)]
        if todo and self._outcome(module, source, 0, LONGEST / 4)["outcome"] != "survived":
            print(f"{module} cannot be put in place: its tests fail without a mistake", file=sys.stderr, flush=True)
            return
        for one in todo:
            row = {"module": module, **one._asdict(), **self._outcome(module, planted(source, one.number), one.line)}
            self.rows[module, one.number] = row
            with self.given.out.open("a") as file:
                file.write(json.dumps(row) + "\n")

    def _outcome(self, module: str, source: str, line: int, longest: float = LONGEST) -> dict[str, object]:
        """What the tests say about a source of a module that differs in a line."""
        reaching = self.tests.get(f"{module} {line}") or self.tests[f"{module} 0"]
        quick, seconds = [], 0.0
        for name, takes in sorted(reaching.items(), key=lambda item: item[1]):
            seconds += takes
            if quick and seconds > longest:
                break
            quick.append(name)
        began = time.monotonic()
        code = self._forked(lambda: self._tested(module, source, quick), limit=30 + 3 * LONGEST)
        found = "survived" if code == 0 else "killed"
        return {"outcome": found, "code": code, "tests": len(quick), "seconds": round(time.monotonic() - began, 1)}

    def _tested(self, module: str, source: str, names: list[str]) -> int:
        put_in_place("glocal." + module[:-3].replace("/", "."), source, self.folder / f"compiled-{os.getpid()}")
        return self._run(names, until_failure=True)

    def _run(self, names: list[str], *, until_failure: bool) -> int:
        chosen = [self.items[name] for name in names if name in self.items]
        for item, following in zip(chosen, [*chosen[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.failed and until_failure:
                return 1
        return int(self.failed)

    def _forked(self, work, limit: float) -> int | None:
        """The exit code of the work in a fork; `limit` is in seconds of processor time, and ten times that in all."""
        pid = os.fork()
        if not pid:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit) + 1))
            try:
                os._exit(int(work()))
            finally:
                os._exit(70)
        ends = time.monotonic() + 10 * limit
        while time.monotonic() < ends:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return None

    def _trace(self, kept: Path) -> None:
        """Learn which tests reach each line of the modules, and how long they take; `kept` knows unchanged files."""
        sources = "".join((ROOT / "src/glocal" / module).read_text() for module in sorted(_FILES))
        known = json.loads(kept.read_text()) if kept.exists() else {}
        for name in TESTS.split():
            file = f"tests/test_{name}.py"
            key = f"{name} {hashlib.sha256((sources + Path(file).read_text()).encode()).hexdigest()}"
            if key not in known:
                report = self.folder / "report.json"
                names = [nodeid for nodeid in self.items if nodeid.startswith(file)]
                self._forked(lambda names=names, report=report: self._traced(names, report), limit=1800)
                known[key] = json.loads(report.read_text())
                kept.write_text(json.dumps(known))
            for place, tests in known[key].items():
                self.tests[place] |= tests

    def _traced(self, names: list[str], report: Path) -> int:
        modules = {str(ROOT / "src/glocal" / module): module for module in _FILES}
        found: dict[str, dict[str, float]] = collections.defaultdict(dict)
        for name in names:
            lines: set[tuple[str, int]] = set()

            def of_call(frame, _event, _argument, lines=lines):
                module = modules.get(frame.f_code.co_filename)
                if module is None:
                    return None

                def of_line(frame, _event, _argument):
                    lines.add((module, frame.f_lineno))
                    return of_line

                return of_line(frame, _event, _argument)

            began, self.failed = time.process_time(), False
            threading.settrace(of_call)
            sys.settrace(of_call)
            self._run([name], until_failure=True)
            sys.settrace(None)
            threading.settrace(None)
            for module, line in lines if not self.failed else ():
                found[f"{module} {line}"][name] = found[f"{module} 0"][name] = time.process_time() - began
        report.write_text(json.dumps(found))
        return 0


if __name__ == "__main__":
    main()
