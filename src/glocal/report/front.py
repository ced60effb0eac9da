"""What a run says: agreement against neighbours kept as points of a front, a summary of them, and warnings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal.report.runs import Run
from glocal.results import DIFFERENCE
from glocal.suite.table import differences, main_rows

if TYPE_CHECKING:
    import pandas as pd

MARGIN = 0.01  # an effect on a task that is smaller is called none, however certain its sign
_LOWER = ("fpr95", "loss")  # metrics of which less is better
_DONE = ("converged", "trivial")
_SIGNS = {"alpha": "α", "lmbda": "λ", "tau": "τ", "mix": "mix", "eta": "η"}
_AXES = {"accuracy_cosine": "agreement", "neighbours_kept": "neighbours kept"}


def front_points(run: Run) -> pd.DataFrame:
    """One row for each setting of a sweep, or for each network and arm of a suite; maybe none.

    Columns: network, method (the arm of a suite), setting (in words), accuracy_cosine, neighbours_kept, and …_low and
    …_high of both (one standard error over folds, or the 95 % interval), strong (no other of its method is better in
    both), chosen.
    """
    from glocal.sweep import pareto_front  # it loads the solver, which no other part of a report needs

    points = _of_suite(run.rows) if run.means is None else _of_sweep(run.means)
    strong = [
        label
        for _, found in points.groupby(["network", "method"])
        for label in pareto_front(found.assign(alpha=0.0)).index
    ]
    return points.assign(strong=points.index.isin(strong))


def summary(run: Run) -> pd.DataFrame:
    """One row a network and method: agreement with its interval, neighbours kept, and these at equal agreement.

    Of a sweep each method has the setting that the rule of the sweep takes. Equal agreement is that of the choice, or
    the largest that all methods reach if that is less; between the settings of a front neighbours are interpolated.
    """
    import pandas as pd

    points, rows = front_points(run), []
    for network, found in points.groupby("network", sort=False):
        fitted = found[(found["method"] != run.baseline) & found["strong"]].sort_values("accuracy_cosine")
        fronts = dict(iter(fitted.groupby("method")))
        reached = (front["accuracy_cosine"].max() for front in fronts.values())
        at = min([*found.loc[found["chosen"], "accuracy_cosine"], *reached], default=0)
        for method, line in found.groupby("method", sort=False):
            point = line.loc[_taken(run, line)]
            row = {"network": network, "method": method}
            row |= {words: _interval(point, axis) for axis, words in _AXES.items()}
            if run.means is not None:
                kept = ""
                if (front := fronts.get(method)) is not None:
                    kept = f"{np.interp(at, front['accuracy_cosine'], front['neighbours_kept']):.3f}"
                row[f"neighbours kept at agreement {at:.3f}"] = kept
            rows.append(row | {"setting": point["setting"]})
    table = pd.DataFrame(rows).fillna("")
    told = {"network": table["network"].nunique() > 1, "setting": (table["setting"] != "").any()} if len(table) else {}
    return table.loc[:, [name for name in table if told.get(name, True)]]


def _of_sweep(means: pd.DataFrame) -> pd.DataFrame:
    found = means.dropna(subset=list(_AXES))
    points = found.reindex(columns=["method", *_AXES, "loss", "alpha"])
    for axis in _AXES:
        error = found[f"{axis}_se"].fillna(0.0)
        points[f"{axis}_low"], points[f"{axis}_high"] = found[axis] - error, found[axis] + error
    setting = [_words(row) for row in found.to_dict("records")]
    return points.assign(network="", setting=setting, chosen=found["chosen"].astype(bool))


def _words(row: dict[Any, Any]) -> str:
    """A setting: what it has of α, λ, τ and η, and the mix where it is not 1."""
    held = {sign: row.get(name, np.nan) for name, sign in _SIGNS.items()}
    return ", ".join(f"{sign} {x:g}" for sign, x in held.items() if not np.isnan(x) and (sign, x) != ("mix", 1))


def _of_suite(rows: pd.DataFrame) -> pd.DataFrame:
    """Arms whose agreement and neighbours kept were both measured."""
    main, place = main_rows(rows).rename(columns={"transform": "method"}), ["network", "method"]
    parts = []
    for axis in _AXES:
        found = main[main["metric"] == axis].drop_duplicates(place)
        ends = {f"{axis}_{end}": found[end].fillna(found["value"]) for end in ("low", "high")}
        parts.append(found[place].assign(**{axis: found["value"]}, **ends))
    return parts[0].merge(parts[1], on=place).assign(setting="", chosen=False)


def _taken(run: Run, line: pd.DataFrame) -> Any:
    """The label of the point that stands for a method."""
    from glocal.sweep.grid import Rule, choose

    if line["chosen"].any() or len(line) == 1:
        return line["chosen"].idxmax()
    rule = Rule.parse(str(run.choice.get("rule", "loss")))
    return choose(line, rule._replace(method=None))[0]


def _interval(point: pd.Series[Any], axis: str) -> str:
    value, low, high = (point[part] for part in (axis, f"{axis}_low", f"{axis}_high"))
    return f"{value:.3f}" if low == high else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def warnings_of(run: Run) -> list[str]:
    """Sentences of warning, the gravest first; none if all is well."""
    return [*_wrong_files(run), *_worse(run), *_unfinished(run), *_overfitted(run)]


def direction(row: Mapping[Any, Any]) -> str:
    """What became of a task beside the baseline: ``better``, ``worse``, or ``same``."""
    value, p = row["difference"], row["p_holm"]
    if not (abs(value) > MARGIN and p < 0.05):
        return "same"
    return "better" if (value > 0) != (str(row["metric"]).removesuffix(DIFFERENCE) in _LOWER) else "worse"


def _wrong_files(run: Run) -> Iterator[str]:
    for network, arms in run.views.items():
        for arm, view in arms.items():
            yield from (f"Wrong file: {note}" for note in view.meta.get("notes") or ())
            if view.meta.get("collapsed"):
                yield f"Collapsed: {arm} maps all objects of {network} to one point; its scores are those of chance."


def _worse(run: Run) -> Iterator[str]:
    for row in differences(run.rows).assign(difference=lambda rows: rows["value"]).to_dict("records"):
        if direction(row) == "worse" and not row["metric"].startswith("neighbours_kept"):
            where = f" of {row['network']}" if run.rows["network"].nunique() > 1 else ""
            yield (
                f"Worse: {row['transform']}{where} on {row['task']} than {run.baseline}, by {abs(row['value']):.3f} "
                f"(p = {row['p_holm']:.2g} after correction)."
            )


def _unfinished(run: Run) -> Iterator[str]:
    points = run.points
    if points is not None and run.means is None:
        yield f"Unfinished: {len(points)} points, and no choice yet. glocal sweep --resume goes on."
    if points is not None:
        bad = points[(points["method"] != "original") & ~points["status"].isin(_DONE)]
        if len(bad):
            statuses = ", ".join(sorted(set(bad["status"])))
            yield f"Not converged: {len(bad)} of {len(points)} points of the sweep ({statuses})."
    for name, fit in run.fits.items():
        if fit.get("converged") is False:
            yield f"Not converged: {name} ended with status {fit.get('status')}."


def _overfitted(run: Run) -> Iterator[str]:
    if run.means is None or "loss" not in run.means:
        return
    chosen, before = (run.means[rows]["loss"] for rows in (run.means["chosen"], run.means["method"] == "original"))
    if len(chosen) and len(before) and chosen.iloc[0] > before.iloc[0]:
        yield (
            f"Overfitted: the choice has a held-out loss of {chosen.iloc[0]:.3f} nats, above {before.iloc[0]:.3f} of "
            "the features without a transform."
        )
