"""Local images of any size: read from the disk, as many blocks as the fit needs, raw or standardized."""

from __future__ import annotations

import dataclasses
import json
import pickle
import sys
from pathlib import Path

import numpy as np
import processes
import pytest

from glocal.aligner import Arm, Exact, FitData, fit_arm
from glocal.aligner.data import LocalBlocks
from glocal.data.features import Features
from glocal.data.splits import local_blocks
from glocal.data.stored import RowStore, read_hdf5
from glocal.data.world import simulated_world
from glocal.errors import DataError, DataWarning, FileError, MissingDependencyError, ParameterError
from glocal.files import array_sha256
from glocal.transform import LinearTransform, apply_file

STORES = ("h5", "h5 in chunks", "zarr")
KINDS = ("npy", *STORES)


def write(folder: Path, kind: str, matrix: np.ndarray, chunk_rows: int = 37) -> Path:
    """Write a matrix as one kind of file; chunks end inside the matrix and inside blocks."""
    path = folder / f"features.{kind.split(maxsplit=1)[0]}"
    if kind == "npy":
        np.save(path, matrix)
    elif kind == "zarr":
        zarr = pytest.importorskip("zarr", reason="zarr folders need glocal[io]")
        array = zarr.open(
            str(path), mode="w", shape=matrix.shape, dtype=matrix.dtype, chunks=(chunk_rows, matrix.shape[1])
        )
        array[:] = matrix
    else:
        h5py = pytest.importorskip("h5py", reason="HDF5 needs glocal[io]")
        chunks = (chunk_rows, max(1, matrix.shape[1] // 2)) if kind == "h5 in chunks" else None
        with h5py.File(path, "w") as file:
            file.create_dataset("features", data=matrix, chunks=chunks)
    return path


def opened(path: Path) -> Features:
    """The features of a file, on the disk also where an HDF5 array is small."""
    return Features(read_hdf5(path, max_in_memory=0)) if path.suffix == ".h5" else Features.load(path)


@pytest.fixture(scope="module")
def many():
    """A simulated world with 1200 local images: 40 blocks of 30."""
    return simulated_world(
        n_superordinate=6, n_category=8, n_object=5, n_local=1200, n_triplets=6000, dimensions=32, seed=5
    )


def data_of(world, local=None, **options) -> FitData:
    return FitData(world.objects, world.triplets, world.local if local is None else local, block_size=30, **options)


def blocks_at_once(features: np.ndarray, scalars, block_size: int = 30) -> list[np.ndarray]:
    """Blocks cut from a matrix that was standardized whole: what reading in pieces must equal."""
    X = scalars(features, "float32")
    return [X[rows] for rows in local_blocks(len(X), block_size, 42)]


# rows on the disk


@pytest.mark.parametrize("kind", STORES)
def test_a_store_is_sliced_like_an_array(tmp_path, kind):
    """Shape, dtype, slices, single rows and rows in any order are those of the array, for any chunks."""
    X = np.random.default_rng(0).normal(size=(100, 6)).astype(np.float32)
    rows = opened(write(tmp_path, kind, X)).matrix
    assert isinstance(rows, RowStore)
    assert (rows.shape, rows.dtype, rows.ndim, rows.size, len(rows)) == (X.shape, X.dtype, 2, 600, 100)
    for part in (slice(0, 10), slice(95, 200), slice(40, 30), slice(None), slice(-3, None), 7, -1, np.int64(3)):
        np.testing.assert_array_equal(rows[part], X[part])
    for part in ([0, 1, 2, 99], [36, 37, 73, 74], [99, 3, 50, 3], []):
        numbers = np.array(part, dtype=np.int64)
        np.testing.assert_array_equal(rows[numbers], X[numbers])
    np.testing.assert_array_equal(np.asarray(rows), X)
    np.testing.assert_array_equal(np.asarray(pickle.loads(pickle.dumps(rows))), X)
    assert array_sha256(rows) == array_sha256(X)
    assert array_sha256(rows, np.array([2, 40, 77])) == array_sha256(X[[2, 40, 77]])
    for wrong in (np.array([0.5]), np.array([100]), np.array([-1]), slice(0, 10, 2)):
        with pytest.raises(IndexError):
            rows[wrong]


@pytest.mark.parametrize(("gap", "piece"), [(1, 1), (1, 400), (10**6, 50), (10**6, 10**6)])
def test_rows_are_the_same_however_they_are_read(tmp_path, gap, piece):
    """Reading row by row, in small pieces, over gaps or all at once gives the same rows."""
    X = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    rows = dataclasses.replace(opened(write(tmp_path, "h5", X)).matrix, gap_bytes=gap, piece_bytes=piece)
    numbers = np.sort(np.random.default_rng(1).permutation(300)[:80])
    np.testing.assert_array_equal(rows[numbers], X[numbers])


@pytest.mark.parametrize("kind", STORES)
def test_features_work_on_a_store(tmp_path, kind):
    """Scalars, checks, constant columns and apply give on a store what they give on the array."""
    X = np.random.default_rng(0).normal(size=(100, 6)).astype(np.float32)
    X[:, 2] = 1
    kept, lazy = Features(X), opened(write(tmp_path, kind, X))
    assert lazy.standardization == kept.standardization
    assert lazy.constant_columns() == 1
    lazy.check_finite()
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in lazy.chunks(7)]), X)
    transform = LinearTransform(np.random.default_rng(1).normal(size=(6, 6)).astype("f4"), None, 0.0, 1.0)
    for features, name in ((kept, "a.npy"), (lazy, "b.npy")):
        apply_file(transform, features, tmp_path / name)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))


def test_small_hdf5_is_read_at_once_and_large_is_not(tmp_path):
    """An HDF5 array is in memory up to the stated size and stays on the disk above it."""
    X = np.ones((10, 4), dtype=np.float32)
    path = write(tmp_path, "h5", X)
    assert isinstance(Features.load(path).matrix, np.ndarray)
    assert isinstance(read_hdf5(path, max_in_memory=X.nbytes - 1), RowStore)
    assert isinstance(read_hdf5(path, max_in_memory=X.nbytes), np.ndarray)


def test_a_zarr_folder_is_a_feature_file(tmp_path):
    """A .zarr folder is features, alone, as a group, and as the only feature file of a folder with names."""
    zarr = pytest.importorskip("zarr", reason="zarr folders need glocal[io]")
    X = np.random.default_rng(0).normal(size=(5, 3))
    path = write(tmp_path, "zarr", X)
    (tmp_path / "file_names.txt").write_text("a\nb\nc\nd\ne\n")
    assert Features.load(tmp_path).names == tuple("abcde")
    np.testing.assert_array_equal(Features.load(path).matrix, X)
    group = zarr.open_group(str(tmp_path / "group.zarr"), mode="w")
    group["labels"] = np.arange(5)
    group.create_group("clip")["visual"] = X
    np.testing.assert_array_equal(Features.load(tmp_path / "group.zarr").matrix, X)


def test_damaged_zarr_is_said_in_one_sentence(tmp_path, monkeypatch):
    """A missing, empty, foreign or cut zarr folder, a lost chunk, and a missing zarr each have their sentence."""
    X = np.random.default_rng(0).normal(size=(100, 3))
    with pytest.raises(FileError, match="does not exist"):
        Features.load(tmp_path / "none.zarr")
    (tmp_path / "empty.zarr").mkdir()
    (tmp_path / "file.zarr").write_bytes(b"PK")
    with pytest.raises(FileError, match="is a file, not a zarr folder"):
        Features.load(tmp_path / "file.zarr")
    path = write(tmp_path, "zarr", X)
    with pytest.raises(FileError, match="not a whole zarr folder"):
        Features.load(tmp_path / "empty.zarr")
    chunk = next(file for file in path.rglob("*") if file.is_file() and "json" not in file.name)
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match="not a whole zarr folder") as caught:
        np.asarray(Features.load(path).matrix)
    assert "\n" not in str(caught.value)
    features = Features.load(path)
    with pytest.raises(FileError, match=r"^features file \S+ is not a whole zarr folder"):
        apply_file(LinearTransform(np.eye(3, dtype="f4"), None, 0.0, 1.0), features, tmp_path / "out.npy")
    chunk.unlink()
    with pytest.warns(DataWarning, match="lacks 1 of 3 chunks"):
        Features.load(path)
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'glocal\[io\]'"):
        Features.load(path)


# blocks


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_blocks(tmp_path, many, kind):
    """Memory map, HDF5 and zarr give bitwise the blocks of a matrix standardized whole, all or a part of them."""
    scalars = many.objects.standardization
    expected = blocks_at_once(many.local.matrix, scalars)
    features = opened(write(tmp_path, kind, many.local.matrix))
    for most in (None, 3):
        found = data_of(many, features).read("float32", most)
        assert len(found) == len(expected[:most])
        assert found.n == sum(len(block) for block in expected[:most])
        for block, wanted in zip(found.blocks, expected[:most], strict=True):
            np.testing.assert_array_equal(block, wanted)
            assert block.dtype == np.float32
        assert found.sha256(features) == array_sha256(many.local.matrix[np.sort(found.rows)])


def test_up_to_16_blocks_all_are_used(many):
    """Up to 16 blocks the fit is, bitwise, the one on all of them, cut from a matrix that was standardized whole."""
    local = Features(many.local.matrix[:480])
    fit = fit_arm(many.objects, many.triplets, local_features=local, block_size=30)
    record = fit.record
    assert (record.n_local_blocks, record.n_local) == (16, 480)
    assert record.provenance.data["local_features"] == array_sha256(local.matrix)
    scalars = many.objects.standardization
    whole = LocalBlocks(blocks_at_once(local.matrix, scalars))
    direct = Exact().solve(data_of(many), Arm("glocal"), whole)
    np.testing.assert_array_equal(fit.transform.weights, direct.transform.weights)
    assert record.evaluations == direct.solution.evaluations
    given = fit_arm(many.objects, many.triplets, local_features=local, block_size=30, local_blocks=99)
    np.testing.assert_array_equal(given.transform.weights, fit.transform.weights)
    assert given.record.objective == record.objective


def test_of_more_than_16_blocks_the_first_16_are_used(many):
    """Without a number the fit takes the first 16 of 40 blocks, bitwise as if 16 had been asked for."""
    options = {"local_features": many.local, "block_size": 30}
    fit, asked = (fit_arm(many.objects, many.triplets, **options, **given) for given in ({}, {"local_blocks": 16}))
    assert (fit.record.n_local_blocks, fit.record.n_local) == (16, 480)
    np.testing.assert_array_equal(fit.transform.weights, asked.transform.weights)


@pytest.mark.parametrize("kind", ["npy", "zarr"])
def test_only_used_rows_are_checked(tmp_path, many, kind):
    """NaN in a block that is not used does not matter; in a used one it is reported with its row."""
    drawn = local_blocks(1200, 30, 42)
    X = many.local.matrix.copy()
    X[drawn[5][3]] = np.nan
    path = write(tmp_path, kind, X)
    options = {"local_features": Features.load(path), "block_size": 30, "max_evaluations": 200}
    fit = fit_arm(many.objects, many.triplets, local_blocks=5, **options)
    assert (fit.record.n_local_blocks, fit.record.n_local) == (5, 150)
    used = np.sort(np.concatenate(drawn[:5]))
    assert fit.record.provenance.data["local_features"] == array_sha256(X[used])
    with pytest.raises(DataError, match=f"holds nan at row {drawn[5][3]}, column 0"):
        fit_arm(many.objects, many.triplets, local_blocks=6, **options)


@pytest.mark.parametrize("count", [0, -3])
def test_no_block_is_refused(many, count):
    """A number of blocks below 1 is refused."""
    with pytest.raises(ParameterError, match=f"local_blocks is {count}; allowed is at least 1"):
        fit_arm(many.objects, many.triplets, local_features=many.local, local_blocks=count)


@pytest.mark.filterwarnings("ignore:local features. by the mean and std:glocal.errors.DataWarning")
def test_local_images_can_stay_raw(many):
    """With local_standardized=False teacher and student see the features as they are, and the record says so."""
    scalars = many.objects.standardization
    raw = data_of(many, local_standardized=False).read("float32", 2)
    np.testing.assert_array_equal(raw.blocks[1], many.local.matrix[local_blocks(1200, 30, 42)[1]])
    options = {"local_features": many.local, "block_size": 300}
    standardized = fit_arm(many.objects, many.triplets, **options)
    fit = fit_arm(many.objects, many.triplets, local_standardized=False, **options)
    assert (standardized.record.local_standardized, fit.record.local_standardized) == (True, False)
    # features standardized by (0, 1) are raw: shift and scale by the scalars and standardize back
    moved = Features(many.local.matrix * np.float64(scalars.std) + scalars.mean)
    back = fit_arm(many.objects, many.triplets, local_features=moved, block_size=300)
    assert fit.record.objective == pytest.approx(back.record.objective, rel=1e-5)
    assert abs(fit.record.objective - standardized.record.objective) > 1e-3


# memory


CODE = """
import sys, warnings
from pathlib import Path
from glocal.aligner import fit_arm
from glocal.data.features import Features
from glocal.data.stored import read_hdf5
from glocal.data.world import simulated_world
warnings.simplefilter("ignore")
world = simulated_world(n_triplets=2000, n_local=10, dimensions=256)
options = {"max_evaluations": 2, "local_blocks": 4, "block_size": 256}
for path in sys.argv[1:]:
    local = Features(read_hdf5(Path(path), max_in_memory=0)) if path.endswith(".h5") else Features.load(path)
    peak, fit = peak_of(lambda: fit_arm(world.objects, world.triplets, local_features=local, **options))
    assert fit.record.n_local == 1024
    print(peak)
"""


def test_memory_does_not_grow_with_the_local_images(tmp_path):
    """Eight times as many local images need hardly more anonymous memory, from each kind of file."""
    peaks = []
    for rows in (16_384, 131_072):
        X = np.random.default_rng(0).integers(0, 4, (rows, 256)).astype(np.float32)  # 16 MB and 128 MB
        (tmp_path / str(rows)).mkdir()
        paths = [write(tmp_path / str(rows), kind, X, chunk_rows=1024) for kind in ("npy", "h5 in chunks", "zarr")]
        # the first file is measured twice: what loading libraries takes is not what a fit takes
        peaks.append(processes.numbers(CODE, paths[0], *paths))
    assert all(after < before + 40 for before, after in zip(*peaks, strict=True)), peaks


def test_the_command_takes_a_number_of_blocks_or_auto(tmp_path, many, capsys):
    """`glocal fit --local-blocks` takes auto or a number, puts the count in its JSON, and refuses another word."""
    from glocal.cli.app import execute

    np.save(tmp_path / "x.npy", many.objects.matrix)
    np.save(tmp_path / "t.npy", many.triplets.answers)
    local = write(tmp_path, "zarr", many.local.matrix)
    command = ["fit", "--features", tmp_path / "x.npy", "--triplets", tmp_path / "t.npy", "--local-features", local]
    command = [*map(str, command), "--block-size", "30", "--json", "--out", str(tmp_path / "w.npz"), "--local-blocks"]
    assert execute([*command, "3"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["n_local_blocks"], said["n_local"]) == (3, 90)
    assert execute([*command, "auto"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["n_local_blocks"] == 16
    assert execute([*command, "many"]) == 1
    assert "local_blocks is 'many'; give a whole number of blocks, or auto" in capsys.readouterr().err
