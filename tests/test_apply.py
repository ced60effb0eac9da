"""A transform is applied to features of any size, and a killed run continues with the
missing files.
"""

import os
from dataclasses import replace

import numpy as np
import pandas as pd
import processes
import pytest
from world import folder, normal, run, table

from glocal import Features, LinearTransform
from glocal.errors import DataError, DataWarning, FileError, ParameterError
from glocal.transform import apply_file, apply_parquet, reduced
from glocal.transform.apply import apply_csv

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

P = 16
SHARDS = "part-000.parquet part-001.parquet sub/part-002.parquet".split()
RNG = np.random.default_rng(0)
TRANSFORM = LinearTransform(
    RNG.normal(size=(P, P)).astype("f4"), RNG.normal(size=P).astype("f4"), 0.3, 1.7
)
UNIT_FIT = replace(TRANSFORM, meta={"rows": {"normalize": True, "mean_length": 1.0}})
X = RNG.normal(0.3, 1.7, size=(230, P)).astype("f4")
OTHER_SCALE = pytest.mark.filterwarnings("ignore::glocal.errors.DataWarning")  # than that of a fit


def write_shards(where, counts=(30, 0, 25), dtype="f4", scale=1):
    """Write shards of `counts` rows with names, and return the rows of each."""
    vectors = pa.list_(pa.from_numpy_dtype(dtype))
    shards = {}
    for seed, (name, n) in enumerate(zip(SHARDS, counts, strict=False)):
        rows = (scale * X[seed : seed + n]).astype(dtype)
        columns = [pa.array([*values], vectors) for values in (rows, rows[:, ::-1])]
        table = {"id": range(n), "features": columns[0], "others": columns[1]}
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.table(table, metadata={"origin": "test"}), where / name)
        shards[name] = rows
    return shards


def vectors_of(path):
    """The vectors of a file."""
    return np.array(parquet.ParquetFile(path).read()["features"].to_pylist(), "f8")


# .npy


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr("glocal.transform.apply._CHUNK_BYTES", P * 4 * 70)


@OTHER_SCALE
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", ">f4"])
def test_a_file_holds_what_apply_gives(tmp_path, small_chunks, dtype):
    """Chunks have the float dtype of the input, a previous output is replaced, and no partial file
    stays.
    """
    rows = (3 * X).astype(dtype)
    folder(tmp_path, x_npy=rows, z_npy=b"old")
    counts = []
    features = Features.load(tmp_path / "x.npy")
    assert apply_file(UNIT_FIT, features, tmp_path / "z.npy", progress=counts.append) == 230
    expected = UNIT_FIT(rows)
    written = np.load(tmp_path / "z.npy", allow_pickle=False)
    assert written.dtype == expected.dtype.newbyteorder("=")
    np.testing.assert_allclose(written, expected, 1e-3 if dtype == "f2" else 1e-5, 1e-4)
    assert len(counts) > 1
    assert counts[-1] == 230
    assert sorted(os.listdir(tmp_path)) == ["x.npy", "z.npy"]


@OTHER_SCALE
@pytest.mark.parametrize("value, noun", [(np.nan, "nan at row 117"), (6e4, "inf at row 117")])
def test_what_is_wrong_leaves_the_previous_output(tmp_path, small_chunks, value, noun):
    """Rows that are not finite leave the previous output."""
    out = folder(tmp_path, z_npy=b"old") / "z.npy"
    rows = X.astype("f2")
    rows[117] = value
    with pytest.raises(DataError, match=noun):
        apply_file(TRANSFORM, Features(rows), out)
    assert out.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["z.npy"]


# Parquet


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i2"])
def test_vectors_of_parquet_are_transformed_and_all_else_is_kept(here, dtype):
    """Every file has `apply` of its vectors, with its other columns and its metadata."""
    shards = write_shards(here / "x", dtype=dtype)
    assert apply_parquet(TRANSFORM, "x", "z") == 55
    for name, rows in shards.items():
        before, after = (parquet.ParquetFile(here / place / name).read() for place in "xz")
        assert after.drop(["features"]).equals(before.drop(["features"]))
        assert after.schema.metadata[b"origin"] == b"test"
        expected = TRANSFORM(rows)
        number = after.schema.field("features").type.value_type
        assert number == pa.from_numpy_dtype(expected.dtype)
        vectors = vectors_of(here / "z" / name).reshape(expected.shape)
        np.testing.assert_allclose(vectors, expected, 1e-3, 1e-2 if dtype == "f2" else 1e-5)


CHANGED = {
    "strength": TRANSFORM.at_strength(0.5),
    "mean": replace(TRANSFORM, mean=0.4),
    "length": UNIT_FIT,
}
MADE_ANEW = """
nothing  |
column   | 0 1 2
strength | 0 1 2
mean     | 0 1 2
length   | 0 1 2
age      | 0
size     | 0
output   | 2
"""


@OTHER_SCALE
@table("change, numbers", MADE_ANEW)
def test_what_is_made_anew_is_what_a_change_concerns(here, change, numbers):
    """A finished file stays until the transform, an option, its input or itself changes."""
    write_shards(here / "x")
    apply_parquet(TRANSFORM, "x", "z")
    outputs = [here / "z" / name for name in SHARDS]
    for path in outputs:
        os.utime(path, ns=(0, 0))
    first = here / "x" / SHARDS[0]
    age = first.stat().st_mtime_ns
    if change == "output":
        outputs[2].unlink()
    if change == "size":
        parquet.write_table(parquet.read_table(first).slice(1), first)
    os.utime(first, ns=(0, age + (change == "age")))
    column = "others" if change == "column" else None
    apply_parquet(CHANGED.get(change, TRANSFORM), "x", "z", column=column)
    remade = [str(n) for n, path in enumerate(outputs) if path.stat().st_mtime_ns > 0]
    assert remade == numbers.split()


def test_one_file_becomes_one_file_that_is_made_anew_from_another(tmp_path):
    """Two inputs of one size and age are told apart, and only files that apply wrote are replaced;
    an output inside the input and an empty folder are refused.
    """
    out = tmp_path / "z.parquet"
    for name, rows in write_shards(tmp_path / "x", (20, 20)).items():
        one = tmp_path / "x" / name
        os.utime(one, ns=(1, 1))
        assert apply_parquet(TRANSFORM, one, out) == 20
        np.testing.assert_allclose(vectors_of(out), TRANSFORM(rows), atol=1e-4)
    out.write_bytes(one.read_bytes())
    for source, error, noun in (
        (one, FileError, "not made by apply"),
        (tmp_path, ParameterError, "input"),
        (folder(tmp_path / "none", a_txt=""), FileError, "parquet"),
    ):
        with pytest.raises(error, match=noun):
            apply_parquet(TRANSFORM, source, out)


def test_a_bad_file_is_named(here):
    """A damaged file, rows of another width and rows that are not finite are refused by name and
    leave no file.
    """
    write_shards(here / "x", (5, 5))
    rows = np.tile(X, (11, 1))
    rows[2300] = np.nan
    for features, noun in ((rows, "nan at row 2300"), (X[:1, :5], "dimensions"), ([], "damaged")):
        bad = folder(here / "x", **{SHARDS[0]: b"PAR1"}) / SHARDS[0]
        if len(features):
            parquet.write_table(pa.table({"features": [*features]}), bad)
        with pytest.raises((DataError, FileError), match=noun):
            apply_parquet(TRANSFORM, "x", "z")
        assert not list((here / "z").rglob("*.parquet"))


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


def test_the_command_writes_rows_and_the_transform_of_queries(here):
    """The rows that are written are those that the saved transform gives, for .npy and for Parquet.

    The rows of Parquet are ten times those of the fit, which causes a warning.
    """
    folder(here, x_npy=X, t_npz=TRANSFORM)
    write_shards(here / "x", scale=10)
    line = "apply t.npz {} --strength 0.7 --dimensions 3 --save-transform r.npz --json --out {}"
    record = run(line.format("x.npy", "z.npy")).json
    assert record.items() >= {"rows": 230, "dimensions": 3, "of": P}.items()
    expected = reduced(TRANSFORM.at_strength(0.7), X, 3)(X)
    for rows in (LinearTransform.load("r.npz")(X), np.load("z.npy")):
        np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-4)
    code, _, err = run(line.format("x", "z"))
    assert code == 0
    assert err.count("warning") == 1
    before, after = (vectors_of(f"{place}/{SHARDS[0]}") for place in "xz")
    with pytest.warns(DataWarning, match="std (9|10)"):
        expected = LinearTransform.load("r.npz")(before)
    np.testing.assert_allclose(after, expected, rtol=1e-3, atol=1e-3)


def test_a_table_has_names_and_the_rows_of_the_array(tmp_path, monkeypatch):
    """A CSV file has the rows that the array has, in chunks too, after the names of the images; one
    that would be too large is refused before any work.
    """
    rows = normal(7, P).astype("f4")
    features = Features(rows, tuple(f"a, {i}" for i in range(7)))
    monkeypatch.setattr("glocal.transform.apply._CSV_ROWS", 3)
    assert apply_csv(TRANSFORM, features, tmp_path / "z.csv") == 7
    table = pd.read_csv(tmp_path / "z.csv", index_col="name")
    assert table.index.tolist() == [*features.names]
    np.testing.assert_allclose(table.to_numpy(), TRANSFORM(features), rtol=1e-6)
    monkeypatch.setattr("glocal.transform.apply._MAX_CSV_NUMBERS", 7 * P - 1)
    with pytest.raises(ParameterError, match="parquet"):
        apply_csv(TRANSFORM, features, tmp_path / "large.csv")
