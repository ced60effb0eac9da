"""Look at features and answers before they are used: what is wrong, what follows from it, and how to mend it."""

from glocal.data.check.agreement import warn_of_answers
from glocal.data.check.answers import check_triplets
from glocal.data.check.case import Case
from glocal.data.check.doctor import diagnose, mended
from glocal.data.check.features import check_features
from glocal.data.check.finding import SEVERITIES, Finding
from glocal.data.check.local import check_local, unlike, warn_of_local
from glocal.data.check.order import warn_of_order
from glocal.data.check.people import check_people

__all__ = [
    "SEVERITIES",
    "Case",
    "Finding",
    "check_features",
    "check_local",
    "check_people",
    "check_triplets",
    "diagnose",
    "mended",
    "unlike",
    "warn_of_answers",
    "warn_of_local",
    "warn_of_order",
]
