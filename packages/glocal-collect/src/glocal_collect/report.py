"""The page of a study: its participants, its ceiling, and whether more answers would help."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from glocal.aligner.folds import fit_folds
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.join import Joined, join
from glocal.errors import DataError, import_optional
from glocal.evaluation.agreement import ceiling
from glocal.evaluation.comparison import Result
from glocal.finding import plural
from glocal.report import Block, Run, transform_run
from glocal.report.charts import COLOURS, INK, inline_data, metric_axis, tooltips
from glocal.scores import Score
from glocal_collect.export import Collected
from glocal_collect.methods import design_of
from glocal_collect.overview import JUDGED, cells, describe_people, people_table
from glocal_collect.standing import Standing, advise
from glocal_collect.study import Study

if TYPE_CHECKING:
    import altair as alt

_COLUMNS = (
    "Answers",
    "Judgement",
    "Median s",
    "Catch failed",
    "Agrees with others",
    "Repeats alike",
)
_CURVE_HEIGHT = 260  # pixels
_JUDGEMENT = (
    "Judgement: the odds of answers at random against careful ones, by agreement with a model of "
    "other people’s answers; “cannot be told” if there are too few answers, or if the odds are "
    "between 1 : 10 and 10 : 1. “Agrees with others” covers the questions that others answered "
    "too, and states their number."
)
_NO_CEILING = (
    "The ceiling, people’s agreement with each other, is not known: fewer than a tenth of the "
    "answers are to questions that were asked twice or more."
)
_CURVE = (
    "Each quarter of the questions is held out in turn, and fits to parts of the other answers are "
    "scored on it. Agreement is a fraction; in brackets the 95 % interval."
)


class StudyPage(NamedTuple):
    """The run of a study, the sentences on its people and on going on, and the numbers as JSON."""

    run: Run
    sentences: tuple[str, ...]
    record: dict[str, Any]


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
        Its answers; those of excluded people are not fitted.
    features : path
        Features of the images of the study, with their names or in their order.
    progress : function
        Called with the name of each step before it begins.

    Raises
    ------
    DataError
        There are fewer than 60 answers, or the features belong to other images.
    """
    from glocal.aligner.curve import MIN_ANSWERS, curve_record, learning_curve

    loaded = Features.load(features)
    loaded.check_finite()
    answers = collected.without(collected.excluded).answers()
    if len(answers) < MIN_ANSWERS:
        raise DataError(
            f"the study {study.title!r} has {len(answers)} answers about similarity; its "
            f"page needs at least {MIN_ANSWERS}. Make it once people have given more answers."
        )
    joined = join(loaded, answers)
    loaded = loaded.named(answers.names)
    run = _fitted(loaded, joined, progress)
    progress("comparing people")
    everybody = people_table(study, collected, describe_people(study, collected, features))
    people = everybody[everybody["answers"] > 0]
    bounds = ceiling(joined.answers)
    curve = learning_curve(loaded, joined.answers)
    standing = _standing(bounds, run)
    advice, reason = advise(curve[-1], joined.answers, standing.remaining)
    record = {
        "participants": people[[*JUDGED]].reset_index().to_dict("records"),
        "standing": standing.record(),
        "ceiling": None if bounds is None else bounds.record(),
        **curve_record(curve),
        "advice": f"{advice} {reason}",
    }
    participants = " ".join(_participants(people, joined.answers))
    blocks = (_people_block(people, participants), _curve_block(curve, record, bounds))
    commands = {run.featured: _fit_command(study, features)}
    lead = f"{standing.sentence()} {advice}"
    design = design_of(study, collected, people)
    run = replace(run, name=study.title, lead=lead, blocks=blocks, commands=commands, design=design)
    return StudyPage(run, (participants, standing.sentence(), advice, reason), record)


def _fit_command(study: Study, features: Path) -> str:
    """The command that exports the answers of a study and fits a transform to them."""
    export = shlex.join(["glocal", "collect", "export", str(study.folder), "--out", "answers.npz"])
    fit = shlex.join(["glocal", "fit", "--features", str(features), "--answers", "answers.npz"])
    return f"{export} && {fit} --out transform.npz"


def _people_block(people: pd.DataFrame, sentence: str) -> Block:
    """The participants in a sentence and a table."""
    table = cells(people)[[*_COLUMNS]].reset_index(names="Person")
    return Block("Participants", (sentence,), _JUDGEMENT, table, data=people[[*JUDGED]])


def _fitted(features: Features, joined: Joined, progress: Callable[[str], None]) -> Run:
    """The run of the default fit, each answer scored by a fit that has not seen its question."""
    from glocal.aligner import FitData, fit

    data = FitData(features, joined.answers, n_dropped=joined.n_dropped)
    progress("fitting")
    transform = fit(data).transform
    progress("fitting parts of the answers")
    folds = [(fit(fold.data).transform, fold.answers) for fold in fit_folds(data, unit="questions")]
    return transform_run("transform", transform, features, joined.answers, folds=folds)


def _curve_block(curve: Sequence[Score], record: dict[str, Any], bounds: Result | None) -> Block:
    """The learning curve as a table and a chart, with the ends of the ceiling and the advice."""
    ends = [] if bounds is None else [score.value for score in bounds.scores]
    points = record["curve"]
    sizes = [*(f"{point['answers']:,}" for point in points), "gain of the last doubling"]
    scores = [*(score.text() for score in curve[:-1]), curve[-1].text()]
    table = pd.DataFrame({"Fitted answers": sizes, "Agreement": scores})
    note = f"{_CURVE} A black line is an end of the ceiling." if ends else _CURVE
    sentences = (record["advice"], *([] if ends else [_NO_CEILING]))
    return Block("Learning curve", sentences, note, table, curve_chart(points, ends))


def curve_chart(curve: list[dict[str, Any]], ends: list[float]) -> alt.LayerChart:
    """Draw agreement with held-out answers against the number of fitted ones, and the ceiling."""
    alt = import_optional("altair", "a report")
    points = pd.DataFrame(curve)
    x = alt.X(
        "answers:Q",
        title="fitted answers",
        scale=alt.Scale(type="log", base=2, nice=False, padding=16),
        axis=alt.Axis(values=points["answers"].tolist(), format=",d"),
    )
    y, low = (metric_axis(alt.Y, name, "accuracy_cosine") for name in ("value", "low"))
    tooltip = ["answers:Q", *tooltips("value", "low", "high")]
    base = alt.Chart(inline_data(points)).encode(x, tooltip=tooltip)
    colour = COLOURS[0]
    layers = [
        base.mark_line(color=colour).encode(y),
        base.mark_rule(color=colour, strokeWidth=2).encode(low, y2="high:Q"),
        base.mark_point(color=colour, filled=True, size=80, opacity=1).encode(y),
    ]
    if ends:
        lines = alt.Chart(inline_data(pd.DataFrame({"value": ends}))).mark_rule(color=INK)
        layers.append(lines.encode(y, tooltip="value:Q"))
    return alt.layer(*layers).properties(
        height=_CURVE_HEIGHT, description="Agreement with people against the fitted answers"
    )


def _standing(bounds: Result | None, run: Run) -> Standing:
    """Where the study stands, by the scores of the default fit."""
    (network,) = run.scores.networks
    agreement = run.subject(network, run.featured).agreement
    if agreement is None:
        raise DataError("the fit of the study has no agreement. Collect more answers.")
    return Standing.of(agreement.before, agreement.after, agreement.gain, bounds)


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
