"""Everything at once: the findings about data that belong together, and the data mended by rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float

from glocal.data.answers import Answers
from glocal.data.check.agreement import named_rows, shares_of_pairs
from glocal.data.check.answers import check_answers
from glocal.data.check.case import Case
from glocal.data.check.features import check_features
from glocal.data.check.finding import SEVERITIES, Finding
from glocal.data.check.leakage import check_leakage
from glocal.data.check.local import check_local
from glocal.data.check.people import check_people
from glocal.data.join import feature_rows
from glocal.errors import DataError

_ROUNDS = 12
Told = Callable[[str], None]


def diagnose(case: Case, progress: Told = lambda doing: None) -> list[Finding]:
    """All findings about features, local features, answers and held-out answers; the worst first."""
    return sorted(_findings(case, progress), key=lambda finding: SEVERITIES.index(finding.severity))


def mended(
    case: Case, findings: list[Finding], progress: Told = lambda doing: None
) -> tuple[Case, list[Finding], list[Finding]]:
    """Mend what a rule can mend, one finding after the other, and look again after each.

    Returns
    -------
    case : Case
        The data as they are then.
    done : list of Finding
        What was mended.
    left : list of Finding
        What is found in the data as they are then.
    """
    done: list[Finding] = []
    for _ in range(_ROUNDS):
        told = {finding.message for finding in done}
        todo = [f for f in findings if f.mend is not None and f.severity != "note" and f.message not in told]
        if not todo or todo[0].mend is None:
            break
        progress(todo[0].check)
        case = todo[0].mend(case)
        done.append(todo[0])
        findings = diagnose(case)
    return case, done, findings


def _findings(case: Case, progress: Told) -> Iterator[Finding]:
    progress("features")
    of_features = check_features(case.features)
    yield from of_features
    broken = any(finding.severity == "error" for finding in of_features)
    if case.local is not None:
        progress("local features")
        of_local = check_features(case.local, "local features")
        yield from of_local
        same = case.local.dimensions == case.features.dimensions
        if not same or not (broken or any(finding.severity == "error" for finding in of_local)):
            yield from check_local(case.features, case.local)
    if case.answers is None:
        return
    progress("answers")
    try:
        found = [] if broken else list(check_answers(case))
        wrong = broken or any(finding.severity == "error" for finding in found)
        credit = None if wrong or case.answers.person is None else _credit(case, case.answers)
        yield from found + check_people(case.answers, credit)
        yield from check_leakage(case)
    except DataError as error:
        yield Finding("error", "triplets", str(error).rstrip("."), "mend the file")


def _credit(case: Case, answers: Answers) -> Float[np.ndarray, " t"]:
    """How right the features are on each answer; NaN where an object has none."""
    rows = np.arange(len(case.features)) if case.listed is None else feature_rows(case.features, case.listed)
    kept = answers.inside(rows >= 0)[1]
    there = answers.relabel(rows)[0]
    credit = np.full(len(answers), np.nan)
    credit[kept] = shares_of_pairs(named_rows(case.features, there.named()), there)[:, 0]
    return credit
