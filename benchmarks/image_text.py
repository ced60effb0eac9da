"""Does it hold for image-text models? CLIP ViT-B/32 and BLIP, real human answers about THINGS objects.

Sections, each of which goes on where it was stopped; all but `front` read the transforms of `front`:

    front    sweeps of all arms on three folds of objects and local images, folders that `glocal report` reads
    equal    glocal less global at equal neighbours kept, and at equal agreement, with paired intervals
    naming   top-1 among 1,413 words for pictures of objects that were not fitted: sides and strengths
    fewshot  superordinate categories from five objects each, on objects that were not fitted
    rsa      people's dissimilarities of 48 objects, none of which was fitted

Local images are 1000 Flickr photographs (CLIP) or the objects' own photographs, folded as the objects are (BLIP, for
which there are no others). Needs GLOCAL_DATA_DIR. Run: python benchmarks/image_text.py [SECTION ...] [--quick].
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
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
SIZES = (500, 2000, 5000, 20_000, 10**9)
_X, _Y = "accuracy_cosine", "neighbours_kept"


def front(quick: bool) -> None:
    """Sweep every case; print the means of the settings on the front."""
    for case, grids in CASES.items():
        for name in grids[:1] if quick else grids:
            grid = {"method": ["global"], "lmbda": [1]} if quick else GRIDS[name]
            out = OUT / case.name / ("quick" if quick else name)
            found = sweep(case.data, grid or "arms", folds=FOLDS, select="loss", out=out, resume=True)
            print(f"\n{case.name}, {name}: agreement and neighbours kept on the front")
            for _, line in found.front.iterrows():
                means = (f"{line[metric]:.4f} ± {line[metric + '_se']:.4f}" for metric in (_X, _Y))
                print(f"  {setting(line):36s}", *means, flush=True)


def setting(row: Any) -> str:
    """The method of a row with those of its settings that it has."""
    signs = {"α": row["alpha"], "λ": row["lmbda"], "τ": row["tau"], "mix": None if row["mix"] == 1 else row["mix"]}
    known = {sign: value for sign, value in signs.items() if value is not None and not math.isnan(value)}
    return f"{row['method']} " + ", ".join(f"{sign} {value:g}" for sign, value in known.items())


@dataclass(frozen=True)
class Scored:
    """What one transform scores on one fold: the credit of each held-out answer, the share kept by each image."""

    credit: np.ndarray
    kept: np.ndarray

    @classmethod
    def of(cls, case: Case, transform: LinearTransform, fold: int, on_objects: bool = False) -> Scored:
        """Neighbours are counted among the held-out local images, or among the held-out objects."""
        inside, answers = case.heldout(fold)
        objects = np.asarray(case.objects.matrix, np.float64)[inside]
        Z = transform.apply(objects)
        X = objects if on_objects else case.heldout_images(fold)
        kept = kept_by_image(transform.standardization(X), transform.apply(X), K)
        return cls(answer_credit(Z, answers), kept)

    def between(self, other: Scored, share: float) -> Scored:
        """The scores a part of the way to another transform, answer by answer."""
        return Scored(*((1 - share) * a + share * b for a, b in ((self.credit, other.credit), (self.kept, other.kept))))


def at(path: Sequence[Scored], name: str, value: float) -> Scored | None:
    """Where a path, ordered by falling neighbours kept, has one mean; None beyond its ends."""
    means = np.array([getattr(one, name).mean() for one in path])
    if name == "kept":
        means = -means
        value = -value
    place = int(np.searchsorted(means, value))
    if not 0 < place < len(means):
        return None
    low, high = means[place - 1], means[place]
    return path[place - 1].between(path[place], (value - low) / (high - low))


def unbeaten(path: Sequence[Scored]) -> list[Scored]:
    """Those of a path that no other beats in both means, by falling neighbours kept."""
    front: list[Scored] = []
    for one in sorted(path, key=lambda one: (-one.kept.mean(), -one.credit.mean())):
        if not front or one.credit.mean() > front[-1].credit.mean():
            front.append(one)
    return front


def equal(quick: bool) -> None:
    """Each setting less `global` where that keeps as many neighbours, and where it agrees as often.

    On each fold the path of `global` from the original features to its best agreement is interpolated, answer by answer
    and image by image. Intervals respect that answers share objects; the place on the path counts as known. The fits of
    CLIP, which keep the neighbours of photographs, are compared by the neighbours of objects too.
    """
    for case, grids, on_objects in [
        *((case, grids, False) for case, grids in CASES.items()),
        (CLIP, CASES[CLIP], True),
    ]:
        folder = OUT / case.name
        if quick or not all((folder / name / "front.csv").exists() for name in grids):
            continue
        points = [row for name in grids for row in read_rows(folder / name / "points.jsonl")]
        lambdas = {row["lmbda"] for row in points if row["method"] == "global" and row["mix"] == 1}
        paths, answers = [], []
        for fold in range(FOLDS):
            arms = [None, *(("global", lmbda, None, None) for lmbda in lambdas)]
            path = [Scored.of(case, case.transform(arm, fold), fold, on_objects) for arm in arms]
            paths.append(unbeaten(path))
            inside, heldout = case.heldout(fold)
            answers.append(inside[heldout.objects])
        rows = []
        for row in points:
            if row["fold"] or (row["method"] == "global" and row["mix"] == 1):
                continue
            arm = row["method"], row["lmbda"], row["alpha"], row["tau"]
            mine = [
                Scored.of(case, case.transform(arm, fold, mix=row["mix"]), fold, on_objects) for fold in range(FOLDS)
            ]
            found = {
                "credit": [at(path, "kept", one.kept.mean()) for path, one in zip(paths, mine, strict=True)],
                "kept": [at(path, "credit", one.credit.mean()) for path, one in zip(paths, mine, strict=True)],
            }
            line = {key: row[key] for key in ("method", "alpha", "lmbda", "tau", "mix")}
            line |= {"agreement": mean_of(mine, "credit"), "kept": mean_of(mine, "kept")}
            for name, others in found.items():
                if all(other is not None for other in others):
                    ours, theirs = (np.concatenate([getattr(one, name) for one in side]) for side in (mine, others))
                    shared = np.concatenate(answers) if name == "credit" else None
                    line[f"{name}_difference"] = workbench.paired(ours, theirs, answers=shared)
            rows.append(line)
        save(folder / f"equal{'-objects' if on_objects else ''}.jsonl", rows)
        print(f"\n{case.name}, neighbours of {'objects' if on_objects else 'local images'}: less global")
        print("at equal neighbours kept (agreement), and at equal agreement (neighbours)")
        for line in sorted(rows, key=lambda line: line["agreement"]):
            shown = "  ".join(difference(line.get(name)) for name in ("credit_difference", "kept_difference"))
            print(f"  {setting(line):36s} {line['agreement']:.4f} {line['kept']:.4f}  {shown}")


def mean_of(scored: Iterable[Scored], name: str) -> float:
    """The mean over folds of the mean of each."""
    return float(np.mean([getattr(one, name).mean() for one in scored]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", default=list(SECTIONS), help=", ".join(SECTIONS))
    parser.add_argument("--quick", action="store_true", help="one setting of each: does it run?")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    threadpool_limits(1)
    for section in options.sections:
        SECTIONS[section](options.quick)


SECTIONS = {"front": front, "equal": equal, "naming": naming, "fewshot": fewshot, "rsa": rsa48}

if __name__ == "__main__":
    main()
