"""What an alignment will do: each step with its size, and about how long it takes on this machine."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glocal.align.inputs import FOLDS, Inputs
from glocal.align.log import Log, key_of
from glocal.data.features import Features
from glocal.errors import ParameterError
from glocal.extract.images import Source
from glocal.files import PathLike
from glocal.sweep import settings

STEPS = ("extract", "check", "choose", "score", "export", "page", "card")
SKIPPABLE = ("check", "score", "export", "page", "card")
_EVALUATIONS = 85  # of the objective, a point: the mean of sweeps on real data
_STEP = 0.003  # seconds of an evaluation besides its products
_SIDE = 512  # of the matrices by which the speed of this machine is measured


@dataclass(frozen=True)
class PlannedStep:
    """A step, what it works on in words, and about how many seconds it takes: 0 where its result is kept already."""

    step: str
    what: str
    seconds: float


def check_skip(skip: Collection[str]) -> None:
    """Raise a ParameterError where a step is unknown, or one that others need."""
    if unknown := [step for step in skip if step not in SKIPPABLE]:
        raise ParameterError(f"skip is {', '.join(unknown)}; allowed are {', '.join(SKIPPABLE)}.")


def plan(inputs: Inputs, out: PathLike, skip: Collection[str] = ()) -> list[PlannedStep]:
    """Read names, count answers, run the network on a few images, and say what each step will do in the folder `out`.

    Steps of `skip` are left out. Nothing is written but what the libraries of the network and `things_answers` keep in
    their caches.

    Raises
    ------
    DataError, FileError, ParameterError
        The inputs cannot be used: no answer is about these images, too few images or answers for the folds, no
        such model; or there is no such step to skip.
    """
    check_skip(skip)
    joined = inputs.check()
    steps = [_extraction(inputs, name, source) for name, source in inputs.sources.items()]
    n, t = len(inputs.sources["objects"]), len(joined.triplets)
    m = len(inputs.sources["local"]) if "local" in inputs.sources else 0
    dropped = f" ({joined.n_dropped:,} others name an object without an image)" if joined.n_dropped else ""
    steps.append(PlannedStep("check", f"{t:,} answers about {n:,} objects{dropped}", 1 + 2e-6 * t))
    points, p = FOLDS * len(settings("arms", local=m > 0)), _dimensions(inputs)
    what = f"{points} fits of {p} dimensions on folds of objects, and one on all"
    if Log(Path(out)).result("choose", key_of("choose", inputs.identity)) is not None:
        steps.append(PlannedStep("choose", f"{what}: kept from before", 0.0))
    else:
        steps.append(PlannedStep("choose", what, points * _EVALUATIONS * _evaluation(n, m, p, t)))
    steps.append(PlannedStep("score", "the choice on the held-out objects of each fold", 1 + 5e-6 * t))
    steps.append(PlannedStep("export", "transform.npz, .safetensors and .onnx", 1.0))
    steps.append(PlannedStep("page", "report.html with pictures of the objects", 3 + 0.01 * n))
    steps.append(PlannedStep("card", "card.md", 0.1))
    return [one for one in steps if one.step not in skip]


def _extraction(inputs: Inputs, name: str, source: Source) -> PlannedStep:
    what = f"{len(source):,} {'images' if name == 'objects' else 'local images'} through {inputs.model}"
    if (inputs.folders[name] / "record.json").exists():
        return PlannedStep("extract", f"{what}: kept from before", 0.0)
    return PlannedStep("extract", what, len(source) * inputs.probed[1])


def _dimensions(inputs: Inputs) -> int:
    kept = inputs.folders["objects"]
    return Features.load(kept).dimensions if (kept / "record.json").exists() else inputs.probed[0]


def _evaluation(n: int, m: int, p: int, t: int) -> float:
    """Seconds of one evaluation of the objective: its products at the speed that this machine shows now."""
    A = np.ones((_SIDE, _SIDE), dtype=np.float32)
    A @ A  # the first product starts the threads
    began = time.perf_counter()
    A @ A
    rate = 2 * _SIDE**3 / max(time.perf_counter() - began, 1e-6)
    q = min(p, n + m)  # fewer rows than columns are fitted on their own directions
    block = min(m, 1024)
    return _STEP + (6 * (n + m) * q * q + 4 * n * n * q + 4 * m * block * q) / rate + 2e-8 * t
