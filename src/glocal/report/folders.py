"""Runs, read back from their folders and files without data and torch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from glocal.advice import SituationRow, read_situations, recorded_scores
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.planning import STUDY_FILE
from glocal.errors import FileError, ParameterError
from glocal.evaluation.view import View, load_view
from glocal.files import PathLike, ending, file_name, reading
from glocal.jsonlines import read_rows
from glocal.report.runs import POINT_COLUMNS, Block, Run, RunRecord, apply_command
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
_SIGNS = {"alpha": "α", "lmbda": "λ", "tau": "τ", "mix": "mix", "eta": "η"}
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
            runs.append(_folder_run(Path(path), kind))
        elif features is None:
            raise ParameterError(
                f"{path} is a transform; to show what it does, pass `features` of objects, and "
                "`answers` about them if you have any."
            )
        else:
            name = Path(path).name.removesuffix(ending(path)) or path
            runs.append(transform_run(name, transforms[path], features, answers, file=path))
    return runs


def _scores_runs(path: Path) -> Iterator[Run]:
    """Yield a run for each column of labels that `glocal try` decided, and one for other scores."""
    situations: dict[tuple[str | None, str], list[SituationRow]] = {}
    for row in read_situations(path):
        situations.setdefault((row.features, row.split), []).append(row)
    scores: dict[tuple[str | None, str], list[Score]] = {images: [] for images in situations}
    others: list[Score] = []
    for score in read_scores(path):
        scores.get((score.features, score.split), others).append(score)
    for images, rows in situations.items():
        labels = "" if rows[0].split == "all" else f": {rows[0].split}"
        name = f"What to use on {rows[0].network or path.stem}{labels}"
        yield Run(name, Scores(scores[images]), situations=tuple(rows))
    if others or not situations:
        rest = Scores(others)
        yield Run(path.stem, rest, blocks=_network_blocks(rest))


def _kind(path: Path) -> str:
    """What a path is: a sweep, a suite, a file of scores, a transform, or a folder of none."""
    if (path / _POINTS).is_file():
        return "sweep"
    if (path / _ROWS).is_file():
        return "suite"
    if not path.is_dir():
        return "scores" if ending(path) in SCORE_ENDINGS else "transform"
    return "transform" if (path / TRANSFORM_NAME).is_file() else ""


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
    if (path / f"{kind}.json").is_file():
        with reading(path / f"{kind}.json", "run", _FIX) as file:
            record = RunRecord.model_validate_json(file.read_bytes())
    run = Run(path.resolve().name, record=record)
    run = _with_settings(run, path) if kind == "sweep" else _with_fits(run, path)
    return replace(run, views=_views(path, run.scores))


def _with_settings(run: Run, path: Path) -> Run:
    """The run of a sweep with its settings and its choice, or with the number of its points."""
    if not (path / "means.csv").is_file():
        n_points = len(read_rows(path / _POINTS, what="run"))
        return replace(run, record=run.record.model_copy(update={"unfinished_points": n_points}))
    transform = LinearTransform.load(path / TRANSFORM_NAME)
    fit = transform.record.fit
    scores = recorded_scores(fit, CHOSEN, transform.record.source.network_name)
    settings, note = _settings(path / "means.csv", scores)
    place = ("".join(scores.networks), CHOSEN)
    sweep = transform.record.sweep
    reason = "" if sweep is None else sweep.reason
    return replace(
        run,
        scores=scores,
        record=run.record.model_copy(update={"normalize": transform.normalize}),
        settings=settings,
        fits={} if fit is None else {place: fit},
        commands={place: apply_command(str(path / TRANSFORM_NAME), "features.npy")},
        featured=CHOSEN,
        blocks=(_settings_block(settings, reason, note),),
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
        if means["method"].isna().any() or scored["chosen"].sum() != 1:
            raise ValueError("it must name each method and choose one setting")
        words = [", ".join(parameters_in_words(row, _SIGNS)) for row in scored.to_dict("records")]
        settings = scored.assign(network="".join(scores.networks), setting=words)
        settings = settings.reindex(columns=POINT_COLUMNS)
        arms = settings["method"].mask(settings["chosen"], CHOSEN)
        for score in scores:
            numbers = [score.metric, f"{score.metric}_low", f"{score.metric}_high"]
            if score.metric in settings:
                settings.loc[arms == score.transform, numbers] = score.value, score.low, score.high
        n_unconverged = int((~means["converged"]).sum())
    note = "Agreement and neighbours kept, means over folds."
    if n_unconverged:
        note += f" Not converged on some fold: {n_unconverged} of {len(means)} settings."
    return settings, note


def _settings_block(settings: pd.DataFrame, reason: str, note: str) -> Block:
    """The choice with its reason, and all settings in a table."""
    import pandas as pd

    table = pd.DataFrame(
        {
            "method": settings["method"].str.cat(settings["setting"], sep=" ").str.strip(),
            "agreement": settings["agreement"].map("{:.3f}".format),
            "neighbours kept": settings["neighbours_kept"].map("{:.3f}".format),
        }
    )
    (chosen,) = table["method"][settings["chosen"]]
    return Block("Settings", (f"Chosen: {chosen}, {reason}.",), note, table)


def _with_fits(run: Run, path: Path) -> Run:
    """The run of a suite with its scores, the records of its fits, and commands to apply them."""
    networks = {} if run.record.plan is None else run.record.plan.networks
    scores = read_scores(path / _ROWS)
    fits = {}
    commands = {}
    for network, arm in scores.arms:
        file = path / "transforms" / file_name(network) / f"{file_name(arm)}.npz"
        if file.exists():
            fit = LinearTransform.load(file).record.fit
            if fit is not None:
                fits[network, arm] = fit
            pattern = networks.get(network, {}).get("features", "features.npy")
            features = pattern.replace("{network}", network)
            if (path / features).exists():  # the suite file lies in its folder
                features = str(path / features)
            commands[network, arm] = apply_command(str(file), features)
    blocks = _network_blocks(scores)
    return replace(run, scores=scores, fits=fits, commands=commands, blocks=blocks)


def _network_blocks(scores: Scores) -> tuple[Block, ...]:
    """The differences between networks in a table, if there are any."""
    if not scores.network_gains:
        return ()
    note = "Paired on the same answers, RDMs or labels; in a suite p after Holm's correction."
    return (Block("Between networks", (), note, network_table(scores)),)


def _views(path: Path, scores: Scores) -> dict[str, dict[str, View]]:
    """The views in a run folder of arms that have scores."""
    views: dict[str, dict[str, View]] = {}
    for file in sorted((path / "views").rglob("*.npz")):
        view = load_view(file)
        network = view.meta.get("network", "")
        arm = view.meta.get("arm", "")
        if not network or (network, arm) in scores.arms:
            views.setdefault(network, {})[arm] = view
    return views
