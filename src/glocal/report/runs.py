"""The runs that a page shows, and the run of one transform."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from glocal.advice.finding import Subject, recorded_scores
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.seen import Seen, seen
from glocal.evaluation.agreement import agreement_scores, answer_credit, ceiling
from glocal.evaluation.axes import FoldTransform, embeddings
from glocal.evaluation.structure import kept_neighbours
from glocal.evaluation.view import Part, View, change_record, paired_views
from glocal.files import array_sha256
from glocal.results import FitRecord, Provenance
from glocal.scores import AGREEMENT, HELD_OUT_QUESTIONS, KEPT, ORIGINAL, Score, Scores
from glocal.similarity import Embedding
from glocal.transform import LinearTransform
from glocal.transform.record import Source

if TYPE_CHECKING:
    import pandas as pd

Place = tuple[str, str]
"""A network, which is empty if there is but one without a name, and its arm."""
POINT_COLUMNS = [
    *("network", "method", "setting", "chosen"),
    *("agreement", "agreement_low", "agreement_high"),
    *("neighbours_kept", "neighbours_kept_low", "neighbours_kept_high"),
]
"""The columns of the points of a front: settings of a sweep, or arms. NaN means no interval."""


@dataclass(frozen=True, eq=False)
class Block:
    """A part of a section under a title: sentences, a note, a table of texts, and its Altair chart.

    A table without a chart is folded if it is long. `data` are the numbers of the table, with an
    index of names, for a file.
    """

    title: str
    sentences: tuple[str, ...] = ()
    note: str = ""
    table: pd.DataFrame | None = None
    chart: Any = None
    data: pd.DataFrame | None = None


class PlanRecord(BaseModel):
    """What a page reads of the plan of a suite."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    networks: dict[str, dict[str, str]] = {}
    baseline: str = ORIGINAL
    simulated: bool = False


class RunRecord(BaseModel):
    """The content of ``suite.json`` or ``sweep.json``, or what is known of a transform.

    The page lists other fields too, and reads none of them.
    """

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)

    plan: PlanRecord | None = None
    provenance: Provenance | None = None
    version: str = ""
    data: dict[str, str] = {}
    seed: int | None = None
    source: Source | None = None
    fit: FitRecord | None = None
    chance: float | None = None
    normalize: bool = False
    unfinished_points: int = 0


@dataclass(frozen=True, eq=False)
class Run:
    """One section of a report: the folder of a suite or a sweep, a file of scores, or a transform.

    `name` is the heading of the section. `fits` has the records of fits by network and arm, and
    `commands` the commands that use them. `views` maps each network to its views by arm; an empty
    name is that of any network.

    `featured` is the arm that the run is about: a transform, or the choice of a sweep. It is empty
    if the run compares arms. `settings` are those of a sweep, with `POINT_COLUMNS`. `lead` is a
    sentence that follows the advice, and `blocks` follow the scores. `design` are sentences on how
    the answers were collected.
    """

    name: str
    scores: Scores = field(default_factory=Scores)
    record: RunRecord = field(default_factory=RunRecord)
    fits: dict[Place, FitRecord] = field(default_factory=dict)
    commands: dict[Place, str] = field(default_factory=dict)
    views: dict[str, dict[str, View]] = field(default_factory=dict)
    featured: str = ""
    settings: pd.DataFrame | None = None
    lead: str = ""
    blocks: tuple[Block, ...] = ()
    design: tuple[str, ...] = ()

    @property
    def chance(self) -> float:
        """The agreement that guessing gives, as the record, the scores or the fits state it."""
        fitted = (fit.chance for fit in self.fits.values())
        scored = (score.settings.get("chance") for score in self.scores)
        known = (chance for chance in (self.record.chance, *fitted, *scored) if chance is not None)
        return next(known, 1 / 3)

    @property
    def baseline(self) -> str:
        """The arm with which the others are compared."""
        return ORIGINAL if self.record.plan is None else self.record.plan.baseline

    @property
    def is_unit(self) -> bool:
        """Whether all rows were scaled to length 1 first."""
        return self.record.normalize or any(
            score.settings.get("normalize") for score in self.scores
        )

    def agreement_tasks(self, network: str) -> list[str]:
        """The tasks by which findings about a network judge it; one without a name if none does."""
        tasks = self.scores.tasks_of(*AGREEMENT)
        scored = {score.task for score in self.scores.shown if (score.network or "") == network}
        return [task for task in tasks if task in scored] or [""]

    @property
    def network_gains(self) -> list[Score]:
        """The differences between networks on the tasks of agreement, or else on the first task."""
        tasks = self.scores.tasks_of(*AGREEMENT) or self.scores.tasks[:1]
        return [gain for gain in self.scores.network_gains if gain.task in tasks]

    def subject(self, network: str, arm: str, task: str = "") -> Subject:
        """The scores, the record of the fit and the baseline that a finding is written from."""
        views = self.views_of(network, arm)
        return Subject(
            self.scores,
            arm,
            network,
            self.baseline,
            title="the transform" if self.featured else arm,
            fit=self.fits.get((network, arm)),
            chance=self.chance,
            is_collapsed=any(arms[arm].meta.get("collapsed") for _, arms in views),
            task=task,
        )

    def views_of(self, network: str, arm: str) -> Iterator[tuple[str, Mapping[str, View]]]:
        """Yield each network with a view of the arm, with the views of its arms."""
        for name, views in self.views.items():
            if arm in views and is_of_network(name, network):
                yield name, views


def is_of_network(name: str, network: str) -> bool:
    """Whether what bears the `name` of a network concerns a network; an empty name is any."""
    return "" in (name, network) or name == network


def apply_command(transform: str, features: str) -> str:
    """The command that applies a transform."""
    return shlex.join(["glocal", "apply", transform, features, "--out", "aligned.npy"])


def transform_run(
    name: str,
    transform: LinearTransform,
    features: Features,
    answers: Answers | None = None,
    *,
    folds: Sequence[tuple[FoldTransform, Answers]] = (),
    file: str = "transform.npz",
) -> Run:
    """Make the run of one transform from features of objects and, if given, answers about them.

    Answers that the fit has not seen are the result. Without such answers it is the held-out scores
    in the record of the fit.

    Parameters
    ----------
    name : str
        The heading.
    transform : LinearTransform
    features : Features
        Raw features of at least 4 objects.
    answers : Answers or None
        Answers that index the rows of the features. The record of the transform tells whether it
        was fitted to them.
    folds : sequence of (FoldTransform, Answers)
        The same fit without a part of the questions, and the answers to that part. Each answer is
        then scored by the fit that has not seen it.
    file : str
        The file or name of the transform, for the command that applies it.
    """
    record = transform.record
    fold_transforms = [fold for fold, _ in folds]
    X, Z, fold_embeddings = embeddings(transform, features, fold_transforms)
    parts: list[Part] = list(zip(fold_embeddings, [part for _, part in folds], strict=True))
    shares = Seen(0.0, 1.0)  # of the answers to a fold
    if answers is not None and not folds:
        parts = [(Z, answers)]
        shares = seen(record.fitted, record.hashes, features, answers) or Seen(None, None)
    change = change_record(
        transform, features, X, parts, folds=fold_transforms, is_unseen=shares.is_unseen
    )
    network = _network(transform, features)
    fit = record.fit
    scores = [*recorded_scores(fit, name)]
    if parts and shares.is_unseen is not False:
        scores = [replace(score, **shares.fields) for score in _agreement(name, X, parts)]
    if KEPT not in {score.metric for score in scores}:
        scores += _neighbours(name, X, Z)
    shown = RunRecord(
        source=record.source,
        fit=fit,
        normalize=transform.normalize,
        chance=None if answers is None else answers.chance,
    )
    if answers is not None:
        bounds = ceiling(answers)
        scores += [] if bounds is None else bounds.scores
    views = paired_views(X, Z, features.labels, name=name, change=change)
    path = features.source if os.path.exists(features.source) else "features.npy"
    return Run(
        name,
        Scores(replace(score, network=network or None) for score in scores),
        record=shown,
        fits={} if fit is None else {(network, name): fit},
        commands={(network, name): apply_command(file, path)},
        views={network: views},
        featured=name,
    )


def _network(transform: LinearTransform, features: Features) -> str:
    """The network of the features, by their record or because the transform was fitted to them."""
    if transform.record.hashes.get("features") == array_sha256(features.matrix):
        return transform.record.source.network_name
    return Source(**features.network).network_name


def _agreement(name: str, X: Embedding, parts: Sequence[Part]) -> list[Score]:
    """Agreement before and after with the answers of all parts, and the gain."""
    from glocal.aligner.folds import pooled_answers

    split = "all" if len(parts) == 1 else HELD_OUT_QUESTIONS
    credit = {
        ORIGINAL: np.concatenate([answer_credit(X, part) for _, part in parts]),
        name: np.concatenate([answer_credit(after, part) for after, part in parts]),
    }
    return agreement_scores(credit, pooled_answers([part for _, part in parts]), split)


def _neighbours(name: str, X: Embedding, Z: Embedding) -> list[Score]:
    """The neighbours that the original features, X, and the transformed ones, Z, keep."""
    (kept,) = kept_neighbours(X, Z, min(10, len(X) - 1)).scores
    return [replace(kept, value=1.0, low=None, high=None), replace(kept, transform=name)]
