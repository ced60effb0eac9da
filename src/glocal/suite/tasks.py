"""The kinds of tasks of a suite: which files each takes, and the evaluation that it runs on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

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
from glocal.options import options_of
from glocal.suite.plan import Task
from glocal.suite.sources import Sources

Embed = Callable[[Features], np.ndarray]


def perform(task: Task, sources: Sources, embed: Embed, seed: int) -> KeptResult:
    """Score one embedding in one task."""
    result, split = _KINDS[task.kind](task.settings, sources, embed, seed)
    return KeptResult(tuple(replace(score, split=split) for score in result.scores), result.units)


def _given(settings: Any, evaluation: Callable[..., Any]) -> dict[str, Any]:
    """The options that the suite gives; the others are left to the evaluation."""
    return {name: settings[name] for name in options_of(evaluation) if name in settings}


def _odd_one_out(settings: Any, sources: Sources, embed: Embed, seed: int) -> tuple[EvaluationResult, str]:
    if "triplets" in settings:
        answers, split = sources.answers(settings["triplets"]), settings["triplets"]
    else:
        answers, split = sources.parts[1], "heldout"
    found, of_people = odd_one_out(embed(sources.objects), answers, **_given(settings, odd_one_out)), ceiling(answers)
    bounds = () if of_people is None else of_people.scores
    return KeptResult((*found.scores, *bounds), found.units), split


def _rsa(settings: Any, sources: Sources, embed: Embed, seed: int) -> tuple[EvaluationResult, str]:
    index = load_index(sources.path(settings["index"])) if "index" in settings else None
    ids = None if index is None else sources.object_ids
    joined = join_rdms(sources.objects, load_rdms(sources.path(settings["rdm"])), index, ids)
    Z = embed(sources.objects)[joined.rows]
    return rsa(Z, joined.rdms, **_given(settings, rsa)), settings["rdm"]


def _few_shot(settings: Any, sources: Sources, embed: Embed, seed: int) -> tuple[EvaluationResult, str]:
    same = "test" not in settings
    train, y_train, test, y_test = _sides(settings, sources)
    X = embed(train)
    found = few_shot(
        X, y_train, X if test is train else embed(test), y_test,
        seed=seed, leave_out_shots=test is train, **_given(settings, few_shot),
    )  # fmt: skip
    return found, settings["train" if same else "test"]


def _anomaly(settings: Any, sources: Sources, embed: Embed, seed: int) -> tuple[EvaluationResult, str]:
    given = _given(settings, anomaly)
    if "anomalies" in settings:
        rows = (embed(sources.features(settings[key])) for key in ("train", "test", "anomalies"))
        return anomaly_against(*rows, **given), settings["anomalies"]
    train, y_train, test, y_test = _sides(settings, sources)
    for key, features in (("train_subclasses", train), ("test_subclasses", test)):
        if key in settings:
            given[key] = sources.labels(settings[key], features)
    return anomaly(embed(train), y_train, embed(test), y_test, **given), settings["test"]


def _sides(settings: Any, sources: Sources) -> tuple[Features, np.ndarray, Features, np.ndarray]:
    """Training and test features with their labels; without a test file both are the same."""
    train = sources.features(settings["train"])
    y_train = sources.labels(settings["train_labels"], train)
    test, y_test = train, y_train
    if "test" in settings:
        test = sources.features(settings["test"])
        y_test = sources.labels(settings["test_labels"], test)
    if "breeds" in settings:
        return breeds_sides(settings["breeds"], train, y_train, test, y_test)
    return train, y_train, test, y_test


def _structure(settings: Any, sources: Sources, embed: Embed, seed: int) -> tuple[EvaluationResult, str]:
    features = sources.features(settings["features"])
    X = sources.objects.standardization(features.matrix, "float64")
    return structure(X, embed(features), seed=seed, **_given(settings, structure)), settings["features"]


def _retrieval(settings: Any, sources: Sources, embed: Embed, seed: int) -> tuple[EvaluationResult, str]:
    features = sources.features(settings["features"])
    return retrieval(embed(features), sources.labels(settings["labels"], features)), settings["features"]


_KINDS: dict[str, Callable[[Any, Sources, Embed, int], tuple[EvaluationResult, str]]] = {
    "odd-one-out": _odd_one_out,
    "rsa": _rsa,
    "few-shot": _few_shot,
    "anomaly": _anomaly,
    "structure": _structure,
    "retrieval": _retrieval,
}
