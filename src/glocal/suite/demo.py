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
from glocal.files import PathLike, atomic_write, make_folder, write_npy
from glocal.results import PEOPLE, to_json
from glocal.suite.plan import Plan
from glocal.suite.run import Progress, SuiteResult, run_suite
from glocal.sweep.run import sweep

# naive shrinks toward 0 and not toward an identity: the same λ would be a far stronger penalty
SUITE = """\
# A simulated world, not people. Again, or changed: glocal suite suite.toml --out OUT
answers = "world/answers.npz"
categories = "world/categories.tsv"
folds = 3 # arms are fitted without the objects of fold 0, on which odd-one-out scores them
seed = 42

[networks.simulated]
features = "world/objects"
local = "world/local.npy" # all other tasks are about images that were not fitted

[arms.original]

[arms.naive]
method = "naive"
lmbda = 0.02

[arms.global] # as near to people as glocal
method = "global"
lmbda = 0.3

[arms.glocal]
method = "glocal"
alpha = 0.25
lmbda = 0.03
tau = 0.1

[arms.keep-8-of-10]
keep = 0.8

[tasks.odd-one-out]
kind = "odd-one-out"

[tasks.few-shot-class] # 6 superordinate classes
kind = "few-shot"
train = "world/train.npy"
train_labels = "world/train_class.txt"
test = "world/test.npy"
test_labels = "world/test_class.txt"
draws = 3

[tasks.few-shot-category] # 60 categories
kind = "few-shot"
train = "world/train.npy"
train_labels = "world/train_category.txt"
test = "world/test.npy"
test_labels = "world/test_category.txt"
probe = "ncm"
draws = 3

[tasks.anomaly] # each category in turn is the normal one
kind = "anomaly"
train = "world/train.npy"
train_labels = "world/train_category.txt"
test = "world/test.npy"
test_labels = "world/test_category.txt"

[tasks.structure] # among as many images as a fold of the local ones has, on which keep was chosen
kind = "structure"
features = "world/near.npy"
"""
GRID = {  # of the sweep: smaller lmbda than those of the default grid, since people here answer with little noise
    "alpha": [0.25, 0.5], "tau": [0.1],
    "lmbda": {"naive": [0.02], "global": [0.03, 0.1, 0.3, 1.0], "glocal": [0.03, 0.1, 0.3]},
}  # fmt: skip
_PARTS = {"local": slice(0, 600), "near": slice(1600, 1800), "train": slice(600, 1600), "test": slice(1600, 2400)}


def demo_world() -> World:
    """The world of the demo: photographs show a setting too, so that the local term matters."""
    return simulated_world(n_local=2400, n_setting=6)


def run_demo(out: PathLike, progress: Progress | None = None) -> SuiteResult:
    """Write a simulated world and its suite into a folder, run it, and score the simulated people beside the arms.

    The folder is that of any suite, with ``suite.toml`` and, in ``world/``, the files that every command takes;
    ``sweep/`` in it is the folder of a sweep on the images that the suite fits on.
    """
    folder = make_folder(out)
    world = demo_world()
    _write_world(world, make_folder(folder / "world"))
    _write(folder / "suite.toml", SUITE)
    plan = Plan.load(folder / "suite.toml")
    found = run_suite(plan, folder, progress)
    heldout = plan.sources("simulated").fold[1]
    people = odd_one_out(world.mind, heldout, similarity="dot").scores[0]  # as they compare
    ceiling = replace(
        people, metric="ceiling_people", split=found.scores[0].split, transform=PEOPLE, network="simulated"
    )
    result = replace(found, scores=(*found.scores, ceiling))
    _write(folder / "rows.jsonl", "".join(to_json(score.row()) + "\n" for score in result.scores))
    local = Features(world.local.matrix[_PARTS["local"]], None, "world/local.npy")
    sweep(
        FitData(world.objects, world.answers, local), GRID, out=folder / "sweep", resume=True,
        progress=None if progress is None else lambda row, done, total: progress("sweep", done, total),
    )  # fmt: skip
    return result


def _write_world(world: World, folder: Path) -> None:
    names = world.objects.names or ()
    write_npy(make_folder(folder / "objects") / "features.npy", np.asarray(world.objects.matrix))
    _write(folder / "objects" / "file_names.txt", "".join(f"{name}\n" for name in names))
    pairs = zip(names, world.superordinate, strict=True)
    _write(folder / "categories.tsv", "object\tcategory\n" + "".join(f"{name}\tclass {c}\n" for name, c in pairs))
    world.answers.save(folder / "answers.npz")
    per_class = len(np.unique(world.local_category)) // len(np.unique(world.superordinate))
    for part, rows in _PARTS.items():
        write_npy(folder / f"{part}.npy", np.asarray(world.local.matrix[rows]))
        for name, labels in {"category": world.local_category, "class": world.local_category // per_class}.items():
            _write(folder / f"{part}_{name}.txt", "".join(f"{label}\n" for label in labels[rows]))


def _write(path: Path, text: Any) -> None:
    with atomic_write(path) as stream:
        stream.write(text.encode())
