"""What loading from timm, open_clip and torchvision has in common: find the name and the weights, build, describe."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from torch import nn

from glocal.errors import FileError, ParameterError
from glocal.extract.model import Model, described
from glocal.extract.names import RANDOM, ModelName
from glocal.extract.weights import is_file, load_checkpoint, random_weights, weights_sha256
from glocal.files import one_line

Build = Callable[[str | None], tuple[nn.Module, Callable[[Any], Any]]]
"""Maps the name of weights, None for random ones, to the network and its preprocessing."""


def library_model(
    name: ModelName, build: Build, *, models: Iterable[str], tags: Iterable[str], default: str | None
) -> Model:
    """A network of a library, in the order of steps that all libraries share; its layers are still to be named.

    `build` is called once, with the weights to fetch. `models` are the networks that the library knows, `tags` the
    weights that it has for this one, `default` those that are taken where none are named.
    """
    models, tags = list(models), list(tags)
    if name.name not in models:
        near = ", ".join(get_close_matches(name.name, models, n=4))
        hint = f" Did you mean {near}?" if near else ""
        raise ParameterError(f"{name.package} has no model {name.name}.{hint} {name.package}.list_models() lists all.")
    fetched = not is_file(name.weights) and name.weights != RANDOM
    tag = (name.weights or default) if fetched else None
    if fetched and tag not in tags:
        given = "needs the name of its weights" if tag is None else f"has no weights {tag}"
        raise ParameterError(
            f"{name.library}:{name.name} {given}; allowed are {', '.join(tags) or 'none of its own'}, a checkpoint "
            "file, or none for random ones."
        )
    try:
        module, preprocess = random_weights(lambda: build(None)) if tag is None else build(tag)
    except Exception as error:
        if tag is None:
            raise ParameterError(f"{name.package} cannot build {name.name}: {one_line(error)}.") from error
        raise unreachable(name, error) from error
    if is_file(name.weights):
        load_checkpoint(module, Path(str(name.weights)))
    identity = {
        "weights": tag or name.weights,
        "weights_sha256": weights_sha256(module),
        "preprocessing": described(preprocess),
    }
    return Model(str(name), module, preprocess, module, identity)


def unreachable(name: ModelName, error: BaseException) -> FileError:
    """The sentence for weights that could not be downloaded."""
    return FileError(
        f"the weights of {name} are not on this machine and could not be fetched ({one_line(error)[:160]}). Download "
        "them on a machine with network access and pass the file: --weights PATH, or after the name of the model."
    )
