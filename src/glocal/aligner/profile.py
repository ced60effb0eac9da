"""Profiles: every choice in which the authors' procedure and ours differ, named, in two readable columns."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from glocal.errors import ParameterError
from glocal.options import check_kind
from glocal.solver.minibatch import Training

SOLVERS = ("lbfgs", "minibatch")
TIES = ("shared", "wrong")
_OF_THE_LOOP = ("eta", "optimiser")


@dataclass(frozen=True, kw_only=True)
class Profile(Training):
    """How an arm is fitted, apart from its own α, λ and τ; the defaults are those of the profile ``"modern"``.

    The first group counts for both solvers, the second for ``minibatch`` alone.

    Parameters
    ----------
    name : str
        ``"modern"`` or ``"neurips2023"``.
    solver : {"lbfgs", "minibatch"}
        The exact solver, or the paper's loop.
    local_standardized : bool
        Standardize local images by the two scalars of the objects. False trains the local term on raw features, teacher
        and student, although the transform is applied to standardized ones.
    squared : bool
        `naive` penalises ‖W‖²_F. False is ‖W‖_F, which the authors' script computes and calls l2.
    start_scale : float or None
        c of the start W = cI; None is the c that fits the answers best.
    start_bias : float
        Every entry of b at the start, if a bias is learned. The last two count for ``lbfgs`` only in modern.
    eta, optimiser, momentum, batch_size, clip, warmup_epochs, warmup_from, decay, max_epochs, min_delta, kept,
    reshuffled
        See `glocal.solver.minibatch.Training`. The authors' schedule is torch's ``LinearLR`` with its defaults: the
        learning rate climbs from η/3 to η in `max_epochs` epochs and never falls. They keep the last weights, not the
        best, and draw blocks of local images anew in each pass.
    min_epochs, patience : int
        Of `glocal`.
    min_epochs_global, patience_global : int
        Of `global` and `naive`, which the authors fit by another script.
    validation_folds : int or None
        K: object fold 0 of K, and fold 0 of K of the local images, are kept out of the fit and only watched by the
        stopping rule. The authors' `glocal` script stops its cross-validation after the first fold and saves that
        fold's weights, so that a quarter of the objects never counts. None fits all and watches what it fits.
    weighted_watch : bool
        The stopping rule watches the objective as it is weighted; False: L_global + L_local, whatever α, without
        penalty.
    ties : {"shared", "wrong"}
        In the accuracy on the watched fold: a tie among k pairs earns 1/k, or nothing. ``"wrong"`` calls any two equal
        probabilities a tie, also those of the two other pairs, and three that agree to two decimals.

    References
    ----------
    The scripts published with Muttenthaler et al. 2023; docs/fidelity.md goes through them one by one.
    """

    name: str = "modern"
    solver: str = "lbfgs"
    local_standardized: bool = True
    squared: bool = True
    start_scale: float | None = None
    start_bias: float = 0.0
    min_epochs_global: int = 20
    patience_global: int = 15
    validation_folds: int | None = None
    weighted_watch: bool = True
    ties: str = "shared"

    def __post_init__(self) -> None:
        if self.solver not in SOLVERS:
            raise ParameterError(f"solver is {self.solver!r}; allowed are {' and '.join(SOLVERS)}.")
        if self.ties not in TIES:
            raise ParameterError(f"ties is {self.ties!r}; allowed are {' and '.join(TIES)}.")
        if self.start_scale is not None and not self.start_scale > 0:
            raise ParameterError(f"start_scale is {self.start_scale}; it must be above 0, since W = 0 is stationary.")
        if self.validation_folds is not None and self.validation_folds < 2:
            raise ParameterError(f"validation_folds is {self.validation_folds}; at least 2 are needed, or None.")
        Training.__post_init__(self)

    def of(self, method: str) -> Profile:
        """The same with the epochs of one method."""
        if method == "glocal":
            return self
        return dataclasses.replace(self, min_epochs=self.min_epochs_global, patience=self.patience_global)

    def differences(self, other: Profile) -> dict[str, tuple[Any, Any]]:
        """The settings in which two profiles differ, each with both values."""
        names = [f.name for f in dataclasses.fields(self)]
        return {
            name: (getattr(self, name), getattr(other, name))
            for name in names
            if getattr(self, name) != getattr(other, name)
        }


MODERN = Profile()

NEURIPS2023 = Profile(
    name="neurips2023",
    solver="minibatch",
    local_standardized=False,
    squared=False,
    start_scale=1e-3,
    start_bias=1e-3,
    warmup_epochs=100,
    warmup_from=1 / 3,
    decay="none",
    min_epochs_global=15,
    patience_global=10,
    kept="last",
    reshuffled=True,
    validation_folds=4,
    weighted_watch=False,
    ties="wrong",
)

PROFILES = {profile.name: profile for profile in (MODERN, NEURIPS2023)}


def profile_of(profile: str | Profile, **given: Any) -> Profile:
    """A profile by its name, with the settings that were given on top of it; None leaves what the profile says.

    Raises
    ------
    ParameterError
        No such profile; a learning rate or an optimiser for a solver that has none; a value outside its range.
    """
    if not isinstance(profile, Profile):
        if profile not in PROFILES:
            raise ParameterError(f"profile is {profile!r}; allowed are {' and '.join(PROFILES)}.")
        profile = PROFILES[profile]
    changed = {name: value for name, value in given.items() if value is not None}
    if "eta" in changed:
        check_kind("eta", changed["eta"], float)
    profile = dataclasses.replace(profile, **changed)
    if profile.solver == "lbfgs":
        for name in _OF_THE_LOOP:
            if name in changed:
                raise ParameterError(
                    f"{name} is given but solver lbfgs has none. Pass --solver minibatch (solver=), or leave it out."
                )
    return profile
