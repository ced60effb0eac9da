"""Bad input to the command line: exit 1, one clear sentence, nothing written."""

import io
import os
import subprocess
import sys

import numpy as np
import processes
import pytest

from glocal.cli.app import execute
from glocal.errors import is_interrupt

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
    "nan": (_with(X, (3, 2), np.nan), "nan at row 3, column 2"),
    "infinity": (_with(X, (3, 2), np.inf), "inf at row 3, column 2"),
    "constant": (np.ones((30, 8), "f4"), "is constant"),
    "one dimension": (X[0], "must be (n, p)"),
    "three dimensions": (X[None], "must be (n, p)"),
    "complex": (X.astype(complex), "must be real"),
    "strings": (X.astype(str), "must be real"),
    "empty": (X[:0], "nothing in it"),
    "pickled": (np.array([1, None], dtype=object), "pickled"),
    "truncated": (_bytes(X, 300), "truncated"),
    "cut header": (_bytes(X, 40), "not a whole .npy file"),
    "not npy": (b"hello world", "not a whole .npy file"),
    "no bytes": (b"", "is empty"),
    "missing": (None, "does not exist"),
}
TRIPLETS = {
    "halves": (T + 0.5, "must be integers"),
    "float": (T.astype(float), "must be integers"),
    "negative": (_with(T, (0, 0), -1), "at least 0"),
    "out of range": (_with(T, (0, 0), 31), "valid 0..29"),
    "one-based": (T + 1, "--base 1"),
    "repeated": (_with(T, (5, 1), T[5, 0]), "must differ"),
    "none": (T[:0], "no triplet is left"),
    "two columns": (T[:, :2], "must be (t, 3)"),
    "pickled": (T.astype(object), "pickled"),
    "truncated": (_bytes(T, 300), "truncated"),
    "missing": (None, "does not exist"),
}
OPTIONS = {
    "negative lmbda": (["--lmbda", "-1"], "lmbda is -1"),
    "nan lmbda": (["--lmbda", "nan"], "lmbda is nan"),
    "alpha above 1": (["--alpha", "1.5", "--local-features", "x.npy"], "alpha is 1.5"),
    "alpha 1": (["--alpha", "1", "--local-features", "x.npy"], "nothing to fit"),
    "alpha no number": (["--alpha", "much"], "alpha"),
    "tau 0": (["--tau", "0", "--local-features", "x.npy"], "tau is 0"),
    "glocal alone": (["--method", "glocal"], "needs local features"),
    "unknown method": (["--method", "best"], "allowed are naive, global, glocal"),
    "other dimensions": (["--local-features", "seven.npy"], "7 columns"),
    "ids without names": (["--object-ids", "ids.txt"], "has no names"),
    "no folder": (["--out", "no/where.npz"], "mkdir -p"),
    "a folder": (["--out", "."], "is a folder"),
    "another format": (["--out", "o.txt"], "allowed are .npz, .safetensors. Name it o.npz"),
    "a link to nowhere": (["--out", "nowhere.npz"], "no/where does not exist"),
    "a link to itself": (["--out", "loop.npz"], "leads back to itself"),
    "start of another kind": (["--start", "x.npy"], "not an .npz"),
    "unknown device": (["--device", "nope"], "cannot be used here"),
    "half precision": (["--dtype", "float16"], "float32 and float64"),
    "one fold": (["--holdout", "1"], "folds is 1"),
    "too many folds": (["--holdout", "11"], "allow 2 to 10"),
    "odd column": (["--odd-column", "3"], "allowed are 0, 1 and 2"),
    "base": (["--base", "2"], "allowed are 0 and 1"),
    "short weights": (["--weights", "short.npy"], "one weight each"),
    "negative weights": (["--weights", "negative.npy"], "at least 0"),
    "small blocks": (["--block-size", "1", "--local-features", "x.npy"], "at least 3"),
    "no evaluations": (["--max-evaluations", "0"], "at least 1"),
    "no tolerance": (["--tol", "0"], "above 0"),
    "naive at lambda_max": (["--method", "naive", "--lmbda", "1e6"], "W = 0"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "t.npy", T)
    np.save(tmp_path / "seven.npy", X[:, :7])
    np.save(tmp_path / "short.npy", np.ones(5))
    np.save(tmp_path / "negative.npy", -np.ones(300))
    (tmp_path / "ids.txt").write_text("\n".join(f"object{i}" for i in range(30)))
    (tmp_path / "nowhere.npz").symlink_to("no/where/o.npz")
    (tmp_path / "loop.npz").symlink_to("loop.npz")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _write(path, content):
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)


def _refused(capsys, folder, arguments, expected):
    before = sorted(path.name for path in folder.iterdir())
    assert execute(arguments) == 1
    streams = capsys.readouterr()
    lines = streams.err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    assert expected in lines[0]
    assert lines[0].endswith(".")
    assert streams.out == ""
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize("case", FEATURES)
def test_bad_features(case, folder, capsys):
    """Features that cannot be used are refused in one sentence."""
    content, expected = FEATURES[case]
    _write(folder / "bad.npy", content)
    _refused(capsys, folder, ["fit", "--features", "bad.npy", "--triplets", "t.npy", "--out", "o.npz"], expected)


@pytest.mark.parametrize("case", TRIPLETS)
def test_bad_triplets(case, folder, capsys):
    """Triplets that cannot be used are refused in one sentence."""
    content, expected = TRIPLETS[case]
    _write(folder / "bad.npy", content)
    _refused(capsys, folder, ["fit", "--features", "x.npy", "--triplets", "bad.npy", "--out", "o.npz"], expected)


@pytest.mark.parametrize("case", OPTIONS)
def test_bad_options(case, folder, capsys):
    """Options outside their range are refused in one sentence."""
    options, expected = OPTIONS[case]
    arguments = ["fit", "--features", "x.npy", "--triplets", "t.npy", *options]
    _refused(capsys, folder, arguments if "--out" in options else [*arguments, "--out", "o.npz"], expected)


def test_two_objects(folder, capsys):
    """Fewer than three objects are refused."""
    np.save(folder / "two.npy", X[:2])
    _refused(capsys, folder, ["fit", "--features", "two.npy", "--triplets", "t.npy", "--out", "o.npz"], "has 2 rows")


def test_constant_columns_only_warn(folder):
    """Constant columns are a warning, not an error."""
    np.save(folder / "c.npy", _with(X, (slice(None), 1), 2))
    with pytest.warns(match="1 constant columns of 8"):
        assert execute(["fit", "--features", "c.npy", "--triplets", "t.npy", "--out", "o.npz"]) == 0


@pytest.mark.parametrize("name", ["o.csv", "o.npz", "o.h5", "o.pt", "o.mat", "o", "o.zarr"])
def test_an_output_of_apply_is_what_its_name_says(name, folder, capsys):
    """Aligned features are written as .npy, zarr or Parquet; every other name is refused before the input is read."""
    arguments = ["apply", "missing.npz", "x.npy", *(["--model", "timm:none"] if name == "o.zarr" else []), "--out"]
    _refused(capsys, folder, [*arguments, name], "Name it o.npy")


OUTPUTS = {
    "scores": (["evaluate", "odd-one-out", "--features", "x.npy", "--triplets", "t.npy", "--out"], "s.csv", ".jsonl"),
    "page": (["report", ".", "--out"], "page.pdf", ".html"),
    "Parquet": (["apply", "w.npz", "x.parquet", "--out"], "x.h5", ".parquet, .zarr and .npy"),
}


@pytest.mark.parametrize("case", OUTPUTS)
def test_an_output_of_another_kind_is_refused(case, folder, capsys):
    """No command writes one format under the name of another."""
    np.savez(folder / "w.npz", weights=np.eye(8, dtype="f4"), mean=0.0, std=1.0)
    arguments, name, allowed = OUTPUTS[case]
    _refused(capsys, folder, [*arguments, name], allowed)


def test_standard_output_on_a_full_disk(folder):
    """A table that cannot be written to standard output is one sentence."""
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*processes.COMMAND_LINE, "--version"], stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    sentence = "error: cannot write standard output: the disk is full. Free some space or choose another place.\n"
    assert done.stderr == sentence


@pytest.mark.parametrize("out", ["fit", "apply", "evaluate"])
def test_full_disk(out, folder, capsys):
    """A full disk is one sentence and leaves nothing half written."""
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    np.savez(folder / "w.npz", weights=np.eye(8, dtype="f4"), mean=0.0, std=1.0)
    arguments = {
        "fit": ["fit", "--features", "x.npy", "--triplets", "t.npy"],
        "apply": ["apply", "w.npz", "x.npy"],
        "evaluate": ["evaluate", "odd-one-out", "--features", "x.npy", "--triplets", "t.npy"],
    }[out]
    _refused(capsys, folder, [*arguments, "--out", "/dev/full"], "the disk is full")
    assert not os.path.isfile("/dev/full"), "a device must not be replaced by a file"


def test_disk_that_fills_up_while_writing(folder):
    """A limit reached in the middle of the output leaves the previous file whole and no partial one."""
    np.savez(folder / "w.npz", weights=np.eye(8, dtype="f4"), mean=0.0, std=1.0)
    np.save(folder / "many.npy", np.ones((4000, 8), dtype="f4"))
    (folder / "o.npy").write_bytes(b"previous")
    code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)); {processes.COMMAND_LINE[-1]}"
    command = [sys.executable, "-c", code, "apply", "w.npz", "many.npy", "--out", "o.npy"]
    done = processes.run(command, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("error: cannot write o.npy")
    assert (folder / "o.npy").read_bytes() == b"previous"
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("name", ["o.zarr", "o"])
def test_an_output_of_parts_that_cannot_be_begun(folder, name):
    """Where the folder of the parts cannot be made, a command ends with one sentence; it looked for causes for ever."""
    np.savez(folder / "w.npz", weights=np.eye(8, dtype="f4"), mean=0.0, std=1.0)
    np.save(folder / "x.npy", np.ones((20, 8), dtype="f4"))
    (folder / f".{name}.partial").write_bytes(b"in the way")
    source = "x.npy" if name == "o.zarr" else _parquet(folder / "shards")
    command = [*processes.COMMAND_LINE, "apply", "w.npz", source, "--out", name]
    done = processes.run(command, capture_output=True, text=True, cwd=folder, timeout=60)
    assert done.returncode == 1, done.stderr
    assert done.stderr == f"error: output folder {folder / f'.{name}.partial'} exists as a file. Choose another name.\n"


def _parquet(shards):
    """A folder of one shard."""
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    shards.mkdir()
    parquet.write_table(pa.table({"features": list(np.ones((20, 8), dtype="f4"))}), shards / "0.parquet")
    return shards.name


def test_an_error_that_is_its_own_cause_is_no_interrupt():
    """The causes of an error are looked at once each."""
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert not is_interrupt(first)
    first.__cause__ = KeyboardInterrupt()
    assert is_interrupt(second)


def test_no_permission(folder, capsys):
    """A folder that may not be written to is one sentence."""
    locked = folder / "locked"
    locked.mkdir()
    locked.chmod(0o500)
    if os.access(locked, os.W_OK):
        pytest.skip("this user may write everywhere")
    arguments = ["fit", "--features", "x.npy", "--triplets", "t.npy", "--out", "locked/o.npz"]
    _refused(capsys, folder, arguments, "cannot write")


def test_unwritable_place(folder, capsys):
    """A place where no file can be created is one sentence, whoever asks."""
    if not os.path.isdir("/proc/self"):
        pytest.skip("this system has no /proc")
    arguments = ["fit", "--features", "x.npy", "--triplets", "t.npy", "--out", "/proc/self/o.npz"]
    _refused(capsys, folder, arguments, "cannot write /proc/self/o.npz")
