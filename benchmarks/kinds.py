"""Answers of other kinds on real data: agreement before and after `global`, on objects or answers not fitted.

    GLOCAL_DATA_DIR=... python benchmarks/kinds.py

Materials (votes), shoes and drawings are anchor answers, videos odd-one-out answers with catch trials. Objects are held
out in three folds, whose answers are scored together; the interval is paired, over objects and over persons, the wider.
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import workbench

from glocal.aligner import Arm, FitData, fit
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.importing import import_answers
from glocal.data.splits import split_answers
from glocal.errors import DataWarning
from glocal.evaluation.agreement import answer_credit
from glocal.extract import Extractor

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from factories import lite0

FOLDS = 3
LAMBDAS = (0.01, 0.1, 1.0, 10.0)


def main() -> None:
    """One table for each data set."""
    data = workbench.real_data()
    for name, (features, answers) in {
        "material, EfficientNet-Lite0": material(data),
        "shoes, AlexNet": shoes(data),
        "alien eggs, EfficientNet-Lite0": eggs(data),
        "videos, mean ratings": videos(data),
    }.items():
        print(f"\n{name}: {len(answers)} answers, {len(features)} objects, chance {answers.chance:.3f}")
        for held, split in {"objects": objects_held_out, "answers": answers_held_out}.items():
            print(f"held out: {held}\n   lmbda  original    global                difference   seconds")
            for lmbda in LAMBDAS:
                print(row(features, answers, lmbda, split(features, answers)))


def objects_held_out(features: Features, answers: Answers) -> list[tuple[np.ndarray, np.ndarray]]:
    """The answers whose objects all lie outside, or all inside, each fold of objects."""
    return [split_answers(answers, len(features), folds=FOLDS, fold=fold) for fold in range(FOLDS)]


def answers_held_out(_features: Features, answers: Answers) -> list[tuple[np.ndarray, np.ndarray]]:
    """A fifth of the answers, about objects that the fit has seen."""
    held = np.random.RandomState(42).permutation(len(answers)) < len(answers) // 5
    return [(~held, held)]


def row(features: Features, answers: Answers, lmbda: float, parts: list[tuple[np.ndarray, np.ndarray]]) -> str:
    """Agreement on all that is held out, and the seconds of a fit."""
    before, after, held, seconds = [], [], [], []
    X = features.standardization(np.asarray(features.matrix), "float64")
    for part in parts:
        train, heldout = (answers.select(rows) for rows in part)
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)  # constant columns, and features that know nothing
            fitted = fit(FitData(features, train), Arm("global", lmbda=lmbda))
        seconds.append(time.perf_counter() - began)
        Z = fitted.transform.apply(np.asarray(features.matrix, dtype=np.float64))
        before.append(answer_credit(X, heldout))
        after.append(answer_credit(Z, heldout))
        held.append(heldout)
    given = {
        name: None
        if any(getattr(one, name) is None for one in held)
        else np.concatenate([getattr(one, name) for one in held])
        for name in ("objects", "weights", "person")
    }
    paired = workbench.paired(
        np.concatenate(after), np.concatenate(before), answers=given["objects"], weights=given["weights"],
        clusters=given["person"],
    )  # fmt: skip
    means = [float(np.average(np.concatenate(side), weights=given["weights"])) for side in (before, after)]
    difference = f"{paired['difference']:+.3f} [{paired['low']:+.3f}, {paired['high']:+.3f}]"
    return f"{lmbda:8g}  {means[0]:8.3f}  {means[1]:8.3f}  {difference}  {np.median(seconds):8.2f}"


def material(data: Path) -> tuple[Features, Answers]:
    """Votes for which of two materials looks more like the reference."""
    folder = data / "anchors" / "material"
    return Features.load(folder / "features" / "efficientnet-lite0"), Answers.load(folder / "train.npz", kind="anchor")


def shoes(data: Path) -> tuple[Features, Answers]:
    """Which of two shoes is closer to the first."""
    folder = data / "anchors" / "zappos"
    answers = Answers.load(folder / "answers_anchor_close_far.npy", kind="anchor")
    return Features.load(folder / "alexnet.npy"), answers


def eggs(data: Path) -> tuple[Features, Answers]:
    """Which of two drawings is closer to the first, with persons; features of the drawings are computed here."""
    folder = data / "anchors" / "alien_eggs"
    answers = import_answers(folder / "answers.csv").answers
    with TemporaryDirectory() as out:
        extractor = Extractor(lite0())
        extractor.extract(folder / "images", Path(out))
        features = Features.load(out)
        return Features(np.array(features.matrix), features.names, features.source), answers


def videos(data: Path) -> tuple[Features, Answers]:
    """The odd one of three videos; people's mean ratings are the features. Catch trials are left out."""
    answers = import_answers(data / "videos" / "answers.csv").answers
    return Features.load(data / "videos" / "ratings.npy"), answers


if __name__ == "__main__":
    main()
