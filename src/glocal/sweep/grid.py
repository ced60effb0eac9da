"""The settings of a sweep, and the paths through them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from operator import attrgetter
from typing import Any, NamedTuple

from pydantic import Field, field_validator, model_validator

from glocal.aligner import ObjectiveSettings
from glocal.aligner.settings import PARAMETERS, Method
from glocal.errors import ParameterError
from glocal.files import PathLike, read_object
from glocal.options import Options

GridSource = str | Mapping[str, Any] | PathLike
"""The name of a grid, its lists, or the path of a file with its lists."""


class _LocalParameters(NamedTuple):
    """The parameters that only `glocal` has."""

    alpha: float | None = None
    tau: float | None = None


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
        if value is None:
            return None
        if isinstance(value, Mapping):
            return {key: cls._listed(item) for key, item in value.items()}
        is_list = isinstance(value, list | tuple)
        return value if is_list else [value]

    @model_validator(mode="after")
    def _check_settings(self) -> Grid:
        etas = self.eta or []
        if len({*etas}) < len(etas):
            raise ParameterError("the grid has an eta twice. Remove one.")
        self.settings()
        return self

    @property
    def methods(self) -> list[Method]:
        """The methods of the grid."""
        if self.method is not None:
            return self.method
        if isinstance(self.lmbda, dict):
            return [*self.lmbda]
        return ["glocal"]

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
            settings += self._settings_of_method(method)
        previous = []
        for setting in settings:
            parameters = setting.parameters
            if parameters in previous:
                raise ParameterError(f"the grid has the setting {parameters} twice. Remove one.")
            previous.append(parameters)
        return settings

    def _settings_of_method(self, method: Method) -> Iterator[ObjectiveSettings]:
        """Yield the settings of a method, with λ falling."""
        lmbdas = self.lmbda
        if isinstance(lmbdas, dict):
            lmbdas = lmbdas[method]
        mixes: Sequence[float | None] = self.mix
        if method == "naive":
            mixes = [None]
        local_parameters: Sequence[_LocalParameters] = [_LocalParameters()]
        if method == "glocal":
            local_parameters = self._snake()
        falling = sorted(lmbdas, reverse=True)
        for lmbda, mix, local in product(falling, mixes, local_parameters):
            yield ObjectiveSettings.from_values(
                {
                    "method": method,
                    "lmbda": lmbda,
                    "mix": mix,
                    "alpha": local.alpha,
                    "tau": local.tau,
                }
            )

    def _check_read(self) -> None:
        """Raise a ParameterError for a list that no method reads, or a method without λ."""
        readable: set[str] = set()
        for method in self.methods:
            readable.update(PARAMETERS[method])
        listed = {"mix", "alpha", "tau"} & self.model_fields_set
        unread = sorted(listed - readable)
        if unread:
            lists = " and ".join(unread)
            methods = " and ".join(self.methods)
            raise ParameterError(
                f"the grid lists {lists}, which {methods} cannot read. Remove the list, or add a "
                "method that reads it."
            )
        if not isinstance(self.lmbda, dict):
            return
        methods_of_grid = {*self.methods}
        has_same_methods = {*self.lmbda} == methods_of_grid
        if not has_same_methods:
            methods_with_lmbda = ", ".join(self.lmbda)
            methods = ", ".join(self.methods)
            raise ParameterError(
                f"the grid gives lmbda for {methods_with_lmbda} but its methods are {methods}; "
                "both must be the same."
            )

    def _snake(self) -> list[_LocalParameters]:
        """All pairs of alpha and tau, in which neighbours differ by one step of one of them."""
        taus = sorted(self.tau)
        pairs = []
        for alpha in sorted(self.alpha):
            for tau in taus:
                pairs.append(_LocalParameters(alpha, tau))
            taus.reverse()
        return pairs


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
    factors = (1.0, 3.0, 10.0, 30.0, 100.0)
    lmbdas = [float(f"{factor * smallest:.2g}") for factor in factors]
    all_but_last = lmbdas[:-1]
    by_method: dict[Method, list[float]] = {
        "global": lmbdas,
        "glocal": all_but_last,
    }
    return Grid(
        lmbda=by_method,
        alpha=[0.1, 0.25, 0.5],
        tau=[0.1],
    )


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
    lists = _grid_lists(grid, has_eta=eta, smallest=smallest)
    if lists.eta and not eta:
        raise ParameterError(
            "the grid lists eta, but the exact solver has no learning rate. Use the paper's loop."
        )
    if "glocal" in lists.methods and not local:
        if str(grid) != "arms":
            raise ParameterError("the grid has method glocal, which needs `local_features`.")
        assert isinstance(lists.lmbda, dict)
        lmbdas = lists.lmbda["global"]
        lists = Grid(lmbda={"global": lmbdas})
    return lists


def _grid_lists(grid: GridSource, *, has_eta: bool, smallest: float) -> Grid:
    """The lists of a grid: of a mapping, of a name, or of a file."""
    if isinstance(grid, Mapping):
        return Grid(**grid)
    if str(grid) == "arms":
        return default_grid(smallest)
    if str(grid) == "paper":
        if has_eta:
            return PAPER.replace(eta=PAPER_ETA)
        return PAPER
    values = read_object(
        grid,
        what="grid",
        fix="Write lists, e.g. alpha = [0.1, 0.5], in a .toml file.",
    )
    return Grid.read(values, f"grid {grid}")


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
        return [[setting] for setting in settings]
    by_start: dict[tuple[bool, float, float], list[ObjectiveSettings]] = {}
    for setting in sorted(settings, key=attrgetter("local")):
        is_naive = setting.method == "naive"
        start = (is_naive, setting.penalty, setting.identity)
        path = by_start.setdefault(start, [])
        path.append(setting)
    return sorted(by_start.values(), key=len, reverse=True)
