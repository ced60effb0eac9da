"""Agreement against neighbours kept: the settings of a sweep, or the arms of a suite, as points of a front."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from glocal.errors import ParameterError
from glocal.report.runs import Run
from glocal.suite.table import main_rows
from glocal.sweep import choose, pareto_front

if TYPE_CHECKING:
    import pandas as pd

_SIGNS = {"alpha": "α", "lmbda": "λ", "tau": "τ", "mix": "mix", "eta": "η"}
_AXES = {"agreement": "accuracy_cosine", "kept": "neighbours_kept"}


def front_points(run: Run) -> pd.DataFrame:
    """One row for each setting of a sweep, or for each network and arm of a suite; maybe none.

    Columns: network, arm (the method), setting (in words), agreement, kept, low and high of both (one standard error
    over folds, or the 95 % interval), strong (no other of its arm is better in both), chosen.
    """
    import pandas as pd

    points = _of_suite(run) if run.means is None else _of_sweep(run.means)
    if not len(points):
        return points
    strong = pd.Series(False, index=points.index)
    for _, arm in points.groupby(["network", "arm"]):
        strong[pareto_front(arm.rename(columns=_AXES).assign(alpha=0.0)).index] = True
    return points.assign(strong=strong)


def summary(run: Run, points: pd.DataFrame) -> pd.DataFrame:
    """One row a network and method: agreement with its interval, neighbours kept, and these at equal agreement.

    Of a sweep each method has the setting that the rule of the sweep takes. Equal agreement is that of the choice, or
    the largest that all methods reach if that is less; between the settings of a front neighbours are interpolated.
    """
    import pandas as pd

    rows = []
    for network, found in points.groupby("network", sort=False):
        fitted = found[found["arm"] != run.baseline]
        fronts = {arm: line.sort_values("agreement") for arm, line in fitted[fitted["strong"]].groupby("arm")}
        reached = (line["agreement"].max() for line in fronts.values())
        at = min([*found.loc[found["chosen"], "agreement"], *reached], default=0)
        for arm, line in found.groupby("arm", sort=False):
            point = line.loc[_taken(run, line)]
            row = {"network": network, "method": arm}
            row |= {name: _interval(point, name) for name in ("agreement", "kept")}
            if run.means is not None:
                front = fronts.get(arm)
                kept = "" if front is None else f"{np.interp(at, front['agreement'], front['kept']):.3f}"
                row[f"kept at agreement {at:.3f}"] = kept
            row["setting"] = point["setting"]
            rows.append({name.replace("kept", "neighbours kept"): value for name, value in row.items()})
    table = pd.DataFrame(rows).fillna("")
    told = {"network": table["network"].nunique() > 1, "setting": (table["setting"] != "").any()} if len(table) else {}
    return table.loc[:, [name for name in table if told.get(name, True)]]


def _of_sweep(means: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    found = means.dropna(subset=list(_AXES.values()))
    columns: dict[str, Any] = {"network": "", "arm": found["method"], "chosen": found["chosen"].astype(bool)}
    columns["setting"] = [_words(row) for row in found.to_dict("records")]
    for name, metric in _AXES.items():
        error = found[f"{metric}_se"].fillna(0.0)
        columns |= {name: found[metric], f"{name}_low": found[metric] - error, f"{name}_high": found[metric] + error}
    return pd.DataFrame({**columns, **{name: found[name] for name in ("loss", "alpha") if name in found}})


def _words(row: dict[Any, Any]) -> str:
    """A setting: what it has of α, λ, τ and η, and the mix where it is not 1."""
    held = {sign: row.get(name, np.nan) for name, sign in _SIGNS.items()}
    return ", ".join(f"{sign} {x:g}" for sign, x in held.items() if not np.isnan(x) and (sign, x) != ("mix", 1))


def _of_suite(run: Run) -> pd.DataFrame:
    """Arms whose agreement and neighbours kept were both measured."""
    main, parts = main_rows(run.rows), []
    for name, metric in _AXES.items():
        rows = main[main["metric"] == metric].drop_duplicates(["network", "transform"])
        rows = rows.rename(columns={"transform": "arm", "value": name, "low": f"{name}_low", "high": f"{name}_high"})
        parts.append(rows[["network", "arm", name, f"{name}_low", f"{name}_high"]])
    both: pd.DataFrame = parts[0].merge(parts[1], on=["network", "arm"])
    for name in _AXES:
        both = both.assign(**{end: both[end].fillna(both[name]) for end in (f"{name}_low", f"{name}_high")})
    return both.assign(setting="", chosen=False)


def _taken(run: Run, line: pd.DataFrame) -> Any:
    """The label of the point that stands for a method."""
    if line["chosen"].any() or len(line) == 1:
        return line["chosen"].idxmax()
    means = line.rename(columns=_AXES).rename(columns={"arm": "method"})
    try:
        return choose(means, str(run.choice.get("rule", "exchange")))[0]
    except (ParameterError, KeyError):  # none of its settings satisfies the constraint
        return line["agreement"].idxmax()


def _interval(point: pd.Series[Any], name: str) -> str:
    value, low, high = (point[part] for part in (name, f"{name}_low", f"{name}_high"))
    return f"{value:.3f}" if low == high else f"{value:.3f} [{low:.3f}, {high:.3f}]"
