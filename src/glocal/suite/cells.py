"""What a suite has done: fitted arms and scored cells, found again by the content they came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from glocal._version import __version__
from glocal.aligner import Arm, Exact, FitData, fit
from glocal.arrays import read_npz
from glocal.evaluation.intervals import Units
from glocal.evaluation.result import KeptResult
from glocal.files import PathLike, atomic_write, make_folder, reading
from glocal.jobs.folder import once, sweep_out
from glocal.options import taken
from glocal.results import Score, to_json
from glocal.suite.plan import NamedArm, Plan, Task
from glocal.suite.sources import Sources
from glocal.suite.tasks import Embed, perform
from glocal.transform import LinearTransform

_ARRAYS = ("values", "answers", "weights", "clusters")
_FORMAT = 5  # bump to invalidate cached cells when what the tasks compute changes


class Cells:
    """The cells of one suite in its folder.

    ``transforms/NETWORK-ARM-KEY.npz`` is a fitted arm, ``cells/KEY.npz`` one task of one arm of one network. A key is a
    hash of everything that the content depends on, the version of this package included, so that a killed or changed
    suite computes what is missing only; of two processes in one folder one computes what both miss.
    """

    def __init__(self, folder: PathLike, plan: Plan) -> None:
        self._plan = plan
        self._transforms = make_folder(Path(folder) / "transforms")
        self._cells = make_folder(Path(folder) / "cells")
        for place in (self._transforms, self._cells):
            sweep_out(place)

    def file(self, arm: NamedArm, sources: Sources) -> Path | None:
        """Where the transform of an arm that is fitted lies; None for other arms."""
        if not arm.fitted:
            return None
        stem = self._plan.stems[sources.network.name, arm.name]
        return self._transforms / f"{stem}-{self._arm_key(arm, sources)[:12]}.npz"

    def transform(self, arm: NamedArm, sources: Sources) -> LinearTransform | None:
        """The transform of an arm, fitted if it has not been; None for the original features."""
        settings = dict(arm.settings)
        if not settings:
            return None
        path = self.file(arm, sources)
        if path is None:
            strength = float(settings.get("strength", 1.0))
            loaded = LinearTransform.load(sources.path(settings["transform"]))
            return loaded if strength == 1 else loaded.at_strength(strength)
        with once(path) as missing:
            if missing:
                self._fitted(arm, sources).save(path)
        return LinearTransform.load(path)

    def found(
        self, task: Task, arm: NamedArm, sources: Sources, transform: LinearTransform | None
    ) -> tuple[KeptResult, bool]:
        """What a task found about an arm, and whether it was found before."""
        path = self._cells / f"{self._cell_key(task, sources, transform)}.npz"
        with once(path) as missing:
            if not missing:
                return _load(path), True
            found = perform(task, sources, embedding(sources, transform), self._plan.seed)
            _save(path, found)
            return found, False

    def _fitted(self, arm: NamedArm, sources: Sources) -> LinearTransform:
        settings = dict(arm.settings)
        strength = float(settings.pop("strength", 1.0))
        minimised = Arm(**taken(Arm, settings))
        minimised.warn_unused({name: f"{arm.name}.{name}" for name in settings})
        local = sources.network.local if minimised.local else None
        data = FitData(
            sources.objects, sources.parts[0], None if local is None else sources.features(local),
            seed=self._plan.seed, **taken(FitData, settings),
        )  # fmt: skip
        fitted = fit(data, minimised, Exact(**taken(Exact, settings))).transform
        return fitted if strength == 1 else fitted.at_strength(strength)

    def _arm_key(self, arm: NamedArm, sources: Sources) -> str:
        plan, network = self._plan, sources.network
        files = [network.features, *plan.answers.values()]
        if arm.settings["method"] == "glocal" and network.local is not None:
            files.append(network.local)
        return hash_of({
            "version": __version__, "arm": dict(arm.settings), "fold": [plan.seed, plan.folds, plan.fold],
            "files": [[text, sources.hashes(text)] for text in files],
        })  # fmt: skip

    def _cell_key(self, task: Task, sources: Sources, transform: LinearTransform | None) -> str:
        plan, network = self._plan, sources.network
        texts = [network.features, *(value for value in task.settings.values() if isinstance(value, str))]
        texts += plan.answers.values() if task.kind in ("odd-one-out", "rsa") else []
        used = {name: table for name, table in plan.labels.items() if f"labels.{name}" in texts}
        return hash_of({
            "format": _FORMAT, "version": __version__, "kind": task.kind, "settings": dict(task.settings),
            "labels": used, "files": [[text, sources.hashes(text)] for text in texts if sources.is_file(text)],
            "fold": [plan.seed, plan.folds, plan.fold], "transform": content_of(transform),
        })  # fmt: skip


def embedding(sources: Sources, transform: LinearTransform | None) -> Embed:
    """Features → standardized rows by the scalars of the objects, or what the transform makes of them."""
    if transform is None:
        return lambda features: sources.objects.standardization(features.matrix, "float64")
    return lambda features: transform.apply(np.asarray(features.matrix, dtype=np.float64))


def content_of(transform: LinearTransform | None) -> str | None:
    """The hash of what a transform does; None for none."""
    if transform is None:
        return None
    digest = hashlib.sha256(np.ascontiguousarray(transform.weights).tobytes())
    digest.update(b"" if transform.bias is None else np.ascontiguousarray(transform.bias).tobytes())
    digest.update(np.array([transform.mean, transform.std]).tobytes())
    return digest.hexdigest()


def hash_of(content: Mapping[str, Any]) -> str:
    """The hash of JSON values, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _save(path: Path, found: KeptResult) -> None:
    arrays = {} if found.units is None else {name: getattr(found.units, name) for name in _ARRAYS}
    kept = {name: array for name, array in arrays.items() if array is not None}
    with atomic_write(path) as stream:
        np.savez(
            stream, allow_pickle=False, scores=np.array(to_json([asdict(score) for score in found.scores])), **kept
        )


def _load(path: Path) -> KeptResult:
    fix = "Delete it: its task is scored anew."
    arrays = read_npz(path, what="cell", fix=fix, required=("scores",), optional=_ARRAYS)
    with reading(path, "cell", fix):
        scores = tuple(
            Score(**{**row, "value": float("nan") if row["value"] is None else row["value"]})
            for row in json.loads(str(arrays.pop("scores")))
        )
    return KeptResult(scores, Units(**arrays) if "values" in arrays else None)
