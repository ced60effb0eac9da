"""Models of the user's own: a factory that returns a module or callable and its preprocessing."""

from __future__ import annotations

import hashlib
import importlib
import inspect
from pathlib import Path
from typing import Any

from torch import nn

from glocal.errors import ParameterError
from glocal.extract.model import Layer, Model, described
from glocal.extract.names import ModelName
from glocal.extract.weights import weights_sha256
from glocal.files import one_line
from glocal.jobs.leaving import tree_sha256


def load_python(name: ModelName) -> Model:
    """Call ``package.module:factory``, which returns (module or callable, preprocess)."""
    if name.weights is not None:
        raise ParameterError(f"{name.library}:{name.name} brings its own weights; leave --weights out.")
    module_name, _, attribute = name.name.partition(":")
    try:
        factory: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            factory = getattr(factory, part)
    except ModuleNotFoundError as error:
        raise ParameterError(
            f"model {name}: {one_line(error)}. Install it, or put its folder on PYTHONPATH."
        ) from error
    except AttributeError as error:
        raise ParameterError(f"model {name}: {one_line(error)}. Name the factory as it is written there.") from error
    except Exception as error:
        raise ParameterError(f"model {name} cannot be imported: {one_line(error)}.") from error
    try:
        pair = factory()
    except Exception as error:
        kind = type(error).__name__
        raise ParameterError(f"model {name}: its factory failed with {kind}: {one_line(error)}.") from error
    source = _source_sha256(factory)
    return user_model(pair, str(name), {"factory_sha256": source} if source else {})


def user_model(pair: Any, name: str, identity: dict[str, Any] | None = None) -> Model:
    """A `Model` of (module or callable, preprocess).

    A callable is known by its attribute ``weights_file``, the path of the file its weights are in, where it has one.
    """
    if not (isinstance(pair, tuple | list) and len(pair) == 2 and all(callable(part) for part in pair)):
        raise ParameterError(f"model {name} must be (module or callable, preprocess); it is {type(pair).__name__}.")
    network, preprocess = pair
    module = network if isinstance(network, nn.Module) else None
    if module is not None:
        digest: str | None = weights_sha256(module)
    else:
        file = getattr(network, "weights_file", None)
        digest = None if file is None else tree_sha256(file)
    known = {"preprocessing": described(preprocess), "weights": "its own", "weights_sha256": digest}
    parts = [] if module is None else list(module.named_modules())
    linear = [path for path, part in parts if isinstance(part, nn.Linear) and path]
    named = {"penultimate": Layer(linear[-1], "input")} if linear else {}
    return Model(name, network, preprocess, module, {**(identity or {}), **known}, named, default_layer="output")


def _source_sha256(factory: Any) -> str | None:
    try:
        file = inspect.getsourcefile(factory)
    except TypeError:
        return None
    return None if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()
