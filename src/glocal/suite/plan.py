"""The file of a suite: networks, people's answers, arms and tasks, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from glocal.aligner.arm import Arm
from glocal.data.sources.breeds import check_breeds
from glocal.errors import ParameterError
from glocal.evaluation.agreement import odd_one_out
from glocal.evaluation.anomaly import anomaly
from glocal.evaluation.baselines import BASELINES
from glocal.evaluation.few_shot import few_shot
from glocal.evaluation.retrieval import retrieval
from glocal.evaluation.rsa import rsa
from glocal.evaluation.structure import structure
from glocal.files import PathLike, read_object
from glocal.options import options_of
from glocal.results import PEOPLE
from glocal.suite.text import file_stems

_TOP = (
    "networks", "arms", "tasks", "answers", "object_ids", "kind", "baseline", "seed", "folds", "categories",
)  # fmt: skip
# of each kind of task the files that it needs, those that it may have, and the evaluation whose options it has
_TASKS: dict[str, tuple[tuple[str, ...], tuple[str, ...], Callable[..., Any]]] = {
    "odd-one-out": ((), ("answers",), odd_one_out),
    "rsa": (("rdm",), ("index",), rsa),
    "few-shot": (("train", "train_labels"), ("test", "test_labels"), few_shot),
    "anomaly": (("train", "test"), ("train_labels", "test_labels", "train_subclasses", "test_subclasses", "anomalies"),
                anomaly),
    "structure": (("features",), (), structure),
    "retrieval": (("features", "labels"), (), retrieval),
}  # fmt: skip
_OF_CLASSES = ("few-shot", "anomaly")  # the kinds that a BREEDS task may be of
# of a key of a task another one that it needs, and keys of which the first excludes the others
_TOGETHER = {
    "test_labels": "test", "breeds": "test_labels", "train_subclasses": "test_subclasses",
    "test_subclasses": "train_subclasses",
}  # fmt: skip
_APART = (
    ("breeds", "train_subclasses"),
    ("anomalies", "train_labels", "test_labels", "train_subclasses", "mode", "breeds"),
)


@dataclass(frozen=True)
class Network:
    """The feature files of one network: of the objects people judged, and of local images if an arm needs them."""

    name: str
    features: str
    local: str | None = None


@dataclass(frozen=True)
class NamedArm:
    """One way to transform features: a fit by its settings, a transform file, a baseline, or nothing (`original`)."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def arm(self) -> Arm | None:
        """What is fitted, if anything is."""
        return Arm(**self.settings) if "method" in self.settings else None


@dataclass(frozen=True)
class Task:
    """One evaluation; `settings` hold its files and options as they stand in the suite file."""

    name: str
    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def files(self) -> tuple[str, ...]:
        """The files that it names."""
        needed, more, _ = _TASKS[self.kind]
        return tuple(self.settings[key] for key in (*needed, *more) if key in self.settings)

    @property
    def options(self) -> dict[str, Any]:
        """The options of its evaluation that it gives; the others are left to the evaluation."""
        return {key: self.settings[key] for key in options_of(_TASKS[self.kind][2]) if key in self.settings}


@dataclass(frozen=True)
class Plan:
    """A suite.

    Arms are fitted on the answers whose objects lie outside fold 0 of `folds`; a task of kind ``odd-one-out`` without
    answers of its own is scored on those whose objects lie inside. Paths are relative to `root`, and ``{network}`` in
    them stands for the name of the network.

    Parameters
    ----------
    root : Path
    networks, arms, tasks : tuples
    answers : str or None
        The file of people's answers.
    object_ids : str or None
        The file of the object names that answers and RDMs index, where these are not the rows of the features.
    kind : str or None
        Of the answers, where their file does not state it.
    baseline : str
        The arm that the others are compared with; the first one, if none is named.
    seed, folds : int
    categories : str or None
        The file of the objects' superordinate categories, by which views are coloured and ordered; see
        `load_categories`.
    """

    root: Path
    networks: tuple[Network, ...]
    arms: tuple[NamedArm, ...]
    tasks: tuple[Task, ...]
    answers: str | None = None
    object_ids: str | None = None
    kind: str | None = None
    baseline: str = "original"
    seed: int = 42
    folds: int = 3
    categories: str | None = None

    @cached_property
    def stems(self) -> dict[tuple[str, ...], str]:
        """The names of the files about each arm of a network, and about each task of these."""
        pairs = list(product((one.name for one in self.networks), (one.name for one in self.arms)))
        return file_stems(pairs) | file_stems((*pair, task.name) for pair in pairs for task in self.tasks)

    @classmethod
    def load(cls, source: PathLike, root: PathLike | None = None) -> Plan:
        """Read a suite file.

        Parameters
        ----------
        source : path
            TOML; see the class and docs/evaluate.md.
        root : path or None
            What paths are relative to; None is the folder of the file.

        Raises
        ------
        FileError
            Missing, or not TOML.
        ParameterError
            An unknown key, a missing one, or an arm or task that is not allowed.
        """
        path = Path(source)
        values, what = read_object(path, what="suite", fix="Mend that line."), str(path)
        _check(values, _TOP, what)
        for key in ("networks", "arms", "tasks"):
            if not isinstance(values.get(key), Mapping) or not values[key]:
                raise ParameterError(f"{what} names no {key}; give at least one table [{key}.NAME].")
        made: dict[str, Any] = {
            key: tuple(make(name, table, f"{what} [{key}.{name}]") for name, table in values[key].items())
            for key, make in (("networks", _network), ("arms", _arm), ("tasks", _task))
        }
        rest = {key: value for key, value in values.items() if key not in ("networks", "arms", "tasks")}
        for key, value in rest.items():
            _check_type(value, int if key in ("seed", "folds") else str, f"{what}: {key}")
        first = made["arms"][0].name
        plan = cls(path.parent if root is None else Path(root), **made, **{"baseline": first, **rest})
        plan._check_whole(what)
        return plan

    def _check_whole(self, what: str) -> None:
        """Raise an error for parts that do not fit each other."""
        needs = [arm.name for arm in self.arms if arm.arm is not None]
        needs += [task.name for task in self.tasks if task.kind == "odd-one-out" and "answers" not in task.settings]
        if needs and self.answers is None:
            raise ParameterError(f"{what} has no answers; {needs[0]} needs answers = a file.")
        if self.baseline not in {arm.name for arm in self.arms}:
            raise ParameterError(f"{what} has baseline {self.baseline!r}, which is not one of its arms.")
        lacking = [network.name for network in self.networks if network.local is None]
        for arm in self.arms:
            if arm.settings.get("method") == "glocal" and lacking:
                raise ParameterError(f"{what}: arm {arm.name} needs local images and network {lacking[0]} has none.")


def _network(name: str, table: Any, here: str) -> Network:
    _check(table, ("features", "local"), here, needed=("features",))
    for key, value in table.items():
        _check_type(value, str, f"{here} {key}")
    return Network(name, **table)


def _arm(name: str, table: Any, here: str) -> NamedArm:
    options = options_of(Arm)
    _check(table, (*options, "transform", "baseline"), here)
    if len(table) > 1 and {"transform", "baseline"} & set(table):
        raise ParameterError(f"{here} has a transform file or a baseline, and other settings. Leave one of them out.")
    if table and not {"transform", "baseline", "method"} & set(table):
        raise ParameterError(f"{here} has settings but no method. Add one, or leave the table empty for no transform.")
    for key in table:
        if key in options:
            options[key].check(f"{here} {key}", table[key])
    _check_type(table.get("transform", ""), str, f"{here} transform")
    if table.get("baseline", BASELINES[0]) not in BASELINES:
        raise ParameterError(f"{here} has baseline {table['baseline']!r}; allowed are {', '.join(BASELINES)}.")
    if name == PEOPLE:
        raise ParameterError(f"{here}: {PEOPLE} stands for people themselves in the rows of a suite. Rename the arm.")
    return NamedArm(name, dict(table))


def _task(name: str, table: Any, here: str) -> Task:
    kind = table.get("kind") if isinstance(table, Mapping) else None
    if kind not in _TASKS:
        raise ParameterError(f"{here} has kind {kind!r}; allowed are {', '.join(_TASKS)}.")
    settings = {key: value for key, value in table.items() if key != "kind"}
    needed, files, evaluation = _TASKS[kind]
    options = {key: option.kind for key, option in options_of(evaluation).items() if key != "seed"}  # the suite has one
    texts = (*needed, *files, *(["breeds"] if kind in _OF_CLASSES else []))
    _check(settings, (*texts, *options), here, needed=needed)
    for key, value in settings.items():
        _check_type(value, options.get(key, str), f"{here} {key}")
    pairs = list(_TOGETHER.items())
    if kind in _OF_CLASSES and "anomalies" not in settings:
        pairs += [("train", "train_labels"), ("test", "test_labels")]
    for key, other in pairs:
        if key in settings and other not in settings:
            raise ParameterError(f"{here} has {key} but names no {other}, which a task of kind {kind} needs then.")
    for first, *others in _APART:
        if first in settings and (both := [key for key in others if key in settings]):
            raise ParameterError(f"{here} has {first} and {both[0]}. Leave one of them out.")
    if "breeds" in settings:
        check_breeds(settings["breeds"])
    return Task(name, kind, settings)


def _check(table: Any, allowed: tuple[str, ...], here: str, *, needed: tuple[str, ...] = ()) -> None:
    """Refuse what is not a table, unknown keys, and a table that lacks a key."""
    if not isinstance(table, Mapping):
        raise ParameterError(f"{here} is {table!r}; it must be a table of keys and values.")
    if unknown := sorted(set(table) - set(allowed)):
        raise ParameterError(f"{here} has the unknown key {unknown[0]!r}; allowed are {', '.join(allowed)}.")
    if missing := [key for key in needed if key not in table]:
        raise ParameterError(f"{here} names no {missing[0]}.")


def _check_type(value: Any, kind: type, here: str) -> None:
    """Refuse a value of another type; a whole number is a number too."""
    if type(value) is not kind and not (kind is float and type(value) is int):
        words = {str: "text in quotes", int: "a whole number", float: "a number", bool: "true or false"}
        raise ParameterError(f"{here} is {value!r}; it must be {words[kind]}.")
