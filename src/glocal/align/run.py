"""Run the steps of an alignment, each once for its content, and go on after a kill."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from glocal.align.inputs import FOLDS, Inputs
from glocal.align.log import Log, key_of
from glocal.align.plan import check_skip
from glocal.align.sentences import sentences
from glocal.aligner import FitData
from glocal.data.check import Case, diagnose
from glocal.data.features import Features
from glocal.data.join import Joined
from glocal.errors import DataError, DataWarning, MissingDependencyError
from glocal.extract.run import cached_features
from glocal.files import PathLike, array_sha256, atomic_write, make_folder
from glocal.report import check_extra, load_run, load_thumbnails, report_page, save_page
from glocal.results import read_scores
from glocal.suite.text import file_stems
from glocal.sweep import sweep as run_sweep
from glocal.transform import LinearTransform
from glocal.transform.card import card

OnStep = Callable[[str, int, int], None]
"""Called with the step, and how many of its parts are done of how many; 0 of 0 where it has none."""


@dataclass(frozen=True, eq=False)
class Aligned:
    """What an alignment left in its folder.

    Parameters
    ----------
    transform : LinearTransform
        The chosen setting, fitted on all objects.
    sweep : Path
        The folder of the sweep that chose it.
    choice : dict
        The setting with its means over folds, and the reason.
    score : dict or None
        What it gains on held-out objects, with an interval; None where that was skipped.
    findings : tuple of dict
        Of the check: severity, message, consequence and fix of each.
    files : tuple of Path
        What was written.
    said : tuple of str
        What was gained, what it costs, what to do next.
    """

    transform: LinearTransform
    sweep: Path
    choice: dict[str, Any]
    score: dict[str, Any] | None
    findings: tuple[dict[str, Any], ...]
    files: tuple[Path, ...]
    said: tuple[str, ...]


def align(
    inputs: Inputs, out: PathLike, *, skip: Collection[str] = (), on_step: OnStep = lambda step, done, total: None
) -> Aligned:
    """Extract, check, choose and fit, score, export, and write a page and a card.

    A step is done once for its content: the same call finds it, after a kill too, and what lies in the cache or in
    `out` is not computed again. With other images or answers, what depends on them is made anew; a sweep of other
    content keeps its own folder.

    Parameters
    ----------
    inputs : Inputs
    out : path
        The folder of the results.
    skip : collection of str
        Of `SKIPPABLE`: steps that are left out.
    on_step : function

    Returns
    -------
    Aligned

    Raises
    ------
    DataError
        Images without features, answers that do not belong to them, or an error that the check found.
    ParameterError, FileError, MissingDependencyError
        A step that cannot be skipped, another process in `out`, no such images or model, a library that is missing.
    """
    check_skip(skip)
    if "page" not in skip:
        check_extra()
    inputs.check()  # what does not belong together is said before any work
    out = make_folder(out)
    return _Run(inputs, out, Log(out), frozenset(skip), on_step).all()


@dataclass(frozen=True, eq=False)
class _Run:
    inputs: Inputs
    out: Path
    log: Log
    skip: frozenset[str]
    on_step: OnStep

    def all(self) -> Aligned:
        inputs = self.inputs
        folders, made_of = inputs.folders, inputs.identity
        self._once("extract", made_of[:1], self._extract)
        objects, local = (Features.load(folders[name]) if name in folders else None for name in ("objects", "local"))
        assert objects is not None
        joined = inputs.joined(objects)
        checked = self._once("check", made_of, partial(self._check, objects, local))
        findings = [] if checked is None else checked["findings"]
        for said in _words(findings, "warning"):
            warnings.warn(said, DataWarning, stacklevel=3)
        stem = file_stems([(inputs.model.rpartition(":")[2],)]).popitem()[1]
        sweep = self.out / f"{stem}-{key_of(*made_of)[:8]}"
        choice = self._once("choose", made_of, partial(self._choose, objects, joined, local, sweep))
        assert choice is not None
        transform = LinearTransform.load(sweep / "transform.npz")
        # NOTE not the hash of the file: its record holds seconds, as the setting does, which differ from run to run
        setting = {name: value for name, value in choice["setting"].items() if name != "seconds"}
        fitted = [array_sha256(transform.weights), transform.mean, transform.std, made_of, setting]
        score = self._once("score", fitted, partial(self._score, objects, local, sweep, choice))
        transform = _with_score(transform, score, choice)
        exported = self._once("export", [fitted, score], partial(self._export, transform))
        page = self._once("page", [fitted, score], partial(self._page, sweep))
        described = self._once("card", [fitted, score], partial(self._card, transform))
        files = [self.out / name for step in (exported, page, described) if step for name in step["files"]]
        warned = sum(finding["severity"] == "warning" and finding["check"] != "constant" for finding in findings)
        file = (self.out if exported else sweep) / "transform.npz"
        told = sentences(score, local=local is not None, warnings=warned, transform=file)
        return Aligned(transform, sweep, choice, score, tuple(findings), tuple(files), tuple(told))

    def _once(self, step: str, made_of: list[Any], work: Callable[[], Any]) -> dict[str, Any] | None:
        if step in self.skip:
            return None
        self.on_step(step, 0, 0)
        return self.log.once(step, key_of(step, made_of), work)

    def _extract(self) -> tuple[dict[str, Any], list[str]]:
        files = {}
        for name, source in self.inputs.sources.items():
            found = cached_features(self.inputs.extractor, source, partial(self.on_step, "extract"))
            files[name] = str(next(iter(found.files.values())).resolve())
        return {"features": files}, list(files.values())

    def _check(self, objects: Features, local: Features | None) -> tuple[dict[str, Any], list[str]]:
        answers, names = self.inputs.asked
        found = [finding.told() for finding in diagnose(Case(objects, local, answers, object_ids=names))]
        if wrong := _words(found, "error"):
            raise DataError(f"the check stops here: {' '.join(wrong)}")
        return {"findings": found}, []

    def _choose(
        self, objects: Features, joined: Joined, local: Features | None, sweep: Path
    ) -> tuple[dict[str, Any], list[str]]:
        found = run_sweep(
            FitData(objects, joined.triplets, local), folds=FOLDS, out=sweep, resume=True,
            progress=lambda row, done, total: self.on_step("choose", done, total),
        )  # fmt: skip
        told = found.transform.meta["sweep"]
        choice = {"setting": found.best, **{name: told[name] for name in ("rule", "reason", "folds", "seed")}}
        return choice, [f"{sweep.name}/{name}" for name in ("transform.npz", "rows.jsonl", "views/chosen.npz")]

    def _score(
        self, objects: Features, local: Features | None, sweep: Path, choice: dict[str, Any]
    ) -> tuple[dict[str, Any], list[str]]:
        before, after, gain = read_scores(sweep / "rows.jsonl")
        told = {"before": before.value, "after": after.value, "after_low": after.low, "after_high": after.high}
        told |= {"difference": gain.value, "low": gain.low, "high": gain.high, "p": gain.p_holm, "n": gain.n}
        told |= {"n_settings": gain.settings["n_settings"]}
        told |= {"kept": choice["setting"]["neighbours_kept"], "images": len(objects if local is None else local)}
        return told, []

    def _export(self, transform: LinearTransform) -> tuple[dict[str, Any], list[str]]:
        """Every kind of file whose library is installed."""
        files, left_out = ["transform.npz"], []
        transform.save(self.out / "transform.npz")
        for name, write in (("transform.safetensors", transform.save), ("transform.onnx", transform.to_onnx)):
            try:
                write(self.out / name)
                files.append(name)
            except MissingDependencyError as error:
                left_out.append(f"{name} is left out: {error}")
        return {"files": files, "left_out": left_out}, files

    def _page(self, sweep: Path) -> tuple[dict[str, Any], list[str]]:
        run = load_run(sweep)
        pictures = load_thumbnails(self.inputs.images, run)
        title = f"{self.inputs.model}, aligned with people's answers"
        save_page(report_page(run, title=title, thumbnails=pictures), self.out / "report.html")
        return {"files": ["report.html"]}, ["report.html"]

    def _card(self, transform: LinearTransform) -> tuple[dict[str, Any], list[str]]:
        text = card(transform.weights, transform.bias, transform.mean, transform.std, transform.meta)
        with atomic_write(self.out / "card.md") as stream:
            stream.write(text.encode())
        return {"files": ["card.md"]}, ["card.md"]


def _words(findings: Collection[dict[str, Any]], severity: str) -> list[str]:
    return [
        f"{one['message']}; {one['consequence']}. Fix: {one['fix']}." for one in findings if one["severity"] == severity
    ]


def _with_score(transform: LinearTransform, score: dict[str, Any] | None, choice: dict[str, Any]) -> LinearTransform:
    """The transform with its held-out score in its record, where the card and other readers look for it."""
    if score is None:
        return transform
    heldout = {
        "accuracy_cosine": score["after"], "low": score["after_low"], "high": score["after_high"], "n": score["n"],
        "original_accuracy_cosine": score["before"],
    }  # fmt: skip
    holdout = {"folds": choice["folds"], "seed": choice["seed"], "heldout": heldout}
    fit = {**transform.meta.get("fit", {}), "holdout": holdout}
    return replace(transform, meta={**transform.meta, "fit": fit})
