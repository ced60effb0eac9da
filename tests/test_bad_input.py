"""Bad input to the command line: exit 1 or 2, one clear sentence, nothing written."""

import io
import os
import subprocess
import sys

import numpy as np
import processes
import pytest

from glocal.cli.app import execute

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 8)).astype("f4")
T = np.array([RNG.permutation(30)[:3] for _ in range(300)])


def _with(array, where, value):
    array = array.copy()
    array[where] = value
    return array


def _bytes(array, keep=None):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()[:keep]


FEATURES = {
    "nan": (_with(X, (3, 2), np.nan), "row 3, column 2"),
    "constant": (np.ones((30, 8), "f4"), "constant"),
    "one dimension": (X[0], "(n, p)"),
    "complex": (X.astype(complex), "real"),
    "strings": (X.astype(str), "real"),
    "no rows": (X[:0], "nothing"),
    "two rows": (X[:2], "2 rows"),
    "pickled": (np.array([1, None], dtype=object), "pickled"),
    "truncated": (_bytes(X, 300), "damaged"),
    "not npy": (b"hello world", "damaged"),
    "missing": (None, "does not exist"),
}
ANSWERS = {
    "halves": (T + 0.5, "integers"),
    "negative": (_with(T, (0, 0), -1), "at least 0"),
    "out of range": (_with(T, (0, 0), 31), "0..29"),
    "one-based": (T + 1, "--base 1"),
    "repeated": (_with(T, (5, 1), T[5, 0]), "differ"),
    "none": (T[:0], "no"),
    "two columns": (T[:, :2], "(t, 3)"),
    "truncated": (_bytes(T, 300), "damaged"),
}
OPTIONS = {
    "lmbda": ("--lmbda -1", "lmbda"),
    "nan": ("--lmbda nan", "lmbda"),
    "alpha": ("--alpha 1.5 --local-features x.npy", "alpha"),
    "alpha no number": ("--alpha much", "alpha"),
    "alpha of another method": ("--method global --alpha 0.5", "alpha"),
    "keep": ("--keep 1.5 --local-features x.npy", "keep"),
    "keep beside a method": ("--keep 0.9 --method naive", "keep"),
    "tau": ("--tau 0 --local-features x.npy", "tau"),
    "glocal alone": ("--method glocal", "local features"),
    "method": ("--method best", "glocal"),
    "other dimensions": ("--local-features seven.npy", "7"),
    "ids without names": ("--object-ids ids.txt", "names"),
    "no folder": ("--out no/where.npz", "does not exist"),
    "a folder": ("--out .", "folder"),
    "another format": ("--out o.txt", ".safetensors"),
    "a link to nowhere": ("--out nowhere.npz", "does not exist"),
    "no permission": ("--out /proc/self/o.npz", "cannot write"),
    "folds": ("--holdout 1", "folds"),
    "short weights": ("--weights short.npy", "weight"),
    "negative weights": ("--weights negative.npy", "at least 0"),
    "naive at lambda_max": ("--method naive --lmbda 1e6", "W = 0"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "t.npy", T)
    np.save(tmp_path / "seven.npy", X[:, :7])
    np.save(tmp_path / "short.npy", np.ones(5))
    np.save(tmp_path / "negative.npy", -np.ones(300))
    np.savez(tmp_path / "w.npz", weights=np.eye(8, dtype="f4"), mean=0.0, std=1.0)
    (tmp_path / "ids.txt").write_text("\n".join(f"object{i}" for i in range(30)))
    (tmp_path / "nowhere.npz").symlink_to("no/where/o.npz")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _refused(capsys, folder, arguments, noun):
    before = sorted(path.name for path in folder.iterdir())
    assert execute(arguments) in (1, 2)
    streams = capsys.readouterr()
    lines = streams.err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    assert noun in lines[0]
    assert streams.out == ""
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize(
    ("which", "content", "noun"),
    [
        *(pytest.param("features", *case, id=f"features, {name}") for name, case in FEATURES.items()),
        *(pytest.param("triplets", *case, id=f"answers, {name}") for name, case in ANSWERS.items()),
    ],
)
def test_bad_files_of_a_fit(which, content, noun, folder, capsys):
    """Features and answers that cannot be used are refused in one sentence."""
    if isinstance(content, bytes):
        (folder / "bad.npy").write_bytes(content)
    elif content is not None:
        np.save(folder / "bad.npy", content)
    given = {"features": "x.npy", "triplets": "t.npy", which: "bad.npy"}
    arguments = ["fit", "--features", given["features"], "--triplets", given["triplets"], "--out", "o.npz"]
    _refused(capsys, folder, arguments, noun)


@pytest.mark.parametrize("case", OPTIONS)
def test_bad_options_of_a_fit(case, folder, capsys):
    """Options outside their range, and outputs that cannot be written, are refused in one sentence."""
    options, noun = OPTIONS[case]
    arguments = ["fit", "--features", "x.npy", "--triplets", "t.npy", *options.split()]
    _refused(capsys, folder, arguments if "--out" in options else [*arguments, "--out", "o.npz"], noun)


@pytest.mark.parametrize(
    ("arguments", "noun"),
    [
        ("apply missing.npz x.npy --out o.npy", "missing.npz"),
        ("apply w.npz x.npy --out o.csv", ".npy"),
        ("apply w.npz x.npy --out /dev/full", "space"),
        ("evaluate odd-one-out --features x.npy --triplets t.npy --out s.csv", ".jsonl"),
        ("evaluate odd-one-out --features x.npy --triplets t.npy --out /dev/full", "space"),
        ("report . --out page.pdf", ".html"),
    ],
)
def test_bad_input_of_other_commands(arguments, noun, folder, capsys):
    """No command writes one format under the name of another, and a full disk is one sentence."""
    _refused(capsys, folder, arguments.split(), noun)
    assert not os.path.isfile("/dev/full"), "a device must not be replaced by a file"


def test_standard_output_on_a_full_disk(folder):
    """A table that cannot be written to standard output is one sentence."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*processes.COMMAND_LINE, "--version"], stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot write standard output")
    assert len(done.stderr.splitlines()) == 1


def test_a_disk_that_fills_up_while_writing(folder):
    """A limit reached in the middle of the output leaves the previous file whole and no partial one."""
    np.save(folder / "many.npy", np.ones((4000, 8), dtype="f4"))
    (folder / "o.npy").write_bytes(b"previous")
    code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)); {processes.COMMAND_LINE[-1]}"
    command = [sys.executable, "-c", code, "apply", "w.npz", "many.npy", "--out", "o.npy"]
    done = processes.run(command, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "\nerror: cannot write o.npy" in "\n" + done.stderr
    assert (folder / "o.npy").read_bytes() == b"previous"
    assert not list(folder.glob(".*"))
