"""The file of a suite: networks, people's answers, arms and tasks, checked before anything is computed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from glocal.aligner.arm import METHODS, Arm
from glocal.aligner.data import FitData
from glocal.aligner.exact import Exact
from glocal.data.sources.breeds import check_breeds
from glocal.errors import ParameterError
from glocal.evaluation.agreement import odd_one_out
from glocal.evaluation.anomaly import anomaly
from glocal.evaluation.few_shot import few_shot
from glocal.evaluation.retrieval import retrieval
from glocal.evaluation.rsa import rsa
from glocal.evaluation.structure import structure
from glocal.files import PathLike, one_line, read_object
from glocal.options import options_of
from glocal.results import PEOPLE
from glocal.suite.text import file_stems

Types = Mapping[str, type | None]
_TOP: Types = {
    "root": str, "seed": int, "folds": int, "fold": int, "baseline": str, "networks": None, "answers": None,
    "arms": None, "labels": None, "tasks": None, "categories": str,
}  # fmt: skip
_NETWORK: Types = {"features": str, "local": str}
_ANSWERS: Types = {"triplets": str, "object_ids": str, "kind": str}
# of an arm, besides what the arm of a fit has and two options of its data and its solver
_ARM: Types = {"transform": str, "strength": float}
# of each kind of task the files that it needs, those that it may have, and the evaluation whose options it has
_TASKS: dict[str, tuple[tuple[str, ...], tuple[str, ...], Callable[..., Any]]] = {
    "odd-one-out": ((), ("triplets",), odd_one_out),
    "rsa": (("rdm",), ("index",), rsa),
    "few-shot": (("train", "train_labels"), ("test", "test_labels"), few_shot),
    "anomaly": (
        ("train", "test"),
        ("train_labels", "test_labels", "train_subclasses", "test_subclasses", "anomalies"),
        anomaly,
    ),
    "structure": (("features",), (), structure),
    "retrieval": (("features", "labels"), (), retrieval),
}
KINDS = tuple(_TASKS)
_OF_CLASSES = ("few-shot", "anomaly")  # the kinds that have classes, and that a BREEDS task may be of
# of a key of a task another one that it needs
_TOGETHER = {
    "test_labels": "test",
    "train_subclasses": "test_subclasses",
    "test_subclasses": "train_subclasses",
}
# keys of which the first excludes the others
_APART = (
    ("breeds", "train_subclasses"),
    ("anomalies", "train_labels", "test_labels", "train_subclasses", "mode", "breeds"),
)
_IN_WORDS = {str: "text in quotes", int: "a whole number", float: "a number", bool: "true or false"}
_VARIABLE = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True)
class NetworkFiles:
    """The features of one network: of the objects people judged, and of local images (None if no arm needs them)."""

    name: str
    features: str
    local: str | None = None


@dataclass(frozen=True)
class NamedArm:
    """One way to transform features: a fit by its settings, a transform file, or nothing (`original`)."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fitted(self) -> bool:
        """Whether a fit is run."""
        return bool(self.settings) and "transform" not in self.settings


@dataclass(frozen=True)
class Task:
    """One evaluation; `settings` hold its files and options as they stand in the suite file."""

    name: str
    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def files(self) -> tuple[str, ...]:
        """The files that it names; patterns by which labels are read from names are none."""
        needed, more, _ = _TASKS[self.kind]
        texts = [self.settings[key] for key in (*needed, *more) if key in self.settings]
        return tuple(text for text in texts if not text.startswith(("labels.", "names:")))


@dataclass(frozen=True)
class Plan:
    """A suite.

    Arms are fitted on the answers whose objects lie outside `fold` of `folds`; a task of kind ``odd-one-out`` without
    triplets of its own is scored on those whose objects lie inside. Paths are relative to `root`; ``{network}`` in them
    stands for the name of the network, and ``file[a:b]`` for some of its rows.

    Parameters
    ----------
    root : Path
    networks, arms, tasks : tuples
    answers : mapping
        triplets and, where they index other objects than the rows of the features, object_ids; kind, if the files of
        answers do not state it.
    labels : mapping
        Name → {label: regular expression}: labels read from the names of images.
    baseline : str
        The arm that the others are compared with.
    categories : str or None
        File of the objects' superordinate categories, by which views are coloured and ordered; see `load_categories`.
    """

    root: Path
    networks: tuple[NetworkFiles, ...]
    arms: tuple[NamedArm, ...]
    tasks: tuple[Task, ...]
    answers: Mapping[str, str]
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    baseline: str = "original"
    seed: int = 42
    folds: int = 3
    fold: int = 0
    categories: str | None = None

    @cached_property
    def stems(self) -> dict[tuple[str, ...], str]:
        """The file names of each network and arm."""
        return file_stems(product((one.name for one in self.networks), (one.name for one in self.arms)))

    @classmethod
    def load(cls, source: PathLike, root: PathLike | None = None) -> Plan:
        """Read a suite file.

        Parameters
        ----------
        source : path
            TOML; see the class and ``docs/evaluation.md``.
        root : path or None
            What paths are relative to; None takes that of the file, ``${VARIABLE}`` replaced, else its folder.

        Raises
        ------
        FileError
            Missing, or not TOML.
        ParameterError
            An unknown key, a missing one, or an arm or task that is not allowed.
        """
        path = Path(source)
        values = read_object(path, what="suite", fix="Mend that line.")
        return cls.of(values, root=root, folder=path.parent, what=str(path))

    @classmethod
    def of(cls, values: Mapping[str, Any], *, root: PathLike | None, folder: Path, what: str = "the suite") -> Plan:
        """A plan from the values of a suite file that lies in `folder`."""
        _check(values, _TOP, what)
        for key in ("networks", "arms", "tasks"):
            if not isinstance(values.get(key), Mapping) or not values[key]:
                raise ParameterError(f"{what} names no {key}; give at least one table [{key}.NAME].")
            for name in values[key]:
                _check_name(name, f"{what} [{key}]")
        arms = tuple(_arm(name, table, f"{what} [arms.{name}]") for name, table in values["arms"].items())
        networks = tuple(
            _network(name, table, f"{what} [networks.{name}]") for name, table in values["networks"].items()
        )
        tasks = tuple(_task(name, table, f"{what} [tasks.{name}]") for name, table in values["tasks"].items())
        answers = values.get("answers", {})
        _check(answers, _ANSWERS, f"{what} [answers]")
        settings = {key: values[key] for key in ("seed", "folds", "fold", "categories") if key in values}
        base = Path(root) if root is not None else folder / _expanded(values.get("root", "."), what)
        plan = cls(
            base, networks, arms, tasks, dict(answers), _labels(values.get("labels", {}), what),
            values.get("baseline", arms[0].name), **settings,
        )  # fmt: skip
        plan._check_whole(what)
        return plan

    def _check_whole(self, what: str) -> None:
        """Raise an error for parts that do not fit each other."""
        needs = [arm.name for arm in self.arms if arm.fitted]
        needs += [task.name for task in self.tasks if task.kind == "odd-one-out" and "triplets" not in task.settings]
        if needs and "triplets" not in self.answers:
            raise ParameterError(f"{what} has no answers; {needs[0]} needs [answers] triplets = a file.")
        if self.baseline not in {arm.name for arm in self.arms}:
            raise ParameterError(f"{what} has baseline {self.baseline!r}, which is not one of its arms.")
        lacking = [network.name for network in self.networks if network.local is None]
        for arm in self.arms:
            if arm.settings.get("method") == "glocal" and lacking:
                raise ParameterError(f"{what}: arm {arm.name} needs local images and network {lacking[0]} has none.")


def _network(name: str, table: Any, here: str) -> NetworkFiles:
    _check(table, _NETWORK, here)
    if "features" not in table:
        raise ParameterError(f"{here} names no features file.")
    return NetworkFiles(name, table["features"], table.get("local"))


def _arm(name: str, table: Any, here: str) -> NamedArm:
    options = options_of(Arm)
    options |= {"tol": options_of(Exact)["tol"], "block_size": options_of(FitData)["block_size"]}
    _check(table, {**{key: option.kind for key, option in options.items()}, **_ARM}, here)
    if "transform" in table and set(table) - {"transform", "strength"}:
        raise ParameterError(f"{here} has a transform and settings of a fit; leave one of them out.")
    if table and "transform" not in table and "method" not in table:
        raise ParameterError(f"{here} has settings but no method; allowed are {', '.join(METHODS)}.")
    for key, option in options.items():
        if key in table:
            option.check(f"{here} {key}", table[key])
    if name == PEOPLE:
        raise ParameterError(f"{here}: {PEOPLE} stands for people themselves in the rows of a suite. Rename the arm.")
    return NamedArm(name, dict(table))


def _task(name: str, table: Any, here: str) -> Task:
    kind = table.get("kind") if isinstance(table, Mapping) else None
    if kind not in KINDS:
        raise ParameterError(f"{here} has kind {kind!r}; allowed are {', '.join(KINDS)}.")
    settings = {key: value for key, value in table.items() if key != "kind"}
    needed, files, evaluation = _TASKS[kind]
    options = {key: option.kind for key, option in options_of(evaluation).items() if key != "seed"}  # the suite has one
    options |= {"breeds": str} if kind in _OF_CLASSES else {}
    _check(settings, {**dict.fromkeys((*needed, *files), str), **options}, here)
    missing = [key for key in needed if key not in settings]
    if missing:
        raise ParameterError(f"{here} names no {missing[0]}, which a task of kind {kind} needs.")
    _check_keys(kind, settings, here)
    for key, value in settings.items():
        if isinstance(value, str) and value.startswith("names:"):
            _check_pattern(value.removeprefix("names:"), f"{here} {key}")
    return Task(name, kind, settings)


def _check_keys(kind: str, settings: Mapping[str, Any], here: str) -> None:
    """Raise an error where a key lacks another one, or stands beside one that contradicts it."""
    pairs = list(_TOGETHER.items())
    if kind in _OF_CLASSES and "anomalies" not in settings:
        pairs += [("train", "train_labels"), ("test", "test_labels")]
    for key, other in pairs:
        if key in settings and other not in settings:
            raise ParameterError(f"{here} has {key} but names no {other}, which a task of kind {kind} needs then.")
    for keys in _APART:
        others = [key for key in keys[1:] if key in settings and keys[0] in settings]
        if others:
            raise ParameterError(f"{here} has {keys[0]} and {others[0]}; leave one of them out.")
    if "breeds" in settings:
        try:
            check_breeds(settings["breeds"])
        except ParameterError as error:
            raise ParameterError(f"{here}: {error}") from error


def _labels(tables: Any, what: str) -> dict[str, dict[str, str]]:
    if not isinstance(tables, Mapping):
        raise ParameterError(f"{what} has labels = {tables!r}; write tables [labels.NAME] of patterns.")
    for name, table in tables.items():
        here = f"{what} [labels.{name}]"
        _check(table, dict.fromkeys(table, str) if isinstance(table, Mapping) else {}, here)
        for label, pattern in table.items():
            _check_pattern(pattern, f"{here} {label}")
    return {name: dict(table) for name, table in tables.items()}


def _check(table: Any, types: Types, here: str) -> None:
    """Refuse what is not a table, unknown keys, and values of another type; a whole number is a number too."""
    if not isinstance(table, Mapping):
        raise ParameterError(f"{here} is {table!r}; it must be a table of keys and values.")
    unknown = sorted(set(table) - set(types))
    if unknown:
        raise ParameterError(f"{here} has the unknown key {unknown[0]!r}; allowed are {', '.join(types)}.")
    for key, value in table.items():
        kind = types[key]
        if kind is not None and type(value) is not kind and not (kind is float and type(value) is int):
            raise ParameterError(f"{here} has {key} = {value!r}; it must be {_IN_WORDS[kind]}.")


def _check_pattern(pattern: str, here: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ParameterError(f"{here} is not a regular expression ({one_line(error)}): {pattern}.") from error


def _check_name(name: str, here: str) -> None:
    if not name.strip() or not name.isprintable():
        raise ParameterError(
            f"{here} has the name {name!r}; tables and files show it, so it must be readable. Rename it."
        )


def _expanded(text: str, what: str) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise ParameterError(f"{what} names the variable {match[1]}, which is not set. Set it, or pass --root.")
        return os.environ[match[1]]

    return _VARIABLE.sub(value, text)
