"""Does it hold for image-text models? CLIP ViT-B/32 and BLIP, real human answers about THINGS.

Sections, each of which goes on where it was stopped; all but `front` read the transforms of
`front`:

    front    sweeps of all arms on three folds of objects and local images, folders that
             `glocal report` reads
    equal    glocal less global at equal neighbours kept, and at equal agreement, with paired
             intervals
    naming   top-1 among 1,413 words for pictures of objects that were not fitted: sides and
             strengths
    fewshot  superordinate categories from five objects each, on objects that were not fitted
    rsa      people's dissimilarities of 48 objects, none of which was fitted

Local images are 1000 Flickr photographs (CLIP) or the objects' own photographs, folded as the
objects are (BLIP, for which there are no others). Needs GLOCAL_DATA_DIR. Run: python
benchmarks/image_text.py [SECTION ...] [--quick].
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import workbench
from image_text_data import CASES, CLIP, FOLDS, GRIDS, OUT, Case, difference, save
from image_text_tasks import fewshot, naming, rsa48
from threadpoolctl import threadpool_limits

from glocal import LinearTransform
from glocal.evaluation.agreement import answer_credit
from glocal.evaluation.structure import kept_by_image
from glocal.results import read_rows
from glocal.sweep import sweep

K = 10
METRICS = ("accuracy_cosine", "neighbours_kept")


def front(quick: bool) -> None:
    """Sweep every case; print the means of the settings on the front."""
    for case, grids in CASES.items():
        for name in grids[:1] if quick else grids:
            grid = {"method": ["global"], "lmbda": [1]} if quick else GRIDS[name]
            out = OUT / case.name / ("quick" if quick else name)
            result = sweep(
                case.data, grid or "arms", folds=FOLDS, select="loss", out=out, resume=True
            )
            print(f"\n{case.name}, {name}: agreement and neighbours kept on the front")
            for _, row in result.front.iterrows():
                means = (f"{row[metric]:.4f} ± {row[metric + '_se']:.4f}" for metric in METRICS)
                print(f"  {setting(row):36s}", *means, flush=True)


def setting(row: Any) -> str:
    """The method of a row with those of its settings that it has."""
    signs = {"α": row["alpha"], "λ": row["lmbda"], "τ": row["tau"]}
    if row["mix"] != 1:
        signs["mix"] = row["mix"]
    values = [f"{sign} {value:g}" for sign, value in signs.items() if pd.notna(value)]
    return f"{row['method']} {', '.join(values)}"


@dataclass(frozen=True)
class FoldScores:
    """The credit of each held-out answer, and the share of neighbours that each image keeps."""

    credit: np.ndarray
    kept: np.ndarray

    @classmethod
    def of(
        cls, case: Case, transform: LinearTransform, fold: int, on_objects: bool = False
    ) -> FoldScores:
        """Neighbours are counted among the held-out local images, or the held-out objects."""
        rows, answers = case.heldout(fold)
        objects = np.asarray(case.objects.matrix, np.float64)[rows]
        Z = transform.apply(objects)
        X = objects if on_objects else case.heldout_images(fold)
        kept = kept_by_image(transform.standardization(X), transform.apply(X), K)
        return cls(answer_credit(Z, answers), kept)

    def mixed(self, other: FoldScores, share: float) -> FoldScores:
        """The scores a part of the way to another transform, answer by answer."""
        credit = (1 - share) * self.credit + share * other.credit
        return FoldScores(credit, (1 - share) * self.kept + share * other.kept)


def interpolated(path: Sequence[FoldScores], name: str, value: float) -> FoldScores | None:
    """Where a path, ordered by falling neighbours kept, has a mean; None beyond its ends."""
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
    """Those of a path that no other beats in both means, by falling neighbours kept."""
    front: list[FoldScores] = []
    for scores in sorted(path, key=lambda scores: (-scores.kept.mean(), -scores.credit.mean())):
        if not front or scores.credit.mean() > front[-1].credit.mean():
            front.append(scores)
    return front


def equal(quick: bool) -> None:
    """Each setting less `global` where that keeps as many neighbours, and where it agrees as often.

    On each fold the path of `global` from the original features to its best agreement is
    interpolated, answer by answer and image by image. Intervals respect that answers share objects;
    the place on the path counts as known. The fits of CLIP, which keep the neighbours of
    photographs, are compared by the neighbours of objects too.
    """
    comparisons = [(case, grids, False) for case, grids in CASES.items()]
    for case, grids, on_objects in [*comparisons, (CLIP, CASES[CLIP], True)]:
        folder = OUT / case.name
        if quick or not all((folder / name / "front.csv").exists() for name in grids):
            continue
        points = [row for name in grids for row in read_rows(folder / name / "points.jsonl")]
        rows = compared(case, points, on_objects)
        save(folder / f"equal{'-objects' if on_objects else ''}.jsonl", rows)
        images = "objects" if on_objects else "local images"
        print(f"\n{case.name}, neighbours of {images}: less global")
        print("at equal neighbours kept (agreement), and at equal agreement (neighbours)")
        for row in sorted(rows, key=lambda row: row["agreement"]):
            differences = [difference(row.get(f"{name}_difference")) for name in ("credit", "kept")]
            scores = f"{row['agreement']:.4f} {row['kept']:.4f}"
            print(f"  {setting(row):36s} {scores}  {'  '.join(differences)}")


def compared(case: Case, points: list[dict[str, Any]], on_objects: bool) -> list[dict[str, Any]]:
    """A row for each setting of the points of a sweep but those of the path of `global`."""
    on_path = {
        row["lmbda"]: ("global", row["lmbda"], None, None) for row in points if _is_global(row)
    }
    paths = []
    answers = []
    for fold in range(FOLDS):
        transforms = [case.transform(arm, fold) for arm in (None, *on_path.values())]
        path = [FoldScores.of(case, transform, fold, on_objects) for transform in transforms]
        paths.append(unbeaten(path))
        objects, heldout = case.heldout(fold)
        answers.append(objects[heldout.objects])
    rows = []
    for point in points:
        if point["fold"] or _is_global(point):
            continue
        arm = point["method"], point["lmbda"], point["alpha"], point["tau"]
        transforms = [case.transform(arm, fold, mix=point["mix"]) for fold in range(FOLDS)]
        scores = [
            FoldScores.of(case, transform, fold, on_objects)
            for fold, transform in enumerate(transforms)
        ]
        row = {key: point[key] for key in ("method", "alpha", "lmbda", "tau", "mix")}
        row |= {"agreement": mean_of(scores, "credit"), "kept": mean_of(scores, "kept")}
        for name, equal_name in (("credit", "kept"), ("kept", "credit")):
            others = [
                interpolated(path, equal_name, getattr(fold_scores, equal_name).mean())
                for path, fold_scores in zip(paths, scores, strict=True)
            ]
            if any(other is None for other in others):
                continue
            after = np.concatenate([getattr(fold_scores, name) for fold_scores in scores])
            before = np.concatenate([getattr(fold_scores, name) for fold_scores in others])
            shared = np.concatenate(answers) if name == "credit" else None
            row[f"{name}_difference"] = workbench.paired(after, before, answers=shared)
        rows.append(row)
    return rows


def _is_global(row: dict[str, Any]) -> bool:
    """Whether a point lies on the path of `global`."""
    return row["method"] == "global" and row["mix"] == 1


def mean_of(scores: Iterable[FoldScores], name: str) -> float:
    """The mean over folds of the mean of each."""
    return float(np.mean([getattr(fold_scores, name).mean() for fold_scores in scores]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", default=list(SECTIONS), help=", ".join(SECTIONS)
    )
    parser.add_argument("--quick", action="store_true", help="one setting of each: does it run?")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    threadpool_limits(1)
    for section in options.sections:
        SECTIONS[section](options.quick)


SECTIONS = {"front": front, "equal": equal, "naming": naming, "fewshot": fewshot, "rsa": rsa48}

if __name__ == "__main__":
    main()
