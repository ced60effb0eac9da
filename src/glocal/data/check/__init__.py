"""Check features and answers before use, and report problems, their consequences and fixes."""

from __future__ import annotations

from glocal.data.check.answers import check_all_answers
from glocal.data.check.features import check_features, check_local
from glocal.data.check.findings import SEVERITIES, Case, Finding, finding
from glocal.errors import DataError


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
            findings.extend(check_all_answers(case, case.answers))
        except DataError as error:
            findings.append(finding("answers", error))
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
