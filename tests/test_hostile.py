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
import systems
import world
from command_lines import SUITE
from PIL import Image
from systems import limits
from world import features_file, normal

from glocal import Answers, Features, GLocalError, LinearTransform, import_answers
from glocal.cli import output
from glocal.cli.app import execute
from glocal.data.labels import load_labels
from glocal.data.rdm import load_rdms
from glocal.errors import FileError, printable
from glocal.evaluation.view import load_view
from glocal.extract.images import Unreadable, decode_image
from glocal.files import read_lines
from glocal.jsonlines import read_rows
from glocal.suite.plan import Plan
from glocal.sweep.grid import read_grid

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
    start, end = sorted(rng.randint(0, len(data)) for _ in "ab")
    flipped = bytearray(data)
    for _ in range(rng.choice((1, 2, 64))):
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    place = rng.choice((start, min(start, rng.randrange(256))))  # most formats begin with a header
    number = rng.choice((b"\xff", b"\x7f", b"\0", b"\x80")) * rng.choice((1, 2, 4, 8))
    digit = rng.choice([n for n, byte in enumerate(data[:4096]) if 48 <= byte < 58] or [end])
    replaced = (  # from here, to here, by this
        (start, len(data), b""),
        (start, end, b""),
        (0, len(data), bytes(flipped)),
        (place, place, rng.choice(WORDS)),
        (place, place + len(number), number),
        (digit, digit + 1, rng.choice((b"-9", b"99999999999", b"0", b"1e5", b"'"))),
    )
    start, end, new = rng.choice(replaced)
    return data[:start] + new + data[end:]


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


def decoded(path: Path) -> None:
    try:
        decode_image(path)
    except Unreadable as reason:  # the caller reports it with the name of the image
        raise FileError(str(reason)) from reason


def applied(path: Path) -> None:
    transform = LinearTransform.load(path)
    transform.at_strength(0.5)(np.zeros((2, transform.dimensions), np.float32))


def view_file(path: Path) -> None:
    text = np.array(json.dumps({"names": ["a", "b"], "meta": {}}))
    np.savez_compressed(path, text=text, neighbours=np.zeros((2, 1), "i4"))


def safetensors_file(path: Path) -> None:
    pytest.importorskip("safetensors")
    TRANSFORM.save(path)


TRIALS = '[{"a": "x", "b": "y", "c": "z", "odd": "z", "seconds": 9}, {"task": "x"}]'
ROWS = normal(6, 4).astype("f4")
TRANSFORM = LinearTransform(ROWS[:4] + np.eye(4, dtype="f4"), ROWS[5], 0.5, 2.0)
LABELLED = Features(ROWS[:2], ("a", "b"))
ANSWERS = np.array([[0, 1, 2], [1, 2, 3], [3, 4, 5]], "i4")
PEOPLE = {"person": np.arange(3), "seconds": np.ones(3), "names": tuple("abcdef")}
RDM = np.abs(np.subtract.outer(np.arange(4.0), np.arange(4.0)))
GRID = 'method = ["glocal", "naive"]\nalpha = [0.1, 0.5]\nlmbda = [1.0]\ntau = [0.1]\n'
TWO = {"features": ROWS, "x": ROWS}
READERS = {
    **dict.fromkeys(
        ("features.npz", "features.pt", "features.h5"),
        (lambda path: features_file(path, **TWO), load_features),
    ),
    **dict.fromkeys(
        ("bare.pt", "features.parquet"),
        (lambda path: features_file(path, features=ROWS), load_features),
    ),
    "features.npy": (ROWS, load_features),
    "features.csv": ("name,x,y\ncup,1,2\negg,3,4.5\n", load_features),
    "triplets.npy": (ANSWERS, Answers.load),
    "answers.npz": (Answers(ANSWERS, np.ones(3), kind="anchor", **PEOPLE), Answers.load),
    "answers.csv": ("reference,closer,farther\n0,1,2\n3,4,5\n", Answers.load),
    "people.csv": ("a,b,odd,person,seconds\n0,1,2,ann,2\n3,4,5,bob,\n", import_answers),
    "trials.json": (TRIALS, import_answers),
    "triplets.txt": ("0 1 2\n1 2 3\n3 4 5\n", Answers.load),
    "labels.npy": (np.array(["cat", "dog"]), lambda path: load_labels(path, LABELLED)),
    "labels.txt": ("1\n2\n", lambda path: load_labels(path, LABELLED)),
    "labels.csv": ("file,kind\na,1\nb,2\n", lambda path: load_labels(f"{path}:kind", LABELLED)),
    "rdm.npy": (RDM, load_rdms),
    "rdm.txt": ("0 1 2\n1 0 3\n2 3 0\n", load_rdms),
    "order.txt": (
        "5 4 3 2 1 0\n",
        lambda path: import_answers(path.with_name("t.npy"), order=path),
    ),
    "object_ids.txt": ("ant\nbee\ncat\n", lambda path: read_lines(path, what="names")),
    "transform.npz": (TRANSFORM.save, applied),
    "transform.safetensors": (safetensors_file, applied),
    "view.npz": (view_file, load_view),
    "rows.jsonl": ('{"task": "a", "value": 0.5}\n{"task": "b"}\n', read_rows),
    "grid.toml": (GRID, lambda path: read_grid(path, local=True)),
    "suite.toml": (SUITE, Plan.load),
    **dict.fromkeys(
        "a.png a.jpeg a.gif a.tiff a.webp a.bmp a.ppm".split(),
        (Image.effect_noise((20, 24), 90), decoded),
    ),
}
ENDLESS = [name for name in READERS if not name.startswith("a.")]


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
@pytest.mark.parametrize("name", ENDLESS)
def test_endless_files_are_refused(name, tmp_path, as_a_user):
    """A link to a device without end is refused in a sentence, before it fills the memory."""
    if name.endswith(".pt"):
        pytest.importorskip("torch")
    _, read = READERS[name]
    world.folder(tmp_path, t_npy=ANSWERS)
    (tmp_path / name).symlink_to("/dev/zero")
    with (
        limits(CPU_SECONDS, MEMORY),
        pytest.raises(GLocalError, match="pipe or"),
    ):
        read(tmp_path / name)


MANY = pytest.param(TRIES, marks=[pytest.mark.nightly, pytest.mark.timeout(7200)])


@pytest.mark.parametrize("share", [0.0, MANY])
@pytest.mark.parametrize("name", READERS)
def test_damaged_bytes_end_in_a_result_or_one_sentence(name, share, tmp_path, as_a_user):
    """Each damaged copy is read, or refused by a GLocalError of one line, within limits of time and
    memory.
    """
    path = tmp_path / name
    content, read = READERS[name]
    world.folder(tmp_path, t_npy=ANSWERS)
    if callable(content):
        content(path)
    else:
        world.folder(tmp_path, **{name.replace(".", "_"): content})
    read(path)
    data = path.read_bytes()
    rng = random.Random(f"{name} {share}")
    max_copies = 20_000 if name in ("features.npy", "features.npz") else 2_000
    n_refused = 0
    for case in range(max(COPIES, int(share * max_copies))):
        damage = damaged_member if data.startswith(b"PK") and case % 2 else damaged
        path.write_bytes(damage(data, rng))
        try:
            with warnings.catch_warnings(action="ignore"), limits(CPU_SECONDS, MEMORY):
                read(path)
        except GLocalError as refused:
            n_refused += 1
            message = str(refused)
            assert printable(message) == message
            assert "weights_only" not in message
    assert n_refused or not share, "some damage must be noticed"


def test_no_image_starts_a_program(tmp_path, monkeypatch):
    """PostScript with the name of a photograph is refused as an image, and starts no
    interpreter.
    """
    fail = lambda *_, **__: pytest.fail("a program was started")
    monkeypatch.setattr("subprocess.Popen", fail)
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    for name in ("a.png", "a.jpg"):
        (tmp_path / name).write_bytes(script)
        with pytest.raises(Unreadable, match="cannot identify"):
            decode_image(tmp_path / name)


@systems.needs_unicode_names
def test_a_sentence_is_safe_for_a_terminal(tmp_path):
    """Control characters, line breaks and changes of direction in names and keys of files are shown
    as escapes.
    """
    path = tmp_path / "cat\x1b]0;owned\x07\u202e\n.npz"
    np.savez(path, **{"key\x1b[2J": np.zeros(3), "b\x9b2J": np.zeros(3)})
    with pytest.raises(FileError) as caught:
        Features.load(path)
    message = str(caught.value)
    assert message.isprintable()
    assert "cat\\x1b]0;owned\\x07\\u202e\\n.npz" in message
    assert "key\\x1b[2J" in message
    assert printable("Ünïcödé 日本 👩\u200d🚀 ok \udcff") == "Ünïcödé 日本 👩\u200d🚀 ok \\udcff"


def test_what_the_command_line_prints_is_safe_for_a_terminal(capsys):
    """Lines and tables on both streams show escapes for control characters that come from files."""
    output.print_message("no \x07")
    table = output.table_lines(["arm\x1b[1m", "n"], [["a\nb\x07", "1"]])
    output.print_result({}, "line \r", table=table)
    assert execute(["apply", "x.npz", "x\x1b[2J.npy", "--out", "z.npy"]) == 1
    printed = "".join(capsys.readouterr())
    assert printed.replace("\n", "").isprintable()
    assert "a\\nb\\x07" in printed
    assert "x\\x1b[2J" in printed
