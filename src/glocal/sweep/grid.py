"""The settings of a sweep, the paths that walk through them, and from their points to a choice."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby, product
from typing import Any

import pandas as pd
from pydantic import Field, field_validator

from glocal.aligner import Arm
from glocal.aligner.arm import Method
from glocal.errors import ParameterError
from glocal.files import PathLike, read_object
from glocal.options import Options

Setting = dict[str, Any]
"""Of one fit: `Arm.settings`, and of the paper's loop eta."""
SETTING = ("method", "lmbda", "mix", "alpha", "tau", "eta")
METRICS = ("accuracy_cosine", "loss", "neighbours_kept")
# From chance to what people reach among each other agreement rises by a third: all neighbours are worth about as much.
EXCHANGE = 0.3
_RULE = re.compile(r"exchange|loss|(?P<metric>agreement|neighbours_kept)\s*>=\s*(?P<bound>\d*\.?\d+)")


class Grid(Options):
    """What a sweep tries: all combinations of these lists, of which each may be a single value.

    `lmbda` may be a mapping of methods to lists, which names the methods; `eta` are learning rates of the paper's loop.
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
            return {key: cls._listed(one) for key, one in value.items()}
        return [*value] if isinstance(value, list | tuple) else None if value is None else [value]

    def settings(self) -> list[Setting]:
        """Every setting once: λ falls, and neighbours differ by one place of alpha or tau."""
        of_method, found = self.lmbda if isinstance(self.lmbda, dict) else {}, list[Setting]()
        rates: list[float | None] = [*self.eta] if self.eta else [None]
        for method in self.method or [*of_method] or ["glocal"]:
            if of_method and method not in of_method:
                raise ParameterError(f"the grid gives no lmbda for method {method}. Add a list for it.")
            lmbdas = of_method[method] if isinstance(self.lmbda, dict) else self.lmbda
            mixes: list[float | None] = [None] if method == "naive" else [*self.mix]
            local = self._snake() if method == "glocal" else [{}]
            for eta, lmbda, mix in product(rates, sorted(lmbdas, reverse=True), mixes):
                arms = [Arm.of({"method": method, "lmbda": lmbda, "mix": mix, **one}) for one in local]
                found += [arm.settings | ({} if eta is None else {"eta": eta}) for arm in arms]
        if twice := [one for number, one in enumerate(found) if one in found[:number]]:
            raise ParameterError(f"the grid has the setting {twice[0]} twice. Remove one.")
        return found

    def _snake(self) -> list[dict[str, float]]:
        """Through tau, back and forth along alpha."""
        taus, alphas = sorted(self.tau), sorted(self.alpha, reverse=True)
        return [
            {"alpha": alpha, "tau": tau}
            for row, alpha in enumerate(alphas)
            for tau in (taus if row % 2 == 0 else reversed(taus))
        ]


# naive shrinks toward 0 and not toward an identity, so that the same λ is a far stronger penalty
ARMS = Grid(
    method=["naive", "global", "glocal"],
    lmbda={"naive": [0.1, 0.3, 1.0], "global": [0.1, 0.3, 1.0, 3.0, 10.0], "glocal": [0.1, 0.3, 1.0, 3.0]},
    alpha=[0.1, 0.25, 0.5], tau=[0.1],
)  # fmt: skip
# without its alpha = 1, where every scaled identity is optimal and nothing is fitted
PAPER = Grid(
    method=["glocal"], lmbda=[0.01, 0.1, 1.0, 10.0], alpha=[0.05, 0.1, 0.25, 0.5], tau=[0.1, 0.25, 0.5, 1.0],
)  # fmt: skip
PAPER_ETA = [1e-4, 1e-3, 1e-2, 1e-1]


def settings(grid: str | Mapping[str, Any] | PathLike, *, local: bool, eta: bool = False) -> list[Setting]:
    """All settings of a grid, in the order of its paths.

    Parameters
    ----------
    grid : "arms", "paper", mapping or path of a TOML file
        Lists of method, lmbda, mix, alpha, tau and eta; see `Grid`. ``"arms"`` are all methods on one front,
        ``"paper"`` is the grid of Muttenthaler et al. 2023.
    local : bool
        Whether there are local images: `glocal` needs them, and ``"arms"`` leaves it out without any.
    eta : bool
        Whether the solver has learning rates, as the paper's loop does: ``"paper"`` has four of them.

    Raises
    ------
    FileError
        The file is missing, not TOML, or holds an unknown key or a value of the wrong kind.
    ParameterError
        A value that `Arm` does not allow, a setting that is there twice, or none at all.
    """
    if isinstance(grid, Mapping):
        given = Grid(**grid)
    elif str(grid) == "arms":
        given = ARMS
    elif str(grid) == "paper":
        given = PAPER.replace(eta=PAPER_ETA) if eta else PAPER
    else:
        read = read_object(grid, what="grid", fix="Write lists, e.g. alpha = [0.1, 0.5].")
        given = Grid.read(read, f"grid {grid}")
    if given.eta and not eta:
        raise ParameterError("the grid lists eta, but the exact solver has no learning rate. Use the paper's loop.")
    found = given.settings()
    kept = [one for one in found if local or one["method"] != "glocal"]
    if len(kept) < len(found) and given is not ARMS:
        raise ParameterError("the grid has method glocal, which needs `local_features`.")
    return kept


def paths(grid: list[Setting], *, warm: bool = True) -> list[list[Setting]]:
    """The units of work, the longest first: settings that differ in alpha and tau alone, or without `warm` each one.

    Neighbours on a path have neighbouring optima, so that each exact fit starts from the one before. Optima of
    neighbouring lmbda lie too far apart for that.
    """
    if not warm:
        return [[one] for one in grid]
    found = [list(path) for _, path in groupby(grid, key=lambda one: (one["method"], one["lmbda"], one["mix"]))]
    return sorted(found, key=len, reverse=True)


def means_over_folds(points: Sequence[dict[str, Any]], folds: int) -> pd.DataFrame:
    """One row for each setting that has scores on every fold; none for one whose optimum is W = 0, or that diverged.

    A row has the setting, mean and standard error (``…_se``) of each metric over folds, the evaluations and seconds of
    all folds, and whether all have converged.
    """
    table = pd.DataFrame(points)
    setting = [name for name in SETTING if name in table]
    groups = table.assign(converged=table["status"] == "converged").groupby(setting, dropna=False, sort=False)
    parts = [groups[list(METRICS)].mean(), groups[list(METRICS)].sem().add_suffix("_se")]
    means = parts[0].join([parts[1], groups[["evaluations", "seconds"]].sum(), groups[["converged"]].all()])
    scored = groups["accuracy_cosine"].count() == folds
    order = [*setting, *(name for metric in METRICS for name in (metric, f"{metric}_se"))]
    return means[scored].reset_index()[[*order, "evaluations", "seconds", "converged"]]


def pareto_front(means: pd.DataFrame) -> pd.DataFrame:
    """The rows that no other beats: agreement (accuracy_cosine) against neighbours kept, best agreement last.

    A row is dropped if another is at least as good in both and better in one. Of several that are equal in both, the
    one with the smallest alpha stays.
    """
    ordered = means.sort_values(
        ["accuracy_cosine", "neighbours_kept", "alpha"], ascending=[False, False, True], na_position="first"
    )
    kept = ordered["neighbours_kept"]
    return ordered[kept > kept.shift().cummax().fillna(-1.0)].iloc[::-1]


def check_rule(rule: str) -> re.Match[str]:
    """Raise a ParameterError unless `choose` knows the rule."""
    match = _RULE.fullmatch(rule.strip())
    if match is None:
        raise ParameterError(
            f"`select` is {rule!r}; allowed are exchange, loss, and a constraint: 'neighbours_kept>=0.9' or "
            "'agreement>=0.5'."
        )
    return match


def choose(means: pd.DataFrame, rule: str = "exchange") -> tuple[int, str]:
    """The label of one row by a rule, and the reason in words. Ties go to the smallest alpha.

    Parameters
    ----------
    means : DataFrame
        The frame of `means_over_folds`; the row of the original features, if present, cannot be chosen.
    rule : str
        ``"exchange"``: the largest agreement + 0.3 × neighbours kept. ``"loss"``: the smallest held-out loss, as the
        authors do. ``"neighbours_kept>=0.9"``: the best agreement among settings that keep so many neighbours;
        ``"agreement>=0.5"``: the most neighbours kept among those that agree so much.

    Raises
    ------
    ParameterError
        An unknown rule, no setting to choose from, or none that satisfies the constraint.
    """
    match = check_rule(rule)
    fitted = means[means["method"] != "original"].sort_values("alpha", kind="stable", na_position="first")
    if not len(fitted):
        raise ParameterError(
            "no setting has been scored on every fold, so there is nothing to choose from. If points.jsonl says that "
            "optima are trivial (W = 0), lower lmbda; if it says that fits diverged, lower eta."
        )
    if match["metric"]:
        axes = {"accuracy_cosine": "agreement", "neighbours_kept": "share of neighbours kept"}
        metric, goal = axes if match["metric"] == "agreement" else reversed(axes)
        satisfied = fitted[fitted[metric] >= float(match["bound"])]
        if not len(satisfied):
            raise ParameterError(
                f"no setting has {match[0]}; the nearest reaches {fitted[metric].max():.4f}. Relax it, or widen the "
                "grid: a larger lmbda keeps more neighbours."
            )
        best = int(satisfied[goal].idxmax())
        told = f"the largest {axes[goal]} ({satisfied[goal].max():.4f})"
        return best, f"{told} among {len(satisfied)} settings with {match[0]}"
    if match[0] == "loss":
        return int(fitted["loss"].idxmin()), f"smallest mean held-out loss, {fitted['loss'].min():.4f} nats"
    worth = means["accuracy_cosine"] + EXCHANGE * means["neighbours_kept"]
    best = int(worth[fitted.index].idxmax())
    reason = f"largest agreement + {EXCHANGE:g} × neighbours kept, {worth[best]:.3f}"
    for before in worth[means["method"] == "original"]:
        reason += f" ({before:.3f} of the original features)"
    return best, reason
