"""The verdict: what a run found, in two or three sentences whose numbers are those of its rows and means."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal.report.fronts import Front, fronts
from glocal.report.loading import Run
from glocal.report.words import AGREEMENT, KEPT, LOWER, count_words, counted, decimals, listed, metric_words, span, stay
from glocal.results import DIFFERENCE
from glocal.suite.table import main_rows

if TYPE_CHECKING:
    import pandas as pd

MARGIN = 0.01  # an effect on a task that is smaller is called none, however certain its sign
_K = 10  # neighbours that a sweep looks at
_ARMS = 4  # that a sentence names
_TASKS = 3


def verdict(run: Run) -> list[str]:
    """What was found of agreement, of neighbours and of every other task; then what the fronts show.

    An effect counts if it is larger than `MARGIN` and p < 0.05 after correction. Of several networks the range is told.
    """
    main = main_rows(run.rows)
    main = main[main["value"].notna()]
    told = [*_agreement(run, main), *_neighbours(run, main), *_tasks(run, main)]
    if not told and len(main):
        told = [_values(main)]
    return [*told, *_fronts(fronts(run))]


def direction(row: Mapping[Any, Any]) -> str:
    """What became of a task beside the baseline: ``better``, ``worse``, ``same``, or ``undecided``."""
    value = row["difference"]
    if abs(value) <= MARGIN:
        return "same"
    if math.isnan(value) or not row["p_holm"] < 0.05:
        return "undecided"
    return "better" if (value > 0) != (str(row["metric"]).removesuffix(DIFFERENCE) in LOWER) else "worse"


def lead(run: Run, arms: Sequence[str], value: Mapping[str, float]) -> str:
    """The arm that a verdict is about: glocal if there is one, else the one with the largest value."""
    plans = [suite["plan"]["arms"] for suite in run.suites.values()]
    glocal = [arm for arm in arms if arm == "glocal" or any(_method(plan, arm) == "glocal" for plan in plans)]
    return max(glocal or arms, key=lambda arm: value[arm])


def _method(plan: Mapping[str, Any], arm: str) -> str | None:
    settings = plan.get(arm)
    return settings.get("method") if isinstance(settings, Mapping) else None


def _agreement(run: Run, main: pd.DataFrame) -> Iterator[str]:
    rows = _first_task(main[main["metric"].isin(AGREEMENT)])
    if not len(rows):
        return
    answers = "new answers" if set(rows["split"]) <= {"heldout", "all folds"} else "the answers"
    by_network, arms, before = _by_network(rows, run.baseline)
    if not arms:
        yield f"`{run.baseline}` agrees with people on {_span(before.values())} of {answers}."
    elif len(by_network) > 1:
        arm = _lead(run, by_network, arms)
        values = {network: found[arm] for network, found in by_network.items() if arm in found}
        then = ""
        if both := [network for network in values if network in before]:
            gains = [decimals(values[network] - before[network], signed=True) for network in both]
            then = f", `{run.baseline}` on {_span(before.values())}; the differences are {span(gains)}"
        number = counted(len(values), "network")
        yield f"On {number} `{arm}` agrees with people on {_span(values.values())} of {answers}{then}."
    else:
        (found,) = by_network.values()
        told = _in_order(run, arms, found)
        first, *others = told
        parts = [f"`{first}` agrees with people on {decimals(found[first])} of {answers}"]
        parts += [f"`{arm}` on {decimals(found[arm])}" for arm in others]
        if len(told) < len(arms):
            rest = max(found[arm] for arm in arms if arm not in told)
            parts.append(f"{counted(len(arms) - len(told), 'other arm')} on at most {decimals(rest)}")
        if before:
            parts.append(f"`{run.baseline}` on {_span(before.values())}")
        yield f"{listed(parts)}."


def _neighbours(run: Run, main: pd.DataFrame) -> Iterator[str]:
    rows = _first_task(main[main["metric"] == KEPT])
    by_network, arms, _ = _by_network(rows, run.baseline)
    if not arms:
        return
    k = rows["settings"].iloc[0].get("k", _K)  # one in all rows of a task
    k = k if type(k) is int and k > 0 else _K
    begin = f"Of each image's {count_words(k)} nearest neighbours"
    if len(by_network) > 1:
        arm = _lead(run, by_network, arms)
        kept = [stay(found[arm], k) for found in by_network.values() if arm in found]
        yield f"{begin} {span(kept)} stay with `{arm}`."
    else:
        (found,) = by_network.values()
        told = _in_order(run, arms, found)
        first, *others = told
        parts = [f"{stay(found[first], k)} stay with `{first}`", *(f"{stay(found[a], k)} with `{a}`" for a in others)]
        yield f"{begin} {listed(parts)}."


def _tasks(run: Run, main: pd.DataFrame) -> Iterator[str]:
    """What became of every task that is neither agreement nor neighbours, beside the baseline."""
    rows = main[~main["metric"].isin((*AGREEMENT, KEPT)) & main["difference"].notna()]
    if not len(rows):
        return
    several = rows["network"].nunique() > 1
    if several:
        gains = rows.groupby("transform")["difference"].mean().to_dict()
        arm = lead(run, list(gains), gains)
        rows = rows[rows["transform"] == arm]
    where = "network" if several else "transform"
    changed: list[tuple[float, str]] = []
    still = []
    for task, found in rows.groupby("task", sort=False):
        of = [(direction(row), row) for row in found.to_dict("records")]
        if all(which == "same" for which, _ in of):
            still.append(str(task))
            continue
        words = []
        for wanted in ("better", "worse", "undecided"):
            hit = [row for which, row in of if which == wanted]
            if hit:
                if several:
                    on = f" on {len(hit)} of {counted(len(of), 'network')}"
                else:
                    on = " with " + _arms([str(row[where]) for row in hit])
                numbers = span(decimals(row["difference"], signed=True) for row in hit)
                words.append(f"{wanted}{on} ({numbers})")
        changed.append((max(abs(row["difference"]) for _, row in of), f"{task} is {listed(words)}"))
    told = [text for _, text in sorted(changed, key=lambda one: -one[0])[:_TASKS]]
    if len(told) < len(changed):
        told.append(f"{counted(len(changed) - len(told), 'other task')} changed less")
    if still:
        told.append(f"{_tasks_named(still)} {'does' if len(still) == 1 else 'do'} not change")
    subject = f"With `{arm}`, beside" if several else "Beside"
    yield f"{subject} `{run.baseline}`: {'; '.join(told)}."


def _values(main: pd.DataFrame) -> str:
    """The first task of a run that measured neither agreement nor neighbours, and compared nothing."""
    first = main[main["task"] == main["task"].iloc[0]]
    told = [f"{decimals(row['value'])} with `{row['transform']}`" for row in first.to_dict("records")[:_ARMS]]
    return f"{metric_words(str(first['metric'].iloc[0])).capitalize()}: {listed(told)}."


def _fronts(found: Sequence[Front]) -> Iterator[str]:
    shown = [front for front in found if front.choice is not None]
    if len(shown) == 1:
        yield from _one_front(shown[0])
    elif shown:
        choices = [front.choice for front in shown if front.choice is not None]
        before = [front.original["accuracy"] for front in shown if front.original is not None]
        than = f", `original` on {_span(before)}" if before else ""
        yield (
            f"On {counted(len(shown), 'network')} the chosen settings agree with people on "
            f"{_span(choice['accuracy'] for choice in choices)} of new answers{than}; of each image's "
            f"{count_words(_K)} nearest neighbours {span(stay(choice['kept'], _K) for choice in choices)} stay."
        )
        compared = [_most_kept(at_equal_agreement(front)[1]) for front in shown]
        best = [arm for arm in compared if arm is not None]
        if best:
            most = [
                f"`{arm}` on {best.count(arm)}" for arm in sorted(set(best), key=lambda arm: (-best.count(arm), arm))
            ]
            yield (
                f"Where all arms agree with people equally well, most neighbours stay with {listed(most)} of "
                f"{counted(len(best), 'network')}."
            )


def _one_front(front: Front) -> Iterator[str]:
    choice = front.choice
    assert choice is not None
    number = counted(sum(point["method"] != "original" for point in front.points), "setting")
    before = "" if front.original is None else f", `original` on {decimals(front.original['accuracy'])}"
    yield (
        f"Of {number} the choice ({choice['name']}) agrees with people on {decimals(choice['accuracy'])} of new "
        f"answers{before}; of each image's {count_words(_K)} nearest neighbours {stay(choice['kept'], _K)} stay."
    )
    at, arms = at_equal_agreement(front)
    if len(arms) > 1:
        order = sorted(arms, key=lambda arm: -arms[arm])
        told = [f"{stay(arms[arm], _K)} with `{arm}`" for arm in order]
        yield f"Where all arms agree with people on {decimals(at)} of the answers, {listed(told)} of them stay."


def at_equal_agreement(front: Front) -> tuple[float, dict[str, float]]:
    """The agreement at which arms are compared, and the neighbours that each keeps there, along its own front.

    It is the agreement of the choice, or the largest that all arms reach if that is less. Between the settings of an
    arm neighbours are interpolated; an arm whose every setting agrees better has those of the one that keeps most.
    """
    lines: dict[str, list[tuple[float, float]]] = {}
    for point in front.points:
        if point["strong"] and point["method"] != "original":
            lines.setdefault(point["method"], []).append((point["accuracy"], point["kept"]))
    if front.choice is None or not lines:
        return 0.0, {}
    at = min(front.choice["accuracy"], *(max(line)[0] for line in lines.values()))
    found = {}
    for arm, line in lines.items():
        accuracy, kept = np.array(sorted(line)).T
        found[arm] = float(np.interp(at, accuracy, kept))
    return at, found


def _most_kept(arms: Mapping[str, float]) -> str | None:
    """The arm that keeps most neighbours, of several."""
    return max(arms, key=lambda arm: arms[arm]) if len(arms) > 1 else None


def _first_task(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["task"] == rows["task"].iloc[0]] if len(rows) else rows


def _by_network(rows: pd.DataFrame, baseline: str) -> tuple[dict[str, dict[str, float]], list[str], dict[str, float]]:
    """Network → arm → value of the arms beside the baseline, these arms, and network → value of the baseline."""
    found: dict[str, dict[str, float]] = {}
    before: dict[str, float] = {}
    for row in rows.to_dict("records"):
        network, arm = str(row["network"]), str(row["transform"])
        if arm == baseline:
            before[network] = row["value"]
        else:
            found.setdefault(network, {})[arm] = row["value"]
    return found, list(dict.fromkeys(arm for arms in found.values() for arm in arms)), before


def _lead(run: Run, by_network: Mapping[str, Mapping[str, float]], arms: Sequence[str]) -> str:
    means = {arm: sum(found.get(arm, 0.0) for found in by_network.values()) for arm in arms}
    return lead(run, arms, means)


def _in_order(run: Run, arms: Sequence[str], value: Mapping[str, float]) -> list[str]:
    """The arms that a sentence names: the lead first, then the largest values."""
    first = lead(run, arms, value)
    return [first, *sorted((arm for arm in arms if arm != first), key=lambda arm: -value[arm])][:_ARMS]


def _arms(names: Sequence[str]) -> str:
    named = [f"`{name}`" for name in names[:_ARMS]]
    return listed(named if len(names) <= _ARMS else [*named, f"{len(names) - _ARMS} more"])


def _tasks_named(tasks: Sequence[str]) -> str:
    return listed(tasks if len(tasks) <= _TASKS else [*tasks[:_TASKS], f"{len(tasks) - _TASKS} more"])


def _span(values: Any) -> str:
    return span(map(decimals, values))
