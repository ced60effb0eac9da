"""Features and answers that are checked before hours of work."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from glocal.data.answers import Answers
from glocal.data.check import diagnose
from glocal.data.check.findings import Case
from glocal.data.features import Features
from glocal.data.join import Joined, join
from glocal.errors import DataError, DataWarning


def checked_join(
    objects: Features,
    answers: Answers,
    object_ids: Sequence[str] | None = None,
    local: Features | None = None,
) -> Joined:
    """The answers as rows of the objects.

    Raises a DataError if the check finds an error. Its warnings become DataWarnings.
    """
    for finding in diagnose(Case(objects, local, answers, object_ids=object_ids)):
        if finding.severity == "error":
            raise DataError(f"the check stops here: {finding}")
        if finding.severity == "warning":
            warnings.warn(str(finding), DataWarning, stacklevel=3)
    return join(objects, answers, object_ids)
