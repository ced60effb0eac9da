"""The findings of a run in sentences, each computed from its record and its scores."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from glocal.report.front import MARGIN, direction, front_points, is_overfitted, neighbour_counts
from glocal.report.runs import Run
from glocal.results import DIFFERENCE, PEOPLE, UNCHANGED, value_at
from glocal.suite.table import main_rows

if TYPE_CHECKING:
    import pandas as pd

    from glocal.evaluation.view import View

MIN_KEPT = 0.9
"""Smallest share of neighbours that the featured arm of a suite keeps, if any arm keeps as many."""
MIN_KEPT_FOR_SEARCH = 0.8
_AGREEMENT = ("accuracy_cosine", "accuracy_dot")
_BASES = {
    "objects": "about objects that the fit had not seen",
    "questions": "to questions that the fit had not seen, about the same objects",
    "fitted": "that the transform was fitted to",
    "heldout": "that the fit had not seen",
    "": "",
}


@dataclass(frozen=True)
class Headline:
    """The featured arm of a network, the finding about it in a sentence, and details and advice."""

    network: str
    arm: str
    sentence: str
    details: str


class _Subject(NamedTuple):
    """The subject of a finding: an arm of a network, with its fit and its scores.

    `fit` is the record of the fit, empty if there is none. `rows` are all scores of the network,
    and `tasks` those `main_rows` of the arm that were compared with the baseline.
    """

    run: Run
    network: str
    arm: str
    fit: Mapping[str, Any]
    rows: pd.DataFrame
    tasks: list[dict[Any, Any]]

    @property
    def name(self) -> str:
        """The name of the network in a sentence."""
        return self.network or self.run.network or "the network"

    @property
    def other_tasks(self) -> list[dict[Any, Any]]:
        """All tasks except agreement and neighbours kept."""
        trivial = (*_AGREEMENT, "neighbours_kept")
        return [row for row in self.tasks if row["metric"] not in trivial]

    @property
    def is_stated(self) -> bool:
        """Whether the record of the fit counts before the rows, whose answers it may have seen."""
        return self.run.is_single and self.run.record.get("basis") != "questions"


class _Agreement(NamedTuple):
    """Agreement with people, before and after, and the interval of the gain, as fractions.

    `n` is the number of answers, 0 if it is not known. `basis`, a key of _BASES, says which answers
    they are.
    """

    before: float
    after: float
    low: float
    high: float
    n: int
    basis: str

    @property
    def is_uncertain(self) -> bool:
        """Whether nothing changed, or the interval of the gain, if there is one, contains 0."""
        return self.low <= 0 <= self.high or self.after == self.before


class _Kept(NamedTuple):
    """The share of the `k` nearest neighbours among `n_images` that is kept.

    `k` is None, and `n_images` NaN, if no record states it.
    """

    share: float
    k: int | None
    n_images: float


def findings(run: Run) -> list[Headline]:
    """Return one finding for each network of a run."""
    if run.points is not None and run.means is None:
        sentence = (
            f"The sweep is unfinished: {len(run.points)} of its points are computed, and nothing "
            "is chosen yet."
        )
        return [Headline("", "", sentence, "Continue it with glocal sweep --resume.")]
    networks = run.rows["network"].unique().tolist() or [""]
    return [_finding(_subject(run, network)) for network in networks]


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


def _subject(run: Run, network: str) -> _Subject:
    arm = featured_arm(run, network)
    names = run.fits if run.means is not None else (arm, f"{network}, {arm}")
    fits = [run.fits[name] for name in names if name in run.fits]
    main = main_rows(run.rows)
    tasks = main[(main["network"] == network) & (main["transform"] == arm)]
    tasks = tasks[tasks["difference"].notna()]
    rows = run.rows[run.rows["network"] == network]
    return _Subject(run, network, arm, fits[0] if fits else {}, rows, tasks.to_dict("records"))


def _finding(subject: _Subject) -> Headline:
    agreement = _agreement(subject)
    kept = _kept(subject)
    headline = Headline(subject.network, subject.arm, "", "")
    shown = featured_views(subject.run, headline)
    is_collapsed = any(views[subject.arm].meta.get("collapsed") for _, views in shown)
    if is_collapsed:
        sentence = (
            f"The transform maps all objects of {subject.name} to one point: they cannot be told "
            "apart, and agreement with people is that of guessing."
        )
    elif agreement is not None:
        neighbours = "" if kept is None else f", and {_keeping(kept)}"
        sentence = f"{_agreeing(subject, agreement)}{neighbours}."
    elif kept is not None:
        sentence = f"The transform of {subject.name} {_keeping(kept)}."
    else:
        sentence = _comparison(subject)
    details = [*_data(subject), *_worse(subject)]
    if is_collapsed:
        advice = "Do not use it: lower --lmbda, or check that answers and features belong together."
    else:
        details += _warnings(subject.run, agreement)
        advice = _advice(subject, agreement, kept)
    return replace(headline, sentence=sentence, details=" ".join(filter(None, [*details, advice])))


def featured_arm(run: Run, network: str) -> str:
    """Return the arm that the page features.

    For a sweep, it is the choice. For a suite, it is the arm with the best agreement among those
    that keep .9 of the neighbours, or the arm that keeps most if none keeps so many. Without
    neighbours kept, it is the arm with the best agreement, and without agreement the last arm.
    """
    if run.means is not None:
        return "chosen"
    rows = run.rows[run.rows["network"] == network]
    rows = rows[~rows["transform"].isin((run.baseline, PEOPLE))]
    points = front_points(run)
    points = points[(points["network"] == network) & points["method"].isin(rows["transform"])]
    if len(points):
        keeping = points[points["neighbours_kept"] >= MIN_KEPT]
        best = points["neighbours_kept"].idxmax()
        if len(keeping):
            best = keeping["accuracy_cosine"].idxmax()
        return str(points.loc[best, "method"])
    agreement = rows[rows["metric"].isin(_AGREEMENT) & rows["value"].notna()]
    if len(agreement):
        return str(agreement.loc[agreement["value"].idxmax(), "transform"])
    return str(rows["transform"].drop_duplicates().iloc[-1]) if len(rows) else run.baseline


def _agreement(subject: _Subject) -> _Agreement | None:
    """Agreement, on held-out answers if there are any; None if it was not measured."""
    recorded = _recorded_agreement(subject.fit) if subject.is_stated else None
    if recorded is not None:
        return recorded
    rows = subject.rows
    scores = rows[rows["metric"].isin(_AGREEMENT)]
    scores = scores.drop_duplicates("transform", keep="last").set_index("transform")
    if not {subject.arm, subject.run.baseline} <= set(scores.index):
        return None
    before = scores.loc[subject.run.baseline]
    after = scores.loc[subject.arm]
    if math.isnan(after["value"] - before["value"]):
        return None
    is_gain = rows["metric"] == after["metric"] + DIFFERENCE
    gains = rows[is_gain & (rows["transform"] == subject.arm)]
    ends = gains[["low", "high"]].to_numpy().tolist()
    low, high = ends[-1] if ends else (math.nan, math.nan)
    basis = _basis(subject.run, after["split"])
    return _Agreement(
        float(before["value"]), float(after["value"]), low, high, int(after["n"]), basis
    )


def _basis(run: Run, split: str) -> str:
    """The answers by which the rows of a run were computed, as a key of _BASES."""
    if run.means is not None:
        return str(run.choice.get("heldout", "objects"))
    if run.is_single:
        return str(run.record.get("basis", ""))
    return "objects" if str(split).startswith("fold ") else ""


def _recorded_agreement(fit: Mapping[str, Any]) -> _Agreement | None:
    """The agreement on held-out answers in the record of a fit, if it has one."""
    heldout = value_at(fit, "heldout")
    if heldout is None:
        return None
    scores = (heldout["original"], heldout["agreement"], *_gain_ends(heldout))
    return _Agreement(*scores, heldout["n"], heldout["of"])


def _gain_ends(scores: Mapping[str, Any]) -> tuple[float, float]:
    """The 95 % interval of the paired gain; NaN if the record lacks one of its ends."""
    low = scores.get("gain_low")
    high = scores.get("gain_high")
    if low is None or high is None:
        return math.nan, math.nan
    return low, high


def _kept(subject: _Subject) -> _Kept | None:
    """Neighbours kept, of held-out images if there are any; None if they were not counted."""
    import pandas as pd

    run = subject.run
    if run.means is not None and run.points is not None:
        (share,) = run.means.loc[run.means["chosen"], "neighbours_kept"]
        (k,) = neighbour_counts(run)
        n_images = run.points.reindex(columns=["n_images"])["n_images"]  # of each fold
        return _Kept(share, k, pd.to_numeric(n_images, errors="coerce").mean())
    recorded = _recorded_kept(subject.fit) if subject.is_stated else None
    if recorded is not None:
        return recorded
    rows = subject.rows[subject.rows["transform"] == subject.arm]
    rows = rows[rows["metric"] == "neighbours_kept"]
    if not len(rows) or math.isnan(rows.iloc[-1]["value"]):
        return None
    row = rows.iloc[-1]
    return _Kept(row["value"], value_at(row["settings"], "k"), row["n"])


def _recorded_kept(fit: Mapping[str, Any]) -> _Kept | None:
    """The neighbours kept of held-out images in the record of a fit, if it has them."""
    heldout = value_at(fit, "heldout") or {}
    if heldout.get("kept") is None:
        return None
    return _Kept(heldout["kept"], heldout["k"], heldout["n_images"])


def _agreeing(subject: _Subject, agreement: _Agreement) -> str:
    """The sentence on agreement before and after, with the ceiling and that of guessing."""
    run = subject.run
    arm = "the transform" if run.is_single or run.means is not None else subject.arm
    basis = _BASES.get(agreement.basis, "")
    answers = f"{agreement.n:,} answers {basis}".strip() if agreement.n else f"answers {basis}"
    before = f"{100 * agreement.before:.1f} %"
    change = f"up from {before}"
    if agreement.is_uncertain:
        change = f"which cannot be told from the {before} before"
    elif agreement.after < agreement.before:
        change = f"down from {before}"
    is_ceiling = subject.rows["metric"] == "ceiling_majority"
    ceilings = subject.rows.loc[is_ceiling & (subject.rows["transform"] == PEOPLE), "value"]
    bounds = [
        f"people agree with each other in at most {100 * ceiling:.1f} %"
        for ceiling in ceilings.tail(1)
    ]
    bounds.append(f"guessing gives {100 * run.chance:.1f} %")
    if not math.isnan(agreement.low):
        gain = f"{100 * agreement.low:+.1f} to {100 * agreement.high:+.1f} points"
        bounds.append(f"95 % interval of the change {gain}")
    return (
        f"With {arm}, {subject.name} agrees with people in {100 * agreement.after:.1f} % of "
        f"{answers}, {change} ({'; '.join(bounds)})"
    )


def _keeping(kept: _Kept) -> str:
    number = "" if kept.k is None else f"{kept.k} "
    images = "" if math.isnan(kept.n_images) else f" (among {kept.n_images:,.0f} images)"
    return f"keeps {100 * kept.share:.0f} % of the {number}nearest neighbours of each image{images}"


def _comparison(subject: _Subject) -> str:
    """The sentence on tasks, for a run in which agreement with people was not measured."""
    groups: dict[str, list[str]] = {"better": [], "worse": [], "same": []}
    for row in subject.tasks:
        groups[direction(row)].append(str(row["task"]))
    n_compared = sum(map(len, groups.values()))
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
    rows = subject.other_tasks
    losses = [
        f"{row['task']} by {abs(row['difference']):.3f}"
        for row in rows
        if direction(row) == "worse"
    ]
    if losses:
        yield f"It got worse on {', '.join(losses)}."
    elif rows:
        number = len(rows)
        scored = f"{number} {plural('task', number)}"
        yield f"Nothing else is known to have got worse by more than {MARGIN} ({scored})."
    else:
        yield "Its effect on other tasks was not measured."


def _warnings(run: Run, agreement: _Agreement | None) -> Iterator[str]:
    from glocal.aligner.fitting import MIN_HELDOUT_ANSWERS  # loads the solver

    if is_overfitted(run):
        yield "It is overfitted: its loss on held-out answers is above that of the features alone."
    if agreement is None:
        return
    if agreement.basis == "fitted":
        yield "Expect lower agreement with new answers."
    elif 0 < agreement.n < MIN_HELDOUT_ANSWERS:
        yield f"{agreement.n} held-out answers are too few to be sure of a small gain."


def _advice(subject: _Subject, agreement: _Agreement | None, kept: _Kept | None) -> str:
    """The advice on what to do next; empty if nothing was measured."""
    if is_overfitted(subject.run):
        return "Do not use it as it is: raise --lmbda, or let glocal fit choose it."
    if agreement is None:
        if kept is None:
            return ""
        return "It is not known whether it agrees better with people: pass --answers."
    if subject.fit.get("status") == UNCHANGED:
        return "It leaves the features as they are: collect more answers."
    if agreement.is_uncertain:
        return "Do not rely on it yet: collect more answers."
    if agreement.after < agreement.before:
        return "Do not use it."
    if agreement.basis == "fitted":
        return (
            "To know what to expect, fit with --holdout 3, or hold answers out with glocal data "
            "split."
        )
    if kept is not None and kept.share < MIN_KEPT_FOR_SEARCH:
        return "Where neighbours matter, as in search, fit again with --keep 0.9."
    command = subject.run.command
    worse = [row["task"] for row in subject.other_tasks if direction(row) == "worse"]
    return f"Except for {', '.join(worse)}, use it: {command}" if worse else f"Use it: {command}"
