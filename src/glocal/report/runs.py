"""The runs that a page shows, and the run of one transform."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.seen import MAX_SHARE_SEEN, seen
from glocal.evaluation.agreement import answer_credit, ceiling, heldout_rows
from glocal.evaluation.axes import embeddings
from glocal.evaluation.change import Part, change_record
from glocal.evaluation.structure import kept_neighbours
from glocal.evaluation.view import View, paired_views
from glocal.files import array_sha256
from glocal.results import HeldOutScores, value_at
from glocal.scores import Score
from glocal.similarity import Embedding
from glocal.suite.table import score_frame
from glocal.transform import LinearTransform
from glocal.transform.record import network_name

if TYPE_CHECKING:
    import pandas as pd


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
    field of `glocal.scores.Score`. `record` is the content of ``suite.json`` or ``sweep.json``.
    `fits` maps names to the records of fits, and `commands` to the commands that use them. `views`
    maps each network to its views by arm, the baseline first. `notes` are warnings.

    `featured` is the arm that the run is about: a transform, or the choice of a sweep. It is empty
    if the run compares arms. `heldout` says which answers score it: those about ``objects`` or to
    ``questions`` that the fit had not seen, ``other`` answers that it had not seen, or empty if
    that is not known or there are none.

    For a sweep, `settings` has the agreement and the neighbours kept of each setting, and
    `n_unfinished` is the number of points of one that has not chosen yet.

    `network` is the name of the network whose features are shown, if a record has it. `lead` is a
    sentence that follows the advice, and `blocks` follow the scores.
    """

    name: str
    rows: pd.DataFrame
    settings: pd.DataFrame | None = None
    record: dict[str, Any] = field(default_factory=dict)
    fits: dict[str, dict[str, Any]] = field(default_factory=dict)
    commands: dict[str, str] = field(default_factory=dict)
    views: dict[str, dict[str, View]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    featured: str = ""
    heldout: str = ""
    n_unfinished: int = 0
    network: str = ""
    lead: str = ""
    blocks: tuple[Block, ...] = ()

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

    @property
    def is_unit(self) -> bool:
        """Whether all rows were scaled to length 1 first."""
        places = [self.record, *self.rows["settings"]]
        return any(value_at(place, "normalize") for place in places)


def apply_command(transform: str, features: str) -> str:
    """The command that applies a transform."""
    return shlex.join(["glocal", "apply", transform, features, "--out", "aligned.npy"])


def transform_run(
    name: str,
    transform: LinearTransform,
    features: Features,
    answers: Answers | None = None,
    *,
    folds: Sequence[tuple[LinearTransform, Answers]] = (),
    file: str = "transform.npz",
) -> Run:
    """Make the run of one transform from features of objects and, if given, answers about them.

    Answers that the fit has not seen are the result. Without such answers it is the held-out scores
    in the record of the fit.

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
    file : str
        The file or name of the transform, for the command that applies it.
    """
    transforms = [fold for fold, _ in folds]
    X, Z, fold_embeddings = embeddings(transform, features, transforms)
    parts: list[Part] = list(zip(fold_embeddings, [part for _, part in folds], strict=True))
    fit = transform.meta.get("fit") or {}
    source = transform.meta.get("source")
    record = {"fit": fit, "source": source, "normalize": transform.normalised}
    is_seen: bool | None = None
    if answers is not None:
        parts = parts or [(Z, answers)]
        is_seen = False if folds else _is_seen(transform, features, answers)
        record |= {"chance": answers.chance}
    scores: list[Score] = []
    blocks: tuple[Block, ...] = ()
    if folds or (parts and not is_seen):
        heldout = {None: "", False: "questions" if folds else "other"}[is_seen]
        scores += _agreement(name, X, parts)
    else:
        heldout = value_at(fit, "heldout.of") or ""
        scores += recorded_scores(fit, name)
        if parts and not scores:
            blocks = (_on_fitted_answers(_agreement(name, X, parts)),)
    if answers is not None and (bounds := ceiling(answers)) is not None:
        scores += bounds.scores
    if "neighbours_kept" not in {score.metric for score in scores}:
        scores += _neighbours(name, X, Z)
    change = change_record(
        transform,
        features,
        X,
        parts,
        folds=transforms,
        heldout=None if is_seen is None else not is_seen,
    )
    network = network_name(features.network)
    if value_at(fit, "provenance.data.features") == array_sha256(features.matrix):
        network = network_name(source)
    path = features.source if os.path.exists(features.source) else "features.npy"
    return Run(
        name,
        score_frame(scores),
        record=record,
        fits={name: fit},
        commands={name: apply_command(file, path)},
        views={
            name: paired_views(X, Z, features.labels, name=name, change=change, answers=answers)
        },
        featured=name,
        heldout=heldout,
        network=network,
        blocks=blocks,
    )


def recorded_scores(fit: Mapping[str, Any], arm: str) -> list[Score]:
    """The held-out scores in the record of a fit as rows of the original features and of the arm.

    They are empty if the record has none.
    """
    if fit.get("heldout") is None:
        return []
    heldout = HeldOutScores.model_validate(fit["heldout"])
    agreement = partial(Score, "odd-one-out", n=heldout.n, split="heldout")
    structure = partial(
        Score, "structure", n=heldout.n_images, split="heldout", settings={"k": heldout.k}
    )
    ends = (heldout.low, heldout.high)
    kept_ends = (heldout.kept_low, heldout.kept_high)
    gain = (heldout.gain, heldout.gain_low, heldout.gain_high)
    scores = [
        agreement("accuracy_cosine", heldout.original),
        agreement("accuracy_cosine", heldout.agreement, *ends, transform=arm),
        agreement("accuracy_cosine_difference", *gain, transform=arm),
        agreement("loss", heldout.original_loss),
        agreement("loss", heldout.loss, transform=arm),
        structure("neighbours_kept", 1.0),
        structure("neighbours_kept", heldout.kept, *kept_ends, transform=arm),
    ]
    if heldout.kept_raw != heldout.kept:  # the fit centres the features
        scores.append(structure("neighbours_kept_raw", heldout.kept_raw, transform=arm))
    return scores


def _agreement(name: str, X: Embedding, parts: Sequence[Part]) -> list[Score]:
    """Agreement before and after with the answers of all parts, and the gain."""
    from glocal.aligner.folds import pooled_answers

    credit = {
        "original": np.concatenate([answer_credit(X, part) for _, part in parts]),
        name: np.concatenate([answer_credit(after, part) for after, part in parts]),
    }
    return heldout_rows(credit, pooled_answers([part for _, part in parts]))


def _on_fitted_answers(scores: Sequence[Score]) -> Block:
    """The scores on answers that the transform was fitted to, which are no result."""
    before, after, _ = scores
    sentence = (
        f"The transform agrees with {100 * after.value:.1f} % of the {after.n:,} answers that it "
        f"was fitted to, the features as they are with {100 * before.value:.1f} %. Expect lower "
        "agreement with new answers."
    )
    return Block("Fitted answers", (sentence,))


def _neighbours(name: str, X: Embedding, Z: Embedding) -> Iterator[Score]:
    """The neighbours that the features as they are, X, and the transformed ones, Z, keep."""
    (kept,) = kept_neighbours(X, Z, min(10, len(X) - 1)).scores
    yield replace(kept, value=1.0, low=None, high=None)
    yield replace(kept, transform=name)


def _is_seen(transform: LinearTransform, features: Features, answers: Answers) -> bool | None:
    """Whether the fit saw more than a tenth of these questions; None if that is not recorded."""
    shares = seen(transform.meta, features, answers)
    share = None if shares is None else shares.questions
    return None if share is None else share > MAX_SHARE_SEEN
