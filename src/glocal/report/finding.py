"""What a run found, in sentences: each is computed from its record and its rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from glocal.report.front import MARGIN, direction, front_points, is_overfitted, neighbour_counts
from glocal.report.runs import Run
from glocal.report.study import plural
from glocal.results import DIFFERENCE, PEOPLE, value_at
from glocal.suite.table import main_rows

if TYPE_CHECKING:
    import pandas as pd

    from glocal.evaluation.view import View

MIN_KEPT = 0.9
"""Share of neighbours that the arm of a suite keeps that the page is about, if one does."""
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
    """The arm of a network that the page is about, the finding, and what to know and to do."""

    network: str
    arm: str
    sentence: str
    details: str


class _Subject(NamedTuple):
    """What a finding is about: an arm of a network, its fit, the network's rows, the arm's tasks.

    `fit` is empty where no record says it; `tasks` are the `main_rows` that were compared.
    """

    run: Run
    network: str
    arm: str
    fit: Mapping[str, Any]
    rows: pd.DataFrame
    tasks: list[dict[Any, Any]]

    @property
    def name(self) -> str:
        """What a sentence calls the network."""
        return self.network or self.run.network or "the network"

    @property
    def other_tasks(self) -> list[dict[Any, Any]]:
        """All tasks but agreement and neighbours."""
        trivial = (*_AGREEMENT, "neighbours_kept")
        return [row for row in self.tasks if row["metric"] not in trivial]

    @property
    def is_stated(self) -> bool:
        """Whether the record of the fit comes before the rows: they are of answers at hand."""
        return self.run.is_single and self.run.study is None


class _Agreement(NamedTuple):
    """Agreement with people, fractions; `basis` says with which answers: a key of _BASES."""

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
    """The share of the `k` nearest among `n_images` that are kept.

    None, and NaN for the images, stand where no record says it.
    """

    share: float
    k: int | None
    n_images: float


def findings(run: Run) -> list[Headline]:
    """One finding for each network of a run."""
    if run.points is not None and run.means is None:
        sentence = (
            f"The sweep is unfinished: {len(run.points)} of its points are there, and nothing is "
            "chosen yet."
        )
        return [Headline("", "", sentence, "Continue it with glocal sweep --resume.")]
    networks = run.rows["network"].unique().tolist() or [""]
    return [_finding(_subject(run, network)) for network in networks]


def featured_views(run: Run, finding: Headline) -> Iterator[tuple[str, Mapping[str, View]]]:
    """Each network that a finding is about, with the views of its arms."""
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
            f"The transform maps all objects of {subject.name} to one point: nothing can be told "
            "apart, and its agreement with people is that of guessing."
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
    """The arm that the page is about.

    It is the choice of a sweep; of a suite the arm with the best agreement among those that keep .9
    of the neighbours, or the one that keeps most if none does. If neighbours were not counted, the
    best agreement decides, and the last arm is taken if that was not measured.
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
    """Agreement on held-out answers wherever there are some."""
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
    """Which answers the rows of a run are about."""
    if run.means is not None:
        return str(run.choice.get("heldout", "objects"))
    if run.study is not None:
        return "questions"
    if run.is_single:
        return {True: "fitted", False: "heldout", None: ""}[run.record.get("seen")]
    return "objects" if str(split).startswith("fold ") else ""


def _recorded_agreement(fit: Mapping[str, Any]) -> _Agreement | None:
    """What the record of a fit says of answers that it had not seen."""
    heldout = value_at(fit, "holdout.heldout") or {}
    before = heldout.get("original_accuracy_cosine")
    after = heldout.get("accuracy_cosine")
    if before is not None and after is not None:
        low = heldout.get("gain_low")
        high = heldout.get("gain_high")
        if low is None or high is None:
            low = high = math.nan
        basis = value_at(fit, "holdout.of") or "objects"
        return _Agreement(before, after, low, high, heldout.get("n") or 0, basis)
    before = value_at(fit, "keep.original")
    after = value_at(fit, "keep.expected.agreement")
    error = value_at(fit, "keep.expected.agreement_error")
    if before is None or after is None:
        return None
    gain = after - before
    margin = math.nan if error is None else 2 * error
    basis = value_at(fit, "keep.heldout") or "objects"
    return _Agreement(before, after, gain - margin, gain + margin, 0, basis)


def _kept(subject: _Subject) -> _Kept | None:
    """Neighbours kept, of images that the fit had not seen wherever there are some."""
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
    """What the record of a fit says of the neighbours of images that it had not seen."""
    places = (
        ("holdout.heldout.neighbours_kept", "holdout.heldout.k", "holdout.heldout.n_images"),
        ("keep.expected.kept", "keep.k", "keep.candidates"),
    )
    for place, k, n_images in places:
        share = value_at(fit, place)
        if isinstance(share, float):
            return _Kept(share, value_at(fit, k), value_at(fit, n_images) or math.nan)
    return None


def _agreeing(subject: _Subject, agreement: _Agreement) -> str:
    """Agreement before and after, with the ceiling and what guessing gives."""
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
    """What tasks say, where agreement with people was not measured."""
    groups: dict[str, list[str]] = {"better": [], "worse": [], "same": []}
    for row in subject.tasks:
        groups[direction(row)].append(str(row["task"]))
    n_compared = sum(map(len, groups.values()))
    if not n_compared:
        number = subject.run.rows["task"].nunique()
        return (
            f"{number} {plural('task', number)} of {subject.name} were scored; nothing was "
            "compared."
        )
    parts = [f"{name} on {', '.join(groups[name])}" for name in ("better", "worse") if groups[name]]
    outcome = " and ".join(parts) or "neither better nor worse on any"
    return (
        f"Compared with {subject.run.baseline} on {n_compared} {plural('task', n_compared)}, "
        f"{subject.arm} of {subject.name} is {outcome}."
    )


def _data(subject: _Subject) -> Iterator[str]:
    """What was fitted to what, as far as the record says it."""
    fit = subject.fit
    if subject.run.is_simulated:
        yield "These are simulated data: “people” are simulated ones."
    n_answers = fit.get("n_answers")
    if n_answers:
        n_people = fit.get("n_people") or subject.run.record.get("n_people")
        people = f" of {n_people:,} {plural('person', n_people)}" if n_people else ""
        objects = f" about {fit['n_objects']:,} objects" if fit.get("n_objects") else ""
        local = f" and to the neighbours of {fit['n_local']:,} images" if fit.get("n_local") else ""
        yield f"It was fitted to {n_answers:,} answers{people}{objects}{local}."


def _worse(subject: _Subject) -> Iterator[str]:
    """What got worse, of all tasks but agreement and neighbours."""
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
        yield f"Nothing else got worse by more than {MARGIN} ({number} {plural('task', number)})."
    else:
        yield "What it does to other tasks was not measured."


def _warnings(run: Run, agreement: _Agreement | None) -> Iterator[str]:
    from glocal.aligner.fitting import MIN_HELDOUT_ANSWERS  # with the solver

    if is_overfitted(run):
        yield "It is overfitted: its loss on held-out answers is above that of the features alone."
    if agreement is None:
        return
    if agreement.basis == "fitted":
        yield "Agreement with new answers is lower."
    elif 0 < agreement.n < MIN_HELDOUT_ANSWERS:
        yield f"{agreement.n} held-out answers are too few to be sure of a small gain."


def _advice(subject: _Subject, agreement: _Agreement | None, kept: _Kept | None) -> str:
    """What to do next."""
    if is_overfitted(subject.run):
        return "Do not use it as it is: raise --lmbda, or let glocal fit choose it."
    if agreement is None:
        if kept is None:
            return ""
        return "Whether people agree with it more is not known here: give --answers."
    if agreement.is_uncertain:
        return "Do not rely on it yet: collect more answers."
    if agreement.after < agreement.before:
        return "Do not use it."
    if agreement.basis == "fitted":
        return "To know what to expect, fit with --holdout 3 or hold answers out with data split."
    if kept is not None and kept.share < MIN_KEPT_FOR_SEARCH:
        return "Where neighbours matter, as in search, fit again with --keep 0.9."
    command = "glocal apply TRANSFORM FEATURES --out ALIGNED"
    if subject.run.study is not None:
        command = "glocal fit --features FEATURES --answers EXPORT --out TRANSFORM"
    worse = [row["task"] for row in subject.other_tasks if direction(row) == "worse"]
    return f"Except for {', '.join(worse)}, use it: {command}" if worse else f"Use it: {command}"
