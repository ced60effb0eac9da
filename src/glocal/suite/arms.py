"""The arms of a suite: fitted here, fitted elsewhere, a baseline, or the original features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from glocal.aligner import Arm, fit
from glocal.aligner.keep import Keep
from glocal.errors import ParameterError
from glocal.files import kept_by_key
from glocal.options import Options
from glocal.suite.sources import Network, Sources
from glocal.transform import LinearTransform
from glocal.transform.rows import baseline


class Original(Options):
    """The original features."""


class Baseline(Options):
    """A transform that is made without answers; see `glocal.transform.rows`."""

    baseline: Literal["centred", "pca"]


class Pretrained(Options):
    """A transform that was fitted elsewhere.

    `transform` is a file, or a name that `LinearTransform.from_pretrained` takes.
    """

    transform: str


Fitted = Arm | Keep
"""An arm that is fitted on the answers of the suite, without fold 0 of the objects."""
SuiteArm = Fitted | Pretrained | Baseline | Original
"""An arm of a suite."""


def suite_arm(table: Any) -> Any:
    """The arm that a table describes by its keys."""
    if not isinstance(table, Mapping):
        return table
    kinds = {"keep": Keep, "transform": Pretrained, "baseline": Baseline}
    keys = sorted(table.keys() & kinds.keys())
    if len(keys) > 1:
        raise ParameterError(
            f"an arm has only one of keep, transform and baseline, not {' and '.join(keys)}."
        )
    kind = kinds[keys[0]] if keys else Arm if table else Original
    return kind(**table)


def needs_local(arm: SuiteArm) -> bool:
    """Whether an arm cannot be fitted without local images."""
    return isinstance(arm, Arm) and arm.local


def local_file(arm: SuiteArm, network: Network) -> Path | None:
    """The file of the local images that an arm is fitted to; None if it uses none."""
    return network.local if needs_local(arm) or isinstance(arm, Keep) else None


def transform_of(arm: SuiteArm, sources: Sources, file: Path) -> LinearTransform | None:
    """The transform of an arm, None for the original features; `file` keeps a fitted one."""
    match arm:
        case Original():
            return None
        case Baseline():
            return baseline(arm.baseline, sources.objects)
        case Pretrained():
            return sources.transform(arm.transform)
    shared = sources.shared
    local = local_file(arm, sources.network)
    hashes = sources.hashes(sources.network.features, local, shared.answers, shared.object_ids)
    key = sources.key(arm.model_dump(mode="json"), hashes)

    def write() -> None:
        local_features = None if local is None else sources.features(local)
        data = replace(sources.fold[0], local_features=local_features)
        fitted = fit(data, arm).transform
        replace(fitted, meta={**fitted.meta, "key": key}).save(file)

    return kept_by_key(file, key, _load, write)[0]


def _load(file: Path) -> tuple[LinearTransform, object]:
    transform = LinearTransform.load(file)
    return transform, transform.meta.get("key")
