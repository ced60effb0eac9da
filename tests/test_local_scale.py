"""Local images of any number: read from the disk, and only as many blocks as the fit needs."""

import numpy as np
import processes
import pytest
from fits import fit_arm

from glocal.aligner import FitData
from glocal.data.features import Features
from glocal.data.splits import local_blocks
from glocal.data.world import simulated_world
from glocal.errors import DataError
from glocal.files import array_sha256


def write(folder, matrix):
    """Write a matrix as features that are mapped."""
    np.save(folder / "features.npy", matrix)
    return folder / "features.npy"


@pytest.fixture(scope="module")
def many():
    """A simulated world with 1200 local images: 40 blocks of 30."""
    return simulated_world(
        n_superordinate=6, n_category=8, n_object=5, n_local=1200, n_triplets=6000, dimensions=32, seed=5
    )


@pytest.mark.parametrize("most", [3, 99])
def test_a_mapped_file_gives_the_first_blocks(tmp_path, many, most, monkeypatch):
    """The blocks are bitwise the first of a matrix standardized whole, and what is hashed are their rows."""
    whole = many.objects.standardization(many.local.matrix, "float32")
    drawn = local_blocks(len(whole), 30, 42)[:most]
    local = Features.load(write(tmp_path, many.local.matrix))
    assert len(FitData(many.objects, many.answers, local, block_size=30).blocks) == 16
    monkeypatch.setattr("glocal.aligner.data.MOST_BLOCKS", most)
    data = FitData(many.objects, many.answers, local, block_size=30)
    found = data.local_rows("float32")
    assert [block.dtype for block in found] == [np.float32] * len(drawn)
    for block, rows in zip(found, drawn, strict=True):
        np.testing.assert_array_equal(block, whole[rows])
    used = many.local.matrix[np.sort(np.concatenate(drawn))]
    assert data.hashes(local=True)["local_features"] == array_sha256(used)


def test_only_used_rows_are_checked(tmp_path, many, monkeypatch):
    """NaN in a block that is not used does not matter; in a used one it is reported with its row."""
    drawn = local_blocks(1200, 30, 42)
    X = many.local.matrix.copy()
    X[drawn[5][3]] = np.nan
    options = {"local_features": Features.load(write(tmp_path, X)), "block_size": 30, "max_evaluations": 200}
    monkeypatch.setattr("glocal.aligner.data.MOST_BLOCKS", 5)
    fit = fit_arm(many.objects, many.answers, **options)
    assert (fit.record.n_local_blocks, fit.record.n_local) == (5, 150)
    monkeypatch.setattr("glocal.aligner.data.MOST_BLOCKS", 6)
    with pytest.raises(DataError, match=f"row {drawn[5][3]}, column 0"):
        fit_arm(many.objects, many.answers, **options)


CODE = """
import sys, warnings
from glocal import Arm, Exact, Features, FitData, fit
from glocal.data.world import simulated_world
warnings.simplefilter("ignore")
world = simulated_world(n_triplets=2000, n_local=10, dimensions=256)
for path in sys.argv[1:]:
    data = FitData(world.objects, world.answers, Features.load(path), block_size=64)
    peak, found = peak_of(lambda: fit(data, Arm("glocal"), Exact(max_evaluations=2)))
    assert found.record.n_local == 1024
    print(peak)
"""


@pytest.mark.nightly
def test_memory_does_not_grow_with_the_local_images(tmp_path):
    """Eight times as many local images need hardly more anonymous memory."""
    peaks = []
    for rows in (16_384, 131_072):
        (tmp_path / str(rows)).mkdir()
        X = np.random.default_rng(0).integers(0, 4, (rows, 256)).astype(np.float32)  # 16 MB and 128 MB
        path = write(tmp_path / str(rows), X)
        peaks.append(processes.numbers(CODE, path, path))  # what loading libraries takes is not what a fit takes
    assert peaks[1][1] < peaks[0][1] + 40, peaks
