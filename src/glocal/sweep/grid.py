"""The settings of a sweep, the paths through them, and the choice of a setting by its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from operator import attrgetter
from typing import Any

import pandas as pd
from pydantic import Field, field_validator, model_validator

from glocal.aligner import ObjectiveSettings
from glocal.aligner.mixtures import best_keeping
from glocal.aligner.settings import PARAMETERS, Method
from glocal.errors import ParameterError
from glocal.files import PathLike, read_object
from glocal.options import Options

GridSource = str | Mapping[str, Any] | PathLike
"""The name of a grid, its lists, or the path of a file with its lists."""
SETTING = ("method", "lmbda", "mix", "alpha", "tau", "eta")
SCORES = ("agreement", "loss", "neighbours_kept")
KEPT_CENTRED = "neighbours_kept_centred"
"""The neighbours kept of the rows with the origin of the fit, scored only if that is moved."""


class Grid(Options):
    """The grid of a sweep: all combinations of these lists.

    Each list may also be a single value. `lmbda` may be a mapping from methods to lists, which then
    names the methods. `eta` lists learning rates of the paper's loop.
    """

    method: list[Method] | None = Field(None, min_length=1)
    lmbda: list[float] | dict[Method, list[float]] = Field([0.1], min_length=1)
    mix: list[float] = Field([1.0], min_length=1)
    alpha: list[float] = Field([0.1], min_length=1)
    tau: list[float] = Field([0.25], min_length=1)
    eta: list[float] | None = Field(None, min_length=1)

    @field_validator("*", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: cls._listed(item) for key, item in value.items()}
        if value is None or isinstance(value, list | tuple):
            return value
        return [value]

    @model_validator(mode="after")
    def _check_settings(self) -> Grid:
        if self.eta and len({*self.eta}) < len(self.eta):
            raise ParameterError("the grid has an eta twice. Remove one.")
        self.settings()
        return self

    @property
    def methods(self) -> list[Method]:
        """The methods of the grid."""
        if self.method is not None:
            return self.method
        return [*self.lmbda] if isinstance(self.lmbda, dict) else ["glocal"]

    def settings(self) -> list[ObjectiveSettings]:
        """All settings, with λ falling and neighbours that differ by one step of alpha or tau.

        Raises
        ------
        ParameterError
            No method reads one of the lists, a method has no λ, or a setting occurs twice.
        """
        self._check_read()
        settings: list[ObjectiveSettings] = []
        for method in self.methods:
            lmbdas = self.lmbda[method] if isinstance(self.lmbda, dict) else self.lmbda
            mixes: Sequence[float | None] = [None] if method == "naive" else self.mix
            local = self._snake() if method == "glocal" else [{}]
            for lmbda, mix, values in product(sorted(lmbdas, reverse=True), mixes, local):
                parameters = {"method": method, "lmbda": lmbda, "mix": mix, **values}
                settings.append(ObjectiveSettings.from_values(parameters))
        values_of = [each.parameters for each in settings]
        for number, values in enumerate(values_of):
            if values in values_of[:number]:
                raise ParameterError(f"the grid has the setting {values} twice. Remove one.")
        return settings

    def _check_read(self) -> None:
        """Raise a ParameterError for a list that no method reads, or a method without λ."""
        read = {name for method in self.methods for name in PARAMETERS[method]}
        if unread := sorted({"mix", "alpha", "tau"} & self.model_fields_set - read):
            raise ParameterError(
                f"the grid lists {' and '.join(unread)}, which {' and '.join(self.methods)} cannot "
                "read. Remove the list, or add a method that reads it."
            )
        if isinstance(self.lmbda, dict) and {*self.lmbda} != {*self.methods}:
            raise ParameterError(
                f"the grid gives lmbda for {', '.join(self.lmbda)} but its methods are "
                f"{', '.join(self.methods)}; both must be the same."
            )

    def _snake(self) -> list[dict[str, float]]:
        """All pairs of alpha and tau, in which neighbours differ by one step of one of them."""
        taus = sorted(self.tau)
        order = []
        for alpha in sorted(self.alpha):
            order += [{"alpha": alpha, "tau": tau} for tau in taus]
            taus = taus[::-1]
        return order


# the grid of the paper without alpha = 1, where every scaled identity is optimal
PAPER = Grid(
    method=["glocal"],
    lmbda=[0.01, 0.1, 1.0, 10.0],
    alpha=[0.05, 0.1, 0.25, 0.5],
    tau=[0.1, 0.25, 0.5, 1.0],
)
PAPER_ETA = [1e-4, 1e-3, 1e-2, 1e-1]


def default_grid(smallest: float) -> Grid:
    """`global` and `glocal` with λ from `smallest` up to its hundredfold."""
    lmbdas = [float(f"{factor * smallest:.2g}") for factor in (1.0, 3.0, 10.0, 30.0, 100.0)]
    return Grid(lmbda={"global": lmbdas, "glocal": lmbdas[:-1]}, alpha=[0.1, 0.25, 0.5], tau=[0.1])


def read_grid(
    grid: GridSource,
    *,
    local: bool,
    eta: bool = False,
    smallest: float = 0.1,
) -> Grid:
    """The lists of a grid, which fit the solver and the data.

    Parameters
    ----------
    grid : "arms", "paper", mapping or path of a TOML file
        Lists of method, lmbda, mix, alpha, tau and eta; see `Grid`. ``"arms"`` puts `global` and
        `glocal` on one front, and ``"paper"`` is the grid of Muttenthaler et al. 2023.
    local : bool
        Whether there are local images. `glocal` needs them; without any, ``"arms"`` leaves it out.
    eta : bool
        Whether the solver has a learning rate, as the paper's loop does. ``"paper"`` then has four
        of them.
    smallest : float
        The smallest λ of ``"arms"``; for few answers the columns per answer, p / t.

    Raises
    ------
    FileError
        The file is missing, not TOML, or holds an unknown key, a value that `ObjectiveSettings`
        does not allow, or a setting twice.
    ParameterError
        `ObjectiveSettings` does not allow a value, a setting occurs twice, or the grid does not fit
        the solver or the data: `glocal` without local images, or eta without the paper's
        loop.
    """
    if isinstance(grid, Mapping):
        lists = Grid(**grid)
    elif str(grid) == "arms":
        lists = default_grid(smallest)
    elif str(grid) == "paper":
        lists = PAPER.replace(eta=PAPER_ETA) if eta else PAPER
    else:
        values = read_object(
            grid, what="grid", fix="Write lists, e.g. alpha = [0.1, 0.5], in a .toml file."
        )
        lists = Grid.read(values, f"grid {grid}")
    if lists.eta and not eta:
        raise ParameterError(
            "the grid lists eta, but the exact solver has no learning rate. Use the paper's loop."
        )
    if "glocal" in lists.methods and not local:
        if str(grid) != "arms":
            raise ParameterError("the grid has method glocal, which needs `local_features`.")
        assert isinstance(lists.lmbda, dict)
        lists = Grid(lmbda={"global": lists.lmbda["global"]})
    return lists


def paths(
    settings: Sequence[ObjectiveSettings], *, warm: bool = True
) -> list[list[ObjectiveSettings]]:
    """Paths of settings that differ only in alpha and tau, the longest path first.

    `global` begins a path, as `glocal` with alpha 0. Neighbours on a path have neighbouring optima,
    so that each exact fit can start from the previous one. The optima of neighbouring lmbda lie too
    far apart for that, and a fit of `naive` starts from no other. Without `warm` each path is one
    setting.
    """
    if not warm:
        return [[each] for each in settings]
    groups: dict[tuple[bool, float, float], list[ObjectiveSettings]] = {}
    for each in sorted(settings, key=attrgetter("local")):
        key = each.method == "naive", each.penalty, each.identity
        groups.setdefault(key, []).append(each)
    return sorted(groups.values(), key=len, reverse=True)


def means_over_folds(points: Sequence[dict[str, Any]], folds: int) -> pd.DataFrame:
    """One row for each setting that has scores on every fold.

    A row has the setting, the mean and standard error (``…_se``) of each metric over folds, the
    evaluations and seconds of all folds, and whether all fits converged. Settings whose optimum is
    W = 0, or whose fits diverged, have no row.
    """
    table = pd.DataFrame(points)
    setting = [name for name in SETTING if name in table]
    table["converged"] = table["status"] == "converged"
    groups = table.groupby(setting, dropna=False, sort=False)
    names = [name for name in (*SCORES, KEPT_CENTRED) if name in table]
    means = groups[names].agg(["mean", "sem"])
    means.columns = pd.Index([f"{name}_se" if kind == "sem" else name for name, kind in means])
    costs = groups[["evaluations", "seconds"]].sum()
    means = means.join([costs, groups[["converged"]].all()])
    return means[groups["agreement"].count() == folds].reset_index()


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
    return ordered[kept > kept.shift().cummax().fillna(-1.0)].iloc[::-1]


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
    fitted = means[means["method"] != "original"].sort_values(
        "alpha", kind="stable", na_position="first"
    )
    if not len(fitted):
        raise ParameterError(
            "no setting was scored on every fold, so there is nothing to choose from. If "
            "points.jsonl has trivial optima (W = 0), lower `lmbda`; if it has fits that diverged, "
            "lower `eta`."
        )
    if (fitted["method"] != "naive").any():
        fitted = fitted[fitted["method"] != "naive"]
    if keep is None:
        return int(fitted["loss"].idxmin()), "the smallest held-out loss"
    kept = KEPT_CENTRED if KEPT_CENTRED in fitted else "neighbours_kept"
    promises = fitted[kept] - fitted[f"{kept}_se"]
    number = best_keeping([*fitted["agreement"]], [*promises], keep)
    reason = (
        f"the largest agreement among the settings that promise to keep {keep:g} of the "
        "neighbours: the mean over folds minus its standard error"
    )
    if promises.max() < keep:
        reason = f"which promises most: no setting promises to keep {keep:g} of the neighbours"
    return int(fitted.index[number]), reason
