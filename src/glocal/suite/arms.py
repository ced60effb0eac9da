"""An arm of a suite: what is compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from glocal.aligner import Keep, ObjectiveSettings, PaperLoop, fit
from glocal.errors import ParameterError
from glocal.files import make_folder
from glocal.options import Options
from glocal.suite.sources import Network, Sources, TomlValue, options_from_table
from glocal.transform import LinearTransform

_KINDS = {"keep", "transform", "baseline"}  # keys that say what an arm is
_LOOP_KEYS = ("eta", "optimiser", "bias", "max_epochs")


class Arm(Options):
    """The original features, a baseline, a given transform, or a fit.

    Parameters
    ----------
    baseline : "centred", "pca" or None
        A transform that is made without answers (`glocal.transform.reduction`).
    transform : str or None
        A file, or a name that `LinearTransform.from_pretrained` takes.
    what : ObjectiveSettings, Keep or None
        What is fitted to the answers of the suite, without those that fold 0 holds out.
    solver : PaperLoop or None
        The authors' procedure, if it fits the arm.
    """

    baseline: Literal["centred", "pca"] | None = None
    transform: str | None = None
    what: ObjectiveSettings | Keep | None = None
    solver: PaperLoop | None = None

    @classmethod
    def from_table(cls, table: Any) -> Any:
        """Read the table of a suite file, whose keys say what the arm is."""
        if not isinstance(table, Mapping):
            return table
        if "solver" in table:
            return cls._from_loop_table(table)
        keys = sorted(table.keys() & _KINDS)
        if len(keys) > 1:
            raise ParameterError(
                f"an arm has only one of keep, transform and baseline, not {' and '.join(keys)}."
            )
        if keys == ["keep"]:
            search = Keep(**table)
            return cls(what=search)
        if keys or not table:
            return cls(**table)
        settings = ObjectiveSettings(**table)
        return cls(what=settings)

    @classmethod
    def _from_loop_table(cls, table: Mapping[str, TomlValue]) -> Arm:
        """Read a table whose `solver` is paper: keys of the method and the loop."""
        if table["solver"] != PaperLoop.name:
            raise ParameterError(
                f"solver is {table['solver']!r}; it must be {PaperLoop.name}, or left out for the "
                "exact solver."
            )
        if "keep" in table:
            raise ParameterError("keep needs the exact solver; leave out solver, or give a method.")
        loop_options: dict[str, TomlValue] = {}
        method_options: dict[str, TomlValue] = {}
        for name, value in table.items():
            if name in _LOOP_KEYS:
                loop_options[name] = value
            elif name != "solver":
                method_options[name] = value
        settings = options_from_table(ObjectiveSettings, method_options)
        solver = options_from_table(PaperLoop, loop_options)
        return cls(what=settings, solver=solver)

    @property
    def is_fitted(self) -> bool:
        """Whether the arm is fitted to the answers."""
        return self.what is not None

    @property
    def is_original(self) -> bool:
        """Whether the arm is the original features."""
        return self == Arm()

    @property
    def needs_local(self) -> bool:
        """Whether the arm cannot be fitted without local images."""
        return isinstance(self.what, ObjectiveSettings) and self.what.local

    def local_file(self, network: Network) -> Path | None:
        """The file of the local images that the arm is fitted to; None if it uses none."""
        uses_local = self.needs_local or isinstance(self.what, Keep)
        return network.local if uses_local else None

    def transform_of(self, sources: Sources, file: Path) -> LinearTransform | None:
        """The transform, None for the original features; `file` keeps a fitted one."""
        if self.what is not None:
            return self._fitted(sources, file)
        if self.transform is not None:
            return sources.files.transform(self.transform)
        if self.baseline is not None:
            return sources.baseline(self.baseline)
        return None

    def _fitted(self, sources: Sources, file: Path) -> LinearTransform:
        """The fitted transform, from its file if that has the same inputs."""
        shared = sources.shared
        network = sources.network
        local_file = self.local_file(network)
        options = self.model_dump(mode="json")
        hashes = sources.files.hashes(
            network.features,
            local_file,
            shared.answers,
            shared.object_ids,
        )
        key = sources.key(options, hashes)
        if file.exists():
            transform = LinearTransform.load(file)
            if transform.record.key == key:
                return transform
        local_features = None
        if local_file is not None:
            local_features = sources.files.features(local_file)
        data = replace(sources.fold.data, local_features=local_features)
        report = fit(data, self.what, self.solver)
        transform = report.transform
        record = transform.record.model_copy(update={"key": key})
        make_folder(file.parent)
        replace(transform, record=record).save(file)
        return LinearTransform.load(file)
