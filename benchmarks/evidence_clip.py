"""The paper's claim on CLIP ViT-B/32, a part of `make evidence`: does the transform help where labels are few?

Arms and controls are fitted on all THINGS answers, with λ, α and τ that `keep` chose there; no labelled image is
part of a choice. Each cell (a task and an arm) is a file in bench-out, and so is each transform.

A score is a mean over draws (of shots, or of training halves). Its error covers both what was drawn and which images
are tested: the variance of the draws, divided by their number, plus the squares of what each test image adds to the
mean. Differences from the original are paired in both. `glocal suite` scores the same sets with its own intervals,
which are over draws and classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import workbench  # isort: skip  before torch

import numpy as np
import pandas as pd
import pretrained
from scipy.optimize import minimize

from glocal import Answers, Arm, Exact, Features, FitData, LinearTransform, fit, join, odd_one_out
from glocal.aligner.keep import Dial, Position
from glocal.data.world import simulated_answers
from glocal.evaluation.few_shot import PROBES, draw_episodes, shared_credit
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
PROBED, DRAWS = ("ncm", "logistic"), 40
HALVES, NEAREST = 10, 5
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
SETS = {"cifar10": "CIFAR-10", "kinds": "fashion, 7 kinds", "articles": "fashion, 16 articles", "cars": "damaged cars"}
Cell = dict[str, np.ndarray]


@cache
def data() -> FitData:
    """All answers, the objects, and the Flickr photographs, rows of length 1."""
    return pretrained.data()


@cache
def images(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows of length 1 of a labelled set, and their classes; of fashion those with at least 20 products."""
    root = workbench.real_data() / "downstream" / "clip-vit-b32"
    if name in ("kinds", "articles"):
        label = pd.read_csv(root / "fashion2000" / "labels.csv")["subCategory" if name == "kinds" else "articleType"]
        many = (label.map(label.value_counts()) >= 20).to_numpy()
        return unit_rows(np.load(root / "fashion2000" / "features.npy")[many]), label.to_numpy(str)[many]
    folder = root / {"cifar10": "cifar10-500", "cars": "car-damage-666"}[name]
    return unit_rows(np.load(folder / "features.npy")), np.load(folder / "labels.npy")


@cache
def captions() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, p) photographs that took no part in a fit, (m, p) captions, and the photograph of each caption."""
    folder = workbench.real_data() / "downstream" / "clip-vit-b32" / "flickr8k-image-text-500"
    of = pd.read_csv(folder / "metadata.csv")["image_id"].to_numpy()
    photographs, text = (unit_rows(np.load(folder / f"{name}.npy")) for name in ("image", "text"))
    local = data().local_features
    assert local is not None
    fitted = (photographs @ unit_rows(np.asarray(local.matrix, np.float64)).T).max(axis=1) > 0.99
    ids, first, of = np.unique(of[~fitted], return_index=True, return_inverse=True)
    return photographs[~fitted][first], text[~fitted], np.arange(len(ids))[of]


# the arms


@cache
def transform(arm: str) -> LinearTransform:
    """An arm or a control, made, or read where it has been."""
    path = CHOSEN if arm == "glocal" else OUT / "transforms" / f"{arm}.npz"
    if not path.exists():
        make_folder(path.parent)
        made(arm).save(path)
    return LinearTransform.load(path)


def made(arm: str) -> LinearTransform:
    """An arm or a control."""
    given, rng, scalars = data(), np.random.default_rng(42), data().scalars
    n, answers = len(given.features), given.answers
    if arm in ("naive", "global"):
        return fit(given, Arm(arm, lmbda=chosen()["expected"]["lmbda"])).transform
    if arm == "shuffled":
        return again(rng.permuted(answers.objects, axis=1))
    if arm == "renamed":
        return again(rng.permutation(n)[answers.objects])
    if arm == "simulated":
        things = workbench.real_data() / "things"
        found = simulated_answers(np.load(things / "spose_49d.npy"), len(answers))
        return again(join(given.features, found, read_lines(things / "unique_id.txt", what="ids")).answers.objects)
    if arm == "centred":
        return baseline("centred", given.features)
    if arm in ("glocal-centred", "global-centred"):
        W, centred = transform(arm.partition("-")[0]).weights, baseline("centred", given.features)
        assert centred.bias is not None
        return replace(centred, weights=W, bias=(centred.bias.astype(np.float64) @ W).astype(np.float32))
    if arm == "centred-glocal":
        return _on_centred()
    W = {"original": lambda: np.eye(given.features.dimensions), "random": _random, "diagonal": _diagonal,
         "whitening": _whitening}[arm]()  # fmt: skip
    return LinearTransform(W.astype(np.float32), None, scalars.mean, scalars.std)


def chosen() -> dict[str, Any]:
    """What the record of the fit says of `keep`."""
    found: dict[str, Any] = LinearTransform.load(CHOSEN).meta["fit"]["keep"]
    return found


def again(objects: np.ndarray) -> LinearTransform:
    """The chosen setting fitted to other answers."""
    answers = Answers.from_array(objects)
    return refitted(FitData(data().features, answers, data().local_features), chosen())


def refitted(given: FitData, keep: dict[str, Any]) -> LinearTransform:
    """The setting that a record of `keep` tells, fitted to other data."""
    places = (Position(**keep["original"]), Position(**keep["expected"]))
    return Dial(given, Exact(), places, {}, keep["candidates"], 0).solve(min(1.0, places[1].safe) - 1e-9).transform


def _on_centred() -> LinearTransform:
    """The transform that `keep` chooses for rows less the column means of the objects, of the rows themselves."""
    given = data()
    assert given.local_features is not None
    means = np.asarray(given.features.matrix, np.float64).mean(axis=0)
    objects, local = (
        Features((np.asarray(one.matrix) - means).astype(np.float32), one.names)
        for one in (given.features, given.local_features)
    )
    found = fit(FitData(objects, given.answers, local), keep=KEEP).transform
    bias = -(means / found.std) @ found.weights
    return LinearTransform(found.weights, bias.astype(np.float32), found.mean, found.std)


def _random() -> np.ndarray:
    """The spectrum of `glocal` on random orthogonal directions."""
    W = transform("glocal").weights.astype(np.float64)
    Q, R = np.linalg.qr(np.random.default_rng(42).normal(size=W.shape))
    Q *= np.sign(np.diag(R))
    return (Q * np.linalg.eigvalsh((W + W.T) / 2)) @ Q.T


def _diagonal() -> np.ndarray:
    """diag d that minimises L_global + λ Σ (d - mean d)², λ that of less loss on fold 0 of the objects."""

    def fitted(given: FitData, lmbda: float) -> np.ndarray:
        X, answers = given.named("float32")
        loss = ChoiceLoss(X, answers.objects, answers.pairs)

        def objective(d: np.ndarray) -> tuple[float, np.ndarray]:
            value, dW = loss(np.diag(d).astype(X.dtype))
            off = d - d.mean()
            return value + lmbda * float(off @ off), dW.diagonal().astype(np.float64) + 2 * lmbda * off

        start = np.full(X.shape[1], best_scale(loss, X)[0])
        return np.diag(minimize(objective, start, jac=True, method="L-BFGS-B", options={"ftol": 1e-7}).x)

    part, held, _ = data().fold(0)
    X = data().scalars(data().features.matrix, "float64")
    losses = {
        lmbda: odd_one_out(X @ fitted(part, lmbda), held, similarity="dot", interval=False).loss
        for lmbda in (1e-3, 1e-2)
    }
    return fitted(data(), min(losses, key=losses.__getitem__))


def _whitening() -> np.ndarray:
    """(1 - s) I + s C^-½ c^½, C the covariance of the photographs: s is halved in until it keeps what glocal keeps."""
    local = data().local_features
    assert local is not None
    X = data().scalars(np.asarray(local.matrix), "float64")
    values, V = np.linalg.eigh(np.cov(X.T))
    white = (V * np.sqrt(values.mean() / np.maximum(values, 1e-3 * values.mean()))) @ V.T
    aim, low, high = neighbours_kept(X, transform("glocal")(np.asarray(local.matrix))), 0.0, 1.0
    for _ in range(12):
        s = (low + high) / 2
        low, high = (s, high) if neighbours_kept(X, (1 - s) * X + s * X @ white) > aim else (low, s)
    return (1 - low) * np.eye(len(V)) + low * white


# the tasks: each gives the score of every draw, and what each image adds to their mean


def few_shot_cell(Z: np.ndarray, y: np.ndarray, shots: int, probe: str) -> Cell:
    """Balanced accuracy on the images that a draw does not show."""
    codes = np.unique(y, return_inverse=True)[1]
    k, draws, added = int(codes.max()) + 1, np.zeros(DRAWS), np.zeros(len(y))
    for draw, shown in enumerate(draw_episodes(codes, shots, len(draws))):
        tested = ~np.isin(np.arange(len(y)), shown)
        credit = shared_credit(PROBES[probe](Z[shown], codes[shown], k)(Z), codes)
        counts = np.bincount(codes[tested], minlength=k)
        right = np.bincount(codes[tested], credit[tested], k) / counts
        draws[draw] = right.mean()
        added += tested * (credit - right[codes]) / (k * counts[codes] * len(draws))
    return {"draws": draws, "images": added}


def anomaly_cell(Z: np.ndarray, y: np.ndarray) -> Cell:
    """Mean AUROC of one class against the rest: half of each class is shown, the other halves are told apart."""
    codes, U = np.unique(y, return_inverse=True)[1], unit_rows(Z)
    S, k, draws, added = U @ U.T, int(codes.max()) + 1, np.zeros(HALVES), np.zeros(len(y))
    for half in range(HALVES):
        shown = halves(codes, half)
        for c in range(k):
            cosines = np.sort(S[np.ix_(~shown, shown & (codes == c))], axis=1)[:, -NEAREST:]
            normal = codes[~shown] == c
            place = placements(-cosines.mean(axis=1), normal)
            auroc = place[normal].mean()
            draws[half] += auroc / k
            added[~shown] += (place - auroc) / (np.where(normal, normal.sum(), (~normal).sum()) * k * HALVES)
    return {"draws": draws, "images": added}


def halves(codes: np.ndarray, half: int) -> np.ndarray:
    """The half of each class that is shown."""
    order, shown = np.random.RandomState((42, half)).permutation(len(codes)), np.zeros(len(codes), dtype=bool)
    for c in range(codes.max() + 1):
        rows = order[codes[order] == c]
        shown[rows[: len(rows) // 2]] = True
    return shown


def placements(score: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """The share of images of the other kind that each is on the right side of, ties half: either mean is the AUROC."""
    below = np.zeros(len(score))
    for mine in (normal, ~normal):
        others = np.sort(score[~mine])
        left, right = (np.searchsorted(others, score[mine], side) for side in ("left", "right"))
        below[mine] = (left + right) / 2 / len(others)
    return np.where(normal, 1 - below, below)


def retrieval_cell(arm: LinearTransform, task: str) -> Cell:
    """Recall at 1 of captions for a photograph or of photographs for a caption, text transformed too or not."""
    photographs, text, of = captions()
    Z, ids = arm(photographs), np.arange(len(photographs))
    T = arm(text) if task.endswith("both sides") else arm.standardization(text, "float64")
    forward = task.startswith("image to text")
    found = retrieval(Z, ids, T, of) if forward else retrieval(T, of, Z, ids)
    right = found.hits[:, 0] if forward else np.bincount(of, found.hits[:, 0]) / np.bincount(of)
    return {"draws": right.mean(keepdims=True), "images": (right - right.mean()) / len(right)}


def tasks(probes: tuple[str, ...]) -> dict[str, Callable[[LinearTransform], Cell]]:
    """All tasks by name."""
    found: dict[str, Callable[[LinearTransform], Cell]] = {}
    for name in SETS:
        X, y = images(name)
        for probe in probes:
            for shots in SHOTS:
                found[f"few-shot {probe} {name} {shots}"] = lambda arm, X=X, y=y, shots=shots, probe=probe: (
                    few_shot_cell(arm(X), y, shots, probe)
                )
        found[f"anomaly {name}"] = lambda arm, X=X, y=y: anomaly_cell(arm(X), y)
    for way in ("image to text", "text to image"):
        for sides in ("images only", "both sides"):
            task = f"{way}, {sides}"
            found[task] = lambda arm, task=task: retrieval_cell(arm, task)
    return found


def cell(task: str, arm: str, score: Callable[[LinearTransform], Cell]) -> Cell:
    """The scores of an arm in a task, and the processor seconds that they cost; read where they have been made."""
    path, key = OUT / "cells" / arm / f"{task}.npz", np.array(array_sha256(np.vstack(transform(arm).folded())))
    if path.exists() and (held := dict(np.load(path)))["key"] == key:
        return held
    began = time.process_time()
    found = score(transform(arm)) | {"key": key, "seconds": np.array(time.process_time() - began)}
    make_folder(path.parent)
    write_npz(path, found)
    return found


def estimate(found: Cell, less: Cell | None = None) -> Estimate:
    """The mean over draws, of a difference if `less` is given, with its error over draws and images."""
    draws, added = (found[name] - (0 if less is None else less[name]) for name in ("draws", "images"))
    n, D = len(added), len(draws)
    parts = [(float(added @ added) * n / (n - 1), n - 1)]
    if D > 1:
        parts.append((float(draws.var(ddof=1)) / D, D - 1))
    variance = sum(part for part, _ in parts)
    spread = sum(part**2 / freedom for part, freedom in parts)
    return Estimate.of(float(draws.mean()), variance, variance**2 / spread if spread else 0.0, 1.0)


def study() -> tuple[list[dict[str, Any]], float]:
    """A row for each task and arm, and processor seconds; Holm's steps over the arms, and over the controls."""
    rows, seconds, both = [], 0.0, PROBED
    for base, arms, probes in (
        ("original", ("original", *ARMS), both), ("original", tuple(CONTROLS), both[:1]),
        ("original", tuple(AFTER), both[:1]), ("centred", tuple(AFTER), both[:1]),
    ):  # fmt: skip
        of_table = []
        for task, score in tasks(probes).items():
            before = cell(task, base, score)
            for arm in arms:
                found = cell(task, arm, score)
                seconds += float(found["seconds"])
                row: dict[str, Any] = {"task": task, "arm": arm, "base": base, "value": estimate(found).mean}
                if arm != base:
                    less = estimate(found, before)
                    row |= {"difference": less.mean, "half": less.half, "p": less.p}
                of_table.append(row)
        tested = [row for row in of_table if row.get("p") is not None]
        for row, p in zip(tested, holm([row["p"] for row in tested]), strict=True):
            row["p_holm"] = p
        rows += of_table
    return rows, seconds


def looks() -> list[dict[str, Any]]:
    """Agreement with all answers, which all but random and simulated arms were fitted to, and neighbours kept."""
    X, given = np.asarray(data().features.matrix, np.float64), data()
    before = {name: given.scalars(images(name)[0], "float64") for name in SETS}
    found = []
    for arm in ("original", *ARMS, *CONTROLS, *AFTER):
        W = transform(arm)
        kept = {name: neighbours_kept(before[name], W(images(name)[0])) for name in SETS if name != "kinds"}
        agreement = odd_one_out(W(X), given.answers, interval=False).accuracy
        found.append({"arm": arm, "agreement_fitted": agreement, "kept": kept})
        print(found[-1], flush=True)
    return found
