"""What most tests begin with: random answers, a folder of files, and a command line."""

import contextlib
import io
import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from glocal import Answers, LinearTransform

ROOT = Path(__file__).resolve().parents[1]
X = np.random.default_rng(0).normal(size=(30, 8)).astype("f4")
WIDTH = {"odd-one-out": 3, "anchor": 3, "nearest-of-n": 6}


def answers(n, objects, kind="odd-one-out", seed=0, **details):
    """n random answers about so many objects; `details` are other arguments of `Answers`."""
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(objects)[: WIDTH[kind]] for _ in range(n)]
    return Answers(np.array(rows, dtype=np.int32), kind=kind, **details)


def normal(*shape, seed=0):
    """Numbers of the standard normal distribution."""
    return np.random.default_rng(seed).normal(size=shape)


def matrix(text, dtype=float):
    """The numbers of a text, whose rows end with a semicolon."""
    return np.array([row.split() for row in text.split(";")], dtype=dtype)


def chosen(questions, Z, seed=0):
    """The questions as people answer them who choose by the softmax of dot products in Z."""
    objects = questions.objects
    S = np.stack([(Z[objects[:, i]] * Z[objects[:, j]]).sum(1) for i, j in questions.pairs])
    places = (S + np.random.default_rng(seed).gumbel(size=S.shape)).argmax(axis=0)
    by_choice = np.stack([questions.with_choice(place) for place in range(len(S))])
    return replace(questions, objects=by_choice[places, np.arange(len(places))])


def folder(path, **files):
    """Write files into a folder and return it, as ``folder(tmp_path, x_npy=X, notes_txt="a")``:
    text, bytes, an array, the lines of a text or table, or what saves itself; without files `x.npy`
    (30 rows of 8 columns), 300 answers about them as `a.npz` and bare as `t.npy`, and the transform
    `w.npz` that changes nothing.
    """
    if not files:
        random = answers(300, len(X))
        identity = LinearTransform(np.eye(8, dtype="f4"), None, 0.0, 1.0)
        files = {"x_npy": X, "a_npz": random, "t_npy": random.objects, "w_npz": identity}
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        file = path / ".".join(name.rsplit("_", 1))
        if isinstance(content, bytes):
            file.write_bytes(content)
        elif isinstance(content, str) or file.suffix in (".txt", ".csv"):
            lines = [content] if isinstance(content, str) else map(str, content)
            file.write_bytes("\n".join(lines).encode())
        elif hasattr(content, "save"):
            content.save(file)
        else:
            np.save(file, content)
    return path


def contents(folder):
    """The bytes of each file below a folder by its path, and False for folders and broken links."""
    paths = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.is_file() and path.read_bytes() for path in paths}


def table(names, text):
    """Run a test for each line of a text; its cells, between ``|``, are the arguments of these
    names, and cells that a line lacks are empty.
    """
    n = names.count(",")
    rows = []
    for line in text.strip().splitlines():
        cells = [cell.strip() for cell in line.split("|", n)] if n else [line]
        rows.append(cells + [""] * (n + 1 - len(cells)))
    return pytest.mark.parametrize(names.split(", "), rows)


def features_file(path, **arrays):
    """Write arrays as each program would; tensors that are called `features` alone are bare."""
    kind = path.suffix
    if kind == ".npy":
        np.save(path, *arrays.values())
    elif kind == ".npz":
        np.savez_compressed(path, **arrays)
    elif kind in (".pt", ".pth"):
        torch = pytest.importorskip("torch")
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        torch.save(tensors["features"] if [*tensors] == ["features"] else tensors, path)
    elif kind in (".h5", ".hdf5"):
        with pytest.importorskip("h5py").File(path, "w") as file:
            for name, array in arrays.items():
                place = f"group/{name}" if name == "clip" else name
                file.create_dataset(place, data=array, compression="gzip")
    elif kind == ".safetensors":
        pytest.importorskip("safetensors.numpy").save_file(arrays, path)
    elif kind == ".parquet":
        table = {name: list(array) for name, array in arrays.items()}
        pytest.importorskip("pandas").DataFrame(table).to_parquet(path)
    else:
        np.savetxt(path, *arrays.values(), delimiter="," if kind == ".csv" else "\t")
    return path


class Result(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        """The one JSON object that a command which succeeded printed alone on a line."""
        assert self.code == 0, self.err
        assert self.out.count("\n") == 1
        return json.loads(self.out)

    def error(self, code):
        """The message of a command that ended with this exit code."""
        assert self.code == code, self
        return self.err


def run(line, *words):
    """Run a command line in this process: the words of a line, and further words as they are."""
    from glocal.cli import main

    out, err = io.StringIO(), io.StringIO()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main([*line.split(), *map(str, words)])
    return Result(ended.value.code, out.getvalue(), err.getvalue())
