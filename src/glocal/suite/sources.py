"""The files that a suite names, loaded when they are asked for and kept."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from glocal.aligner import FitData
from glocal.data.answers import Answers
from glocal.data.features import NAMES_FILE, Features, object_name
from glocal.data.join import join
from glocal.data.labels import load_categories, load_labels
from glocal.errors import ParameterError
from glocal.files import file_sha256, read_lines
from glocal.suite.plan import Network, Plan


class Sources:
    """The data of one network of a suite."""

    def __init__(self, plan: Plan, network: Network) -> None:
        self._plan, self.network = plan, network
        self._loaded: dict[str, Features] = {}
        self._hashes: dict[str, str] = {}

    def path(self, text: str) -> Path:
        """A path of the suite file, ``{network}`` replaced."""
        return self._plan.root / text.replace("{network}", self.network.name)

    def features(self, text: str) -> Features:
        """The features that a text names."""
        if text not in self._loaded:
            self._loaded[text] = Features.load(self.path(text))
        return self._loaded[text]

    def labels(self, text: str, features: Features) -> np.ndarray:
        """The labels of features."""
        return load_labels(self.path(text), len(features))

    def answers(self, text: str) -> Answers:
        """The answers of a file, as rows of the objects; those about objects without features are left out."""
        answers = Answers.load(self.path(text), kind=self._plan.kind)
        return join(self.objects, answers, self.object_ids).answers

    @cached_property
    def objects(self) -> Features:
        """The features of the objects people judged."""
        return self.features(self.network.features)

    @cached_property
    def object_ids(self) -> tuple[str, ...] | None:
        """The names of the objects that answers and RDMs index; None: they index the features."""
        ids = self._plan.object_ids
        return None if ids is None else read_lines(self.path(ids), what="object ids")

    @cached_property
    def fold(self) -> tuple[FitData, Answers]:
        """What arms are fitted on, without local images, and the answers about the objects of fold 0, held out."""
        plan = self._plan
        assert plan.answers is not None
        answers = self.answers(plan.answers)
        data, heldout, _ = FitData(self.objects, answers, seed=plan.seed).fold(0, plan.folds)
        return data, heldout

    @cached_property
    def names(self) -> tuple[str, ...]:
        """A name for each object, to be shown."""
        ids, n = self.object_ids, len(self.objects)
        names = self.objects.names or (ids if ids is not None and len(ids) == n else None)
        return tuple(f"object {row}" for row in range(n)) if names is None else tuple(map(object_name, names))

    @cached_property
    def categories(self) -> tuple[str, ...] | None:
        """The category of each object; "other" for one that the file does not have."""
        if self._plan.categories is None:
            return None
        ids = self.object_ids or self.names
        found = dict(zip(map(object_name, ids), load_categories(self.path(self._plan.categories), ids), strict=True))
        return tuple(str(found.get(name, "other")) for name in self.names)

    def hashes(self, *texts: str | None) -> dict[str, str]:
        """The SHA-256 of each file that a text names, and of the names beside it; of a folder those of its files."""
        found: dict[str, str] = {}
        for text in filter(None, texts):
            path = self.path(text)
            files = path.iterdir() if path.is_dir() else (path, path.with_name(NAMES_FILE))
            for file in sorted(file for file in files if file.is_file()):
                name = str(file.relative_to(self._plan.root))
                if name not in self._hashes:
                    self._hashes[name] = file_sha256(file)
                found[name] = self._hashes[name]
        return found


def present(plan: Plan) -> tuple[Plan, dict[str, Path]]:
    """The plan without the tasks of which a network lacks a file, and the first such file of each.

    A ParameterError where no task is left.
    """
    missing: dict[str, Path] = {}
    for network in plan.networks:
        sources = Sources(plan, network)
        for task in plan.tasks:
            lacking = [path for path in map(sources.path, task.files) if not path.exists()]
            if lacking:
                missing.setdefault(task.name, lacking[0])
    left = tuple(task for task in plan.tasks if task.name not in missing)
    if not left:
        raise ParameterError(f"no task of the suite has its files; {next(iter(missing.values()))} is missing.")
    return replace(plan, tasks=left), missing
