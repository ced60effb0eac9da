"""Check features and answers before use, and report problems, their consequences and fixes.

The checks of features, of answers alone, and of what answers refer to have a file each.
"""

from __future__ import annotations

from glocal.data.answers import Answers
from glocal.data.check.answers import check_heldout, check_people, check_questions
from glocal.data.check.features import check_features, check_local
from glocal.data.check.findings import SEVERITIES, Case, Finding, Findings, finding
from glocal.data.check.readings import check_readings
from glocal.data.join import feature_rows, join
from glocal.errors import DataError

_MAX_SHARE_DROPPED = 0.05  # fraction of dropped answers above which a note becomes a warning
_MAX_OBJECTS_SHOWN = 3


def diagnose(case: Case) -> list[Finding]:
    """Return all findings about features, local features and answers, most severe first."""
    findings = [*check_features(case.features)]
    has_features = not findings or findings[0].check != "features"
    if case.local is not None:
        findings += check_features(case.local, "local features")
        if has_features:
            findings += check_local(case.features, case.local)
    if case.answers is not None and has_features:
        try:
            findings.extend(_check_answers(case, case.answers))
        except DataError as error:
            findings.append(finding("answers", error))
    return _by_severity(findings)


def diagnose_answers(answers: Answers, heldout: Answers | None = None) -> list[Finding]:
    """Return all findings about answers that need no features, most severe first."""
    n_objects = len(answers.names or ()) or int(answers.objects.max(initial=-1)) + 1
    findings = [*check_questions(answers, n_objects), *check_people(answers)]
    if heldout is not None:
        findings += check_heldout(answers, heldout)
    return _by_severity(findings)


def _by_severity(findings: list[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def _check_answers(case: Case, answers: Answers) -> Findings:
    """Check answers: their objects, questions, columns and people, and the held-out answers."""
    joined = join(case.features, answers, case.object_ids)
    yield from check_questions(answers, len(case.listed or case.features))
    if joined.n_dropped:
        listed = case.listed or ()
        rows = feature_rows(case.features, listed)
        lacking = [listed[i] for i in answers.named_objects().tolist() if rows[i] < 0]
        few = joined.n_dropped <= _MAX_SHARE_DROPPED * len(answers)
        yield finding(
            "join",
            f"answers: {joined.n_dropped} of {len(answers)} answers name an object without "
            f"features, such as {', '.join(map(repr, lacking[:_MAX_OBJECTS_SHOWN]))}",
            severity="note" if few else "warning",
        )
    yield from check_readings(case, joined.answers)
    yield from check_people(answers)
    if case.heldout is not None:
        heldout = join(case.features, case.heldout, case.object_ids).answers
        yield from check_heldout(joined.answers, heldout)  # each file may number objects by itself
