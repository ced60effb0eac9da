"""The findings of a run in sentences, each computed from its rows of scores."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from glocal.report.front import MARGIN, direction, front_points, is_overfitted
from glocal.report.runs import Run
from glocal.results import DIFFERENCE, PEOPLE, UNCHANGED, value_at
from glocal.suite.table import main_rows

if TYPE_CHECKING:
    import pandas as pd

    from glocal.evaluation.view import View

MIN_KEPT = 0.9
"""Smallest share of neighbours that the featured arm of a suite keeps, if any arm keeps as many."""
MIN_KEPT_FOR_SEARCH = 0.8
ANSWERS = {
    "objects": "about objects that the fit had not seen",
    "questions": "to questions that the fit had not seen, about the same objects",
    "fitted": "that the transform was fitted to",
    "other": "that the fit had not seen",
}
"""The answers that score a run, in words, by the field `heldout` of the run."""
_AGREEMENT = ("accuracy_cosine", "accuracy_dot")


@dataclass(frozen=True)
class Headline:
    """The featured arm of a network, the finding about it in a sentence, and details and advice."""

    network: str
    arm: str
    sentence: str
    details: str


def findings(run: Run) -> list[Headline]:
    """Return one finding for each network of a run."""
    if run.n_unfinished:
        sentence = (
            f"The sweep is unfinished: {run.n_unfinished} of its points are computed, and nothing "
            "is chosen yet."
        )
        return [Headline("", "", sentence, "Continue it with glocal sweep --resume.")]
    networks = run.rows["network"].unique().tolist() or [""]
    return [_headline(_Subject(run, network, featured_arm(run, network))) for network in networks]


def plural(noun: str, number: int) -> str:
    """The singular of a noun if the number is 1, else its plural."""
    if number == 1:
        return noun
    return "people" if noun == "person" else f"{noun}s"


def featured_views(run: Run, finding: Headline) -> Iterator[tuple[str, Mapping[str, View]]]:
    """Yield each network of a finding, with the views of its arms."""
    for network, views in run.views.items():
        if finding.network in ("", network) and finding.arm in views:
            yield network, views


def featured_arm(run: Run, network: str) -> str:
    """Return the arm that the page features.

    For a transform or a sweep, it is the transform or the choice. For a suite, it is the arm with
    the best agreement among those that keep .9 of the neighbours, or the arm that keeps most if
    none keeps so many. Without neighbours kept, it is the arm with the best agreement, and without
    agreement the last arm.
    """
    if run.featured:
        return run.featured
    rows = run.rows[run.rows["network"] == network]
    rows = rows[~rows["transform"].isin((run.baseline, PEOPLE))]
    points = front_points(run)
    points = points[(points["network"] == network) & points["method"].isin(rows["transform"])]
    if len(points):
        keeping = points[points["kept"] >= MIN_KEPT]
        best = points["kept"].idxmax()
        if len(keeping):
            best = keeping["agreement"].idxmax()
        return str(points.loc[best, "method"])
    agreement = rows[rows["metric"].isin(_AGREEMENT) & rows["value"].notna()]
    if len(agreement):
        return str(agreement.loc[agreement["value"].idxmax(), "transform"])
    return str(rows["transform"].drop_duplicates().iloc[-1]) if len(rows) else run.baseline


@dataclass(frozen=True)
class _Agreement:
    """Agreement with n answers before and after, and the interval of the gain, NaN if unknown."""

    before: float
    after: float
    low: float
    high: float
    n: int

    @property
    def change(self) -> str:
        """The direction: ``none`` if nothing changed, or if the interval of the gain contains 0."""
        if self.low <= 0 <= self.high or self.after == self.before:
            return "none"
        return "up" if self.after > self.before else "down"


@dataclass(frozen=True, eq=False)
class _Subject:
    """The subject of a finding: an arm of a network."""

    run: Run
    network: str
    arm: str

    @property
    def name(self) -> str:
        """The name of the network in a sentence."""
        return self.network or self.run.network or "the network"

    @property
    def fit(self) -> Mapping[str, Any]:
        """The record of the fit, empty if there is none."""
        fits = self.run.fits
        return fits.get(self.arm) or fits.get(f"{self.network}, {self.arm}") or {}

    @property
    def is_collapsed(self) -> bool:
        """Whether the arm maps all objects to one point."""
        views = featured_views(self.run, Headline(self.network, self.arm, "", ""))
        return any(arms[self.arm].meta.get("collapsed") for _, arms in views)

    @cached_property
    def tasks(self) -> list[dict[Any, Any]]:
        """The main rows that were compared, except agreement and neighbours kept."""
        main = main_rows(self.run.rows)
        is_other = ~main["metric"].isin((*_AGREEMENT, "neighbours_kept"))
        is_arm = (main["network"] == self.network) & (main["transform"] == self.arm)
        return main[is_arm & is_other & main["difference"].notna()].to_dict("records")

    @property
    def worse(self) -> list[dict[Any, Any]]:
        """The tasks that got worse."""
        return [row for row in self.tasks if direction(row) == "worse"]

    def row(self, arm: str, *metrics: str) -> pd.Series[Any] | None:
        """The last row of an arm with one of these metrics and a value."""
        rows = self.run.rows[self.run.rows["network"] == self.network]
        rows = rows[(rows["transform"] == arm) & rows["metric"].isin(metrics)]
        rows = rows[rows["value"].notna()]
        return rows.iloc[-1] if len(rows) else None

    @cached_property
    def agreement(self) -> _Agreement | None:
        """Agreement before and after; None if it was not measured."""
        before = self.row(self.run.baseline, *_AGREEMENT)
        after = self.row(self.arm, *_AGREEMENT)
        if before is None or after is None:
            return None
        gain = self.row(self.arm, after["metric"] + DIFFERENCE)
        low, high = (math.nan, math.nan) if gain is None else (gain["low"], gain["high"])
        return _Agreement(before["value"], after["value"], low, high, int(after["n"]))

    @cached_property
    def heldout(self) -> str:
        """The answers that score the arm, a key of `ANSWERS`, or empty."""
        row = self.row(self.arm, *_AGREEMENT)
        if self.run.featured or row is None:
            return self.run.heldout
        return "objects" if str(row["split"]).startswith("fold ") else ""

    @cached_property
    def kept(self) -> pd.Series[Any] | None:
        """The row of the neighbours kept; None if they were not counted."""
        return self.row(self.arm, "neighbours_kept")


def _headline(subject: _Subject) -> Headline:
    details = [*_data(subject), *_worse(subject)]
    if subject.is_collapsed:
        sentence = (
            f"The transform maps all objects of {subject.name} to one point: they cannot be told "
            "apart, and agreement with people is that of guessing."
        )
        details.append(
            "Do not use it: lower --lmbda, or check that answers and features belong together."
        )
    else:
        sentence = _sentence(subject)
        details += [*_warnings(subject), *_advice(subject)]
    return Headline(subject.network, subject.arm, sentence, " ".join(details))


def _sentence(subject: _Subject) -> str:
    if subject.agreement is not None:
        neighbours = "" if subject.kept is None else f", and {_keeping(subject, subject.kept)}"
        return f"{_agreeing(subject, subject.agreement)}{neighbours}."
    if subject.kept is not None:
        return f"The transform of {subject.name} {_keeping(subject, subject.kept)}."
    return _comparison(subject)


def _agreeing(subject: _Subject, agreement: _Agreement) -> str:
    """The sentence on agreement before and after, with the ceiling and that of guessing."""
    arm = "the transform" if subject.run.featured else subject.arm
    number = f"{agreement.n:,} " if agreement.n else ""
    answers = f"{number}answers {ANSWERS.get(subject.heldout, '')}".strip()
    before = f"{100 * agreement.before:.1f} %"
    changes = {
        "none": f"which cannot be told from the {before} before",
        "up": f"up from {before}",
        "down": f"down from {before}",
    }
    bounds = []
    ceiling = subject.row(PEOPLE, "ceiling_majority")
    if ceiling is not None:
        bounds.append(f"people agree with each other in at most {100 * ceiling['value']:.1f} %")
    bounds.append(f"guessing gives {100 * subject.run.chance:.1f} %")
    if not math.isnan(agreement.low):
        gain = f"{100 * agreement.low:+.1f} to {100 * agreement.high:+.1f} points"
        bounds.append(f"95 % interval of the change {gain}")
    return (
        f"With {arm}, {subject.name} agrees with people in {100 * agreement.after:.1f} % of "
        f"{answers}, {changes[agreement.change]} ({'; '.join(bounds)})"
    )


def _keeping(subject: _Subject, kept: pd.Series[Any]) -> str:
    """The neighbours kept; of centred features, those of the raw features too."""
    k = value_at(kept["settings"], "k")
    number = "" if k is None else f"{k} "
    share = f"{100 * kept['value']:.0f} %"
    raw = subject.row(subject.arm, "neighbours_kept_raw")
    of_raw = ""
    if raw is not None:
        of_raw = f" in the centred features, {100 * raw['value']:.0f} % in the raw ones"
    images = f" (among {kept['n']:,.0f} images)" if kept["n"] else ""
    return f"keeps {share} of the {number}nearest neighbours of each image{of_raw}{images}"


def _comparison(subject: _Subject) -> str:
    """The sentence on tasks, for a run in which agreement with people was not measured."""
    groups: dict[str, list[str]] = {"better": [], "worse": [], "same": []}
    for row in subject.tasks:
        groups[direction(row)].append(str(row["task"]))
    n_compared = len(subject.tasks)
    if not n_compared:
        number = subject.run.rows["task"].nunique()
        return (
            f"There are scores of {subject.name} on {number} {plural('task', number)}; nothing was "
            "compared."
        )
    parts = [f"{name} on {', '.join(groups[name])}" for name in ("better", "worse") if groups[name]]
    outcome = " and ".join(parts) or "neither better nor worse on any"
    return (
        f"Compared with {subject.run.baseline} on {n_compared} {plural('task', n_compared)}, "
        f"{subject.arm} of {subject.name} is {outcome}."
    )


def _data(subject: _Subject) -> Iterator[str]:
    """Sentences on the data of the fit, as far as the record states them."""
    fit = subject.fit
    if subject.run.is_simulated:
        yield "These are simulated data: the “people” are simulated too."
    n_answers = fit.get("n_answers")
    if n_answers:
        n_people = fit.get("n_people") or subject.run.record.get("n_people")
        people = f" from {n_people:,} {plural('person', n_people)}" if n_people else ""
        objects = f" about {fit['n_objects']:,} objects" if fit.get("n_objects") else ""
        local = f" and to the neighbours of {fit['n_local']:,} images" if fit.get("n_local") else ""
        yield f"It was fitted to {n_answers:,} answers{people}{objects}{local}."


def _worse(subject: _Subject) -> Iterator[str]:
    """The sentence on the tasks that got worse, other than agreement and neighbours kept."""
    losses = [f"{row['task']} by {abs(row['difference']):.3f}" for row in subject.worse]
    number = len(subject.tasks)
    if losses:
        yield f"It got worse on {', '.join(losses)}."
    elif number:
        scored = f"{number} {plural('task', number)}"
        yield f"Nothing else is known to have got worse by more than {MARGIN} ({scored})."
    else:
        yield "Its effect on other tasks was not measured."


def _warnings(subject: _Subject) -> Iterator[str]:
    from glocal.aligner.fitting import MIN_HELDOUT_ANSWERS  # loads the solver

    agreement = subject.agreement
    if is_overfitted(subject.run):
        yield "It is overfitted: its loss on held-out answers is above that of the features alone."
    if agreement is None:
        return
    if subject.heldout == "fitted":
        yield "Expect lower agreement with new answers."
    elif 0 < agreement.n < MIN_HELDOUT_ANSWERS:
        yield f"{agreement.n} held-out answers are too few to be sure of a small gain."


def _advice(subject: _Subject) -> Iterator[str]:
    """The advice on what to do next; none if nothing was measured."""
    agreement = subject.agreement
    kept = subject.kept
    worse = ", ".join(str(row["task"]) for row in subject.worse)
    if is_overfitted(subject.run):
        yield "Do not use it as it is: raise --lmbda, or let glocal fit choose it."
    elif agreement is None:
        if kept is not None:
            yield "It is not known whether it agrees better with people: pass --answers."
    elif subject.fit.get("status") == UNCHANGED:
        yield "It leaves the features as they are: collect more answers."
    elif agreement.change == "none":
        yield "Do not rely on it yet: collect more answers."
    elif agreement.change == "down":
        yield "Do not use it."
    elif subject.heldout == "fitted":
        yield (
            "To know what to expect, fit with --holdout 3, or hold answers out with glocal data "
            "split."
        )
    elif kept is not None and kept["value"] < MIN_KEPT_FOR_SEARCH:
        yield "Where neighbours matter, as in search, fit again with --keep 0.9."
    elif worse:
        yield f"Except for {worse}, use it: {subject.run.command}"
    else:
        yield f"Use it: {subject.run.command}"
