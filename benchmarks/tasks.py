"""The scores of all arms in all tasks of a network, for `make evidence`.

Categories of THINGS objects, and their names, are scored with the transforms that were fitted
without the objects of a fold, and the scores of the three folds are pooled. All other images are
new to every fit; their tasks are those of evidence.toml.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import arms
import numpy as np
import pandas as pd
import workbench
from workbench import ROOT, data_of, kept, real_data

from glocal import Features, LinearTransform, anomaly, few_shot, retrieval
from glocal.aligner.data import Centre
from glocal.aligner.folds import fit_folds
from glocal.aligner.heldout import FoldScorer
from glocal.data.names import object_name
from glocal.evaluation.comparison import Result
from glocal.evaluation.episodes import EpisodeValues
from glocal.evaluation.intervals import FRACTION, ItemValues, Units
from glocal.evaluation.structure import kept_by_image
from glocal.files import read_lines
from glocal.suite.plan import Plan

SUITE = ROOT / "benchmarks/evidence.toml"
IMAGE_TEXT = "clip-vit-b32"
"""The network that has features of words."""
MIN_OBJECTS_IN_CATEGORY = 6
"""In each fold; categories with fewer of them are left out. Five give shots."""
NEAREST_OBJECTS = 3
"""In anomaly detection, where three objects of a category are shown."""
LOGISTIC_DRAWS = 20
Parts = dict[str, LinearTransform]
Score = Callable[[Parts], Result]
Row = dict[str, Any]


@cache
def objects(network: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """The rows of each fold's objects and their categories, which are the same in all folds."""
    data = data_of(network)
    labels = workbench.categories(network)
    folds = []
    for fold in fit_folds(data, arms.FOLDS, "objects"):
        rows = workbench.heldout_objects(data, fold)
        folds.append(rows[labels[rows] != ""])
    counts = pd.DataFrame([pd.Series(labels[rows]).value_counts() for rows in folds])
    smallest = counts.fillna(0).min()
    names = smallest.index[smallest >= MIN_OBJECTS_IN_CATEGORY]
    used = [rows[np.isin(labels[rows], names)] for rows in folds]
    return [(rows, labels[rows]) for rows in used]


def of_objects(network: str, score: Callable[..., Result], parts: Parts) -> Result:
    """The pooled scores of the objects of all folds."""
    X = data_of(network).features.matrix
    folds = objects(network)
    return pooled(score(parts[str(k)](X[rows]), y) for k, (rows, y) in enumerate(folds))


def pooled(results: Iterable[Result]) -> Result:
    """The mean of scores of different images, which are independent."""
    folds = list(results)
    units = [fold.units for fold in folds]
    episodes = [part for part in units if isinstance(part, EpisodeValues)]
    joint: Units
    if episodes:  # the classes of each fold are its own
        codes = [part.classes + 1000 * k for k, part in enumerate(episodes)]
        values = np.concatenate([part.values for part in units], axis=1)
        share = float(np.mean([part.shot_share for part in episodes]))
        joint = replace(episodes[0], values=values, classes=np.concatenate(codes), shot_share=share)
    else:
        n = np.mean([len(part.values) for part in units])
        means = [part.values.mean() for part in units]
        deviations = [
            (part.values - mean) * n / len(part.values)
            for part, mean in zip(units, means, strict=True)
        ]
        joint = ItemValues(values=np.mean(means) + np.concatenate(deviations))
    value, low, high = joint.estimate().bounded(FRACTION)
    count = sum(fold.scores[0].n or 0 for fold in folds)
    first = replace(folds[0].scores[0], value=value, low=low, high=high, n=count)
    return Result((first,), joint)


def anomaly_of(Z: np.ndarray, y: np.ndarray) -> Result:
    """Anomaly detection with half of the objects of each category of a fold shown."""
    shown = arms.halves(y)
    return anomaly(Z[shown], y[shown], Z[~shown], y[~shown], k=NEAREST_OBJECTS)


def object_tasks(network: str) -> dict[str, Score]:
    """The tasks on unseen objects: their categories, and for CLIP their names."""
    scores: dict[str, Callable[..., Result]] = {
        "things anomalies": anomaly_of,
        "things retrieval": retrieval,
    }
    for shots in (1, 2, 5):
        scores[f"things {shots}"] = partial(few_shot, shots=shots, probe="ncm")
    for shots in (1, 2):
        scores[f"things {shots} logistic"] = partial(
            few_shot, shots=shots, probe="logistic", draws=LOGISTIC_DRAWS
        )
    tasks: dict[str, Score] = {
        name: partial(of_objects, network, score) for name, score in scores.items()
    }
    if network == IMAGE_TEXT:
        tasks |= {f"names {sides}": partial(of_names, sides) for sides in ("pictures", "both")}
    return tasks


@cache
def texts() -> Features:
    """The features of single words, with the words as their names."""
    folder = real_data() / "things" / "words" / IMAGE_TEXT
    return Features(Features.load(folder).matrix, read_lines(folder / "words.txt", what="words"))


def of_names(sides: str, parts: Parts) -> Result:
    """The word of a picture among 1,413, for unseen objects whose names are words.

    Words are transformed like the pictures, or stay as they are.
    """
    data = data_of(IMAGE_TEXT)
    words = np.array(texts().names)
    text = np.asarray(texts().unit().matrix)
    names = np.array([object_name(name) for name in data.features.names or ()])
    original = data.transform(np.eye(data.features.dimensions))
    folds = []
    for k, fold in enumerate(fit_folds(data, arms.FOLDS, "objects")):
        rows = workbench.heldout_objects(data, fold)
        rows = rows[np.isin(names[rows], words)]
        transform = parts[str(k)]
        gallery = (transform if sides == "both" else original)(text)
        folds.append(retrieval(transform(data.features.matrix[rows]), names[rows], gallery, words))
    return pooled(folds)


def tasks(network: str) -> dict[str, tuple[Any, Score]]:
    """All tasks of a network, each with what it is made of."""
    scores: dict[str, tuple[Any, Score]] = {
        name: (None, score) for name, score in object_tasks(network).items()
    }
    suite = Plan.load(SUITE, root=arms.DATA)
    network_alone = {"networks": {network: suite.networks[network]}, "arms": {}}
    if not any((arms.DATA / network).glob("*-labels.npy")):
        return scores
    plan, _ = suite.model_copy(update=network_alone).present()
    sources = plan.sources(network)
    for name, task in plan.tasks.items():

        def score(parts: Parts, task: Any = task) -> Result:
            return task.score(sources, sources.embedding(parts["all"]))

        scores[name] = ([task.model_dump(mode="json"), sources.files.hashes(*task.paths)], score)
    return scores


def arm_names(network: str) -> list[str]:
    """The arms and controls of evidence.toml that the network has."""
    return [arm for arm in Plan.load(SUITE).arms if arms.path(network, arm, "all").exists()]


def measure(network: str) -> list[Row]:
    """The rows of a network: every arm in every task."""
    loaded = {arm: arms.transforms(network, arm) for arm in arm_names(network)}
    contents = {arm: arms.hashes(network, arm) for arm in loaded}
    rows: list[Row] = []
    for task, (inputs, score) in tasks(network).items():
        file = arms.FOLDER / "tasks" / network / f"{task}.json"
        scores = kept(file, [contents, inputs], partial(task_rows, loaded, score))
        rows += [{"network": network, "task": task, **row} for row in scores]
    return rows


def task_rows(loaded: dict[str, Parts], score: Score) -> list[Row]:
    """The scores of all arms less the original, and of some less the column means."""
    results = {arm: score(parts) for arm, parts in loaded.items()}
    beyond = [arm for arm in loaded if arm.startswith("centred-") or arm == "global"]
    pairs = [(arm, "original") for arm in loaded] + [(arm, "centred") for arm in beyond]
    return paired_rows(results, pairs)


def paired_rows(results: dict[str, Result], pairs: list[tuple[str, str]]) -> list[Row]:
    """The score of each arm, and its difference from another one."""
    rows = []
    for arm, base in pairs:
        is_rough = bool(results[arm].scores[0].settings.get("rough"))
        row: Row = {"arm": arm, "base": base, "rough": is_rough, **workbench.score(results[arm])}
        if arm != base:
            row |= workbench.difference(results[arm].units.minus(results[base].units))
        rows.append(row)
    return rows


def properties(network: str) -> list[Row]:
    """The agreement of each arm with held-out answers, and its shares of raw neighbours kept.

    The neighbours are those of held-out local images, and those of the objects of each fold among
    each other.
    """
    data = data_of(network)
    folds = fit_folds(data, arms.FOLDS, "objects")
    objects_of_folds = [data.features.matrix[workbench.heldout_objects(data, f)] for f in folds]
    originals = arms.transforms(network, "original").values()
    rows = []
    for arm in arm_names(network):
        of_folds = list(arms.transforms(network, arm).values())[: arms.FOLDS]
        scores = FoldScorer(folds).scores(of_folds)
        kept_objects = [
            kept_by_image(original(X), transform(X))
            for X, original, transform in zip(objects_of_folds, originals, of_folds, strict=False)
        ]
        bounds = ItemValues(values=np.concatenate(kept_objects)).bounded()
        names = ("objects_kept", "objects_kept_low", "objects_kept_high")
        row = scores.model_dump() | dict(zip(names, bounds, strict=True))
        rows.append({"network": network, "arm": arm, **row})
    return rows


def keep_rows(network: str, curves: dict[Centre, arms.Record]) -> list[Row]:
    """What each `keep` gives: agreement, neighbours, and accuracy with one example a category."""
    score = object_tasks(network)["things 1"]
    before = score(arms.transforms(network, "original")).units
    rows = []
    for centre, curve in curves.items():
        for row in curve["rows"]:
            units = score(arms.transforms(network, row["arm"])).units
            gain = workbench.difference(units.minus(before))
            rows.append({"network": network, "centre": centre, **row, **gain})
    return rows
