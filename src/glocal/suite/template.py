"""Suite files to start from: the tables of the paper for a named model, with the commands that bring the data."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from importlib.resources import files

from glocal.data.sources import breeds, published
from glocal.errors import ParameterError
from glocal.suite.text import file_stems

TEMPLATES = ("paper",)
_PUBLISHED = "transforms/"
_COARSE = "labels_coarse.txt"


def template(name: str, model: str, file: str = "paper.toml") -> str:
    """The text of a suite file for one network.

    Parameters
    ----------
    name : {"paper"}
    model : str
        As `glocal extract --model` takes it. An arm `published` is among the others where the authors published a
        transform of this model.
    file : str
        What the file will be called, for the commands in it.

    Raises
    ------
    ParameterError
        An unknown template, or a name that is not one readable line.

    Examples
    --------
    >>> lines = template("paper", "timm:vit_base_patch16_224.dino").splitlines()
    >>> [line for line in lines if line.startswith("[networks")]
    ['[networks."timm-vit_base_patch16_224.dino"]']
    """
    if name not in TEMPLATES:
        raise ParameterError(f"template is {name!r}; allowed are {', '.join(TEMPLATES)}.")
    if not model.strip() or not model.isprintable():
        raise ParameterError(f"model is {model!r}; give the name that glocal extract --model takes, in one line.")
    network = file_stems([(model,)])[model,]
    known = next((one for one in published().values() if one.name.startswith(f"{_PUBLISHED}{model}/")), None)
    written = f"glocal suite template {name} --model {shlex.quote(model)} --out {shlex.quote(file)}"
    marks = {
        "MODEL": model, "WRITTEN": written, "SHELL": shlex.quote(model), "NETWORK": network,
        "NETWORK_KEY": f'"{network}"', "FILE": shlex.quote(file),
        "FETCH": "" if known is None else f"{shlex.quote(known.name)} ",
        "PUBLISHED": "" if known is None else f'\n[arms.published]\ntransform = "{known.path}"\n',
        "FEW_SHOT": _tables("few-shot", _few_shot()), "ANOMALY": _tables("anomaly", _anomaly()),
    }  # fmt: skip
    text = files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8")
    for mark, value in marks.items():
        text = text.replace(f"@{mark}@", value)
    return text


def _few_shot() -> Iterator[tuple[str, dict[str, str]]]:
    for name in breeds():
        yield name, _breeds(name)
    yield "cifar100", _both("cifar100")
    yield "cifar100-coarse", _both("cifar100", _COARSE)
    yield "dtd", _both("dtd")
    yield "sun397", {"train": "{network}/sun397", "train_labels": "{network}/sun397/labels.txt"}


def _anomaly() -> Iterator[tuple[str, dict[str, str]]]:
    of_classes = {name: _both(name) for name in ("cifar10", "cifar100", "dtd", "flowers102", "imagenet30")}
    of_classes["cifar100-coarse"] = _both("cifar100", _COARSE)
    for name, keys in sorted(of_classes.items()):
        yield name, keys
        yield f"{name}-leave-one-out", {**keys, "mode": "leave-one-out"}
    subclasses = {f"{part}_subclasses": f"{{network}}/cifar100-{part}/labels.txt" for part in ("train", "test")}
    yield "cifar100-shift", {**_both("cifar100", _COARSE), **subclasses, "mode": "shift"}
    sides = {part: f"{{network}}/cifar10-{part}" for part in ("train", "test")}
    yield "cifar10-against-cifar100", {**sides, "anomalies": "{network}/cifar100-test"}
    for name in breeds():
        yield name, _breeds(name)


def _both(name: str, labels: str = "labels.txt", test: str = "test") -> dict[str, str]:
    """The training and the test images of a data set, with their labels."""
    keys: dict[str, str] = {}
    for key, part in (("train", "train"), ("test", test)):
        keys |= {key: f"{{network}}/{name}-{part}", f"{key}_labels": f"{{network}}/{name}-{part}/{labels}"}
    return keys


def _breeds(name: str) -> dict[str, str]:
    return {**_both("imagenet", test="val"), "breeds": name}


def _tables(kind: str, tasks: Iterator[tuple[str, dict[str, str]]]) -> str:
    return "".join(
        f'\n[tasks.{kind}-{name}]\nkind = "{kind}"\n' + "".join(f'{key} = "{value}"\n' for key, value in keys.items())
        for name, keys in tasks
    )
