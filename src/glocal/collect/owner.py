"""The numbers of the owner's page."""

from __future__ import annotations

from typing import Any

from glocal.collect.export import CANNOT_TELL, Collected
from glocal.collect.study import Study


def state(study: Study, found: Collected) -> dict[str, Any]:
    """What is known of a study."""
    return {
        "title": study.title, "kind": study.settings.kind, "order": study.settings.order, "images": len(study),
        "answers": len(found), "cannot_tell": int((found.choice == CANNOT_TELL).sum()),
    }  # fmt: skip
