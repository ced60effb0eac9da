"""The numbers of the owner's page: who has answered what and how well, and what the latest fit says."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import numpy as np
from jaxtyping import Int

from glocal.collect.alone import alone
from glocal.collect.export import CANNOT_TELL, Collected
from glocal.collect.study import Study
from glocal.collect.trials import CATCH
from glocal.errors import DataError, FileError
from glocal.evaluation.ceiling import ceiling
from glocal.evaluation.statistics import mean_estimate
from glocal.evaluation.statistics.means import Estimate
from glocal.files import read_object

STATE = "state.json"
LOCK = ".lock"
RUNNING, DONE, FAILED, NEVER = "running", "done", "failed", "never"


def state(study: Study, found: Collected) -> dict[str, Any]:
    """All that is known of a study, as JSON; what is not known yet is None.

    ============  ====================================================================================
    people        for each person: trials answered of how many, the last one, median seconds, "can't tell",
                  repeats answered alike and catch trials passed, each with their number
    hours         answers in each hour
    reliability   the share of own repeats that were answered alike; `catch` the catch trials passed
    curve, …      see `fitted`
    ============  ====================================================================================
    """
    told, repeats = int(found.told.sum()), own_repeats(found)
    return {
        "title": study.title, "kind": study.settings.kind, "order": study.settings.order, "images": len(study),
        "answers": told, "cannot_tell": int((found.choice == CANNOT_TELL).sum()), "now": iso(time.time()),
        "people": _people(found, repeats, study.settings.per_person), "hours": _hours(found),
        "reliability": _reliability(found, *repeats), "ceiling": None,
        "catch": [int(found.right.sum()), len(found.right)],
        "chance": 1 / 2 if study.settings.kind == "anchor" else 1 / 3,
        **fitted(study),
    }  # fmt: skip


def fitted(study: Study) -> dict[str, Any]:
    """What the latest fit has left: `curve`, `ceiling`, `projection`, `neighbours`, `map` and `fit`, how it ended."""
    held: dict[str, Any] = {"fit": {"state": NEVER}}
    if (study.fit / STATE).is_file():
        fix = "Delete it and fit again: glocal collect fit STUDY."
        held = read_object(study.fit / STATE, what="state of the fit", fix=fix)
        fit = held.get("fit")
        if not isinstance(fit, dict) or "state" not in fit or not isinstance(fit.get("answers", 0), int):
            raise FileError(f"the state of the fit {study.fit / STATE} is damaged. {fix}")
    if held["fit"]["state"] == RUNNING:
        with alone(study.fit / LOCK) as free:
            if free:
                held["fit"] |= {"state": FAILED, "message": "It was interrupted. Start it again."}
    return held


def estimated(estimate: Estimate, n: int | None = None) -> dict[str, Any]:
    """A share with its 95 % interval."""
    low, high = estimate.interval(fraction=True)
    return {"value": estimate.mean, "low": low, "high": high} | ({} if n is None else {"n": n})


def own_repeats(found: Collected) -> tuple[Int[np.ndarray, " r"], Int[np.ndarray, " r"]]:
    """Rows that ask a person again what they answered before, and the rows of those answers; both told something."""
    row_of = {trial: row for row, trial in enumerate(found.trial.tolist())}
    again = np.flatnonzero((found.again >= 0) & found.told)
    first = np.array([row_of.get(trial, -1) for trial in found.again[again].tolist()], dtype=np.int64)
    own = (first >= 0) & found.told[first] & (found.person[first] == found.person[again])
    return again[own], first[own]


def between_people(found: Collected) -> dict[str, Any] | None:
    """The cautious bound of `glocal.evaluation.ceiling`; a person's own repeats say nothing about others."""
    keep = np.ones(len(found), dtype=bool)
    keep[own_repeats(found)[0]] = False
    try:
        bound = ceiling(found.answers().select(keep[found.told]))
    except DataError:  # nobody was asked what another one was
        return None
    one = bound.leave_one_out
    return {"value": one.value, "low": one.low, "high": one.high, "n": bound.n_triplets}


def _alike(found: Collected, again: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Whether the same image was chosen, wherever it was shown."""
    chosen = np.take_along_axis(found.items, np.maximum(found.choice, 0)[:, None], axis=1)[:, 0]
    return np.asarray(chosen[again] == chosen[first])


def _people(found: Collected, repeats: tuple[np.ndarray, np.ndarray], of: int) -> list[dict[str, Any]]:
    names, who = np.unique(found.person, return_inverse=True)
    again, first = repeats
    counted = {
        "repeats": (who[again], _alike(found, again, first)), "catch": (who[found.source == CATCH], found.right),
    }  # fmt: skip
    pairs = {
        name: np.stack(
            [np.bincount(whose[right], minlength=len(names)), np.bincount(whose, minlength=len(names))], axis=1
        )
        for name, (whose, right) in counted.items()
    }
    rows_of = np.split(np.argsort(who, kind="stable"), np.cumsum(np.bincount(who, minlength=len(names)))[:-1])
    rows = []
    for person in sorted(range(len(names)), key=lambda one: (len(names[one]), names[one])):
        mine = rows_of[person]
        rows.append(
            {
                "person": str(names[person]), "done": len(mine), "of": of, "finished": len(mine) >= of,
                "last": iso(float(found.time[mine].max())), "seconds": float(np.median(found.seconds[mine])),
                "cannot_tell": int((found.choice[mine] == CANNOT_TELL).sum()),
                **{name: counts[person].tolist() for name, counts in pairs.items()},
            }
        )  # fmt: skip
    return rows


def _hours(found: Collected) -> list[dict[str, Any]]:
    hours, counts = np.unique(found.time[found.told] // 3600, return_counts=True)
    return [
        {"hour": iso(3600 * hour), "answers": count}
        for hour, count in zip(hours.tolist(), counts.tolist(), strict=True)
    ]


def _reliability(found: Collected, again: np.ndarray, first: np.ndarray) -> dict[str, Any] | None:
    if not len(again):
        return None
    alike = _alike(found, again, first).astype(float)
    return estimated(mean_estimate(alike, found.person[again]), len(again))


def iso(seconds: float) -> str:
    """Seconds since 1970 as a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
