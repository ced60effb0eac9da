"""``glocal data``: check, split and import files of answers, and fetch published files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import typer
from pydantic import Field
from typer import Argument, Option

from glocal._version import __version__
from glocal.aligner.people import people
from glocal.cli.options import (
    FEATURES,
    Normalize,
    ObjectFiles,
    ObjectIds,
    flat,
    read_ids,
    refuse_overwriting_inputs,
)
from glocal.cli.output import (
    catalogue,
    in_options,
    print_message,
    print_result,
    progress_bar,
    table_lines,
)
from glocal.data.answers import Answers
from glocal.data.check import diagnose, diagnose_answers
from glocal.data.check.answers import named_people
from glocal.data.check.findings import SEVERITIES, Case, Finding
from glocal.data.features import Features
from glocal.data.importing import import_answers
from glocal.data.sources.fetch import cache_folder, fetch
from glocal.data.sources.registry import published, published_file
from glocal.data.splits import split_joined
from glocal.data.tables import read_list
from glocal.errors import ParameterError
from glocal.evaluation.comparison import Result
from glocal.evaluation.reliability import reliability
from glocal.files import make_folder, writable_target, write_text
from glocal.options import Options

app = typer.Typer(
    help="Check, split and import answers; fetch published files.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


class Conventions(Options):
    """The conventions of rows of integers (.npy or text) that another system wrote."""

    panel: ClassVar[str] = "Conventions of other systems"

    kind: Literal["odd-one-out", "anchor", "nearest-of-n"] | None = Field(
        None, description="Question type. [default: odd-one-out]"
    )
    odd_column: int = Field(2, ge=0, le=2, description="Column of the odd one out.")
    base: int = Field(0, ge=0, le=1, description="Index of the first object in the answers.")
    order: Path | None = Field(
        None, description="Sort index; raw index i stands for object argsort(ORDER)[i]."
    )


@app.command("check")
@flat
def check_command(
    conventions: Conventions,
    features: Path | None = Option(None, help=FEATURES),
    answers: Path | None = Option(None, help="Answers to check too."),
    object_ids: ObjectIds = None,
    local_features: Path | None = Option(None, help="Local images to check too."),
    test_answers: Path | None = Option(
        None, help="Answers that the fit does not see, read like --answers."
    ),
) -> None:
    """Diagnose features and answers; exit with 1 if something invalidates the results.

    With warnings and notes alone, the exit code is 0. The command takes the conventions of other
    systems, and data import then converts the answers. It checks answers alone too. If answers
    name people, it states how reliable they are: the ceiling, and how well two halves of the people
    agree; and it names those who answer as if at random.

    Example: glocal data check --features features.npy --answers triplets.npy
    Example: glocal data check --answers answers.npz
    """
    with progress_bar("checking"):
        ids = read_ids(object_ids)
        trained = _read(answers, ids, conventions)
        tested = _read(test_answers, ids, conventions)
        objects = None
        if features is not None:
            objects = Features.load(features)
            local = None if local_features is None else Features.load(local_features)
            order = None
            if conventions.order is not None:
                order = read_list(conventions.order, what="order")
            findings = diagnose(Case(objects, local, trained, tested, object_ids=ids, order=order))
        elif trained is not None and local_features is None:
            findings = diagnose_answers(trained, tested)
        else:
            raise ParameterError(
                "there is nothing to check, or nothing to compare `local_features` with. Give "
                "`features`, `answers` or both."
            )
        agreement = None
        if trained is not None and (trained.n_people or 0) > 1:
            agreement = reliability(trained)
            table = people(trained)
            findings = [
                *findings,
                *named_people(table, table["is_marked"], "random", "answer as if at random"),
            ]
    _print_findings(findings, objects, agreement)


@app.command("people")
@flat
def people_command(
    answers: Annotated[Path, Argument(help="Answers that name their people.", metavar="ANSWERS")],
    features: Path | None = Option(
        None, help="Features of the objects, for the model of the answers."
    ),
    object_ids: ObjectIds = None,
    out: Path | None = Option(None, help="CSV file of the table, with all columns."),
) -> None:
    """List the people of any answers, and mark those who answer as if at random.

    Each person is compared with the others, and with a model of their answers. Above 256 objects
    the model needs --features.

    Example: glocal data people answers.npz --out people.csv
    """
    if out is not None:
        writable_target(out, what="--out", endings=(".csv",))
        refuse_overwriting_inputs("--out", out, answers, features)
    loaded = Answers.load(answers, names=read_ids(object_ids))
    with progress_bar("comparing people"):
        table = people(loaded, None if features is None else Features.load(features))
    if out is not None:
        write_text(out, table.to_csv(index_label="person"))
    lines = [
        [str(row.Index), f"{row.answers:g}", f"{row.agreement:.2f}", row.judgement]
        for row in table.itertuples()
    ]
    rows = table.astype(object).where(table.notna(), None)
    print_result(
        {"people": rows.rename_axis("person").reset_index().to_dict("records"), "out": out},
        table=table_lines(["person", "answers", "agrees with others", "judgement"], lines),
    )


def _read(
    path: Path | None, names: tuple[str, ...] | None, conventions: Conventions
) -> Answers | None:
    """Read answers as every command does, or with the conventions that were passed."""
    if path is None:
        return None
    if not conventions.model_fields_set:
        return Answers.load(path, names=names)
    stated = conventions.model_dump(exclude_unset=True)
    return import_answers(path, names=names, **stated).answers


def _print_findings(
    findings: Sequence[Finding], features: Features | None, agreement: Result | None
) -> None:
    """Print findings and how reliable the answers are; exit with 1 if one is an error."""
    in_words = [
        replace(each, message=in_options(each.message), fix=in_options(each.fix))
        for each in findings
    ]
    counts = Counter(finding.severity for finding in findings)
    n, p = (None, None) if features is None else features.matrix.shape
    sentences = [] if n is None else [f"features: {n} rows, {p} columns"]
    if agreement is not None:
        sentences.append(agreement.summary())
    sentences += [f"{finding.severity}: {finding}" for finding in in_words]
    record = {
        "n": n,
        "p": p,
        "errors": counts["error"],
        "warnings": counts["warning"],
        "findings": in_words,
        "reliability": None if agreement is None else agreement.record(),
    }
    totals = [f"{counts[name]} {name}{'s' * (counts[name] != 1)}" for name in SEVERITIES]
    print_result(record, *sentences, ", ".join(totals))
    if counts["error"]:
        raise typer.Exit(1)


@app.command("split")
@flat
def split_command(
    files: ObjectFiles,
    out: Annotated[Path, Option(help="Folder for train.npz and heldout.npz.")],
    by: Literal["objects", "people"] = Option("objects", help="Unit that is held out."),
    folds: int = Option(3, min=2, help="Number of folds of the objects (or participants)."),
    fold: int = Option(0, min=0, help="Number of the held-out fold, counted from 0."),
    seed: int = Option(42, min=0, help="Seed of the split."),
) -> None:
    """Hold out the answers on a fold of objects, or of participants.

    Both files keep the object numbers of the input and hold the names of --object-ids, so that
    other commands need no --object-ids.

    Example: glocal data split --features features.npy --answers triplets.npy --out split
    """
    features, answers, joined = files.joined()
    targets = {name: out / f"{name}.npz" for name in ("train", "heldout")}
    for target in targets.values():
        refuse_overwriting_inputs("--out", target, *files.paths)
    options = {"folds": folds, "fold": fold, "seed": seed}
    parts = split_joined(answers, joined, len(features), by=by, **options)
    make_folder(out)
    for name, part in parts.items():
        part.save(targets[name])
    sizes = {name: len(part) for name, part in parts.items()}
    if sizes["heldout"] >= sizes["train"]:
        print_message("warning: as many answers are held out as trained on; pass more --folds.")
    between = len(joined.answers) - sum(sizes.values())
    details = {"between": between, "n_dropped": joined.n_dropped, **options, "out": out}
    print_result(sizes | details)


@app.command("curve")
@flat
def curve_command(
    files: ObjectFiles,
    folds: int = Option(3, min=2, help="Folds of questions."),
    seed: int = Option(42, min=0, help="Seed of the folds and of the parts."),
    normalize: Normalize = False,
    out: Path | None = Option(None, help="CSV file of the curve."),
) -> None:
    """Print the agreement for growing numbers of answers, to show whether more would help.

    An eighth, a quarter, half and all of the answers outside each fold of questions are fitted and
    scored on the fold. The last line is the gain of the last doubling; another doubling gains less.

    Example: glocal data curve --features features.npy --answers triplets.npy
    """
    from glocal.aligner.curve import curve_record, learning_curve

    if out is not None:
        writable_target(out, what="--out", endings=(".csv",))
    features, joined = files.to_fit()
    with progress_bar("fitting parts of the answers"):
        rows = features.unit(always=normalize)
        scores = learning_curve(rows, joined.answers, folds=folds, seed=seed)
    *curve, gain = scores
    record = curve_record(scores)
    if out is not None:
        import pandas as pd

        write_text(out, pd.DataFrame(record["curve"]).to_csv(index=False))
    counts = {"n": len(joined.answers), "n_dropped": joined.n_dropped}
    lines = [[score.transform, score.text()] for score in curve]
    lines.append(["last doubling", gain.text()])
    table = table_lines(["fitted to", "agreement"], lines)
    print_result({**record, **counts}, table=table)


@app.command("import")
@flat
def import_command(
    file: Annotated[Path, Argument(help="A file of answers from another system.", metavar="FILE")],
    out: Annotated[Path, Option(help="The answers, .npz.")],
    conventions: Conventions,
    object_ids: ObjectIds = None,
    column: list[str] | None = Option(
        None, help="ROLE=COLUMN, a title of another name; repeatable."
    ),
) -> None:
    """Read answers of another system, count those left out, and write a file for all commands.

    A table, CSV or a JSON list of records, has the columns a, b, odd; or a, b, c, odd; or
    reference, closer, farther; or reference, left, right, chosen; and perhaps person, seconds and
    weight. For rows of integers (text or .npy) state the conventions by --kind, --odd-column,
    --base and --order.

    Example: glocal data import answers.csv --column reference=anchor --out answers.npz
    """
    with progress_bar(f"importing {file}"):
        imported = import_answers(
            file,
            names=object_ids,
            columns=_roles(column or []),
            **conventions.model_dump(exclude_unset=True),
        )
    answers = imported.answers
    origin = {"version": __version__, **imported.interpretation, "dropped": imported.dropped}
    answers.save(out, provenance=origin)
    passed = answers.catch_passed
    record = {
        "n": len(answers),
        "kind": answers.kind,
        "objects": len(answers.named_objects()),
        "people": answers.n_people,
        "catch": None if passed is None else {"n": len(passed), "passed": int(passed.sum())},
        "dropped": imported.dropped,
        "interpretation": imported.interpretation,
        "out": out,
    }
    print_result(record)


def _roles(texts: Sequence[str]) -> dict[str, str] | None:
    """The column of each role in texts ROLE=COLUMN; None without any."""
    columns = {}
    for text in texts:
        role, equals, column = text.partition("=")
        if not equals:
            raise ParameterError(f"--column is {text!r}; give ROLE=COLUMN.")
        columns[role] = column
    return columns or None


@app.command("fetch")
@flat
def fetch_command(
    names: list[str] | None = Argument(None, help="Names of published files."),
    out: Path | None = Option(None, help="Also copy the files into this folder."),
) -> None:
    """Download published files once, verify their checksums, and print their paths.

    Without a name, the files are listed with their sizes and licences. Files are stored in the
    folder that $GLOCAL_CACHE names, or else in the cache folder of this system; an intact file is
    not downloaded again. The proxies of the environment are used. features/NAME becomes a feature
    folder, and things/answers an .npz with the names of its objects.

    Example: glocal data fetch things/triplets-test10 things/sortindex --out data
    Example: glocal data fetch features/clip-vit-l-14 things/answers --out data
    """
    if not names:
        return _list_published()
    results = []
    for file in [*map(published_file, names)]:
        with progress_bar(f"fetching {file.name}, {file.size_in_words}", unit="B") as progress:
            path = fetch(file.name, out=out, progress=progress)
        print_message(f"{file.name}: {file.licence}; {file.citation}")
        results.append(replace(file, path=str(path)))
    print_result({"files": results}, *(result.path for result in results))


def _list_published() -> None:
    """Print the published files."""
    files = [*published().values()]
    entries = [
        (file.name, f"{file.size_in_words}, {file.licence}", file.what, file.warning)
        for file in files
    ]
    print_result({"cache": cache_folder(), "files": files}, *catalogue(entries))
