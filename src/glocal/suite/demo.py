"""The demo: a suite and a sweep over a simulated world, and the score of the simulated people."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from glocal.aligner import FitData
from glocal.data.features import Features
from glocal.data.world import World, simulated_world
from glocal.errors import ParameterError
from glocal.evaluation.agreement import odd_one_out
from glocal.files import PathLike, make_folder, write_npy, write_text
from glocal.results import PEOPLE, write_rows
from glocal.suite.plan import Plan
from glocal.suite.run import Progress, SuiteResult, run_suite
from glocal.sweep.run import sweep

# the grid of the sweep; lmbda is smaller than by default, since these people answer with little
# noise
GRID = {
    "alpha": [0.25, 0.5],
    "tau": [0.1],
    "lmbda": {"naive": [0.02], "global": [0.03, 0.1, 0.3, 1.0], "glocal": [0.03, 0.1, 0.3]},
}
_PARTS = {
    "local": slice(0, 600),
    "near": slice(1600, 1800),
    "train": slice(600, 1600),
    "test": slice(1600, 2400),
}


def demo_world() -> World:
    """The world of the demo: photographs also show a setting, so that the local term matters."""
    return simulated_world(n_local=2400, n_setting=6)


def run_demo(out: PathLike, progress: Progress = lambda count, total, step: None) -> SuiteResult:
    """Write a simulated world and its suite into a folder, and run the suite.

    The simulated people are scored as well as the arms. The folder has the layout of any suite.
    ``suite.toml`` in it is the suite, ``world/`` holds files that the commands take, and ``sweep/``
    is the folder of a sweep with the local images of the suite.

    Raises
    ------
    ParameterError
        The folder holds something other than a demo.
    """
    folder = make_folder(out)
    source = Path(__file__).with_suffix(".toml")
    suite = folder / "suite.toml"
    is_of_demo = suite.is_file() and suite.read_bytes() == source.read_bytes()
    if not is_of_demo and any(folder.iterdir()):
        raise ParameterError(
            f"the demo would replace files in {folder}, which holds something else. Name another "
            "folder with `out`."
        )
    shutil.copyfile(source, suite)
    world = demo_world()
    _write_world(world, make_folder(folder / "world"))
    plan = Plan.load(suite)
    result = run_suite(plan, folder, progress)
    heldout = plan.sources("simulated").heldout
    people = odd_one_out(world.mind, heldout, similarity="dot")  # the simulated people use it
    ceiling = replace(
        result.scores[0],
        metric="ceiling_people",
        transform=PEOPLE,
        value=people.accuracy,
        low=people.low,
        high=people.high,
    )
    result = replace(result, scores=(*result.scores, ceiling))
    write_rows(folder / "rows.jsonl", (score.row() for score in result.scores))
    local = Features(world.local.matrix[_PARTS["local"]], None, "world/local.npy")

    data = FitData(world.objects, world.answers, local)
    sweep(
        data,
        GRID,
        out=folder / "sweep",
        resume=True,
        progress=lambda row, count, total: progress(count, total, "sweep"),
    )
    return result


def _write_world(world: World, folder: Path) -> None:
    names = world.objects.names or ()
    write_npy(make_folder(folder / "objects") / "features.npy", np.asarray(world.objects.matrix))
    _write(folder / "objects" / "file_names.txt", names)
    classes = (f"{name}\tclass {c}" for name, c in zip(names, world.superordinate, strict=True))
    _write(folder / "categories.tsv", ["object\tcategory", *classes])
    world.answers.save(folder / "answers.npz")
    per_class = len(np.unique(world.local_category)) // len(np.unique(world.superordinate))
    for part, rows in _PARTS.items():
        write_npy(folder / f"{part}.npy", np.asarray(world.local.matrix[rows]))
        _write(folder / f"{part}_category.txt", world.local_category[rows])
        _write(folder / f"{part}_class.txt", world.local_category[rows] // per_class)


def _write(path: Path, lines: Iterable[Any]) -> None:
    write_text(path, "".join(f"{line}\n" for line in lines))
