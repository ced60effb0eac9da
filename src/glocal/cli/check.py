"""``glocal data check``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from glocal.cli.answers import AnswersForm, names_of
from glocal.cli.command import takes
from glocal.cli.features import FeaturesPath
from glocal.cli.output import AsJson, progress_bar, put, put_json
from glocal.data.answers import Answers
from glocal.data.answers_file import read_list
from glocal.data.check import SEVERITIES, Case, Finding, diagnose, mended
from glocal.data.check.repair import usable
from glocal.data.container import NAMES_FILE, mended_name
from glocal.data.features import Features
from glocal.errors import DataError, counted
from glocal.files import atomic_write


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
    fix: Annotated[
        bool, typer.Option("--fix", help="Write what a rule can mend beside the original, as NAME.fixed.npy.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Diagnose feature and triplet files; exits 1 on what makes results wrong, 0 on warnings.

    With --fix the exit code is about the mended files. What --fix writes is 0-based, odd one last, in the order of the
    list of objects: leave --base, --odd-column, --order and --weights out for it.

    Example: glocal data check --features features.npy --triplets triplets.npy --object-ids unique_id.txt
    """
    with progress_bar("checking", None) as progress:
        case, unread = _loaded(features, given, triplets, local_features, heldout)
        findings = [*unread, *([] if case is None else diagnose(case, lambda doing: progress(0, None, doing)))]
        after, done, left = case, [], findings
        if fix and case is not None:
            for finding in unread:
                after = after if finding.mend is None else finding.mend(case)
                done += [] if finding.mend is None else [finding]
            assert after is not None
            after, more, left = mended(after, diagnose(after) if done else findings)
            done, left = done + more, left + [finding for finding in unread if finding.mend is None and done]
    written = [] if after is None or case is None else _written(case, after, triplets, heldout)
    _report(case, findings, as_json, done if fix else None, left, written)


def _loaded(
    features: Path, given: AnswersForm, triplets: Path | None, local: Path | None, heldout: Path | None
) -> tuple[Case | None, list[Finding]]:
    """What can be read of the files, and findings about what cannot."""
    try:
        loaded = Features.load(features)
    except DataError as error:
        return None, [Finding("error", "unreadable", f"features: {error}".rstrip("."), "mend the file")]
    names = names_of(given.object_ids)
    order = None if given.order is None else read_list(given.order, what="order")
    case = Case(loaded, None if local is None else Features.load(local), object_ids=names, order=order)
    unread = _names_aside(loaded, features)
    for role, path in (("answers", triplets), ("heldout", heldout)):
        if path is None:
            continue
        try:
            case = case.with_answers(role, given.load(path))
        except DataError as error:
            left = _usable(given, path)

            def mend(case: Case, role: str = role, left: Answers | None = left) -> Case:
                return case.with_answers(role, left)

            fix = "mend the file" + ("; --fix leaves these answers out" if left is not None else "")
            unread.append(
                Finding("error", "triplets", str(error).rstrip("."), fix, mend=None if left is None else mend)
            )
    return case, unread


def _usable(given: AnswersForm, path: Path) -> Answers | None:
    if given.weights is not None or given.kind not in (None, "odd-one-out", "anchor"):
        return None
    order = None if given.order is None else read_list(given.order, what="order")
    return usable(path, base=given.base, odd_column=given.odd_column, order=order)


def _names_aside(loaded: Features, path: Path) -> list[Finding]:
    """Names beside a file that are not as many as its rows belong to something else, or are wrong."""
    names = path.parent / NAMES_FILE
    if loaded.names is not None or path.is_dir() or path.stem != "features" or not names.is_file():
        return []
    lines = len(names_of(names) or ())
    message = f"features: {names} has {lines} lines for {len(loaded)} rows, so that the rows have no names"
    fix = f"write {NAMES_FILE} again, with one line a row in the order of the rows"
    return [Finding("warning", "names", message, fix, {"lines": lines, "rows": len(loaded)})]


def _written(before: Case, after: Case, triplets: Path | None, heldout: Path | None) -> list[str]:
    """Write what was changed beside the originals, and say where."""
    written = []
    for role in ("features", "local"):
        old, new = getattr(before, role), getattr(after, role)
        if new is old or new is None:
            continue
        path = mended_name(Path(old.source), ".npy")
        with atomic_write(path) as stream:
            np.save(stream, np.asarray(new.matrix[:]), allow_pickle=False)
        written.append(str(path))
        if new.names is not None:
            path = mended_name(path.parent / NAMES_FILE)
            with atomic_write(path) as stream:
                stream.write("".join(f"{name}\n" for name in new.names).encode())
            written.append(str(path))
    for file, was, answers in ((triplets, before.answers, after.answers), (heldout, before.heldout, after.heldout)):
        if file is not None and answers is not None and answers is not was:
            written.append(str(_write_answers(file, answers)))
    return written


def _write_answers(file: Path, answers: Answers) -> Path:
    known = (answers.weights, answers.person, answers.seconds, answers.names, answers.catch)
    if answers.kind != "odd-one-out" or any(one is not None for one in known):
        path = mended_name(file, ".npz")
    elif file.suffix.lower() in (".npy", ".npz"):
        path = mended_name(file)
    else:
        path = mended_name(file)
        with atomic_write(path) as stream:
            np.savetxt(stream, answers.objects, fmt="%d")
        return path
    answers.save(path)
    return path


def _report(
    case: Case | None, findings: list[Finding], as_json: bool, done: list[Finding] | None, left: list[Finding],
    written: list[str],
) -> None:  # fmt: skip
    counts = Counter(finding.severity for finding in findings)
    errors = sum(finding.severity == "error" for finding in left)
    if as_json:
        shape = {} if case is None else {"n": len(case.features), "p": case.features.dimensions}
        told = {"errors": counts["error"], "warnings": counts["warning"], "findings": [f.told() for f in findings]}
        of_fix = {
            "mended": [f.told() for f in done or ()], "left": [f.told() for f in left], "written": written
        }  # fmt: skip
        put_json({**shape, **told, **(of_fix if done is not None else {})})
    else:
        if case is not None:
            features = case.features
            put(f"features: {len(features)} rows, {features.dimensions} columns, {features.matrix.dtype}")
        for finding in sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)):
            put(f"{finding.severity}: {finding}")
        put(", ".join(counted(counts[kind], kind) for kind in SEVERITIES))
        if done is not None:
            _put_mended(done, left, written)
    if errors:
        raise typer.Exit(1)


def _put_mended(done: list[Finding], left: list[Finding], written: list[str]) -> None:
    put("")
    for finding in done:
        put(f"mended: {finding.check}: {finding.message}")
    for finding in left:
        if finding.severity != "note":
            put(f"not mended: {finding.check}: {finding.message}. Fix: {finding.fix}.")
    put(f"written: {', '.join(written)}" if written else "nothing is written: no rule mends what was found")
    if any("triplets" in Path(name).name or name.endswith(".npz") for name in written):
        put("the written answers are 0-based, odd one last: leave out --base, --odd-column, --order and --weights")
