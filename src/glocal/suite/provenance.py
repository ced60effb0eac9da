"""Where the rows of a suite come from: ``suite.json`` beside them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from glocal._version import __version__
from glocal.files import atomic_write
from glocal.records import Provenance, to_json
from glocal.suite.cells import Cells
from glocal.suite.plan import Plan
from glocal.suite.sources import Sources


def write_provenance(folder: Path, plan: Plan, sources: Sequence[Sources], cells: Cells) -> None:
    """Write the plan of a suite, the SHA-256 of every file it read, version, seed and machine, as one JSON object.

    Paths stand as the suite file gives them, ``{network}`` replaced; ``transforms`` names the file of each fitted arm.
    """
    fits: dict[str, dict[str, str]] = {one.network.name: {} for one in sources}
    for one, arm in product(sources, plan.arms):
        if (file := cells.file(arm, one)) is not None:
            fits[one.network.name][arm.name] = file.name
    record = {
        "plan": _plain(plan), "provenance": Provenance(__version__, _hashes(plan, sources), plan.seed),
        "transforms": fits,
    }  # fmt: skip
    with atomic_write(folder / "suite.json") as stream:
        stream.write((to_json(record) + "\n").encode())


def _plain(plan: Plan) -> dict[str, Any]:
    return {
        "networks": {network.name: {"features": network.features, "local": network.local} for network in plan.networks},
        "answers": dict(plan.answers), "arms": {arm.name: dict(arm.settings) for arm in plan.arms},
        "tasks": {task.name: {"kind": task.kind, **task.settings} for task in plan.tasks},
        "baseline": plan.baseline, "seed": plan.seed, "folds": plan.folds, "fold": plan.fold,
        "categories": plan.categories, "map": plan.map,
    }  # fmt: skip


def _hashes(plan: Plan, sources: Sequence[Sources]) -> dict[str, str]:
    hashes: dict[str, str] = {}
    for one in sources:
        texts = [one.network.features, one.network.local, plan.categories, *plan.answers.values()]
        texts += [arm.settings.get("transform") for arm in plan.arms]
        texts += [value for task in plan.tasks for value in task.settings.values() if isinstance(value, str)]
        for text in texts:
            if text is not None and one.is_file(text):
                for name, sha256 in one.hashes(text).items():
                    hashes[name.replace("{network}", one.network.name)] = sha256
    return hashes
