"""The kinds of tasks of a suite: each scores one embedding and says what its score is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from glocal.data.features import Features
from glocal.data.rdm import join_rdms, load_index, load_rdms
from glocal.data.repeated import load_repeated, tally
from glocal.data.triplets import Triplets
from glocal.evaluation.alignment import answer_credit, odd_one_out
from glocal.evaluation.anomaly import anomaly
from glocal.evaluation.ceiling import ceiling, reached, repeated
from glocal.evaluation.fewshot import few_shot
from glocal.evaluation.retrieval import retrieval
from glocal.evaluation.rsa import rsa
from glocal.evaluation.rsa_objects import object_values
from glocal.evaluation.structure import structure
from glocal.evaluation.structure.neighbourhoods import shared_by_image
from glocal.suite.plan import Task
from glocal.suite.sources import Sources, option

Embed = Callable[[Features], np.ndarray]


class Row(NamedTuple):
    """One score of a task, without its arm."""

    metric: str
    value: float
    low: float | None
    high: float | None
    n: int
    split: str


@dataclass(frozen=True, eq=False)
class Found:
    """What a task found about one arm.

    `rows` are its scores, the first of them the one that the table shows. `units` are the scores that the first one is
    the (weighted) mean of, in which two arms are paired, and `answers`, `weights` and `clusters` say what these share,
    as `paired_difference` takes them; None where the first score is not defined. `bounds` are scores that belong to
    people, not to the arm.
    """

    rows: tuple[Row, ...]
    units: np.ndarray | None = None
    answers: np.ndarray | None = None
    weights: np.ndarray | None = None
    clusters: np.ndarray | None = None
    bounds: tuple[Row, ...] = ()


def perform(task: Task, sources: Sources, embed: Embed, seed: int) -> Found:
    """Score one embedding in one task.

    Parameters
    ----------
    task : Task
    sources : Sources
        Of the network.
    embed : function
        Features → (n, p) standardized rows, transformed or not.
    seed : int
        Of draws, blocks and bootstraps.
    """
    return _KINDS[task.kind](task.settings, sources, embed, seed)


def _odd_one_out(settings: Any, sources: Sources, embed: Embed, seed: int) -> Found:
    similarity = option(settings, "similarity", "cosine")
    if "triplets" in settings:
        answers, split = sources.joined(Triplets.load(sources.path(settings["triplets"]))), settings["triplets"]
    else:
        answers, split = sources.parts[1], "heldout"
    Z = embed(sources.objects)
    found = odd_one_out(Z, answers, similarity=similarity)
    n = found.n
    rows = (
        Row(f"accuracy_{similarity}", found.accuracy, found.low, found.high, n, split),
        Row("loss", found.loss, None, None, n, split),
        Row(f"tie_rate_{similarity}", found.tie_rate, None, None, n, split),
    )
    return Found(rows, answer_credit(Z, answers, similarity=similarity), answers.answers, answers.weights)


def _repeated(settings: Any, sources: Sources, embed: Embed, seed: int) -> Found:
    similarity = option(settings, "similarity", "cosine")
    answers = sources.joined(load_repeated(sources.path(settings["answers"])).triplets)
    Z, split = embed(sources.objects), settings["answers"]
    bounds, found = ceiling(answers), reached(Z, answers, similarity=similarity)
    n = bounds.n_answers
    rows = [Row(f"accuracy_{similarity}", found.accuracy, found.low, found.high, n, split)]
    rows += [Row(f"normalised_by_{name}", value, None, None, n, split) for name, value in found.normalised.items()]
    people = tuple(
        Row(f"ceiling_{name}", bound.value, bound.low, bound.high, n, split)
        for name, bound in (("majority", bounds.majority), ("leave_one_out", bounds.leave_one_out))
    )
    several = repeated(tally(answers))[0].triplets()
    credit = answer_credit(Z, several, similarity=similarity)
    return Found(tuple(rows), credit, several.answers, several.weights, bounds=people)


def _rsa(settings: Any, sources: Sources, embed: Embed, seed: int) -> Found:
    kernel = option(settings, "kernel", "cosine")
    index = load_index(sources.path(settings["index"])) if "index" in settings else None
    ids = None if index is None else sources.object_ids
    joined = join_rdms(sources.objects, load_rdms(sources.path(settings["rdm"])), index, ids)
    Z, split = embed(sources.objects)[joined.rows], settings["rdm"]
    found = rsa(Z, joined.rdms, kernel=kernel, replicates=option(settings, "replicates", 1000), seed=seed)
    rows = (
        Row(f"spearman_{kernel}", found.spearman, found.low, found.high, found.n_objects, split),
        Row(f"pearson_{kernel}", found.pearson, found.pearson_low, found.pearson_high, found.n_objects, split),
    )
    people: tuple[Row, ...] = ()
    if found.ceiling is not None:
        names = (("lower", found.ceiling.lower), ("upper", found.ceiling.upper))
        people = tuple(Row(f"ceiling_{name}", value, None, None, found.n_objects, split) for name, value in names)
    units = None if np.isnan(found.spearman) else object_values(Z, joined.rdms, kernel=kernel)
    return Found(rows, units, bounds=people)


def _few_shot(settings: Any, sources: Sources, embed: Embed, seed: int) -> Found:
    train = sources.features(settings["train"])
    same = "test" not in settings
    test = train if same else sources.features(settings["test"])
    y_train = sources.labels(settings["train_labels"], train)
    y_test = y_train if same else sources.labels(settings["test_labels"], test)
    subclasses: dict[str, Any] = {}
    if "subclasses" in settings:
        subclasses = {
            "train_subclasses": sources.labels(settings["subclasses"], train),
            "test_subclasses": sources.labels(settings["subclasses"], test),
        }
    X = embed(train)
    found = few_shot(
        X, y_train, X if same else embed(test), y_test, shots=option(settings, "shots", 5),
        draws=option(settings, "draws", 5), probe=option(settings, "probe", "logistic"), seed=seed,
        leave_out_shots=same and not subclasses, **subclasses,
    )  # fmt: skip
    split = settings["train" if same else "test"]
    counts = np.asarray(found.counts)
    tested = counts > 0
    row = Row(f"accuracy_{found.probe}", found.accuracy, found.low, found.high, found.n, split)
    return Found((row,), found.cells[:, tested], weights=counts[tested].astype(np.float64))


def _anomaly(settings: Any, sources: Sources, embed: Embed, seed: int) -> Found:
    train, test = sources.features(settings["train"]), sources.features(settings["test"])
    found = anomaly(
        embed(train), sources.labels(settings["train_labels"], train), embed(test),
        sources.labels(settings["test_labels"], test), mode=option(settings, "mode", "one-vs-rest"),
        k=option(settings, "k", 5),
    )  # fmt: skip
    n, split = found.n, settings["test"]
    rows = (
        Row("auroc", found.auroc, found.low, found.high, n, split),
        Row("aupr", found.aupr, None, None, n, split),
        Row("fpr95", found.fpr95, None, None, n, split),
    )
    return Found(rows, found.by_class.auroc)


def _structure(settings: Any, sources: Sources, embed: Embed, seed: int) -> Found:
    features = sources.features(settings["features"])
    k = option(settings, "k", 10)
    X, Z = sources.objects.standardization(features.matrix, "float64"), embed(features)
    found = structure(X, Z, k=k, tau=option(settings, "tau", 0.25), seed=seed)
    n, split = found.n, settings["features"]
    names = ("trustworthiness", "continuity", "local_cka", "divergence", "cka", "rdm_spearman")
    values = [(name, getattr(found, name)) for name in names]
    rows = [Row("neighbours_kept", found.neighbours_kept, found.low, found.high, n, split)]
    rows += [Row(name, value, None, None, n, split) for name, value in values if value is not None]
    kept = shared_by_image(X, Z, k)
    return Found(tuple(rows), np.full(n, found.neighbours_kept) if found.collapsed else kept)


def _retrieval(settings: Any, sources: Sources, embed: Embed, seed: int) -> Found:
    features = sources.features(settings["features"])
    labels = sources.labels(settings["labels"], features)
    found = retrieval(embed(features), labels)
    split = settings["features"]
    rows = [Row("map", *found.mean_average_precision, found.n, split)]
    rows += [Row(f"recall_at_{rank}", *values, found.n, split) for rank, values in found.recall.items()]
    _, codes = np.unique(labels[found.kept], return_inverse=True)
    return Found(tuple(rows), found.precisions, clusters=codes)  # queries of a label are alike


_KINDS: dict[str, Callable[[Any, Sources, Embed, int], Found]] = {
    "odd-one-out": _odd_one_out,
    "repeated": _repeated,
    "rsa": _rsa,
    "few-shot": _few_shot,
    "anomaly": _anomaly,
    "structure": _structure,
    "retrieval": _retrieval,
}
