"""The data of benchmarks/image_text.py, and the transforms of its sweeps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import workbench  # isort: skip  before torch

import numpy as np

from glocal import Answers, Arm, Exact, Features, FitData, LinearTransform, fit, join
from glocal.data.splits import object_folds
from glocal.files import atomic_write, make_folder, read_lines
from glocal.results import to_json

OUT = Path("bench-out") / "image-text"
FOLDS = 3
LAMBDAS = (0.1, 0.3, 1, 3, 10)
GRIDS = {
    "arms": {
        "method": ["naive", "global", "glocal"],
        "lmbda": LAMBDAS,
        "alpha": [0.1, 0.25, 0.5, 0.75],
        "tau": [0.05, 0.1, 0.25],
    },
    "path": {
        "method": ["global"],
        "lmbda": [float(f"{value:.3g}") for value in np.logspace(-1.5, 1.5, 13)],
    },
    "mix": {"method": ["global"], "lmbda": [0.1, 0.3, 1], "mix": [0.9, 0.99]},
    "few": {
        "method": ["naive", "global", "glocal"],
        "lmbda": [0.3, 1, 3],
        "alpha": [0.5],
        "tau": [0.1],
    },
    "all": None,
}
"""The grids of `front`: all arms; a fine path of `global`; mixes; all arms in few settings; the
default of a sweep."""
Setting = tuple[str, float, float | None, float | None] | None
"""Method, λ, α, τ; None is the original features."""
ARMS: dict[str, Setting] = {
    "original": None,
    "naive, λ 0.3": ("naive", 0.3, None, None),
    **{f"global, λ {lmbda:g}": ("global", lmbda, None, None) for lmbda in (0.1, 0.3, 1.0, 3.0)},
    **{
        f"glocal, α 0.5, λ {lmbda:g}, τ 0.1": ("glocal", lmbda, 0.5, 0.1)
        for lmbda in (0.1, 0.3, 1.0, 3.0)
    },
}
"""The settings whose use is measured."""


def arms(quick: bool) -> dict[str, Setting]:
    """All of them, or the two that --quick has."""
    return {name: ARMS[name] for name in ("original", "global, λ 1")} if quick else ARMS


STRENGTHS = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Case:
    """One network with its rows as they come or of length 1, and what its neighbourhoods are of."""

    network: str
    rows: str  # "unit" or "raw"
    local: str  # "flickr" or "objects"

    @property
    def name(self) -> str:
        return f"{self.network}-{self.rows}-{self.local}"

    @cached_property
    def objects(self) -> Features:
        features = Features.load(workbench.real_data() / "things" / "features" / self.network)
        return Features(self._scaled(features), features.names, self.name)

    @cached_property
    def answers(self) -> Answers:
        """All answers, in rows of the objects."""
        things = workbench.real_data() / "things"
        ids = read_lines(things / "unique_id.txt", what="object ids")
        return join(self.objects, Answers.load(things / "triplets.npy"), ids).answers

    @cached_property
    def images(self) -> Features:
        """The local images; photographs, which have length 1, get the length of raw objects."""
        if self.local == "objects":
            return Features(self.objects.matrix, None, "the objects themselves")
        rows = self._unit(Features.load(workbench.real_data() / "local" / self.network))
        if self.rows == "raw":
            rows *= float(np.linalg.norm(self.objects.matrix, axis=1).mean())
        return Features(rows.astype(np.float32), None, "photographs")

    @cached_property
    def words(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Words and their text features."""
        folder = workbench.real_data() / "things" / "words" / self.network
        return read_lines(folder / "words.txt", what="words"), self._scaled(Features.load(folder))

    def heldout(self, fold: int) -> tuple[np.ndarray, Answers]:
        """The objects of one fold, and the answers about them in their rows."""
        inside = object_folds(len(self.objects), FOLDS)[fold]
        row = np.full(len(self.objects), -1)
        row[inside] = np.arange(len(inside))
        return inside, self.answers.relabel(row)

    def heldout_images(self, fold: int) -> np.ndarray:
        """The local images of one fold."""
        rows = object_folds(len(self.images), FOLDS)[fold]
        return np.asarray(self.images.matrix, np.float64)[rows]

    def transform(self, setting: Setting, fold: int, **options: Any) -> LinearTransform:
        """The transform fitted without a fold, read where it was made; None is no transform."""
        if setting is None:
            scalars = self.objects.standardization
            identity = np.eye(self.objects.dimensions, dtype=np.float32)
            return LinearTransform(identity, None, scalars.mean, scalars.std)
        method, lmbda, alpha, tau = setting
        local = {} if alpha is None or tau is None else {"alpha": alpha, "tau": tau}
        key = "-".join(map(str, (fold, *setting, *options.values())))
        file = OUT / self.name / "transforms" / f"{key}.npz"
        if not file.exists():
            training, _, _ = self.data.fold(fold, FOLDS)
            arm = Arm(method, lmbda=lmbda, **local, **options)
            make_folder(file.parent)
            fit(training, arm, Exact(tol=1e-4)).transform.save(file)
        return LinearTransform.load(file)

    @property
    def data(self) -> FitData:
        """What a sweep of this case is fitted on."""
        return FitData(self.objects, self.answers, self.images)

    def _scaled(self, features: Features) -> np.ndarray:
        if self.rows == "raw":
            return np.array(features.matrix, np.float32)
        return self._unit(features).astype(np.float32)

    @staticmethod
    def _unit(features: Features) -> np.ndarray:
        X = np.asarray(features.matrix, np.float64)
        return X / np.linalg.norm(X, axis=1, keepdims=True)


CLIP = Case("clip-vit-b32", "unit", "flickr")
CASES = {
    CLIP: ("arms", "path", "mix"),
    Case("blip", "unit", "objects"): ("all",),
    Case("clip-vit-b32", "raw", "flickr"): ("few",),
    Case("blip", "raw", "objects"): ("few",),
    Case("clip-vit-b32", "unit", "objects"): ("few",),
}
"""The grids that each case is swept over."""


def difference(paired: dict[str, Any] | None) -> str:
    """A paired difference with its interval, where it has one."""
    if paired is None:
        return f"{'beyond the path':26s}"
    value = f"{paired['difference']:+.4f}"
    if paired["low"] is None:
        return value
    return f"{value} [{paired['low']:+.4f}, {paired['high']:+.4f}]"


def save(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write a file of JSON lines anew."""
    with atomic_write(path) as stream:
        stream.write("".join(to_json(row) + "\n" for row in rows).encode())
