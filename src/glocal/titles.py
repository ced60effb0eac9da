"""The titles of tasks in a table, which name what varies among the scores on one task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from glocal.results import to_json

_OF_NETWORK = ("normalize",)
"""Settings that may differ between networks in one table."""
_OF_COMPARISON = ("baseline", "level", "rough")
"""Settings that say how certain a value is, or with what it is compared, and not what it is."""


@runtime_checkable
class TaskRow(Protocol):
    """What the title of a task reads of a score."""

    @property
    def network(self) -> str | None:
        """The network that was scored."""

    @property
    def task(self) -> str:
        """The task without a title."""

    @property
    def quantity(self) -> str:
        """The metric, also of a difference."""

    @property
    def split(self) -> str:
        """The answers or images that were scored."""

    @property
    def features(self) -> str | None:
        """The feature file that was scored."""

    @property
    def settings(self) -> Mapping[str, object]:
        """The settings that the value depends on."""


class _Group(NamedTuple):
    """Scores on a task, of a split or of a metric, among which something may vary."""

    network: str | None
    task: str
    part: str = ""


def titles(scores: Iterable[TaskRow], of_arms: Sequence[TaskRow]) -> list[str]:
    """The task of each score, with the split, file and settings where they differ in `of_arms`."""
    splits: defaultdict[_Group, set[str | None]] = defaultdict(set)
    files: defaultdict[_Group, set[str | None]] = defaultdict(set)
    for score in of_arms:
        task_group = _Group(score.network, score.task)
        split_group = _Group(score.network, score.task, score.split)
        splits[task_group].add(score.split)
        files[split_group].add(score.features)
    split_tasks = _varying_tasks(splits)
    file_tasks = _varying_tasks(files)
    names = _varying_settings(of_arms)
    titles = []
    for score in scores:
        parts = []
        if score.task in split_tasks:
            parts.append(score.split)
        if score.task in file_tasks:
            parts.append(score.features or "no file")
        varying = names.get(score.task, ())
        parts += _settings_in_words(score.settings, varying)
        title = score.task
        if parts:
            title = f"{score.task} ({', '.join(parts)})"
        titles.append(title)
    return titles


def _varying_settings(of_arms: Sequence[TaskRow]) -> dict[str, list[str]]:
    """The names of the settings that differ between scores of one metric, by task."""
    names: dict[str, None] = {}
    for score in of_arms:
        names |= dict.fromkeys(score.settings)
    for name in _OF_COMPARISON:
        names.pop(name, None)
    varying: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        values: defaultdict[_Group, set[str | None]] = defaultdict(set)
        for score in of_arms:
            network = None
            if name in _OF_NETWORK:
                network = score.network
            group = _Group(network, score.task, score.quantity)
            setting = score.settings.get(name)
            text = to_json(setting)
            values[group].add(text)
        for task in _varying_tasks(values):
            varying[task].append(name)
    return varying


def _varying_tasks(values: Mapping[_Group, set[str | None]]) -> set[str]:
    """The tasks of the groups that have several values."""
    tasks = set()
    for group, group_values in values.items():
        if len(group_values) > 1:
            tasks.add(group.task)
    return tasks


def _settings_in_words(settings: Mapping[str, object], names: Iterable[str]) -> Iterator[str]:
    """Yield the settings that a score has: ``shots 5``, or ``normalize`` if the value is True."""
    for name in names:
        value = settings.get(name)
        is_flag = value is True
        if value is not None:
            yield name if is_flag else f"{name} {value}"
