"""The mean scores of the settings of a sweep, their front, and the choice of one of them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from typing_extensions import TypedDict

from glocal.aligner.mixtures import best_keeping
from glocal.errors import ParameterError
from glocal.scores import ORIGINAL
from glocal.sweep.points import KEPT_CENTRED, SCORES, Point

_SETTING = ("method", "lmbda", "mix", "alpha", "tau", "eta")


class SettingMeans(TypedDict, total=False):
    """A row of ``means.csv``: a setting, and its means over folds with their standard errors."""

    method: str
    lmbda: float | None
    mix: float | None
    alpha: float | None
    tau: float | None
    eta: float | None
    agreement: float
    agreement_se: float
    loss: float
    loss_se: float
    neighbours_kept: float
    neighbours_kept_se: float
    neighbours_kept_centred: float
    neighbours_kept_centred_se: float
    evaluations: int
    seconds: float
    converged: bool
    front: bool
    chosen: bool


def means_over_folds(points: Sequence[Point], folds: int) -> pd.DataFrame:
    """One row for each setting that has scores on every fold.

    A row has the setting, the mean and standard error (``…_se``) of each metric over folds, the
    evaluations and seconds of all folds, and whether all fits converged. Settings whose optimum is
    W = 0, or whose fits diverged, have no row.
    """
    table = pd.DataFrame(points)
    setting_columns = [name for name in _SETTING if name in table]
    score_columns = [name for name in (*SCORES, KEPT_CENTRED) if name in table]
    table["converged"] = table["status"] == "converged"
    groups = table.groupby(setting_columns, dropna=False, sort=False)
    means = groups[score_columns].agg(["mean", "sem"])
    means.columns = pd.Index(map(_mean_column, means.columns))
    costs = groups[["evaluations", "seconds"]].sum()
    converged = groups[["converged"]].all()
    means = means.join([costs, converged])
    is_complete = groups["agreement"].count() == folds
    return means[is_complete].reset_index()


def _mean_column(name_and_statistic: tuple[str, str]) -> str:
    """The column of a mean, or of a standard error, of a score."""
    name, statistic = name_and_statistic
    if statistic == "sem":
        return f"{name}_se"
    return name


def pareto_front(means: pd.DataFrame) -> pd.DataFrame:
    """The rows that no other row dominates, the best agreement last.

    A row is dropped if another row is at least as good in agreement and in neighbours kept, and
    better in one of them. Of rows that are equal in both, the row with the smallest alpha stays.
    """
    ordered = means.sort_values(
        ["agreement", "neighbours_kept", "alpha"],
        ascending=[False, False, True],
        na_position="first",
    )
    kept = ordered["neighbours_kept"]
    most_kept_before = kept.shift().cummax().fillna(-1.0)
    front = ordered[kept > most_kept_before]
    return front.iloc[::-1]


def choose(means: pd.DataFrame, keep: float | None) -> tuple[int, str]:
    """Choose a row: its label, and the reason in words. Ties go to the smallest alpha.

    `naive`, which damages neighbourhoods, is chosen only if there is no other method.

    Parameters
    ----------
    means : DataFrame
        The frame of `means_over_folds`; the row of the original features, if present, cannot be
        chosen.
    keep : float or None
        The share of neighbours to keep. The best agreement among the settings that promise it, as
        the mean over folds minus one standard error, is chosen, or the setting that promises most
        if none does. None chooses the lowest loss.

    Raises
    ------
    ParameterError
        There is no setting to choose from.
    """
    is_fitted = means["method"] != ORIGINAL
    fitted = means[is_fitted].sort_values("alpha", kind="stable", na_position="first")
    if fitted.empty:
        raise ParameterError(
            "no setting was scored on every fold, so there is nothing to choose from. If "
            "points.jsonl has trivial optima (W = 0), lower `lmbda`; if it has fits that diverged, "
            "lower `eta`."
        )
    is_eligible = fitted["method"] != "naive"
    if is_eligible.any():
        fitted = fitted[is_eligible]
    if keep is None:
        label = fitted["loss"].idxmin()
        return int(label), "the smallest held-out loss"
    kept_column = "neighbours_kept"
    if KEPT_CENTRED in fitted:
        kept_column = KEPT_CENTRED
    promises = fitted[kept_column] - fitted[f"{kept_column}_se"]
    agreements = fitted["agreement"].tolist()
    number = best_keeping(agreements, promises.tolist(), keep)
    label = fitted.index[number]
    reason = (
        f"the largest agreement among the settings that promise to keep {keep:g} of the "
        "neighbours: the mean over folds minus its standard error"
    )
    if promises.max() < keep:
        reason = f"which promises most: no setting promises to keep {keep:g} of the neighbours"
    return int(label), reason
