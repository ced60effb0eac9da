"""The file of a suite: networks, people's answers, arms and tasks, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, SerializeAsAny, model_validator

from glocal.aligner.arm import Arm
from glocal.aligner.keep import Keep
from glocal.data.labels import split_column
from glocal.errors import ParameterError
from glocal.files import PathLike, read_object
from glocal.results import PEOPLE
from glocal.suite.sources import MaybeFile, Network, Shared, Sources
from glocal.suite.tasks import OddOneOutTask, Task, task


class OtherArm(Keep):
    """An arm without a method; the features as they are, if it has no key.

    It may `keep` a share of the neighbours (see `glocal.aligner.fit`), be a `transform` that was fitted elsewhere (a
    file, or a name that `LinearTransform.from_pretrained` takes), or a `baseline` (see `glocal.transform.rows`).
    """

    transform: MaybeFile = None
    baseline: Literal["centred", "pca"] | None = None

    @model_validator(mode="after")
    def _of_one_kind(self) -> OtherArm:
        if len(self.model_fields_set) > 1:
            raise ParameterError(f"an arm is made by one of {', '.join(type(self).model_fields)}.")
        return self


def _arm(table: Any) -> Any:
    """The arm of a table, by its keys."""
    if not isinstance(table, Mapping):
        return table
    return OtherArm(**table) if not table or table.keys() & OtherArm.model_fields else Arm(**table)


# names of files too: no character of these is special to a shell, a spreadsheet or Markdown
Name = Annotated[str, Field(pattern=r"^\w[\w .+-]*$", max_length=80)]
AnyArm = Annotated[Arm | OtherArm, BeforeValidator(_arm)]


class Plan(Shared):
    """A suite: every task for every arm of every network.

    Arms are fitted on the answers whose objects lie outside fold 0 of `folds`; a task of kind ``odd-one-out`` without
    answers of its own is scored on those whose objects lie inside. `baseline` is the arm that the others are compared
    with; in a file the first one, if none is named.
    """

    networks: dict[Name, Network] = Field(min_length=1)
    arms: dict[Name, AnyArm] = Field(min_length=1)
    tasks: dict[Name, Annotated[SerializeAsAny[Task], BeforeValidator(task)]] = Field(min_length=1)
    baseline: str
    _root: Path = PrivateAttr(Path())

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
            Missing, not TOML, an unknown key, a missing one, or an arm or task that is not allowed.
        """
        values = read_object(source, what="suite", fix="Correct that line.")
        arms = values.get("arms")
        if isinstance(arms, dict) and arms:
            values.setdefault("baseline", next(iter(arms)))
        plan = cls.read(values, str(source))
        plan._root = Path(source).parent if root is None else Path(root)
        return plan

    def sources(self, network: str) -> Sources:
        """The data of a network."""
        return Sources(self, self.networks[network], network, self._root)

    def present(self) -> tuple[Plan, dict[str, Path]]:
        """The plan without the tasks of which a network lacks a file, and the first such file of each.

        A ParameterError where no task is left.
        """
        missing: dict[str, Path] = {}
        for sources in map(self.sources, self.networks):
            for name, one in self.tasks.items():
                for path in map(sources.path, one.files):
                    if not split_column(path)[0].exists():
                        missing.setdefault(name, path)
        if len(missing) == len(self.tasks):
            raise ParameterError(f"no task of the suite has its files; {next(iter(missing.values()))} is missing.")
        left = {name: one for name, one in self.tasks.items() if name not in missing}
        return self.model_copy(update={"tasks": left}), missing

    @model_validator(mode="after")
    def _fit_each_other(self) -> Plan:
        if PEOPLE in self.arms:
            raise ParameterError(f"{PEOPLE} stands for people themselves in the rows of a suite; rename the arm.")
        fitted = [name for name, arm in self.arms.items() if isinstance(arm, Arm) or arm.keep is not None]
        held_out = [name for name, one in self.tasks.items() if isinstance(one, OddOneOutTask) and not one.answers]
        if self.answers is None and (needs := [*fitted, *held_out]):
            raise ParameterError(f"{needs[0]} needs answers = a file, and there is none.")
        if self.baseline not in self.arms:
            raise ParameterError(f"baseline is {self.baseline!r}; it must be one of the arms.")
        local = [name for name, arm in self.arms.items() if isinstance(arm, Arm) and arm.local]
        lacking = [name for name, network in self.networks.items() if network.local is None]
        if local and lacking:
            raise ParameterError(f"arm {local[0]} needs local images, and network {lacking[0]} has none.")
        return self
