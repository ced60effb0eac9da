"""Sections of benchmarks/image_text.py on what transforms are good for: naming, few-shot categories, RSA."""

from __future__ import annotations

import json
from typing import Any

import workbench  # isort: skip  before torch

import numpy as np
from image_text_data import CLIP, FOLDS, OUT, Case, Setting, arms, difference, save

from glocal import Arm, FitData, fit
from glocal.data.features import object_name
from glocal.data.rdm import join_rdms, load_rdms
from glocal.data.splits import object_folds
from glocal.evaluation.few_shot import few_shot
from glocal.evaluation.intervals import FRACTION, mean_estimate, two_way_estimate
from glocal.evaluation.retrieval import retrieval
from glocal.evaluation.rsa import rsa
from glocal.files import read_lines

STRENGTHS = (0.25, 0.5, 0.75, 1.0)
SHOTS = 5


def naming(quick: bool) -> None:
    """Top-1 for objects that were not fitted, the transform on one side or on both, among all words and all names."""
    rows = []
    for case, among in ((CLIP, "words"), (CLIP, "names"), (Case("clip-vit-b32", "raw", "flickr"), "words")):
        before = hits(case, among, None, "image", 1.0)
        for name, arm in arms(quick).items():
            for sides in ("image", "both") if arm else ("image",):
                for strength in STRENGTHS if arm else (1.0,):
                    after = hits(case, among, arm, sides, strength)
                    low, high = mean_estimate(after).interval(FRACTION)
                    paired = workbench.paired(after, before)
                    row = {"rows": case.rows, "among": among, "arm": name, "sides": sides, "strength": strength}
                    rows.append({**row, "top1": after.mean(), "low": low, "high": high, "difference": paired})
                    value = f"{after.mean():.4f} [{low:.4f}, {high:.4f}]  {difference(paired)}"
                    print(f"{case.rows} {among} {name:28s} {sides:6s} {strength:4g}  {value}", flush=True)
    if not quick:
        save(OUT / "naming.jsonl", rows)


def hits(case: Case, among: str, arm: Setting, sides: str, strength: float) -> np.ndarray:
    """Whether the nearest word to each picture is its name: of the objects whose names are words, fold after fold."""
    words, text = case.words
    names = [object_name(name) for name in case.objects.names or ()]
    if among == "names":
        text = text[[word in names for word in words]]
        words = tuple(word for word in words if word in names)
    found = []
    for fold, inside in enumerate(object_folds(len(names), FOLDS)):
        rows = [i for i in inside if names[i] in words]
        transform = case.transform(arm, fold)
        moved = transform.at_strength(strength)
        queries = moved.apply(np.asarray(case.objects.matrix[rows], np.float64))
        gallery = transform.standardization(text, "float64")
        if sides == "both":
            gallery = moved.apply(text.astype(np.float64))
        found.append(retrieval(queries, np.array([names[i] for i in rows]), gallery, np.array(words)).hits[:, 0])
    return np.concatenate(found)


def fewshot(quick: bool) -> None:
    """Categories from five objects each, both from the objects that were not fitted; ten draws a fold."""
    member = np.loadtxt(workbench.real_data() / "things" / "categories27.tsv", skiprows=1)
    ids = read_lines(workbench.real_data() / "things" / "unique_id.txt", what="object ids")
    alone = {ids[i]: int(member[i].argmax()) for i in np.flatnonzero(member.sum(axis=1) == 1)}
    y = np.array([alone.get(object_name(name), -1) for name in CLIP.objects.names or ()])
    folds = object_folds(len(y), FOLDS)
    enough = [c for c in range(member.shape[1]) if all((y[fold] == c).sum() > SHOTS for fold in folds)]
    inside = [fold[np.isin(y[fold], enough)] for fold in folds]
    counts = np.array([(y[np.concatenate(inside)] == c).sum() for c in enough], dtype=np.float64)
    print(f"few-shot: {len(enough)} categories, {int(counts.sum())} objects, {SHOTS} shots")

    def cells(arm: Any) -> np.ndarray:
        """Accuracy of each category in each draw of each fold."""
        found = []
        for fold, rows in enumerate(inside):
            Z = CLIP.transform(arm, fold).apply(np.asarray(CLIP.objects.matrix[rows], np.float64))
            found.append(
                few_shot(
                    Z, y[rows], Z, y[rows], shots=SHOTS, draws=1 if quick else 10, leave_out_shots=True
                ).units.values
            )
        return np.concatenate(found)

    before, rows = cells(None), []
    for name, arm in arms(quick).items():
        after = cells(arm)
        estimate = two_way_estimate(after, counts)
        low, high = estimate.interval(FRACTION)
        paired = workbench.paired(after, before, weights=counts)
        rows.append({"arm": name, "accuracy": estimate.mean, "low": low, "high": high, "difference": paired})
        print(
            f"{name:26s} {estimate.mean:.4f} [{low:.4f}, {high:.4f}]  {difference(paired) if arm else ''}", flush=True
        )
    if not quick:
        save(OUT / "fewshot.jsonl", rows)


def rsa48(quick: bool) -> None:
    """People's dissimilarities of 48 objects; the fits have no answer that names one of them."""
    things = workbench.real_data() / "things"
    ids = read_lines(things / "unique_id.txt", what="object ids")
    index = np.array(json.loads((things / "rdm48_index.json").read_text())["concept_index0_in_unique_id"])
    people = join_rdms(CLIP.objects, load_rdms(things / "rdm48.npy"), index, ids)
    others = CLIP.answers.select(~np.isin(CLIP.answers.objects, people.rows).any(axis=1))
    X, before, rows = np.asarray(CLIP.objects.matrix[people.rows], np.float64), None, []
    for name, arm in arms(quick).items():
        transform = CLIP.transform(None, 0)
        if arm is not None:
            method, lmbda, alpha, tau = arm
            local = {} if alpha is None else {"alpha": alpha, "tau": tau}
            transform = fit(FitData(CLIP.objects, others, CLIP.images), Arm(method, lmbda=lmbda, **local)).transform
        found = rsa(transform.apply(X), people.rdms)
        values = found.units.values
        before = values if before is None else before
        paired = workbench.paired(values, before)
        row = {"arm": name, "spearman": found.spearman, "low": found.low, "high": found.high, "n": found.n_objects}
        rows.append({**row, "difference": paired})
        beside = difference(paired) if arm else ""
        print(f"{name:26s} Spearman {found.spearman:.4f} [{found.low:.4f}, {found.high:.4f}]  {beside}", flush=True)
    if not quick:
        save(OUT / "rsa.jsonl", rows)
