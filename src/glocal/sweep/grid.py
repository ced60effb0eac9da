"""The settings of a sweep, and the paths that walk through them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby, product
from typing import Any

from glocal.aligner import Arm
from glocal.aligner.arm import METHODS
from glocal.errors import ParameterError
from glocal.files import PathLike, read_object

Setting = dict[str, Any]
"""Of one fit: method, lmbda, mix, alpha and tau, None where the method has none, and of the paper's loop eta."""

# naive shrinks toward 0 and not toward an identity, so that the same λ is a far stronger penalty
ARMS: Mapping[str, Any] = {
    "method": [*METHODS],
    "lmbda": {"naive": [0.1, 0.3, 1.0], "global": [0.1, 0.3, 1.0, 3.0, 10.0], "glocal": [0.1, 0.3, 1.0, 3.0]},
    "alpha": [0.1, 0.25, 0.5], "tau": [0.1],
}  # fmt: skip
# without its alpha = 1, where every scaled identity is optimal and nothing is fitted
PAPER: Mapping[str, Any] = {
    "method": ["glocal"], "lmbda": [0.01, 0.1, 1.0, 10.0],
    "alpha": [0.05, 0.1, 0.25, 0.5], "tau": [0.1, 0.25, 0.5, 1.0],
}  # fmt: skip
PAPER_ETA = [1e-4, 1e-3, 1e-2, 1e-1]
_KEYS = ("method", "lmbda", "mix", "alpha", "tau", "eta")


def settings(grid: str | Mapping[str, Any] | PathLike, *, local: bool, eta: bool = False) -> list[Setting]:
    """All settings of a grid, in the order of its paths.

    Parameters
    ----------
    grid : "arms", "paper", mapping or path of a TOML file
        Lists of method, lmbda, mix, alpha, tau and eta, of which each may be a single value; lmbda may be a mapping of
        methods to lists. ``"arms"`` are all methods on one front, ``"paper"`` is the grid of Muttenthaler et al. 2023.
    local : bool
        Whether there are local images: `glocal` needs them, and ``"arms"`` leaves it out without any.
    eta : bool
        Whether the solver has learning rates, as the paper's loop does: ``"paper"`` has four of them.

    Raises
    ------
    FileError
        The file is missing or not TOML.
    ParameterError
        An unknown key, a value that `Arm` does not allow, a setting that is there twice, or none at all.
    """
    every = not isinstance(grid, Mapping) and str(grid) == "arms"
    lists = {key: _listed(value) for key, value in _read(grid, eta).items()}
    if unknown := sorted(set(lists) - set(_KEYS)):
        raise ParameterError(f"the grid has the unknown key {unknown[0]!r}; allowed are {', '.join(_KEYS)}.")
    if empty := [key for key, values in lists.items() if not values]:
        raise ParameterError(f"the grid lists no {empty[0]}. Give at least one value.")
    if "eta" in lists and not eta:
        raise ParameterError("the grid lists eta, but the exact solver has no learning rate. Use the paper's loop.")
    lmbda, found = lists.get("lmbda", [Arm.lmbda]), list[Setting]()
    for method in lists.get("method", [*lmbda] if isinstance(lmbda, Mapping) else ["glocal"]):
        if isinstance(lmbda, Mapping) and method not in lmbda:
            raise ParameterError(f"the grid gives no lmbda for method {method}. Add a list for it.")
        strengths = sorted(lmbda[method] if isinstance(lmbda, Mapping) else lmbda, reverse=True)
        mixes = [None] if method == "naive" else lists.get("mix", [Arm.mix])
        for rate, strength, mix in product(lists.get("eta", [None]), strengths, mixes):
            one = {"method": method, "lmbda": strength, "mix": mix} | ({} if rate is None else {"eta": rate})
            found += [{**one, "alpha": alpha, "tau": tau} for alpha, tau in _snake(method, lists)]
    for number, one in enumerate(found):
        arm_of(one)  # says what is not allowed
        if one in found[:number]:
            raise ParameterError(f"the grid has the setting {one} twice. Remove one.")
    kept = [one for one in found if local or one["method"] != "glocal"]
    if len(kept) < len(found) and not every:
        raise ParameterError("the grid has method glocal, which needs local features (--local-features).")
    return kept


def arm_of(setting: Mapping[str, Any]) -> Arm:
    """The arm of a setting, or of a row that holds one."""
    names = ("method", "lmbda", "mix", "alpha", "tau")
    return Arm(**{name: setting[name] for name in names if setting[name] is not None})


def paths(grid: list[Setting], *, warm: bool = True) -> list[list[Setting]]:
    """The units of work, the longest first: settings that differ in alpha and tau alone, or without `warm` each one.

    Neighbours on a path have neighbouring optima, so that each exact fit starts from the one before. Optima of
    neighbouring lmbda lie too far apart for that.
    """
    if not warm:
        return [[one] for one in grid]
    found = [list(path) for _, path in groupby(grid, key=lambda one: (one["method"], one["lmbda"], one["mix"]))]
    return sorted(found, key=len, reverse=True)


def _read(grid: str | Mapping[str, Any] | PathLike, eta: bool) -> Mapping[str, Any]:
    if isinstance(grid, Mapping):
        return grid
    if str(grid) in ("arms", "paper"):
        return ARMS if str(grid) == "arms" else {**PAPER, **({"eta": PAPER_ETA} if eta else {})}
    return read_object(grid, what="grid", fix="Write lists, e.g. alpha = [0.1, 0.5].")


def _listed(value: Any) -> Any:
    """A list, or a mapping of lists; whole numbers become floats, so that 1 and 1.0 are the same setting."""
    if isinstance(value, Mapping):
        return {key: _listed(one) for key, one in value.items()}
    values = value if isinstance(value, list | tuple) else [value]
    return [float(one) if type(one) is int else one for one in values]


def _snake(method: str, lists: Mapping[str, Any]) -> list[tuple[float | None, float | None]]:
    """Through tau, back and forth along alpha; nowhere for a method without a local term."""
    if method != "glocal":
        return [(None, None)]
    taus, walked = sorted(lists.get("tau", [Arm.tau])), list[tuple[float | None, float | None]]()
    for row, alpha in enumerate(sorted(lists.get("alpha", [Arm.alpha]), reverse=True)):
        walked += [(alpha, tau) for tau in (taus if row % 2 == 0 else reversed(taus))]
    return walked
