"""Sweeps on more local images than memory holds: what is read, how many blocks, what is recorded."""

import numpy as np
import processes
import pytest

from glocal.aligner import Exact, FitData
from glocal.data.features import Features
from glocal.data.splits import local_blocks, object_folds
from glocal.data.world import simulated_world
from glocal.errors import DataError
from glocal.sweep import Sweep
from glocal.sweep.data import FoldData, SweepData
from glocal.sweep.fold import Fold

GRID = {"alpha": [0.5], "lmbda": [0.1], "tau": [0.25]}


@pytest.fixture(scope="module")
def many():
    """A simulated world with 1800 local images: 40 blocks of 30 outside a fold of three."""
    return simulated_world(n_triplets=20_000, n_local=1800, dimensions=32)


def data_of(world, local=None, most_candidates=10_000, **options):
    local = world.local if local is None else local
    fit = FitData(world.objects, world.triplets, local, **{"block_size": 30, **options})
    return SweepData(fit, most_candidates=most_candidates)


def test_a_fold_reads_the_rows_it_uses_and_no_other(many):
    """Blocks are those of the images outside the fold, scored images those inside; other rows may hold anything."""
    matrix = many.local.matrix.copy()
    inside = object_folds(len(matrix), 3, 42)[1]
    outside = np.setdiff1d(np.arange(len(matrix)), inside)
    used = outside[np.concatenate(local_blocks(len(outside), 30, 42)[:4])]
    matrix[np.setdiff1d(outside, used)] = np.nan
    fold = FoldData.read(data_of(many, Features(matrix), local_blocks=4), 1, 3, Exact())
    scalars = many.objects.standardization
    assert np.array_equal(np.concatenate(fold.local.blocks), scalars(matrix[used]))
    assert np.array_equal(fold.images, matrix[np.sort(inside)])
    assert len(fold.local) == 4
    matrix[used[0], 3] = np.inf
    with pytest.raises(DataError, match=f"holds inf at row {used[0]}, column 3"):
        FoldData.read(data_of(many, Features(matrix), local_blocks=4), 1, 3, Exact())


def test_more_images_than_can_be_compared_are_sampled(many):
    """Of more held-out images than the limit the first drawn are candidates, and their number is among the scores."""
    fold = FoldData.read(data_of(many, most_candidates=100, local_blocks=2), 0, 3, Exact())
    assert np.array_equal(fold.images, many.local.matrix[np.sort(object_folds(1800, 3, 42)[0][:100])])
    fold = Fold(fold)
    assert fold.scores(fold.identity)["n_images"] == 100


def test_every_point_trains_on_the_first_16_blocks(many):
    """Of 40 blocks outside a fold each point uses 16, unless another number is given."""
    assert len(FoldData.read(data_of(many), 0, 3, Exact()).local) == 16
    assert len(FoldData.read(data_of(many, local_blocks=20), 0, 3, Exact()).local) == 20


def test_raw_local_images_are_trained_raw_and_judged_standardized(many):
    """With local_standardized=False the local term sees raw features; neighbours stay those of standardized ones."""
    objects, local = Features(2 * many.objects.matrix + 0.6), Features(2 * many.local.matrix + 0.6)

    def swept(features, images, raw, alpha=0.5):
        sweep = Sweep(GRID | {"alpha": [alpha]}, block_size=600, local_standardized=not raw, select="val-loss")
        return sweep.fit(features, many.triplets, local_features=images)

    raw, usual = swept(objects, local, raw=True), swept(objects, local, raw=False)
    assert not np.allclose(raw.results_["local_loss"], usual.results_["local_loss"], rtol=1e-4)
    assert raw.transform_.meta["fit"]["local_standardized"] is False
    # where the local term has no weight the transforms are equal, and so are the neighbours they keep
    raw, usual = swept(objects, local, raw=True, alpha=0.0), swept(objects, local, raw=False, alpha=0.0)
    assert raw.results_["neighbours_kept"].tolist() == pytest.approx(usual.results_["neighbours_kept"].tolist())
    # features that are standardized already are the same raw
    scalars = many.objects.standardization
    objects, local = (Features(scalars(one.matrix, "float64")) for one in (many.objects, many.local))
    raw, usual = swept(objects, local, raw=True), swept(objects, local, raw=False)
    assert raw.results_["objective"].tolist() == pytest.approx(usual.results_["objective"].tolist(), rel=1e-4)


CODE = """
import sys, tempfile, warnings
from glocal.aligner import Exact, FitData
from glocal.data.features import Features
from glocal.data.world import simulated_world
from glocal.sweep.data import SweepData
from glocal.sweep.grid import Grid
from glocal.sweep.outcome import conclude
from glocal.sweep.run import SweepPlan, run
from glocal.sweep.store import PointStore
warnings.simplefilter("ignore")
world = simulated_world(n_triplets=4000, n_local=10, dimensions=256)
grid = Grid.of({"alpha": [0.1], "lmbda": [1.0], "tau": [0.25]})

def sweep(local):
    fit = FitData(world.objects, world.triplets, local, local_blocks=2, block_size=256)
    plan = SweepPlan(SweepData(fit, most_candidates=1000), grid, 2, Exact(max_evaluations=2))
    with tempfile.TemporaryDirectory() as folder:
        points = [point for path in plan.paths() for point in path]
        store = PointStore(folder, plan.config(), points, resume=False)
        run(plan, store)
        conclude(plan, store, "val-loss")

for path in sys.argv[1:]:
    local = Features.load(path)
    print(peak_of(lambda: sweep(local))[0])
"""


def test_memory_does_not_grow_with_the_local_images(tmp_path):
    """Eight times as many local images need hardly more anonymous memory in a sweep."""
    zarr = pytest.importorskip("zarr")
    peaks = []
    for rows in (8_192, 65_536):
        X = np.random.default_rng(0).integers(0, 4, (rows, 256)).astype(np.float32)  # 8 MB and 67 MB
        np.save(tmp_path / f"{rows}.npy", X)
        zarr.create_array(str(tmp_path / f"{rows}.zarr"), data=X, chunks=(1024, 256))
        paths = [tmp_path / f"{rows}.npy", tmp_path / f"{rows}.zarr"]
        # the first file is measured twice: what loading libraries takes is not what a sweep takes
        peaks.append(processes.numbers(CODE, paths[0], *paths))
    assert all(after < before + 40 for before, after in zip(*peaks, strict=True)), peaks


def test_stores_can_be_swept(many, tmp_path):
    """Local images in an array that stays on the disk give the points of those in memory."""
    zarr = pytest.importorskip("zarr")
    zarr.create_array(str(tmp_path / "l.zarr"), data=many.local.matrix, chunks=(37, 32))
    sweeps = [
        Sweep(GRID, block_size=300).fit(many.objects, many.triplets, local_features=local)
        for local in (many.local, Features.load(tmp_path / "l.zarr"))
    ]
    assert sweeps[0].results_["objective"].tolist() == sweeps[1].results_["objective"].tolist()
