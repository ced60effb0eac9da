"""Local images of any size: read from the disk, as many blocks as the fit needs, raw or standardized."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import processes
import pytest

from glocal.aligner import Arm, Exact, FitData, fit_arm
from glocal.aligner.data import LocalBlocks
from glocal.data.features import Features
from glocal.data.splits import local_blocks
from glocal.data.world import simulated_world
from glocal.errors import DataError, ParameterError
from glocal.files import array_sha256


def write(folder: Path, matrix: np.ndarray) -> Path:
    """Write a matrix as features that are mapped."""
    np.save(folder / "features.npy", matrix)
    return folder / "features.npy"


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


# blocks


def test_a_map_gives_the_blocks_of_the_matrix(tmp_path, many):
    """A memory map gives bitwise the blocks of a matrix standardized whole, all or a part of them."""
    scalars = many.objects.standardization
    expected = blocks_at_once(many.local.matrix, scalars)
    features = Features.load(write(tmp_path, many.local.matrix))
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


def test_only_used_rows_are_checked(tmp_path, many):
    """NaN in a block that is not used does not matter; in a used one it is reported with its row."""
    drawn = local_blocks(1200, 30, 42)
    X = many.local.matrix.copy()
    X[drawn[5][3]] = np.nan
    path = write(tmp_path, X)
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
from glocal.aligner import fit_arm
from glocal.data.features import Features
from glocal.data.world import simulated_world
warnings.simplefilter("ignore")
world = simulated_world(n_triplets=2000, n_local=10, dimensions=256)
options = {"max_evaluations": 2, "local_blocks": 4, "block_size": 256}
for path in sys.argv[1:]:
    local = Features.load(path)
    peak, fit = peak_of(lambda: fit_arm(world.objects, world.triplets, local_features=local, **options))
    assert fit.record.n_local == 1024
    print(peak)
"""


def test_memory_does_not_grow_with_the_local_images(tmp_path):
    """Eight times as many local images need hardly more anonymous memory."""
    peaks = []
    for rows in (16_384, 131_072):
        X = np.random.default_rng(0).integers(0, 4, (rows, 256)).astype(np.float32)  # 16 MB and 128 MB
        (tmp_path / str(rows)).mkdir()
        path = write(tmp_path / str(rows), X)
        # the file is measured twice: what loading libraries takes is not what a fit takes
        peaks.append(processes.numbers(CODE, path, path))
    assert all(after < before + 40 for before, after in zip(*peaks, strict=True)), peaks


def test_the_command_takes_a_number_of_blocks_or_auto(tmp_path, many, capsys):
    """`glocal fit --local-blocks` takes auto or a number, puts the count in its JSON, and refuses another word."""
    from glocal.cli.app import execute

    np.save(tmp_path / "x.npy", many.objects.matrix)
    np.save(tmp_path / "t.npy", many.triplets.answers)
    local = write(tmp_path, many.local.matrix)
    command = ["fit", "--features", tmp_path / "x.npy", "--triplets", tmp_path / "t.npy", "--local-features", local]
    command = [*map(str, command), "--block-size", "30", "--json", "--out", str(tmp_path / "w.npz"), "--local-blocks"]
    assert execute([*command, "3"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["n_local_blocks"], said["n_local"]) == (3, 90)
    assert execute([*command, "auto"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["n_local_blocks"] == 16
    assert execute([*command, "many"]) == 1
    assert "local-blocks is 'many'; give a whole number of blocks, or auto" in capsys.readouterr().err
