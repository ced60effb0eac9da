"""The effect of `centre` at `keep` 0.9: agreement, both shares of neighbours, one-shot accuracy.

Each network is fitted without each of three folds of objects and local images, centred by 0, ½ and
1, and by the choice of `auto`. Two arms without a fit are scored too: the features as they are
("original") and the centred features ("centred"). The held-out part of the fold gives these scores:

agreement  with the answers about its objects
kept       the share of the ten nearest neighbours of its images that stay, among the features
           before the transform, centred by the same share; `kept_raw` is the share of those among
           the raw features
coarse     the category of its objects from one object of each category, by nearest class mean:
           the mean over categories and 40 draws
fine       in the same way, the class of CIFAR-10 images, if the network has features of them

Rows are appended to bench-out/centre, and a row that exists is not measured again.

Run: python benchmarks/centre.py [run|table] [NETWORK ...] [--folds 0 1 2]. Needs GLOCAL_DATA_DIR.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import workbench  # isort: skip  before torch

import numpy as np
import pandas as pd
from keep import FILES, data_of

from glocal.aligner import FitData, Keep, fit
from glocal.aligner.data import Fold
from glocal.data.join import feature_rows
from glocal.evaluation.agreement import odd_one_out
from glocal.evaluation.few_shot import few_shot
from glocal.evaluation.structure import neighbours_kept
from glocal.files import make_folder, read_lines
from glocal.results import append_rows, read_rows
from glocal.similarity import unit_rows
from glocal.transform import LinearTransform

OUT = Path("bench-out") / "centre"
FOLDS = 3
KEEP = 0.9
NETWORKS = ("CLIP", "BLIP", "ViT", "SqueezeNet", "EfficientNet")
CENTRES: dict[str, Any] = {"centre 0": 0.0, "centre ½": 0.5, "centre 1": 1.0, "auto": "auto"}
ARMS = ("original", "centred", *CENTRES)
DRAWS = 40
MIN_OBJECTS_IN_CATEGORY = 10
"""Of a fold's objects in exactly one category; categories with fewer of them are left out."""
EXPECTED = {
    ("CLIP", "original"): (0.488, 1.0),
    ("CLIP", "centred"): (0.510, 0.762),
    ("CLIP", "centre 0"): (0.563, 0.909),
    ("CLIP", "centre ½"): (0.569, 0.842),
    ("CLIP", "centre 1"): (0.560, 0.753),
    ("BLIP", "original"): (0.420, 1.0),
    ("BLIP", "centred"): (0.452, None),
    ("BLIP", "centre 0"): (0.454, None),
    ("BLIP", "centre 1"): (0.475, 0.661),
    ("ViT", "original"): (0.378, 1.0),
    ("ViT", "centred"): (0.387, None),
    ("ViT", "centre 0"): (0.392, None),
    ("ViT", "centre 1"): (0.400, 0.577),
    ("SqueezeNet", "original"): (0.463, 1.0),
    ("SqueezeNet", "centred"): (0.457, None),
    ("SqueezeNet", "centre 0"): (0.492, None),
    ("SqueezeNet", "centre 1"): (0.483, 0.854),
    ("EfficientNet", "original"): (0.439, 1.0),
    ("EfficientNet", "centred"): (0.436, None),
    ("EfficientNet", "centre 0"): (0.501, None),
    ("EfficientNet", "centre 1"): (0.488, 0.836),
}
"""Agreement and raw neighbours kept of the fits that first measured centring."""


@cache
def categories(network: str) -> np.ndarray:
    """The category of each object of a network; empty for objects in none or in several."""
    things = workbench.real_data() / "things"
    table = pd.read_csv(things / "categories27.tsv", sep="\t")
    is_single = (table.sum(axis=1) == 1).to_numpy()
    names = np.where(is_single, table.columns.to_numpy(str)[table.to_numpy().argmax(axis=1)], "")
    features = data_of(network).features
    rows = feature_rows(features, read_lines(things / "unique_id.txt", what="object ids"))
    labels = np.full(len(features), "", dtype=names.dtype)
    labels[rows[rows >= 0]] = names[rows >= 0]
    return labels


@cache
def cifar10(network: str) -> tuple[np.ndarray, np.ndarray] | None:
    """The features of CIFAR-10 images by a network, and their classes."""
    root = workbench.real_data()
    if network == "CLIP":
        folder = root / "downstream" / "clip-vit-b32" / "cifar10-500"
        return unit_rows(np.load(folder / "features.npy")), np.load(folder / "labels.npy")
    if network not in FILES:
        return None
    folder = root / "cifar10" / FILES[network]
    images = np.load(folder / "test.npy").astype(np.float64)
    return images, np.load(folder / "test_labels.npy")


def one_shot(Z: np.ndarray, labels: np.ndarray) -> float:
    """The accuracy of the nearest class mean from one image a class, averaged over classes."""
    result = few_shot(Z, labels, Z, labels, shots=1, draws=DRAWS, probe="ncm", leave_out_shots=True)
    return float(result.units.values.mean())


def scores(
    network: str, data: FitData, fold: Fold, objects: np.ndarray, transform: LinearTransform
) -> dict[str, Any]:
    """All scores of a transform on the held-out part of a fold, with data centred as in its fit."""
    X = np.asarray(data.features.matrix)
    images = data.evaluation_rows(fold.rows)
    raw = replace(data, centre=0.0).scalars(images, "float64")
    labels = categories(network)[objects]
    names, counts = np.unique(labels[labels != ""], return_counts=True)
    is_tested = np.isin(labels, names[counts >= MIN_OBJECTS_IN_CATEGORY])
    small = cifar10(network)
    return {
        "agreement": odd_one_out(transform(X), fold.answers, interval=False).accuracy,
        "kept": neighbours_kept(data.scalars(images, "float64"), transform(images)),
        "kept_raw": neighbours_kept(raw, transform(images)),
        "coarse": one_shot(transform(X[objects[is_tested]]), labels[is_tested]),
        "fine": None if small is None else one_shot(transform(small[0]), small[1]),
        "n_answers": len(fold.answers),
        "n_images": len(images),
    }


def arm_row(network: str, data: FitData, fold_number: int, arm: str) -> dict[str, Any]:
    """The scores of one arm on one fold; of a fit also its choice and its cost."""
    fold = data.folds(FOLDS, "objects")[fold_number]
    outside = fold.data.objects
    objects = np.setdiff1d(data.answers.named_objects(), outside)
    identity = np.eye(data.features.dimensions, dtype=np.float32)
    if arm in ("original", "centred"):
        centred = replace(data, centre=float(arm == "centred"))
        return scores(network, centred, fold, objects, centred.transform(identity))
    began = time.process_time()
    result = fit(replace(fold.data, centre=CENTRES[arm]), Keep(keep=KEEP))
    seconds = time.process_time() - began
    choice = result.record.keep
    assert choice is not None
    promised = result.record.heldout
    assert promised is not None
    centred = replace(data, centre=choice["centre"])
    return {
        **scores(network, centred, fold, objects, result.transform),
        "centre": choice["centre"],
        "lmbda": result.record.lmbda,
        "promised_agreement": promised.agreement,
        "promised_kept": promised.kept,
        "promised_kept_raw": promised.kept_raw,
        "seconds": seconds,
        "evaluations": result.record.evaluations,
        "converged": result.record.converged,
    }


def measured_rows(networks: list[str], folds: list[int]) -> Iterator[dict[str, Any]]:
    """The rows that were not measured before."""
    path = OUT / "rows.jsonl"
    measured = set()
    if path.exists():
        measured = {(row["network"], row["fold"], row["arm"]) for row in read_rows(path)}
    for network in networks:
        data = data_of(network)
        for fold in folds:
            for arm in ARMS:
                if (network, fold, arm) not in measured:
                    row = arm_row(network, data, fold, arm)
                    yield {"network": network, "fold": fold, "arm": arm, **row}


def table() -> None:
    """Print the means over folds, with agreement paired with that of `centre` 0."""
    rows = pd.DataFrame(read_rows(OUT / "rows.jsonl"))
    rows = rows.drop_duplicates(["network", "fold", "arm"], keep="last")
    columns = ["network", "arm", "folds", "centre", "λ", "agreement", "first measured"]
    columns += ["less centre 0", "kept", "kept of raw", "first measured", "coarse", "fine", "s"]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for network in (name for name in NETWORKS if name in set(rows["network"])):
        part = rows[rows["network"] == network]
        agreement = part.pivot(index="fold", columns="arm", values="agreement")
        for arm in (name for name in ARMS if name in agreement):
            folds = part[part["arm"] == arm]
            is_fit = arm in CENTRES
            first, first_kept = EXPECTED.get((network, arm), (None, None))
            texts = [network, arm, str(len(folds))]
            texts += [listed(folds["centre"]), listed(folds["lmbda"])] if is_fit else ["", ""]
            texts += [f"{folds['agreement'].mean():.3f}", number(first)]
            difference = (agreement[arm] - agreement.get("centre 0", np.nan)).dropna()
            texts += [f"{difference.mean():+.3f} ± {difference.sem():.3f}"]
            texts += [number(folds["kept"].mean()), number(folds["kept_raw"].mean())]
            texts += [number(first_kept)]
            texts += [number(folds[task].mean()) for task in ("coarse", "fine")]
            texts += [f"{folds['seconds'].mean():.0f}" if is_fit else ""]
            print("| " + " | ".join(texts) + " |")


def listed(values: pd.Series) -> str:
    """The distinct values over the folds, as text."""
    return ", ".join(f"{value:g}" for value in sorted(set(values)))


def number(value: float | None) -> str:
    """A number with three digits; empty text if it is missing."""
    return "" if value is None or np.isnan(value) else f"{value:.3f}"


def main() -> None:
    """Measure, or print the measurements."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("section", nargs="?", choices=("run", "table"), default="run")
    parser.add_argument(
        "networks", nargs="*", help=f"of {', '.join(NETWORKS)}; all if none is named"
    )
    parser.add_argument("--folds", nargs="+", type=int, default=list(range(FOLDS)))
    options = parser.parse_args()
    if options.section == "run":
        warnings.simplefilter("ignore")
        path = make_folder(OUT) / "rows.jsonl"
        for row in measured_rows(options.networks or list(NETWORKS), options.folds):
            append_rows(path, [row])
            print(row, flush=True)
    table()


if __name__ == "__main__":
    main()
