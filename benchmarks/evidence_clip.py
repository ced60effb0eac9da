"""The paper's claim on CLIP ViT-B/32: does the transform help if labels are few?

This is a part of `make evidence`. Arms and controls are fitted to all THINGS answers, with the λ, α
and τ that `keep` chose there; no labelled image is part of a choice. Each cell (a task and an arm)
is a file in bench-out, and so is each transform.

A score is a mean over draws (of shots, or of training halves). Its error covers both the draws and
the tested images: it is the variance of the draws, divided by their number, plus the squares of the
contribution of each test image to the mean. Differences from the original are paired in both.
`glocal suite` scores the same sets with its own intervals, which are over draws and classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import workbench  # isort: skip  before torch

import numpy as np
import pandas as pd
import pretrained
from scipy.optimize import minimize

from glocal import (
    Answers,
    Arm,
    Features,
    FitData,
    Keep,
    LinearTransform,
    fit,
    join,
    odd_one_out,
)
from glocal.data.world import simulated_answers
from glocal.evaluation.few_shot import (
    PROBES,
    draw_episodes,
    shared_credit,
)
from glocal.evaluation.intervals import Estimate, holm
from glocal.evaluation.retrieval import retrieval
from glocal.evaluation.structure import neighbours_kept
from glocal.files import array_sha256, make_folder, read_lines, write_npz
from glocal.objective import ChoiceLoss
from glocal.similarity import unit_rows
from glocal.solver import best_scale
from glocal.transform.rows import baseline

OUT = Path("bench-out") / "evidence" / "clip"
CHOSEN = OUT.parent / "networks" / "clip-vit-b32.npz"  # by `glocal fit --keep`
KEEP = 0.9
SHOTS = (1, 2, 5, 10)
DRAWS = 40  # of shots
PROBE_NAMES = ("ncm", "logistic")
HALVES = 10  # draws of the shown half in anomaly detection
DIAGONAL_PENALTIES = (1e-3, 1e-2)  # of one factor a feature
NEIGHBOURS = 5  # whose mean cosine says how normal an image is
MIN_PRODUCTS = 20  # of an article in the fashion sets
MAX_COSINE_OF_NEW_IMAGES = 0.99  # to an image of the fit; others are copies
ARMS = ("centred", "naive", "global", "glocal")
CONTROLS = {
    "random": "glocal's spectrum, random directions",
    "shuffled": "the odd one of each answer drawn at random",
    "renamed": "objects exchanged at random in all answers",
    "diagonal": "one factor a feature, fitted to the answers",
    "simulated": "answers simulated by SPoSE-49",
    "whitening": "whitening as far as it keeps glocal's neighbours",
}
AFTER = {
    "centred-glocal": "`keep` on rows less their column means",
    "glocal-centred": "`glocal`, then column means subtracted",
    "global-centred": "`global`, then column means subtracted",
}
SETS = {
    "cifar10": "CIFAR-10",
    "kinds": "fashion, 7 kinds",
    "articles": "fashion, 16 articles",
    "cars": "damaged cars",
}
Cell = dict[str, np.ndarray]


@cache
def data() -> FitData:
    """All answers, the objects, and the Flickr photographs, with rows of length 1."""
    return pretrained.data()


@cache
def images(name: str) -> tuple[np.ndarray, np.ndarray]:
    """A labelled set as rows of length 1, and its classes; of fashion the frequent ones."""
    root = workbench.real_data() / "downstream" / "clip-vit-b32"
    if name in ("kinds", "articles"):
        folder = root / "fashion2000"
        column = "subCategory" if name == "kinds" else "articleType"
        labels = pd.read_csv(folder / "labels.csv")[column]
        frequent = (labels.map(labels.value_counts()) >= MIN_PRODUCTS).to_numpy()
        X = np.load(folder / "features.npy")[frequent]
        return unit_rows(X), labels.to_numpy(str)[frequent]
    folder = root / {"cifar10": "cifar10-500", "cars": "car-damage-666"}[name]
    return unit_rows(np.load(folder / "features.npy")), np.load(folder / "labels.npy")


@cache
def captions() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, p) photographs that no fit has used, (m, p) captions, and each caption's photograph."""
    folder = workbench.real_data() / "downstream" / "clip-vit-b32" / "flickr8k-image-text-500"
    photograph_ids = pd.read_csv(folder / "metadata.csv")["image_id"].to_numpy()
    photographs, text = (unit_rows(np.load(folder / f"{name}.npy")) for name in ("image", "text"))
    local = data().local_features
    assert local is not None
    cosines = photographs @ unit_rows(np.asarray(local.matrix, np.float64)).T
    new = cosines.max(axis=1) <= MAX_COSINE_OF_NEW_IMAGES
    _, first, number = np.unique(photograph_ids[new], return_index=True, return_inverse=True)
    return photographs[new][first], text[new], number


# the arms


@cache
def transform(arm: str) -> LinearTransform:
    """An arm or a control, made now or read from its file."""
    path = CHOSEN if arm == "glocal" else OUT / "transforms" / f"{arm}.npz"
    if not path.exists():
        make_folder(path.parent)
        made(arm).save(path)
    return LinearTransform.load(path)


def made(arm: str) -> LinearTransform:
    """Make an arm or a control."""
    features = data().features
    if arm in ("naive", "global"):
        return fit(data(), Arm(arm, lmbda=chosen()["lmbda"])).transform
    if arm in ("shuffled", "renamed", "simulated"):
        return again(other_answers(arm, data()))
    if arm == "centred":
        return baseline("centred", features)
    if arm in ("glocal-centred", "global-centred"):
        W = transform(arm.partition("-")[0]).weights
        centred = baseline("centred", features)
        assert centred.bias is not None
        bias = centred.bias.astype(np.float64) @ W
        return replace(centred, weights=W, bias=bias.astype(np.float32))
    if arm == "centred-glocal":
        return _on_centred()
    makers = {"random": _random, "diagonal": _diagonal, "whitening": _whitening}
    W = np.eye(features.dimensions) if arm == "original" else makers[arm]()
    scalars = data().scalars
    return LinearTransform(W.astype(np.float32), None, scalars.mean, scalars.std)


def other_answers(arm: str, data: FitData) -> np.ndarray:
    """The answers of a control, as rows of the features."""
    rng = np.random.default_rng(42)
    features = data.features
    objects = data.answers.objects
    if arm == "shuffled":
        return rng.permuted(objects, axis=1)
    if arm == "renamed":
        return rng.permutation(len(features))[objects]
    things = workbench.real_data() / "things"
    answers = simulated_answers(np.load(things / "spose_49d.npy"), len(objects))
    ids = read_lines(things / "unique_id.txt", what="ids")
    return join(features, answers, ids).answers.objects


def chosen() -> dict[str, Any]:
    """The record of the fit."""
    record: dict[str, Any] = LinearTransform.load(CHOSEN).meta["fit"]
    return record


def again(objects: np.ndarray) -> LinearTransform:
    """The chosen setting, fitted to other answers."""
    answers = Answers.from_array(objects)
    return workbench.refitted(
        FitData(data().features, answers, data().local_features), chosen()["keep"]
    )


def _on_centred() -> LinearTransform:
    """The choice of `keep` for rows less the objects' column means, as a transform of the rows."""
    local = data().local_features
    assert local is not None
    means = np.asarray(data().features.matrix, np.float64).mean(axis=0)
    centred = [
        Features((np.asarray(features.matrix) - means).astype(np.float32), features.names)
        for features in (data().features, local)
    ]
    centred_data = FitData(centred[0], data().answers, centred[1])
    aligned = fit(centred_data, Keep(keep=KEEP)).transform
    bias = -(means / aligned.std) @ aligned.weights
    return LinearTransform(aligned.weights, bias.astype(np.float32), aligned.mean, aligned.std)


def _random() -> np.ndarray:
    """The spectrum of `glocal`, on random orthogonal directions."""
    return random_directions(transform("glocal").weights.astype(np.float64))


def random_directions(W: np.ndarray) -> np.ndarray:
    """The spectrum of a symmetric matrix, on random orthogonal directions."""
    Q, R = np.linalg.qr(np.random.default_rng(42).normal(size=W.shape))
    Q *= np.sign(np.diag(R))
    return (Q * np.linalg.eigvalsh((W + W.T) / 2)) @ Q.T


def _diagonal() -> np.ndarray:
    """One factor per feature, with the λ that has the lowest loss on fold 0 of the objects."""
    training, heldout, _ = data().folds(3, "objects")[0]
    X = data().scalars(data().features.matrix, "float64")
    losses = {}
    for lmbda in DIAGONAL_PENALTIES:
        Z = X @ diagonal(training, lmbda)
        losses[lmbda] = odd_one_out(Z, heldout, similarity="dot", interval=False).loss
    return diagonal(data(), min(losses, key=losses.__getitem__))


def diagonal(part: FitData, lmbda: float) -> np.ndarray:
    """The diagonal matrix diag d that minimises L_global + λ Σ (d - mean d)²."""
    X, answers = part.objects_and_answers("float32")
    loss = ChoiceLoss(X, answers.objects, answers.pairs)

    def objective(d: np.ndarray) -> tuple[float, np.ndarray]:
        value, dW = loss(np.diag(d).astype(X.dtype))
        spread = d - d.mean()
        slope = dW.diagonal().astype(np.float64) + 2 * lmbda * spread
        return value + lmbda * float(spread @ spread), slope

    scale, _ = best_scale(loss)
    start = np.full(X.shape[1], scale)
    options = {"ftol": 1e-7}
    return np.diag(minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x)


def _whitening() -> np.ndarray:
    """(1 - s) I + s C^-½ c^½, with C the covariance of the photographs.

    s is bisected until as many neighbours stay as under `glocal`.
    """
    local = data().local_features
    assert local is not None
    X = data().scalars(np.asarray(local.matrix), "float64")
    values, V = np.linalg.eigh(np.cov(X.T))
    white = (V * np.sqrt(values.mean() / np.maximum(values, 1e-3 * values.mean()))) @ V.T
    target = neighbours_kept(X, transform("glocal")(np.asarray(local.matrix)))
    low = 0.0
    high = 1.0
    for _ in range(12):
        s = (low + high) / 2
        if neighbours_kept(X, (1 - s) * X + s * X @ white) > target:
            low = s
        else:
            high = s
    return (1 - low) * np.eye(len(V)) + low * white


# the tasks: each gives the score of every draw, and what each image adds to their mean


def few_shot_cell(
    Z: np.ndarray,
    y: np.ndarray,
    shots: int,
    probe: str,
    n_draws: int = DRAWS,
    members: np.ndarray | None = None,
) -> Cell:
    """Balanced accuracy on the images that a draw does not show.

    If the classes have `members`, which are classes themselves, one member of each class gives the
    shots of a draw, and the images of the other members are tested.
    """
    codes = np.unique(y, return_inverse=True)[1]
    k = int(codes.max()) + 1
    draws = np.zeros(n_draws)
    images = np.zeros(len(y))
    groups = np.arange(len(y)) if members is None else members
    if members is None:
        episodes = draw_episodes(codes, shots, n_draws)
    else:
        episodes = draw_episodes(members, shots, n_draws, superclasses=codes)
    for draw, shown in enumerate(episodes):
        tested = ~np.isin(groups, groups[shown])
        credit = shared_credit(PROBES[probe](Z[shown], codes[shown], k)(Z), codes)
        counts = np.bincount(codes[tested], minlength=k)
        accuracy = np.bincount(codes[tested], credit[tested], k) / counts
        draws[draw] = accuracy.mean()
        images += tested * (credit - accuracy[codes]) / (k * counts[codes] * n_draws)
    return {"draws": draws, "images": images}


def anomaly_cell(Z: np.ndarray, y: np.ndarray, members: np.ndarray | None = None) -> Cell:
    """Mean AUROC of a class against all others: half of each class is shown, the rest is tested.

    If the classes have `members`, half of the members are shown, and the others are tested.
    """
    codes = np.unique(y, return_inverse=True)[1]
    k = int(codes.max()) + 1
    U = unit_rows(Z)
    S = U @ U.T
    draws = np.zeros(HALVES)
    images = np.zeros(len(y))
    for half in range(HALVES):
        shown = halves(codes, half) if members is None else member_halves(codes, members, half)
        for c in range(k):
            cosines = np.sort(S[np.ix_(~shown, shown & (codes == c))], axis=1)[:, -NEIGHBOURS:]
            normal = codes[~shown] == c
            place = placements(-cosines.mean(axis=1), normal)
            auroc = place[normal].mean()
            draws[half] += auroc / k
            counts = np.where(normal, normal.sum(), (~normal).sum())
            images[~shown] += (place - auroc) / (counts * k * HALVES)
    return {"draws": draws, "images": images}


def halves(codes: np.ndarray, half: int) -> np.ndarray:
    """The half of each class that is shown."""
    order = np.random.RandomState((42, half)).permutation(len(codes))
    shown = np.zeros(len(codes), dtype=bool)
    for c in range(codes.max() + 1):
        rows = order[codes[order] == c]
        shown[rows[: len(rows) // 2]] = True
    return shown


def member_halves(codes: np.ndarray, members: np.ndarray, half: int) -> np.ndarray:
    """The images of the shown members: half of the members of each class, at least one."""
    names, first = np.unique(members, return_index=True)
    return np.isin(members, names[halves(codes[first], half)])


def placements(score: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """For each image, the share of images of the other kind on the right side of it; ties half.

    The mean over either kind is the AUROC.
    """
    below = np.zeros(len(score))
    for side in (normal, ~normal):
        others = np.sort(score[~side])
        ranks = [np.searchsorted(others, score[side], end) for end in ("left", "right")]
        below[side] = np.mean(ranks, axis=0) / len(others)
    return np.where(normal, 1 - below, below)


def retrieval_cell(arm: LinearTransform, task: str) -> Cell:
    """Recall at 1 of captions for a photograph or the reverse, with or without transformed text."""
    photographs, text, labels = captions()
    Z = arm(photographs)
    ids = np.arange(len(photographs))
    T = arm(text) if task.endswith("both sides") else arm.standardization(text, "float64")
    if task.startswith("image to text"):
        recall = retrieval(Z, ids, T, labels).hits[:, 0]
    else:
        hits = retrieval(T, labels, Z, ids).hits[:, 0]
        recall = np.bincount(labels, hits) / np.bincount(labels)
    return {"draws": recall.mean(keepdims=True), "images": (recall - recall.mean()) / len(recall)}


def tasks(probes: tuple[str, ...]) -> dict[str, Callable[[LinearTransform], Cell]]:
    """All tasks by name."""
    scores: dict[str, Callable[[LinearTransform], Cell]] = {}
    for name in SETS:
        for probe in probes:
            for shots in SHOTS:
                task = f"few-shot {probe} {name} {shots}"
                scores[task] = partial(_few_shot_of, name, shots, probe)
        scores[f"anomaly {name}"] = partial(_anomaly_of, name)
    for direction in ("image to text", "text to image"):
        for sides in ("images only", "both sides"):
            task = f"{direction}, {sides}"
            scores[task] = partial(retrieval_cell, task=task)
    return scores


def _few_shot_of(name: str, shots: int, probe: str, arm: LinearTransform) -> Cell:
    X, y = images(name)
    return few_shot_cell(arm(X), y, shots, probe)


def _anomaly_of(name: str, arm: LinearTransform) -> Cell:
    X, y = images(name)
    return anomaly_cell(arm(X), y)


def cell(task: str, arm: str, score: Callable[[LinearTransform], Cell]) -> Cell:
    """The scores of an arm in a task and their processor seconds, read from a file if it exists."""
    path = OUT / "cells" / arm / f"{task}.npz"
    return stored_cell(path, [transform(arm)], lambda: score(transform(arm)))


def stored_cell(path: Path, transforms: list[LinearTransform], score: Callable[[], Cell]) -> Cell:
    """The scores in a file if they belong to these transforms, otherwise new scores."""
    folded = [np.vstack(transform.folded()) for transform in transforms]
    key = np.array(array_sha256(np.vstack(folded)))
    if path.exists():
        stored = dict(np.load(path))
        if stored["key"] == key:
            return stored
    start = time.process_time()
    scores = score()
    scores |= {"key": key, "seconds": np.array(time.process_time() - start)}
    make_folder(path.parent)
    write_npz(path, scores)
    return scores


def estimate(scores: Cell, base: Cell | None = None) -> Estimate:
    """The mean over draws, less that of a base if there is one, with its error."""
    draws = scores["draws"]
    images = scores["images"]
    if base is not None:
        draws = draws - base["draws"]
        images = images - base["images"]
    n_images = len(images)
    n_draws = len(draws)
    parts = [(float(images @ images) * n_images / (n_images - 1), n_images - 1)]
    if n_draws > 1:
        parts.append((float(draws.var(ddof=1)) / n_draws, n_draws - 1))
    variance = sum(part for part, _ in parts)
    spread = sum(part**2 / freedom for part, freedom in parts)
    freedom = variance**2 / spread if spread else 0.0
    return Estimate.of(float(draws.mean()), variance, freedom, np.ones(1))  # scores are at most 1


def study() -> tuple[list[dict[str, Any]], float]:
    """A row for each task and arm, with processor seconds; Holm's correction is over each group."""
    groups = (
        ("original", ("original", *ARMS), PROBE_NAMES),
        ("original", tuple(CONTROLS), ("ncm",)),
        ("original", tuple(AFTER), ("ncm",)),
        ("centred", tuple(AFTER), ("ncm",)),
    )
    rows = []
    seconds = 0.0
    for base, arms, probes in groups:
        group = []
        for task, score in tasks(probes).items():
            before = cell(task, base, score)
            for arm in arms:
                scores = cell(task, arm, score)
                seconds += float(scores["seconds"])
                row: dict[str, Any] = {"task": task, "arm": arm, "base": base}
                row["value"] = estimate(scores).mean
                if arm != base:
                    difference = estimate(scores, before)
                    row["difference"] = difference.mean
                    row["half"] = difference.half
                    row["p"] = difference.p
                group.append(row)
        tested = [row for row in group if row.get("p") is not None]
        for row, p in zip(tested, holm([row["p"] for row in tested]), strict=True):
            row["p_corrected"] = p
        rows += group
    return rows, seconds


def looks() -> list[dict[str, Any]]:
    """The agreement of each arm with all answers, and the neighbours that it keeps.

    All arms but the random and the simulated ones were fitted to these answers.
    """
    X = np.asarray(data().features.matrix, np.float64)
    rows = []
    for arm in ("original", *ARMS, *CONTROLS, *AFTER):
        W = transform(arm)
        kept = {}
        for name in SETS:
            if name != "kinds":  # its images are among those of the articles
                rows_of_set, _ = images(name)
                before = data().scalars(rows_of_set, "float64")
                kept[name] = neighbours_kept(before, W(rows_of_set))
        agreement = odd_one_out(W(X), data().answers, interval=False).accuracy
        rows.append({"arm": arm, "agreement_fitted": agreement, "kept": kept})
        print(rows[-1], flush=True)
    return rows
