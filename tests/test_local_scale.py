"""Any number of local images: they are read from disk, and only as many blocks as a fit needs."""

from dataclasses import replace

import numpy as np
import processes
import pytest
from world import folder

from glocal import Features, FitData, ObjectiveSettings, fit
from glocal.data.splits import local_blocks
from glocal.errors import DataError
from glocal.files import array_sha256


def mapped(path, matrix):
    """Features of this matrix that are memory-mapped."""
    return Features.load(folder(path, features_npy=matrix))


@pytest.mark.nightly
def test_the_first_16_blocks_of_a_mapped_file_are_used_and_checked(tmp_path, world):
    """The first 16 blocks of a mapped file equal those of a matrix in memory bit by bit, and only
    their rows are hashed and checked for NaN.
    """
    block_rows = local_blocks(300, 12, 42)
    X = world.local.matrix.copy()
    X[block_rows[16][3]] = np.nan
    local = mapped(tmp_path, X)
    data = FitData(world.objects, world.answers, local, block_size=12, centre="scalar")
    whole = world.objects.standardization(X, "float32")
    blocks = data.local_rows("float32")
    assert [block.dtype for block in blocks] == [np.float32] * 16
    for block, rows in zip(blocks, block_rows[:16], strict=True):
        np.testing.assert_array_equal(block, whole[rows])
    assert data.hashes(local=True)["local_features"] == array_sha256(
        X[np.sort(np.concatenate(block_rows[:16]))]
    )
    record = fit(data, ObjectiveSettings("glocal", lmbda=0.1)).record
    assert record.n_local_blocks == 16
    assert record.n_local == 192
    with pytest.raises(DataError, match=f"row {block_rows[16][3]}, column 0"):
        # images in no block may still be candidates for neighbours
        data.evaluation_rows(block_rows[16])
    X[block_rows[15][3]] = np.nan
    with pytest.raises(DataError, match=f"row {block_rows[15][3]}, column 0"):
        fit(
            replace(data, local_features=mapped(tmp_path, X)),
            ObjectiveSettings("glocal", lmbda=0.1),
        )


CODE = """
import sys, warnings
from glocal import ObjectiveSettings, Exact, Features, FitData, fit
from glocal.data.world import simulated_world
warnings.simplefilter("ignore")
world = simulated_world(n_answers=2000, n_local=10, dimensions=256)
for path in sys.argv[1:]:
    data = FitData(world.objects, world.answers, Features.load(path), block_size=64)
    settings = ObjectiveSettings("glocal", lmbda=0.1)
    peak, found = peak_of(lambda: fit(data, settings, Exact(max_evaluations=2)))
    assert found.record.n_local == 1024
    print(peak)
"""


@pytest.mark.nightly
def test_memory_does_not_grow_with_the_local_images(tmp_path):
    """With eight times as many local images, a fit needs hardly more anonymous memory."""
    peaks = []
    for rows in (16_384, 131_072):
        X = np.random.default_rng(0).integers(0, 4, (rows, 256))  # 16 MB and 128 MB in float32
        path = folder(tmp_path / str(rows), features_npy=X.astype(np.float32))
        # twice: the first fit also loads libraries
        peaks.append(processes.numbers(CODE, path, path))
    assert peaks[1][1] < peaks[0][1] + 40, peaks
