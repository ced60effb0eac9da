"""The actions of people in a study: consent, see a trial, answer it once, undo."""

import math
import sqlite3
import time
from threading import Lock
from typing import NotRequired
from urllib.parse import quote

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

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
_NEW_ANSWER = "INSERT INTO answers (trial, choice, seconds, time) VALUES (?, ?, ?, ?)"
_CHANGE_ANSWER = "UPDATE answers SET choice = ?, seconds = ?, changed = ? WHERE trial = ?"
_PERSON = "SELECT * FROM people WHERE id = ?"
_HAS_BEGUN = "SELECT 1 FROM people WHERE id = ?"
_N_PEOPLE = "SELECT count(*) FROM people"
_WAITING = """
SELECT id, number, a, b, c FROM trials LEFT JOIN answers ON trial = id
WHERE person = ? AND trial IS NULL ORDER BY number
"""


class ImageLink(TypedDict):
    """An image of a trial: its name and where the page loads it."""

    name: str
    url: str


class TrialRecord(TypedDict):
    """A trial as the page reads it.

    ``done`` of ``of`` trials have been answered. ``next`` are the images that the page loads ahead,
    and ``choice`` is the answer that the person gave.
    """

    trial: int
    kind: str
    items: list[ImageLink]
    done: int
    of: int
    next: NotRequired[list[str]]
    choice: NotRequired[int | None]


class EndRecord(TypedDict):
    """The end of a study as the page reads it, with the code of the person."""

    trial: None
    done: int
    of: int
    code: str
    return_url: str | None


class NoTrial(TypedDict):
    """The reply to a person who has not answered anything."""

    trial: None


class Links(TypedDict):
    """The links of a study: of people by id, of visitors if it is open, and of the owner."""

    people: dict[str, str]
    open: str | None
    owner: str


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
        is_old = time.monotonic() > self._description_ends
        if is_old and self._describing.acquire(blocking=False):
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
        has_no_open_link = self.settings.open is None
        if token is None or (role == OPEN and has_no_open_link):
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
            name = token.name or None
            now = time.time()
            connection.execute(begin, (token.id, name, now))
            self._advance(connection, token)

    def current(self, token: Token) -> TrialRecord | EndRecord | None:
        """Return the trial to answer, or the end, as the page reads it."""
        with self.database.reading() as connection:
            trial = self._current(connection, token)
        if trial is None:  # the settings were changed since the last answer
            with self.database.writing() as connection:
                self._advance(connection, token)
                trial = self._current(connection, token)
        return trial

    def last(self, token: Token) -> TrialRecord | NoTrial:
        """Return the trial that a person answered last, with the choice, as the page reads it."""
        query = f"SELECT id, number, a, b, c, choice {_ANSWERED} ORDER BY number DESC LIMIT 1"
        with self.database.reading() as connection:
            rows = connection.execute(query, (token.id,))
            trial = rows.fetchone()
        if trial is None:
            return NoTrial(trial=None)
        record = self._trial(token, trial)
        record["choice"] = trial["choice"]
        return record

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
                stored = scalar(connection, choice_of_trial, trial)
                if stored == body.choice:
                    return
                if not body.undo or number < n_answers - 1:
                    raise Refusal(
                        409,
                        "This question was answered already, perhaps in another window. "
                        "Only the last answer can be changed.",
                    )
                changed = (body.choice, body.seconds, time.time(), trial)
                connection.execute(_CHANGE_ANSWER, changed)
                return
            if number >= self.settings.per_person:  # the study was made shorter
                raise Refusal(409, "This question is no longer asked.")
            answer = (trial, body.choice, body.seconds, time.time())
            connection.execute(_NEW_ANSWER, answer)
            self._advance(connection, token)

    def image(self, token: Token, number: int) -> bytes:
        """Return an image of one of the person's own trials."""
        query = "SELECT 1 FROM trials WHERE person = ? AND ? IN (a, b, c)"
        with self.database.reading() as connection:
            is_asked = scalar(connection, query, token.id, number)
            if is_asked is None:
                raise Refusal(404, "You were not asked about an image with this number.")
        file = self.study.image(number)
        return file.read_bytes()

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

    def _current(self, connection: Connection, token: Token) -> TrialRecord | EndRecord | None:
        """The trial to answer, or the end; None if `_advance` has to make it first."""
        people = connection.execute(_PERSON, (token.id,))
        person = people.fetchone()
        if person is None:
            raise Refusal(403, "Please read and accept the consent first.")
        n_answers = self._n_answers(connection, token)
        if n_answers < self.settings.per_person:
            return self._waiting_trial(connection, token)
        if person["code"] is None:
            return None
        return EndRecord(
            trial=None,
            done=n_answers,
            of=n_answers,
            code=person["code"],
            return_url=self._return_url(person),
        )

    def _waiting_trial(self, connection: Connection, token: Token) -> TrialRecord | None:
        """The first trial without an answer, with the images of those that follow; None without."""
        trials = connection.execute(_WAITING, (token.id,))
        waiting = trials.fetchall()
        if not waiting:
            return None
        record = self._trial(token, waiting[0])
        record["next"] = []
        for trial in waiting[1:]:
            for image in self._items(token, trial):
                record["next"].append(image["url"])
        return record

    def _return_url(self, person: sqlite3.Row) -> str | None:
        """The link back to the recruiting site, with the person's name there and their code."""
        name = quote(person["name"] or person["id"], safe="")
        template = self.settings.return_url or ""
        named = template.replace("{id}", name)
        return named.replace("{code}", person["code"]) or None

    def _advance(self, connection: Connection, token: Token) -> None:
        """Make the missing trials, or record that the person has finished."""
        finish = "UPDATE people SET finished = ?, code = ? WHERE id = ? AND finished IS NULL"
        n_answers = self._n_answers(connection, token)
        self._scheduler.make_ahead(connection, token.id, n_answers)
        if n_answers >= self.settings.per_person:
            code = self.settings.code or self.signer.code(token.id)
            now = time.time()
            connection.execute(finish, (now, code, token.id))

    def _n_answers(self, connection: Connection, token: Token) -> int:
        return scalar(connection, f"SELECT count(*) {_ANSWERED}", token.id)

    def _items(self, token: Token, trial: sqlite3.Row) -> list[ImageLink]:
        signed = self.signer.sign(token)
        items = []
        for column in ("a", "b", "c"):
            number = trial[column]
            name = self.study.names[number]
            link = ImageLink(name=name, url=f"/r/{signed}/image/{number}")
            items.append(link)
        return items

    def _trial(self, token: Token, trial: sqlite3.Row) -> TrialRecord:
        number = trial["number"]
        return TrialRecord(
            trial=trial["id"],
            kind=self.settings.kind,
            items=self._items(token, trial),
            done=number,
            of=max(self.settings.per_person, number + 1),
        )


def links(study: Study, base: str) -> Links:
    """Return the links of a study, always the same."""
    sign = Signer(study.key).sign
    people = {}
    for person in study.personal_ids:
        signed = sign(Token(PERSON, person))
        people[person] = f"{base}/r/{signed}"
    visitors = None
    if study.settings.open:
        signed = sign(Token(OPEN))
        visitors = f"{base}/r/{signed}"
    owner = sign(Token(OWNER))
    return Links(people=people, open=visitors, owner=f"{base}/o/{owner}")
