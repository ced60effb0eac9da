"""What is asked: at random and balanced over the images, again, or as a catch trial.

A *repeat* asks again, in another order on the screen, what the same person answered at least ten trials before, or what
another person answered: half of them each, where there are such trials. A *catch trial* shows one image twice and
another one once: the other one is odd, and for the kind anchor the copy is more like its reference. Which trials of a
person are which is drawn beforehand from the seed of the study, in the exact proportions of its settings.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count

from glocal_collect.db import Connection, one
from glocal_collect.settings import Settings

RANDOM, REPEAT, CATCH = "random", "repeat", "catch"
AHEAD = 3  # trials of a person that are made before they are asked, so that their images can be loaded
_APART = 10  # trials between an answer and its own repeat


@lru_cache(maxsize=1000)
def plan(settings: Settings, person: str) -> tuple[str, ...]:
    """For each trial of a person `RANDOM`, `REPEAT` or `CATCH`; no repeat is among the first."""
    n = settings.per_person
    draw = random.Random(f"{settings.seed} plan {person}")
    late = [number for number in range(n) if number >= min(_APART, n // 2)]
    sources = [RANDOM] * n
    for number in draw.sample(late, min(len(late), round(settings.repeats * n))):
        sources[number] = REPEAT
    free = [number for number in range(n) if sources[number] == RANDOM]
    for number in draw.sample(free, min(len(free), round(settings.catch * n))):
        sources[number] = CATCH
    return tuple(sources)


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
    """Makes the next trials of people about n images; inside transactions, so one at a time."""

    settings: Settings
    n: int
    draw: random.Random = field(default_factory=random.Random)
    _random: Iterator[tuple[int, int, int]] = field(default_factory=lambda: iter(()))
    _next: int = -1  # the place of what `_random` gives next

    def ahead(self, connection: Connection, person: str, done: int) -> None:
        """Make the trials of a person from `done` on that are to be there and are not yet."""
        last = one(connection, "SELECT max(number) FROM trials WHERE person = ?", person)
        first = 0 if last is None else last + 1
        for number in range(first, min(done + AHEAD, self.settings.per_person)):
            source, again = plan(self.settings, person)[number], None
            items: Sequence[int] | None = None
            if source == CATCH:
                twice, once = self.draw.sample(range(self.n), 2)
                items = [twice, twice, once]
            elif source == REPEAT:
                items, again = self._repeat(connection, person, number)
            if items is None:
                items, source = self._next_random(connection), RANDOM
            row = (person, number, *self._shuffled(items), source, again)
            connection.execute(
                "INSERT INTO trials (person, number, a, b, c, source, again) VALUES (?, ?, ?, ?, ?, ?, ?)", row
            )

    def _next_random(self, connection: Connection) -> Sequence[int]:
        place = one(connection, "SELECT count(*) FROM trials WHERE source = ?", RANDOM)
        if place != self._next:  # the server was started again, or a transaction was undone
            self._random = balanced(self.n, self.settings.seed, place)
        self._next = place + 1
        return next(self._random)

    def _repeat(self, connection: Connection, person: str, number: int) -> tuple[Sequence[int] | None, int | None]:
        own = (
            "SELECT id, a, b, c FROM trials WHERE person = ? AND number <= ? AND source = ? AND id NOT IN "
            "(SELECT again FROM trials WHERE person = ? AND again IS NOT NULL)",
            (person, number - _APART, RANDOM, person),
        )
        largest = one(connection, "SELECT max(id) FROM trials") or 0
        others = (
            "SELECT id, a, b, c FROM trials JOIN answers ON trial = id WHERE source = ? AND person != ? AND id >= ? "
            "ORDER BY id LIMIT 1",
            (RANDOM, person, self.draw.randint(0, largest)),
        )
        for question in self.draw.sample([own, others], 2):
            if found := connection.execute(*question).fetchall():
                again, *items = self.draw.choice(found)
                return items, again
        return None, None

    def _shuffled(self, items: Sequence[int]) -> list[int]:
        """The order on the screen; a reference stays the first."""
        fixed = 1 if self.settings.kind == "anchor" else 0
        return [*items[:fixed], *self.draw.sample(list(items[fixed:]), 3 - fixed)]


def right_choice(kind: str, items: Sequence[int]) -> int:
    """The right answer to a catch trial: where it is on the screen."""
    if kind == "anchor":
        return items.index(items[0], 1)
    return next(place for place, item in enumerate(items) if items.count(item) == 1)
