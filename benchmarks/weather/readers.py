"""Damage files of every kind and give them to their reader: a result or one sentence, in bounded time and memory.

    python benchmarks/weather/readers.py CASES SEED [--only NAME …] [--seconds S]

Each reader of tests/test_hostile.py, every importer, and the readers below get CASES damaged copies of a small whole
file, or as many as `--seconds` of processor time allow. They run in processes of their own: one that dies is a crash,
one that makes no progress is a hang. Cases that end otherwise than in a result or one sentence are kept in
weather-readers/ and named on stderr. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import collections
import functools
import json
import mmap
import os
import random
import shutil
import signal
import sqlite3
import struct
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
import test_hostile as hostile
import test_importers as importers

from glocal.collect import database
from glocal.collect.database import open_database
from glocal.collect.export import collected
from glocal.collect.settings import Settings
from glocal.collect.study import create, open_study
from glocal.data.datasets.archives import _unpack
from glocal.data.datasets.registry import IMAGE_SETS
from glocal.data.datasets.sources import _one_sentence
from glocal.data.importers.formats import import_answers
from glocal.errors import GLocalError
from glocal.extract.images import open_images

HANG = 120.0  # seconds without a finished case
KEPT = Path("weather-readers")


def pictures(folder: Path, count: int = 3) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def shard(path: Path) -> Path:
    folder = pictures(path.with_name("in-the-shard"))
    with tarfile.open(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.add(file, file.name)
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "0.png"
        archive.addfile(link)
    return path


def read_images(path: Path) -> None:
    for item in open_images(str(path)).items:
        if item.reason is None:
            with_reason(item.read)


def with_reason(read) -> None:
    """What an image that cannot be read says is reported by its name, not raised further."""
    try:
        read()
    except (hostile.Unreadable, OSError) as reason:
        raise GLocalError(str(reason).splitlines()[0] or "unreadable") from reason


def archive(path: Path) -> Path:
    folder = pictures(path.with_name("images"))
    with tarfile.open(path, "w:gz") as made:
        made.add(folder, "dtd/images")
    return path


def unpack(path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        root = Path(folder, "root")
        root.mkdir()
        with _one_sentence(IMAGE_SETS["dtd"], root, download=True):
            _unpack(IMAGE_SETS["dtd"], path, root)
        outside = [found for found in Path(folder).rglob("*") if not found.resolve().is_relative_to(root.resolve())]
        assert [*outside] in ([], [root]), f"unpacked outside of its folder: {outside}"


def study(path: Path, name: str) -> Path:
    folder = path.with_name("study")
    shutil.rmtree(folder, ignore_errors=True)
    made = create(folder, str(pictures(path.with_name("shown"))), Settings())
    engine = open_database(made)
    with engine.begin() as connection:
        connection.execute(database.people.insert().values(id="ann", made=0.0, consented=1.0))
        for number in range(20):
            row = {"person": "ann", "number": number, "images": "[0, 1, 2]", "source": "random", "made": 2.0}
            asked = connection.execute(database.trials.insert().values(**row)).inserted_primary_key
            answer = {"trial": asked[0], "choice": number % 3, "seconds": 1.5, "time": 3.0}
            connection.execute(database.answers.insert().values(**answer))
    engine.dispose()
    with sqlite3.connect(folder / "answers.sqlite") as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()
    return folder / name


def read_study(path: Path) -> None:
    opened = open_study(path.parent)
    engine = open_database(opened)
    try:
        collected(opened, engine)
    finally:
        engine.dispose()


def from_system(format: str):
    make, name = importers.FILES[format]
    return lambda path: make(path.with_name(name)), functools.partial(import_answers, format=format)


MORE = {
    "shard.tar": (shard, read_images),
    "downloaded.tar.gz": (archive, unpack),
    **{
        f"study/{name}": (functools.partial(study, name=name), read_study)
        for name in ("study.json", "secret.json", "answers.sqlite")
    },
    **{f"import {format}": from_system(format) for format in importers.FILES},
}


def case(name: str, seed: int, number: int, data: bytes) -> bytes:
    """The damaged bytes of one case; the same for the same arguments."""
    rng = random.Random(f"{name} {seed} {number}")
    inside = data.startswith(b"PK") and number % 2
    data = (hostile.damaged_member if inside else hostile.damaged)(data, rng)
    return hostile.damaged(data, rng) if data and number % 5 == 0 else data


def work(name: str, whole: Path, seed: int, first: int, last: int, shared: mmap.mmap, out: int) -> None:
    """Try the cases from `first`; after each, the shared memory says how many are done and refused."""
    _, read = (hostile.READERS | MORE)[name]
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


def attack(name: str, cases: int, seed: int, seconds: float) -> collections.Counter:
    """All cases of one reader; a process that dies or stands still is counted, and the next goes on behind it."""
    make, read = (hostile.READERS | MORE)[name]
    count: collections.Counter = collections.Counter()
    shared = mmap.mmap(-1, 24)
    with tempfile.TemporaryDirectory("-readers", dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        whole = make(Path(folder, name.rpartition("/")[2]))
        read(whole)
        data, first, begun = whole.read_bytes(), 0, time.process_time() + sum(os.times()[2:4])
        while first < cases and time.process_time() + sum(os.times()[2:4]) - begun < seconds:
            whole.write_bytes(data)
            shared[:24] = bytes(24)
            last = min(first + 500, cases)
            child = os.fork()
            if not child:
                silent = os.open(os.devnull, os.O_WRONLY)
                out = os.dup(2)
                os.dup2(silent, 1)
                os.dup2(silent, 2)
                try:
                    work(name, whole, seed, first, last, shared, out)
                except (Exception, hostile.TooLong) as error:  # noqa: BLE001  said by the parent
                    os.write(out, f"{error!r}\n".encode())
                    os._exit(1)
                os._exit(0)
            status = watched(child, shared)
            done, refused, amiss = struct.unpack("3q", shared[:24])
            count.update(tried=done, refused=refused, amiss=amiss, read=done - refused - amiss)
            first += done
            if status:
                count.update(tried=1, **{status: 1})
                keep(name, seed, first, case(name, seed, first, data))
                print(f"{name}, case {first}: {status}", file=sys.stderr)
                first += 1
    return count


def watched(child: int, shared: mmap.mmap) -> str | None:
    """Wait for a process: None, or `crashed`, or `hung` where no case ended for `HANG` seconds."""
    before, since = -1, time.monotonic()
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            if status and not os.WIFSIGNALED(status):
                raise RuntimeError(f"the driver itself failed with exit code {os.waitstatus_to_exitcode(status)}")
            return "crashed" if status else None
        done = struct.unpack("q", shared[:8])[0]
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
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="processor time of one reader")
    options = parser.parse_args()
    names, total, fewest = options.only or [*hostile.READERS, *MORE], collections.Counter(), []
    for name in names:
        found = attack(name, options.cases, options.seed, options.seconds)
        fewest.append((found["tried"], name))
        total.update(found)
        print(f"{name}: {dict(found)}", file=sys.stderr, flush=True)
    outcomes = {
        "read": total["read"], "refused by one sentence": total["refused"], "another error": total["amiss"],
        "crashes": total["crashed"], "hangs": total["hung"],
    }  # fmt: skip
    what = f"damaged files, {len(names)} readers, at least {min(fewest)[0]:,} each"
    print(json.dumps({"driver": "readers", "what": what, "tried": total["tried"], "outcomes": outcomes}))


if __name__ == "__main__":
    main()
