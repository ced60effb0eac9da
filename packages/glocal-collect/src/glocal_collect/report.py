"""The page of a study: its participants, its ceiling, and whether more answers would help."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from typing_extensions import TypedDict

from glocal.advice import attained_sentence, attained_shares, doubling_sentence, has_gained
from glocal.advice.subject import Agreement
from glocal.aligner.curve import (
    MIN_ANSWERS,
    CurvePoint,
    ScoreInterval,
    curve_record,
    learning_curve,
)
from glocal.aligner.folds import fit_folds
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.join import Joined, join
from glocal.errors import DataError
from glocal.evaluation.axes import FoldTransform
from glocal.evaluation.ceiling import ceiling
from glocal.evaluation.comparison import Json
from glocal.report import Block, Run, transform_run
from glocal.scores import Score
from glocal.screen import plural
from glocal_collect.curve import curve_block
from glocal_collect.export import Collected
from glocal_collect.methods import design_of
from glocal_collect.overview import JUDGED, cells, describe_people, people_table
from glocal_collect.study import Study

_COLUMNS = (
    "Answers",
    "Judgement",
    "Median s",
    "Catch failed",
    "Agrees with others",
    "Repeats alike",
)
_JUDGEMENT = (
    "Judgement: the odds of answers at random against careful ones, by agreement with a model of "
    "other people’s answers; “cannot be told” if there are too few answers, or if the odds are "
    "between 1 : 10 and 10 : 1. “Agrees with others” covers the questions that others answered "
    "too, and states their number."
)


class Standing(TypedDict):
    """Agreement before and after the fit, and the shares of the attainable gain."""

    before: float
    after: float
    has_gained: bool
    attained: list[float]


class StudyRecord(TypedDict):
    """The numbers of a study.

    ``participants`` has a row for each person, with the columns `JUDGED`, and ``curve`` and
    ``gain_of_last_doubling`` are the learning curve, all in JSON.
    """

    participants: list[dict[Hashable, Any]]
    standing: Standing
    ceiling: dict[str, Json] | None
    curve: list[CurvePoint]
    gain_of_last_doubling: ScoreInterval
    advice: str


class StudyPage(NamedTuple):
    """The run of a study, the sentences on its people and on going on, and its numbers."""

    run: Run
    sentences: tuple[str, ...]
    record: StudyRecord


def study_page(
    study: Study,
    collected: Collected,
    features: Path,
    *,
    progress: Callable[[str], None] = lambda doing: None,
) -> StudyPage:
    """Make the run of a study: its people, and what a transform fitted to their answers gains now.

    The default fit is made to all answers, and again without each third of the questions, so that
    each answer is scored by a fit that has not seen it.

    Parameters
    ----------
    study : Study
    collected : Collected
        Its answers; the answers of excluded people are not fitted.
    features : path
        Features of the images of the study, with their names or in their order.
    progress : function
        Called with the name of each step before it begins.

    Raises
    ------
    DataError
        There are fewer than 60 answers, or the features belong to other images.
    """
    loaded = Features.load(features)
    loaded.check_finite()
    answers = _answers(study, collected)
    joined = join(loaded, answers)
    loaded = loaded.named(answers.names)
    run = _fitted(loaded, joined, progress)
    progress("comparing people")
    description = describe_people(study, collected, features)
    everybody = people_table(study, collected, description)
    people = everybody[everybody["answers"] > 0]
    progress("fitting growing parts of the answers")
    curve = learning_curve(loaded, joined.answers)
    bounds = ceiling(joined.answers)
    ends = [] if bounds is None else [score.value for score in bounds.scores]
    standing = _standing(run, ends)
    advice = _advice(standing["attained"], curve)
    participants = " ".join(_participants(people, joined.answers))
    curve_numbers = curve_record(curve)
    record = StudyRecord(
        participants=people[JUDGED].reset_index().to_dict("records"),
        standing=standing,
        ceiling=None if bounds is None else bounds.record(),
        curve=curve_numbers["curve"],
        gain_of_last_doubling=curve_numbers["gain_of_last_doubling"],
        advice=advice,
    )
    run = replace(
        run,
        name=study.title,
        lead=advice,
        blocks=(_people_block(people, participants), curve_block(curve, ends)),
        commands=dict.fromkeys(run.commands, _fit_command(study, features)),
        design=design_of(study, collected, people),
    )
    return StudyPage(run, (participants, advice), record)


def _standing(run: Run, ends: Sequence[float]) -> Standing:
    """Agreement before and after the default fit, beside the ends of the ceiling."""
    agreement = _agreement(run)
    return Standing(
        before=agreement.before.value,
        after=agreement.after.value,
        has_gained=has_gained(agreement),
        attained=attained_shares(agreement, ends),
    )


def _advice(attained: Sequence[float], curve: Sequence[Score]) -> str:
    """Whether more answers would help, by the ceiling and by the last doubling."""
    sentences = [attained_sentence(attained), doubling_sentence(curve[-1])]
    return " ".join(filter(None, sentences))


def _answers(study: Study, collected: Collected) -> Answers:
    """The answers of those who are not excluded; raises a DataError if they are too few."""
    answers = collected.without(collected.excluded).answers()
    if len(answers) < MIN_ANSWERS:
        raise DataError(
            f"the study {study.title!r} has {len(answers)} answers about similarity; its "
            f"page needs at least {MIN_ANSWERS}. Make it once people have given more answers."
        )
    return answers


def _fit_command(study: Study, features: Path) -> str:
    """The command that exports the answers of a study and fits a transform to them."""
    folder = shlex.quote(str(study.folder))
    file = shlex.quote(str(features))
    export = f"glocal collect export {folder} --out answers.npz"
    fit = f"glocal fit --features {file} --answers answers.npz"
    return f"{export} && {fit} --out transform.npz"


def _people_block(people: pd.DataFrame, sentence: str) -> Block:
    """The participants in a sentence and a table."""
    columns = cells(people)[list(_COLUMNS)]
    table = columns.reset_index(names="Person")
    return Block("Participants", (sentence,), _JUDGEMENT, table, data=people[JUDGED])


def _fitted(features: Features, joined: Joined, progress: Callable[[str], None]) -> Run:
    """The run of the default fit, each answer scored by a fit that has not seen its question."""
    from glocal.aligner import FitData, fit
    from glocal.aligner.fitting import fit_each_fold, fit_plan

    data = FitData(features, joined.answers, n_dropped=joined.n_dropped)
    progress("fitting")
    transform = fit(data).transform
    progress("fitting parts of the answers")
    parts = fit_folds(data, unit="questions")
    plan = fit_plan(data, None, None)
    solutions = fit_each_fold(plan, parts)
    folds = []
    for solution, part in zip(solutions, parts, strict=True):
        n_answers = len(part.data.answers)
        fold = FoldTransform(solution.transform, n_answers)
        folds.append((fold, part.answers))
    return transform_run("transform", transform, features, joined.answers, folds=folds)


def _agreement(run: Run) -> Agreement:
    """Agreement before and after the default fit."""
    (network,) = run.scores.networks
    agreement = run.subject(network, run.featured).agreement
    if agreement is None:
        raise DataError("the fit of the study has no agreement. Collect more answers.")
    return agreement


def _participants(people: pd.DataFrame, answers: Answers) -> Iterator[str]:
    """Sentences on who took part, who is excluded, and whose answers look random."""
    is_excluded = people["excluded"].notna()
    is_marked = people["is_marked"] & ~is_excluded
    n_people = len(people)
    yield (
        f"{n_people:,} {plural('participant', n_people)} took part. The fit uses "
        f"{len(answers):,} answers from {answers.n_people or 0:,} of them"
        f"{_listed(is_excluded, '; excluded: ')}."
    )
    if is_marked.any():
        yield (
            f"{_listed(is_marked, 'Answering as if at random: ')}; their answers are in the fit. "
            "If the rule that you wrote down beforehand says so, exclude them with glocal collect "
            "people STUDY --exclude ID, and make this page again."
        )


def _listed(is_member: pd.Series[bool], start: str) -> str:
    """`start` followed by the ids of the members; empty if there are no members."""
    ids = is_member.index[is_member].tolist()
    return start + ", ".join(map(str, ids)) if ids else ""
