"""What is asked: at random and balanced over the images, again, as a catch trial, or what fits disagree about.

A *repeat* asks again, in another order on the screen, what the same person answered at least ten trials before, or what
another person answered: half of them each, where there are such trials. A *catch trial* shows one image twice and
another one once: the other one is odd, and for the kind anchor the copy is more like its reference. Which trials of a
person are which is drawn beforehand from the seed of the study, in the exact proportions of its settings.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from glocal.collect.database import answers, proposals, trials
from glocal.collect.study import Study

RANDOM, INFORMATIVE, REPEAT, CATCH = "random", "informative", "repeat", "catch"
AHEAD = 3  # trials of a person that are made before they are asked, so that their images can be loaded
_APART = 10  # trials between an answer and its own repeat


def plan(study: Study, person: str) -> list[str]:
    """For each trial of a person `RANDOM`, `REPEAT` or `CATCH`; no repeat is among the first."""
    n, settings = study.settings.per_person, study.settings
    draw = random.Random(f"{settings.seed} plan {person}")
    late = [number for number in range(n) if number >= min(_APART, n // 2)]
    sources = [RANDOM] * n
    for number in draw.sample(late, min(len(late), round(settings.repeats * n))):
        sources[number] = REPEAT
    free = [number for number in range(n) if sources[number] == RANDOM]
    for number in draw.sample(free, min(len(free), round(settings.catch * n))):
        sources[number] = CATCH
    return sources


def balanced(n: int, seed: int, start: int = 0) -> Iterator[tuple[int, int, int]]:
    """Triplets without end, from the `start`-th on, at random: each image is in exactly three of n.

    >>> from itertools import islice
    >>> sorted(image for triplet in islice(balanced(4, seed=0), 4) for image in triplet)
    [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    """
    for number in count(start // n):
        line = _three_times(n, random.Random(f"{seed} round {number}"))
        for place in range(start % n if number == start // n else 0, n):
            a, b, c = line[3 * place : 3 * place + 3]
            yield a, b, c


def _three_times(n: int, draw: random.Random) -> list[int]:
    """All images three times, one order after another, so that no three in turn hold one twice."""
    line: list[int] = []
    for _ in range(3):
        begun = line[len(line) - len(line) % 3 :]
        order = [image for image in draw.sample(range(n), n) if image not in begun]
        for image in begun:  # not in what completes the triplet that they are in
            order.insert(draw.randint(3 - len(begun), len(order)), image)
        line += order
    return line


@dataclass(eq=False)
class Asking:
    """Makes the next trials of people; one thread at a time."""

    study: Study
    draw: random.Random = field(default_factory=random.Random)
    _random: Iterator[tuple[int, int, int]] | None = None
    _plans: dict[str, list[str]] = field(default_factory=dict)

    def ahead(self, connection: Connection, person: str, done: int) -> None:
        """Make the trials of a person from `done` on that are to be there and are not yet."""
        last = connection.execute(
            sql.select(sql.func.max(trials.c.number)).where(trials.c.person == person)
        ).scalar_one()
        first = 0 if last is None else last + 1
        for number in range(first, min(done + AHEAD, self.study.settings.per_person)):
            self._make(connection, person, number)

    def _make(self, connection: Connection, person: str, number: int) -> None:
        if person not in self._plans:
            self._plans[person] = plan(self.study, person)
        source, again, proposal = self._plans[person][number], None, None
        items: Sequence[int] | None = None
        if source == CATCH:
            items = self._catch()
        elif source == REPEAT:
            items, again = self._repeat(connection, person, number)
        elif self.study.settings.order == INFORMATIVE and self.draw.random() >= self.study.settings.random_share:
            items, proposal = self._proposed(connection)
            source = INFORMATIVE
        if items is None:
            items, source = self._next_random(connection), RANDOM
        made = connection.execute(
            trials.insert().values(
                person=person, number=number, images=json.dumps(self._shuffled(items)), source=source, again=again,
                made=time.time(),
            )
        )  # fmt: skip
        if proposal is not None:
            taken = made.inserted_primary_key[0]  # type: ignore[index]
            connection.execute(proposals.update().where(proposals.c.id == proposal).values(taken=taken))

    def _next_random(self, connection: Connection) -> Sequence[int]:
        if self._random is None:
            asked = sql.select(sql.func.count()).select_from(trials).where(trials.c.source == RANDOM)
            start = connection.execute(asked).scalar_one()
            self._random = balanced(len(self.study), self.study.settings.seed, start)
        return next(self._random)

    def _catch(self) -> list[int]:
        twice, once = self.draw.sample(range(len(self.study)), 2)
        return [twice, twice, once]

    def _repeat(self, connection: Connection, person: str, number: int) -> tuple[list[int] | None, int | None]:
        own = (
            sql.select(trials.c.id, trials.c.images)
            .where(trials.c.person == person, trials.c.number <= number - _APART)
            .where(trials.c.source.in_([RANDOM, INFORMATIVE]))
            .where(trials.c.id.not_in(sql.select(trials.c.again).where(trials.c.person == person, trials.c.again > 0)))
        )
        largest = connection.execute(sql.select(sql.func.max(trials.c.id))).scalar_one() or 0
        others = (
            sql.select(trials.c.id, trials.c.images)
            .join(answers, answers.c.trial == trials.c.id)
            .where(trials.c.source == RANDOM, trials.c.person != person)
            .where(trials.c.id >= self.draw.randint(0, largest))
            .order_by(trials.c.id)
            .limit(1)
        )
        for question in self.draw.sample([own, others], 2):
            found = connection.execute(question).all()
            if found:
                again, items = self.draw.choice(found)
                return json.loads(items), again
        return None, None

    def _proposed(self, connection: Connection) -> tuple[list[int] | None, int | None]:
        waiting = sql.select(proposals.c.id, proposals.c.images).where(proposals.c.taken.is_(None))
        found = connection.execute(waiting.order_by(proposals.c.id).limit(1)).first()
        return (None, None) if found is None else (json.loads(found.images), found.id)

    def _shuffled(self, items: Sequence[int]) -> list[int]:
        """The order on the screen; a reference stays the first."""
        fixed = 1 if self.study.settings.kind == "anchor" else 0
        return [*items[:fixed], *self.draw.sample(list(items[fixed:]), 3 - fixed)]


def right_choice(kind: str, items: Sequence[int]) -> int:
    """The right answer to a catch trial: where it is on the screen."""
    if kind == "anchor":
        return items.index(items[0], 1)
    return next(place for place, item in enumerate(items) if items.count(item) == 1)
