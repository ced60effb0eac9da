"""The kinds of tasks of a suite: which files each takes, and the evaluation that it runs on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from glocal.data.features import Features
from glocal.data.rdm import join_rdms, load_index, load_rdms
from glocal.data.sources import breeds_sides
from glocal.evaluation.agreement import odd_one_out
from glocal.evaluation.anomaly import anomaly, anomaly_against
from glocal.evaluation.ceiling import ceiling
from glocal.evaluation.few_shot import few_shot
from glocal.evaluation.result import EvaluationResult, KeptResult
from glocal.evaluation.retrieval import retrieval
from glocal.evaluation.rsa import rsa
from glocal.evaluation.structure import structure
from glocal.suite.plan import Task
from glocal.suite.sources import Sources

Embed = Callable[[Features], np.ndarray]


def perform(task: Task, sources: Sources, embed: Embed, split: str, seed: int) -> KeptResult:
    """Score one embedding in one task; `split` names the held-out answers in the rows."""
    result, where = _KINDS[task.kind](task, sources, embed, seed)
    scores = tuple(replace(score, split=where or split) for score in result.scores)
    return KeptResult(scores, result.units)


def _odd_one_out(task: Task, sources: Sources, embed: Embed, seed: int) -> tuple[EvaluationResult, str | None]:
    own = task.settings.get("answers")
    answers = sources.fold[1] if own is None else sources.answers(own)
    found, of_people = odd_one_out(embed(sources.objects), answers, **task.options), ceiling(answers)
    bounds = () if of_people is None else of_people.scores
    return KeptResult((*found.scores, *bounds), found.units), own


def _rsa(task: Task, sources: Sources, embed: Embed, seed: int) -> tuple[EvaluationResult, str]:
    settings = task.settings
    index = load_index(sources.path(settings["index"])) if "index" in settings else None
    ids = None if index is None else sources.object_ids
    joined = join_rdms(sources.objects, load_rdms(sources.path(settings["rdm"])), index, ids)
    return rsa(embed(sources.objects)[joined.rows], joined.rdms, **task.options), settings["rdm"]


def _few_shot(task: Task, sources: Sources, embed: Embed, seed: int) -> tuple[EvaluationResult, str]:
    train, y_train, test, y_test = _sides(task, sources)
    X = embed(train)
    Z = X if test is train else embed(test)
    found = few_shot(X, y_train, Z, y_test, seed=seed, leave_out_shots=test is train, **task.options)
    return found, task.settings.get("test", task.settings["train"])


def _anomaly(task: Task, sources: Sources, embed: Embed, seed: int) -> tuple[EvaluationResult, str]:
    settings, given = task.settings, task.options
    if "anomalies" in settings:
        rows = (embed(sources.features(settings[key])) for key in ("train", "test", "anomalies"))
        return anomaly_against(*rows, **given), settings["anomalies"]
    train, y_train, test, y_test = _sides(task, sources)
    for key, features in (("train_subclasses", train), ("test_subclasses", test)):
        if key in settings:
            given[key] = sources.labels(settings[key], features)
    return anomaly(embed(train), y_train, embed(test), y_test, **given), settings["test"]


def _sides(task: Task, sources: Sources) -> tuple[Features, np.ndarray, Features, np.ndarray]:
    """Training and test features with their labels; without a test file both are the same."""
    settings = task.settings
    train = sources.features(settings["train"])
    y_train = sources.labels(settings["train_labels"], train)
    test, y_test = train, y_train
    if "test" in settings:
        test = sources.features(settings["test"])
        y_test = sources.labels(settings["test_labels"], test)
    if "breeds" in settings:
        return breeds_sides(settings["breeds"], train, y_train, test, y_test)
    return train, y_train, test, y_test


def _structure(task: Task, sources: Sources, embed: Embed, seed: int) -> tuple[EvaluationResult, str]:
    features = sources.features(task.settings["features"])
    X = sources.objects.standardization(features.matrix, "float64")
    return structure(X, embed(features), seed=seed, **task.options), task.settings["features"]


def _retrieval(task: Task, sources: Sources, embed: Embed, seed: int) -> tuple[EvaluationResult, str]:
    features = sources.features(task.settings["features"])
    return retrieval(embed(features), sources.labels(task.settings["labels"], features)), task.settings["features"]


_KINDS: dict[str, Callable[[Task, Sources, Embed, int], tuple[EvaluationResult, str | None]]] = {
    "odd-one-out": _odd_one_out, "rsa": _rsa, "few-shot": _few_shot, "anomaly": _anomaly, "structure": _structure,
    "retrieval": _retrieval,
}  # fmt: skip
