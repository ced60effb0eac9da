"""``glocal evaluate people`` and ``glocal data filter``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from glocal.cli.answers import Base, Kind, ObjectIds, Order, names_of
from glocal.cli.command import takes
from glocal.cli.evaluate.common import Scored, TransformPath, embedded
from glocal.cli.output import AsJson, put, put_json, put_table
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.join import join
from glocal.data.people import People, people, without
from glocal.errors import ParameterError
from glocal.evaluation.alignment import answer_credit
from glocal.files import atomic_write, writable_target
from glocal.results import PEOPLE, Score
from glocal.suite.text import csv

_SHOWN = 10
AnswersPath = Annotated[Path, typer.Option("--answers", "--triplets", help="Answers with persons, as .npz or CSV.")]
OptionalFeatures = Annotated[
    Path | None, typer.Option("--features", help="Also the agreement of these features with each person.")
]


@takes(people)
def people_command(
    given: Scored,
    answers: AnswersPath,
    features: OptionalFeatures = None,
    object_ids: ObjectIds = None,
    kind: Kind = None,
    base: Base = 0,
    order: Order = None,
    table: Annotated[Path | None, typer.Option("--table", help="Write a row for each person: .csv.")] = None,
    **options: Any,
) -> None:
    """Each person beside the others: agreement on shared questions and with a model, times, catch trials.

    Example: glocal evaluate people --answers answers.npz --features features.npy
    """
    if table is not None:
        table = writable_target(table, endings=(".csv",))
    found = people(*_given(answers, features, given.transform, object_ids, kind, base, order, given.load), **options)
    columns = {"person": found.person, **found.columns()}
    if table is not None:
        import pandas as pd

        with atomic_write(table) as stream:
            stream.write(csv(pd.DataFrame(columns)).encode())
    scores = [Score("people", name, value, n=n, transform=PEOPLE) for name, value, n in found.means()]
    random, inattentive = found.odds_random > found.convicting, found.odds_inattentive > found.convicting
    values = {
        "n": len(found.person), "chance": float(found.chance.mean()), "fast_seconds": options["fast"],
        **{score.metric: score.value for score in scores},
        "random": found.person[random].tolist(), "inattentive": found.person[inattentive].tolist(),
        "people": [{name: each[i].item() for name, each in columns.items()} for i in range(len(found.person))],
    }  # fmt: skip
    given.put(scores, _lines(found, values, options["fast"]), values, split=answers.name)
    if not given.as_json:
        _put_lowest(found)


@takes(people)
def filter_command(
    answers: AnswersPath,
    rule: Annotated[
        str,
        typer.Option(
            "--drop-raters", help="Whom to drop: conditions as catch<0.8, any of several with commas between."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The answers of the others, .npz.")],
    features: OptionalFeatures = None,
    transform: TransformPath = None,
    object_ids: ObjectIds = None,
    kind: Kind = None,
    base: Base = 0,
    order: Order = None,
    as_json: AsJson = False,
    **options: Any,
) -> None:
    """Leave out persons by a stated rule, and say how many persons and answers it drops, condition by condition.

    A rule may be about whatever `glocal evaluate people` shows: answers, shared, agreement, model, seconds (median),
    fast, catch, catch_trials, odds.

    Example: glocal data filter --answers answers.npz --drop-raters 'catch<0.8,fast>0.5' --out kept.npz
    """
    out = writable_target(out, endings=(".npz",))
    loaded, credit = _given(answers, features, transform, object_ids, kind, base, order)
    found = people(loaded, credit, **options)
    failing = found.failing(rule)
    drop = np.logical_or.reduce(list(failing.values()))
    kept = without(loaded, found.person[drop])
    kept.save(out, provenance={"drop_raters": rule, **options, "dropped_persons": found.person[drop].tolist()})
    reasons = {
        condition: {"persons": int(met.sum()), "answers": int(found.answers[met].sum())}
        for condition, met in failing.items()
    }
    values = {
        "n": len(kept), "people": int((~drop).sum()), "dropped_answers": len(loaded) - len(kept),
        "dropped_persons": found.person[drop].tolist(), "rule": rule, "reasons": reasons, "out": str(out),
    }  # fmt: skip
    if as_json:
        put_json(values)
        return
    for condition, number in reasons.items():
        put(f"{condition}: {number['persons']} of {len(found.person)} persons with {number['answers']} answers")
    put(f"dropped {int(drop.sum())} persons and {len(loaded) - len(kept)} of {len(loaded)} answers")
    put(f"{len(kept)} answers of {int((~drop).sum())} persons written to {out}")


def _given(
    path: Path, features: Path | None, transform: str | None, object_ids: Path | None, kind: str | None, base: int,
    order: Path | None, load: Callable[[Path], Features] = Features.load,
) -> tuple[Answers, np.ndarray | None]:  # fmt: skip
    """The answers as they are in the file, and how right the features are on each; NaN where an object has none."""
    answers = Answers.load(path, kind=kind, base=base, order=order)
    if features is None:
        if transform is not None or object_ids is not None:
            raise ParameterError("--transform and --object-ids apply to features; pass --features too.")
        return answers, None
    return answers, credit_of(load(features), answers, transform, object_ids)


def credit_of(loaded: Features, answers: Answers, transform: str | None, object_ids: Path | None) -> np.ndarray:
    """How right features are on each answer; NaN where an object has no features."""
    joined = join(loaded, answers, names_of(object_ids))
    credit = np.full(len(answers), np.nan)
    credit[joined.kept] = answer_credit(embedded(loaded, transform), joined.triplets)
    return credit


def _lines(found: People, values: dict[str, Any], fast: float) -> Iterator[str]:
    yield f"{len(found.person)} persons, {int(found.answers.sum())} answers, chance {values['chance']:.3f}"
    if found.shared.any():
        yield (
            f"agreement with the majority of the others  {values['people_agreement']:.3f}   over persons; "
            f"{int(found.shared.sum())} answers to questions that others answered too"
        )
    else:
        yield "agreement with others is unknown: no question was answered twice (--features compares with a model)"
    if found.model is not None:
        yield f"agreement of the features  {values['people_model']:.3f}   {_span(found.model)}"
    if found.seconds is not None and found.fast is not None:
        yield (
            f"median seconds of an answer  {values['people_seconds']:.2f}   {_span(found.seconds)}; "
            f"below {fast:g} s  {values['people_fast']:.3f} of the answers"
        )
    if found.catch is not None and found.catch_trials is not None:
        passed = f"{values['people_catch']:.3f}   {_span(found.catch)}"
        yield f"catch trials passed  {passed}, {found.catch_trials.sum()} trials"
    for name in ("random", "inattentive"):
        how = "answers look random" if name == "random" else "catch trials look random"
        if values[name]:
            yield f"{len(values[name])} persons whose {how}: {', '.join(map(str, values[name][:_SHOWN]))}"


def _span(values: np.ndarray) -> str:
    return f"from {np.nanmin(values):.3g} to {np.nanmax(values):.3g}"


def _put_lowest(found: People) -> None:
    """The persons whose answers look most random."""
    columns = found.columns()
    order = np.argsort(-found.odds_random, kind="stable")[:_SHOWN]
    rows = [[str(found.person[i]), *(_cell(values[i]) for values in columns.values())] for i in order]
    put_table(["person", *columns], rows)


def _cell(value: Any) -> str:
    return str(value) if isinstance(value, np.integer) else "" if np.isnan(value) else f"{value:.3g}"
