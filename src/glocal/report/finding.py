"""The findings of a run in sentences, each computed from its rows of scores."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from glocal.evaluation.agreement import ceiling_in_words
from glocal.report.front import direction, front_points, is_overfitted, warnings_of
from glocal.report.runs import Run
from glocal.results import UNCHANGED, value_at
from glocal.scores import DIFFERENCE, PEOPLE
from glocal.suite.table import main_rows

if TYPE_CHECKING:
    import pandas as pd

    from glocal.evaluation.view import View

MIN_KEPT = 0.9
"""Smallest share of neighbours that the featured arm of a suite keeps, if any arm keeps as many."""
MIN_KEPT_FOR_SEARCH = 0.8
FEW_ANSWERS = 5_000
"""If a fit to fewer answers has no certain gain, it is too early to tell."""
ANSWERS = {
    "objects": "about objects that the fit had not seen",
    "questions": "to questions that the fit had not seen, about the same objects",
    "other": "that the fit had not seen",
}
"""The answers that score a run, in words, by the field `heldout` of the run."""
ADVICE = {
    "unfinished": "Continue it with glocal sweep --resume.",
    "collapsed": "Do not use it: lower --lmbda, or check that answers and features belong "
    "together.",
    "overfitted": "Do not use it as it is: raise --lmbda, or let glocal fit choose it.",
    "not compared": "",
    "not measured": "For its agreement with people, pass --answers that are new.",
    "unchanged": "It leaves the features as they are. Collect more answers.",
    "uncertain": "Do not rely on it yet. Collect more answers.",
    "worse": "Do not use it.",
    "use, not for search": "Where neighbours matter, as in search, fit again with --keep 0.9. "
    "Elsewhere, use it:",
    "use, with exceptions": "Except for {worse}, use it:",
    "use": "Use it:",
}
"""The advice for each choice; a command follows the choices to use an arm."""
_AGREEMENT = ("accuracy_cosine", "accuracy_dot")


@dataclass(frozen=True)
class Headline:
    """The finding about the featured arm of a network, the advice with its command, and details.

    `choice` is a key of `ADVICE`. `warnings` are those about the arm or about the whole run.
    """

    network: str
    arm: str
    choice: str
    sentence: str
    advice: str
    command: str = ""
    details: str = ""
    warnings: tuple[str, ...] = ()


def findings(run: Run) -> list[Headline]:
    """Return one finding for each network of a run."""
    if run.n_unfinished:
        sentence = (
            f"The sweep is unfinished: {run.n_unfinished} of its points are computed, and nothing "
            "is chosen yet."
        )
        return [Headline("", "", "unfinished", sentence, ADVICE["unfinished"])]
    networks = run.rows["network"].unique().tolist() or [""]
    return [_headline(_Subject(run, network, featured_arm(run, network))) for network in networks]


def plural(noun: str, number: int) -> str:
    """A noun in the singular if the number is 1, else in the plural."""
    return noun if number == 1 else f"{noun}s"


def featured_views(run: Run, network: str, arm: str) -> Iterator[tuple[str, Mapping[str, View]]]:
    """Yield each network with a view of the arm, with the views of its arms; "" is any network."""
    for name, views in run.views.items():
        if network in ("", name) and arm in views:
            yield name, views


def featured_arm(run: Run, network: str) -> str:
    """Return the arm that the page features.

    For a transform or a sweep, it is the transform or the choice. For a suite, it is the arm with
    the best agreement among those that keep .9 of the neighbours, or the arm that keeps most if
    none keeps so many. Without neighbours kept, it is the arm with the best agreement, and without
    agreement the best arm of the first task.
    """
    if run.featured:
        return run.featured
    rows = main_rows(run.rows)
    rows = rows[(rows["network"] == network) & (rows["transform"] != run.baseline)]
    points = front_points(run)
    points = points[(points["network"] == network) & points["method"].isin(rows["transform"])]
    if len(points):
        keeping = points[points["kept"] >= MIN_KEPT]
        best = points["kept"].idxmax()
        if len(keeping):
            best = keeping["agreement"].idxmax()
        return str(points.loc[best, "method"])
    rows = rows[rows["value"].notna()]
    if not len(rows):
        return run.baseline
    agreement = rows[rows["metric"].isin(_AGREEMENT)]
    rows = agreement if len(agreement) else rows[rows["task"] == rows["task"].iloc[0]]
    return str(rows.loc[rows["value"].idxmax(), "transform"])


class _Agreement(NamedTuple):
    """Agreement with n answers before and after, and the interval of the gain, NaN if unknown.

    The `change` is up, down, or none if the interval contains 0.
    """

    before: float
    after: float
    low: float
    high: float
    n: int
    change: str


@dataclass(frozen=True, eq=False)
class _Subject:
    """The subject of a finding: an arm of a network."""

    run: Run
    network: str
    arm: str

    @property
    def name(self) -> str:
        """The network in a sentence."""
        return f"the network {self.network or self.run.network}".rstrip()

    def of_arm(self, mapping: Mapping[str, Any]) -> Any:
        """The value for the arm in the fits or the commands of the run; None if there is none."""
        return mapping.get(self.arm) or mapping.get(f"{self.network}, {self.arm}")

    @property
    def fit(self) -> Mapping[str, Any]:
        """The record of the fit, empty if there is none."""
        return self.of_arm(self.run.fits) or {}

    @property
    def is_collapsed(self) -> bool:
        """Whether the arm maps all objects to one point."""
        views = featured_views(self.run, self.network, self.arm)
        return any(arms[self.arm].meta.get("collapsed") for _, arms in views)

    @cached_property
    def tasks(self) -> list[dict[Any, Any]]:
        """The main rows that were compared, except agreement and neighbours kept."""
        main = main_rows(self.run.rows)
        is_other = ~main["metric"].isin((*_AGREEMENT, "neighbours_kept"))
        is_arm = (main["network"] == self.network) & (main["transform"] == self.arm)
        return main[is_arm & is_other & main["p_corrected"].notna()].to_dict("records")

    @property
    def worse(self) -> str:
        """The tasks that got worse, listed."""
        return ", ".join(str(row["task"]) for row in self.tasks if direction(row) == "worse")

    def rows(self, arm: str) -> pd.DataFrame:
        """The rows of an arm with a value."""
        rows = self.run.rows
        is_arm = (rows["network"] == self.network) & (rows["transform"] == arm)
        return rows[is_arm & rows["value"].notna()]

    def row(self, arm: str, *metrics: str) -> pd.Series[Any] | None:
        """The last row of an arm with one of these metrics and a value."""
        rows = self.rows(arm)
        rows = rows[rows["metric"].isin(metrics)]
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
        change = "up" if after["value"] > before["value"] else "down"
        if low <= 0 <= high or after["value"] == before["value"]:
            change = "none"
        return _Agreement(before["value"], after["value"], low, high, int(after["n"]), change)

    @cached_property
    def heldout(self) -> str:
        """The answers that score the arm, a key of `ANSWERS`, or empty."""
        is_fold = self.rows(self.arm)["split"].str.startswith("fold ").any()
        return "objects" if is_fold else self.run.heldout

    @cached_property
    def kept(self) -> pd.Series[Any] | None:
        """The row of the neighbours kept; None if they were not counted."""
        return self.row(self.arm, "neighbours_kept")

    @property
    def warnings(self) -> Iterator[str]:
        """The warnings about the arm or about the whole run."""
        for network, arm, sentence in warnings_of(self.run):
            if arm in ("", self.arm) and (not self.network or network in ("", self.network)):
                yield sentence


def _headline(subject: _Subject) -> Headline:
    choice = _choice(subject)
    command = ""
    if choice.startswith("use"):
        command = (
            subject.of_arm(subject.run.commands) or "glocal apply TRANSFORM FEATURES --out OUT"
        )
    return Headline(
        subject.network,
        subject.arm,
        choice,
        _sentence(subject),
        ADVICE[choice].format(worse=subject.worse),
        command,
        " ".join(_details(subject)),
        tuple(subject.warnings),
    )


def _sentence(subject: _Subject) -> str:
    agreement = subject.agreement
    kept = "" if subject.kept is None else _keeping(subject, subject.kept)
    if subject.is_collapsed:
        return (
            f"The transform maps all objects of {subject.name} to one point: they cannot be told "
            "apart, and agreement with people is that of guessing."
        )
    if agreement is None and kept and not subject.tasks:
        return f"The transform of {subject.name} {kept}."
    if agreement is None:
        return _comparison(subject) + (kept and f" It {kept}.")
    arm = "the transform" if subject.run.featured else subject.arm
    sentence = f"{_agreeing(subject, agreement)}{kept and f', and {kept}'}."
    if agreement.change != "none":
        return f"With {arm}, {sentence}"
    is_early = (subject.fit.get("n_answers") or agreement.n) < FEW_ANSWERS
    opening = "It is too early to tell" if is_early else "No gain is certain"
    return f"{opening}: with {arm}, {sentence}"


def _agreeing(subject: _Subject, agreement: _Agreement) -> str:
    """The clause on agreement before and after, with that of guessing."""
    number = f"{agreement.n:,} " if agreement.n else ""
    answers = f"{number}answers {ANSWERS.get(subject.heldout, '')}".strip()
    before = f"{100 * agreement.before:.1f} %"
    changes = {
        "none": f"which cannot be told from the {before} before",
        "up": f"up from {before}",
        "down": f"down from {before}",
    }
    bounds = [f"guessing gives {100 * subject.run.chance:.1f} %"]
    if not math.isnan(agreement.low):
        gain = f"{100 * agreement.low:+.1f} to {100 * agreement.high:+.1f} points"
        bounds.insert(0, f"95 % interval of the change {gain}")
    return (
        f"{subject.name} agrees with people in {100 * agreement.after:.1f} % of {answers}, "
        f"{changes[agreement.change]} ({'; '.join(bounds)})"
    )


def _keeping(subject: _Subject, kept: pd.Series[Any]) -> str:
    """The neighbours kept; of centred features, those of the raw features too."""
    k = value_at(kept["settings"], "k")
    number = "" if k is None else f"{k} "
    raw = subject.row(subject.arm, "neighbours_kept_raw")
    of_raw = ""
    if raw is not None:
        of_raw = f" in the centred features, {100 * raw['value']:.1f} % in the raw ones"
    images = f" (among {kept['n']:,.0f} images)" if kept["n"] else ""
    share = f"{100 * kept['value']:.1f} %"
    return f"keeps {share} of the {number}nearest neighbours of each image{of_raw}{images}"


def _comparison(subject: _Subject) -> str:
    """The sentence on tasks, for a run in which agreement with people was not measured."""
    if not subject.tasks:
        return "There are scores, but nothing was compared."
    outcomes = []
    for outcome in ("better", "worse"):
        tasks = [row["task"] for row in subject.tasks if direction(row) == outcome]
        if tasks:
            outcomes.append(f"{outcome} on {', '.join(tasks)}")
    n_compared = len(subject.tasks)
    return (
        f"Compared with {subject.run.baseline} on {n_compared} {plural('task', n_compared)}, "
        f"{subject.arm} is {' and '.join(outcomes) or 'neither certainly better nor worse'}."
    )


def _choice(subject: _Subject) -> str:
    """The choice to make, a key of `ADVICE`."""
    agreement = subject.agreement
    if subject.is_collapsed:
        return "collapsed"
    if is_overfitted(subject.run):
        return "overfitted"
    if agreement is None:
        is_known = subject.kept is None or subject.tasks
        return "not compared" if is_known else "not measured"
    if subject.fit.get("status") == UNCHANGED:
        return "unchanged"
    if agreement.change == "none":
        return "uncertain"
    if agreement.change == "down":
        return "worse"
    if subject.kept is not None and subject.kept["value"] < MIN_KEPT_FOR_SEARCH:
        return "use, not for search"
    return "use, with exceptions" if subject.worse else "use"


def _details(subject: _Subject) -> Iterator[str]:
    """Sentences on the data of the fit, on the ceiling and on other tasks."""
    fit = subject.fit
    if value_at(subject.run.record, "plan.simulated"):
        yield "These are simulated data: the “people” are simulated too."
    n_answers = fit.get("n_answers")
    if n_answers:
        n_people = fit.get("n_people")
        people = f" from {n_people:,} {plural('participant', n_people)}" if n_people else ""
        objects = f" about {fit['n_objects']:,} objects" if fit.get("n_objects") else ""
        local = f" and to the neighbours of {fit['n_local']:,} images" if fit.get("n_local") else ""
        yield f"The transform was fitted to {n_answers:,} answers{people}{objects}{local}."
    if ceiling := ceiling_in_words(subject.rows(PEOPLE).to_dict("records")):
        yield ceiling
    if not subject.tasks:
        yield "Its effect on other tasks was not measured."
