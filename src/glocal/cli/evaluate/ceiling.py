"""``glocal evaluate ceiling``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from glocal.cli.answers import Base, Kind, Order, names_of
from glocal.cli.command import changed, takes
from glocal.cli.evaluate.common import Scored, record, with_ends
from glocal.cli.output import interval, put_table, status
from glocal.data.answers import Answers
from glocal.data.join import join
from glocal.errors import ParameterError
from glocal.evaluation.ceiling import BRAIN_SCORE, Ceiling, Reached, ceiling, reached


@takes(reached)
def ceiling_command(
    given: Scored,
    answers: Annotated[
        Path,
        typer.Option("--answers", "--triplets", help="Repeated answers: .npz, CSV with a, b, odd and person, or .npy."),
    ],
    features: Annotated[
        Path | None, typer.Option("--features", help="Also score these features on the same triplets: file or folder.")
    ] = None,
    object_ids: Annotated[
        Path | None,
        typer.Option(
            "--object-ids", help="Names of the objects the answers index, one a line; joined with file_names.txt."
        ),
    ] = None,
    brain_score: Annotated[
        bool, typer.Option("--brain-score", help=f"Also normalise by Brain-Score's constant, {BRAIN_SCORE}.")
    ] = False,
    kind: Kind = None,
    base: Base = 0,
    order: Order = None,
    **options: Any,
) -> None:
    """The accuracy that people's own disagreement leaves to a model, and how near a model comes to it.

    Example: glocal evaluate ceiling --answers repeated_answers.csv --features features.npy --transform transform.npz
    """
    about_features = {
        "--object-ids": object_ids, "--transform": given.transform,
        "--similarity": changed(ceiling_command, options), "--model": given.model, "--layer": given.layer,
    }  # fmt: skip
    if features is None and any(about_features.values()):
        named = " and ".join(name for name, value in about_features.items() if value)
        raise ParameterError(f"{named} would have no effect without features; pass --features too.")
    asked = Answers.load(answers, kind=kind, base=base, order=order)
    triplets, dropped, score = asked, 0, None
    with status("ceiling"):
        if features is not None:
            loaded = given.load(features)
            names = names_of(object_ids)
            joined = join(loaded, triplets, names)
            triplets, dropped = joined.triplets, joined.n_dropped
            score = reached(given.embedded(loaded), triplets, **options, brain_score=brain_score)
        found = ceiling(triplets) if score is None else score.ceiling
    values = {"n_people": asked.n_people, "n_dropped": dropped, **_values(found)}
    values |= {"brain_score": BRAIN_SCORE} if brain_score else {}
    values |= {} if score is None else record(score)
    given.put((score or found).scores, _lines(found, score, dropped), values, split=answers.name)
    if score is not None and not given.as_json:
        put_table(
            ["ceiling", "(accuracy - chance) / (ceiling - chance)", "accuracy / ceiling"],
            [[name, f"{value:.3f}", f"{score.ratio[name]:.3f}"] for name, value in score.normalised.items()],
        )


def _values(found: Ceiling) -> dict[str, Any]:
    bounds = {name.removeprefix("ceiling_"): value for name, value in with_ends(found.scores).items()}
    return bounds | {name: getattr(found, name) for name in ("n_triplets", "n_answers", "n_single")}


def _lines(found: Ceiling, score: Reached | None, dropped: int) -> Iterator[str]:
    for label, bound in (
        ("majority share (optimistic)", found.majority),
        ("leave one out (cautious)", found.leave_one_out),
    ):
        yield f"{label}  {interval(bound.value, bound.low, bound.high)}"
    yield f"triplets {found.n_triplets}, answers {found.n_answers}, {dropped} dropped in the join"
    if score is not None:
        yield f"accuracy ({score.similarity}) on them  {interval(score.accuracy, score.low, score.high)}"
