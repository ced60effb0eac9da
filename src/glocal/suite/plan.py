"""The file of a suite: networks, answers, arms and tasks, checked before anything is computed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    SerializeAsAny,
    WrapValidator,
    model_validator,
)

from glocal.data.labels import split_column
from glocal.errors import FileError, ParameterError
from glocal.files import PathLike, file_name, read_object
from glocal.scores import PEOPLE
from glocal.suite.arms import Arm
from glocal.suite.labelled import AnomalyTask, FewShotTask, RetrievalTask
from glocal.suite.network_files import NetworkFiles
from glocal.suite.plugins import PluginTask
from glocal.suite.sources import Network, Shared, Sources
from glocal.suite.tasks import OddOneOutTask, RSATask, StructureTask, Task

# names become file names: no allowed character is special to a shell, a spreadsheet or Markdown
Name = Annotated[str, Field(pattern=r"^\w[\w .+-]*$", max_length=80)]
KINDS = ("odd-one-out", "rsa", "few-shot", "anomaly", "structure", "retrieval")
AnyTask = Annotated[
    OddOneOutTask | RSATask | FewShotTask | AnomalyTask | StructureTask | RetrievalTask,
    Field(discriminator="kind"),
]
"""A task of a suite; its `kind` says which."""
_TASK = "task "
_MAX_MISSING = 8  # files that a message names


def suite_task(table: Any, built_in: Callable[[Any], Task]) -> Task:
    """The task that a table describes by its kind, of this package or of another distribution."""
    kind = table.get("kind") if isinstance(table, Mapping) else None
    if kind is None or kind in KINDS:
        return built_in(table)
    return PluginTask.from_table(table, KINDS)


class Plan(Shared):
    """A suite: every task for every arm of every network.

    Arms are fitted on the answers outside fold 0 of the objects, questions or people (`split`). A
    task of kind ``odd-one-out`` without a file of answers is scored on the answers inside fold 0,
    or on all answers if no arm is fitted. `baseline` is the arm that the others are compared with;
    a file that names none takes its first arm. `simulated` marks the data as simulated, which a
    report then states.
    """

    networks: dict[Name, Network] = Field(min_length=1)
    arms: dict[Name, Annotated[Arm, BeforeValidator(Arm.from_table)]] = Field(min_length=1)
    tasks: dict[Name, Annotated[SerializeAsAny[AnyTask], WrapValidator(suite_task)]] = Field(
        min_length=1
    )
    baseline: str
    simulated: bool = False
    _root: Path = PrivateAttr(Path())

    @classmethod
    def load(cls, source: PathLike, root: PathLike | None = None) -> Plan:
        """Read a suite file.

        Parameters
        ----------
        source : path
            TOML file; see the class and docs/evaluate.md.
        root : path or None
            Folder that relative paths start from; None is the folder of the file.

        Raises
        ------
        FileError
            The file is missing or not TOML, a key is unknown or missing, or an arm or a task is not
            allowed.
        """
        values = read_object(source, what="suite", fix="Correct that line.")
        arms = values.get("arms")
        if isinstance(arms, dict) and arms:
            first_arm = next(iter(arms))
            values.setdefault("baseline", first_arm)
        plan = cls.read(values, str(source))
        if root is None:
            plan._root = Path(source).parent
        else:
            plan._root = Path(root)
        return plan

    def sources(self, network_name: str, *, force: bool = True) -> Sources:
        """The data of a network."""
        names = [arm.transform for arm in self.arms.values()]
        pretrained = [name for name in names if name is not None]
        return Sources(
            shared=self,
            network=self.networks[network_name],
            files=NetworkFiles(network_name, self._root),
            pretrained=pretrained,
            force=force,
            has_fits=self.has_fits,
        )

    @property
    def has_fits(self) -> bool:
        """Whether an arm is fitted to the answers."""
        return any(arm.is_fitted for arm in self.arms.values())

    def check_files(self) -> None:
        """Raise a FileError that names the first missing files.

        Without this check, hours of fits could pass before a task misses its file. Arms check
        their transforms themselves, since a transform may be a name.
        """
        missing: dict[Path, str] = {}
        for user, path in self.files():
            if not os.path.exists(path):
                missing[path] = user
        if missing:
            users = [f"{path} (for {user})" for path, user in missing.items()]
            first_users = ", ".join(users[:_MAX_MISSING])
            raise FileError(
                f"missing: {first_users}. Paths are relative to the folder of the suite file, "
                "unless `root` names another."
            )

    def present(self) -> tuple[Plan, dict[str, Path]]:
        """The plan without the tasks that lack a file, and the first missing file of each of them.

        Raises a FileError if a file is missing that any run needs, and a ParameterError if no task
        is left.
        """
        without_tasks = self.model_copy(update={"tasks": {}})
        without_tasks.check_files()
        missing: dict[str, Path] = {}
        for user, path in self.files():
            if not os.path.exists(path):
                task_name = user.removeprefix(_TASK)
                missing.setdefault(task_name, path)
        if len(missing) == len(self.tasks):
            first = next(iter(missing.values()))
            raise ParameterError(f"no task of the suite has all its files; {first} is missing.")
        remaining = {name: task for name, task in self.tasks.items() if name not in missing}
        plan = self.model_copy(update={"tasks": remaining})
        return plan, missing

    def files(self) -> Iterator[tuple[str, Path]]:
        """Yield the user, as in ``task NAME``, and the path of each file, for each network."""
        for network_name, network in self.networks.items():
            sources = self.sources(network_name)
            for user, file in self._files(network_name, network):
                if file is not None:
                    path, _ = split_column(sources.files.path(file))
                    yield user, path

    def _files(self, network_name: str, network: Network) -> Iterator[tuple[str, Path | None]]:
        """Yield the user and each file for a network, as the suite writes it."""
        yield "the suite", self.answers
        yield "the suite", self.object_ids
        yield f"network {network_name}", network.features
        for arm_name, arm in self.arms.items():
            yield f"arm {arm_name}", arm.local_file(network)
        for task_name, task in self.tasks.items():
            for file in task.paths:
                yield f"{_TASK}{task_name}", file

    @model_validator(mode="after")
    def _check_together(self) -> Plan:
        self._check_names()
        self._check_answers()
        if self.baseline not in self.arms:
            raise ParameterError(f"baseline is {self.baseline!r}; it must be one of the arms.")
        local_arms = [name for name, arm in self.arms.items() if arm.needs_local]
        lacking = [name for name, network in self.networks.items() if network.local is None]
        if local_arms and lacking:
            raise ParameterError(
                f"arm {local_arms[0]} needs local images, but network {lacking[0]} has none."
            )
        return self

    def _check_names(self) -> None:
        """Raise a ParameterError for two names of one file, or a name that has another meaning."""
        for names in (self.networks, self.arms, self.tasks):
            file_names = {*map(file_name, names)}
            if len(file_names) < len(names):
                raise ParameterError(
                    f"two of {', '.join(names)} differ by a blank only, and their files would have "
                    "one name; rename one of them."
                )
        if PEOPLE in self.arms:
            raise ParameterError(
                f"{PEOPLE} stands for people themselves in the rows of a suite; rename the arm."
            )
        headings = {"network", "arm"} & self.tasks.keys()
        if headings:
            raise ParameterError(
                f"{headings.pop()} is a heading in the table of scores; rename the task."
            )

    def _check_answers(self) -> None:
        """Raise a ParameterError for an arm or a task that lacks the answers of the suite."""
        if self.answers is not None:
            return
        needs_answers = [name for name, arm in self.arms.items() if arm.is_fitted]
        needs_answers += [name for name, task in self.tasks.items() if task.split is None]
        if needs_answers:
            raise ParameterError(
                f"{needs_answers[0]} needs answers, and the suite names none: add answers = FILE."
            )
