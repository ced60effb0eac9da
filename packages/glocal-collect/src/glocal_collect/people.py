"""What a person does: consent, see a trial, answer it once, take the last answer back. Each is one transaction."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from glocal_collect.db import Connection, Database, one
from glocal_collect.settings import Settings
from glocal_collect.study import Study
from glocal_collect.tokens import OPEN, OWNER, PERSON, Signer, Token
from glocal_collect.trials import Asking

_ANSWERED = "FROM answers JOIN trials ON trial = id WHERE person = ?"


class Refused(HTTPException):
    """Why something is not done: a status of HTTP, a sentence, and the seconds to wait if it may be tried again."""

    def __init__(self, status: int, sentence: str, wait: int = 0) -> None:
        super().__init__(status, sentence, {"Retry-After": str(wait)} if wait else None)


class Given(BaseModel):
    """An answer as the page sends it: a position, or None for "can't tell"; `undo` replaces the last answer."""

    model_config = ConfigDict(extra="forbid", strict=True)

    choice: Annotated[int, Field(ge=0, le=2)] | None
    seconds: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
    undo: bool = False


@dataclass(frozen=True, eq=False)
class Answering:
    """The transactions of a study."""

    settings: Settings
    signer: Signer
    asking: Asking

    def consent(self, connection: Connection, token: Token) -> Refused | None:
        """Note that a person consents, and make the first trials; once is enough. A refusal is returned, not raised."""
        now = time.time()
        found = connection.execute("SELECT consented FROM people WHERE id = ?", (token.id,)).fetchone()
        if found is None:
            if not self.settings.open:
                return Refused(404, "This link is not valid.")
            if token.name and one(connection, "SELECT id FROM people WHERE name = ?", token.name):
                connection.execute("UPDATE people SET contested = contested + 1 WHERE name = ?", (token.name,))
                return Refused(
                    409,
                    "Somebody has begun with your id, from another address. Please tell the person who invited you.",
                )
            most = self.settings.people
            if most is not None and one(connection, "SELECT count(*) FROM people") >= most:
                return Refused(429, "This study already has enough participants. Thank you for your interest.")
            row = (token.id, token.name or None, now)
            connection.execute("INSERT INTO people (id, name, consented) VALUES (?, ?, ?)", row)
        elif found["consented"] is None:
            connection.execute("UPDATE people SET consented = ? WHERE id = ?", (now, token.id))
        self.make_ahead(connection, token)
        return None

    def current(self, connection: Connection, token: Token) -> dict[str, Any] | None:
        """The trial that a person is to answer, or what is said at the end; None where trials must be made first."""
        person = connection.execute("SELECT consented, code, name FROM people WHERE id = ?", (token.id,)).fetchone()
        if person is None or person["consented"] is None:
            raise Refused(403, "Please read and accept the consent first.")
        waiting = connection.execute(
            "SELECT id, number, a, b, c FROM trials LEFT JOIN answers ON trial = id "
            "WHERE person = ? AND trial IS NULL ORDER BY number", (token.id,),
        ).fetchall()  # fmt: skip
        of = self.settings.per_person
        if waiting:
            ahead = [item for later in waiting[1:] for item in later[2:]]
            return {**self._shown(waiting[0]), "of": of, "ahead": ahead}
        done = one(connection, f"SELECT count(*) {_ANSWERED}", token.id)
        if done < of:
            return None
        code = person["code"] or self.signer.code(token.id)
        return {"trial": None, "done": done, "of": of, "code": code, "name": person["name"] or token.id}

    def make_ahead(self, connection: Connection, token: Token) -> None:
        """Make the trials that are missing."""
        self.asking.ahead(connection, token.id, one(connection, f"SELECT count(*) {_ANSWERED}", token.id))

    def last(self, connection: Connection, token: Token) -> dict[str, Any] | None:
        """The trial that a person answered last, with the choice; None before the first."""
        found = connection.execute(
            f"SELECT id, number, a, b, c, choice {_ANSWERED} ORDER BY number DESC LIMIT 1", (token.id,)
        ).fetchone()
        if found is None:
            return None
        return {**self._shown(found), "choice": found["choice"], "of": self.settings.per_person}

    def answer(self, connection: Connection, token: Token, trial: int, given: Given) -> None:
        """Keep an answer, once.

        Raises
        ------
        Refused
            404 for a trial that this person was not shown, 409 for another answer than the one that is kept.
        """
        number = one(connection, "SELECT number FROM trials WHERE id = ? AND person = ?", trial, token.id)
        done = one(connection, f"SELECT count(*) {_ANSWERED}", token.id)
        if number is None or number > done:
            raise Refused(404, "This is not a trial that you were shown.")
        now = time.time()
        if number < done:
            if one(connection, "SELECT choice FROM answers WHERE trial = ?", trial) == given.choice:
                return
            if not given.undo or number != done - 1:
                raise Refused(409, "This trial has another answer already; only the last answer can be changed.")
            change = (given.choice, given.seconds, now, trial)
            connection.execute("UPDATE answers SET choice = ?, seconds = ?, changed = ? WHERE trial = ?", change)
            return
        row = (trial, given.choice, given.seconds, now)
        connection.execute("INSERT INTO answers (trial, choice, seconds, time) VALUES (?, ?, ?, ?)", row)
        self.asking.ahead(connection, token.id, done + 1)
        if done + 1 >= self.settings.per_person:
            end = (now, self.signer.code(token.id), token.id)
            connection.execute("UPDATE people SET finished = ?, code = ? WHERE id = ? AND finished IS NULL", end)

    def _shown(self, trial: Any) -> dict[str, Any]:
        items = [trial["a"], trial["b"], trial["c"]]
        return {"trial": trial["id"], "kind": self.settings.kind, "items": items, "done": trial["number"]}


def links(study: Study, database: Database, base: str) -> dict[str, Any]:
    """The links by what they are for, the same whenever they are asked for: `people` by id, `open` or None, `owner`."""
    signer, settings = Signer(study.key), study.settings
    ids = [] if settings.open else [f"p{number}" for number in range(1, (settings.people or 1) + 1)]
    add = "INSERT OR IGNORE INTO people (id) VALUES (?)"
    database.write(lambda connection: connection.executemany(add, [(one,) for one in ids]))
    return {
        "people": {one: f"{base}/r/{signer.sign(Token(PERSON, one))}" for one in ids},
        "open": f"{base}/r/{signer.sign(Token(OPEN))}" if settings.open else None,
        "owner": f"{base}/o/{signer.sign(Token(OWNER))}",
    }
