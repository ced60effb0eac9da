"""A suite and a sweep over a simulated world whose answer is known, and how the simulated people score."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from glocal.aligner import FitData
from glocal.data.features import Features
from glocal.data.world import World, simulated_world
from glocal.evaluation.agreement import odd_one_out
from glocal.files import PathLike, atomic_write, make_folder
from glocal.results import DIFFERENCE, PEOPLE, to_json
from glocal.suite.cells import Cells
from glocal.suite.plan import Plan
from glocal.suite.run import Progress, SuiteResult, run_suite
from glocal.suite.sources import Sources
from glocal.sweep import sweep

SIMULATED = "the simulated people"
# naive shrinks toward 0 and not toward an identity: the same λ would be a far stronger penalty
SUITE = """\
# A simulated world, not people. Again, or changed: glocal evaluate suite suite.toml --out OUT
seed = 42
folds = 3 # arms are fitted without the objects of fold 0, on which odd-one-out scores them
fold = 0
baseline = "original"
categories = "world/categories.tsv"

[answers]
triplets = "world/triplets.npy"

[networks.simulated]
features = "world/objects"
local = "world/images.npy[0:600]" # the rest are held out: all other tasks are about them

[arms.original]

[arms.naive]
method = "naive"
lmbda = 0.02

[arms.global]
method = "global"
lmbda = 0.1

[arms.glocal]
method = "glocal"
alpha = 0.25
lmbda = 0.1
tau = 0.1

[tasks.odd-one-out]
kind = "odd-one-out"

[tasks.few-shot-class] # 6 superordinate classes
kind = "few-shot"
train = "world/images.npy[600:1800]"
train_labels = "world/class.txt"
shots = 5
draws = 5

[tasks.few-shot-category] # 60 categories
kind = "few-shot"
train = "world/images.npy[600:1800]"
train_labels = "world/category.txt"
shots = 5
draws = 3

[tasks.anomaly] # each category in turn is the normal one
kind = "anomaly"
train = "world/images.npy[600:1200]"
train_labels = "world/category_train.txt"
test = "world/images.npy[1200:1800]"
test_labels = "world/category_test.txt"

[tasks.structure]
kind = "structure"
features = "world/images.npy[1200:1800]"
"""
GRID = {  # of the sweep: smaller lmbda than those of the default grid, since people here answer with little noise
    "alpha": [0.1, 0.25, 0.5],
    "lmbda": {"naive": [0.005, 0.02, 0.08], "global": [0.03, 0.1, 0.3, 1.0], "glocal": [0.03, 0.1, 0.3, 1.0]},
    "tau": [0.1],
}
_FITTED, _MIDDLE, _IMAGES = 600, 1200, 1800


def run_demo(out: PathLike, progress: Progress | None = None) -> SuiteResult:
    """Write a simulated world and its suite into a folder, run it, and score the simulated people beside the arms.

    The folder is that of any suite, with ``suite.toml``, ``world/``, the transform of each arm by its name, and
    ``scores.jsonl``: the scores without networks and comparisons. ``sweep/`` is the folder of a sweep of all arms on
    the images that the suite fits on.
    """
    folder = make_folder(out)
    world = simulated_world(n_local=_IMAGES)
    _write_world(world, make_folder(folder / "world"))
    _write(folder / "suite.toml", SUITE)
    plan = Plan.load(folder / "suite.toml")
    found = run_suite(plan, folder, progress)
    sources = Sources(plan, plan.networks[0])
    people = odd_one_out(world.mind, sources.parts[1], similarity="dot").scores  # as they compare
    ceiling = replace(
        people[0], metric="ceiling_people", split="heldout", transform=PEOPLE, network=sources.network.name
    )
    result = replace(found, scores=(*found.scores, ceiling))
    arms = [replace(score, network=None) for score in found.scores if not score.metric.endswith(DIFFERENCE)]
    beside = [replace(score, split="heldout", transform=SIMULATED) for score in people[:2]]
    for name, scores in (("rows.jsonl", result.scores), ("scores.jsonl", (*arms, *beside))):
        _write(folder / name, "".join(to_json(score.row()) + "\n" for score in scores))
    cells = Cells(folder, plan)
    for arm in plan.arms:
        if (transform := cells.transform(arm, sources)) is not None:
            transform.save(folder / f"{arm.name}.npz")
    images = Features(world.local.matrix[:_FITTED], None, "world/images.npy[0:600]")
    sweep(
        FitData(world.objects, world.triplets, images), GRID, out=folder / "sweep", resume=True,
        progress=None if progress is None else lambda row, done, total: progress("sweep", done, total),
    )  # fmt: skip
    return result


def _write_world(world: World, folder: Path) -> None:
    names = world.objects.names or ()
    classes = [f"class {number}" for number in world.superordinate]
    features = make_folder(folder / "objects")
    _write_array(features / "features.npy", world.objects.matrix)
    _write(features / "file_names.txt", "".join(f"{name}\n" for name in names))
    lines = [f"{name}\t{label}\n" for name, label in zip(names, classes, strict=True)]
    _write(folder / "categories.tsv", "object\tcategory\n" + "".join(lines))
    _write_array(folder / "triplets.npy", world.triplets.answers)
    _write_array(folder / "images.npy", world.local.matrix)
    per_class = len(np.unique(world.local_category)) // len(np.unique(world.superordinate))
    category = world.local_category[_FITTED:]
    labels = {"class": category // per_class, "category": category}
    labels |= {"category_train": category[: _MIDDLE - _FITTED], "category_test": category[_MIDDLE - _FITTED :]}
    for name, numbers in labels.items():
        _write(folder / f"{name}.txt", "".join(f"{number}\n" for number in numbers))


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as stream:
        stream.write(text.encode())


def _write_array(path: Path, array: Any) -> None:
    with atomic_write(path) as stream:
        np.save(stream, np.asarray(array), allow_pickle=False)
