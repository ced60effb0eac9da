"""Disturb every command that writes, and look at what it leaves, says, and does when it is given again.

    python benchmarks/weather/faults.py KILLS SEED [--only NAME …] [--out faults.jsonl]

Each command of written.py is ended KILLS times by SIGKILL, and a third as often by SIGTERM and by SIGINT, at moments
drawn uniformly from its undisturbed time; its disk fills up, its files may not grow, its folder may only be read, two
processes write one output, the clock jumps, the machine sleeps, and no file can be locked. Every file must then be the
earlier one or the new one, and the same command must end in what an undisturbed one leaves, to the byte or the number,
and in nothing besides. What is amiss is named on stderr. One JSON line a command goes to the file, which an interrupted
run takes up again; the last line that is printed has the counts of all that it holds. It runs on Linux.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
import processes
from sites import site
from written import COMMANDS, Command, files_of, make, meaning, same

HANG = 600.0
_LATER = "import time; _now = time.time; time.time = lambda: _now() + 3e7\n"
_BACK = """
import itertools, time
_now, _calls = time.time, itertools.count()
time.time = lambda: _now() - (3600 if next(_calls) > 3 else 0)
"""
_AS_A_USER = """
import ctypes
libc = ctypes.CDLL(None)  # root without capabilities may do what the modes of its files say
assert libc.capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()) == 0
"""
_SMALL = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))\n"
_NO_LOCKS = """
import errno, filelock
def refuse(*_, **__):
    raise OSError(errno.ENOLCK, "No locks available")
filelock.lock_descriptor = refuse
"""
_BEGIN = "open('../begun', 'w').close()\n"
_ABOUT_WRITING = re.compile(
    r"cannot (write|be written|be locked)|may be written|disk is full|by another process|running already|largest file"
)
_UNDER_WAY = ("running", "failed")  # what the fit of a study says of itself; a running one that is dead has failed
_MAIN = "from glocal.cli import main; main()"


@dataclass
class Bench:
    """One command in folders of its own, what it leaves undisturbed, and the count of what came out."""

    name: str
    command: Command
    made: Path
    root: Path
    rng: random.Random
    kills: int
    count: collections.Counter = field(default_factory=collections.Counter)
    code: int = 0

    def start(self, place: Path, prefix: str = "", *, earlier: bool = False) -> processes.Popen:
        environment = {
            **os.environ, "GLOCAL_CACHE": str(place / "cache"), "TMPDIR": str(place.parent), "OMP_NUM_THREADS": "1",
            "GLOCAL_MIRROR": (self.made / "address.txt").read_text(), "NO_PROXY": "127.0.0.1",
            "PYTHONPATH": os.pathsep.join([str(self.made / "modules"), os.environ.get("PYTHONPATH", "")]),
        }  # fmt: skip
        code = prefix + self.command.code + _BEGIN + _MAIN
        return processes.Popen(
            [sys.executable, "-c", code, *self.command.given(self.made, earlier=earlier)],
            cwd=place, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip

    def run(self, place: Path, prefix: str = "", *, earlier: bool = False) -> tuple[int | None, str]:
        return ended(self.start(place, prefix, earlier=earlier))

    def midst(self, place: Path, prefix: str = "") -> tuple[processes.Popen, float]:
        """Start it and wait until a moment that is drawn from its undisturbed time."""
        process = self.start(place, prefix)
        begun(place, process)
        moment = self.rng.uniform(0, self.seconds)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moment)
        return process, moment

    @contextlib.contextmanager
    def place(self, earlier: bool = True) -> Iterator[Path]:
        """A folder with what the command changes and an earlier output."""
        with tempfile.TemporaryDirectory(dir=self.root) as folder:
            os.chmod(folder, 0o755)
            place = Path(folder, "place")
            self.prepare(place, earlier)
            yield place

    def prepare(self, place: Path, earlier: bool = True) -> None:
        if earlier:
            shutil.copytree(self.root / "before", place)
            return
        place.mkdir()
        for name in self.command.changed:
            source = self.made / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, place / name)

    def undisturbed(self) -> None:
        """Run it alone, twice: what it leaves is what all others are compared with."""
        self.prepare(self.root / "before", earlier=False)
        if self.command.before is not None:
            code, said = self.run(self.root / "before", earlier=True)
            assert code == 0, (self.name, said)
        self.before = meanings(self.root / "before")
        times, found = [], []
        for _ in range(3):
            with self.place() as place:
                process = self.start(place)
                began = begun(place, process)
                self.code, said = ended(process)
                times.append(time.monotonic() - began)
                assert self.code == 0, (self.name, self.code, said)
                found.append(meanings(place))
                sizes = [path.stat().st_size for path in files_of(place).values()]
                self.size, self.largest = sum(sizes), max(sizes)
        self.seconds, self.whole = min(times[1:]), found[0]
        for other in found[1:]:
            assert not (odd := differing(other, self.whole)), f"{self.name}: no two runs leave the same {odd}"

    def judge(self, fault: str, place: Path, code: int | None, said: str) -> None:
        """Count how one disturbed run ended, look at what it left, and give the command again."""
        amiss, killed = [], code == -signal.SIGKILL
        last = said.strip().splitlines()[-1] if said.strip() else ""
        if code is None:
            amiss.append("it hangs")
        elif not killed and code not in (self.code, 1, 130):
            amiss.append(f"exit code {code}")
        elif code == 130 and "same command" not in said:
            amiss.append("it does not say how to go on")
        elif code == 1 and not (last.startswith("error: ") and _ABOUT_WRITING.search(last)):
            amiss.append("no sentence about what cannot be written")
        if "Traceback" in said:
            amiss.append("a traceback")
        amiss += self.halves(place)
        again, told = self.run(place)
        if again != self.code:
            amiss.append(f"the same command ends in {again}: {told.strip()[-300:]}")
        else:
            amiss += [f"the same command leaves another {name}" for name in differing(meanings(place), self.whole)]
        outcome = "killed, ended by the same command" if killed else "finished" if code == 0 else "said what is left"
        self.count["amiss" if amiss else outcome] += 1
        if amiss:
            print(f"{self.name}, {fault}: {'; '.join(amiss[:4])}; code {code}; said {said.strip()[-300:]!r}",
                  file=sys.stderr, flush=True)  # fmt: skip

    def halves(self, place: Path) -> list[str]:
        """Files under a final name that are neither the earlier ones nor the new ones."""
        found, amiss = meanings(place), []
        for name, now in found.items():
            parts = Path(name).parts
            if any(part.startswith(".") or part in ("claims", "cache") for part in parts) or name.endswith(".lock"):
                continue
            old, new = self.before.get(name), self.whole.get(name)
            growing = name.endswith((".jsonl", ".sqlite")) and _within(old or [], now) and _within(now, new or [])
            passing = (
                new is None and old is None and "damaged" not in str(now)[:7] and name.split(os.sep)[0] in self.tops()
            )
            told = isinstance(now, dict) and isinstance(now.get("fit"), dict) and now["fit"].get("state") in _UNDER_WAY
            if not (growing or passing or told or same(now, old) or same(now, new)):
                amiss.append(f"{name} is neither the earlier one nor the new one")
        return amiss + [f"{name} is gone" for name in self.before.keys() & self.whole.keys() - found.keys()]

    def tops(self) -> set[str]:
        """Folders that are the output of a command that goes on: what it needs on its way may lie there."""
        return {name.split(os.sep)[0] for name in self.whole if os.sep in name}


def begun(place: Path, process: processes.Popen) -> float:
    """Wait until a process runs its command, which takes long on a busy machine, or has ended; the time."""
    while not place.with_name("begun").exists() and process.poll() is None:
        time.sleep(0.002)
    return time.monotonic()


def ended(process: processes.Popen) -> tuple[int | None, str]:
    """Exit code, None where it hangs, and what it said."""
    try:
        with process:
            _, said = process.communicate(timeout=HANG)
        return process.returncode, said
    except subprocess.TimeoutExpired:
        process.kill()
        return None, ""


def meanings(place: Path) -> dict[str, Any]:
    return {name: meaning(path) for name, path in files_of(place).items()}


def differing(found: dict[str, Any], whole: dict[str, Any]) -> list[str]:
    """Names of files that only one has, or that differ; rows of a log may come in any order."""
    return sorted(
        name for name in found.keys() | whole.keys()
        if not (name in found and name in whole and (same(found[name], whole[name]) or _rows(found[name], whole[name])))
    )  # fmt: skip


def _rows(a: Any, b: Any) -> bool:
    """Whether two lists hold the same rows; one that was appended twice is the same row."""
    return _within(a, b) and _within(b, a)


def _within(a: Any, b: Any) -> bool:
    """Whether these are two lists, and each row of the first is one of the second."""
    return isinstance(a, list) and isinstance(b, list) and all(any(same(x, y) for y in b) for x in a)


def signals(bench: Bench) -> None:
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        for _ in range(bench.kills if number == signal.SIGKILL else bench.kills // 3):
            with bench.place() as place:
                process, moment = bench.midst(place)
                process.send_signal(number)
                bench.judge(f"{number.name} after {moment:.3f} of {bench.seconds:.3f} s", place, *ended(process))


def full_disk(bench: Bench) -> None:
    """A file system of its own that is full but for a random part of what the command writes; only for root."""
    for _ in range(2 if os.geteuid() == 0 else 0):
        with tempfile.TemporaryDirectory(dir=bench.root) as folder:
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], check=True)
            try:
                place, filler = Path(folder, "place"), Path(folder, "filler")
                bench.prepare(place)
                free = bench.rng.randrange(0, bench.size, 4096)
                with contextlib.suppress(OSError), filler.open("wb", buffering=0) as stream:
                    while stream.write(bytes(1 << 16)):
                        pass
                os.truncate(filler, filler.stat().st_size - free)
                code, said = bench.run(place)
                filler.unlink()
                bench.judge(f"a disk with {free} bytes", place, code, said)
            finally:
                subprocess.run(["umount", "-l", folder], check=True)


def small_files(bench: Bench) -> None:
    for _ in range(2):
        with bench.place() as place:
            limit = bench.rng.randrange(1, bench.largest)
            bench.judge(f"files of {limit} bytes at most", place, *bench.run(place, _SMALL.format(limit)))


def read_only(bench: Bench) -> None:
    with bench.place() as place:
        for folder, _, files in os.walk(place):
            for name in files:
                os.chmod(Path(folder, name), 0o444)
            os.chmod(folder, 0o555)
        code, said = bench.run(place, _AS_A_USER if os.geteuid() == 0 else "")
        for folder, _, files in os.walk(place):
            os.chmod(folder, 0o755)
            for name in files:
                os.chmod(Path(folder, name), 0o644)
        bench.judge("a folder that may only be read", place, code, said)


def two_at_once(bench: Bench) -> None:
    with bench.place() as place:
        both = [bench.start(place) for _ in range(2)]
        for process in both:
            code, said = ended(process)
            if code not in (0, 1) or "Traceback" in said:
                bench.judge("two processes", place, code, said)
                return
        bench.judge("two processes", place, code, said)


def clock(bench: Bench) -> None:
    """A run a year ahead is killed; what it left is from the future when the next one's clock jumps back an hour."""
    with bench.place() as place:
        process, _ = bench.midst(place, _LATER)
        process.kill()
        ended(process)
        for path in [place, *place.rglob("*")]:
            os.utime(path, (time.time() + 3e7,) * 2)
        bench.judge("a clock that jumps back", place, *bench.run(place, _BACK))


def asleep(bench: Bench) -> None:
    with bench.place() as place:
        process, moment = bench.midst(place)
        process.send_signal(signal.SIGSTOP)
        time.sleep(1)
        process.send_signal(signal.SIGCONT)
        bench.judge(f"a second of sleep after {moment:.3f} of {bench.seconds:.3f} s", place, *ended(process))


def without_locks(bench: Bench) -> None:
    with bench.place() as place:
        bench.judge("a file system without locks", place, *bench.run(place, _NO_LOCKS))


FAULTS = {
    fault.__name__: fault
    for fault in (signals, full_disk, small_files, read_only, two_at_once, clock, asleep, without_locks)
}


def tried(name: str, made: Path, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The faults of one command, counted."""
    root = folder / re.sub(r"\W+", "-", name)
    root.mkdir()
    bench = Bench(name, COMMANDS[name], made, root, random.Random(f"{name} {options.seed}"), options.kills)
    bench.undisturbed()
    for fault in options.faults:
        FAULTS[fault](bench)
    shutil.rmtree(root)
    print(f"{name} ({bench.seconds:.2f} s): {dict(bench.count)}", file=sys.stderr, flush=True)
    told = {"kills": options.kills, "seed": options.seed, "faults": options.faults, "seconds": bench.seconds}
    return {"command": name, **told, "outcomes": dict(bench.count)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kills", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("--only", nargs="*", default=list(COMMANDS), metavar="NAME")
    parser.add_argument("--faults", nargs="*", default=list(FAULTS), choices=list(FAULTS))
    parser.add_argument("--out", type=Path, help="file of one line a command; what it holds is not tried again")
    options = parser.parse_args()
    del sys.modules["__main__"].__file__  # NOTE every fork would import it anew, with all that written.py needs
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    before = options.out.read_text().splitlines() if options.out and options.out.exists() else []
    rows = {row["command"]: row for row in map(json.loads, before)}
    with contextlib.ExitStack() as stack:
        shared = "/dev/shm" if Path("/dev/shm").is_dir() else None
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=shared)))
        os.chmod(folder, 0o755)
        made = folder / "made"
        os.environ["GLOCAL_CACHE"] = str(folder / "cache")
        with contextlib.redirect_stdout(sys.stderr):
            address = stack.enter_context(site(make(made)))[0]
        (made / "address.txt").write_text(address)
        for name in options.only:
            if name in rows:
                continue
            rows[name] = tried(name, made, folder, options)
            if options.out:
                with options.out.open("a") as file:
                    file.write(json.dumps(rows[name]) + "\n")
    total: collections.Counter = collections.Counter()
    for row in rows.values():
        total.update(row["outcomes"])
    outcomes = ("finished", "said what is left", "killed, ended by the same command", "amiss")
    what = f"faults of {len(rows)} commands that write, {options.kills} kills each"
    told = {"what": what, "tried": total.total(), "outcomes": {each: total[each] for each in outcomes}}
    print(json.dumps({"driver": "faults", **told}))


if __name__ == "__main__":
    main()
