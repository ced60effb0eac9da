"""The demo: a suite over a simulated world."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from glocal.data.world import World
from glocal.errors import ParameterError
from glocal.files import PathLike, make_folder, write_npy, write_text
from glocal.suite.drawings import Drawn, drawn_world
from glocal.suite.plan import Plan

_PARTS = {
    "local": slice(0, 600),
    "near": slice(1600, 1800),
    "train": slice(600, 1600),
    "test": slice(1600, 2400),
}


def write_demo(out: PathLike) -> tuple[Plan, Drawn]:
    """Write a simulated world and its suite into a folder, and return the suite and the world.

    ``suite.toml`` is the suite, and ``world/`` holds files that the commands take.

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
    drawings = drawn_world()
    _write_world(drawings.world, make_folder(folder / "world"))
    return Plan.load(suite), drawings


def _write_world(world: World, folder: Path) -> None:
    names = world.objects.names or ()
    write_npy(make_folder(folder / "objects") / "features.npy", np.asarray(world.objects.matrix))
    _write(folder / "objects" / "file_names.txt", names)
    world.answers.save(folder / "answers.npz")
    per_class = len(np.unique(world.local_category)) // len(np.unique(world.superordinate))
    for part, rows in _PARTS.items():
        write_npy(folder / f"{part}.npy", np.asarray(world.local.matrix[rows]))
        _write(folder / f"{part}_category.txt", world.local_category[rows])
        _write(folder / f"{part}_kind.txt", world.local_category[rows] // per_class)


def _write(path: Path, lines: Iterable[Any]) -> None:
    write_text(path, "".join(f"{line}\n" for line in lines))
