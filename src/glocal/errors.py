"""Errors and warnings: one tree, every message a sentence with what to do next."""

from __future__ import annotations

import unicodedata

_JOINERS = "\u200c\u200d"  # letters of some scripts, and emoji, are wrong without them


def printable(text: str) -> str:
    r"""Make a text safe to show: control characters, and what turns or splits a line, become escapes that can be read.

    Names and keys of files may hold sequences that move the cursor of a terminal, rewrite its lines or set its title.

    >>> print(printable("cat\x1b[2J\n"))
    cat\x1b[2J\n
    """
    if text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    hidden = unicodedata.category(character) in ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp") and character not in _JOINERS
    return character.encode("unicode_escape").decode() if hidden else character


def counted(number: int, noun: str) -> str:
    """A number of things: ``1 error``, ``2 errors``."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


class GLocalError(Exception):
    """Base of every error raised on purpose by this package.

    The message says what is wrong, what was given, what is allowed and what to do. It is shown as one line, so that
    names from files cannot control a terminal.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class DataError(GLocalError, ValueError):
    """Features, answers, names or weights have invalid content."""


class ParameterError(GLocalError, ValueError):
    """A setting lies outside its allowed range, or settings contradict each other."""


class DivergedError(ParameterError):
    """The loss of the paper's loop became NaN or infinite after so many `steps`: they were too long."""

    def __init__(self, message: str, steps: int = 0) -> None:
        super().__init__(message)
        self.steps = steps


class FileError(GLocalError, OSError):
    """A file is missing, unreadable, of the wrong kind, damaged, or cannot be written."""

    def __str__(self) -> str:
        return printable(str(self.args[0]))


class MissingDependencyError(GLocalError, ImportError):
    """An optional dependency is needed for what was asked and is not installed."""


class ClusterError(GLocalError, RuntimeError):
    """A Dask cluster or worker processes were found but did not finish their work."""


class TrivialOptimumError(GLocalError):
    """The optimum of the objective is W = 0, which maps everything to one point, from `lambda_max` on."""

    def __init__(self, message: str, lambda_max: float) -> None:
        super().__init__(message)
        self.lambda_max = lambda_max


class GLocalWarning(UserWarning):
    """Base of every warning issued by this package."""

    def __str__(self) -> str:
        return printable(super().__str__())


class DataWarning(GLocalWarning):
    """The data can be used, but something in them deserves a look."""


class NotConvergedWarning(GLocalWarning):
    """The solver stopped before the optimum; the result is marked as unconverged."""


class OverfitWarning(GLocalWarning):
    """Held-out answers are predicted worse than by scaled features without any transform."""


class CollapseWarning(GLocalWarning):
    """The transform maps all objects to (nearly) one point, or predicts no better than chance."""
