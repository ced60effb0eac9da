"""``glocal data import`` and ``glocal data export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from glocal._version import __version__
from glocal.cli.answers import Base, OddColumn, Order
from glocal.cli.output import AsJson, put, put_json, status
from glocal.data.answers import Answers
from glocal.data.importers.formats import FORMATS, export_answers, import_answers
from glocal.errors import ParameterError
from glocal.files import writable_target

_WRITTEN = ", ".join(name for name, one in FORMATS.items() if one.write)


def import_command(
    file: Annotated[Path, typer.Argument(help="A file of answers of another system.", metavar="FILE")],
    format: Annotated[str, typer.Option("--format", help=f"What it is: {', '.join(FORMATS)}.")],
    out: Annotated[Path, typer.Option("--out", help="The answers, .npz.")],
    column: Annotated[
        list[str] | None,
        typer.Option("--column", help="ROLE=COLUMN: which column, or key, plays a role; may be given several times."),
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option("--where", help="COLUMN=VALUE: take these rows alone; several times for more.")
    ] = None,
    object_ids: Annotated[
        Path | None,
        typer.Option("--object-ids", help="Names of the objects in the order of their indices, one a line."),
    ] = None,
    base: Base = 0,
    order: Order = None,
    odd_column: OddColumn = 2,
    values: Annotated[
        str | None, typer.Option("--values", help="What a matrix or ratings hold: similarity or dissimilarity.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", help="Most answers made of a matrix, ratings or AligNet.")
    ] = 1_000_000,
    seed: Annotated[int, typer.Option("--seed", help="Of the draw where there are more than --limit.")] = 42,
    as_json: AsJson = False,
) -> None:
    """Read answers of another system, say what was dropped, and write a file that describes itself.

    Kind, names of the objects, persons, times, votes and catch trials travel in it; every command reads it.

    Example: glocal data import answers.csv --format csv --column reference=anchor --out answers.npz
    """
    out = writable_target(out, endings=(".npz",))
    given: dict[str, Any] = {
        "columns": _pairs(column, "--column"), "where": _pairs(where, "--where"), "names": object_ids, "base": base,
        "order": order, "odd_column": odd_column, "values": values, "limit": limit, "seed": seed,
    }  # fmt: skip
    with status(f"importing {file}"):
        found = import_answers(file, format, **given)
    provenance = {"version": __version__, **found.understood, "dropped": found.dropped}
    found.answers.save(out, provenance=provenance)
    result = {**_described(found.answers), "dropped": found.dropped, "understood": found.understood, "out": str(out)}
    if as_json:
        put_json(result)
        return
    people = "" if result["people"] is None else f" of {result['people']} people"
    weights = "" if found.answers.weights is None else f", total weight {found.answers.total_weight:.6g}"
    put(f"{len(found.answers)} answers ({result['kind']}){people} about {result['objects']} objects{weights}")
    columns = found.understood.get("columns", {})
    if columns:
        put("columns: " + ", ".join(f"{role} is {name!r}" for role, name in columns.items()))
    for reason, n in found.dropped.items():
        put(f"left out: {n} × {reason}")
    if result["catch"]:
        put(f"catch trials with a known answer: {result['catch']['passed']} of {result['catch']['n']} passed")
    put(f"written to {out}")


def export_command(
    answers: Annotated[Path, typer.Argument(help="A file of answers.", metavar="ANSWERS")],
    format: Annotated[str, typer.Option("--format", help=f"What to write: {_WRITTEN}.")],
    out: Annotated[Path, typer.Option("--out", help="The file; cblearn and psiz go by its ending.")],
    kind: Annotated[str | None, typer.Option("--kind", help="Of the answers, if the file does not say it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write answers as another system reads them.

    Example: glocal data export answers.npz --format salmon --out responses.csv
    """
    out = writable_target(out)
    loaded = Answers.load(answers, kind=kind)
    export_answers(loaded, out, format)
    if as_json:
        put_json({**_described(loaded), "format": format, "out": str(out)})
        return
    put(f"{len(loaded)} answers written to {out}")


def _described(answers: Answers) -> dict[str, Any]:
    passed = answers.catch_passed
    return {
        "n": len(answers), "kind": answers.kind, "objects": len(answers.named()),
        "people": answers.n_people, "total_weight": answers.total_weight, "chance": answers.chance,
        "catch": None if passed is None else {"n": len(passed), "passed": int(passed.sum())},
    }  # fmt: skip


def _pairs(given: list[str] | None, option: str) -> dict[str, str]:
    pairs = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ParameterError(f"{option} is {text!r}; give NAME=VALUE.")
        pairs[name.strip()] = value.strip()
    return pairs
