"""Zarr arrays and Parquet shards go through a transform part by part, here or on a cluster; a killed run goes on."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import processes
import pytest

import glocal.jobs.run
from glocal.cli.app import execute
from glocal.data.features import Features
from glocal.data.parquet import vector_column
from glocal.errors import ClusterError, DataError, FileError, ParameterError
from glocal.jobs.output import Output, building
from glocal.transform import LinearTransform, apply_shards, shards
from glocal.transform.regions import regions_of

pa = pytest.importorskip("pyarrow")
zarr = pytest.importorskip("zarr")
from pyarrow import parquet as pq  # noqa: E402  after the check that it is there

P = 16
RNG = np.random.default_rng(0)
TRANSFORM = LinearTransform(RNG.normal(size=(P, P)).astype("f4"), RNG.normal(size=P).astype("f4"), 0.3, 1.7)
X = RNG.normal(size=(230, P)).astype("f4")
LISTS = {
    "list": pa.list_(pa.float32()),
    "half": pa.list_(pa.float16()),
    "large": pa.large_list(pa.float64()),
    "fixed": pa.list_(pa.float32(), P),
    "integers": pa.list_(pa.int16()),
    "fixed integers": pa.list_(pa.int64(), P),
}


def lists_of(matrix, kind):
    values = pa.array(matrix.ravel(), type=kind.value_type)
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(values, type=kind)
    make, offset = (pa.LargeListArray, "i8") if pa.types.is_large_list(kind) else (pa.ListArray, "i4")
    return make.from_arrays(np.arange(len(matrix) + 1, dtype=offset) * matrix.shape[1], values, type=kind)


def table(matrix, kind=LISTS["list"], name="features"):
    """The vectors between other columns, with metadata on schema and field."""
    n = len(matrix)
    columns = {
        "id": pa.array([f"image{i}" for i in range(n)]),
        name: lists_of(matrix, kind),
        "label": pa.array([str(i % 3) for i in range(n)], pa.string()).dictionary_encode(),
        "tokens": pa.array([[i, 1] if i % 4 else None for i in range(n)], pa.list_(pa.int32())),
        "when": pa.array(np.arange(n), pa.timestamp("ns", "UTC")),
    }
    made = pa.table(columns)
    fields = [field.with_metadata({"of": field.name}) for field in made.schema]
    return made.cast(pa.schema(fields, metadata={"origin": "test"}))


def write_shards(folder, counts=(30, 0, 25), kind=LISTS["list"], **options):
    """Shards of `counts` rows, the last in a folder of its own; gives the matrix of each."""
    matrices = {}
    for number, n in enumerate(counts):
        path = folder / ("sub" if number == len(counts) - 1 else "") / f"part-{number:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        matrix = (np.random.default_rng(number).normal(size=(n, P)) * 10).astype(kind.value_type.to_pandas_dtype())
        pq.write_table(table(matrix, kind), path, **{"row_group_size": 12, **options})
        matrices[path.relative_to(folder)] = matrix
    return matrices


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def read_vectors(path, name="features"):
    column = pq.ParquetFile(path).read()[name]
    return np.array(column.to_pylist(), dtype=column.type.value_type.to_pandas_dtype()).reshape(-1, P)


# zarr


def _zarr_input(path, kind):
    if kind == "chunks on both axes":
        zarr.create_array(path, data=X, chunks=(20, 8))
    elif kind == "shards of half floats":
        zarr.create_array(path, data=X.astype("f2"), chunks=(10, P), shards=(20, P))
    elif kind == "format 2, big-endian, raw":
        array = zarr.create_array(path, shape=X.shape, dtype=">f8", chunks=(20, P), zarr_format=2, compressors=None)
        array[:] = X
        array.attrs["model"] = "one"
    elif kind == "integers":
        zarr.create_array(path, data=(10 * X).astype("i4"), chunks=(20, P))
    else:
        group = zarr.open_group(path, mode="w")
        group.create_array("features", data=X, chunks=(20, P))
        group.create_array("other", data=X[:, :3])


ZARR = ("chunks on both axes", "shards of half floats", "format 2, big-endian, raw", "integers", "group")


@pytest.mark.parametrize("kind", ZARR)
def test_zarr_becomes_what_apply_gives(tmp_path, kind):
    """Over several regions the array holds `apply` of the rows, in their float type and in the layout of the input."""
    _zarr_input(tmp_path / "x.zarr", kind)
    source = zarr.open(tmp_path / "x.zarr", mode="r")
    source = source["features"] if kind == "group" else source
    done = []
    n = apply_shards(
        TRANSFORM, tmp_path / "x.zarr", tmp_path / "z.zarr", progress=lambda *now: done.append(now),
        part_bytes=P * 4 * 50,
    )  # fmt: skip
    z = zarr.open_array(tmp_path / "z.zarr", mode="r")
    wanted = TRANSFORM.apply(source[:].astype(source.dtype.newbyteorder("=")))
    assert n == 230
    rows = 20 if source.dtype.itemsize == 8 else 40  # the most chunks, or shards, of 20 rows that fit
    assert [now for now, _ in done] == [*range(rows, 230, rows), 230]
    assert z.dtype == wanted.dtype
    np.testing.assert_allclose(z[:], wanted, rtol=1e-5, atol=1e-5)
    assert (z.chunks, z.shards, z.metadata.zarr_format) == (source.chunks, source.shards, source.metadata.zarr_format)
    assert dict(z.attrs) == dict(source.attrs)
    assert kind == "integers" or z.compressors == source.compressors
    assert sorted(os.listdir(tmp_path)) == ["x.zarr", "z.zarr"]


def test_regions_cover_all_rows_and_share_no_chunk(tmp_path):
    """Regions follow each other from 0 to n, begin at multiples of the chunk rows, and hold about 32 MB."""
    zarr.create_array(tmp_path / "x.zarr", shape=(100_000, 768), dtype="f4", chunks=(1000, 768), fill_value=1)
    with pytest.warns(UserWarning, match="lacks 100 of 100 chunks"), pytest.warns(UserWarning, match="Is it whole"):
        features = Features.load(tmp_path / "x.zarr")
    parts = regions_of(features, tmp_path / "z.zarr", 1 << 25)
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    assert parts[-1].stop == 100_000
    assert {part.start % 1000 for part in parts} == {0}
    assert all(16e6 < part.rows * 768 * 4 < 64e6 for part in parts[:-1])


@pytest.mark.parametrize("options", [{"normalize": True}, {"strength": 0.4}], ids=["normalize", "strength"])
def test_options_are_those_of_apply(tmp_path, options):
    """Strength and normalize do to both kinds what they do to an array in memory."""
    zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(50, P))
    apply_shards(TRANSFORM, tmp_path / "x.zarr", tmp_path / "z.zarr", **options)
    wanted = TRANSFORM.apply(X, **options)
    np.testing.assert_allclose(zarr.open_array(tmp_path / "z.zarr")[:], wanted, rtol=1e-5, atol=1e-6)
    pq.write_table(table(X), tmp_path / "x.parquet")
    apply_shards(TRANSFORM, tmp_path / "x.parquet", tmp_path / "z.parquet", **options)
    np.testing.assert_allclose(read_vectors(tmp_path / "z.parquet"), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["x.npy", "x.h5", "x.parquet"])
def test_other_files_become_zarr_in_process(tmp_path, name):
    """Feature files of other kinds are written as zarr too."""
    if name == "x.npy":
        np.save(tmp_path / name, X)
    elif name == "x.h5":
        pytest.importorskip("h5py").File(tmp_path / name, "w").create_dataset("features", data=X).file.close()
    else:
        pq.write_table(table(X), tmp_path / name)
    assert apply_shards(TRANSFORM, tmp_path / name, tmp_path / "z.zarr") == 230
    np.testing.assert_allclose(zarr.open_array(tmp_path / "z.zarr")[:], TRANSFORM.apply(X), rtol=1e-6, atol=1e-6)


def test_rows_of_zeros_are_written(tmp_path, recwarn):
    """Chunks that hold only the fill value are stored, so that no reader takes them for lost."""
    zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(50, P))
    zero = LinearTransform(np.zeros((P, P), "f4"), None, 0.0, 1.0)
    apply_shards(zero, tmp_path / "x.zarr", tmp_path / "z.zarr")
    assert not np.asarray(Features.load(tmp_path / "z.zarr").matrix).any()


# Parquet


@pytest.mark.parametrize("kind", LISTS)
def test_parquet_vectors_are_transformed_and_all_else_is_carried_over(tmp_path, kind):
    """Every shard has its name, `apply` of its vectors in their float type, and its other columns and metadata."""
    matrices = write_shards(tmp_path / "x", kind=LISTS[kind], compression="zstd")
    ten = P * 4 * 10  # row groups of 12 rows are read in parts of 10
    assert apply_shards(TRANSFORM, tmp_path / "x", tmp_path / "z", part_bytes=ten) == 55
    assert contents(tmp_path / "z").keys() == matrices.keys()
    for name, matrix in matrices.items():
        before, after = (pq.ParquetFile(tmp_path / folder / name) for folder in "xz")
        old, new = before.schema_arrow, after.schema_arrow
        at = old.get_field_index("features")
        floats = matrix.dtype if matrix.dtype.kind == "f" else np.float32
        assert new.field(at).type.value_type.to_pandas_dtype() == floats
        assert (type(new.field(at).type), new.field(at).metadata) == (type(old.field(at).type), {b"of": b"features"})
        assert new.remove(at).equals(old.remove(at), check_metadata=True)
        assert new.metadata == old.metadata == {b"origin": b"test"}
        assert after.read().drop_columns("features").equals(before.read().drop_columns("features"))
        np.testing.assert_allclose(read_vectors(tmp_path / "z" / name), TRANSFORM.apply(matrix), rtol=1e-3, atol=1e-3)
        if len(matrix):
            assert after.metadata.row_group(0).column(0).compression == "ZSTD"
            assert after.metadata.row_group(0).num_rows <= 10


def test_row_groups_are_kept_where_they_are_small(tmp_path):
    """Row groups below the limit come out as they went in."""
    write_shards(tmp_path / "x", (30,))
    apply_shards(TRANSFORM, tmp_path / "x", tmp_path / "z")
    groups = pq.ParquetFile(tmp_path / "z" / "sub" / "part-000.parquet").metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [12, 12, 6]


def test_one_file_becomes_one_file_or_one_shard(tmp_path):
    """A .parquet file goes to a .parquet file, or under its name into a folder; both are replaced by a second run."""
    for strength in (0.5, 1.0):
        pq.write_table(table(X), tmp_path / "x.parquet")
        apply_shards(TRANSFORM, tmp_path / "x.parquet", tmp_path / "z.parquet", strength=strength)
        apply_shards(TRANSFORM, tmp_path / "x.parquet", tmp_path / "z", strength=strength)
    wanted = TRANSFORM.apply(X)
    for path in (tmp_path / "z.parquet", tmp_path / "z" / "x.parquet"):
        np.testing.assert_allclose(read_vectors(path), wanted, rtol=1e-6, atol=1e-6)
    assert sorted(os.listdir(tmp_path)) == ["x.parquet", "z", "z.parquet"]


FLOATS, INTEGERS = pa.list_(pa.float32()), pa.list_(pa.int32())


@pytest.mark.parametrize(
    ("columns", "asked", "chosen"),
    [
        ({"a": FLOATS, "features": FLOATS}, None, "features"),
        ({"a": FLOATS, "embedding": FLOATS}, None, "embedding"),
        ({"tokens": INTEGERS, "vector": FLOATS}, None, "vector"),
        ({"id": pa.string(), "counts": INTEGERS}, None, "counts"),
        ({"a": FLOATS, "b": FLOATS}, "b", "b"),
        ({"features": FLOATS, "b": FLOATS}, "b", "b"),
        ({"a": FLOATS, "b": FLOATS}, None, "has 2 columns of lists of numbers: a, b. Name the one .* --column a"),
        ({"id": pa.string(), "x": pa.float32()}, None, "has no column of lists of numbers .it has id, x"),
        ({}, None, "has no columns"),
        ({"id": pa.string(), "a": FLOATS}, "id", r"has no column 'id' of lists of numbers. It has id \(string\), a"),
        ({"a": FLOATS}, "b", "has no column 'b'"),
        ({"a": pa.list_(pa.string())}, "a", "has no column 'a'"),
    ],
)
def test_the_column_of_the_vectors_is_chosen_or_asked_for(columns, asked, chosen):
    """features and embedding come first, then the only list of floats, then of integers; else it is said."""
    schema = pa.schema(list(columns.items()))
    if chosen in columns:
        assert vector_column(Path("x.parquet"), schema, asked) == chosen
        return
    if not columns:
        chosen = "it has no columns"
    with pytest.raises(FileError, match=chosen) as caught:
        vector_column(Path("x.parquet"), schema, asked)
    assert "\n" not in str(caught.value)


def test_features_load_reads_parquet(tmp_path):
    """A Parquet file, and a folder of shards in order of their names, are features like any other file."""
    matrices = write_shards(tmp_path / "x", (30, 0, 25))
    both = np.concatenate(list(matrices.values()))
    np.testing.assert_array_equal(Features.load(tmp_path / "x" / "part-000.parquet").matrix, both[:30])
    (tmp_path / "x" / "sub" / "part-002.parquet").rename(tmp_path / "x" / "part-002.parquet")
    loaded = Features.load(tmp_path / "x")
    np.testing.assert_array_equal(loaded.matrix, both)
    assert loaded.matrix.dtype == np.float32
    (tmp_path / "x" / "file_names.txt").write_text("\n".join(map(str, range(55))))
    assert len(Features.load(tmp_path / "x").names) == 55


# what is refused


def _damaged(path):
    path.write_bytes(b"PAR1 and nothing more")


def _vectors(path, rows, kind=FLOATS, **options):
    column = rows if isinstance(rows, pa.Array) else pa.array(rows, kind)
    pq.write_table(pa.table({"features": column}), path, **options)


def _bad(row, value):
    matrix = X[:40].copy()
    matrix[row, 2] = value
    return matrix


BAD = {
    "missing": (lambda path: None, FileError, "does not exist"),
    "empty": (lambda path: path.touch(), FileError, "is empty"),
    "damaged": (_damaged, FileError, "is not a whole Parquet file"),
    "no vectors": (lambda path: pq.write_table(pa.table({"a": [1]}), path), FileError, "no column of lists of numbers"),
    "nan": (lambda path: _vectors(path, list(_bad(17, np.nan))), DataError, "holds nan at row 17, column 2"),
    "infinity": (lambda path: _vectors(path, list(_bad(3, -np.inf))), DataError, "holds -inf at row 3, column 2"),
    "no list": (lambda path: _vectors(path, [X[0], None]), DataError, "holds no list in features at row 1"),
    "first no list": (lambda path: _vectors(path, [None, X[0]]), DataError, "holds no list in features at row 0"),
    "missing number": (lambda path: _vectors(path, [[1.0] * P, [None] * P]), DataError, "missing number .* at row 1"),
    "ragged": (lambda path: _vectors(path, [X[0], X[1, :5]]), DataError, "5 numbers in features at row 1; .* of 16"),
    "narrow": (lambda path: _vectors(path, [X[0, :5]]), DataError, "maps 16 dimensions"),
    "narrow and fixed": (
        lambda path: _vectors(path, [X[0, :5]], pa.list_(pa.float32(), 5)),
        DataError,
        "has 5 numbers in each row of features but the transform maps 16 dimensions",
    ),
    "beyond the type": (
        lambda path: _vectors(path, [np.full(P, 6e4, "f2")], pa.list_(pa.float16())),
        DataError,
        "is mapped to .*inf at row 0",
    ),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_shard_is_one_sentence_and_leaves_the_previous_output(tmp_path, bad):
    """What is wrong in a shard is said in one line; the output of before stays, and nothing else."""
    make, kind, sentence = BAD[bad]
    write_shards(tmp_path / "x", (5, 5))
    make(tmp_path / "x" / "bad.parquet")
    source = tmp_path / "x" / "bad.parquet" if bad == "missing" else tmp_path / "x"
    (tmp_path / "z").mkdir()
    (tmp_path / "z" / "old.parquet").write_bytes(b"old")
    with pytest.raises(kind, match=sentence) as caught:
        apply_shards(TRANSFORM, source, tmp_path / "z")
    assert "\n" not in str(caught.value)
    if bad != "narrow":  # the sentence of `apply`, which is about the model, not about one file
        assert str(tmp_path / "x" / "bad.parquet") in str(caught.value)
    assert contents(tmp_path / "z") == {Path("old.parquet"): b"old"}
    assert sorted(os.listdir(tmp_path)) == ["x", "z"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_bad_row_of_zarr_is_named(tmp_path, value):
    """NaN or infinity in any region is refused with its row and column; nothing is left."""
    zarr.create_array(tmp_path / "x.zarr", data=_bad(31, value), chunks=(10, P))
    with pytest.raises(DataError, match=rf"x.zarr holds {value} at row 31, column 2"):
        apply_shards(TRANSFORM, tmp_path / "x.zarr", tmp_path / "z.zarr", part_bytes=1)
    assert os.listdir(tmp_path) == ["x.zarr"]


def test_places_that_do_not_go_together_are_refused(tmp_path):
    """Output in input, a missing folder, and kinds that do not fit are one sentence each, and nothing is touched."""
    write_shards(tmp_path / "x", (5, 5))
    zarr.create_array(tmp_path / "x.zarr", data=X[:, :8], chunks=(50, 8))
    np.save(tmp_path / "x.npy", X)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("mine")
    before = contents(tmp_path)
    for source, out, error, sentence in [
        ("x", "x", ParameterError, "contain each other"),
        ("x", "x/z", ParameterError, "contain each other"),
        ("x/sub", "x", ParameterError, "contain each other"),
        ("x.zarr", "x.zarr", ParameterError, "contain each other"),
        ("x", "no/z", FileError, "mkdir -p"),
        ("x", "mine", FileError, "is not a folder of Parquet files alone"),
        ("x", "file", FileError, "is not a folder of Parquet files alone"),
        ("x", "/proc/self/z", FileError, "cannot write"),
        ("x/part-000.parquet", "mine", FileError, "is not a folder of Parquet files alone"),
        ("x.npy", "z.parquet", FileError, "needs a .parquet file or a folder of them"),
        ("mine", "z.parquet", FileError, "needs a .parquet file or a folder of them"),
        ("x.zarr", "z.zarr", DataError, "maps 16 dimensions"),
        ("no.zarr", "z.zarr", FileError, "does not exist"),
        ("mine", "z.zarr", FileError, "must hold features.npy or exactly one"),
    ]:
        with pytest.raises(error, match=re.escape(sentence)) as caught:
            apply_shards(TRANSFORM, tmp_path / source, tmp_path / out)
        assert "\n" not in str(caught.value)
    (tmp_path / "mine").rename(tmp_path / "mine.zarr")
    with pytest.raises(FileError, match="is not a zarr folder"):
        apply_shards(TRANSFORM, tmp_path / "x.npy", tmp_path / "mine.zarr")
    (tmp_path / "mine.zarr").rename(tmp_path / "mine")
    with pytest.raises(ParameterError, match="--column"):
        apply_shards(TRANSFORM, tmp_path / "x.npy", tmp_path / "z.zarr", column="a")
    assert contents(tmp_path) == before


def test_a_disk_that_fills_up_is_one_sentence(tmp_path):
    """A limit reached while a shard is written leaves the previous output whole."""
    TRANSFORM.save(tmp_path / "t.npz")
    pq.write_table(table(np.repeat(X, 20, axis=0)), tmp_path / "x.parquet")
    (tmp_path / "z.parquet").write_bytes(b"previous")
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); "
    command = [sys.executable, "-c", limited + processes.COMMAND_LINE[-1]]
    command += ["apply", "t.npz", "x.parquet", "--out", "z.parquet"]
    done = processes.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "error: cannot write" in done.stderr
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "z.parquet").read_bytes() == b"previous"
    assert sorted(os.listdir(tmp_path)) == ["t.npz", "x.parquet", "z.parquet"]


# interruptions

KILLED = """
import os, signal, sys
from glocal.transform import LinearTransform, apply_shards
def progress(done, total):
    if done >= 100:
        os.kill(os.getpid(), signal.SIGKILL)
apply_shards(LinearTransform.load("t.npz"), sys.argv[1], sys.argv[2], progress=progress, part_bytes=640)
"""


@pytest.mark.parametrize("kind", ["zarr", "parquet"])
def test_a_killed_run_leaves_the_previous_output_and_is_taken_up_again(tmp_path, kind):
    """After kill -9 the previous output is whole; the same command does only the rest and gives the same bytes."""
    TRANSFORM.save(tmp_path / "t.npz")
    source, out = ("x.zarr", "z.zarr") if kind == "zarr" else ("x", "z")
    if kind == "zarr":
        zarr.create_array(tmp_path / source, data=X, chunks=(10, P))
    else:
        write_shards(tmp_path / source, [10] * 23)
    apply_shards(LinearTransform(np.eye(P, dtype="f4"), None, 0.0, 1.0), tmp_path / source, tmp_path / out)
    previous = contents(tmp_path / out)
    done = processes.run([sys.executable, "-c", KILLED, source, out], cwd=tmp_path, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert contents(tmp_path / out) == previous
    partial = tmp_path / f".{out}.partial"
    (data,) = partial.glob(f"*/data/{out}")
    finished = {path.relative_to(data): path.stat().st_mtime_ns for path in data.rglob("*") if path.is_file()}
    (data / ".part-099.parquet.0.partial").touch()  # as a process leaves it that is killed while it writes
    counts = []
    apply_shards(
        TRANSFORM, tmp_path / source, tmp_path / out, progress=lambda rows, total: counts.append(rows), part_bytes=640
    )
    assert counts == [*range(110, 240, 10)]
    after = contents(tmp_path / out)
    assert {name: (tmp_path / out / name).stat().st_mtime_ns for name in finished} == finished
    assert sorted(os.listdir(tmp_path)) == sorted(["t.npz", source, out])
    apply_shards(TRANSFORM, tmp_path / source, tmp_path / f"whole-{out}", part_bytes=640)
    assert after == contents(tmp_path / f"whole-{out}")
    assert after != previous


@pytest.mark.parametrize("changed", ["transform", "options", "input", "exchanged input", "version"])
def test_with_anything_else_it_begins_anew(tmp_path, monkeypatch, changed):
    """What another transform, option, input or version has begun is not taken up."""
    write_shards(tmp_path / "x", [10] * 5)
    when = 10**18
    for part in (tmp_path / "x").iterdir():
        os.utime(part, ns=(when, when))

    def stop(rows, total):
        if rows == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apply_shards(TRANSFORM, tmp_path / "x", tmp_path / "z", progress=stop)
    assert (tmp_path / ".z.partial").exists()
    if changed == "input":
        pq.write_table(table(X[:10]), tmp_path / "x" / "part-000.parquet")
    if changed == "version":
        monkeypatch.setattr(shards, "__version__", "0")
    if changed == "exchanged input":  # equal in names, sizes and times of change
        parts = [tmp_path / "x" / f"part-00{i}.parquet" for i in range(2)]
        parts[0].rename(tmp_path / "x" / "t")
        parts[1].rename(parts[0])
        (tmp_path / "x" / "t").rename(parts[1])
        for part in parts:
            os.utime(part, ns=(when, when))
    other = dataclasses.replace(TRANSFORM, mean=0.0) if changed == "transform" else TRANSFORM
    options = {"normalize": True} if changed == "options" else {}
    counts = []
    apply_shards(other, tmp_path / "x", tmp_path / "z", progress=lambda rows, total: counts.append(rows), **options)
    assert counts == [10, 20, 30, 40, 50]
    for name in ("part-000", "part-001"):
        wanted = other.apply(read_vectors(tmp_path / "x" / f"{name}.parquet"), **options)
        np.testing.assert_allclose(read_vectors(tmp_path / "z" / f"{name}.parquet"), wanted, rtol=1e-5, atol=1e-5)
    assert not (tmp_path / ".z.partial").exists()


def test_an_exchange_that_was_cut_short_is_undone(tmp_path):
    """Killed between the two renames, the previous output is put back by the next run, whatever becomes of that."""
    write_shards(tmp_path / "x", (5, 5))
    (tmp_path / ".z.previous").mkdir()
    (tmp_path / ".z.previous" / "old.parquet").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), building(Output.of(tmp_path / "z", "key")):
        raise KeyboardInterrupt
    assert contents(tmp_path / "z") == {Path("old.parquet"): b"old"}
    assert sorted(os.listdir(tmp_path)) == ["x", "z"]
    apply_shards(TRANSFORM, tmp_path / "x", tmp_path / "z")
    assert sorted(os.listdir(tmp_path)) == ["x", "z"]


DIES = """
import os, signal, sys
import numpy as np
from glocal.jobs import output
from glocal.transform import LinearTransform, apply_shards
module, name = (output.shutil, "rmtree") if sys.argv[3] == "rmtree" else (output.os, sys.argv[3])
original, count = getattr(module, name), [0]
def dying(*arguments, **options):
    count[0] += 1
    if count[0] == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments, **options)
setattr(module, name, dying)
apply_shards(LinearTransform.load("t.npz"), sys.argv[1], sys.argv[2])
"""


@pytest.mark.parametrize("call", [("rename", "1"), ("replace", "3"), ("rmtree", "1"), ("rmtree", "2")])
def test_wherever_the_exchange_is_killed_the_next_run_goes_on(tmp_path, call):
    """Killed before, between or after the renames, or while it cleans up: the same command then runs through."""
    TRANSFORM.save(tmp_path / "t.npz")
    write_shards(tmp_path / "x", (5, 5))
    (tmp_path / "z").mkdir()
    pq.write_table(table(X[:5]), tmp_path / "z" / "old.parquet")
    arguments = [sys.executable, "-c", DIES, "x", "z", *call]
    done = processes.run(arguments, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    apply_shards(TRANSFORM, tmp_path / "x", tmp_path / "z")
    assert sorted(os.listdir(tmp_path)) == ["t.npz", "x", "z"]
    apply_shards(TRANSFORM, tmp_path / "x", tmp_path / "whole")
    assert contents(tmp_path / "z") == contents(tmp_path / "whole")


def test_an_output_that_is_a_link_stays_one(tmp_path):
    """The folder that a link leads to is replaced, and a link into a missing folder is refused before the work."""
    write_shards(tmp_path / "x", (5, 5))
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "z")
    for _ in range(2):
        apply_shards(TRANSFORM, tmp_path / "x", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert os.listdir(tmp_path / "real") == ["z"]
    (tmp_path / "away").symlink_to(tmp_path / "missing" / "z")
    with pytest.raises(FileError, match="missing does not exist"):
        apply_shards(TRANSFORM, tmp_path / "x", tmp_path / "away")
    assert sorted(os.listdir(tmp_path)) == ["away", "link", "real", "x"]


def test_two_processes_do_not_write_one_output(tmp_path):
    """A second run of the same output is refused while the first one works."""
    write_shards(tmp_path / "x", (5, 5))
    with building(Output.of(tmp_path / "z", "key")), pytest.raises(FileError, match="written by another process"):
        apply_shards(TRANSFORM, tmp_path / "x", tmp_path / "z")


# on a cluster


@pytest.mark.parametrize("kind", ["zarr", "parquet"])
def test_on_a_cluster_whose_worker_is_killed_the_output_is_the_same_to_the_byte(tmp_path, monkeypatch, cluster, kind):
    """With SIGKILL to one of two workers in the middle, the output equals that of one process; what was done stays."""
    monkeypatch.chdir(tmp_path)  # workers have other working directories: relative paths must arrive whole
    source, out = ("x.zarr", "z.zarr") if kind == "zarr" else ("x", "z")
    if kind == "zarr":
        zarr.create_array(source, data=np.tile(X, (2, 1)), chunks=(10, P))
    else:
        write_shards(Path(source), [10] * 45)
    apply_shards(TRANSFORM, source, f"here-{out}", part_bytes=640)
    counts = []

    def kill(rows, total):
        counts.append((rows, total))
        if len(counts) == 10:
            cluster.kill_worker()

    n = apply_shards(TRANSFORM, source, out, scheduler=str(cluster.scheduler_file), progress=kill, part_bytes=640)
    assert n == counts[-1][0] == counts[-1][1]
    assert len(counts) == n // 10, "every part is reported once"
    assert contents(Path(out)) == contents(Path(f"here-{out}"))
    assert not Path(f".{out}.partial").exists()


@pytest.mark.parametrize("bad", ["nan", "ragged"])
def test_an_error_in_a_shard_is_the_same_sentence_from_a_worker(tmp_path, cluster, bad):
    """Bad rows arrive from the cluster as in process, and the previous output stays."""
    write_shards(tmp_path / "x", [10] * 5)
    BAD[bad][0](tmp_path / "x" / "part-009.parquet")
    sentences = []
    for scheduler in (None, cluster.address):
        with pytest.raises(DataError, match=BAD[bad][2]) as caught:
            apply_shards(TRANSFORM, tmp_path / "x", tmp_path / "z", scheduler=scheduler)
        sentences.append(str(caught.value))
    assert sentences[0] == sentences[1]
    assert not (tmp_path / "z").exists()


def test_without_workers_apply_ends_and_goes_on_later(tmp_path, monkeypatch, cluster):
    """When all workers are gone apply says so after the stated time; what was done is kept and not done again."""
    monkeypatch.setattr(glocal.jobs.run, "PATIENCE", 0.5)
    write_shards(tmp_path / "x", [10] * 45)
    counts = []

    def kill(rows, total):
        counts.append(rows)
        if len(counts) == 5:
            cluster.kill_worker()
            cluster.kill_worker()

    with pytest.raises(ClusterError, match=r"had no workers for 0\.5 s"):
        apply_shards(TRANSFORM, tmp_path / "x", tmp_path / "z", scheduler=cluster.address, progress=kill)
    assert 5 <= len(counts) < 45
    seen = []
    apply_shards(TRANSFORM, tmp_path / "x", tmp_path / "z", progress=lambda rows, total: seen.append(rows))
    assert len(seen) == 45 - len(counts)
    apply_shards(TRANSFORM, tmp_path / "x", tmp_path / "here")
    assert contents(tmp_path / "z") == contents(tmp_path / "here")


def test_a_worker_that_does_not_see_the_files_says_so(tmp_path):
    """Input or output that is not there for a worker is one sentence about shared file systems."""
    write_shards(tmp_path / "x", (5, 5))
    (part, _) = shards._parquet_parts(TRANSFORM, tmp_path / "x", tmp_path / "z", None, 1 << 25)
    for lost, folder in ((part, tmp_path / "away"), (dataclasses.replace(part, source=tmp_path / "away"), tmp_path)):
        with pytest.raises(FileError, match=r"does not see .*away\. .* same files under the same paths"):
            shards._write((0, lost), None, (TRANSFORM, False, folder))


def test_what_only_this_process_can_read_is_not_mapped(tmp_path):
    """A .npy file is not sent to workers: it is said before any cluster is looked for."""
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(ParameterError, match="--scheduler maps zarr to zarr and Parquet to Parquet"):
        apply_shards(TRANSFORM, tmp_path / "x.npy", tmp_path / "z.zarr", scheduler="tcp://127.0.0.1:1")
    write_shards(tmp_path / "x", (5, 5))
    with pytest.raises(ParameterError, match="no Dask scheduler answers"):
        apply_shards(TRANSFORM, tmp_path / "x", tmp_path / "z", scheduler="tcp://127.0.0.1:1")
    assert sorted(os.listdir(tmp_path)) == ["x", "x.npy"]


# the command


def test_the_command_picks_by_the_kinds_of_files(tmp_path, monkeypatch, capsys, cluster):
    """zarr and Parquet outputs are made part by part, others as .npy; the JSON has the same keys."""
    monkeypatch.chdir(tmp_path)
    TRANSFORM.save("t.npz")
    zarr.create_array("x.zarr", data=X, chunks=(50, P))
    write_shards(Path("x"), (115, 115))
    pq.write_table(table(X, name="mine"), "x.parquet")
    for arguments, read in [
        (["x.zarr", "--out", "z.zarr"], lambda: zarr.open_array("z.zarr")[:]),
        (["x.zarr", "--out", "y.zarr", "--scheduler", cluster.address], lambda: zarr.open_array("y.zarr")[:]),
        (["x.zarr", "--out", "z.npy"], lambda: np.load("z.npy")),
        (["x.parquet", "--out", "z.parquet", "--column", "mine"], lambda: read_vectors("z.parquet", "mine")),
        (["x.parquet", "--out", "p.npy"], lambda: np.load("p.npy")),
    ]:
        assert execute(["apply", "t.npz", *arguments, "--json"]) == 0
        captured = capsys.readouterr()
        out = arguments[2]
        assert json.loads(captured.out) == {"rows": 230, "dimensions": P, "strength": 1.0, "out": out}
        assert captured.err == ""
        np.testing.assert_allclose(read(), TRANSFORM.apply(X), rtol=1e-5, atol=1e-5)
    assert execute(["apply", "t.npz", "x", "--out", "z", "--scheduler", str(cluster.scheduler_file)]) == 0
    assert capsys.readouterr().out == f"230 rows of {P} dimensions written to z\n"
    assert len(contents(Path("z"))) == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["x.npy", "--out", "z.npy", "--scheduler", "tcp://127.0.0.1:1"], "--scheduler goes with zarr and Parquet"),
        (["x.npy", "--out", "z.npy", "--column", "a"], "--column goes with zarr and Parquet"),
        (["x.npy", "--out", "z.zarr", "--scheduler", "tcp://127.0.0.1:1"], "--scheduler maps zarr to zarr"),
        (["x.parquet", "--out", "z", "--scheduler", "tcp://127.0.0.1:1"], "no Dask scheduler answers"),
        (["x.parquet", "--out", "z", "--scheduler", "no.json"], "scheduler file no.json does not exist"),
        (["x.parquet", "--out", "z", "--column", "a"], "has no column 'a'"),
    ],
)
def test_options_that_do_not_fit_are_one_sentence(tmp_path, monkeypatch, capsys, arguments, sentence):
    """Exit code 1, one line on standard error, and no output."""
    monkeypatch.chdir(tmp_path)
    TRANSFORM.save("t.npz")
    np.save("x.npy", X)
    pq.write_table(table(X), "x.parquet")
    assert execute(["apply", "t.npz", *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert sentence in captured.err
    assert captured.err.count("\n") == 1
    assert sorted(os.listdir()) == ["t.npz", "x.npy", "x.parquet"]


def test_in_process_no_engine_is_loaded(tmp_path):
    """Without a scheduler neither dask nor torch is imported."""
    TRANSFORM.save(tmp_path / "t.npz")
    pq.write_table(table(X), tmp_path / "x.parquet")
    code = (
        "import sys; from glocal.cli.app import execute\n"
        "assert execute(['apply', 't.npz', 'x.parquet', '--out', 'z']) == 0\n"
        "assert execute(['apply', 't.npz', 'x.parquet', '--out', 'z.zarr']) == 0\n"
        "print([name for name in ('dask', 'distributed', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


MEMORY = """
import sys
from glocal.transform import LinearTransform, apply_shards
for name in sys.argv[1:]:
    print(peak_of(lambda: apply_shards(LinearTransform.load("t.npz"), name, "out-" + name, part_bytes=1 << 21))[0])
"""


def test_memory_does_not_grow_with_the_input(tmp_path):
    """Eight times as many rows, in one shard and one row group, need hardly more anonymous memory."""
    p = 256
    LinearTransform(np.eye(p, dtype="f4"), None, 0.0, 1.0).save(tmp_path / "t.npz")
    for n, name in ((8_000, "small"), (64_000, "large")):
        block = np.random.default_rng(0).normal(size=(n, p)).astype("f4")  # does not compress
        zarr.create_array(tmp_path / f"{name}.zarr", data=block, chunks=(2000, p))
        _vectors(tmp_path / f"{name}.parquet", lists_of(block, pa.list_(pa.float32(), p)), row_group_size=n)
    assert pq.ParquetFile(tmp_path / "large.parquet").num_row_groups == 1
    names = ["small.zarr", "large.zarr", "small.parquet", "large.parquet"]
    peaks = processes.numbers(MEMORY, *names, cwd=tmp_path)
    assert peaks[1] < peaks[0] + 35, peaks  # of 57 MB that the input has grown by
    assert peaks[3] < peaks[2] + 35, peaks
