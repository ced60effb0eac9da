"""The actions of people in a study: consent, see a trial, answer it once, undo."""

import math
import time
from threading import Lock
from typing import Any
from urllib.parse import quote

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from glocal.errors import FileError
from glocal_collect.db import Connection, Database, scalar
from glocal_collect.export import read_collected
from glocal_collect.limits import Limit, Refusal
from glocal_collect.overview import NOT_COMPARED, describe_people, people_table
from glocal_collect.study import Study
from glocal_collect.tokens import OPEN, OWNER, PERSON, Signer, Token
from glocal_collect.trials import TrialScheduler

CLOSED = "This study takes no new participants."
_BURST = 100  # requests of a person that may come at once
_MAX_AGE_SECONDS = 300  # of the description of the people; making one slows down the answers
_REQUESTS_PER_ANSWER = 10  # images included; a page that loads ahead needs eight
_ANSWERED = "FROM answers JOIN trials ON trial = id WHERE person = ?"
_HAS_BEGUN = "SELECT 1 FROM people WHERE id = ?"
_N_PEOPLE = "SELECT count(*) FROM people"
_WAITING = """
SELECT id, number, a, b, c FROM trials LEFT JOIN answers ON trial = id
WHERE person = ? AND trial IS NULL ORDER BY number
"""


class AnswerBody(BaseModel):
    """An answer as the page sends it: a position, or None for "can't tell".

    With `undo` it replaces the last answer.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    choice: int | None = Field(ge=0, le=2)
    seconds: float = Field(ge=0, le=1e6, allow_inf_nan=False)
    undo: bool = False


class StudyService:
    """The actions of people; each is one transaction, and a forbidden one raises a `Refusal`."""

    def __init__(self, study: Study, database: Database) -> None:
        self.study = study
        self.settings = study.settings
        self.signer = Signer(study.key)
        self.database = database
        self._scheduler = TrialScheduler(self.settings, len(study))
        per_minute = self.settings.max_starts_per_minute
        self._requests = Limit(self.settings.min_seconds / _REQUESTS_PER_ANSWER, _BURST)
        self._starts = Limit(60 / per_minute, per_minute)
        self._description = NOT_COMPARED
        self._description_ends = -math.inf
        self._describing = Lock()

    def overview(self) -> pd.DataFrame:
        """Return what each person did, and how well.

        The latter is compared anew if that is five minutes ago. Meanwhile others get the last
        comparison: each that waited would hold a thread that serves participants.
        """
        collected = read_collected(self.study, self.database)
        if time.monotonic() > self._description_ends and self._describing.acquire(blocking=False):
            try:
                self._description = describe_people(self.study, collected)
                self._description_ends = time.monotonic() + _MAX_AGE_SECONDS
            finally:
                self._describing.release()
        return people_table(self.study, collected, self._description)

    def authenticate(self, text: str, role: str = PERSON) -> Token:
        """Return the token of a link, and limit the rate of a person's requests.

        Raises
        ------
        Refusal
            404 for a wrong token, 410 once the study has ended, 429 for too many requests of a
            person, and 503 for the owner if a text of the study cannot be read.
        FileError
            A text of the study cannot be read, and the link is not the owner's.
        """
        token = self.signer.read(text, role)
        if token is None or (role == OPEN and self.settings.open is None):
            raise Refusal(404, "This link is not valid.")
        try:
            self.study.text("consent")
            self.study.text("instructions")
        except FileError as error:
            if role == OWNER:
                raise Refusal(503, str(error)) from error
            raise
        if self.study.has_ended():
            raise Refusal(410, "This study has ended.")
        if role == PERSON:
            self._requests.check(token.id)
        return token

    def has_begun(self, token: Token) -> bool:
        """Whether a person has begun; raises a Refusal if they have not and may not begin."""
        with self.database.reading() as connection:
            if scalar(connection, _HAS_BEGUN, token.id) is not None:
                return True
            self._check_newcomer(connection, token)
        return False

    def consent(self, token: Token) -> None:
        """Record, once, that a person consents, and make the first trials."""
        begin = "INSERT INTO people (id, name, consented) VALUES (?, ?, ?)"
        with self.database.writing() as connection:
            if scalar(connection, _HAS_BEGUN, token.id):
                return
            self._check_newcomer(connection, token)
            if token.is_visitor:
                self._starts.check("")  # one key for all: each visitor is another person
            connection.execute(begin, (token.id, token.name or None, time.time()))
            self._advance(connection, token)

    def current(self, token: Token) -> dict[str, Any]:
        """Return the trial to answer, or the end, as the page reads it."""
        with self.database.reading() as connection:
            trial = self._current(connection, token)
        if not trial:  # the settings were changed since the last answer
            with self.database.writing() as connection:
                self._advance(connection, token)
                trial = self._current(connection, token)
        return trial

    def last(self, token: Token) -> dict[str, Any]:
        """Return the trial that a person answered last, with the choice, as the page reads it."""
        query = f"SELECT id, number, a, b, c, choice {_ANSWERED} ORDER BY number DESC LIMIT 1"
        with self.database.reading() as connection:
            trial = connection.execute(query, (token.id,)).fetchone()
        if trial is None:
            return {"trial": None}
        return {**self._trial(token, trial), "choice": trial["choice"]}

    def answer(self, token: Token, trial: int, body: AnswerBody) -> None:
        """Store an answer, once.

        Raises
        ------
        Refusal
            404 for a trial that this person was not shown, 409 for one that has another answer or
            is no longer asked, 422 for the reference of an anchor trial.
        """
        if self.settings.kind == "anchor" and body.choice == 0:
            raise Refusal(422, "choice is 0, the reference; it must be 1, 2 or null.")
        choice_of_trial = "SELECT choice FROM answers WHERE trial = ?"
        own_trial = "SELECT number FROM trials WHERE id = ? AND person = ?"
        with self.database.writing() as connection:
            number = scalar(connection, own_trial, trial, token.id)
            n_answers = self._n_answers(connection, token)
            if number is None or number > n_answers:
                raise Refusal(404, "This is not a trial that you were shown.")
            if number < n_answers:
                if scalar(connection, choice_of_trial, trial) == body.choice:
                    return
                if not body.undo or number < n_answers - 1:
                    raise Refusal(
                        409,
                        "This question was answered already, perhaps in another window. "
                        "Only the last answer can be changed.",
                    )
                connection.execute(
                    "UPDATE answers SET choice = ?, seconds = ?, changed = ? WHERE trial = ?",
                    (body.choice, body.seconds, time.time(), trial),
                )
                return
            if number >= self.settings.per_person:  # the study was made shorter
                raise Refusal(409, "This question is no longer asked.")
            connection.execute(
                "INSERT INTO answers (trial, choice, seconds, time) VALUES (?, ?, ?, ?)",
                (trial, body.choice, body.seconds, time.time()),
            )
            self._advance(connection, token)

    def image(self, token: Token, number: int) -> bytes:
        """Return an image of one of the person's own trials."""
        query = "SELECT 1 FROM trials WHERE person = ? AND ? IN (a, b, c)"
        with self.database.reading() as connection:
            if scalar(connection, query, token.id, number) is None:
                raise Refusal(404, "You were not asked about an image with this number.")
        return self.study.image(number).read_bytes()

    def _check_newcomer(self, connection: Connection, token: Token) -> None:
        """Raise the refusal of a person who may not begin."""
        if not self._is_invited(token):
            raise Refusal(410, CLOSED)
        has_name = "SELECT 1 FROM people WHERE name = ?"
        if token.name and scalar(connection, has_name, token.name) is not None:
            raise Refusal(
                409,
                "Someone has already started with your ID in another session. "
                "Please tell the person who invited you.",
            )
        limit = self.settings.people if self.settings.open else None
        if limit is not None and scalar(connection, _N_PEOPLE) >= limit:
            raise Refusal(
                429, "This study already has enough participants. Thank you for your interest."
            )

    def _is_invited(self, token: Token) -> bool:
        if self.settings.open is None:
            return token.id in self.study.personal_ids
        return self.settings.open

    def _current(self, connection: Connection, token: Token) -> dict[str, Any]:
        """The trial to answer, or the end; empty if `_advance` has to make it first."""
        person = connection.execute("SELECT * FROM people WHERE id = ?", (token.id,)).fetchone()
        if person is None:
            raise Refusal(403, "Please read and accept the consent first.")
        n_answers = self._n_answers(connection, token)
        if n_answers < self.settings.per_person:
            waiting = connection.execute(_WAITING, (token.id,)).fetchall()
            urls = [item["url"] for trial in waiting[1:] for item in self._items(token, trial)]
            return {**self._trial(token, waiting[0]), "next": urls} if waiting else {}
        if person["code"] is None:
            return {}
        code = person["code"]
        name = quote(person["name"] or token.id, safe="")
        url = (self.settings.return_url or "").replace("{id}", name).replace("{code}", code)
        return {
            "trial": None,
            "done": n_answers,
            "of": n_answers,
            "code": code,
            "return_url": url or None,
        }

    def _advance(self, connection: Connection, token: Token) -> None:
        """Make the missing trials, or record that the person has finished."""
        finish = "UPDATE people SET finished = ?, code = ? WHERE id = ? AND finished IS NULL"
        n_answers = self._n_answers(connection, token)
        self._scheduler.make_ahead(connection, token.id, n_answers)
        if n_answers >= self.settings.per_person:
            code = self.settings.code or self.signer.code(token.id)
            connection.execute(finish, (time.time(), code, token.id))

    def _n_answers(self, connection: Connection, token: Token) -> int:
        return scalar(connection, f"SELECT count(*) {_ANSWERED}", token.id)

    def _items(self, token: Token, trial: Any) -> list[dict[str, str]]:
        address = f"/r/{self.signer.sign(token)}/image"
        images = [trial["a"], trial["b"], trial["c"]]
        return [{"name": self.study.names[item], "url": f"{address}/{item}"} for item in images]

    def _trial(self, token: Token, trial: Any) -> dict[str, Any]:
        return {
            "trial": trial["id"],
            "kind": self.settings.kind,
            "items": self._items(token, trial),
            "done": trial["number"],
            "of": max(self.settings.per_person, trial["number"] + 1),
        }


def links(study: Study, base: str) -> dict[str, Any]:
    """Return the links of a study, always the same.

    These are `people` by id, `open` or None, and `owner`.
    """
    sign = Signer(study.key).sign
    return {
        "people": {id: f"{base}/r/{sign(Token(PERSON, id))}" for id in study.personal_ids},
        "open": f"{base}/r/{sign(Token(OPEN))}" if study.settings.open else None,
        "owner": f"{base}/o/{sign(Token(OWNER))}",
    }
