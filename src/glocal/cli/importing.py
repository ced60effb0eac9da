"""``glocal data import``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from glocal._version import __version__
from glocal.cli.answers import Order
from glocal.cli.output import AsJson, put, put_json, status
from glocal.data.importing import FORMATS, import_answers
from glocal.errors import ParameterError
from glocal.files import writable_target


def import_command(
    file: Annotated[Path, typer.Argument(help="A file of answers of another system.", metavar="FILE")],
    out: Annotated[Path, typer.Option("--out", help="The answers, .npz.")],
    format: Annotated[str, typer.Option("--format", help=f"What it is: {', '.join(FORMATS)}.")] = "table",
    column: Annotated[
        list[str] | None,
        typer.Option("--column", help="ROLE=COLUMN: which column, or key, plays a role; may be given several times."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", help="COLUMN=VALUE: take only these rows; may be given several times."),
    ] = None,
    object_ids: Annotated[
        Path | None,
        typer.Option("--object-ids", help="Names of the objects in the order of their indices, one a line."),
    ] = None,
    base: Annotated[int | None, typer.Option("--base", help="Index of the first object, 0 or 1. [default: 0]")] = None,
    order: Order = None,
    odd_column: Annotated[
        int | None,
        typer.Option("--odd-column", help="Column of the odd one, from 0, in answers of THINGS. [default: 2]"),
    ] = None,
    values: Annotated[
        str | None, typer.Option("--values", help="What a matrix holds: similarity or dissimilarity.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", help="Most answers made of a matrix or of AligNet. [default: 1000000]")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Of the draw where there are more than --limit. [default: 42]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read answers of another system, say what was left out, and write a file that describes itself.

    A table is CSV, or JSON as jsPsych writes it, with named columns; salmon's responses and NIGHTS are tables. Kind,
    names of the objects, persons, times, weights and catch trials travel in the file; every command reads it.

    Example: glocal data import answers.csv --column reference=anchor --out answers.npz
    """
    out = writable_target(out, endings=(".npz",))
    given: dict[str, Any] = {
        "columns": _pairs(column, "--column"), "where": _pairs(where, "--where"), "names": object_ids, "base": base,
        "order": order, "odd_column": odd_column, "values": values, "limit": limit, "seed": seed,
    }  # fmt: skip
    with status(f"importing {file}"):
        found = import_answers(file, format, **given)
    answers, passed = found.answers, found.answers.catch_passed
    answers.save(out, provenance={"version": __version__, **found.understood, "dropped": found.dropped})
    catch = None if passed is None else {"n": len(passed), "passed": int(passed.sum())}
    if as_json:
        put_json({
            "n": len(answers), "kind": answers.kind, "objects": len(answers.named()), "people": answers.n_people,
            "total_weight": answers.total_weight, "chance": answers.chance, "catch": catch, "dropped": found.dropped,
            "understood": found.understood, "out": str(out),
        })  # fmt: skip
        return
    people = "" if answers.n_people is None else f" of {answers.n_people} people"
    weights = "" if answers.weights is None else f", total weight {answers.total_weight:.6g}"
    put(f"{len(answers)} answers ({answers.kind}){people} about {len(answers.named())} objects{weights}")
    if columns := found.understood.get("columns"):
        put("columns: " + ", ".join(f"{role} is {name!r}" for role, name in columns.items()))
    if ranking := found.understood.get("ranking"):
        put(f"rankings: {ranking}")
    for reason, n in found.dropped.items():
        put(f"left out: {n} × {reason}")
    if catch:
        put(f"catch trials with a known answer: {catch['passed']} of {catch['n']} passed")
    put(f"written to {out}")


def _pairs(given: list[str] | None, option: str) -> dict[str, str] | None:
    pairs = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ParameterError(f"{option} is {text!r}; give NAME=VALUE.")
        pairs[name.strip()] = value.strip()
    return pairs or None
