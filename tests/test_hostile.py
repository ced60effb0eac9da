"""Damaged and hostile files: every reader ends in a result or in one sentence, in bounded time and memory."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import resource
import signal
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from glocal.cli import output
from glocal.cli.app import execute
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.labels import load_labels
from glocal.data.rdm import load_index, load_rdms
from glocal.errors import FileError, GLocalError, printable
from glocal.evaluation.view import load_view
from glocal.extract.images import Unreadable, decode_image
from glocal.files import read_lines
from glocal.results import read_rows
from glocal.suite.plan import Plan
from glocal.sweep.grid import settings
from glocal.transform import LinearTransform

COPIES = 15  # of each kind of file
TRIES = float(os.environ.get("GLOCAL_TRIES", "0.05"))  # nightly: the share of 20,000 .npy, .npz, 2,000 other files
CPU_SECONDS = 5.0  # a case; an undamaged file takes milliseconds
MEMORY = 3 << 29  # bytes of address space above what the tests have: what is small may inflate to 256 MB
WORDS = (
    b"\x1b[2J", b"\0", b"\xff\xfe", b"1e999", b"-1", b"nan", b"[" * 300, b'{"a":' * 300, b"true", b"null", b'"', b"\n",
    b"9" * 400, b"(2**64, 3)", b"(-1, 3)", b"|V0", b"<U0", b"|O", b"{}", b"'", b"=", b"..", b"\xed\xa0\x80",
)  # fmt: skip


class TooLong(BaseException):
    """Not an Exception: no reader catches it."""


@contextlib.contextmanager
def bounded():
    """End what takes more processor time than `CPU_SECONDS`, and let no more than `MEMORY` be taken."""

    def stop(*_):
        raise TooLong

    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before, old = resource.getrlimit(resource.RLIMIT_AS), signal.signal(signal.SIGPROF, stop)
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, before[1]))
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, old)
        resource.setrlimit(resource.RLIMIT_AS, before)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """One of several ways to damage bytes: cut, bits turned, numbers exaggerated, pieces moved or put in."""
    at, end = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
    head = rng.randrange(min(len(data), 256) + 1)
    kind = rng.randrange(7)
    if kind == 0:
        return data[:at]
    if kind == 1:
        turned = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 8, 64))):
            turned[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return bytes(turned)
    if kind == 2:
        number = rng.choice((b"\xff", b"\x7f", b"\0", b"\x80")) * rng.choice((1, 2, 4, 8))
        place = rng.choice((at, head, len(data) - min(len(data), head)))
        return data[:place] + number + data[place + len(number) :]
    if kind == 3:
        return data[:at] + data[end:]
    if kind == 4:
        return data[:at] + rng.choice(WORDS) + data[at:]
    if kind == 5:
        return data[:head] + rng.choice(WORDS) + data[head:]
    digits = [place for place, byte in enumerate(data[:4096]) if 48 <= byte < 58]
    if not digits:
        return data[end:] + data[:at]
    place = rng.choice(digits)
    return data[:place] + rng.choice((b"-9", b"99999999999", b"0", b"1e5", b"'")) + data[place + 1 :]


def damaged_member(data: bytes, rng: random.Random) -> bytes:
    """A zip archive of which one member is damaged, and the checksum is that of the damage."""
    made = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as old,
        zipfile.ZipFile(made, "w", rng.choice((0, zipfile.ZIP_DEFLATED))) as new,
    ):
        one = rng.choice(old.namelist())
        for name in old.namelist():
            new.writestr(name, damaged(old.read(name), rng) if name == one else old.read(name))
    return made.getvalue()


def use(features: Features) -> None:
    features.standardization  # noqa: B018  reads every row


def features_file(path: Path, **more) -> Path:
    """Features, and other arrays beside them, as each program would write them."""
    arrays, suffix = {"features": ROWS, **more}, path.suffix
    if suffix == ".npy":
        np.save(path, ROWS, allow_pickle=False)
    elif suffix == ".npz":
        np.savez_compressed(path, **arrays)
    elif suffix == ".pt":
        torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)
    elif suffix == ".h5":
        with pytest.importorskip("h5py").File(path, "w") as file:
            file.create_dataset("features", data=ROWS, chunks=(2, 4), compression="gzip")
    elif suffix == ".parquet":
        pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pa.table({"features": list(ROWS)}), path)
    else:
        savemat(path, arrays)
    return path


def matlab4(path: Path) -> Path:
    savemat(path, {"features": ROWS}, format="4")
    return path


def load_features(path: Path) -> None:
    use(Features.load(path))


def text_file(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def npy_file(path: Path, array) -> Path:
    np.save(path, array, allow_pickle=False)
    return path


def transform_file(path: Path) -> Path:
    rng = np.random.default_rng(0)
    LinearTransform(rng.normal(size=(4, 4)).astype("f4"), np.ones(4, "f4"), 0.5, 2.0, {"strength": 1.0}).save(path)
    return path


def view_file(path: Path) -> Path:
    text = json.dumps({"format": 1, "names": ["a", "b"], "categories": None, "meta": {}})
    index = {name: np.zeros((1, 3), "u2") for name in ("gained", "lost")}
    index |= {"neighbours": np.zeros((2, 1), "u2"), "order": np.zeros(2, "u2")}
    matrix = {"rdm": np.zeros((2, 2), "u1"), "rdm_range": np.zeros(2)}
    np.savez_compressed(path, text=np.array(text), map=np.zeros((2, 2), "f4"), **index, **matrix)
    return path


def picture(kind: str, mode: str = "RGB"):
    def make(path: Path) -> Path:
        pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(path, format=kind)
        return path

    return make


def decoded(path: Path) -> None:
    try:
        decode_image(path)
    except Unreadable as reason:  # what is reported by the name of the image
        raise FileError(str(reason)) from reason


def applied(path: Path) -> None:
    transform = LinearTransform.load(path)
    transform.at_strength(0.5)(np.zeros((2, transform.dimensions), np.float32))


ROWS = np.random.default_rng(0).normal(size=(6, 4)).astype("f4")
ANSWERS = np.array([[0, 1, 2], [1, 2, 3], [3, 4, 5]], "i4")


def answers_file(path):
    names = [f"thing {i}" for i in range(6)]
    Answers(ANSWERS, np.ones(3), kind="anchor", person=np.arange(3), seconds=np.ones(3), names=names).save(path)
    return path


RDM = np.abs(np.subtract.outer(np.arange(4.0), np.arange(4.0)))
GRID = 'method = ["glocal", "naive"]\nalpha = [0.1, 0.5]\nlmbda = [1.0]\ntau = [0.1]\n'
SUITE = (
    'answers = "t.npy"\n[networks.n]\nfeatures = "f.npy"\n[arms.original]\n[arms.g]\nmethod = "global"\n'
    'lmbda = 0.1\n[tasks.o]\nkind = "odd-one-out"\n[tasks.s]\nkind = "structure"\nfeatures = "f.npy"\nk = 5\n'
)
KINDS = ("npy", "npz", "pt", "h5", "mat", "parquet")
READERS = {
    **{f"features.{kind}": (features_file, load_features) for kind in KINDS},
    **{f"two.{kind}": (lambda path: features_file(path, x=ROWS), load_features) for kind in ("npz", "pt", "mat")},
    "matlab4.mat": (matlab4, load_features),
    "triplets.npy": (lambda path: npy_file(path, ANSWERS), Answers.load),
    "answers.npz": (answers_file, Answers.load),
    "answers.csv": (
        lambda path: text_file(path, "reference,closer,farther,person\n0,1,2,ann\n3,4,5,bob\n"),
        Answers.load,
    ),
    "triplets.txt": (lambda path: text_file(path, "0 1 2\n1,2,3\n3 4 5\n"), Answers.load),
    "labels.npy": (lambda path: npy_file(path, np.array(["cat", "dog"])), load_labels),
    "labels.txt": (lambda path: text_file(path, "1\n2\n3\n"), load_labels),
    "rdm.npy": (lambda path: npy_file(path, RDM), load_rdms),
    "rdm.txt": (lambda path: text_file(path, "0 1 2\n1 0 3\n2 3 0\n"), load_rdms),
    "index.npy": (lambda path: npy_file(path, np.arange(4)), load_index),
    "order.txt": (
        lambda path: text_file(path, "5 4 3 2 1 0\n"),
        lambda path: Answers.load(npy_file(path.with_name("t.npy"), ANSWERS), order=path),
    ),
    "object_ids.txt": (lambda path: text_file(path, "ant\nbee\ncat\n"), lambda path: read_lines(path, what="names")),
    "transform.npz": (transform_file, applied),
    "transform.safetensors": (transform_file, applied),
    "view.npz": (view_file, load_view),
    "rows.jsonl": (lambda path: text_file(path, '{"task": "a", "value": 0.5}\n{"task": "b"}\n'), read_rows),
    "grid.toml": (lambda path: text_file(path, GRID), lambda path: settings(path, local=True)),
    "suite.toml": (lambda path: text_file(path, SUITE), Plan.load),
    **{f"image.{kind}": (picture(kind), decoded) for kind in ("png", "jpeg", "gif", "tiff", "webp", "bmp", "ppm")},
}


@pytest.mark.parametrize("name", READERS)
def test_damaged_bytes_end_in_a_result_or_one_sentence(name, tmp_path, as_a_user):
    """Each damaged copy is read or refused by a GLocalError of one line, within its time and memory."""
    damage(name, tmp_path, COPIES, seed=name)


@pytest.mark.nightly
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", READERS)
def test_many_damaged_bytes_end_in_a_result_or_one_sentence(name, tmp_path, as_a_user):
    """So do many more of them: with GLOCAL_TRIES=1, 40,000 .npy and .npz and 2,000 of each other kind."""
    most = 20_000 if name in ("features.npy", "features.npz") else 2_000
    assert damage(name, tmp_path, max(COPIES, int(TRIES * most)), seed=name[::-1]), "some damage must be noticed"


def damage(name: str, folder: Path, copies: int, seed: str) -> int:
    """Read damaged copies of a file; how many were refused."""
    if name.endswith(".safetensors"):
        pytest.importorskip("safetensors")
    make, read = READERS[name]
    whole = make(folder / name)
    read(whole)
    data, rng = whole.read_bytes(), random.Random(seed)
    refused = 0
    for case in range(copies):
        inside = data.startswith(b"PK") and case % 2
        whole.write_bytes((damaged_member if inside else damaged)(data, rng))
        refused += ends_well(read, whole, f"{name}, case {case}")
    return refused


def ends_well(read, path: Path, case: str) -> bool:
    """Whether the file was refused, after checking that it was by one sentence."""
    try:
        with warnings.catch_warnings(), bounded():
            warnings.simplefilter("ignore")
            read(path)
    except GLocalError as refused:
        said = str(refused)
    except (Exception, TooLong) as error:
        raise AssertionError(f"{case}: {type(error).__name__}: {error}") from error
    else:
        return False
    assert printable(said) == said, case
    assert "weights_only" not in said, case
    return True


@pytest.mark.parametrize("extension", ["png", "jpg"])
def test_no_image_starts_a_program(extension, tmp_path, monkeypatch):
    """PostScript under the name of a photograph is not an image of a known format; no interpreter is started."""
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: pytest.fail("a program was started"))
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("a program was started"))
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / f"a.{extension}").write_bytes(script)
    with pytest.raises(Unreadable, match="known format"):
        decode_image(tmp_path / f"a.{extension}")


def test_a_sentence_is_safe_for_a_terminal(tmp_path):
    """Control characters, line ends and turned directions of a file's name or keys are shown as escapes."""
    path = tmp_path / "cat\x1b]0;owned\x07\u202e\n.npz"
    np.savez(path, **{"key\x1b[2J": np.zeros(3), "b\x9b2J": np.zeros(3)})
    for read in (Features.load, LinearTransform.load):
        with pytest.raises(FileError) as caught:
            read(path)
        said = str(caught.value)
        assert said.isprintable()
        assert "cat\\x1b]0;owned\\x07\\u202e\\n.npz" in said
        assert "key\\x1b[2J" in said
    assert printable("Ünïcödé 日本 👩\u200d🚀 ok") == "Ünïcödé 日本 👩\u200d🚀 ok"
    assert printable("\udcff") == "\\udcff"


def test_what_the_command_line_prints_is_safe_for_a_terminal(tmp_path, capsys):
    """Lines and tables on both streams show escapes of what files bring."""
    output.say("no \x1b[2J")
    output.put("line \x1b[2J\r")
    output.put_table(["arm\x1b[1m", "n"], [["a\nb\x07", "1"]])
    absent = str(tmp_path / "x\x1b[2J.npy")
    assert execute(["apply", absent, absent, "--out", str(tmp_path / "z.npy")]) == 1
    streams = capsys.readouterr()
    assert (streams.out + streams.err).replace("\n", "").isprintable()
    assert "a\\nb\\x07" in streams.out
    assert "x\\x1b[2J" in streams.err
