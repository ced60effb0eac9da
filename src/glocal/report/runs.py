"""The runs that a page shows, and the run of one transform."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from glocal.advice import SituationRow, Subject
from glocal.evaluation.view import View
from glocal.results import FitRecord, Provenance
from glocal.scores import AGREEMENT, ORIGINAL, Score, Scores
from glocal.transform.record import Source

if TYPE_CHECKING:
    import pandas as pd

Place = tuple[str, str]
"""A network, which is empty if there is but one without a name, and its arm."""
Views = dict[str, View]
"""The views of the arms of a network."""


class FrontPoint(NamedTuple):
    """A point of a front: a setting of a sweep, or an arm. None means no interval."""

    network: str
    method: str
    setting: str
    chosen: bool
    agreement: float
    agreement_low: float | None
    agreement_high: float | None
    neighbours_kept: float
    neighbours_kept_low: float | None
    neighbours_kept_high: float | None


POINT_COLUMNS = list(FrontPoint._fields)
"""The columns of a table of points, in which NaN means no interval."""


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


NetworkEntries = dict[str, str]
"""The entries of a network in the plan of a suite."""


class PlanRecord(BaseModel):
    """What a page reads of the plan of a suite."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    networks: dict[str, NetworkEntries] = {}
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
    name stands for any network.

    `featured` is the arm that the run is about: a transform, or the choice of a sweep. It is empty
    if the run compares arms. `settings` has the settings of a sweep, with `POINT_COLUMNS`. `lead`
    is a sentence that follows the advice, and `blocks` follow the scores. `design` are sentences on
    how the answers were collected. `situations` are what `glocal try` said of labelled images. The
    page of a run that `begins_with_neighbours` shows them before the scores.
    """

    name: str
    scores: Scores = field(default_factory=Scores)
    record: RunRecord = field(default_factory=RunRecord)
    fits: dict[Place, FitRecord] = field(default_factory=dict)
    commands: dict[Place, str] = field(default_factory=dict)
    views: dict[str, Views] = field(default_factory=dict)
    featured: str = ""
    settings: pd.DataFrame | None = None
    lead: str = ""
    blocks: tuple[Block, ...] = ()
    design: tuple[str, ...] = ()
    situations: tuple[SituationRow, ...] = ()
    begins_with_neighbours: bool = False

    @property
    def chance(self) -> float:
        """The agreement that guessing gives, as the record, the scores or the fits state it."""
        recorded = [self.record.chance]
        for fit in self.fits.values():
            recorded.append(fit.chance)
        for score in self.scores:
            chance = score.settings.get("chance")
            if isinstance(chance, float):
                recorded.append(chance)
        for chance in recorded:
            if chance is not None:
                return chance
        return 1 / 3

    @property
    def baseline(self) -> str:
        """The arm with which the others are compared."""
        plan = self.record.plan
        return ORIGINAL if plan is None else plan.baseline

    @property
    def is_unit(self) -> bool:
        """Whether all rows were scaled to length 1 first."""
        if self.record.normalize:
            return True
        return any(score.settings.get("normalize") for score in self.scores)

    def agreement_tasks(self, network: str) -> list[str]:
        """The tasks of agreement of a network; one without a name if it has none."""
        tasks = self.scores.tasks_of(*AGREEMENT)
        scored = set()
        for score in self.scores.shown:
            if network == (score.network or ""):
                scored.add(score.task)
        return [task for task in tasks if task in scored] or [""]

    @property
    def network_gains(self) -> list[Score]:
        """The differences between networks on the tasks of agreement, or else on the first task."""
        tasks = self.scores.tasks_of(*AGREEMENT)
        if not tasks:
            tasks = self.scores.tasks[:1]
        return [gain for gain in self.scores.network_gains if gain.task in tasks]

    def subject(self, network: str, arm: str, task: str = "") -> Subject:
        """The scores, the record of the fit and the baseline from which a headline is written."""
        is_collapsed = False
        for _, views in self.views_of(network, arm):
            is_collapsed |= views[arm].meta.get("collapsed", False)
        place = (network, arm)
        return Subject(
            self.scores,
            arm,
            network,
            self.baseline,
            title="the transform" if self.featured else arm,
            fit=self.fits.get(place),
            chance=self.chance,
            is_collapsed=is_collapsed,
            task=task,
        )

    def views_of(self, network: str, arm: str) -> Iterator[tuple[str, Views]]:
        """Yield each network with a view of the arm, with the views of its arms."""
        for name, views in self.views.items():
            if arm in views and is_of_network(name, network):
                yield name, views


def is_of_network(name: str, network: str) -> bool:
    """Whether what bears the `name` of a network concerns a network; an empty name is any."""
    return "" in (name, network) or name == network


def apply_command(transform: str, features: str) -> str:
    """The command that applies a transform."""
    words = ["glocal", "apply", transform, features]
    words += ["--out", "aligned.npy"]
    return shlex.join(words)
