"""Options that several commands share, and the loading they stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from typing import Annotated, Any

import typer

from glocal.aligner.options import options_of
from glocal.cli.features import load_features
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.join import Joined, join
from glocal.errors import ParameterError
from glocal.files import read_lines

FeaturesPath = Annotated[
    Path, typer.Option("--features", help="Feature file, or folder with features.npy and file_names.txt.")
]
TripletsPath = Annotated[
    Path,
    typer.Option(
        "--triplets",
        "--answers",
        help="Answers: .npz that describes itself, or integers in .npy or text, odd one last.",
    ),
]
Kind = Annotated[
    str | None,
    typer.Option(
        "--kind",
        help="Of answers in a file that does not say: odd-one-out, anchor or nearest-of-n. [default: odd-one-out]",
    ),
]
ObjectIds = Annotated[
    Path | None,
    typer.Option(
        "--object-ids", help="Names of the objects the triplets index, one a line; joined with file_names.txt."
    ),
]
OddColumn = Annotated[int, typer.Option("--odd-column", help="Column of the odd one out: 0, 1 or 2.")]
Base = Annotated[int, typer.Option("--base", help="Index of the first object in the triplets: 0 or 1.")]
Order = Annotated[
    Path | None, typer.Option("--order", help="Sort index; the object of raw index i is argsort(ORDER)[i].")
]
Weights = Annotated[Path | None, typer.Option("--weights", help="One weight for each answer, .npy or text.")]
TransformPath = Annotated[
    Path | None, typer.Option("--transform", help="Transform file, ours or the authors'; none scores the original.")
]
LocalBlocks = Annotated[
    str,
    typer.Option("--local-blocks", help="Blocks of local images to use, or auto: all, at most 16."),
]
ProfileName = Annotated[
    str, typer.Option("--profile", help="modern, or neurips2023: the paper's procedure with all its choices.")
]
Solver = Annotated[
    str | None,
    typer.Option("--solver", help="lbfgs (exact), or minibatch (the paper's loop). [default: the profile's]"),
]
Optimiser = Annotated[str | None, typer.Option("--optimiser", help="Of minibatch: sgd, adam or adamw. [default: sgd]")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


def option_of(owner: type, name: str) -> Any:
    """The option of the command line for one field of a dataclass, with the help that stands there."""
    found = options_of(owner)[name]
    flag = "--" + name.replace("_", "-")
    return typer.Option(f"{flag}/--no-{flag[2:]}" if found.kind is bool else flag, help=found.help)


def changed(command: Callable[..., None], values: Mapping[str, Any]) -> dict[str, str]:
    """The parameters of a command whose values differ from its defaults, and their options."""
    parameters = signature(command).parameters
    names = [name for name, parameter in parameters.items() if values[name] != parameter.default]
    return {name: "--" + name.replace("_", "-") for name in names}


def number_of_blocks(given: str) -> int | None:
    """The value of --local-blocks; None for auto."""
    if given == "auto":
        return None
    try:
        return int(given)
    except ValueError as error:
        raise ParameterError(f"local_blocks is {given!r}; give a whole number of blocks, or auto.") from error


def load_answers(
    features: Path,
    triplets: Path,
    object_ids: Path | None = None,
    *,
    odd_column: int = 2,
    base: int = 0,
    order: Path | None = None,
    weights: Path | None = None,
    kind: str | None = None,
    model: str | None = None,
    layer: str | None = None,
) -> tuple[Features, Answers, Joined]:
    """Load features and answers; the answers both as given and in rows of the features."""
    loaded = load_features(features, model, layer)
    answers = Answers.load(triplets, kind=kind, odd_column=odd_column, base=base, order=order, weights=weights)
    names = None if object_ids is None else read_lines(object_ids, what="object ids")
    return loaded, answers, join(loaded, answers, names)
