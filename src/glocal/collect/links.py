"""The links of a study: one a person or one for all, and that of its owner; the same whenever they are asked for."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Engine

from glocal.collect.database import add_people, writable
from glocal.collect.study import Study
from glocal.collect.tokens import OPEN, OWNER, PERSON, Signer, Token


def links(study: Study, engine: Engine, base: str) -> dict[str, Any]:
    """The links by what they are for: `people` by id, `open` or None, `owner`."""
    signer = Signer(study.key, study.number)

    def signed(role: str, person: str = "") -> str:
        return signer.sign(Token(role, person, until=study.until))

    ids: list[str] = []
    if not study.settings.open:
        with writable(study), engine.begin() as connection:
            ids = add_people(connection, study.settings.people or 1)
    return {
        "people": {one: f"{base}/r/{signed(PERSON, one)}" for one in ids},
        "open": f"{base}/r/{signed(OPEN)}" if study.settings.open else None,
        "owner": f"{base}/o/{signed(OWNER)}",
    }
