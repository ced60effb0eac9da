"""From the name of a model to the model."""

from __future__ import annotations

from collections.abc import Callable

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
        return load_openclip(name, text=True)
    return _LOADERS[name.library](name)
