"""The arms of a suite: fitted here, fitted elsewhere, a baseline, or the original features."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import SerializeAsAny, model_serializer

from glocal.aligner import Arm, fit
from glocal.aligner.keep import Keep
from glocal.errors import ParameterError
from glocal.files import make_folder
from glocal.options import Options
from glocal.suite.sources import Network, Sources
from glocal.transform import LinearTransform
from glocal.transform.formats import wrong_name
from glocal.transform.rows import baseline


class SuiteArm(Options):
    """An arm of a suite."""

    @abstractmethod
    def linear_transform(self, sources: Sources, file: Path) -> LinearTransform | None:
        """The transform of the arm, None for the original features; `file` stores a fitted one."""

    @property
    def needs_local(self) -> bool:
        """Whether the arm cannot be fitted without local images."""
        return False

    def local_file(self, network: Network) -> Path | None:
        """The file of the local images that the arm is fitted to; None if it uses none."""
        return None

    def notes(self, sources: Sources) -> list[str]:
        """Sentences about the transform that a report must show; raises if it cannot be read."""
        return []


class Original(SuiteArm):
    """The original features."""

    def linear_transform(self, sources: Sources, file: Path) -> None:
        """Return None."""


class Baseline(SuiteArm):
    """A transform that is made without answers; see `glocal.transform.rows`."""

    baseline: Literal["centred", "pca"]

    def linear_transform(self, sources: Sources, file: Path) -> LinearTransform:
        """The baseline that is computed from the objects of the network."""
        return baseline(self.baseline, sources.objects)


class Pretrained(SuiteArm):
    """A transform that was fitted elsewhere.

    `transform` is a file, or a name that `LinearTransform.from_pretrained` takes.
    """

    transform: str

    def linear_transform(self, sources: Sources, file: Path) -> LinearTransform:
        """The transform of the file or of the name."""
        return sources.transform(self.transform)

    def notes(self, sources: Sources) -> list[str]:
        """A warning if the file is known to hold the transform of another network."""
        note = wrong_name(sources.path(self.transform), sources.transform(self.transform).weights)
        return [note] if note else []


class Fitted(SuiteArm):
    """An arm that is fitted on the answers of the suite, without fold 0 of the objects."""

    what: SerializeAsAny[Arm | Keep]

    @model_serializer
    def _as_in_the_file(self) -> dict[str, Any]:
        return self.what.model_dump(mode="json")

    @property
    def needs_local(self) -> bool:
        """Whether the fit has a local term."""
        return isinstance(self.what, Arm) and self.what.local

    def local_file(self, network: Network) -> Path | None:
        """The local images of the network, if the fit uses them."""
        return network.local if self.needs_local or isinstance(self.what, Keep) else None

    def linear_transform(self, sources: Sources, file: Path) -> LinearTransform:
        """The transform in `file` if its data and settings are the same, else a new fit."""
        shared = sources.shared
        local = self.local_file(sources.network)
        hashes = sources.hashes(sources.network.features, local, shared.answers, shared.object_ids)
        key = sources.key(self.model_dump(mode="json"), hashes)
        if file.exists():
            kept = LinearTransform.load(file)
            if kept.meta.get("key") == key:
                return kept
        local_features = None if local is None else sources.features(local)
        data = replace(sources.fold[0], local_features=local_features)
        transform = fit(data, self.what).transform
        transform = replace(transform, meta={**transform.meta, "key": key})
        make_folder(file.parent)
        transform.save(file)
        return LinearTransform.load(file)  # with the record as the next run reads it


def suite_arm(table: Any) -> Any:
    """The arm that a table describes by its keys; an `Arm` or `Keep` becomes a `Fitted` arm."""
    if isinstance(table, Arm | Keep):
        return Fitted(what=table)
    if not isinstance(table, Mapping):
        return table
    kinds = sorted(table.keys() & {"keep", "transform", "baseline"})
    if len(kinds) > 1:
        raise ParameterError(
            f"an arm has only one of keep, transform and baseline, not {' and '.join(kinds)}."
        )
    if not table:
        return Original()
    if "transform" in table:
        return Pretrained(**table)
    if "baseline" in table:
        return Baseline(**table)
    return Fitted(what=Keep(**table) if "keep" in table else Arm(**table))
