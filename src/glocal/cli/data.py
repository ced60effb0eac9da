"""``glocal data``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from glocal.cli.answers import AnswersFile
from glocal.cli.check import check_command
from glocal.cli.command import takes
from glocal.cli.features import FeaturesPath
from glocal.cli.fetch import fetch_command
from glocal.cli.importing import import_command
from glocal.cli.output import AsJson, put, put_json
from glocal.data.features import Features
from glocal.data.splits import split_answers, split_persons
from glocal.errors import DataError, ParameterError
from glocal.files import atomic_write, make_folder

app = typer.Typer(
    help="Check and split features and answers; import other people's; fetch published ones.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command("fetch")(fetch_command)
app.command("import")(import_command)


@app.callback()
def _data() -> None:
    """Check and split features and answers; import other people's; fetch published ones."""


@app.command("split")
@takes()
def split(
    features: FeaturesPath,
    given: AnswersFile,
    out: Annotated[Path, typer.Option("--out", help="Folder for train.npy and heldout.npy, or .npz: see below.")],
    by: Annotated[str, typer.Option("--by", help="Hold out objects, or persons.")] = "objects",
    folds: Annotated[int, typer.Option("--folds", help="Parts the objects (or persons) are split into.")] = 3,
    fold: Annotated[int, typer.Option("--fold", help="The part held out, from 0.")] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Of the split.")] = 42,
    as_json: AsJson = False,
) -> None:
    """Hold out the answers on a fold of objects, or of persons; both files keep the index space of the input.

    Odd-one-out answers with nothing but weights beside them are written as .npy, all others as .npz.

    Example: glocal data split --features features.npy --triplets triplets.npy --folds 3 --fold 0 --out split
    """
    loaded = Features.load(features)
    answers, joined = given.joined(loaded)
    if by not in ("objects", "persons"):
        raise ParameterError(f"by is {by!r}; allowed are objects and persons.")
    if by == "objects":
        train, heldout = split_answers(joined.answers, len(loaded), folds=folds, fold=fold, seed=seed)
    else:
        train, heldout = split_persons(joined.answers, folds=folds, fold=fold, seed=seed)
    kept = answers.select(joined.kept)
    parts = {"train": kept.select(train), "heldout": kept.select(heldout)}
    for name, part in parts.items():
        if not len(part):
            raise DataError(
                f"no answer falls into the {name} part of fold {fold} of {folds}. Use another number of folds."
            )
    make_folder(out)
    known = (answers.person, answers.seconds, answers.names)
    bare = answers.kind == "odd-one-out" and all(one is None for one in known)
    ending = ".npy" if bare else ".npz"
    for name, part in parts.items():
        part.save(out / f"{name}{ending}")
        if bare and part.weights is not None:
            with atomic_write(out / f"{name}_weights.npy") as stream:
                np.save(stream, part.weights, allow_pickle=False)
    counts = {name: len(part) for name, part in parts.items()}
    between = len(kept) - sum(counts.values())
    if as_json:
        put_json({**counts, "between": between, "n_dropped": joined.n_dropped, "folds": folds, "fold": fold,
                  "seed": seed, "out": str(out)})  # fmt: skip
        return
    put(f"{counts['train']} answers to train on, {counts['heldout']} held out (fold {fold} of {folds}, seed {seed})")
    put(f"{between} left out: their {by} lie in both parts; {joined.n_dropped} dropped: no features")
    put(f"written to {out / f'train{ending}'} and {out / f'heldout{ending}'}, 0-based{', odd one last' * bare}")


app.command("check")(check_command)
