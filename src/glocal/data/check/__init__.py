"""Check features and answers before they are used: what is wrong, what follows from it, and how to fix it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from glocal.data.check.answers import check_answers, check_heldout, check_people
from glocal.data.check.features import check_features, check_local, warn_of_local
from glocal.data.check.findings import SEVERITIES, Case, Finding, finding
from glocal.data.check.readings import check_readings, choosing, warn_of_answers, warn_of_order
from glocal.data.join import join
from glocal.errors import DataError

__all__ = ["SEVERITIES", "Case", "Finding", "diagnose", "warn_of_answers", "warn_of_local", "warn_of_order"]


def diagnose(case: Case) -> list[Finding]:
    """All findings about features, local features, answers and held-out answers; the worst first."""
    found = list(check_features(case.features))
    broken = _wrong(found)
    if case.local is not None:
        found += check_features(case.local, "local features")
        if case.local.dimensions != case.features.dimensions or not _wrong(found):
            found += check_local(case.features, case.local)
    if case.answers is not None and not broken:
        try:
            found.extend(_of_answers(case))
        except DataError as refused:
            found.append(finding("answers", refused))
    return sorted(found, key=lambda one: SEVERITIES.index(one.severity))


def _of_answers(case: Case) -> Iterator[Finding]:
    answers = case.answers
    assert answers is not None
    found = list(check_answers(case))
    yield from found
    if _wrong(found):
        return
    joined = join(case.features, answers, case.object_ids)
    if joined.n_dropped:
        part = f"{joined.n_dropped} of {len(answers)} answers name an object without features"
        few = joined.n_dropped <= 0.05 * len(answers)
        yield finding("join", f"answers: {part}", severity="note" if few else "warning")
    yield from check_readings(case, joined.answers)
    credit = np.full(len(answers), np.nan)
    if answers.person is not None:
        credit[joined.kept] = choosing(case.features, joined.answers.named())(joined.answers)[:, 0]
    yield from check_people(answers, credit)
    if case.heldout is not None and len(case.heldout):
        yield from check_heldout(answers, case.heldout)


def _wrong(found: list[Finding]) -> bool:
    return any(one.severity == "error" for one in found)
