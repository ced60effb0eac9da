"""``glocal data``: check and split files, import answers of other systems, fetch published files."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import typer
from pydantic import Field

from glocal._version import __version__
from glocal.cli.catalogue import put_catalogue
from glocal.cli.inputs import AnswersFile, AnswersForm, FeaturesPath, flat, names_of, refuse_overwriting_inputs
from glocal.cli.output import AsJson, in_options, progress_bar, put_json, say, show
from glocal.data.check import SEVERITIES, Case, diagnose
from glocal.data.features import Features
from glocal.data.importing import FORMATS, import_answers
from glocal.data.sources import cache_folder, fetch, published, unknown_name
from glocal.data.splits import split_answers, split_persons
from glocal.data.tables import read_list
from glocal.errors import DataError, ParameterError
from glocal.extract.sets import image_sets
from glocal.files import make_folder, writable_target
from glocal.options import Options

app = typer.Typer(
    help="Check and split features and answers; import other people's; fetch published ones.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@app.command("check")
@flat
def check_command(
    features: FeaturesPath,
    given: AnswersForm,
    answers: Annotated[Path | None, typer.Option("--answers", "--triplets", help="Answers to check too.")] = None,
    local_features: Annotated[Path | None, typer.Option(help="Local images to check too.")] = None,
    heldout: Annotated[Path | None, typer.Option(help="Held-out answers, read like --answers.")] = None,
    as_json: AsJson = False,
) -> None:
    """Diagnose features and answers; exit with 1 if something makes results wrong, with 0 on warnings.

    Example: glocal data check --features features.npy --answers triplets.npy --object-ids unique_id.txt
    """
    with progress_bar("checking"):
        loaded = Features.load(features)
        local = None if local_features is None else Features.load(local_features)
        tested, held = (None if file is None else given.load(file) for file in (answers, heldout))
        order = None if given.order is None else read_list(given.order, what="order")
        case = Case(loaded, local, tested, held, object_ids=names_of(given.object_ids), order=order)
        found = [replace(one, fix=in_options(one.fix)) for one in diagnose(case)]
    counts = Counter(one.severity for one in found)
    n, p = loaded.matrix.shape
    show(
        as_json,
        {
            "n": n,
            "p": p,
            "errors": counts["error"],
            "warnings": counts["warning"],
            "findings": list(map(asdict, found)),
        },
        f"features: {n} rows, {p} columns",
        *(f"{one.severity}: {one}" for one in found),
        ", ".join(f"{counts[one]} {one}{'s' * (counts[one] != 1)}" for one in SEVERITIES),
    )
    if counts["error"]:
        raise typer.Exit(1)


@app.command("split")
@flat
def split_command(
    features: FeaturesPath,
    given: AnswersFile,
    out: Annotated[Path, typer.Option(help="Folder for train.npz and heldout.npz.")],
    by: Annotated[Literal["objects", "persons"], typer.Option(help="What is held out.")] = "objects",
    folds: Annotated[int, typer.Option(min=2, help="Number of parts of the objects (or persons).")] = 3,
    fold: Annotated[int, typer.Option(min=0, help="The held-out part, counted from 0.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split.")] = 42,
    as_json: AsJson = False,
) -> None:
    """Hold out the answers on a fold of objects, or of persons.

    In both files object numbers stay those of the input. The names of --object-ids are written with
    them: other commands need neither --object-ids nor the options by which the input was read.

    Example: glocal data split --features features.npy --answers triplets.npy --folds 3 --fold 0 --out split
    """
    for output in (out, out / "train.npz", out / "heldout.npz"):
        refuse_overwriting_inputs({"--out": output}, features, *given.paths)
    loaded = Features.load(features)
    answers, joined = given.joined(loaded)
    if given.object_ids is not None:
        answers = replace(answers, names=names_of(given.object_ids))
    if by == "objects":
        sides = split_answers(joined.answers, len(loaded), folds=folds, fold=fold, seed=seed)
    else:
        sides = split_persons(joined.answers, folds=folds, fold=fold, seed=seed)
    train, heldout = (answers.select(joined.kept).select(side) for side in sides)
    if not len(train) or not len(heldout):
        empty = "heldout" if len(train) else "train"
        raise DataError(f"no answer falls into the {empty} part of fold {fold} of {folds}. Use other folds.")
    make_folder(out)
    train.save(out / "train.npz")
    heldout.save(out / "heldout.npz")
    counts = {"train": len(train), "heldout": len(heldout)}
    counts |= {"between": len(joined.answers) - len(train) - len(heldout), "n_dropped": joined.n_dropped}
    show(
        as_json, {**counts, "folds": folds, "fold": fold, "seed": seed, "out": str(out)},
        f"{len(train)} answers to train on, {len(heldout)} held out (fold {fold} of {folds}, seed {seed})",
        f"{counts['between']} left out: their {by} lie in both parts; {joined.n_dropped} dropped: no features",
        f"written to {out / 'train.npz'} and {out / 'heldout.npz'}",
    )  # fmt: skip


class ImportForm(Options):
    """How to read some of the formats; None leaves it to the format."""

    panel: ClassVar[str] = "Format options"

    base: int | None = Field(None, description="Index of the first object. [default: 0]")
    place_base: int | None = Field(
        None, ge=0, le=1, description="Number of the first place, where a table says which place was picked."
    )
    order: Path | None = Field(None, description="Sort index; the object of raw index i is argsort(ORDER)[i].")
    odd_column: int | None = Field(None, description="Column of the odd one, of THINGS. [default: 2]")
    values: Literal["similarity", "dissimilarity"] | None = Field(None, description="What the matrix contains.")
    limit: int | None = Field(None, description="Most answers of a matrix or AligNet. [default: 1000000]")
    seed: int | None = Field(None, description="Random seed of that draw. [default: 42]")


@app.command("import")
@flat
def import_command(
    file: Annotated[Path, typer.Argument(help="A file of answers from another system.", metavar="FILE")],
    out: Annotated[Path, typer.Option(help="The answers, .npz.")],
    form: ImportForm,
    format: Annotated[Literal[tuple(FORMATS)], typer.Option(help="Format of the file.")] = "table",  # type: ignore[valid-type]
    column: Annotated[list[str] | None, typer.Option(help="ROLE=COLUMN of the table; repeatable.")] = None,
    where: Annotated[list[str] | None, typer.Option(help="COLUMN=VALUE: read only these rows; repeatable.")] = None,
    object_ids: Annotated[Path | None, typer.Option(help="Names of the objects, one per line.")] = None,
    as_json: AsJson = False,
) -> None:
    """Read answers of another system, say what was left out, and write a file that describes itself.

    A table is CSV, or JSON as jsPsych writes it, with named columns; salmon's responses and NIGHTS are tables. Kind,
    names of the objects, persons, times, weights and catch trials travel in the file; every command reads it.

    Example: glocal data import answers.csv --column reference=anchor --out answers.npz
    """
    out = writable_target(out, endings=(".npz",))
    refuse_overwriting_inputs({"--out": out}, file, object_ids, form.order)
    with progress_bar(f"importing {file}"):
        found = import_answers(
            file, format, names=object_ids, columns=_pairs(column, "--column"), where=_pairs(where, "--where"),
            **form.model_dump(),
        )  # fmt: skip
    answers, passed = found.answers, found.answers.catch_passed
    answers.save(out, provenance={"version": __version__, **found.interpretation, "dropped": found.dropped})
    catch = None if passed is None else {"n": len(passed), "passed": int(passed.sum())}
    record = {
        "n": len(answers), "kind": answers.kind, "objects": len(answers.named()), "people": answers.n_people,
        "catch": catch, "dropped": found.dropped, "interpretation": found.interpretation, "out": str(out),
    }  # fmt: skip
    people = "" if answers.n_people is None else f" of {answers.n_people} people"
    reading = [f"{role} is column {title}" for role, title in found.interpretation.get("columns", {}).items()]
    if "picked" in found.interpretation:
        reading.append(f"picked: {found.interpretation['picked']}")
    show(
        as_json, record,
        f"{len(answers)} answers ({answers.kind}){people} about {len(answers.named())} objects",
        *reading,
        *(f"left out: {n} × {reason}" for reason, n in found.dropped.items()),
        f"written to {out}",
    )  # fmt: skip


def _pairs(given: list[str] | None, option: str) -> dict[str, str] | None:
    if wrong := [text for text in given or [] if "=" not in text]:
        raise ParameterError(f"{option} is {wrong[0]!r}; give NAME=VALUE.")
    return dict(text.split("=", 1) for text in given or []) or None


@app.command("fetch")
def fetch_command(
    names: Annotated[list[str] | None, typer.Argument(help="Names of published files.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also copy the files below this folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Download published files once, verify their checksums, and say where they are; without a name, list them.

    The list has each file with its size and licence, and each image data set that extract opens by name with its terms.
    Files are kept in the folder that $GLOCAL_CACHE names, or else in the cache folder of this system; one that is there
    and whole is not downloaded again. The proxies of the environment are used.

    Example: glocal data fetch transforms/clip_ViT-L/14/visual things/triplets-test10 things/sortindex --out data
    """
    known = published()
    if not names:
        if as_json:
            files = [asdict(one) for one in known.values()]
            return put_json({"cache": str(cache_folder()), "files": files, "image_sets": list(image_sets().values())})
        entries = []
        for entry in known.values():
            size = f"{entry.size / 1e6:.3g} MB" if entry.size else "size unknown"
            what = f"{entry.what}. {entry.warning or ''}"
            entries.append((entry.name, size, entry.licence, what))
        for name, images in image_sets().items():
            splits = f" ({', '.join(images['splits'])})" if images["splits"] else ""
            what = f"{images['what']}{splits}, for extract."
            entries.append((name, images["size"], images["terms"], what))
        return put_catalogue(entries)
    if unknown := [name for name in names if name not in known]:
        raise unknown_name(unknown[0])
    results = []
    for name in names:
        with progress_bar(f"fetching {name}", unit="B") as progress:
            path = fetch(name, out=out, progress=lambda done, total: progress(done, total or None))
        say(f"{name}: {known[name].licence}; {known[name].citation}")
        results.append({**asdict(known[name]), "path": str(path)})
    show(as_json, {"files": results}, *(str(one["path"]) for one in results))
