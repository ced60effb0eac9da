"""Runs, read back from their folders without data and torch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from pydantic import Field

from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.planning import STUDY_FILE
from glocal.data.seen import MAX_SHARE_SEEN, seen
from glocal.errors import FileError, ParameterError
from glocal.evaluation.agreement import MIN_REPEATED_SHARE, answer_credit, ceiling, heldout_rows
from glocal.evaluation.change import Part, change_record, embeddings
from glocal.evaluation.structure import structure
from glocal.evaluation.view import View, load_view, paired_views
from glocal.files import PathLike, ending, read_object, reading
from glocal.results import (
    DIFFERENCE,
    SCORE_ENDINGS,
    HeldOutScores,
    RecordPart,
    Score,
    check_fields,
    parameters_in_words,
    read_rows,
    read_scores,
    value_at,
)
from glocal.suite.table import score_frame
from glocal.transform import LinearTransform
from glocal.transform.checks import table_rows
from glocal.transform.formats import TRANSFORM_NAME
from glocal.transform.record import network_name

if TYPE_CHECKING:
    import pandas as pd


_ROWS = "rows.jsonl"
_POINTS = "points.jsonl"
AXES = {"agreement": "agreement", "kept": "neighbours kept"}
_SIGNS = {"alpha": "α", "lmbda": "λ", "tau": "τ", "mix": "mix", "eta": "η"}
_FINISHED = ("converged", "trivial")
_HELDOUT = {True: "fitted", False: "other", None: ""}
_FIX = "Run again what wrote it."


class _Plan(RecordPart):
    arms: dict[str, Any]
    networks: dict[str, Any]
    tasks: dict[str, Any]
    baseline: str = "original"


class _Record(RecordPart):
    """The fields of ``sweep.json`` and ``suite.json`` that a page reads."""

    chance: float = Field(1 / 3, ge=0, le=1)
    n_people: int | None = None
    plan: _Plan | None = None
    provenance: dict[str, Any] | None = None


@dataclass(frozen=True, eq=False)
class Block:
    """A part of a section under a title: sentences, a note, a table of texts, and its Altair chart.

    A table without a chart is folded if it is long.
    """

    title: str
    sentences: tuple[str, ...] = ()
    note: str = ""
    table: pd.DataFrame | None = None
    chart: Any = None


@dataclass(frozen=True, eq=False)
class Run:
    """One section of a report: the folder of a suite or a sweep, a file of scores, or a transform.

    `name` is the heading of the section. `rows` are the scores, if any, with one column for each
    field of `glocal.results.Score`. `record` is the content of ``suite.json`` or ``sweep.json``.
    `fits` maps names to the records of fits. `views` maps each network to its views by arm, the
    baseline first. `notes` are warnings.

    `featured` is the arm that the run is about: a transform, or the choice of a sweep. It is empty
    if the run compares arms. `heldout` says which answers score it: those about ``objects`` or to
    ``questions`` that the fit had not seen, ``other`` answers that it had not seen, the ``fitted``
    ones, or empty if that is not known.

    For a sweep, `settings` has the agreement and the neighbours kept of each setting, and `choice`
    the rule and its reason. `n_unfinished` is the number of points of one that has not chosen yet.

    `is_simulated` is whether the plan of a suite says that its data are simulated. `network` is the
    name of the network whose features are transformed, if a record has it.

    `is_unit` is whether all rows were scaled to length 1 first.

    `lead` is a sentence that follows the finding, and `blocks` follow the methods. `command` is
    what the finding advises if the transform is worth using.
    """

    name: str
    rows: pd.DataFrame
    settings: pd.DataFrame | None = None
    record: dict[str, Any] = field(default_factory=dict)
    choice: dict[str, Any] = field(default_factory=dict)
    fits: dict[str, dict[str, Any]] = field(default_factory=dict)
    views: dict[str, dict[str, View]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    featured: str = ""
    heldout: str = ""
    n_unfinished: int = 0
    is_simulated: bool = False
    network: str = ""
    is_unit: bool = False
    lead: str = ""
    blocks: tuple[Block, ...] = ()
    command: str = "glocal apply TRANSFORM FEATURES --out ALIGNED"

    @property
    def chance(self) -> float:
        """The agreement that guessing gives, as the record, the scores or the fits state it."""
        places = [self.record, *self.rows["settings"], *self.fits.values()]
        numbers = (value_at(place, "chance") for place in places)
        return next((number for number in numbers if isinstance(number, float)), 1 / 3)

    @property
    def baseline(self) -> str:
        """The arm with which the others are compared."""
        return str(self.record.get("plan", {}).get("baseline", "original"))


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
    transforms = {
        path: LinearTransform.from_pretrained(path) for path in paths if is_transform(path)
    }
    if features is not None and not transforms:
        raise ParameterError(
            "Features only serve to show what a transform does, but no transform is among "
            f"{', '.join(map(str, paths))}. Leave `features` out, or name a transform file."
        )
    if features is not None:
        table_rows({str(path): transforms[path] for path in transforms}, features, force=force)
    runs = []
    for path in paths:
        if path in transforms:
            runs.append(_transform_run(path, transforms[path], features, answers))
        elif os.path.isdir(path):
            runs.append(_folder_run(Path(path)))
        else:
            scores = read_scores(path)
            runs.append(Run(Path(path).stem, score_frame(scores), is_unit=_is_unit(scores)))
    return runs


def is_transform(path: PathLike) -> bool:
    """Whether a path names a transform, as opposed to a run folder or a file of scores.

    A folder is a transform if it holds the file of one and is no run.
    """
    if not os.path.isdir(path):
        return ending(path) not in SCORE_ENDINGS
    return (Path(path) / TRANSFORM_NAME).is_file() and not _is_run(Path(path))


def _is_run(folder: Path) -> bool:
    return (folder / _ROWS).is_file() or (folder / _POINTS).is_file()


def _transform_run(
    path: PathLike,
    transform: LinearTransform,
    features: Features | None,
    answers: Answers | None,
) -> Run:
    name = Path(path).name.removesuffix(ending(path))
    if features is None:
        raise ParameterError(
            f"{path} is a transform; to show what it does, pass `features` of objects, and "
            "`answers` about them if you have any."
        )
    return transform_run(name or str(path), transform, features, answers)


def transform_run(
    name: str,
    transform: LinearTransform,
    features: Features,
    answers: Answers | None = None,
    *,
    folds: Sequence[tuple[LinearTransform, Answers]] = (),
) -> Run:
    """Make the run of one transform from features of objects and, if given, answers about them.

    Parameters
    ----------
    name : str
        The heading.
    transform : LinearTransform
    features : Features
        Raw features of at least 4 objects.
    answers : Answers or None
        Answers that index the rows of the features. The record of the transform tells whether it
        was fitted to them.
    folds : sequence of (LinearTransform, Answers)
        The same fit without a part of the questions, and the answers to that part. Each answer is
        then scored by the fit that has not seen it.
    """
    fold_transforms = [fold for fold, _ in folds]
    X, Z, fold_embeddings = embeddings(transform, features, fold_transforms)
    fit = transform.meta.get("fit") or {}
    record = {"fit": fit, "source": transform.meta.get("source")}
    parts: list[Part] = list(zip(fold_embeddings, [part for _, part in folds], strict=True))
    is_seen: bool | None = None
    if answers is not None:
        parts = parts or [(Z, answers)]
        is_seen = False if folds else _is_seen(transform, features, answers)
        record |= {"chance": answers.chance, "n_people": answers.n_people}
    scores = [] if folds else recorded_scores(fit, name)
    heldout = "questions" if folds else _HELDOUT[is_seen]
    if scores:
        heldout = fit["heldout"]["of"]
    scores += _measured_scores(name, X, Z, parts, answers, {score.metric for score in scores})
    change = change_record(
        transform,
        features,
        X,
        parts,
        folds=fold_transforms,
        heldout=None if is_seen is None else not is_seen,
    )
    views = paired_views(X, Z, features.labels, name=name, change=change, answers=answers)
    return Run(
        name,
        score_frame(scores),
        record=record,
        fits={name: fit},
        views={name: views},
        featured=name,
        heldout=heldout,
        network=network_name(transform.meta.get("source")),
        is_unit=transform.normalised,
    )


def recorded_scores(fit: Mapping[str, Any], arm: str) -> list[Score]:
    """The held-out scores in the record of a fit as rows of the original features and of the arm.

    They are empty if the record has none.
    """
    if fit.get("heldout") is None:
        return []
    heldout = HeldOutScores.model_validate(fit["heldout"])
    split = f"held-out {heldout.of}"
    original = Score("odd-one-out", "accuracy_cosine", heldout.original, n=heldout.n, split=split)
    agreement = replace(
        original, value=heldout.agreement, low=heldout.low, high=heldout.high, transform=arm
    )
    gain = replace(
        agreement,
        metric=original.metric + DIFFERENCE,
        value=heldout.gain,
        low=heldout.gain_low,
        high=heldout.gain_high,
        settings={"baseline": original.transform},
    )
    original_loss = replace(original, metric="loss", value=heldout.original_loss)
    loss = replace(original_loss, value=heldout.loss, transform=arm)
    scores = [original, agreement, gain, original_loss, loss]
    if heldout.kept is not None and heldout.kept_raw is not None:
        settings = {"k": heldout.k}
        n_images = heldout.n_images or 0
        all_kept = Score(
            "structure", "neighbours_kept", 1.0, n=n_images, split=split, settings=settings
        )
        kept = replace(
            all_kept,
            value=heldout.kept,
            low=heldout.kept_low,
            high=heldout.kept_high,
            transform=arm,
        )
        scores += [all_kept, kept]
        if heldout.kept_raw != heldout.kept:  # the fit centres the features
            all_raw = replace(all_kept, metric="neighbours_kept_raw")
            scores += [all_raw, replace(all_raw, value=heldout.kept_raw, transform=arm)]
    return scores


def _measured_scores(
    name: str,
    X: Float[np.ndarray, "n p"],
    Z: Float[np.ndarray, "n q"],
    parts: Sequence[Part],
    answers: Answers | None,
    recorded: set[str],
) -> Iterator[Score]:
    """Agreement before and after with all parts, the ceiling, and neighbours kept, if not recorded.

    The features before and after are X and Z.
    """
    from glocal.aligner.data import pooled_answers

    if parts and "accuracy_cosine" not in recorded:
        credit = {
            "original": np.concatenate([answer_credit(X, part) for _, part in parts]),
            name: np.concatenate([answer_credit(after, part) for after, part in parts]),
        }
        yield from heldout_rows(credit, pooled_answers([part for _, part in parts]))
    if answers is not None:
        bounds = ceiling(answers, least=MIN_REPEATED_SHARE)
        yield from () if bounds is None else bounds.scores
    if "neighbours_kept" not in recorded:
        kept = structure(X, Z, k=min(10, len(X) - 1)).scores[0]
        yield replace(kept, value=1.0, low=None, high=None)
        yield replace(kept, transform=name)


def _is_seen(transform: LinearTransform, features: Features, answers: Answers) -> bool | None:
    """Whether the fit saw more than a tenth of these questions; None if that is not recorded."""
    shares = seen(transform.meta, features, answers)
    share = None if shares is None else shares.questions
    return None if share is None else share > MAX_SHARE_SEEN


def _folder_run(path: Path) -> Run:
    """The run of a folder that a suite or a sweep wrote."""
    if (path / STUDY_FILE).is_file():
        raise FileError(
            f"{path} is a study of glocal-collect; glocal collect report {path} --out page.html "
            "writes its page."
        )
    if not _is_run(path):
        raise FileError(
            f"{path} is not a run folder: it holds neither {_ROWS} nor {_POINTS}. Name the folder "
            "that glocal suite --out or glocal sweep --out wrote."
        )
    kind = "sweep" if (path / _POINTS).is_file() else "suite"
    record = {}
    if (path / f"{kind}.json").is_file():
        record = read_object(path / f"{kind}.json", what="run", fix=_FIX)
        with reading(path / f"{kind}.json", "run", _FIX):
            check_fields(_Record, record)
    scores = read_scores(path / _ROWS) if (path / _ROWS).is_file() else []
    run = Run(
        path.resolve().name,
        score_frame(scores),
        record=record,
        is_simulated=bool(value_at(record, "plan.simulated")),
        is_unit=_is_unit(scores),
    )
    if kind == "sweep":
        run = _with_settings(run, path, scores)
    else:
        run = replace(run, fits=_suite_fits(run, path))
    return replace(run, views=_views(path, run))


def _is_unit(scores: Iterable[Score]) -> bool:
    """Whether scores are of rows that were scaled to length 1."""
    return any(score.settings.get("normalize") for score in scores)


def _with_settings(run: Run, path: Path, scores: list[Score]) -> Run:
    """The run of a sweep with its settings and its choice, or with the number of its points."""
    import pandas as pd

    rows = read_rows(path / _POINTS, ("fold", "method", "status"), what="run")
    with reading(path / _POINTS, "run", _FIX):
        points = pd.DataFrame(rows)
        statuses = points.loc[points["method"] != "original", "status"]
        unconverged = statuses[~statuses.isin(_FINISHED)]
        names = ", ".join(sorted(set(unconverged)))
    if names:
        note = f"Not converged: {len(unconverged)} of {len(points)} points of the sweep ({names})."
        run = replace(run, notes=(note,))
    if not (path / "means.csv").is_file():
        note = (
            f"Unfinished: the sweep has {len(points)} points and no choice yet. Continue it with "
            "glocal sweep --resume."
        )
        return replace(run, notes=(note, *run.notes), n_unfinished=len(points))
    with reading(path / "means.csv", "run", _FIX):
        means = pd.read_csv(path / "means.csv")
        if means["method"].isna().any() or means["chosen"].sum() != 1:
            raise ValueError("it must name each method and choose one setting")
        settings = _settings(means)
    transform = LinearTransform.load(path / TRANSFORM_NAME)
    meta = transform.meta
    choice = meta.get("sweep") or {}
    fit = meta.get("fit") or {}
    metrics = {score.metric for score in scores}
    scores += [score for score in recorded_scores(fit, "chosen") if score.metric not in metrics]
    return replace(
        run,
        rows=score_frame(scores),
        settings=settings,
        choice=choice,
        fits={"chosen": fit},
        featured="chosen",
        heldout=choice.get("heldout", "objects"),
        network=network_name(meta.get("source")),
        is_unit=transform.normalised,
    )


def _settings(means: pd.DataFrame) -> pd.DataFrame:
    """The settings whose agreement and neighbours kept are known, with one standard error."""
    scored = means.dropna(subset=list(AXES))
    settings = scored[["method", "chosen", *AXES]]
    for axis in AXES:
        error = scored[f"{axis}_se"].fillna(0.0)
        ends = {f"{axis}_low": scored[axis] - error, f"{axis}_high": scored[axis] + error}
        settings = settings.assign(**ends)
    words = [", ".join(parameters_in_words(row, _SIGNS)) for row in scored.to_dict("records")]
    parameters = scored.reindex(columns=["loss", "alpha"])
    return settings.assign(network="", setting=words, **parameters)


def _suite_fits(run: Run, path: Path) -> dict[str, dict[str, Any]]:
    """The records of the fits of a suite."""
    files = sorted((path / "transforms").rglob("*.npz"))
    return {
        f"{file.parent.name}, {file.stem}": LinearTransform.load(file).meta.get("fit") or {}
        for file in files
        if file.stem in (value_at(run.record, "plan.arms") or ())
    }


def _views(path: Path, run: Run) -> dict[str, dict[str, View]]:
    """The views in a run folder, the baseline first, only of networks and arms in the plan."""
    plan = run.record.get("plan") or {"arms": ("original", "chosen")}
    views: dict[str, dict[str, View]] = {}
    for file in sorted((path / "views").rglob("*.npz")):
        view = load_view(file)
        network = str(view.meta.get("network") or run.name)
        views.setdefault(network, {})[str(view.meta.get("arm"))] = view
    order = dict.fromkeys([run.baseline, *plan["arms"]])
    ordered = {}
    for network, arms in views.items():
        if network in plan.get("networks", views):
            ordered[network] = {arm: arms[arm] for arm in order if arm in arms}
    return ordered
