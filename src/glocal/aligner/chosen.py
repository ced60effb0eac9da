"""The options of a fit as a command line, a file or keywords spell them, made into its arm, its solver and its data."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from glocal.aligner.arm import Arm
from glocal.aligner.data import FitData
from glocal.aligner.exact import Exact
from glocal.aligner.loop import Loop
from glocal.aligner.profile import profile_of
from glocal.aligner.settings import ProfileOptions
from glocal.errors import ParameterError, UnusedWarning
from glocal.options import options_of
from glocal.solver.minibatch import Engine

_OF_PROFILE = ("solver", "eta", "optimiser", "squared", "local_standardized")
_OF_LOOP = ("engine", "validation")
_GONE = {
    "rank": "a fit uses the row space if there are fewer rows than columns, and all directions otherwise",
    "devices": "the mini-batch solver runs in one process",
}
_READERS = {"local_features": "glocal"} | {
    name: found.only for owner in (Arm, FitData, Exact) for name, found in options_of(owner).items() if found.only
}


@dataclass(frozen=True)
class Chosen:
    """What the options of a fit choose; `data` are options of `FitData`."""

    arm: Arm
    solver: Exact | Loop
    data: dict[str, Any]

    @classmethod
    def of(cls, options: Mapping[str, Any], *, local: bool) -> Chosen:
        """Choose by options of `Arm`, `Exact`, `Loop`, `FitData` and the profile; None keeps what the profile says.

        Without a method it is `glocal` where there are `local` features, else `global`. An unknown option, a value
        outside its range, or options of the other solver are a ParameterError; ``rank`` and ``devices``, which nothing
        reads any more, an UnusedWarning.
        """
        given = dict(options)
        for name, instead in _GONE.items():
            if given.pop(name, None) is not None:
                warnings.warn(f"{name} is no longer needed and has no effect: {instead}.", UnusedWarning, stacklevel=3)
        profile = profile_of(
            given.pop("profile", ProfileOptions.profile), **{name: given.pop(name, None) for name in _OF_PROFILE}
        )
        if given.get("method") is None:
            given["method"] = "glocal" if local else "global"
        loop = {name: given.pop(name) for name in _OF_LOOP if given.get(name) is not None}
        given = {name: value for name, value in given.items() if name not in _OF_LOOP}
        of_arm, of_exact, of_data = (_taken(given, owner) for owner in (Arm, Exact, FitData))
        if given:
            raise ParameterError(f"{sorted(given)[0]} is not an option of a fit.")
        exact = Exact(**of_exact, profile=profile.name)
        solver: Exact | Loop = exact
        if profile.solver == "minibatch":
            solver = Loop(profile, loop.get("engine", Engine()), loop.get("validation"), exact.dtype, exact.device)
        elif loop:
            raise ParameterError(
                "validation and engine belong to solver minibatch (with --precision and --checkpoints), but "
                "the solver is lbfgs; leave them out, or pass --solver minibatch (solver=)."
            )
        data = {**of_data, "local_standardized": profile.local_standardized}
        return cls(Arm(**of_arm, squared=profile.squared), solver, data)

    def warn_unused(self, given: Mapping[str, str]) -> None:
        """Name the settings that were given, as they were spelled, although the method or the solver reads none."""
        warn_unused(given, self.solver.name, self.arm.method)


def warn_unused(given: Mapping[str, str], solver: str, method: str | None = None) -> None:
    """Name the settings that no method or solver in use reads; `method` None means that all methods are in use.

    `given` maps each setting that was given to how it is spelled where it was.
    """
    idle: dict[str, list[str]] = {}
    for name, spelled in given.items():
        reader = _READERS.get(name)
        if reader is not None and reader != solver and (reader == Exact.name or method not in (None, reader)):
            idle.setdefault(reader, []).append(spelled)
    for reader, names in idle.items():
        kind = "solver" if reader == Exact.name else "method"
        one = len(names) == 1
        warnings.warn(
            f"{' and '.join(names)} {'has' if one else 'have'} no effect: only {kind} {reader} reads "
            f"{'it' if one else 'them'}, and this is {solver if method is None else f'{method} with {solver}'}.",
            UnusedWarning,
            stacklevel=3,
        )


def _taken(given: dict[str, Any], owner: type) -> dict[str, Any]:
    """The options of one dataclass, taken out of the mapping."""
    return {name: given.pop(name) for name in options_of(owner) if name in given}
