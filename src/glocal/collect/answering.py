"""What a person does: consent, see a trial, answer it once, take the last answer back. Each is one transaction."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from glocal.collect.database import answers, people, trials
from glocal.collect.study import Study
from glocal.collect.tokens import Signer, Token
from glocal.collect.trials import Asking


class Refused(Exception):  # noqa: N818  not an error of the program: what a person asked for is answered so
    """Why something is not done: a status of HTTP, a sentence, and the seconds to wait if it may be tried again.

    Nothing has been written.
    """

    def __init__(self, status: int, sentence: str, wait: float = 0.0) -> None:
        super().__init__(sentence)
        self.status = status
        self.wait = wait


@dataclass(frozen=True)
class Given:
    """An answer as it comes: the position of the choice, or None for "can't tell"; `undo` replaces the last one."""

    choice: int | None
    seconds: float
    undo: bool = False


@dataclass(frozen=True, eq=False)
class Answering:
    """The transactions of a study. Those that write run in one thread, one after another."""

    study: Study
    signer: Signer
    asking: Asking
    clock: Callable[[], float] = time.time

    def consented(self, connection: Connection, token: Token) -> bool:
        """Whether a person has consented."""
        return bool(connection.execute(sql.select(people.c.consented).where(people.c.id == token.id)).scalar())

    def consent(self, connection: Connection, token: Token) -> None:
        """Note that a person consents, and make the first trials; once is enough."""
        found = connection.execute(sql.select(people.c.consented).where(people.c.id == token.id)).first()
        if found is None:
            self._let_in(connection, token)
        elif found.consented is None:
            change = people.update().where(people.c.id == token.id)
            connection.execute(change.values(consented=self.clock()))
        self.asking.ahead(connection, token.id, self._done(connection, token.id))

    def _let_in(self, connection: Connection, token: Token) -> None:
        """A new person, who came by the open link."""
        if not self.study.settings.open:
            raise Refused(404, "This link is not valid.")
        number = connection.execute(sql.select(sql.func.count()).select_from(people)).scalar_one()
        if self.study.settings.people is not None and number >= self.study.settings.people:
            raise Refused(429, "This study has all the people that it needs. Thank you for your interest.")
        if token.name:
            same = sql.select(people.c.id).where(people.c.name == token.name)
            if connection.execute(same).first() is not None:
                raise Refused(409, "Somebody with your id has begun already. Go on in the window where you began.")
        now = self.clock()
        connection.execute(people.insert().values(id=token.id, name=token.name or None, made=now, consented=now))

    def current(self, connection: Connection, token: Token) -> dict[str, Any] | None:
        """The trial that a person is to answer, or what is said at the end; None where trials must be made first."""
        person = connection.execute(
            sql.select(people.c.consented, people.c.code, people.c.name).where(people.c.id == token.id)
        ).first()
        if person is None or person.consented is None:
            raise Refused(403, "Please read and accept the consent first.")
        open_trials = connection.execute(
            sql.select(trials.c.id, trials.c.number, trials.c.images)
            .outerjoin(answers, answers.c.trial == trials.c.id)
            .where(trials.c.person == token.id, answers.c.trial.is_(None))
            .order_by(trials.c.number)
        ).all()
        of = self.study.settings.per_person
        if open_trials:
            first, *later = open_trials
            ahead = [item for trial in later for item in json.loads(trial.images)]
            return {**self._shown(first.id, first.images), "done": first.number, "of": of, "ahead": ahead}
        done = self._done(connection, token.id)
        if done < of:
            return None
        code = person.code or self.signer.code(token.id)
        return {"trial": None, "done": done, "of": of, "code": code, "name": person.name or token.id}

    def make_ahead(self, connection: Connection, token: Token) -> None:
        """Make the trials that are missing, where a study was made longer."""
        self.asking.ahead(connection, token.id, self._done(connection, token.id))

    def last(self, connection: Connection, token: Token) -> dict[str, Any] | None:
        """The trial that a person answered last, with the choice; None before the first."""
        found = connection.execute(
            sql.select(trials.c.id, trials.c.images, trials.c.number, answers.c.choice)
            .join(answers, answers.c.trial == trials.c.id)
            .where(trials.c.person == token.id)
            .order_by(trials.c.number.desc())
            .limit(1)
        ).first()
        if found is None:
            return None
        shown = self._shown(found.id, found.images)
        return {**shown, "choice": found.choice, "done": found.number, "of": self.study.settings.per_person}

    def answer(self, connection: Connection, token: Token, trial: int, given: Given) -> None:
        """Keep an answer, once.

        Raises
        ------
        Refused
            404 for a trial that this person was not shown, 409 for another answer than the one that is kept.
        """
        of = self.study.settings.per_person
        number = connection.execute(
            sql.select(trials.c.number).where(trials.c.id == trial, trials.c.person == token.id)
        ).scalar()
        done = self._done(connection, token.id)
        if number is None or number > done:
            raise Refused(404, "This is not a trial that you were shown.")
        now = self.clock()
        if number < done:
            kept = connection.execute(sql.select(answers.c.choice).where(answers.c.trial == trial)).scalar()
            if kept == given.choice:
                return
            if not given.undo or number != done - 1:
                raise Refused(409, "This trial has another answer already; only the last answer can be changed.")
            change = answers.update().where(answers.c.trial == trial)
            connection.execute(change.values(choice=given.choice, seconds=given.seconds, changed=now))
            return
        connection.execute(answers.insert().values(trial=trial, choice=given.choice, seconds=given.seconds, time=now))
        self.asking.ahead(connection, token.id, done + 1)
        if done + 1 >= of:
            change = people.update().where(people.c.id == token.id, people.c.finished.is_(None))
            connection.execute(change.values(finished=now, code=self.signer.code(token.id)))

    def _done(self, connection: Connection, person: str) -> int:
        answered = sql.select(sql.func.count()).select_from(answers.join(trials)).where(trials.c.person == person)
        return int(connection.execute(answered).scalar_one())

    def _shown(self, trial: int, items: str) -> dict[str, Any]:
        return {"trial": trial, "kind": self.study.settings.kind, "items": json.loads(items)}
