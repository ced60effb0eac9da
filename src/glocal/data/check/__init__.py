"""Check features and answers before use, and report problems, their consequences and fixes.

The checks of features, of answers alone, and of what answers refer to have a file each.
"""

from __future__ import annotations

from glocal.data.answers import Answers
from glocal.data.check.answers import check_heldout, check_people, check_questions
from glocal.data.check.features import check_features, check_local
from glocal.data.check.findings import Case, Finding, Findings, by_severity, finding
from glocal.data.check.readings import check_readings
from glocal.data.join import feature_rows, join
from glocal.errors import DataError

_MAX_SHARE_DROPPED = 0.05  # fraction of dropped answers above which a note becomes a warning
_MAX_OBJECTS_SHOWN = 3


def diagnose(case: Case) -> list[Finding]:
    """Return all findings about features, local features and answers, most severe first."""
    features = case.features
    local = case.local
    answers = case.answers
    findings = list(check_features(features))
    failed_checks = {finding.check for finding in findings}
    has_features = "features" not in failed_checks
    if local is not None:
        findings += check_features(local, "local features")
        if has_features:
            findings += check_local(features, local)
    if answers is not None and has_features:
        try:
            findings.extend(_check_answers(case, answers))
        except DataError as error:
            problem = finding("answers", error)
            findings.append(problem)
    return by_severity(findings)


def diagnose_answers(answers: Answers, heldout: Answers | None = None) -> list[Finding]:
    """Return all findings about answers that need no features, most severe first."""
    names = answers.names or ()
    n_objects = len(names)
    if not n_objects:
        largest = int(answers.objects.max(initial=-1))
        n_objects = largest + 1
    findings = list(check_questions(answers, n_objects))
    findings += check_people(answers)
    if heldout is not None:
        findings += check_heldout(answers, heldout)
    return by_severity(findings)


def _check_answers(case: Case, answers: Answers) -> Findings:
    """Check answers: their objects, questions, columns and people, and the held-out answers."""
    features = case.features
    object_ids = case.object_ids
    joined = join(features, answers, object_ids)
    objects = case.listed or features
    yield from check_questions(answers, len(objects))
    n_dropped = joined.n_dropped
    if n_dropped:
        yield _dropped(case, answers, n_dropped)
    yield from check_readings(case, joined.answers)
    yield from check_people(answers)
    if case.heldout is not None:
        # each file may number objects by itself
        joined_heldout = join(features, case.heldout, object_ids)
        heldout = joined_heldout.answers
        yield from check_heldout(joined.answers, heldout)


def _dropped(case: Case, answers: Answers, n_dropped: int) -> Finding:
    """The finding that answers name objects without features."""
    listed = case.listed or ()
    rows = feature_rows(case.features, listed)
    named = answers.named_objects()
    is_lacking = rows[named] < 0
    lacking = named[is_lacking]
    shown = lacking[:_MAX_OBJECTS_SHOWN]
    examples = [repr(listed[i]) for i in shown]
    message = (
        f"answers: {n_dropped} of {len(answers)} answers name an object without features, such as "
        f"{', '.join(examples)}"
    )
    max_of_note = _MAX_SHARE_DROPPED * len(answers)
    if n_dropped <= max_of_note:
        return finding("join", message, severity="note")
    return finding("join", message, severity="warning")
