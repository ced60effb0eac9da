"""CLIP ViT-B/32: `glocal` compared with `global`, and the naming of pictures.

equal    each setting of `glocal` less `global`, at the point where `global` keeps as many
         neighbours and at the point where it agrees as often, with paired intervals; the
         neighbours are those of photographs, of the objects' own pictures that the fit preserves,
         and of objects that it does not preserve
naming   top-1 among 1,413 words for pictures of objects that were not fitted, with a transform of
         the pictures only or of both sides

Rows have length 1, and three folds of objects and local images are held out. This is the part
`image_text` of benchmarks/evidence.py. Finished fits are not computed again: delete
bench-out/evidence/image-text to fit anew. Needs GLOCAL_DATA_DIR.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import workbench  # isort: skip  before torch

import numpy as np

from glocal import Arm, Exact, FitData, LinearTransform, fit
from glocal.aligner.data import Fold
from glocal.data.features import object_name
from glocal.errors import DataWarning
from glocal.evaluation.agreement import answer_credit
from glocal.evaluation.intervals import FRACTION, mean_estimate
from glocal.evaluation.retrieval import retrieval
from glocal.evaluation.structure import kept_by_image
from glocal.files import make_folder, read_lines

OUT = Path("bench-out") / "evidence" / "image-text"
NETWORK = "clip-vit-b32"
FOLDS = 3
NEIGHBOURS = 10
PATH = [Arm("global", lmbda=float(f"{value:.3g}")) for value in np.logspace(-1.5, 1.5, 13)]
"""The settings of `global` between which places of equal scores are interpolated."""


def local(alpha: float, lmbda: float, tau: float) -> Arm:
    """A setting of `glocal`."""
    return Arm("glocal", alpha=alpha, lmbda=lmbda, tau=tau)


COMPARED = {
    "photographs": [
        local(0.75, 1.0, 0.05),
        local(0.75, 0.3, 0.05),
        local(0.75, 0.3, 0.1),
        local(0.5, 0.3, 0.1),
        local(0.25, 0.3, 0.05),
        local(0.25, 0.3, 0.25),
        local(0.1, 0.1, 0.05),
    ],
    "objects, preserved": [local(0.5, 3.0, 0.1), local(0.5, 0.3, 0.1)],
    "objects, not preserved": [local(0.5, 0.3, 0.1)],
}
"""The settings to compare, by the images whose neighbours count."""
NAMED = {
    "`global`, λ 0.1": Arm("global", lmbda=0.1),
    "`global`, λ 1": Arm("global", lmbda=1.0),
    "`global`, λ 3": Arm("global", lmbda=3.0),
    "`glocal`, α 0.5, λ 0.3, τ 0.1": local(0.5, 0.3, 0.1),
    "`glocal`, α 0.5, λ 1, τ 0.1": local(0.5, 1.0, 0.1),
    "`naive`, λ 0.3": Arm("naive", lmbda=0.3),
}
SIDES = {"images": ("image", 1.0), "half strength": ("both", 0.5), "both": ("both", 1.0)}
"""What a transform is applied to, and how strongly."""


@dataclass(frozen=True)
class Case:
    """CLIP with the photographs as local images, or with the objects' own pictures."""

    images: str  # "photographs" or "objects"
    transforms: dict[tuple[Arm, int], LinearTransform] = field(default_factory=dict)

    @cached_property
    def data(self) -> FitData:
        """The data that a sweep is fitted on."""
        return workbench.unit_data(NETWORK, self.images)

    @cached_property
    def folds(self) -> list[Fold]:
        """The held-out part of each fold."""
        return self.data.folds(FOLDS)

    def heldout_objects(self, fold: int) -> np.ndarray:
        """The rows of the objects that a fold holds out."""
        return np.setdiff1d(self.data.answers.named_objects(), self.folds[fold].data.objects)

    def transform(self, arm: Arm | None, fold: int) -> LinearTransform:
        """The transform fitted without a fold, read if it was made before; None is none."""
        if arm is None:
            return self.data.transform(np.eye(self.data.features.dimensions, dtype=np.float32))
        if (arm, fold) not in self.transforms:
            values = (arm.method, arm.lmbda, arm.alpha, arm.tau, fold)
            name = "-".join(map(str, values)) + ".npz"
            file = make_folder(OUT / self.images) / name
            if not file.exists():
                fit(self.folds[fold].data, arm, Exact(tol=1e-4)).transform.save(file)
            self.transforms[arm, fold] = LinearTransform.load(file)
        return self.transforms[arm, fold]


# glocal and global at equal scores


@dataclass(frozen=True)
class FoldScores:
    """The credit of each held-out answer, and the share of neighbours that each image keeps."""

    credit: np.ndarray
    kept: np.ndarray

    @classmethod
    def of(cls, case: Case, arm: Arm | None, fold: int, on_objects: bool) -> FoldScores:
        """The scores; neighbours are counted among held-out local images, or objects."""
        transform = case.transform(arm, fold)
        heldout = case.folds[fold]
        X = case.data.evaluation_rows(heldout.rows)
        if on_objects:
            X = np.asarray(case.data.features.matrix, np.float64)[case.heldout_objects(fold)]
        kept = kept_by_image(transform.standardization(X), transform.apply(X), NEIGHBOURS)
        return cls(answer_credit(case.data.embedding(transform), heldout.answers), kept)

    def mixed(self, other: FoldScores, share: float) -> FoldScores:
        """The scores at a point between this transform and another one, answer by answer."""
        credit = (1 - share) * self.credit + share * other.credit
        return FoldScores(credit, (1 - share) * self.kept + share * other.kept)


def interpolated(path: Sequence[FoldScores], name: str, value: float) -> FoldScores | None:
    """The point of a path, by falling neighbours kept, that has a mean; None beyond its ends."""
    means = np.array([getattr(scores, name).mean() for scores in path])
    if name == "kept":
        means = -means
        value = -value
    place = int(np.searchsorted(means, value))
    if not 0 < place < len(means):
        return None
    low = means[place - 1]
    high = means[place]
    return path[place - 1].mixed(path[place], (value - low) / (high - low))


def unbeaten(path: Sequence[FoldScores]) -> list[FoldScores]:
    """The points of a path that no other beats in both means, by falling neighbours kept."""
    front: list[FoldScores] = []
    for scores in sorted(path, key=lambda scores: (-scores.kept.mean(), -scores.credit.mean())):
        if not front or scores.credit.mean() > front[-1].credit.mean():
            front.append(scores)
    return front


def equal(images: str, arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """Each setting less `global` at equal neighbours kept, and at equal agreement.

    On each fold the path of `global` from the original features to its best agreement is
    interpolated, answer by answer and image by image. Intervals take into account that answers
    share objects; the position on the path counts as known.
    """
    on_objects = images.startswith("objects")
    case = Case("objects" if images == "objects, preserved" else "photographs")
    paths = []
    answers = []
    for fold in range(FOLDS):
        path = [FoldScores.of(case, arm, fold, on_objects) for arm in (None, *PATH)]
        paths.append(unbeaten(path))
        answers.append(case.folds[fold].answers.objects)
    shared = {"credit": np.concatenate(answers), "kept": None}
    table = []
    for arm in arms:
        scores = [FoldScores.of(case, arm, fold, on_objects) for fold in range(FOLDS)]
        row = {
            "images": images,
            "alpha": arm.alpha,
            "lmbda": arm.lmbda,
            "tau": arm.tau,
            "agreement": mean_of(scores, "credit"),
            "kept": mean_of(scores, "kept"),
        }
        for name, equal_name in (("credit", "kept"), ("kept", "credit")):
            row[name + "_difference"] = difference(paths, scores, name, equal_name, shared[name])
        table.append(row)
    return table


def difference(
    paths: Sequence[Sequence[FoldScores]],
    scores: Sequence[FoldScores],
    name: str,
    equal_name: str,
    answers: np.ndarray | None,
) -> dict[str, Any] | None:
    """The paired difference from the paths at an equal mean; None beyond a path."""
    others = []
    for path, fold_scores in zip(paths, scores, strict=True):
        other = interpolated(path, equal_name, getattr(fold_scores, equal_name).mean())
        if other is None:
            return None
        others.append(getattr(other, name))
    after = np.concatenate([getattr(fold_scores, name) for fold_scores in scores])
    return workbench.paired(after, np.concatenate(others), answers=answers)


def mean_of(scores: Sequence[FoldScores], name: str) -> float:
    """The mean over folds of the mean of each fold."""
    return float(np.mean([getattr(fold_scores, name).mean() for fold_scores in scores]))


# naming


def naming() -> dict[str, Any]:
    """Top-1 among all words for pictures of unfitted objects, and the differences from it."""
    case = Case("photographs")
    before = hits(case, None, "image", 1.0)
    low, high = mean_estimate(before).interval(FRACTION)
    rows = []
    for title, arm in NAMED.items():
        for sides, (side, strength) in SIDES.items():
            after = hits(case, arm, side, strength)
            row = {"arm": title, "sides": sides, "top1": float(after.mean())}
            rows.append(row | workbench.paired(after, before))
    return {"original": [float(before.mean()), low, high], "n": len(before), "rows": rows}


def hits(case: Case, arm: Arm | None, side: str, strength: float) -> np.ndarray:
    """Whether the word nearest to each picture is its name, fold after fold.

    The pictures are those of objects whose names are words.
    """
    folder = workbench.real_data() / "things" / "words" / NETWORK
    words = np.array(read_lines(folder / "words.txt", what="words"))
    text = np.asarray(workbench.unit_features(folder).matrix, np.float64)
    names = np.array([object_name(name) for name in case.data.features.names or ()])
    folds = []
    for fold in range(FOLDS):
        rows = case.heldout_objects(fold)
        rows = rows[np.isin(names[rows], words)]
        transform = case.transform(arm, fold)
        weakened = transform.at_strength(strength)
        queries = weakened.apply(np.asarray(case.data.features.matrix[rows], np.float64))
        gallery = transform.standardization(text, "float64")
        if side == "both":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DataWarning)  # words are not like pictures
                gallery = weakened.apply(text)
        folds.append(retrieval(queries, names[rows], gallery, words).hits[:, 0])
    return np.concatenate(folds)


def measured() -> dict[str, Any]:
    """All comparisons and all namings."""
    rows = [row for images, arms in COMPARED.items() for row in equal(images, arms)]
    return {"equal": rows, "naming": naming()}
