"""Bad input on the command line ends with exit code 1 or 2 and one clear sentence, and nothing is
written.
"""

import os
import subprocess
import sys
from importlib.util import find_spec

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


FEATURES = {
    "nan": (_with(X, (3, 2), np.nan), "row 3, column 2"),
    "constant": (np.ones((30, 8), "f4"), "constant"),
    "one dimension": (X[0], "(n, p)"),
    "complex": (X.astype(complex), "real"),
    "strings": (X.astype(str), "real"),
    "two rows": (X[:2], "2 rows"),
    "pickled": (np.array([1, None], dtype=object), "pickled"),
}
ANSWERS = {
    "halves": (T + 0.5, "integers"),
    "half precision": ((T + 0.5).astype("f2"), "integers"),
    "nan": (_with(T.astype(float), (3, 1), np.nan), "row 3 is ["),
    "negative": (_with(T, (0, 0), -1), "at least 0"),
    "out of range": (_with(T, (0, 0), 31), "0..29"),
    "one-based": (T + 1, "--base 1"),
    "repeated": (_with(T, (5, 1), T[5, 0]), "differ"),
    "none": (T[:0], "no"),
}
FIT = "fit --features x.npy --answers t.npy --out o.npz "
COMMANDS = [
    (FIT + "--features cut.npy", "damaged"),
    (FIT + "--answers cut.npy", "damaged"),
    (FIT + "--features missing.npy", "does not exist"),
    (FIT + "--lmbda 0", "lmbda"),
    (FIT + "--lmbda nan", "lmbda"),
    (FIT + "--alpha 1 --local-features x.npy", "alpha"),
    (FIT + "--alpha much", "alpha"),
    (FIT + "--method global --alpha 0.5", "alpha"),
    (FIT + "--keep 0.9 --method naive", "keep"),
    (FIT + "--tau 0 --local-features x.npy", "tau"),
    (FIT + "--method glocal", "--local-features"),
    (FIT + "--method best", "glocal"),
    (FIT + "--method naive --lmbda 1e6", "W = 0"),
    (FIT + "--local-features seven.npy", "7"),
    (FIT + "--object-ids ids.txt", "names"),
    (FIT + "--holdout 1", "folds"),
    (FIT + "--out no/where.npz", "does not exist"),
    (FIT + "--out .", "folder"),
    (FIT + "--out o.txt", ".safetensors"),
    (FIT + "--out nowhere.npz", "does not exist"),
    (FIT + "--out /proc/self/o.npz", "cannot write"),
    ("apply missing.npz x.npy --out o.npy", "missing.npz"),
    ("apply w.npz x.npy --out /dev/full", "space"),
    ("evaluate odd-one-out --features x.npy --triplets t.npy --out s.csv", ".jsonl"),
    ("evaluate odd-one-out --features x.npy --triplets t.npy --out scores", ".json, .txt."),
    ("evaluate odd-one-out --features x.npy --triplets t.npy --out /dev/full", "space"),
    ("report . --out page.pdf", ".html"),
    ("try x.npy --labels ids.txt", "12 images"),
    ("try seven.npy --labels halves.txt --transform w.npz", "8 dimensions"),
    ("try x.npy --labels halves.txt --out s.csv", ".jsonl"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    arrays = {"x": X, "t": T, "seven": X[:, :7], "short": np.ones(5), "cut": X}
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    os.truncate(tmp_path / "cut.npy", 300)
    np.savez(tmp_path / "w.npz", weights=np.eye(8, dtype="f4"), mean=0.0, std=1.0)
    (tmp_path / "ids.txt").write_text("\n".join(f"object{i}" for i in range(30)))
    (tmp_path / "halves.txt").write_text("a\nb\n" * 15)
    (tmp_path / "nowhere.npz").symlink_to("no/where/o.npz")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("command", "noun"), COMMANDS)
def test_a_bad_command_is_refused_in_one_sentence(command, noun, folder, capsys):
    """Files that cannot be used, options out of range and outputs that cannot be written are
    refused in one sentence.
    """
    before = sorted(path.name for path in folder.iterdir())
    assert execute(command.split()) in (1, 2)
    streams = capsys.readouterr()
    (line,) = streams.err.splitlines()
    assert line.startswith("error: ")
    assert noun in line
    assert streams.out == ""
    assert sorted(path.name for path in folder.iterdir()) == before
    assert not os.path.isfile("/dev/full"), "a device must not be replaced by a file"


SCORE = "evaluate odd-one-out --features x.npy --answers t.npy "
LABELS = (
    "--train x.npy --train-labels labels.txt --test x.npy --test-labels labels.txt --out labels.txt"
)
OVERWRITING = [
    "fit --features x.npz --answers t.npy --out x.npz",
    "fit --features x.npy --answers a.npz --out a.npz",
    "fit --features x.npy --answers a.npz --out set/../a.npz",
    "fit --features x.npy --answers a.npz --out soft.npz",
    "fit --features x.npy --answers a.npz --out hard.npz",
    "fit --features x.npy --answers t.npy --local-features x.npz --out x.npz",
    "sweep --features set --answers t.npy --out set",
    "apply w.npz x.npy --out x.npy",
    "apply w.npz set --out set/features.npy",
    "apply w.npz x.npy --out y.npy --save-transform w.npz",
    SCORE + "--object-ids file_names.txt --out file_names.txt",
    SCORE + "--out file_names.txt",
    SCORE + "--transform w.npz --baseline b.txt --out b.txt",
    "evaluate rsa --features x.npy --rdm labels.txt --out labels.txt",
    f"evaluate few-shot {LABELS}",
    f"evaluate anomaly {LABELS}",
    "evaluate structure --features b.txt --out b.txt",
    "try x.npy --labels labels.txt --out labels.txt",
    "evaluate retrieval --queries x.npy --query-labels labels.txt --out labels.txt",
    "suite suite.toml --out set",
    "report run --out page.html --figures run",
    "report w.npz --features set --out page.html --tables set",
    "extract images --model timm:resnet18 --out images",
    "align --model timm:resnet18 --images images --answers t.npy --out images",
    "align --model timm:resnet18 --images b.txt --local-images images --answers t.npy --out images",
    "demo --out set",
    "demo --out .",
    "data split --features x.npy --answers set --out set",
    "data split --features x.npy --answers set/train.npz --out set",
    "data import a.npz --out a.npz",
    "data import b.txt --order a.npz --out a.npz",
    "transforms pull w.npz --out w.npz",
    "transforms push pushed/transform.npz pushed",
    "transforms push pushed pushed",
    *(
        pytest.param(
            f"collect {command}",
            marks=pytest.mark.skipif(
                find_spec("glocal_collect") is None, reason="no glocal-collect"
            ),
        )
        for command in (
            "run images --out images",
            "run images --out .",
            "run set --out .",
            "report set --out page.html --figures set",
        )
    ),
]


@pytest.fixture
def inputs(folder):
    """Everything that a command may read, with two more names for one file of answers."""
    np.savez(folder / "x.npz", features=X)
    np.savez(folder / "a.npz", answers=T, kind="odd-one-out")
    (folder / "soft.npz").symlink_to("a.npz")
    (folder / "hard.npz").hardlink_to(folder / "a.npz")
    for name in ("set", "run", "images", "pushed"):
        (folder / name).mkdir()
    (folder / "pushed" / "transform.npz").write_bytes((folder / "w.npz").read_bytes())
    np.save(folder / "set" / "features.npy", X)
    np.savez(folder / "set" / "train.npz", answers=T, kind="odd-one-out")
    for name in ("labels.txt", "b.txt", "file_names.txt"):
        (folder / name).write_text("\n".join(map(str, range(30))))
    (folder / "suite.toml").write_text(
        'answers = "t.npy"\n[networks.n]\nfeatures = "set"\n[arms.original]\n'
        '[tasks.a]\nkind = "odd-one-out"\n'
    )
    return folder


def contents(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


@pytest.mark.parametrize("command", OVERWRITING)
def test_no_command_writes_over_what_it_reads(command, inputs, capsys):
    """An output that is an input, by whatever name, is exit code 2 before any work, and all files
    stay.
    """
    before = contents(inputs)
    assert execute(command.split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "would replace" in line
    assert contents(inputs) == before


def test_an_output_beside_its_inputs_is_replaced(inputs):
    """An output in the folder of the features, and a file that is no input, are written anew."""
    out = inputs / "set" / "aligned.npy"
    out.write_bytes(b"previous")
    assert execute(["apply", "w.npz", "set", "--out", str(out)]) == 0
    np.testing.assert_allclose(np.load(out), X)


@pytest.mark.parametrize(
    ("option", "content", "noun"),
    [
        *(
            pytest.param("--features", *case, id=f"features, {name}")
            for name, case in FEATURES.items()
        ),
        *(
            pytest.param("--answers", *case, id=f"answers, {name}")
            for name, case in ANSWERS.items()
        ),
    ],
)
def test_bad_contents_are_refused_in_one_sentence(option, content, noun, folder, capsys):
    """Features and answers that no fit can use are refused in one sentence."""
    np.save(folder / "bad.npy", content)
    test_a_bad_command_is_refused_in_one_sentence(f"{FIT} {option} bad.npy", noun, folder, capsys)


def test_standard_output_on_a_full_disk(folder):
    """A table that cannot be written to standard output ends in one sentence."""
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [*processes.COMMAND_LINE, "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: cannot write standard output")
    assert len(ended.stderr.splitlines()) == 1


def test_a_disk_that_fills_up_while_writing(folder):
    """If the disk fills up in the middle of an output, the previous file stays whole and no partial
    file remains.
    """
    np.save(folder / "many.npy", np.ones((4000, 8), dtype="f4"))
    (folder / "o.npy").write_bytes(b"previous")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))"
    code = f"{limit}; {processes.COMMAND_LINE[-1]}"
    command = [sys.executable, "-c", code, "apply", "w.npz", "many.npy", "--out", "o.npy"]
    ended = processes.run(command, capture_output=True, text=True)
    assert ended.returncode == 1, ended.stderr
    assert "\nerror: cannot write o.npy" in "\n" + ended.stderr
    assert (folder / "o.npy").read_bytes() == b"previous"
    assert not list(folder.glob(".*"))
