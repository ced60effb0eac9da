"""The files a suite names: features, some of their rows, and labels from a file or from the names of images."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from glocal.aligner import FitData
from glocal.data.answers import Answers
from glocal.data.features import NAMES_FILE, Features
from glocal.data.join import join
from glocal.data.labels import load_labels
from glocal.errors import DataError, ParameterError
from glocal.files import read_lines
from glocal.jobs.leaving import tree_sha256
from glocal.suite.plan import NetworkFiles, Plan

_ROWS = re.compile(r"^(.*)\[(\d*):(\d*)\]$")


class Sources:
    """The data of one network of a suite, loaded when they are asked for and kept."""

    def __init__(self, plan: Plan, network: NetworkFiles) -> None:
        self._plan, self.network = plan, network
        self._loaded: dict[str, Features] = {}
        self._hashes: dict[str, dict[str, str]] = {}

    def path(self, text: str) -> Path:
        """A path of the suite file, ``{network}`` replaced."""
        return self._plan.root / text.replace("{network}", self.network.name)

    def features(self, text: str) -> Features:
        """Features by ``path`` or ``path[a:b]``."""
        if text not in self._loaded:
            match = _ROWS.match(text)
            features = Features.load(self.path(text if match is None else match[1]))
            if match is not None:
                rows = slice(int(match[2] or 0), int(match[3] or len(features)))
                names = None if features.names is None else features.names[rows]
                features = Features(features.matrix[rows], names, f"{features.source}[{rows.start}:{rows.stop}]")
            self._loaded[text] = features
        return self._loaded[text]

    def labels(self, text: str, features: Features) -> np.ndarray:
        """Labels of features: a file, ``labels.NAME`` of the suite, or ``names:PATTERN`` with one group."""
        if text.startswith("labels."):
            return self._by_patterns(text.removeprefix("labels."), features)
        if text.startswith("names:"):
            return self._by_group(text.removeprefix("names:"), features)
        return load_labels(self.path(text), len(features))

    @cached_property
    def objects(self) -> Features:
        """The features of the objects people judged."""
        return self.features(self.network.features)

    @cached_property
    def triplets(self) -> Answers:
        """People's answers, as rows of the objects."""
        return self.answers(self._plan.answers["triplets"])

    def answers(self, name: str) -> Answers:
        """The answers of a file, of the kind that the plan says, in rows of the object features."""
        return self.joined(Answers.load(self.path(name), kind=self._plan.answers.get("kind")))

    def joined(self, answers: Answers) -> Answers:
        """Answers about the object ids, as rows of the objects; those on objects without features are left out."""
        return join(self.objects, answers, self.object_ids).triplets

    @cached_property
    def parts(self) -> tuple[Answers, Answers]:
        """The answers that arms are fitted on, and those held out with a fold of objects."""
        plan, answers = self._plan, self.triplets
        data, heldout, _ = FitData(self.objects, answers, seed=plan.seed).fold(plan.fold, plan.folds)
        return data.answers, heldout

    @cached_property
    def object_ids(self) -> tuple[str, ...] | None:
        """The names of the objects that answers, RDMs and repeated answers index; None: they index the features."""
        ids = self._plan.answers.get("object_ids")
        return None if ids is None else tuple(read_lines(self.path(ids), what="object ids"))

    def hashes(self, text: str) -> dict[str, str]:
        """The SHA-256 of the file or folder that a text names, and of the names that lie beside a file."""
        if text not in self._hashes:
            file = _ROWS.sub(r"\1", text)
            path = self.path(file)
            found = {text: tree_sha256(path)}
            names = path.parent / NAMES_FILE
            if names.is_file() and path.is_file():
                found[(PurePosixPath(file).parent / NAMES_FILE).as_posix()] = tree_sha256(names)
            self._hashes[text] = found
        return self._hashes[text]

    def is_file(self, text: str) -> bool:
        """Whether a text of the suite file names a file or folder."""
        return self.path(_ROWS.sub(r"\1", text)).exists()

    def _by_patterns(self, name: str, features: Features) -> np.ndarray:
        patterns = self._plan.labels.get(name)
        if patterns is None:
            raise ParameterError(f"the suite names labels.{name} but has no table [labels.{name}].")
        labels = []
        for image in _names(features):
            fitting = [label for label, pattern in patterns.items() if re.search(pattern, image)]
            if len(fitting) != 1:
                raise DataError(
                    f"image {image} fits {len(fitting)} of the patterns of labels.{name}; each must fit exactly one."
                )
            labels.append(fitting[0])
        return np.array(labels)

    @staticmethod
    def _by_group(pattern: str, features: Features) -> np.ndarray:
        labels = []
        for image in _names(features):
            match = re.search(pattern, image)
            if match is None or not match.groups():
                raise DataError(f"image {image} has no label: names:{pattern} must fit with one group in brackets.")
            labels.append(match[1])
        return np.array(labels)


def present(plan: Plan) -> tuple[Plan, dict[str, Path]]:
    """The plan without the tasks of which a network lacks a file, and the first such file of each.

    A ParameterError where no task is left.
    """
    missing: dict[str, Path] = {}
    for network in plan.networks:
        sources = Sources(plan, network)
        for task in plan.tasks:
            lacking = [sources.path(text) for text in task.files if not sources.is_file(text)]
            if lacking:
                missing.setdefault(task.name, lacking[0])
    left = tuple(task for task in plan.tasks if task.name not in missing)
    if not left:
        raise ParameterError(f"no task of the suite has its files; {next(iter(missing.values()))} is missing.")
    return replace(plan, tasks=left), missing


def _names(features: Features) -> tuple[str, ...]:
    if features.names is None:
        raise DataError(f"{features.source} has no file_names.txt, from which labels were to be read.")
    return features.names
