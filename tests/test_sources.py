"""Published files and the BREEDS tasks, by name: verified, and whole or not at all."""

import gc
import gzip
import re
import sys
from contextlib import nullcontext

import numpy as np
import pytest
from world import folder, run

from glocal import Features, GLocalError
from glocal.data.sources.breeds import breeds, breeds_side
from glocal.data.sources.fetch import fetch
from glocal.data.sources.registry import published
from glocal.errors import DataWarning, FileError

pytestmark = [
    pytest.mark.usefixtures("cache"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
CONTENT = bytes(range(256)) * 1024
FILES = {"made/up": CONTENT}


@pytest.fixture(autouse=True, scope="module")
def _connections():
    """Close the connections of refused requests, which pooch leaves to the garbage collector.

    Once for all tests, since a collection takes seconds after hundreds of tests.
    """
    yield
    gc.collect()


def left(cache):
    """All files below the cache."""
    return [path for path in cache.rglob("*") if path.is_file()]


# files


def test_a_file_is_fetched_once_verified_and_copied(publish, cache, tmp_path):
    """A second fetch sends no request, a damaged file in the cache is replaced, and
    `out` gets a copy.
    """
    seen = []
    with publish(FILES, up={"size": len(CONTENT)}) as server:
        path = fetch("made/up", progress=lambda *sizes: seen.append(sizes))
        assert fetch("made/up") == path == cache / "made/up"
        assert len(server.asked) == 1
        path.write_bytes(CONTENT[:-1] + b"x")
        fetch("made/up")
        assert len(server.asked) == 2
        assert path.read_bytes() == fetch("made/up", out=tmp_path / "out").read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert left(cache) == [path]


@pytest.mark.parametrize(
    "behaviour", [404, "corrupt", pytest.param("stall", marks=pytest.mark.nightly)]
)
def test_what_a_server_does_wrong_leaves_nothing(publish, cache, monkeypatch, behaviour):
    """An error, wrong content and a server that stalls are one sentence each, and leave no file."""
    module = sys.modules["glocal.data.sources.fetch"]
    monkeypatch.setattr(module, "TIMEOUT", 0.5)
    with publish(FILES) as server:
        server.behaviour = behaviour
        with pytest.raises(FileError, match=published()["made/up"].url) as caught:
            fetch("made/up")
        assert str(cache / "made/up") in str(caught.value)
        assert "\n" not in str(caught.value)
        assert left(cache) == []
        server.behaviour = None
        monkeypatch.setattr(module, "TIMEOUT", 30)
        assert fetch("made/up").read_bytes() == CONTENT


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("is_registered", [False, True])
def test_a_download_stops_at_its_size(publish, cache, monkeypatch, is_registered, is_packed):
    """A server that sends more than the registered size, or than the limit for a file without one,
    packed or not, is left at once; nothing stays in the cache.
    """
    limit = 1_000_000
    monkeypatch.setattr(sys.modules["glocal.data.sources.fetch"], "MAX_BYTES", limit)
    zeros = bytes(20 * limit)
    body = gzip.compress(zeros, 1) if is_packed else zeros
    head = "HTTP/1.0 200 OK\r\n" + "Content-Encoding: gzip\r\n" * is_packed
    written = []
    size = {"size": limit} if is_registered else {}
    with publish(FILES, up=size) as server:
        server.behaviour = f"{head}\r\n".encode() + body
        with pytest.raises(FileError, match=str(limit)):
            fetch("made/up", progress=lambda count, total: written.append(count))
    assert max(written) <= limit
    assert left(cache) == []


def test_nobody_is_asked_offline(publish, cache, monkeypatch):
    """Without a server, and with GLOCAL_OFFLINE, only the cache is used."""
    with publish(FILES) as server:
        monkeypatch.setenv("GLOCAL_OFFLINE", "1")
        with pytest.raises(FileError, match="OFFLINE"):
            fetch("made/up")
        assert server.asked == []
        monkeypatch.delenv("GLOCAL_OFFLINE")
    with pytest.raises(FileError, match=rf"^.*{published()['made/up'].url}.*\Z"):
        fetch("made/up")
    assert left(cache) == []
    file = folder(cache / "made", up=CONTENT) / "up"
    assert fetch("made/up") == file


PINNED = r"https://raw\.githubusercontent\.com/[\w.-]+/[\w.-]+/[0-9a-f]{40}/[\w./-]+"


def test_every_published_file_is_pinned_and_complete():
    """Each published file has a commit, a checksum, a licence and a citation; only a wrong file,
    which has a warning, and answers that are made ready have the content of another.
    """
    entries = published().values()
    assert len({entry.path for entry in entries}) == len(entries)
    for entry in entries:
        assert re.fullmatch(PINNED, entry.url)
        assert f"/{entry.commit}/" in entry.url
        assert re.fullmatch(r"sha256:[0-9a-f]{64}|git:[0-9a-f]{40}", entry.checksum)
        assert all([entry.what, entry.licence, entry.citation])
    names = ("dino-vit-base-p16", "dinov2-vit-base-p14")
    right, wrong = (published()[f"transforms/{name}/norm"] for name in names)
    assert right.checksum == wrong.checksum
    assert right.warning is None
    assert "wrong file" in wrong.warning
    raw, ready = (published()[f"things/{name}"] for name in ("triplets-train90", "answers"))
    assert raw.url == ready.url
    assert raw.checksum == ready.checksum
    assert raw.path == ready.downloaded
    assert len({entry.checksum for entry in entries}) == len(entries) - 2


AT_HAND = """\
things/triplets-test10 things/triplets_collection_order.txt
things/unique-id things/unique_id.txt
things/categories27 things/categories27.tsv
transforms/clip_ViT-L/14/visual
transforms/dino-vit-base-p16/norm
transforms/resnet18/avgpool
transforms/dinov2-vit-base-p14/norm"""


@pytest.mark.parametrize("line", AT_HAND.splitlines())
def test_the_checksums_are_those_of_the_files(data_dir, cache, monkeypatch, line):
    """The files at hand have the registered checksums when they are put into the cache."""
    monkeypatch.setenv("GLOCAL_OFFLINE", "1")
    name, file = line.split() if " " in line else (line, f"{line}/transform.npz")
    target = cache / published()[name].path
    target.parent.mkdir(parents=True)
    target.symlink_to(data_dir / file)
    is_wrong = "dinov2" in name
    with pytest.warns(DataWarning, match="wrong file") if is_wrong else nullcontext():
        assert fetch(name) == target


def test_the_command_fetches_or_lists(publish, cache):
    """With names, the command prints paths to standard output and terms to standard error; without,
    it lists the files.
    """
    listed = run("data fetch --json").json["files"]
    assert [entry["name"] for entry in listed] == list(published())
    with publish(FILES) as server:
        assert run("data fetch made/up nonsense").code == 2
        assert server.asked == []
        code, out, err = run("data fetch made/up")
    assert code == 0
    assert out == f"{cache / 'made/up'}\n"
    assert "made/up: none stated; Nobody (2000)" in err
    assert "made/up" in run("data fetch").out


# BREEDS


TASKS = {"entity13": (13, 20), "entity30": (30, 8), "living17": (17, 4), "nonliving26": (26, 4)}


def test_the_breeds_tasks_are_those_of_the_paper():
    """The numbers of superclasses and classes are those of table 1 of the paper, and no class both
    trains and tests.
    """
    assert breeds().keys() == TASKS.keys()
    for task, (superclasses, subclasses) in TASKS.items():
        sides = [part for parts in breeds()[task].values() for part in parts.values()]
        assert [len(part) for part in sides] == [subclasses / 2] * 2 * superclasses
        numbers = {number for part in sides for number in part}
        assert len(numbers & {*range(1000)}) == superclasses * subclasses


def test_breeds_selects_the_rows_of_each_side():
    """Rows of training classes train and rows of test classes test, by number or by WordNet id."""
    numbers = np.arange(1000).repeat(2)
    X = Features(numbers[:, None])
    ids = np.array([f"n{1500 + number}" for number in numbers])
    for part in ("training", "test"):
        names = {n: name for name, parts in breeds()["living17"].items() for n in parts[part]}
        for classes in (numbers, ids):
            features, labels = breeds_side("living17", X, classes, part)
            assert [names[number] for number in features.matrix[:, 0]] == labels.tolist()
            assert len(labels) == 2 * 17 * 2
    for classes, noun in ((ids[:1990], "WordNet"), (0 * numbers, "none of the")):
        with pytest.raises(GLocalError, match=noun):
            breeds_side("living17", X, classes, "test")
