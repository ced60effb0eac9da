"""Check features and answers before they are used: what is wrong, what follows from it, and how to fix it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from glocal.data.check.answers import check_answers, check_heldout, choosing, warn_of_answers
from glocal.data.check.features import check_features, check_local, unlike, warn_of_local
from glocal.data.check.finding import SEVERITIES, Case, Finding, error
from glocal.data.check.order import check_meaning, warn_of_order
from glocal.data.check.people import check_people
from glocal.data.join import feature_rows
from glocal.errors import DataError

__all__ = ["SEVERITIES", "Case", "Finding", "diagnose", "unlike", "warn_of_answers", "warn_of_local", "warn_of_order"]


def diagnose(case: Case, progress: Callable[[str], None] = lambda doing: None) -> list[Finding]:
    """All findings about features, local features, answers and held-out answers; the worst first."""
    return sorted(_findings(case, progress), key=lambda finding: SEVERITIES.index(finding.severity))


def _findings(case: Case, progress: Callable[[str], None]) -> Iterator[Finding]:
    progress("features")
    found = check_features(case.features)
    broken = _wrong(found)
    yield from found
    if case.local is not None:
        progress("local features")
        found = check_features(case.local, "local features")
        yield from found
        if case.local.dimensions != case.features.dimensions or not (broken or _wrong(found)):
            yield from check_local(case.features, case.local)
    answers = case.answers
    if answers is None:
        return
    progress("answers")
    try:
        credit = None
        if not broken:
            found = list(check_answers(case))
            yield from found
            if not _wrong(found):
                yield from check_meaning(case)
                credit = None if answers.person is None else _credit(case)
        yield from check_people(answers, credit)
        if case.heldout is not None and len(answers) and len(case.heldout):
            yield from check_heldout(answers, case.heldout)
    except DataError as refused:
        yield error("answers", str(refused).rstrip("."), "nothing can be learned from this file", "correct the file")


def _wrong(found: list[Finding]) -> bool:
    return any(finding.severity == "error" for finding in found)


def _credit(case: Case) -> np.ndarray:
    """How right the features are on each answer; NaN where an object has none."""
    answers, names = case.answers, case.listed
    assert answers is not None
    rows = np.arange(len(case.features)) if names is None else feature_rows(case.features, names)
    there = answers.relabel(rows)[0]
    credit = np.full(len(answers), np.nan)
    credit[answers.inside(rows >= 0)[1]] = choosing(case.features, there.named())(there)[:, 0]
    return credit
