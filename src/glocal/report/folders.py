"""Runs, read back from their folders and files without data and torch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from glocal.advice import SituationRow, read_situations, recorded_scores
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.planning import STUDY_FILE
from glocal.errors import FileError, ParameterError
from glocal.evaluation.view import load_view
from glocal.files import PathLike, ending, file_name, reading
from glocal.jsonlines import read_rows
from glocal.report.runs import (
    POINT_COLUMNS,
    Block,
    PlanRecord,
    Run,
    RunRecord,
    Views,
    apply_command,
)
from glocal.report.transform import transform_run
from glocal.results import parameters_in_words
from glocal.scores import SCORE_ENDINGS, Score, Scores, read_scores
from glocal.suite.table import network_table
from glocal.transform import LinearTransform
from glocal.transform.checks import table_rows
from glocal.transform.formats import TRANSFORM_NAME

if TYPE_CHECKING:
    import pandas as pd

_ROWS = "rows.jsonl"
_POINTS = "points.jsonl"
CHOSEN = "chosen"
"""The arm of the setting that a sweep chose."""
_SIGNS = {
    "alpha": "α",
    "lmbda": "λ",
    "tau": "τ",
    "mix": "mix",
    "eta": "η",
}
_FIX = "Run again what wrote it."


def load_runs(
    paths: PathLike | Sequence[PathLike],
    features: Features | None = None,
    answers: Answers | None = None,
    *,
    force: bool = True,
) -> list[Run]:
    """Read run folders, files of scores (``.jsonl``) and transforms, each a section of the page.

    Parameters
    ----------
    paths : path, or sequence of path
        Run folders; files of ``glocal evaluate --out``; files or names of transforms.
    features, answers : Features, Answers or None
        Features of the objects by which a transform is shown, and answers that index their rows.
    force : bool
        False: features that do not belong to a transform are an error, not a warning; see
        `glocal.transform.checks.table_rows`.

    Raises
    ------
    DataError
        `force` is False, and the features do not belong to a transform.
    FileError
        A folder is no run, or a file is damaged.
    ParameterError
        A path does not exist, a transform comes without features, or features come without a
        transform.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    kinds = {str(path): _kind(Path(path)) for path in paths}
    transforms = {
        path: LinearTransform.from_pretrained(path)
        for path, kind in kinds.items()
        if kind == "transform"
    }
    if features is not None:
        if not transforms:
            raise ParameterError(
                "`features` only serve to show what a transform does, but no transform is among "
                f"{', '.join(kinds)}. Leave `features` out, or name a transform file, as "
                f"{paths[0]}/{TRANSFORM_NAME} of a sweep."
            )
        table_rows(transforms, features, force=force)
    runs: list[Run] = []
    for path, kind in kinds.items():
        if kind == "scores":
            runs += _scores_runs(Path(path))
        elif kind != "transform":
            run = _folder_run(Path(path), kind)
            runs.append(run)
        elif features is None:
            raise ParameterError(
                f"{path} is a transform; to show what it does, pass `features` of objects, and "
                "`answers` about them if you have any."
            )
        else:
            file_stem = Path(path).name.removesuffix(ending(path))
            name = file_stem or path
            run = transform_run(name, transforms[path], features, answers, file=path)
            runs.append(run)
    return runs


class _Labels(NamedTuple):
    """The images and the labels that some situations and scores are about."""

    features: str | None
    split: str


def _scores_runs(path: Path) -> Iterator[Run]:
    """Yield a run for each column of labels that `glocal try` decided, and one for other scores."""
    situations: dict[_Labels, list[SituationRow]] = {}
    scores: dict[_Labels, list[Score]] = {}
    for row in read_situations(path):
        labels = _Labels(row.features, row.split)
        situations.setdefault(labels, []).append(row)
        scores.setdefault(labels, [])
    others: list[Score] = []
    for score in read_scores(path):
        labels = _Labels(score.features, score.split)
        scores.get(labels, others).append(score)
    for labels, rows in situations.items():
        network = rows[0].network or path.stem
        name = f"What to use on {network}"
        if labels.split != "all":
            name += f": {labels.split}"
        yield Run(
            name,
            Scores(scores[labels]),
            situations=tuple(rows),
        )
    if others or not situations:
        rest = Scores(others)
        blocks = _network_blocks(rest)
        yield Run(path.stem, rest, blocks=blocks)


def _kind(path: Path) -> str:
    """What a path is: a sweep, a suite, a file of scores, a transform, or a folder of none."""
    if (path / _POINTS).is_file():
        return "sweep"
    if (path / _ROWS).is_file():
        return "suite"
    if not path.is_dir():
        return "scores" if ending(path) in SCORE_ENDINGS else "transform"
    transform = path / TRANSFORM_NAME
    return "transform" if transform.is_file() else ""


def _folder_run(path: Path, kind: str) -> Run:
    """The run of a folder that a suite or a sweep wrote."""
    if (path / STUDY_FILE).is_file():
        raise FileError(
            f"{path} is a study of glocal-collect; glocal collect report {path} --out page.html "
            "writes its page."
        )
    if not kind:
        raise FileError(
            f"{path} is not a run folder: it holds neither {_ROWS} nor {_POINTS}. Name the folder "
            "that glocal suite --out or glocal sweep --out wrote."
        )
    record = RunRecord()
    record_file = path / f"{kind}.json"
    if record_file.is_file():
        with reading(record_file, "run", _FIX) as file:
            text = file.read_bytes()
            record = RunRecord.model_validate_json(text)
    name = path.resolve().name
    bare = Run(name, record=record)
    run = _with_settings(bare, path) if kind == "sweep" else _with_fits(bare, path)
    views = _views(path, run.scores)
    return replace(run, views=views)


def _with_settings(run: Run, path: Path) -> Run:
    """The run of a sweep with its settings and its choice, or with the number of its points."""
    means = path / "means.csv"
    if not means.is_file():
        points = read_rows(path / _POINTS, what="run")
        record = run.record.model_copy(update={"unfinished_points": len(points)})
        return replace(run, record=record)
    file = path / TRANSFORM_NAME
    transform = LinearTransform.load(file)
    network = transform.record.source.network_name
    fit = transform.record.fit
    sweep = transform.record.sweep
    scores = recorded_scores(fit, CHOSEN, network)
    settings, note = _settings(means, scores)
    reason = "" if sweep is None else sweep.reason
    block = _settings_block(settings, reason, note)
    place = ("".join(scores.networks), CHOSEN)
    return replace(
        run,
        scores=scores,
        record=run.record.model_copy(update={"normalize": transform.normalize}),
        settings=settings,
        fits={} if fit is None else {place: fit},
        commands={place: apply_command(str(file), "features.npy")},
        featured=CHOSEN,
        blocks=(block,),
    )


def _settings(file: Path, scores: Scores) -> tuple[pd.DataFrame, str]:
    """The settings whose agreement and neighbours kept are known, and a note on the folds.

    The original features and the choice have their recorded `scores`, with 95 % intervals. A mean
    over a few folds has no interval: their number is too small to estimate one.
    """
    import pandas as pd

    with reading(file, "run", _FIX):
        means = pd.read_csv(file)
        scored = means.dropna(subset=["agreement", "neighbours_kept"])
        is_nameless = means["method"].isna()
        n_chosen = scored["chosen"].sum()
        if is_nameless.any() or n_chosen != 1:
            raise ValueError("it must name each method and choose one setting")
        words = []
        for row in scored.to_dict("records"):
            parameters = parameters_in_words(row, _SIGNS)
            words.append(", ".join(parameters))
        network = "".join(scores.networks)
        named = scored.assign(network=network, setting=words)
        settings = named.reindex(columns=POINT_COLUMNS)
        _set_intervals(settings, scores)
        is_unconverged = ~means["converged"]
        n_unconverged = int(is_unconverged.sum())
    note = "Agreement and neighbours kept, means over folds."
    if n_unconverged:
        note += f" Not converged on some fold: {n_unconverged} of {len(means)} settings."
    return settings, note


def _set_intervals(settings: pd.DataFrame, scores: Scores) -> None:
    """Set the recorded scores of the original features and the choice, with their intervals."""
    arms = settings["method"].mask(settings["chosen"], CHOSEN)
    for score in scores:
        metric = score.metric
        if metric in settings:
            is_arm = arms == score.transform
            settings.loc[is_arm, metric] = score.value
            settings.loc[is_arm, f"{metric}_low"] = score.low
            settings.loc[is_arm, f"{metric}_high"] = score.high


def _settings_block(settings: pd.DataFrame, reason: str, note: str) -> Block:
    """The choice with its reason, and all settings in a table."""
    import pandas as pd

    methods = settings["method"].str.cat(settings["setting"], sep=" ")
    three_decimals = "{:.3f}".format
    table = pd.DataFrame()
    table["method"] = methods.str.strip()
    table["agreement"] = settings["agreement"].map(three_decimals)
    table["neighbours kept"] = settings["neighbours_kept"].map(three_decimals)
    (chosen,) = table["method"][settings["chosen"]]
    sentence = f"Chosen: {chosen}, {reason}."
    return Block("Settings", (sentence,), note, table)


def _with_fits(run: Run, path: Path) -> Run:
    """The run of a suite with its scores, the records of its fits, and commands to apply them."""
    plan = run.record.plan or PlanRecord()
    scores = read_scores(path / _ROWS)
    fits = {}
    commands = {}
    for network, arm in scores.arms:
        folder = path / "transforms" / file_name(network)
        file = folder / f"{file_name(arm)}.npz"
        if file.exists():
            transform = LinearTransform.load(file)
            fit = transform.record.fit
            if fit is not None:
                fits[network, arm] = fit
            features = _features_of_plan(path, plan, network)
            commands[network, arm] = apply_command(str(file), features)
    return replace(
        run,
        scores=scores,
        fits=fits,
        commands=commands,
        blocks=_network_blocks(scores),
    )


def _features_of_plan(path: Path, plan: PlanRecord, network: str) -> str:
    """The features of a network, with the folder of the suite if they lie there."""
    entries = plan.networks.get(network, {})
    pattern = entries.get("features", "features.npy")
    features = pattern.replace("{network}", network)
    file = path / features
    return str(file) if file.exists() else features


def _network_blocks(scores: Scores) -> tuple[Block, ...]:
    """The differences between networks in a table, if there are any."""
    if not scores.network_gains:
        return ()
    note = "Paired on the same answers, RDMs or labels; in a suite p after Holm's correction."
    table = network_table(scores)
    block = Block("Between networks", (), note, table)
    return (block,)


def _views(path: Path, scores: Scores) -> dict[str, Views]:
    """The views in a run folder of arms that have scores."""
    views: dict[str, Views] = {}
    files = (path / "views").rglob("*.npz")
    for file in sorted(files):
        view = load_view(file)
        network = view.meta.get("network", "")
        arm = view.meta.get("arm", "")
        is_scored = (network, arm) in scores.arms
        if is_scored or not network:
            of_network = views.setdefault(network, {})
            of_network[arm] = view
    return views
