"""Damaged and hostile files end in a result or in one sentence, in bounded time and memory."""

from __future__ import annotations

import io
import json
import os
import random
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from command_lines import SUITE, TooLong, limits
from PIL import Image
from world import features_file

from glocal.cli import output
from glocal.cli.app import execute
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.importing import import_answers
from glocal.data.labels import load_labels
from glocal.data.rdm import load_rdms
from glocal.errors import FileError, GLocalError, printable
from glocal.evaluation.view import load_view
from glocal.extract.images import Unreadable, decode_image
from glocal.files import read_lines
from glocal.results import read_rows
from glocal.suite.plan import Plan
from glocal.sweep.grid import settings
from glocal.transform import LinearTransform

COPIES = 15  # of each kind of file
# nightly: the fraction that is tried of 20,000 .npy and .npz files, and of 2,000 others
TRIES = float(os.environ.get("GLOCAL_TRIES", "0.05"))
CPU_SECONDS = 5.0  # seconds of a case; an undamaged file takes milliseconds
MEMORY = 3 << 29  # bytes on top of those of the tests: a small file may inflate to 256 MB
WORDS = (
    *(b"\x1b[2J", b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"\n", b'"', b"'", b"=", b".."),
    *(b"1e999", b"-1", b"nan", b"9" * 400, b"(2**64, 3)", b"(-1, 3)", b"|V0", b"<U0", b"|O"),
    *(b"[" * 300, b'{"a":' * 300, b"{}", b"true", b"null"),
)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Damage bytes in one of several ways: cut them, flip bits, change numbers, or insert bytes."""
    start, end = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
    head = rng.randrange(min(len(data), 256) + 1)
    word = rng.choice(WORDS)
    flipped = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    number = rng.choice((b"\xff", b"\x7f", b"\0", b"\x80")) * rng.choice((1, 2, 4, 8))
    place = rng.choice((start, head, len(data) - min(len(data), head)))
    digit = rng.choice([n for n, byte in enumerate(data[:4096]) if 48 <= byte < 58] or [end])
    larger = rng.choice((b"-9", b"99999999999", b"0", b"1e5", b"'"))
    ways = (
        data[:start],
        bytes(flipped),
        data[:start] + data[end:],
        data[:start] + word + data[start:],
        data[:head] + word + data[head:],
        data[:place] + number + data[place + len(number) :],
        data[:digit] + larger + data[digit + 1 :],
    )
    return rng.choice(ways)


def damaged_member(data: bytes, rng: random.Random) -> bytes:
    """A zip archive with one damaged member, whose checksum matches the damaged bytes."""
    archive = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as old,
        zipfile.ZipFile(archive, "w", rng.choice((0, zipfile.ZIP_DEFLATED))) as new,
    ):
        target = rng.choice(old.namelist())
        for name in old.namelist():
            member = old.read(name)
            new.writestr(name, damaged(member, rng) if name == target else member)
    return archive.getvalue()


def load_features(path: Path) -> None:
    Features.load(path).standardization  # noqa: B018  reads every row


def text(content: str):
    return lambda path: path.write_text(content)


def npy(array):
    return lambda path: np.save(path, array, allow_pickle=False)


def transform_file(path: Path) -> None:
    if path.suffix == ".safetensors":
        pytest.importorskip("safetensors")
    W = ROWS[:4] + np.eye(4, dtype="f4")
    LinearTransform(W, ROWS[5], 0.5, 2.0, {"strength": 1.0}).save(path)


def view_file(path: Path) -> None:
    text = np.array(json.dumps({"names": ["a", "b"], "meta": {}}))
    np.savez_compressed(path, text=text, neighbours=np.zeros((2, 1), "i4"))


def picture(path: Path) -> None:
    Image.effect_noise((20, 24), 90).save(path)


def decoded(path: Path) -> None:
    try:
        decode_image(path)
    except Unreadable as reason:  # the caller reports it with the name of the image
        raise FileError(str(reason)) from reason


def applied(path: Path) -> None:
    transform = LinearTransform.load(path)
    transform.at_strength(0.5)(np.zeros((2, transform.dimensions), np.float32))


def ordered(path: Path) -> None:
    npy(ANSWERS)(path.with_name("t.npy"))
    Answers.load(path.with_name("t.npy"), order=path)


def answers_file(path: Path) -> None:
    details = {"person": np.arange(3), "seconds": np.ones(3), "names": [*"abcdef"]}
    Answers(ANSWERS, np.ones(3), kind="anchor", **details).save(path)


TRIALS = '[{"stimuli": ["a", "b", "c"], "response": "c", "rt": 9}, {"task": "x"}]'
ROWS = np.random.default_rng(0).normal(size=(6, 4)).astype("f4")
ANSWERS = np.array([[0, 1, 2], [1, 2, 3], [3, 4, 5]], "i4")
RDM = np.abs(np.subtract.outer(np.arange(4.0), np.arange(4.0)))
GRID = 'method = ["glocal", "naive"]\nalpha = [0.1, 0.5]\nlmbda = [1.0]\ntau = [0.1]\n'
READERS = {
    **{
        f"features.{kind}": (lambda path: features_file(path, features=ROWS), load_features)
        for kind in ("npy", "npz", "pt", "h5", "parquet")
    },
    **{
        f"two.{kind}": (lambda path: features_file(path, features=ROWS, x=ROWS), load_features)
        for kind in ("npz", "pt")
    },
    "features.csv": (text("name,x,y\ncup,1,2\negg,3,4.5\n"), load_features),
    "triplets.npy": (npy(ANSWERS), Answers.load),
    "answers.npz": (answers_file, Answers.load),
    "answers.csv": (text("reference,closer,farther\n0,1,2\n3,4,5\n"), Answers.load),
    "people.csv": (text("a,b,odd,person,seconds\n0,1,2,ann,2\n3,4,5,bob,\n"), import_answers),
    "matrix.npy": (npy(RDM), lambda path: import_answers(path, values="similarity")),
    "trials.json": (text(TRIALS), import_answers),
    "triplets.txt": (text("0 1 2\n1,2,3\n3 4 5\n"), Answers.load),
    "labels.npy": (npy(np.array(["cat", "dog"])), load_labels),
    "labels.txt": (text("1\n2\n3\n"), load_labels),
    "rdm.npy": (npy(RDM), load_rdms),
    "rdm.txt": (text("0 1 2\n1 0 3\n2 3 0\n"), load_rdms),
    "order.txt": (text("5 4 3 2 1 0\n"), ordered),
    "object_ids.txt": (text("ant\nbee\ncat\n"), lambda path: read_lines(path, what="names")),
    "transform.npz": (transform_file, applied),
    "transform.safetensors": (transform_file, applied),
    "view.npz": (view_file, load_view),
    "rows.jsonl": (text('{"task": "a", "value": 0.5}\n{"task": "b"}\n'), read_rows),
    "grid.toml": (text(GRID), lambda path: settings(path, local=True)),
    "suite.toml": (text(SUITE), Plan.load),
    **{
        f"image.{kind}": (picture, decoded)
        for kind in ("png", "jpeg", "gif", "tiff", "webp", "bmp", "ppm")
    },
}
MANY = pytest.param(TRIES, marks=[pytest.mark.nightly, pytest.mark.timeout(7200)], id="many")


@pytest.mark.parametrize("share", [pytest.param(0.0, id="few"), MANY])
@pytest.mark.parametrize("name", READERS)
def test_damaged_bytes_end_in_a_result_or_one_sentence(name, share, tmp_path, as_a_user):
    """Each damaged copy is read, or refused by a GLocalError of one line, within limits of time and
    memory.
    """
    path = tmp_path / name
    make, read = READERS[name]
    make(path)
    read(path)
    data = path.read_bytes()
    rng = random.Random(name if share else name[::-1])
    max_copies = 20_000 if name in ("features.npy", "features.npz") else 2_000
    n_refused = 0
    for case in range(max(COPIES, int(share * max_copies))):
        damage = damaged_member if data.startswith(b"PK") and case % 2 else damaged
        path.write_bytes(damage(data, rng))
        n_refused += ends_well(read, path, f"{name}, case {case}")
    assert n_refused or not share, "some damage must be noticed"


def ends_well(read, path: Path, case: str) -> bool:
    """Whether the file was refused; asserts that a refusal is one sentence."""
    try:
        with warnings.catch_warnings(), limits(CPU_SECONDS, MEMORY):
            warnings.simplefilter("ignore")
            read(path)
    except GLocalError as refused:
        message = str(refused)
    except (Exception, TooLong) as error:
        raise AssertionError(f"{case}: {type(error).__name__}: {error}") from error
    else:
        return False
    assert printable(message) == message, case
    assert "weights_only" not in message, case
    return True


def test_no_image_starts_a_program(tmp_path, monkeypatch):
    """PostScript with the name of a photograph is refused as an image, and starts no
    interpreter.
    """
    fail = lambda *_, **__: pytest.fail("a program was started")
    monkeypatch.setattr("subprocess.Popen", fail)
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    for name in ("a.png", "a.jpg"):
        (tmp_path / name).write_bytes(script)
        with pytest.raises(Unreadable, match="known format"):
            decode_image(tmp_path / name)


def test_a_sentence_is_safe_for_a_terminal(tmp_path):
    """Control characters, line breaks and changes of direction in names and keys of files are shown
    as escapes.
    """
    path = tmp_path / "cat\x1b]0;owned\x07\u202e\n.npz"
    np.savez(path, **{"key\x1b[2J": np.zeros(3), "b\x9b2J": np.zeros(3)})
    for read in (Features.load, LinearTransform.load):
        with pytest.raises(FileError) as caught:
            read(path)
        message = str(caught.value)
        assert message.isprintable()
        assert "cat\\x1b]0;owned\\x07\\u202e\\n.npz" in message
        assert "key\\x1b[2J" in message
    assert printable("Ünïcödé 日本 👩\u200d🚀 ok") == "Ünïcödé 日本 👩\u200d🚀 ok"
    assert printable("\udcff") == "\\udcff"


def test_what_the_command_line_prints_is_safe_for_a_terminal(capsys):
    """Lines and tables on both streams show escapes for control characters that come from files."""
    output.print_message("no \x07")
    output.print_lines("line \r")
    output.print_table(["arm\x1b[1m", "n"], [["a\nb\x07", "1"]])
    assert execute(["apply", "x\x1b[2J.npy", "x.npy", "--out", "z.npy"]) == 1
    streams = capsys.readouterr()
    assert (streams.out + streams.err).replace("\n", "").isprintable()
    assert "a\\nb\\x07" in streams.out
    assert "x\\x1b[2J" in streams.err
