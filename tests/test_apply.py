"""A transform is applied to features of any size, and a killed run continues with the
missing files.
"""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from world import folder, run

from glocal.data.features import Features
from glocal.errors import DataError, DataWarning, FileError, ParameterError
from glocal.transform import LinearTransform, apply_file, apply_parquet, reduced

P = 16
RNG = np.random.default_rng(0)
TRANSFORM = LinearTransform(
    RNG.normal(size=(P, P)).astype("f4"), RNG.normal(size=P).astype("f4"), 0.3, 1.7
)
UNIT_FIT = replace(TRANSFORM, meta={"rows": {"normalised": True, "mean_length": 1.0}})
X = RNG.normal(0.3, 1.7, size=(230, P)).astype("f4")
OTHER_SCALE = pytest.mark.filterwarnings("ignore::glocal.errors.DataWarning")  # than that of a fit


@pytest.fixture
def arrow():
    """pyarrow and its Parquet module."""
    return pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")


def write_shards(where, arrow, counts=(30, 0, 25), dtype="f4", scale=1):
    """Write shards of `counts` rows with names, the last in a subfolder, and return the rows."""
    pa, parquet = arrow
    matrices = {}
    for number, n in enumerate(counts):
        path = where / ("sub" if number == len(counts) - 1 else "") / f"part-{number:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        matrix = scale * np.random.default_rng(number).normal(0.3, 1.7, size=(n, P))
        matrix = matrix.astype(dtype)
        lists, others = (
            pa.array(list(rows), pa.list_(pa.from_numpy_dtype(dtype)))
            for rows in (matrix, matrix[:, ::-1])
        )
        ids = pa.array([f"image{i}" for i in range(n)])
        table = pa.table({"id": ids, "features": lists, "others": others})
        parquet.write_table(table.replace_schema_metadata({"origin": "test"}), path)
        matrices[path.relative_to(where)] = matrix
    return matrices


def read(path, arrow):
    table = arrow[1].ParquetFile(path).read()
    return table, np.array(table["features"].to_pylist(), dtype=np.float64).reshape(
        len(table), -1 if len(table) else P
    )


# .npy


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr("glocal.transform.apply._CHUNK_BYTES", P * 4 * 70)


@OTHER_SCALE
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", ">f4"])
@pytest.mark.parametrize("transform", [TRANSFORM, UNIT_FIT])
def test_a_file_holds_what_apply_gives(tmp_path, small_chunks, dtype, transform):
    """Chunks have the float dtype of the input, a previous output is replaced, and no partial file
    stays.
    """
    rows = (3 * X).astype(dtype)
    folder(tmp_path, x_npy=rows, z_npy=b"old")
    counts = []
    features = Features.load(tmp_path / "x.npy")
    assert apply_file(transform, features, tmp_path / "z.npy", progress=counts.append) == 230
    expected = transform(rows)
    written = np.load(tmp_path / "z.npy", allow_pickle=False)
    assert written.dtype == expected.dtype.newbyteorder("=")
    np.testing.assert_allclose(written, expected, rtol=1e-3 if dtype == "f2" else 1e-5, atol=1e-4)
    assert (len(counts) > 1, counts[-1]) == (True, 230)
    assert sorted(os.listdir(tmp_path)) == ["x.npy", "z.npy"]


@OTHER_SCALE
def test_what_is_wrong_leaves_the_previous_output(tmp_path, small_chunks):
    """Rows that are not finite, another width and a full disk leave the previous output."""
    out = folder(tmp_path, z_npy=b"old") / "z.npy"
    for place, value, noun in (
        ((117, 2), np.nan, "nan at row 117, column 2"),
        (105, 6e4, "inf at row 105"),
    ):
        rows = X.astype("f2")
        rows[place] = value
        with pytest.raises(DataError, match=noun):
            apply_file(TRANSFORM, Features(rows), out)
    with pytest.raises(DataError, match="dimensions"):
        apply_file(TRANSFORM, Features(X[:, :4]), out)
    with pytest.raises(FileError, match="No space"):
        apply_file(TRANSFORM, Features(X), "/dev/full")
    assert out.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["z.npy"]


# Parquet


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i2"])
def test_vectors_of_parquet_are_transformed_and_all_else_is_kept(tmp_path, arrow, dtype):
    """Every file has `apply` of its vectors, with its other columns and its metadata."""
    matrices = write_shards(tmp_path / "x", arrow, dtype=dtype)
    assert apply_parquet(TRANSFORM, tmp_path / "x", tmp_path / "z") == 55
    for name, matrix in matrices.items():
        before, _ = read(tmp_path / "x" / name, arrow)
        after, vectors = read(tmp_path / "z" / name, arrow)
        for column in ("id", "others"):
            assert after[column].equals(before[column])
        assert after.schema.metadata[b"origin"] == b"test"
        assert after.schema.field("features").type.value_type == arrow[0].from_numpy_dtype(
            dtype.replace("i2", "f4")
        )
        expected = TRANSFORM(matrix) if len(matrix) else vectors
        np.testing.assert_allclose(
            vectors, expected, rtol=1e-3, atol=1e-2 if dtype == "f2" else 1e-5
        )


SHARDS = ["part-000.parquet", "part-001.parquet", "sub/part-002.parquet"]


def _rewrite(path, arrow, kept):
    """Write a shard with other rows, which has the same size or the same mtime as before."""
    before = path.stat()
    table = arrow[1].read_table(path)
    if kept == "mtime":
        arrow[1].write_table(table.slice(1), path)
    times = before.st_mtime_ns + (kept == "size")
    os.utime(path, ns=(times, times))


@OTHER_SCALE
@pytest.mark.parametrize(
    ("change", "remade"),
    [
        (lambda: {}, []),
        (lambda: {"transform": TRANSFORM.at_strength(0.5)}, SHARDS),
        (lambda: {"transform": TRANSFORM.recentred(X)}, SHARDS),
        (lambda: {"transform": replace(TRANSFORM, mean=0.4)}, SHARDS),
        (lambda: {"transform": reduced(TRANSFORM, X, 3)}, SHARDS),
        (lambda: {"transform": UNIT_FIT}, SHARDS),
        (lambda: {"column": "others"}, SHARDS),
        ("size", SHARDS[:1]),
        ("mtime", SHARDS[:1]),
        ("output", SHARDS[2:]),
    ],
)
def test_what_is_made_anew_is_what_a_change_concerns(tmp_path, arrow, change, remade):
    """A finished file stays until the transform, an option, its input or itself changes."""
    write_shards(tmp_path / "x", arrow)
    outputs = [tmp_path / "z" / name for name in SHARDS]
    options = {"transform": TRANSFORM, "column": "features"}
    for again in (False, True):
        if again:
            for path in outputs:
                os.utime(path, ns=(0, 0))
            if change == "output":
                outputs[2].unlink()
            elif isinstance(change, str):
                _rewrite(tmp_path / "x" / SHARDS[0], arrow, change)
            else:
                options |= change()
        apply_parquet(source=tmp_path / "x", out=tmp_path / "z", **options)
    times = dict(zip(SHARDS, [path.stat().st_mtime_ns for path in outputs], strict=True))
    assert [name for name, time_ in times.items() if time_ > 0] == remade


def test_a_file_is_made_anew_from_another_and_a_foreign_one_is_refused(tmp_path, arrow):
    """Two inputs of one size and age are told apart, and only files that apply wrote are
    replaced.
    """
    write_shards(tmp_path, arrow, (20, 20, 0))
    inputs = [tmp_path / name for name in SHARDS[:2]]
    out = tmp_path / "z.parquet"
    assert inputs[0].stat().st_size == inputs[1].stat().st_size
    for path in inputs:
        os.utime(path, ns=(1, 1))
        apply_parquet(TRANSFORM, path, out)
        np.testing.assert_allclose(read(out, arrow)[1], TRANSFORM(read(path, arrow)[1]), atol=1e-4)
    out.write_bytes(inputs[0].read_bytes())
    with pytest.raises(FileError, match="not made by apply"):
        apply_parquet(TRANSFORM, inputs[0], out)


def write_table(path, arrow, **columns):
    """Write one table of vectors, and of other columns that may share a name but for a digit."""
    pa, parquet = arrow
    names = [name.rstrip("0123456789") for name in columns]
    arrays = [
        pa.array(list(values), pa.list_(pa.float32()) if np.ndim(values[0]) else None)
        for values in columns.values()
    ]
    parquet.write_table(pa.Table.from_arrays(arrays, names=names), path)


def test_one_file_becomes_one_file(tmp_path, arrow):
    """A .parquet file becomes one file, with columns of equal names but those of vectors; an output
    inside the input and an empty folder are refused.
    """
    one = tmp_path / "x.parquet"
    write_table(one, arrow, id=range(9), id2=range(9), features=X[:9])
    assert apply_parquet(TRANSFORM, one, tmp_path / "z.parquet") == 9
    write_table(one, arrow, features2=range(9), features=X[:9])
    with pytest.raises(FileError, match="2 times"):
        apply_parquet(TRANSFORM, one, tmp_path / "z.parquet")
    with pytest.raises(ParameterError, match="input"):
        apply_parquet(TRANSFORM, tmp_path, tmp_path / "z")
    (tmp_path / "none").mkdir()
    with pytest.raises(FileError, match="parquet"):
        apply_parquet(TRANSFORM, tmp_path / "none", tmp_path / "z")


def test_a_bad_file_is_named(tmp_path, arrow):
    """A damaged file, rows of another width and rows that are not finite are refused by name and
    leave no file.
    """
    write_shards(tmp_path / "x", arrow, (5, 5))
    bad = tmp_path / "x/part-000.parquet"
    for rows, noun in (
        (np.append(np.tile(X, (10, 1)), np.full((1, P), np.nan), axis=0), "nan at row 2300"),
        (X[:1, :5], "dimensions"),
        (None, "damaged"),
    ):
        bad.write_bytes(b"PAR1")
        if rows is not None:
            write_table(bad, arrow, features=rows)
        with pytest.raises((DataError, FileError), match=noun):
            apply_parquet(TRANSFORM, tmp_path / "x", tmp_path / "z")
        assert not list((tmp_path / "z").rglob("*.parquet"))


@pytest.mark.nightly
def test_a_killed_run_is_taken_up_again(tmp_path, arrow):
    """After a kill, the same command makes only the missing files, with the same content."""
    write_shards(tmp_path / "x", arrow, (20_000,) * 12)
    TRANSFORM.save(tmp_path / "t.npz")
    words = f"{sys.executable} -m glocal apply t.npz x --out z"
    process = subprocess.Popen(words.split(), cwd=tmp_path)
    finished = lambda: sorted((tmp_path / "z").rglob("*.parquet"))
    while not finished() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    times = {path: path.stat().st_mtime_ns for path in finished()}
    assert times
    subprocess.run(words.split(), cwd=tmp_path, check=True)
    assert all(path.stat().st_mtime_ns == time_ for path, time_ in times.items())
    for path in finished():
        before = read(tmp_path / "x" / path.relative_to(tmp_path / "z"), arrow)[1]
        np.testing.assert_allclose(read(path, arrow)[1], TRANSFORM(before), rtol=1e-4, atol=1e-4)


@pytest.mark.nightly
def test_memory_does_not_grow_with_the_input(tmp_path):
    """With eight times as many rows, a run needs hardly more anonymous memory."""
    TRANSFORM.save(tmp_path / "t.npz")
    code = (
        "import resource; from glocal import Features, LinearTransform\n"
        "from glocal.transform import apply_file\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (700 << 20,) * 2)\n"
        "apply_file(LinearTransform.load('t.npz'), Features.load('x.npy'), 'z.npy')\n"
        "lines = open('/proc/self/status').readlines()\n"
        "print([int(line.split()[1]) for line in lines if line.startswith('VmData')][0])"
    )
    peaks = []
    for n in (250_000, 2_000_000):
        np.lib.format.open_memmap(tmp_path / "x.npy", "w+", "f4", (n, P))[:] = 1
        ran = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, cwd=tmp_path
        )
        peaks.append(int(ran.stdout))
    assert peaks[1] < peaks[0] + 40_000  # kB


# the command


def test_the_command_writes_rows_and_the_transform_of_queries(tmp_path, arrow):
    """The rows that are written are those that the saved transform gives, for .npy and for Parquet.

    The rows of Parquet are ten times those of the fit, which causes a warning.
    """
    folder(tmp_path, x_npy=X, t_npz=TRANSFORM)
    write_shards(tmp_path / "x", arrow, scale=10)
    options = ["--strength", 0.7, "--dimensions", 3, "--save-transform", tmp_path / "r.npz"]
    line = [*options, "--json", "--out"]
    ended = run("apply", tmp_path / "t.npz", tmp_path / "x.npy", *line, tmp_path / "z.npy")
    assert ended.json.items() >= {"rows": 230, "dimensions": 3, "of": P}.items()
    saved = LinearTransform.load(tmp_path / "r.npz")(X)
    expected = reduced(TRANSFORM.at_strength(0.7), X, 3)(X)
    np.testing.assert_allclose(saved, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(np.load(tmp_path / "z.npy"), saved, rtol=1e-4, atol=1e-4)
    code, _, err = run("apply", tmp_path / "t.npz", tmp_path / "x", *line, tmp_path / "z")
    assert (code, err.count("warning")) == (0, 1)
    assert re.search("std (9|10)", err)
    before, after = (read(tmp_path / name / "part-000.parquet", arrow)[1] for name in "xz")
    with pytest.warns(DataWarning, match="std"):
        expected = LinearTransform.load(tmp_path / "r.npz")(before)
    np.testing.assert_allclose(after, expected, rtol=1e-3, atol=1e-3)
