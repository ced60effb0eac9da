"""`Sweep`: the grid search of the method, in scikit-learn manner."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped
from sklearn.base import BaseEstimator

from glocal.aligner import Chosen, FitData
from glocal.aligner.arm import METHODS
from glocal.aligner.profile import Profile
from glocal.aligner.settings import (
    DataOptions,
    Dtype,
    OptimiserName,
    ProfileName,
    ProfileOptions,
    SolverName,
    SolverOptions,
)
from glocal.data.answers import Answers
from glocal.data.check import warn_of_answers, warn_of_local
from glocal.data.features import Features, as_matrix
from glocal.errors import ParameterError
from glocal.extras import needed
from glocal.files import PathLike
from glocal.sweep.data import SweepData
from glocal.sweep.grid import Grid
from glocal.sweep.options import SweepOptions
from glocal.sweep.outcome import Outcome, conclude
from glocal.sweep.run import Progress, SweepPlan, run
from glocal.sweep.selection import check_rule
from glocal.sweep.store import PointStore
from glocal.sweep.views import write_views


class Sweep(BaseEstimator):
    """Fit and score a grid on object folds, choose one setting, refit it on everything.

    Parameters
    ----------
    grid : "arms", "paper", Grid, mapping, path or None
        All arms in 20 points a fold, the paper's grid, or lists of alpha, lmbda, tau and optionally method, mix, bias,
        eta; lmbda may be a mapping of arms to lists. None is ``"arms"``, and ``"paper"`` with solver ``minibatch``.
        Learning rates, the paper's or listed, are of that solver only; without any it takes the profile's.
    method : str, sequence of str or None
        The arms that walk the grid, ``"all"`` for every one; None leaves those of the grid. `glocal` needs local
        features: without any, ``"arms"`` and ``"all"`` are `naive` and `global`.
    folds : int
        Parts of the objects, and of the local images; each is held out once.
    select : str
        ``"front-knee"``, ``"val-loss"`` or a constraint such as ``"neighbours_kept>=0.8"``; see
        `glocal.sweep.selection.choose`.
    exchange : float or None
        Choose by the agreement that all neighbours are worth, in place of the knee; None does so only of a nearly
        straight front, by 0.3.
    tol : float
        Relative tolerance of the points; the refit of the choice uses that of `glocal.fit_arm`.
    max_evaluations, block_size, seed, dtype, device, local_standardized, solver, profile, optimiser
        As in `glocal.fit_arm`. With solver ``minibatch`` every point is a fit of its own from the start of the profile;
        where the profile keeps a fold for the stopping rule (``validation_folds``), the rule watches what the sweep
        holds out.
    local_blocks : int or None
        Blocks of local images that every point trains on. None: all, at most 16; the mini-batch solver takes all.

    Attributes
    ----------
    results_ : DataFrame
        One row for each point: fold, setting, held-out scores, objective, evaluations, converged, status, seconds; of
        the mini-batch solver also eta, steps, epochs and the reason of its end.
    means_ : DataFrame
        Means and standard errors over folds, one row for each setting.
    front_ : DataFrame
        The settings no other beats in both agreement and neighbours kept, below the row of the original features.
    best_ : dict
        The chosen setting with its means.
    rule_, reason_ : str
        The rule that chose it, and why.
    transform_ : LinearTransform
        The choice refitted on all objects; its meta holds the whole front.

    Examples
    --------
    >>> from glocal.data.world import simulated_world
    >>> world = simulated_world(n_triplets=20000, n_local=90)
    >>> sweep = Sweep({"alpha": [0.1, 0.5], "lmbda": [0.1], "tau": [0.25]}, select="val-loss")
    >>> sweep = sweep.fit(world.objects, world.triplets, local_features=world.local)
    >>> len(sweep.results_), sweep.best_["alpha"]
    (6, 0.1)
    """

    def __init__(
        self,
        grid: str | Grid | Mapping[str, Any] | PathLike | None = SweepOptions.grid,
        *,
        method: str | Sequence[str] | None = None,
        folds: int = SweepOptions.folds,
        select: str = SweepOptions.select,
        exchange: float | None = SweepOptions.exchange,
        tol: float = SweepOptions.tol,
        max_evaluations: int = SolverOptions.max_evaluations,
        block_size: int = DataOptions.block_size,
        seed: int = DataOptions.seed,
        dtype: Dtype = SolverOptions.dtype,
        device: str = SolverOptions.device,
        local_blocks: int | None = None,
        local_standardized: bool | None = None,
        solver: SolverName | None = None,
        profile: ProfileName | Profile = ProfileOptions.profile,
        optimiser: OptimiserName | None = None,
    ) -> None:
        self.grid = grid
        self.method = method
        self.folds = folds
        self.select = select
        self.exchange = exchange
        self.tol = tol
        self.max_evaluations = max_evaluations
        self.block_size = block_size
        self.seed = seed
        self.dtype = dtype
        self.device = device
        self.local_blocks = local_blocks
        self.local_standardized = local_standardized
        self.solver = solver
        self.profile = profile
        self.optimiser = optimiser

    def fit(
        self,
        X: Features | Float[np.ndarray, "n p"],
        y: Answers | Int[np.ndarray, "t 3"],
        *,
        local_features: Features | Float[np.ndarray, "m p"] | None = None,
        downstream: tuple[Features | Float[np.ndarray, "d p"], Shaped[np.ndarray, " d"]] | None = None,
        out: PathLike | None = None,
        resume: bool = False,
        keep_transforms: bool = True,
        scheduler: str | None = None,
        progress: Progress | None = None,
    ) -> Sweep:
        """Sweep, choose and refit.

        Parameters
        ----------
        X : Features or (n, p) array
            Object features, not standardized.
        y : Answers or (t, 3) integers
            Answers on rows of X.
        local_features : Features, (m, p) array or None
            Local images: trained on outside the fold, scored inside it. None: neighbours kept are counted among the
            held-out objects, and there is no `glocal`.
        downstream : (features, labels) or None
            Labelled images (integers or names) on which every point is scored too: leave-one-out 1-nearest-neighbour
            accuracy.
        out : path or None
            Folder of the sweep, which a later call with `resume` goes on with; None keeps nothing.
        resume, keep_transforms : bool
            Go on with the sweep in `out`; write the transform of every point there.
        scheduler : str or None
            Address or scheduler file of a Dask cluster on which the paths walk; None walks them in this process.
        progress : function or None
            Called with each finished row, the number of finished points and their total.

        Returns
        -------
        Sweep
            Itself.

        Raises
        ------
        ParameterError, DataError, FileError
            Before any fit is run, where the grid, the folds, the folder or the scheduler cannot be used.
        ClusterError
            The cluster failed; finished points are kept in `out`.
        """
        check_rule(self.select, self.exchange)
        if scheduler is not None:
            needed("distributed", "--scheduler")
        own = ("grid", "method", "folds", "select", "exchange")
        options = {name: value for name, value in self.get_params().items() if name not in own}
        choices = Chosen.of({**options, "method": "global"}, local=local_features is not None)
        grid = self._grid(choices.solver.name, local=local_features is not None).walked_by(choices.solver)
        fit = FitData(
            _features(X, "X"),
            y if isinstance(y, Answers) else Answers.from_array(y),
            None if local_features is None else _features(local_features, "local_features"),
            **choices.data,
        )
        data = SweepData(
            fit,
            None if downstream is None else _features(downstream[0], "downstream"),
            None if downstream is None else np.asarray(downstream[1]),
        )
        data.check(self.folds)
        warn_of_answers(fit.features, fit.triplets)
        if fit.local_features is not None:
            warn_of_local(fit.features, fit.local_features, fit.drawn[0])
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) if out is None else out
            plan = SweepPlan(data, grid, self.folds, choices.solver, choices.arm.squared)
            points = [point for path in plan.paths() for point in path]
            keep = keep_transforms and out is not None
            store = PointStore(folder, plan.config(), points, resume=resume, keep_transforms=keep)
            run(plan, store, progress, scheduler=scheduler)
            outcome = conclude(plan, store, self.select, self.exchange)
            if out is not None:
                outcome.save(store.folder)
                write_views(plan, outcome, store.folder)
        return self._learned(outcome)

    def _learned(self, outcome: Outcome) -> Sweep:
        self.results_ = outcome.results
        self.means_ = outcome.means
        self.front_ = outcome.front
        self.best_ = outcome.best
        self.rule_ = outcome.rule
        self.reason_ = outcome.reason
        self.transform_ = outcome.transform
        return self

    def _grid(self, solver: str, *, local: bool) -> Grid:
        """The grid with the arms that were asked for; without local features all of them are all but `glocal`."""
        source = self.grid
        if source is None:
            source = "paper" if solver == "minibatch" else "arms"
        if isinstance(source, Grid):
            grid = source
        else:
            grid = Grid.of(source) if isinstance(source, Mapping) else Grid.load(source, solver)
        asked = [self.method] if isinstance(self.method, str) else self.method
        every = tuple(method for method in METHODS if local or method != "glocal")
        if asked is not None:
            grid = grid.of_methods(every if "all" in asked else tuple(dict.fromkeys(asked)))
        elif str(source) == "arms":
            grid = grid.of_methods(every)
        if "glocal" in grid.method and not local:
            raise ParameterError(
                "the grid walks method glocal, which needs local features. Give --local-features (local_features=), or "
                "walk the other arms: --method naive --method global (method=)."
            )
        return grid


def _features(value: Any, source: str) -> Features:
    return value if isinstance(value, Features) else Features(as_matrix(value), None, source)
