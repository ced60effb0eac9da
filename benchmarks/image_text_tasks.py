"""Sections of benchmarks/image_text.py on uses: naming, few-shot categories, RSA."""

from __future__ import annotations

import json

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
    """Top-1 of pictures whose objects were not fitted, among all words and among all names.

    The transform is on the side of the pictures or on both.
    """
    rows = []
    raw = Case("clip-vit-b32", "raw", "flickr")
    for case, among in ((CLIP, "words"), (CLIP, "names"), (raw, "words")):
        before = hits(case, among, None, "image", 1.0)
        for name, arm in arms(quick).items():
            for sides in ("image", "both") if arm else ("image",):
                for strength in STRENGTHS if arm else (1.0,):
                    after = hits(case, among, arm, sides, strength)
                    low, high = mean_estimate(after).interval(FRACTION)
                    row = {
                        "rows": case.rows,
                        "among": among,
                        "arm": name,
                        "sides": sides,
                        "strength": strength,
                        "top1": after.mean(),
                        "low": low,
                        "high": high,
                        "difference": workbench.paired(after, before),
                    }
                    rows.append(row)
                    print(
                        f"{case.rows} {among} {name:28s} {sides:6s} {strength:4g}  "
                        f"{after.mean():.4f} [{low:.4f}, {high:.4f}]  "
                        f"{difference(row['difference'])}",
                        flush=True,
                    )
    if not quick:
        save(OUT / "naming.jsonl", rows)


def hits(case: Case, among: str, arm: Setting, sides: str, strength: float) -> np.ndarray:
    """Whether the nearest word to each picture is its name, fold after fold.

    The pictures are those of objects whose names are words.
    """
    words, text = case.words
    names = [object_name(name) for name in case.objects.names or ()]
    if among == "names":
        text = text[[word in names for word in words]]
        words = tuple(word for word in words if word in names)
    folds = []
    for fold, heldout in enumerate(object_folds(len(names), FOLDS)):
        rows = [row for row in heldout if names[row] in words]
        labels = np.array([names[row] for row in rows])
        transform = case.transform(arm, fold)
        weakened = transform.at_strength(strength)
        queries = weakened.apply(np.asarray(case.objects.matrix[rows], np.float64))
        gallery = transform.standardization(text, "float64")
        if sides == "both":
            gallery = weakened.apply(text.astype(np.float64))
        folds.append(retrieval(queries, labels, gallery, np.array(words)).hits[:, 0])
    return np.concatenate(folds)


def fewshot(quick: bool) -> None:
    """Categories from five objects each; no object was fitted; ten draws a fold."""
    y = categories()
    folds = object_folds(len(y), FOLDS)
    frequent = [
        category
        for category in range(y.max() + 1)
        if all((y[fold] == category).sum() > SHOTS for fold in folds)
    ]
    folds = [fold[np.isin(y[fold], frequent)] for fold in folds]
    counts = np.bincount(y[np.concatenate(folds)])[frequent].astype(np.float64)
    print(f"few-shot: {len(frequent)} categories, {int(counts.sum())} objects, {SHOTS} shots")
    draws = 1 if quick else 10

    def accuracies(arm: Setting) -> np.ndarray:
        """Accuracy of each category in each draw of each fold."""
        cells = []
        for fold, rows in enumerate(folds):
            Z = CLIP.transform(arm, fold).apply(np.asarray(CLIP.objects.matrix[rows], np.float64))
            sides = (Z, y[rows], Z, y[rows])
            score = few_shot(*sides, shots=SHOTS, draws=draws, leave_out_shots=True)
            cells.append(score.units.values)
        return np.concatenate(cells)

    before = accuracies(None)
    rows = []
    for name, arm in arms(quick).items():
        after = accuracies(arm)
        estimate = two_way_estimate(after, counts)
        low, high = estimate.interval(FRACTION)
        paired = workbench.paired(after, before, weights=counts)
        row = {"arm": name, "accuracy": estimate.mean, "low": low, "high": high}
        rows.append({**row, "difference": paired})
        print(
            f"{name:26s} {estimate.mean:.4f} [{low:.4f}, {high:.4f}]  "
            f"{difference(paired) if arm else ''}",
            flush=True,
        )
    if not quick:
        save(OUT / "fewshot.jsonl", rows)


def categories() -> np.ndarray:
    """The category of each object that has one alone, else -1."""
    things = workbench.real_data() / "things"
    member = np.loadtxt(things / "categories27.tsv", skiprows=1)
    ids = read_lines(things / "unique_id.txt", what="object ids")
    single = {ids[row]: member[row].argmax() for row in np.flatnonzero(member.sum(axis=1) == 1)}
    return np.array([single.get(object_name(name), -1) for name in CLIP.objects.names or ()])


def rsa48(quick: bool) -> None:
    """People's dissimilarities of 48 objects; the fits have no answer that names one of them."""
    things = workbench.real_data() / "things"
    ids = read_lines(things / "unique_id.txt", what="object ids")
    record = json.loads((things / "rdm48_index.json").read_text())
    index = np.array(record["concept_index0_in_unique_id"])
    people = join_rdms(CLIP.objects, load_rdms(things / "rdm48.npy"), index, ids)
    others = CLIP.answers.select(~np.isin(CLIP.answers.objects, people.rows).any(axis=1))
    data = FitData(CLIP.objects, others, CLIP.images)
    X = np.asarray(CLIP.objects.matrix[people.rows], np.float64)
    original = CLIP.transform(None, 0)
    before = rsa(original.apply(X), people.rdms).units.values
    rows = []
    for name, setting in arms(quick).items():
        transform = original
        if setting is not None:
            method, lmbda, alpha, tau = setting
            local = {} if alpha is None else {"alpha": alpha, "tau": tau}
            transform = fit(data, Arm(method, lmbda=lmbda, **local)).transform
        score = rsa(transform.apply(X), people.rdms)
        paired = workbench.paired(score.units.values, before)
        row = {
            "arm": name,
            "spearman": score.spearman,
            "low": score.low,
            "high": score.high,
            "n": score.n_objects,
            "difference": paired,
        }
        rows.append(row)
        print(
            f"{name:26s} Spearman {score.spearman:.4f} [{score.low:.4f}, {score.high:.4f}]  "
            f"{difference(paired) if setting else ''}",
            flush=True,
        )
    if not quick:
        save(OUT / "rsa.jsonl", rows)
