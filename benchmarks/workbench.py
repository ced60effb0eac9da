"""Common parts of the benchmarks: threads that do not spin, the data folder, fits by keywords."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

# before torch is imported: threads that spin are far slower on a busy machine
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from glocal.aligner import Arm, Exact, Fit, FitData, fit
from glocal.aligner.crossfit import scaled_identity_of
from glocal.aligner.data import Blocks
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.join import join
from glocal.files import read_lines
from glocal.similarity import unit_rows
from glocal.transform import LinearTransform

DATA = Path(os.environ["GLOCAL_DATA_DIR"]) if os.environ.get("GLOCAL_DATA_DIR") else None
"""The real data, where there are any."""


def real_data() -> Path:
    """The folder of the real data; a benchmark that needs them ends if there is none."""
    if DATA is None:
        sys.exit("GLOCAL_DATA_DIR is not set: nothing real to measure")
    return DATA


def unit_features(folder: Path) -> Features:
    """Features with rows of length 1."""
    features = Features.load(folder)
    rows = unit_rows(np.asarray(features.matrix, np.float64)).astype(np.float32)
    return Features(rows, features.names, folder.name)


def unit_data(network: str, images: str | None = None) -> FitData:
    """All answers about a network's rows of length 1, as rows of its objects.

    The local images are "photographs", the "objects" themselves, or none.
    """
    things = real_data() / "things"
    objects = unit_features(things / "features" / network)
    ids = read_lines(things / "unique_id.txt", what="object ids")
    answers = join(objects, Answers.load(things / "triplets.npy"), ids).answers
    if images is None:
        return FitData(objects, answers)
    local = objects if images == "objects" else unit_features(real_data() / "local" / network)
    return FitData(objects, answers, Features(local.matrix, None, images))


def things_data(network: str) -> FitData:
    """All answers about a network's features, with ImageNet photographs as local images."""
    things = real_data() / "things"
    features = Features.load(things / "features" / network)
    ids = read_lines(things / "unique_id.txt", what="object ids")
    answers = join(features, Answers.load(things / "triplets.npy"), ids).answers
    local = real_data() / "local" / network
    images = Features.load(local if local.is_dir() else real_data() / "imagenet200" / network)
    return FitData(features, answers, images)


def fitted(
    features: Features, answers: Answers, local: Features | None = None, **options: Any
) -> Fit:
    """An exact fit by keywords; the method is `glocal` with local features, else `global`."""
    options.setdefault("method", "global" if local is None else "glocal")

    def group(model: Any) -> Any:
        return model(**{name: options[name] for name in model.model_fields if name in options})

    data = FitData(features, answers, local, **group(Blocks).model_dump())
    return fit(data, group(Arm), group(Exact))


def refitted(data: FitData, record: dict[str, Any]) -> LinearTransform:
    """The setting in a record of `keep`, fitted to other data."""
    arms = [Arm.of(settings) for settings in record["fits"]]
    problem = Exact().problem(data, local=any(arm.local for arm in arms))
    start = None
    matrices: list[np.ndarray] = []
    for arm in reversed(arms):
        solution = Exact().minimise(problem, arm, start)
        start = solution.warm
        matrices.append(solution.transform.weights.astype(np.float64))
    nearer = matrices[-1]
    other = matrices[0] if len(matrices) > 1 else scaled_identity_of(nearer)
    mixture = record["share"] * nearer + (1 - record["share"]) * other
    return data.transform(record["scale"] ** 0.5 * mixture)


def paired(after: Any, before: Any, **shared: Any) -> dict[str, Any]:
    """The paired difference of two arms, its interval and p; `shared` are fields of `Units`."""
    from glocal.evaluation.intervals import Units

    estimate = Units(values=after, **shared).minus(Units(values=before))
    low, high = estimate.interval()
    scores = {"difference": estimate.mean, "low": low, "high": high, "p": estimate.p}
    return {**scores, "n": int(after.size)}
