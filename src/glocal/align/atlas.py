"""The atlas: networks and their arms, scored on the same answers about objects that no fit saw."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from glocal.aligner import Fit, KeepCurve
from glocal.aligner.fitting import fit_choice
from glocal.aligner.folds import FoldScorer
from glocal.evaluation.agreement import credit_units
from glocal.evaluation.comparison import Result, compared
from glocal.evaluation.intervals import ItemValues
from glocal.files import PathLike, write_text
from glocal.report import Block, Run, report_page, save_page
from glocal.report.runs import apply_command
from glocal.scores import (
    AGREEMENT,
    HELD_OUT_OBJECTS,
    HELD_OUT_QUESTIONS,
    KEPT,
    ORIGINAL,
    Score,
    Scores,
)
from glocal.suite.table import (
    corrected,
    long_scores,
    network_differences,
    network_table,
    score_table,
)
from glocal.transform import LinearTransform
from glocal.transform.formats import TRANSFORM_NAME

ORIGINS = {"plain": 0.0, "centred": 1.0}
"""The folders of the transforms of a network, and the share of the mean subtracted."""
MEAN_SUBTRACTED = "mean subtracted"
FITTED_ELSEWHERE = "authors' transform, fitted to these answers"


@dataclass(frozen=True, eq=False)
class AlignedNetwork:
    """The fits of a network by arm, and the agreement and neighbours kept of all of its arms."""

    name: str
    fits: dict[str, Fit]
    agreement: dict[str, Result]
    neighbours: dict[str, Result]

    def place(self, arm: str, folder: PathLike) -> Path:
        """The folder of the transform of an arm, below that of all networks."""
        return Path(folder) / self.name / dict(zip(self.fits, ORIGINS, strict=True))[arm]

    @property
    def scores(self) -> list[Score]:
        """The rows of all arms, and of their differences in agreement from the original."""
        pairs = [(arm, ORIGINAL) for arm in self.agreement if arm != ORIGINAL]
        rows = compared(self.agreement, pairs) + compared(self.neighbours, [])
        return [replace(row, network=self.name) for row in rows]

    def try_command(self, folder: PathLike) -> str:
        """The command that shows what the transforms do for labelled images."""
        words = ["glocal", "try", "YOURS", "--labels", "LABELS"]
        for arm in self.fits:
            words += ["--transform", str(self.place(arm, folder))]
        return shlex.join(words)


@dataclass(frozen=True, eq=False)
class Atlas:
    """Aligned networks, which are scored on the same answers, and why others failed, by name."""

    networks: tuple[AlignedNetwork, ...]
    failed: Mapping[str, str]

    @cached_property
    def scores(self) -> Scores:
        """The rows of all networks; p-values are corrected for all differences between arms."""
        return Scores(corrected([row for network in self.networks for row in network.scores]))

    @cached_property
    def differences(self) -> Scores:
        """The agreement of each network less that of the first, arm by arm, on the same answers."""
        if not self.networks:
            return Scores()
        return Scores(network_differences({each.name: each.agreement for each in self.networks}))

    def save(self, folder: PathLike) -> None:
        """Write ``atlas.html`` and ``atlas.csv`` into the folder of the transforms."""
        names = ", ".join(network.name for network in self.networks)
        page = report_page([self._run(folder)], title=f"Networks and people: {names}")
        save_page(page, Path(folder) / "atlas.html")
        table = long_scores(Scores((*self.scores, *self.differences)))
        write_text(Path(folder) / "atlas.csv", table.to_csv(index=False))

    def _run(self, folder: PathLike) -> Run:
        """The section of a report. No finding reads a transform that was fitted elsewhere."""
        fits = {}
        commands = {}
        for network in self.networks:
            for arm, fit in network.fits.items():
                file = network.place(arm, folder) / TRANSFORM_NAME
                fits[network.name, arm] = fit.transform.meta["fit"]
                commands[network.name, arm] = apply_command(str(file), "features.npy")
        return Run(
            "atlas",
            Scores(row for row in self.scores if row.transform != FITTED_ELSEWHERE),
            fits=fits,
            commands=commands,
            blocks=tuple(self._blocks()),
        )

    def _blocks(self) -> Iterator[Block]:
        """The networks less the first, and transforms that were fitted to these answers."""
        note = "Paired on the same answers; p after Holm's correction."
        less_first = network_table(self.differences)
        yield Block(f"Agreement less that of {self.networks[0].name}", (), note, less_first)
        fitted = Scores(row for row in self.scores if row.transform == FITTED_ELSEWHERE)
        if fitted:
            note = "Agreement with answers that were fitted is not that with new ones."
            yield Block("Fitted to these answers", (), note, score_table(fitted, ORIGINAL))


def measured_network(
    name: str, curves: Mapping[str, KeepCurve], keep: float, fitted: LinearTransform | None
) -> AlignedNetwork:
    """Fit a network from both origins, whose curves of `keep` are given, and score its arms."""
    uncentred, centred = curves.values()
    n_folds = len(uncentred.crossfit.folds)
    columns = np.eye(uncentred.data.features.dimensions)
    centring = centred.data.transform(columns)
    as_given = replace(uncentred.data.transform(columns), bias=None, mean=0.0, std=1.0)
    transforms = {ORIGINAL: [as_given] * n_folds, MEAN_SUBTRACTED: [centring] * n_folds}
    fits = {}
    for arm, curve in ((f"keep {keep:g}", uncentred), (f"centred keep {keep:g}", centred)):
        transforms[arm] = curve.fold_transforms(curve.choose(keep))
        fits[arm] = fit_choice(curve, keep)
    if fitted is not None:
        transforms[FITTED_ELSEWHERE] = [fitted] * n_folds
    heldout = uncentred.crossfit.heldout
    is_of_objects = uncentred.crossfit.folds[0].unit == "objects"
    split = HELD_OUT_OBJECTS if is_of_objects else HELD_OUT_QUESTIONS
    return AlignedNetwork(
        name,
        fits,
        {arm: _agreement(heldout, parts, split) for arm, parts in transforms.items()},
        {arm: _neighbours(heldout, parts, split) for arm, parts in transforms.items()},
    )


def _agreement(heldout: FoldScorer, transforms: Sequence[LinearTransform], split: str) -> Result:
    """The agreement of the transform of each fold with the answers that the fold holds out."""
    credit, _ = heldout.credit_and_loss(transforms)
    units = credit_units(credit, heldout.answers)
    settings = {"chance": heldout.answers.chance}
    n = len(credit)
    score = Score("agreement", AGREEMENT[0], *units.bounded(), n, split, settings=settings)
    return Result((score,), units)


def _neighbours(heldout: FoldScorer, transforms: Sequence[LinearTransform], split: str) -> Result:
    """The neighbours of the rows as given that the images of each fold keep."""
    Z = [t.map_rows(X) for t, X in zip(transforms, heldout.images, strict=True)]
    units = ItemValues(values=heldout.kept(Z))
    n = round(np.mean([len(X) for X in heldout.images]))
    settings = {"k": heldout.k}
    score = Score("neighbours kept", KEPT, *units.bounded(), n, split, settings=settings)
    return Result((score,), units)
