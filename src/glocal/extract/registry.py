"""From the name of a model to the model."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

from glocal.errors import ParameterError
from glocal.extract.model import Model
from glocal.extract.names import ModelName
from glocal.extract.openclip_models import load_openclip
from glocal.extract.python_models import load_python
from glocal.extract.timm_models import load_timm
from glocal.extract.torchvision_models import load_torchvision

_LOADERS: dict[str, Callable[[ModelName], Model]] = {
    "timm": load_timm,
    "openclip": load_openclip,
    "torchvision": load_torchvision,
    "python": load_python,
}


def load_model(model: str, weights: str | None = None, *, text: bool = False) -> Model:
    """Load a network by name.

    Parameters
    ----------
    model : str
        ``timm:NAME``, ``openclip:ARCHITECTURE:WEIGHTS``, ``torchvision:NAME[:WEIGHTS]``,
        ``python:package.module:factory``, or a name that thingsvision writes.
    weights : str or None
        ``none`` for random weights, or a checkpoint file; else the library's by that name.
    text : bool
        The text tower instead of the image tower; open_clip alone has one.

    Raises
    ------
    ParameterError, FileError, MissingDependencyError
        One sentence for a name, weights or a library that is not there.
    """
    name = ModelName.parse(model, weights)
    if text:
        if name.library != "openclip":
            raise ParameterError(f"captions need a model with a text tower, openclip:…; {name} has none.")
        with _calm():
            return load_openclip(name, text=True)
    with _calm():
        return _LOADERS[name.library](name)


@contextlib.contextmanager
def _calm() -> Iterator[None]:
    """Keep the libraries' warnings off standard error: what concerns the caller is raised, in one sentence.

    A hub that cannot be reached is tried a dozen times with a line for each; weights from a file are called random.
    """
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        yield
    finally:
        logging.disable(before)
