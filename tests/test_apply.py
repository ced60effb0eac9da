"""A transform is applied to features of any size, and a killed run continues with the
missing files.
"""

import os
import re
from dataclasses import replace

import numpy as np
import processes
import pytest
from world import folder, run

from glocal.data.features import Features
from glocal.errors import DataError, DataWarning, FileError, ParameterError
from glocal.transform import LinearTransform, apply_file, apply_parquet, reduced

P = 16
SHARDS = ["part-000.parquet", "part-001.parquet", "sub/part-002.parquet"]
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


def write_table(path, arrow, dtype="f4", **columns):
    """Write one table of vectors, and of other columns that may share a name but for a digit."""
    pa, parquet = arrow
    path.parent.mkdir(parents=True, exist_ok=True)
    names = [name.rstrip("0123456789") for name in columns]
    vectors = pa.list_(pa.from_numpy_dtype(dtype))
    arrays = [
        pa.array(list(values), vectors if np.ndim(values) > 1 else None)
        for values in columns.values()
    ]
    table = pa.Table.from_arrays(arrays, names=names)
    parquet.write_table(table.replace_schema_metadata({"origin": "test"}), path)


def write_shards(where, arrow, counts=(30, 0, 25), dtype="f4", scale=1):
    """Write shards of `counts` rows with names, and return the rows of each."""
    matrices = {}
    for number, (name, n) in enumerate(zip(SHARDS, counts, strict=False)):
        rows = scale * np.random.default_rng(number).normal(0.3, 1.7, size=(n, P))
        matrices[name] = rows.astype(dtype)
        columns = {"features": matrices[name], "others": matrices[name][:, ::-1]}
        names = [f"image{i}" for i in range(n)]
        write_table(where / name, arrow, dtype, id=names, **columns)
    return matrices


def read(path, arrow):
    """The table of a file, and its vectors."""
    table = arrow[1].ParquetFile(path).read()
    vectors = np.array(table["features"].to_pylist(), dtype="f8")
    return table, vectors.reshape(len(table), vectors.size // max(1, len(table)))


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
@pytest.mark.parametrize("value, noun", [(np.nan, "nan at row 117"), (6e4, "inf at row 117")])
def test_what_is_wrong_leaves_the_previous_output(tmp_path, small_chunks, value, noun):
    """Rows that are not finite and another width leave the previous output."""
    out = folder(tmp_path, z_npy=b"old") / "z.npy"
    rows = X.astype("f2")
    rows[117] = value
    for bad, words in ((rows, noun), (X[:, :4], "dimensions")):
        with pytest.raises(DataError, match=words):
            apply_file(TRANSFORM, Features(bad), out)
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
        assert after.drop(["features"]).equals(before.drop(["features"]))
        assert after.schema.metadata[b"origin"] == b"test"
        expected = TRANSFORM(matrix)
        assert after.schema.field("features").type.value_type == arrow[0].from_numpy_dtype(
            expected.dtype
        )
        atol = 1e-2 if dtype == "f2" else 1e-5
        np.testing.assert_allclose(vectors.ravel(), expected.ravel(), rtol=1e-3, atol=atol)


def _rewrite(path, arrow, kept):
    """Write a shard with other rows, which has the same size or the same mtime as before."""
    mtime = path.stat().st_mtime_ns
    if kept == "mtime":
        arrow[1].write_table(arrow[1].read_table(path).slice(1), path)
    os.utime(path, ns=(0, mtime + (kept == "size")))


@OTHER_SCALE
@pytest.mark.parametrize(
    "change, remade",
    [
        ({}, []), ({"column": "others"}, SHARDS),
        *(({"transform": transform}, SHARDS) for transform in (
            TRANSFORM.at_strength(0.5), TRANSFORM.recentred(X), replace(TRANSFORM, mean=0.4),
            reduced(TRANSFORM, X, 3), UNIT_FIT,
        )),
        ("size", SHARDS[:1]), ("mtime", SHARDS[:1]), ("output", SHARDS[2:]),
    ],
)  # fmt: skip
def test_what_is_made_anew_is_what_a_change_concerns(tmp_path, arrow, change, remade):
    """A finished file stays until the transform, an option, its input or itself changes."""
    write_shards(tmp_path / "x", arrow)
    outputs = {name: tmp_path / "z" / name for name in SHARDS}
    options = {"source": tmp_path / "x", "out": tmp_path / "z", "transform": TRANSFORM}
    apply_parquet(**options)
    for path in outputs.values():
        os.utime(path, ns=(0, 0))
    if change == "output":
        outputs[SHARDS[2]].unlink()
    elif isinstance(change, str):
        _rewrite(tmp_path / "x" / SHARDS[0], arrow, change)
    else:
        options |= change
    apply_parquet(**options)
    assert [name for name, path in outputs.items() if path.stat().st_mtime_ns > 0] == remade


def test_a_file_is_made_anew_from_another_and_a_foreign_one_is_refused(tmp_path, arrow):
    """Two inputs of one size and age are told apart, and only files that apply wrote are
    replaced.
    """
    rows = write_shards(tmp_path, arrow, (20, 20))
    inputs = [tmp_path / name for name in rows]
    out = tmp_path / "z.parquet"
    assert inputs[0].stat().st_size == inputs[1].stat().st_size
    for path, matrix in zip(inputs, rows.values(), strict=True):
        os.utime(path, ns=(1, 1))
        apply_parquet(TRANSFORM, path, out)
        np.testing.assert_allclose(read(out, arrow)[1], TRANSFORM(matrix), atol=1e-4)
    out.write_bytes(inputs[0].read_bytes())
    with pytest.raises(FileError, match="not made by apply"):
        apply_parquet(TRANSFORM, inputs[0], out)


def test_one_file_becomes_one_file(tmp_path, arrow):
    """A .parquet file becomes one file, with columns of equal names but those of vectors; an output
    inside the input and an empty folder are refused.
    """
    one = tmp_path / "x.parquet"
    (tmp_path / "none").mkdir()
    write_table(one, arrow, id=range(9), id2=range(9), features=X[:9])
    assert apply_parquet(TRANSFORM, one, tmp_path / "z.parquet") == 9
    write_table(one, arrow, features2=range(9), features=X[:9])
    for source, error, noun in (
        (one, FileError, "2 times"),
        (tmp_path, ParameterError, "input"),
        (tmp_path / "none", FileError, "parquet"),
    ):
        with pytest.raises(error, match=noun):
            apply_parquet(TRANSFORM, source, tmp_path / "z.parquet")


def test_a_bad_file_is_named(tmp_path, arrow):
    """A damaged file, rows of another width and rows that are not finite are refused by name and
    leave no file.
    """
    write_shards(tmp_path / "x", arrow, (5, 5))
    bad = tmp_path / "x" / SHARDS[0]
    rows = np.tile(X, (11, 1))
    rows[2300] = np.nan
    for features, noun in ((rows, "nan at row 2300"), (X[:1, :5], "dimensions"), (None, "damaged")):
        bad.write_bytes(b"PAR1")
        if features is not None:
            write_table(bad, arrow, features=features)
        with pytest.raises((DataError, FileError), match=noun):
            apply_parquet(TRANSFORM, tmp_path / "x", tmp_path / "z")
        assert not list((tmp_path / "z").rglob("*.parquet"))


@pytest.mark.nightly
def test_memory_does_not_grow_with_the_input(tmp_path):
    """With eight times as many rows, a run needs hardly more anonymous memory."""
    code = """
from glocal import Features, LinearTransform
from glocal.transform import apply_file
t, x, z = sys.argv[1:]
print(peak_of(lambda: apply_file(LinearTransform.load(t), Features.load(x), z))[0])
"""
    files = folder(tmp_path, t_npz=TRANSFORM)
    peaks = []
    for n in (250_000, 2_000_000):
        np.lib.format.open_memmap(files / "x.npy", "w+", "f4", (n, P))[:] = 1
        peaks += processes.numbers(code, *(files / name for name in ("t.npz", "x.npy", "z.npy")))
    assert peaks[1] < peaks[0] + 40  # MB


# the command


def test_the_command_writes_rows_and_the_transform_of_queries(tmp_path, arrow):
    """The rows that are written are those that the saved transform gives, for .npy and for Parquet.

    The rows of Parquet are ten times those of the fit, which causes a warning.
    """
    folder(tmp_path, x_npy=X, t_npz=TRANSFORM)
    write_shards(tmp_path / "x", arrow, scale=10)
    line = "apply {0}/t.npz {0}/{1} --strength 0.7 --dimensions 3 --save-transform {0}/r.npz --json"
    ended = run(line.format(tmp_path, "x.npy"), "--out", tmp_path / "z.npy")
    assert ended.json.items() >= {"rows": 230, "dimensions": 3, "of": P}.items()
    expected = reduced(TRANSFORM.at_strength(0.7), X, 3)(X)
    for rows in (LinearTransform.load(tmp_path / "r.npz")(X), np.load(tmp_path / "z.npy")):
        np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-4)
    code, _, err = run(line.format(tmp_path, "x"), "--out", tmp_path / "z")
    assert (code, err.count("warning")) == (0, 1)
    assert re.search("std (9|10)", err)
    before, after = (read(tmp_path / name / SHARDS[0], arrow)[1] for name in "xz")
    with pytest.warns(DataWarning, match="std"):
        expected = LinearTransform.load(tmp_path / "r.npz")(before)
    np.testing.assert_allclose(after, expected, rtol=1e-3, atol=1e-3)
