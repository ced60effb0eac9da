"""The scores of all arms in all tasks of a network, for `make evidence`.

Categories of THINGS objects are scored with the transforms that were fitted without the objects of
a fold, and the scores of the three folds are pooled. All other images are new to every fit. Most of
their tasks are those of evidence.toml; names and captions are here because texts may stay as they
are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import arms
import numpy as np
import pandas as pd
import workbench
from workbench import data_of, features_of, kept, real_data

from glocal.aligner.heldout import heldout_scores
from glocal.data.features import object_name
from glocal.evaluation.anomaly import anomaly
from glocal.evaluation.few_shot import few_shot
from glocal.evaluation.intervals import FRACTION, Result, Units
from glocal.evaluation.retrieval import retrieval
from glocal.files import read_lines
from glocal.similarity import unit_rows
from glocal.suite.plan import Plan
from glocal.transform import LinearTransform

IMAGE_TEXT = "clip-vit-b32"
"""The network whose texts there are."""
SUITE = workbench.ROOT / "benchmarks" / "evidence.toml"
MIN_OBJECTS_IN_CATEGORY = 6
"""In each fold; categories with fewer of them are left out. Five give shots."""
NEAREST_OBJECTS = 3
"""In anomaly detection, where three objects of a category are shown."""
LOGISTIC_DRAWS = 20
MAX_COSINE_OF_NEW_IMAGES = 0.99  # to an image of the fit; others are copies
Parts = dict[str, LinearTransform]
Score = Callable[[Parts], Result]
Row = dict[str, Any]


# categories of unseen objects


@cache
def objects(network: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """The rows of each fold's objects and their categories, which are the same in all folds."""
    data = data_of(network)
    labels = workbench.categories(network)
    folds = []
    for fold in data.folds(arms.FOLDS, "objects"):
        rows = workbench.heldout_objects(data, fold)
        folds.append(rows[labels[rows] != ""])
    counts = pd.DataFrame([pd.Series(labels[rows]).value_counts() for rows in folds])
    smallest = counts.fillna(0).min()
    names = smallest.index[smallest >= MIN_OBJECTS_IN_CATEGORY]
    used = [rows[np.isin(labels[rows], names)] for rows in folds]
    return [(rows, labels[rows]) for rows in used]


def of_objects(network: str, score: Callable[..., Result], parts: Parts) -> Result:
    """The pooled scores of the objects of all folds."""
    X = np.asarray(data_of(network).features.matrix, np.float64)
    folds = objects(network)
    return pooled(score(parts[str(k)](X[rows]), y) for k, (rows, y) in enumerate(folds))


def pooled(results: Iterable[Result]) -> Result:
    """The mean of scores of different images, which are independent."""
    folds = list(results)
    units = [fold.units for fold in folds]
    if units[0].classes is not None:  # (draws, images): the classes of each fold are its own
        codes = [
            fold.classes + 1000 * k for k, fold in enumerate(units) if fold.classes is not None
        ]
        joint = replace(
            units[0],
            values=np.concatenate([fold.values for fold in units], axis=1),
            classes=np.concatenate(codes),
            shot_share=float(np.mean([fold.shot_share for fold in units])),
        )
    else:
        n = sum(len(fold.values) for fold in units)
        means = [fold.values.mean() for fold in units]
        deviations = [
            (fold.values - mean) * n / (len(units) * len(fold.values))
            for fold, mean in zip(units, means, strict=True)
        ]
        joint = Units(values=np.mean(means) + np.concatenate(deviations))
    value, low, high = joint.estimate().bounded(FRACTION)
    count = sum(fold.scores[0].n or 0 for fold in folds)
    first = replace(folds[0].scores[0], value=value, low=low, high=high, n=count)
    return Result((first,), joint, folds[0].values)


def few_shot_of(Z: np.ndarray, y: np.ndarray, **options: Any) -> Result:
    """Few-shot classification among the objects of a fold."""
    return few_shot(Z, y, Z, y, leave_out_shots=True, **options)


def anomaly_of(Z: np.ndarray, y: np.ndarray) -> Result:
    """Anomaly detection with half of the objects of each category of a fold shown."""
    shown = arms.halves(y)
    return anomaly(Z[shown], y[shown], Z[~shown], y[~shown], k=NEAREST_OBJECTS)


def object_tasks(network: str) -> dict[str, Score]:
    """The tasks on categories of unseen objects."""
    scores: dict[str, Callable[..., Result]] = {}
    for shots in (1, 2, 5):
        scores[f"things {shots}"] = partial(few_shot_of, shots=shots, probe="ncm")
    for shots in (1, 2):
        scores[f"things {shots} logistic"] = partial(
            few_shot_of, shots=shots, probe="logistic", draws=LOGISTIC_DRAWS
        )
    scores["things anomalies"] = anomaly_of
    scores["things retrieval"] = retrieval
    return {name: partial(of_objects, network, score) for name, score in scores.items()}


# words and captions


def in_words(sides: str, transform: LinearTransform, text: np.ndarray) -> np.ndarray:
    """Rows of texts, transformed too or only standardized."""
    return transform(text) if sides == "both" else transform.standardization(text, "float64")


def of_words(sides: str, parts: Parts) -> Result:
    """Naming: the word of a picture among 1,413, for unseen objects whose names are words."""
    folder = f"things/words/{IMAGE_TEXT}"
    words = np.array(read_lines(real_data() / folder / "words.txt", what="words"))
    text = np.asarray(features_of(IMAGE_TEXT, folder).matrix, np.float64)
    data = data_of(IMAGE_TEXT)
    X = np.asarray(data.features.matrix, np.float64)
    names = np.array([object_name(name) for name in data.features.names or ()])
    folds = []
    for k, fold in enumerate(data.folds(arms.FOLDS, "objects")):
        rows = workbench.heldout_objects(data, fold)
        rows = rows[np.isin(names[rows], words)]
        transform = parts[str(k)]
        folds.append(
            retrieval(transform(X[rows]), names[rows], in_words(sides, transform, text), words)
        )
    return pooled(folds)


@cache
def captions() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, p) photographs that no fit has used, (m, p) captions, and each caption's photograph."""
    folder = real_data() / "downstream" / IMAGE_TEXT / "flickr8k-image-text-500"
    photograph_ids = pd.read_csv(folder / "metadata.csv")["image_id"].to_numpy()
    photographs, text = (unit_rows(np.load(folder / f"{name}.npy")) for name in ("image", "text"))
    local = data_of(IMAGE_TEXT).local_features
    assert local is not None
    cosines = photographs @ unit_rows(np.asarray(local.matrix, np.float64)).T
    new = cosines.max(axis=1) <= MAX_COSINE_OF_NEW_IMAGES
    _, first, number = np.unique(photograph_ids[new], return_index=True, return_inverse=True)
    return photographs[new][first], text[new], number


def of_captions(direction: str, sides: str, parts: Parts) -> Result:
    """Retrieval of captions for a photograph or the reverse."""
    photographs, text, labels = captions()
    Z = parts["all"](photographs)
    T = in_words(sides, parts["all"], text)
    numbers = np.arange(len(Z))
    if direction == "captions":
        return retrieval(Z, numbers, T, labels)
    return retrieval(T, labels, Z, numbers)


# all tasks


def tasks(network: str) -> dict[str, tuple[Any, Score]]:
    """All tasks of a network, each with what it is made of."""
    scores: dict[str, tuple[Any, Score]] = {
        name: (None, score) for name, score in object_tasks(network).items()
    }
    suite = Plan.load(SUITE, root=arms.DATA)
    one = suite.model_copy(update={"networks": {network: suite.networks[network]}, "arms": {}})
    folder = arms.DATA / network
    if any(folder.glob("*-labels.npy")):
        plan, _ = one.present()
        sources = plan.sources(network)
        for name, task in plan.tasks.items():

            def score(parts: Parts, task: Any = task) -> Result:
                return task.score(sources, sources.embedding(parts["all"]))

            files = sources.hashes(*task.paths)
            scores[name] = ([task.model_dump(mode="json"), files], score)
    if network == IMAGE_TEXT:
        for sides in ("pictures", "both"):
            scores[f"names {sides}"] = (None, partial(of_words, sides))
            for direction in ("captions", "photographs"):
                scores[f"{direction} {sides}"] = (None, partial(of_captions, direction, sides))
    return scores


def arm_names(network: str) -> list[str]:
    """The arms and controls of evidence.toml that the network has."""
    return [arm for arm in Plan.load(SUITE).arms if arms.path(network, arm, "all").exists()]


def measure(network: str, quick: bool) -> list[Row]:
    """The rows of a network: every task and arm, less the original and less the column means."""
    loaded = {arm: arms.transforms(network, arm) for arm in arm_names(network)}
    contents = {arm: arms.hashes(network, arm) for arm in loaded}
    rows: list[Row] = []
    for number, (task, (inputs, score)) in enumerate(tasks(network).items()):
        if not quick or number % 8 == 0:
            file = arms.FOLDER / "tasks" / network / f"{task}.json"
            make = partial(task_rows, loaded, score)
            for row in kept(file, [contents, inputs], make):
                rows.append({"network": network, "task": task, **row})
    return rows


def task_rows(loaded: dict[str, Parts], score: Score) -> list[Row]:
    """The rows of all arms in a task."""
    results = {arm: score(parts) for arm, parts in loaded.items()}
    rows = []
    for base in ("original", "centred"):
        for arm, result in results.items():
            if base == "original" or arm.startswith("centred-") or arm == "global":
                main = result.scores[0]
                row: Row = {"arm": arm, "base": base, "metric": main.metric, "value": main.value}
                row |= {"low": main.low, "high": main.high, "n": main.n}
                row["rough"] = bool(main.settings.get("rough"))
                if arm != base:
                    row |= workbench.difference(result.units.minus(results[base].units))
                rows.append(row)
    return rows


def properties(network: str) -> list[Row]:
    """The agreement of each arm with held-out answers, and its share of raw neighbours kept."""
    data = data_of(network)
    folds = data.folds(arms.FOLDS, "objects")
    names = {"agreement", "low", "high", "gain", "gain_low", "gain_high", "n"}
    names |= {"kept", "kept_low", "kept_high", "n_images"}
    rows = []
    for arm in arm_names(network):
        parts = arms.transforms(network, arm)
        of_folds = [parts[str(k)] for k in range(arms.FOLDS)]
        make = partial(heldout_scores, data, folds, of_folds)
        file = arms.FOLDER / "properties" / network / f"{arm}.json"
        scores = kept(file, arms.hashes(network, arm), lambda make=make: make().model_dump())  # type: ignore[misc]
        rows.append({"network": network, "arm": arm, **{name: scores[name] for name in names}})
    return rows


def keep_rows(network: str, curves: arms.Record) -> list[Row]:
    """What each `keep` gives: agreement, neighbours, and one-shot accuracy on categories."""
    score = object_tasks(network)["things 1"]
    rows = []
    for prefix, curve in curves.items():
        for row in curve["rows"]:
            names = ["original", row["arm"]]
            contents = [arms.hashes(network, arm) for arm in names]

            def make(names: list[str] = names) -> Row:
                before, after = (score(arms.transforms(network, arm)) for arm in names)
                return workbench.difference(after.units.minus(before.units))

            file = arms.FOLDER / "keep" / network / f"{row['arm']}.json"
            gain = kept(file, contents, make)
            rows.append({"network": network, "centre": arms.CENTRES[prefix], **row, **gain})
    return rows
