"""``glocal data check``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from glocal.cli.answers import AnswersForm, names_of
from glocal.cli.command import takes
from glocal.cli.features import FeaturesPath
from glocal.cli.output import AsJson, progress_bar, put, put_json
from glocal.data.answers import Answers
from glocal.data.check import SEVERITIES, Case, Finding, diagnose, mended
from glocal.data.check.repair import usable
from glocal.data.container import NAMES_FILE, mended_name
from glocal.data.features import Features
from glocal.data.tables import read_list
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
        bool,
        typer.Option(
            "--fix", help="Write what a rule can mend beside the original, as NAME.fixed.npy; replaces nothing."
        ),
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
        found = [] if case is None else diagnose(case, lambda doing: progress(0, None, doing))
        found = sorted(unread + found, key=lambda finding: SEVERITIES.index(finding.severity))
        mend = _mended(case, unread, found) if fix and case is not None else None
    written = [] if mend is None or case is None else _written(case, mend.case, triplets, heldout)
    if as_json:
        put_json(_told(case, found, mend, written))
    else:
        _put(case, found, fix)
        if mend is not None:
            _put_mended(mend, written)
    if any(finding.severity == "error" for finding in (found if mend is None else mend.left)):
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Mended:
    """The data after --fix, what was mended, and what is found in them then."""

    case: Case
    done: list[Finding]
    left: list[Finding]


def _mended(case: Case, unread: list[Finding], found: list[Finding]) -> _Mended:
    after, done = case, [finding for finding in unread if finding.mend is not None]
    for finding in done:
        after = after if finding.mend is None else finding.mend(after)
    after, more, left = mended(after, diagnose(after) if done else [each for each in found if each not in unread])
    return _Mended(after, done + more, left + [finding for finding in unread if finding.mend is None])


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
        path = mended_name(path.parent / NAMES_FILE)
        if new.names is not None and str(path) not in written:  # those of the objects, where both lie in one folder
            with atomic_write(path) as stream:
                stream.write("".join(f"{name}\n" for name in new.names).encode())
            written.append(str(path))
    for file, was, answers in ((triplets, before.answers, after.answers), (heldout, before.heldout, after.heldout)):
        if file is not None and answers is not None and answers is not was:
            written.append(str(_write_answers(file, answers)))
    return written


def _write_answers(file: Path, answers: Answers) -> Path:
    known = (answers.weights, answers.person, answers.seconds, answers.names, answers.catch_passed)
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


def _told(case: Case | None, found: list[Finding], mend: _Mended | None, written: list[str]) -> dict[str, Any]:
    counts = Counter(finding.severity for finding in found)
    shape = {} if case is None else {"n": len(case.features), "p": case.features.dimensions}
    told = {**shape, "errors": counts["error"], "warnings": counts["warning"], "findings": [f.told() for f in found]}
    if mend is None:
        return told
    return told | {
        "mended": [f.told() for f in mend.done], "left": [f.told() for f in mend.left], "written": written
    }  # fmt: skip


def _put(case: Case | None, found: list[Finding], fix: bool) -> None:
    if case is not None:
        features = case.features
        put(f"features: {len(features)} rows, {features.dimensions} columns, {features.matrix.dtype}")
    for finding in found:
        can = " --fix can mend it." if finding.mend is not None and finding.severity != "note" and not fix else ""
        put(f"{finding.severity}: {finding}{can}")
    counts = Counter(finding.severity for finding in found)
    put(", ".join(counted(counts[kind], kind) for kind in SEVERITIES))


def _put_mended(mend: _Mended, written: list[str]) -> None:
    for finding in mend.done:
        put(f"mended: {finding.check}: {finding.message}")
    for finding in mend.left:
        if finding.severity != "note":
            put(f"not mended: {finding.check}: {finding.message}. Fix: {finding.fix}.")
    put(f"written: {', '.join(written)}" if written else "nothing is written: no rule mends what was found")
    if written:
        put("answers written are 0-based, odd one last: leave out --base, --odd-column, --order and --weights for them")
