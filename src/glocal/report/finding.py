"""What a run found, in sentences: each is computed from its record and its rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from glocal.report.front import (
    MARGIN,
    direction,
    front_points,
    is_overfitted,
    neighbour_counts,
)
from glocal.report.runs import Run
from glocal.report.study import plural
from glocal.results import DIFFERENCE, PEOPLE
from glocal.suite.table import differences, main_rows
from glocal.transform.record import value_at

if TYPE_CHECKING:
    import pandas as pd

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


@dataclass(frozen=True)
class _Agreement:
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
    """The share of the `k` nearest among `n_images` that are kept; None where no record says it."""

    share: float
    k: int | None
    n_images: int | None


def findings(run: Run) -> list[Headline]:
    """One finding for each network of a run."""
    if run.points is not None and run.means is None:
        sentence = (
            f"The sweep is unfinished: {len(run.points)} of its points are there, and nothing is "
            "chosen yet."
        )
        return [Headline("", "", sentence, "Continue it with glocal sweep --resume.")]
    networks = run.rows["network"].unique().tolist() or [""]
    return [_finding(run, network) for network in networks]


def _finding(run: Run, network: str) -> Headline:
    arm = featured_arm(run, network)
    agreement = _agreement(run, network, arm)
    kept = _kept(run, network, arm)
    fit = _fit(run, network, arm)
    is_collapsed = any(
        arms[arm].meta.get("collapsed") for arms in _views(run, network) if arm in arms
    )
    if is_collapsed:
        sentence = (
            f"The transform maps all objects of {_name(run, network)} to one point: nothing can "
            "be told apart, and its agreement with people is that of guessing."
        )
    elif agreement is not None:
        neighbours = "" if kept is None else f", and {_keeping(kept)}"
        sentence = f"{_agreeing(run, network, arm, agreement)}{neighbours}."
    elif kept is not None:
        sentence = f"The transform of {_name(run, network)} {_keeping(kept)}."
    else:
        sentence = _comparison(run, network, arm)
    details = [*_data(run, fit), *_worse(run, network, arm)]
    if not is_collapsed:
        details += _warnings(run, agreement)
    details.append(_advice(run, network, arm, agreement, kept, is_collapsed))
    return Headline(network, arm, sentence, " ".join(filter(None, details)))


def _name(run: Run, network: str) -> str:
    """What a sentence calls a network."""
    return network or run.network or "the network"


def featured_arm(run: Run, network: str) -> str:
    """The arm that the page is about.

    It is the choice of a sweep; of a suite the arm with the best agreement among those that keep .9
    of the neighbours, or the one that keeps most if none does. If neighbours were not counted, the
    best agreement decides, and the last arm is taken if that was not measured.
    """
    if run.means is not None:
        return "chosen"
    rows = run.rows[run.rows["network"] == network]
    arms = [arm for arm in rows["transform"].unique() if arm not in (run.baseline, PEOPLE)]
    if not arms:
        return run.baseline
    points = front_points(run)
    points = points[(points["network"] == network) & points["method"].isin(arms)]
    if len(points):
        keeping = points[points["neighbours_kept"] >= MIN_KEPT]
        best = points["neighbours_kept"].idxmax()
        if len(keeping):
            best = keeping["accuracy_cosine"].idxmax()
        return str(points.loc[best, "method"])
    agreement = rows[rows["metric"].isin(_AGREEMENT) & rows["transform"].isin(arms)]
    if len(agreement):
        return str(agreement.loc[agreement["value"].idxmax(), "transform"])
    return str(arms[-1])


def _views(run: Run, network: str) -> list[Mapping[str, Any]]:
    if network in run.views:
        return [run.views[network]]
    return list(run.views.values()) if not network else []


def _fit(run: Run, network: str, arm: str) -> dict[str, Any]:
    """The record of the fit of an arm; empty if there is none."""
    for name, fit in run.fits.items():
        if run.means is not None or name in (arm, f"{network}, {arm}"):
            return fit
    return {}


def _agreement(run: Run, network: str, arm: str) -> _Agreement | None:
    """Agreement on held-out answers wherever there are some."""
    fit = _fit(run, network, arm)
    if run.is_single and run.study is None:
        recorded = _recorded_agreement(fit)
        if recorded is not None:
            return recorded
    rows = run.rows[(run.rows["network"] == network) & run.rows["metric"].isin(_AGREEMENT)]
    scores = rows.drop_duplicates(["transform", "metric"], keep="last").set_index("transform")
    if not {arm, run.baseline} <= set(scores.index):
        return None
    before = scores.loc[[run.baseline]].iloc[0]
    after = scores.loc[[arm]].iloc[0]
    gain = _gain(run, network, arm)
    low, high = (math.nan, math.nan) if gain is None else (gain["low"], gain["high"])
    return _Agreement(
        before=float(before["value"]),
        after=float(after["value"]),
        low=float(low),
        high=float(high),
        n=int(after["n"]),
        basis=_basis(run, after["split"]),
    )


def _gain(run: Run, network: str, arm: str) -> pd.Series[Any] | None:
    """The row of the paired difference in agreement."""
    rows = differences(run.rows)
    metrics = [f"{metric}{DIFFERENCE}" for metric in _AGREEMENT]
    rows = rows[(rows["network"] == network) & (rows["transform"] == arm)]
    rows = rows[rows["metric"].isin(metrics)]
    return rows.iloc[-1] if len(rows) else None


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
    heldout = value_at(fit, "holdout.heldout")
    if isinstance(heldout, Mapping) and "original_accuracy_cosine" in heldout:
        ends = [heldout.get(name) for name in ("gain_low", "gain_high")]
        low, high = (math.nan if end is None else end for end in ends)
        values = (heldout["original_accuracy_cosine"], heldout["accuracy_cosine"])
        basis = value_at(fit, "holdout.of") or "objects"
        return _Agreement(*values, low, high, heldout.get("n", 0), basis)
    expected = value_at(fit, "keep.expected")
    if isinstance(expected, Mapping) and value_at(fit, "keep.original") is not None:
        before = fit["keep"]["original"]
        after = expected["agreement"]
        margin = 2 * expected["agreement_error"]
        basis = value_at(fit, "keep.heldout") or "objects"
        gain = after - before
        return _Agreement(before, after, gain - margin, gain + margin, 0, basis)
    return None


def _kept(run: Run, network: str, arm: str) -> _Kept | None:
    """Neighbours kept, of images that the fit had not seen wherever there are some."""
    if run.means is not None:
        share = float(run.means.loc[run.means["chosen"], "neighbours_kept"].iloc[0])
        (k,) = neighbour_counts(run)
        return _Kept(share, k, _images_of_folds(run))
    if run.is_single and run.study is None:
        recorded = _recorded_kept(_fit(run, network, arm))
        if recorded is not None:
            return recorded
    rows = run.rows[(run.rows["network"] == network) & (run.rows["transform"] == arm)]
    rows = rows[rows["metric"] == "neighbours_kept"]
    if not len(rows):
        return None
    row = rows.iloc[-1]
    n_images = None if math.isnan(row["n"]) else int(row["n"])
    return _Kept(float(row["value"]), value_at(row["settings"], "k"), n_images)


def _images_of_folds(run: Run) -> int | None:
    """The mean number of images of a fold of a sweep: neighbours are among these."""
    if run.points is None or "n_images" not in run.points:
        return None
    numbers = [number for number in run.points["n_images"] if isinstance(number, int)]
    return round(sum(numbers) / len(numbers)) if numbers else None


def _recorded_kept(fit: Mapping[str, Any]) -> _Kept | None:
    """What the record of a fit says of the neighbours of images that it had not seen."""
    places = (
        ("holdout.heldout.neighbours_kept", "holdout.heldout.k", "holdout.heldout.n_images"),
        ("keep.expected.kept", "keep.k", "keep.candidates"),
    )
    for place, k, n_images in places:
        share = value_at(fit, place)
        if isinstance(share, float):
            return _Kept(share, value_at(fit, k), value_at(fit, n_images))
    return None


def _agreeing(run: Run, network: str, arm: str, agreement: _Agreement) -> str:
    """Agreement before and after, with the ceiling and what guessing gives."""
    subject = "the transform" if run.is_single or run.means is not None else arm
    basis = _BASES.get(agreement.basis, "")
    answers = f"{agreement.n:,} answers {basis}".strip() if agreement.n else f"answers {basis}"
    before = percent(agreement.before)
    change = f"up from {before}"
    if agreement.is_uncertain:
        change = f"which cannot be told from the {before} before"
    elif agreement.after < agreement.before:
        change = f"down from {before}"
    bounds = [f"guessing gives {percent(run.chance)}"]
    ceiling = _ceiling(run, network)
    if ceiling is not None:
        bounds.insert(0, f"people agree with each other in at most {percent(ceiling)}")
    if not math.isnan(agreement.low):
        gain = f"{100 * agreement.low:+.1f} to {100 * agreement.high:+.1f} points"
        bounds.append(f"95 % interval of the change {gain}")
    after = percent(agreement.after)
    return (
        f"With {subject}, {_name(run, network)} agrees with people in {after} of {answers}, "
        f"{change} ({'; '.join(bounds)})"
    )


def _ceiling(run: Run, network: str) -> float | None:
    rows = run.rows[(run.rows["network"] == network) & (run.rows["transform"] == PEOPLE)]
    rows = rows[rows["metric"] == "ceiling_majority"]
    return float(rows["value"].iloc[-1]) if len(rows) else None


def _keeping(kept: _Kept) -> str:
    number = "" if kept.k is None else f"{kept.k} "
    images = "" if kept.n_images is None else f" (among {kept.n_images:,} images)"
    return f"keeps {100 * kept.share:.0f} % of the {number}nearest neighbours of each image{images}"


def percent(share: float) -> str:
    """A fraction with one digit: ``56.2 %``."""
    return f"{100 * share:.1f} %"


def _comparison(run: Run, network: str, arm: str) -> str:
    """What tasks say, where agreement with people was not measured."""
    rows = _tasks(run, network, arm)
    groups: dict[str, list[str]] = {"better": [], "worse": [], "same": []}
    for row in rows:
        if not math.isnan(row["difference"]):
            groups[direction(row)].append(str(row["task"]))
    n_compared = sum(map(len, groups.values()))
    if not n_compared:
        number = run.rows["task"].nunique()
        return (
            f"{number} {plural('task', number)} of {_name(run, network)} were scored; nothing was "
            "compared."
        )
    parts = [f"{name} on {', '.join(groups[name])}" for name in ("better", "worse") if groups[name]]
    outcome = " and ".join(parts) or "neither better nor worse on any"
    return (
        f"Compared with {run.baseline} on {n_compared} {plural('task', n_compared)}, {arm} of "
        f"{_name(run, network)} is {outcome}."
    )


def _tasks(run: Run, network: str, arm: str) -> list[dict[Any, Any]]:
    main = main_rows(run.rows)
    main = main[(main["network"] == network) & (main["transform"] == arm)]
    return main.to_dict("records")


def _data(run: Run, fit: Mapping[str, Any]) -> Iterator[str]:
    """What was fitted to what, as far as the record says it."""
    if run.is_simulated:
        yield "These are simulated data: “people” are simulated ones."
    n_answers = fit.get("n_answers")
    if n_answers:
        n_people = fit.get("n_people") or run.record.get("n_people")
        people = f" of {n_people:,} {plural('person', n_people)}" if n_people else ""
        objects = f" about {fit['n_objects']:,} objects" if fit.get("n_objects") else ""
        local = f" and to the neighbours of {fit['n_local']:,} images" if fit.get("n_local") else ""
        yield f"It was fitted to {n_answers:,} answers{people}{objects}{local}."


def _worse(run: Run, network: str, arm: str) -> Iterator[str]:
    """What got worse, of all tasks but agreement and neighbours."""
    trivial = (*_AGREEMENT, "neighbours_kept")
    rows = [row for row in _tasks(run, network, arm) if row["metric"] not in trivial]
    rows = [row for row in rows if not math.isnan(row["difference"])]
    worse = [row for row in rows if direction(row) == "worse"]
    if worse:
        losses = [f"{row['task']} by {abs(row['difference']):.3f}" for row in worse]
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


def _advice(
    run: Run,
    network: str,
    arm: str,
    agreement: _Agreement | None,
    kept: _Kept | None,
    is_collapsed: bool,
) -> str:
    """What to do next."""
    worse = [row["task"] for row in _tasks(run, network, arm) if _is_harmed(row)]
    if is_collapsed:
        return "Do not use it: lower --lmbda, or check that answers and features belong together."
    if is_overfitted(run):
        return "Do not use it as it is: raise --lmbda, or let glocal fit choose it."
    if agreement is None and kept is not None:
        return "Whether people agree with it more is not known here: give --answers."
    if agreement is None:
        return ""
    if agreement.is_uncertain:
        return "Do not rely on it yet: collect more answers."
    if agreement.after < agreement.before:
        return "Do not use it."
    if agreement.basis == "fitted":
        return "To know what to expect, fit with --holdout 3 or hold answers out with data split."
    if kept is not None and kept.share < MIN_KEPT_FOR_SEARCH:
        return "Where neighbours matter, as in search, fit again with --keep 0.9."
    command = "glocal apply TRANSFORM FEATURES --out ALIGNED"
    if run.study is not None:
        command = "glocal fit --features FEATURES --answers EXPORT --out TRANSFORM"
    return f"Except for {', '.join(worse)}, use it: {command}" if worse else f"Use it: {command}"


def _is_harmed(row: Mapping[Any, Any]) -> bool:
    return direction(row) == "worse" and row["metric"] != "neighbours_kept"
