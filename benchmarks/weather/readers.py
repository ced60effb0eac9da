"""Damage files of every kind and give them to their reader: a result or one sentence, in bounded time and memory.

    python benchmarks/weather/readers.py CASES SEED --out readers.jsonl [--only NAME …]

Each reader of tests/test_hostile.py and of opened.py gets CASES damaged copies of a small whole file. They run in
processes of their own: one that dies is a crash, one that makes no progress is a hang. Cases that end otherwise than in
a result or one sentence are kept in weather-readers/ and named on stderr. Counts go to the file, a JSON line for every
5,000 cases, and an interrupted run is taken up again. The last line that is printed has those of the whole file.
"""

from __future__ import annotations

import argparse
import collections
import json
import mmap
import os
import random
import signal
import struct
import sys
import tempfile
import time
from pathlib import Path

from opened import MORE, hostile

HANG = 120.0  # seconds without a finished case
OURS = 70  # exit code of a process of this driver that failed itself
PIECE, PROCESS = 5000, 500  # cases of a line in the file, and of a process
KEPT = Path("weather-readers")
READERS = hostile.READERS | MORE


def case(name: str, seed: int, number: int, data: bytes) -> bytes:
    """The damaged bytes of one case; the same for the same arguments."""
    rng = random.Random(f"{name} {seed} {number}")
    inside = data.startswith(b"PK") and number % 2
    data = (hostile.damaged_member if inside else hostile.damaged)(data, rng)
    return hostile.damaged(data, rng) if data and number % 5 == 0 else data


def work(name: str, whole: Path, seed: int, first: int, last: int, shared: mmap.mmap, out: int) -> None:
    """Try the cases from `first`; after each, the shared memory says how many are done and refused."""
    _, read = READERS[name]
    data = whole.read_bytes()
    for number in range(first, last):
        whole.write_bytes(case(name, seed, number, data))
        done, refused, amiss = struct.unpack("3q", shared[:24])
        try:
            refused += hostile.ends_well(read, whole, f"{name}, case {number}")
        except AssertionError as error:
            amiss += 1
            os.write(out, f"{error}\n".encode())
            keep(name, seed, number, whole.read_bytes())
        shared[:24] = struct.pack("3q", done + 1, refused, amiss)
    whole.write_bytes(data)


def keep(name: str, seed: int, number: int, data: bytes) -> None:
    KEPT.mkdir(exist_ok=True)
    (KEPT / f"{seed}-{number}-{name.replace('/', '-').replace(' ', '-')}").write_bytes(data)


def attack(name: str, first: int, cases: int, seed: int) -> collections.Counter:
    """The cases of one reader from `first`; one that dies or stands still is counted, and the next goes on."""
    make, read = READERS[name]
    count: collections.Counter = collections.Counter()
    shared = mmap.mmap(-1, 24)
    with tempfile.TemporaryDirectory("-readers", dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        whole = make(Path(folder, name.rpartition("/")[2]))
        read(whole)
        data = whole.read_bytes()
        while first < cases:
            whole.write_bytes(data)
            shared[:24] = bytes(24)
            last = min(first + PROCESS, cases)
            child = os.fork()
            if not child:
                silent = os.open(os.devnull, os.O_WRONLY)
                out = os.dup(2)
                os.dup2(silent, 1)
                os.dup2(silent, 2)
                code = 1
                try:
                    work(name, whole, seed, first, last, shared, out)
                    code = 0
                except (Exception, hostile.TooLong) as error:  # noqa: BLE001  said by the parent
                    os.write(out, f"{error!r}\n".encode())
                    code = OURS
                finally:
                    os._exit(code)  # also where a reader ends the process in a way that Python lets it
            status = watched(child, shared, last - first)
            done, refused, amiss = struct.unpack("3q", shared[:24])
            count.update(tried=done, refused=refused, amiss=amiss, read=done - refused - amiss)
            first += done
            if status:
                count.update(tried=1, **{status: 1})
                keep(name, seed, first, case(name, seed, first, data))
                print(f"{name}, case {first}: {status}", file=sys.stderr)
                first += 1
    return count


def watched(child: int, shared: mmap.mmap, cases: int) -> str | None:
    """Wait for a process: None, `crashed` if it ended before its last case, `hung` if none ended in `HANG` seconds."""
    before, since = -1, time.monotonic()
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        done = struct.unpack("q", shared[:8])[0]
        if ended:
            code = os.waitstatus_to_exitcode(status)
            if code == OURS or (done == cases and code):
                raise RuntimeError(f"the driver itself failed with exit code {code}")
            return None if done == cases else "crashed"
        if done != before:
            before, since = done, time.monotonic()
        elif time.monotonic() - since > HANG:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "hung"
        time.sleep(0.02)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=list(READERS))
    options = parser.parse_args()
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    counts: dict[str, collections.Counter] = {name: collections.Counter() for name in READERS}
    seeds: collections.Counter = collections.Counter()
    for row in map(json.loads, lines):
        counts[row["reader"]].update(row["count"])
        seeds[row["reader"], row["seed"]] += row["count"]["tried"]
    for name in options.only:
        while (first := seeds[name, options.seed]) < options.cases:
            count = attack(name, first, min(first + PIECE, options.cases), options.seed)
            with options.out.open("a") as file:
                file.write(json.dumps({"reader": name, "seed": options.seed, "count": count}) + "\n")
            counts[name].update(count)
            seeds[name, options.seed] += count["tried"]
        print(f"{name}: {dict(counts[name])}", file=sys.stderr, flush=True)
    total = sum(counts.values(), collections.Counter())
    outcomes = {
        "read": total["read"], "refused by one sentence": total["refused"], "another error": total["amiss"],
        "crashes": total["crashed"], "hangs": total["hung"],
    }  # fmt: skip
    fewest = min(counts[name]["tried"] for name in READERS)
    what = f"damaged files, {len(READERS)} readers, at least {fewest:,} each"
    print(json.dumps({"driver": "readers", "what": what, "tried": total["tried"], "outcomes": outcomes}))


if __name__ == "__main__":
    main()
