"""``glocal data check``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from glocal.cli.answers import AnswersForm, names_of
from glocal.cli.command import takes
from glocal.cli.features import FeaturesPath
from glocal.cli.output import AsJson, in_options, progress_bar, put, put_json
from glocal.data.answers import Answers
from glocal.data.check import SEVERITIES, Case, Finding, diagnose
from glocal.data.features import Features
from glocal.data.tables import read_list
from glocal.errors import DataError, counted


@takes()
def check_command(
    features: FeaturesPath,
    given: AnswersForm,
    triplets: Annotated[
        Path | None, typer.Option("--triplets", "--answers", help="Answers to check with the features.")
    ] = None,
    local_features: Annotated[Path | None, typer.Option("--local-features", help="Local images to check too.")] = None,
    heldout: Annotated[
        Path | None, typer.Option("--heldout", help="Answers kept apart to score on, read as --triplets are.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Diagnose features and answers; exits 1 on what makes results wrong, 0 on warnings.

    Example: glocal data check --features features.npy --triplets triplets.npy --object-ids unique_id.txt
    """
    with progress_bar("checking", None) as progress:
        found, shape = [], {}
        try:
            loaded = Features.load(features)
        except DataError as error:
            found.append(_unreadable("features", error))
        else:
            shape = {"n": len(loaded), "p": loaded.dimensions}
            case = Case(
                loaded,
                None if local_features is None else Features.load(local_features),
                _answers(given, triplets, found),
                _answers(given, heldout, found),
                object_ids=names_of(given.object_ids),
                order=None if given.order is None else read_list(given.order, what="order"),
            )
            found += diagnose(case, lambda doing: progress(0, None, doing))
    found.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    counts = Counter(finding.severity for finding in found)
    if as_json:
        told = [{**finding.told(), "fix": in_options(finding.fix)} for finding in found]
        put_json({**shape, "errors": counts["error"], "warnings": counts["warning"], "findings": told})
    else:
        if shape:
            put(f"features: {shape['n']} rows, {shape['p']} columns, {loaded.matrix.dtype}")
        for finding in found:
            put(in_options(f"{finding.severity}: {finding}"))
        put(", ".join(counted(counts[kind], kind) for kind in SEVERITIES))
    if counts["error"]:
        raise typer.Exit(1)


def _answers(given: AnswersForm, path: Path | None, found: list[Finding]) -> Answers | None:
    """The answers of a file; None, and a finding, where they cannot be used."""
    try:
        return None if path is None else given.load(path)
    except DataError as error:
        found.append(_unreadable("answers", error))
        return None


def _unreadable(check: str, error: DataError) -> Finding:
    return Finding(
        "error", check, str(error).rstrip("."), "nothing can be computed from this file", "mend or copy the file"
    )
