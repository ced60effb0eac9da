"""A transform is applied to features of any size, and a killed run continues with the
missing files.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from world import run

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


def write_shards(folder, arrow, counts=(30, 0, 25), dtype="f4", scale=1):
    """Write shards of `counts` rows with names, the last in a subfolder, and return the rows."""
    pa, parquet = arrow
    matrices = {}
    for number, n in enumerate(counts):
        path = folder / ("sub" if number == len(counts) - 1 else "") / f"part-{number:03d}.parquet"
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
        matrices[path.relative_to(folder)] = matrix
    return matrices


def read(path, arrow):
    table = arrow[1].ParquetFile(path).read()
    return table, np.array(table["features"].to_pylist(), dtype=np.float64).reshape(
        len(table), -1 if len(table) else P
    )


# .npy


@OTHER_SCALE
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", ">f4"])
@pytest.mark.parametrize("transform", [TRANSFORM, UNIT_FIT])
def test_a_file_holds_what_apply_gives(tmp_path, monkeypatch, dtype, transform):
    """Chunks have the float dtype of the input, a previous output is replaced, and no partial file
    stays.
    """
    monkeypatch.setattr("glocal.transform.apply._CHUNK_BYTES", P * 4 * 70)
    np.save(tmp_path / "x.npy", (3 * X).astype(dtype))
    (tmp_path / "z.npy").write_bytes(b"old")
    counts = []
    features = Features.load(tmp_path / "x.npy")
    assert apply_file(transform, features, tmp_path / "z.npy", progress=counts.append) == 230
    expected = transform((3 * X).astype(dtype))
    written = np.load(tmp_path / "z.npy", allow_pickle=False)
    assert written.dtype == expected.dtype.newbyteorder("=")
    np.testing.assert_allclose(written, expected, rtol=1e-3 if dtype == "f2" else 1e-5, atol=1e-4)
    assert len(counts) > 1
    assert counts[-1] == 230
    assert sorted(os.listdir(tmp_path)) == ["x.npy", "z.npy"]


@OTHER_SCALE
def test_what_is_wrong_leaves_the_previous_output(tmp_path, monkeypatch):
    """Rows that are not finite, another width and a full disk leave the previous output."""
    monkeypatch.setattr("glocal.transform.apply._CHUNK_BYTES", P * 4 * 10)
    (tmp_path / "z.npy").write_bytes(b"old")
    bad = X.copy()
    half = X.astype("f2")
    bad[17, 2] = np.nan
    half[5] = 6e4
    for x, noun in (
        (bad, "nan at row 17, column 2"),
        (half, "inf at row 5"),
        (X[:, :4], "dimensions"),
    ):
        with pytest.raises(DataError, match=noun):
            apply_file(TRANSFORM, Features(x), tmp_path / "z.npy")
    with pytest.raises(FileError, match="No space"):
        apply_file(TRANSFORM, Features(X), "/dev/full")
    assert (tmp_path / "z.npy").read_bytes() == b"old"
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


def test_one_file_becomes_one_file(tmp_path, arrow):
    """A .parquet file becomes one file; an output inside the input and an empty folder
    are refused.
    """
    write_shards(tmp_path, arrow, (30, 0))
    assert apply_parquet(TRANSFORM, tmp_path / "part-000.parquet", tmp_path / "z.parquet") == 30
    with pytest.raises(ParameterError, match="input"):
        apply_parquet(TRANSFORM, tmp_path / "sub", tmp_path / "sub/z")
    (tmp_path / "none").mkdir()
    with pytest.raises(FileError, match="parquet"):
        apply_parquet(TRANSFORM, tmp_path / "none", tmp_path / "z")


def test_columns_of_one_name_are_refused(tmp_path, arrow):
    """Two columns with the name of the vectors are refused in one sentence; other columns with
    equal names stay.
    """
    pa, parquet = arrow
    numbers = pa.array(range(9))
    vectors = pa.array(list(X[:9]), pa.list_(pa.float32()))
    tables = {
        "2 times": (["features", "features"], [numbers, vectors]),
        None: (["id", "id", "features"], [numbers, numbers, vectors]),
    }
    for noun, (names, columns) in tables.items():
        parquet.write_table(pa.Table.from_arrays(columns, names=names), tmp_path / "x.parquet")
        if noun is None:
            assert apply_parquet(TRANSFORM, tmp_path / "x.parquet", tmp_path / "z.parquet") == 9
        else:
            with pytest.raises(FileError, match=noun):
                apply_parquet(TRANSFORM, tmp_path / "x.parquet", tmp_path / "z.parquet")


def test_a_bad_file_is_named(tmp_path, arrow):
    """A damaged file, rows of another width and rows that are not finite are refused by name and
    leave no file.
    """
    pa, parquet = arrow
    write_shards(tmp_path / "x", arrow, (5, 5))
    bad = tmp_path / "x/part-000.parquet"
    floats = pa.list_(pa.float32())
    for rows, noun in (
        ([*np.tile(X, (10, 1)), np.full(P, np.nan)], "nan at row 2300"),
        ([X[0, :5]], "dimensions"),
        (None, "damaged"),
    ):
        if rows is None:
            bad.write_bytes(b"PAR1")
        else:
            parquet.write_table(pa.table({"features": pa.array(rows, floats)}), bad)
        with pytest.raises((DataError, FileError), match=noun):
            apply_parquet(TRANSFORM, tmp_path / "x", tmp_path / "z")
        assert not list((tmp_path / "z").rglob("*.parquet"))


@pytest.mark.parametrize("link", [None, os.symlink, os.link])
def test_an_input_is_no_output(tmp_path, arrow, link):
    """A feature file, a shard and a transform are never replaced by an output, even
    through a link.
    """
    np.save(tmp_path / "x.npy", X)
    write_shards(tmp_path / "x", arrow, (30, 20))
    TRANSFORM.save(tmp_path / "t.npz")
    inputs = ["x.npy", "x/part-000.parquet", "t.npz"]
    before = [(tmp_path / name).read_bytes() for name in inputs]
    outputs = inputs
    if link is not None:
        outputs = ["other.npy", "other.parquet", "other.npz"]
        for source, target in zip(inputs, outputs, strict=True):
            link(tmp_path / source, tmp_path / target)
    npy, parquet, npz = (tmp_path / name for name in outputs)
    with pytest.raises(ParameterError, match="input"):
        apply_file(TRANSFORM, Features.load(tmp_path / "x.npy"), npy)
    with pytest.raises(ParameterError, match="input"):
        apply_parquet(TRANSFORM, tmp_path / "x/part-000.parquet", parquet)
    for source, *options in (
        ("x.npy", "--out", npy),
        ("x/part-000.parquet", "--out", parquet),
        ("x.npy", "--out", tmp_path / "z.npy", "--save-transform", npz, "--strength", 0.5),
    ):
        code, _, err = run("apply", tmp_path / "t.npz", tmp_path / source, *options)
        assert (code, len(err.splitlines())) == (2, 1), err
    assert [(tmp_path / name).read_bytes() for name in inputs] == before
    assert not (tmp_path / "z.npy").exists()


def test_exchanged_arguments_are_said(tmp_path):
    """Features in place of the transform are refused in one sentence about swapped arguments."""
    np.save(tmp_path / "x.npy", X)
    TRANSFORM.save(tmp_path / "t.npz")
    code, _, err = run("apply", tmp_path / "x.npy", tmp_path / "t.npz", "--out", tmp_path / "z.npy")
    assert (code, "exchanged" in err) == (1, True)


@pytest.mark.nightly
def test_a_killed_run_is_taken_up_again(tmp_path, arrow):
    """After a kill, the same command makes only the missing files, with the same content."""
    write_shards(tmp_path / "x", arrow, (20_000,) * 12)
    TRANSFORM.save(tmp_path / "t.npz")
    command = [
        sys.executable,
        "-m",
        "glocal",
        "apply",
        tmp_path / "t.npz",
        tmp_path / "x",
        "--out",
        tmp_path / "z",
    ]
    process = subprocess.Popen(command)
    while not list((tmp_path / "z").rglob("*.parquet")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "z").rglob("*.parquet")}
    assert 0 < len(times) < 12
    subprocess.run(command, check=True)
    assert all(path.stat().st_mtime_ns == time_ for path, time_ in times.items())
    vectors = np.concatenate(
        [read(path, arrow)[1] for path in sorted((tmp_path / "z").rglob("*.parquet"))]
    )
    expected = np.concatenate(
        [TRANSFORM(read(path, arrow)[1]) for path in sorted((tmp_path / "x").rglob("*.parquet"))]
    )
    np.testing.assert_allclose(vectors, expected, rtol=1e-4, atol=1e-4)


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
    np.save(tmp_path / "x.npy", X)
    write_shards(tmp_path / "x", arrow, scale=10)
    TRANSFORM.save(tmp_path / "t.npz")
    options = [
        "--strength",
        0.7,
        "--dimensions",
        3,
        "--save-transform",
        tmp_path / "r.npz",
        "--json",
    ]
    code, out, _ = run(
        "apply", tmp_path / "t.npz", tmp_path / "x.npy", "--out", tmp_path / "z.npy", *options
    )
    record = json.loads(out)
    saved = LinearTransform.load(tmp_path / "r.npz")
    assert (code, record["rows"], record["dimensions"], record["of"]) == (0, 230, 3, P)
    np.testing.assert_allclose(
        saved(X), reduced(TRANSFORM.at_strength(0.7), X, 3)(X), rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(np.load(tmp_path / "z.npy"), saved(X), rtol=1e-4, atol=1e-4)
    code, _, err = run(
        "apply", tmp_path / "t.npz", tmp_path / "x", "--out", tmp_path / "z", *options
    )
    assert (code, "std 9" in err or "std 10" in err) == (0, True)
    assert err.count("warning") == 1
    before, after = (read(tmp_path / folder / "part-000.parquet", arrow)[1] for folder in "xz")
    with pytest.warns(DataWarning, match="std"):
        expected = LinearTransform.load(tmp_path / "r.npz")(before)
    np.testing.assert_allclose(after, expected, rtol=1e-3, atol=1e-3)
