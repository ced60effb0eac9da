"""The tree of errors and warnings, and the import of optional libraries.

Every message is a sentence that also says what to do next.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from types import FrameType
from typing import Any

_DISTRIBUTIONS = ("glocal", "glocal_collect")
_WRAPPERS = ("jaxtyping", "beartype")
"""Packages whose decorators stand between a caller and a function of ours if shapes are checked."""

# spaces, and joiners without which some scripts and emoji are displayed wrongly
_HARMLESS = "\u00a0\u3000\u200c\u200d"
_EXTRAS = {
    "io": "h5py safetensors pyarrow",
    "report": "altair jinja2 vl_convert",
    "extract": "torch PIL timm open_clip torchvision",
    "paper": "torch lightning",
    "distributed": "distributed",
    "hub": "huggingface_hub",
}
"""The modules of each extra; all other modules are dependencies of the package itself."""
_PACKAGES = {"PIL": "pillow", "open_clip": "open-clip-torch", "vl_convert": "vl-convert-python"}


def printable(text: str) -> str:
    r"""Escape the characters of a text that could control a terminal or break a line.

    Names and keys in files may hold sequences that move the cursor of a terminal, rewrite its lines
    or set its title.

    >>> print(printable("cat\x1b[2J\n"))
    cat\x1b[2J\n
    """
    return "".join(
        character
        if character.isprintable() or character in _HARMLESS
        else character.encode("unicode_escape").decode()
        for character in text
    )


def one_line(error: BaseException) -> str:
    """The message of an error on one line, without a final full stop."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """A question that offers the most similar of the `names` that exist; empty if none is similar.

    >>> did_you_mean("alpah", ["alpha", "tau"])
    ' Did you mean alpha?'
    """
    similar = get_close_matches(name, [*names])
    return f" Did you mean {' or '.join(similar)}?" if similar else ""


class GLocalError(Exception):
    """Base class of every error that this package raises on purpose.

    The message says what is wrong, what was given, what is allowed and what to do. It is shown as
    one line, so that names from files cannot control a terminal.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class DataError(GLocalError, ValueError):
    """Features, answers, names or weights have invalid content."""


class ParameterError(GLocalError, ValueError):
    """A setting lies outside its allowed range, or settings contradict each other."""


class DivergedError(GLocalError):
    """The loss of the paper's loop is NaN or infinite after `steps` steps, which were too long."""

    def __init__(self, message: str, steps: int = 0) -> None:
        super().__init__(message)
        self.steps = steps


class FileError(GLocalError, OSError):
    """A file is missing, unreadable, of the wrong kind, damaged, or cannot be written."""

    def __str__(self) -> str:
        return printable(str(self.args[0]))


class MissingDependencyError(GLocalError, ImportError):
    """An optional dependency that a call needs is not installed, or cannot be imported."""


class PluginError(GLocalError):
    """A function of another distribution cannot be loaded, or fails."""


class ClusterError(GLocalError, RuntimeError):
    """A Dask cluster or the worker processes started, but were lost before they finished."""


class TrivialOptimumError(GLocalError):
    """λ is not below `lambda_max`: the optimum is W = 0, which maps everything to one point."""

    def __init__(self, message: str, lambda_max: float) -> None:
        super().__init__(message)
        self.lambda_max = lambda_max


class GLocalWarning(UserWarning):
    """Base class of every warning that this package issues."""

    def __str__(self) -> str:
        return printable(super().__str__())


class DataWarning(GLocalWarning):
    """The data can be used, but something in them should be checked."""


class UnrelatedWarning(DataWarning):
    """Features and answers do not seem to belong together: they agree as often as by chance."""


class NotConvergedWarning(GLocalWarning):
    """The solver stopped before the optimum; the result is marked as unconverged."""


class OverfitWarning(GLocalWarning):
    """The transform predicts held-out answers worse than scaled features without a transform."""


class CollapseWarning(GLocalWarning):
    """The transform maps all objects to (nearly) one point, or predicts no better than chance."""


def warn(message: str, category: type[GLocalWarning]) -> None:
    """Issue a warning at the line that called this package."""
    caller = _caller_of_package()
    warnings.warn_explicit(
        message,
        category,
        filename=caller.f_code.co_filename,
        lineno=caller.f_lineno,
        module=caller.f_globals.get("__name__", "__main__"),
        registry=caller.f_globals.setdefault("__warningregistry__", {}),
    )


def _caller_of_package() -> FrameType:
    """The frame that called the outermost function of this package."""
    outermost = frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if _package(frame) in _DISTRIBUTIONS:
            outermost = frame
    caller = outermost.f_back or outermost
    while caller.f_back is not None and _package(caller) in _WRAPPERS:
        caller = caller.f_back
    return caller


def _package(frame: FrameType) -> str:
    """The top-level package that a frame's code belongs to."""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def import_optional(module: str, what: str) -> Any:
    """Import an optional module; `what`, which needs it, is the subject of the error message.

    Raises
    ------
    MissingDependencyError
        The module is not installed, or is installed but cannot be imported.
    """
    name = module.partition(".")[0]
    try:
        import_module(name)
        return import_module(module)
    except ImportError as error:
        package = _PACKAGES.get(name, name.replace("_", "-"))
        extras = [extra for extra, modules in _EXTRAS.items() if name in modules.split()]
        requirement = f"'.[{extras[0]}]'" if extras else package
        place = " from a checkout of glocal" if extras else ""
        raise MissingDependencyError(
            f"{what} needs {package}, which cannot be imported ({one_line(error)[:160]}). "
            f"Install it{place}: pip install {requirement}."
        ) from error
