"""What a fit leaves: the transform, its record, and warnings of what is wrong with it."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from glocal._version import __version__
from glocal.aligner.data import FitData
from glocal.aligner.exact import Solution
from glocal.errors import CollapseWarning, NotConvergedWarning
from glocal.results import FitRecord, Provenance, to_json
from glocal.transform import LinearTransform, row_statistics


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted transform and the record of how it came about (also in ``transform.meta``)."""

    transform: LinearTransform
    record: FitRecord


def recorded(data: FitData, found: Solution, seconds: float, holdout: dict[str, Any] | None = None) -> Fit:
    """The fit that a solution makes, after warnings of what its record shows."""
    arm = found.arm
    local = data.local_features is not None and (arm.local or "keep" in found.told)
    images = [len(block) for block in data.blocks] if local else []
    record = FitRecord(**{
        **arm.settings, "objective": found.objective, "parts": found.parts, "converged": found.converged,
        "status": found.status, "reason": found.reason, "gap": found.gap, "certificate": found.certificate,
        "evaluations": found.evaluations, "seconds": seconds,
        "n_answers": len(data.answers), "n_dropped": data.n_dropped, "n_objects": len(data.answers.named()),
        "n_local": sum(images), "n_local_blocks": len(images) if local else None,
        "block_size": data.block_size if local else None, "holdout": holdout,
        "provenance": Provenance(__version__, data.hashes(local=local), data.seed, threads=found.threads),
        **found.told,
    })  # fmt: skip
    _warn(record, found, data)
    meta: dict[str, Any] = {"fit": json.loads(to_json(record)), "rows": row_statistics(data.features)}
    if data.features.network:
        meta["source"] = data.features.network
    return Fit(replace(found.transform, meta=meta), record)


def _warn(record: FitRecord, found: Solution, data: FitData) -> None:
    from glocal.similarity import at_chance, one_point

    if not record.converged:
        warnings.warn(f"not converged ({record.status}): {record.reason}.", NotConvergedWarning, stacklevel=4)
    chance, loss = data.answers.chance_loss, record.parts["global"]
    named = np.asarray(data.features.matrix[data.answers.named()], dtype=np.float64)
    if at_chance(loss, chance) or one_point(found.transform(named)):
        warnings.warn(
            f"collapse: the global loss {loss:.6f} is that of chance ({chance:.6f}), or all objects are mapped to one "
            "point. Lower lmbda, or check that the answers and the features belong together.",
            CollapseWarning,
            stacklevel=4,
        )
