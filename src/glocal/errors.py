"""Errors and warnings: one tree, every message a sentence with what to do next."""

from __future__ import annotations


class GLocalError(Exception):
    """Base of every error raised on purpose by this package.

    The message says what is wrong, what was given, what is allowed and what to do.
    """


class DataError(GLocalError, ValueError):
    """Features, triplets, names or weights do not hold what they must hold."""


class ParameterError(GLocalError, ValueError):
    """A setting lies outside its allowed range, or settings contradict each other."""


class DivergedError(ParameterError):
    """The steps of the mini-batch solver were too long: its loss is no number.

    Parameters
    ----------
    message : str
    steps : int
        Taken until then.
    """

    def __init__(self, message: str, steps: int = 0) -> None:
        super().__init__(message)
        self.steps = steps


class FileError(GLocalError, OSError):
    """A file is missing, unreadable, of the wrong kind, damaged, or cannot be written."""

    def __str__(self) -> str:
        return str(self.args[0])


class MissingDependencyError(GLocalError, ImportError):
    """An optional dependency is needed for what was asked and is not installed."""


class ClusterError(GLocalError, RuntimeError):
    """A Dask cluster, or worker processes, were found, but they do not do their work to the end."""


class TrivialOptimumError(GLocalError):
    """The optimum of the objective is W = 0, which maps everything to one point."""


class GLocalWarning(UserWarning):
    """Base of every warning issued by this package."""


class DataWarning(GLocalWarning):
    """The data can be used, but something in them deserves a look."""


class UnusedWarning(GLocalWarning):
    """A setting was given that the chosen method or solver does not read."""


class NotConvergedWarning(GLocalWarning):
    """The solver stopped before the optimum; the result is marked as unconverged."""


class OverfitWarning(GLocalWarning):
    """Held-out answers are predicted worse than by scaled features without any transform."""


class CollapseWarning(GLocalWarning):
    """The transform maps all objects to (nearly) one point, or predicts no better than chance."""
