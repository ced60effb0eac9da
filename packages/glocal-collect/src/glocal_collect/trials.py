"""The questions that are asked: random ones in balance, repeats, and catch trials.

A *repeat* shows the images of an earlier question in a new order. Half of the repeats ask what the
same person answered at least ten trials before, and half what another person answered, where there
are such trials. A *catch trial* shows one image twice and another image once. The other image
is the odd one; for the kind anchor, the copy is more like the reference. The positions of repeats
and catch trials are drawn beforehand from the seed of the study, in the exact proportions of its
settings.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from glocal_collect.db import Connection, scalar
from glocal_collect.settings import Settings

RANDOM = "random"
REPEAT = "repeat"
CATCH = "catch"
N_AHEAD = 3  # trials of a person that are made before they are asked, so that images can be loaded
_MIN_DISTANCE = 10  # trials between an answer and the same person's repeat
_OWN_TRIALS = """
SELECT id, a, b, c FROM trials WHERE person = ? AND number <= ? AND source = ? AND id NOT IN
(SELECT repeat_of FROM trials WHERE person = ? AND repeat_of IS NOT NULL)
"""
_TRIAL_OF_OTHERS = """
SELECT id, a, b, c FROM trials JOIN answers ON trial = id
WHERE source = ? AND person != ? AND id >= ? ORDER BY id LIMIT 1
"""
_N_TRIALS = "SELECT count(*) FROM trials WHERE person = ?"
_LARGEST_ID = "SELECT max(id) FROM trials"
_N_RANDOM = "SELECT count(*) FROM trials WHERE source = ?"
_NEW_TRIAL = """
INSERT INTO trials (person, number, a, b, c, source, repeat_of) VALUES (?, ?, ?, ?, ?, ?, ?)
"""


@lru_cache(maxsize=1000)
def plan(settings: Settings, person: str) -> tuple[str, ...]:
    """The source of each trial of a person: `RANDOM`, `REPEAT` or `CATCH`; no early one repeats."""
    n = settings.per_person
    rng = random.Random(f"{settings.seed} plan {person}")
    first_late = min(_MIN_DISTANCE, n // 2)
    late = range(first_late, n)
    sources = [RANDOM] * n
    n_repeats = round(settings.repeats * n)
    for number in rng.sample(late, min(len(late), n_repeats)):
        sources[number] = REPEAT
    free = []
    for number, source in enumerate(sources):
        if source == RANDOM:
            free.append(number)
    n_catch = round(settings.catch * n)
    for number in rng.sample(free, min(len(free), n_catch)):
        sources[number] = CATCH
    return tuple(sources)


def balanced_triplet(n: int, seed: int, number: int) -> list[int]:
    """The random triplet with this number; each image is in exactly three of n triplets in turn.

    >>> triplets = [balanced_triplet(4, 0, number) for number in range(4)]
    >>> sorted(image for triplet in triplets for image in triplet)
    [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    """
    number_of_round, position = divmod(number, n)
    images = _three_times(n, f"{seed} round {number_of_round}")
    start = 3 * position
    return images[start : start + 3]


@lru_cache(maxsize=4)
def _three_times(n: int, seed: str) -> list[int]:
    """Three random orders of all images, joined so that no triplet has an image twice."""
    rng = random.Random(seed)
    images: list[int] = []
    for _ in range(3):
        n_incomplete = len(images) % 3
        n_complete = len(images) - n_incomplete
        incomplete = images[n_complete:]  # the triplet that this order completes
        order = []
        for image in rng.sample(range(n), n):
            if image not in incomplete:
                order.append(image)
        first = 3 - n_incomplete
        for image in incomplete:
            position = rng.randint(first, len(order))
            order.insert(position, image)
        images += order
    return images


@dataclass(eq=False)
class TrialScheduler:
    """Make the next trials of participants about n images, within transactions: one at a time."""

    settings: Settings
    n: int
    rng: random.Random = field(default_factory=random.Random)

    def make_ahead(self, connection: Connection, person: str, n_answers: int) -> None:
        """Make the missing trials of a person who has given `n_answers`."""
        first = scalar(connection, _N_TRIALS, person)
        end = min(n_answers + N_AHEAD, self.settings.per_person)
        sources = plan(self.settings, person)
        for number in range(first, end):
            source = sources[number]
            items: list[int] = []
            repeat_of = None
            if source == CATCH:
                shown_twice, other = self.rng.sample(range(self.n), 2)
                items = [shown_twice, shown_twice, other]
            elif source == REPEAT:
                repeat_of, *items = self._repeat(connection, person, number)
            if not items:
                source = RANDOM
                n_random = scalar(connection, _N_RANDOM, RANDOM)
                items = balanced_triplet(self.n, self.settings.seed, n_random)
            shown = self._shuffled(items)
            trial = (person, number, *shown, source, repeat_of)
            connection.execute(_NEW_TRIAL, trial)

    def _shuffled(self, items: list[int]) -> list[int]:
        """The images in a new order; a reference stays first."""
        n_fixed = 1 if self.settings.kind == "anchor" else 0
        rest = items[n_fixed:]
        return items[:n_fixed] + self.rng.sample(rest, len(rest))

    def _repeat(self, connection: Connection, person: str, number: int) -> Sequence[Any]:
        """Return the trial to repeat, followed by its images; None alone if there is none yet."""
        largest_id = scalar(connection, _LARGEST_ID) or 0
        last_number = number - _MIN_DISTANCE
        first_id = self.rng.randint(0, largest_id)
        queries = [
            (_OWN_TRIALS, (person, last_number, RANDOM, person)),
            (_TRIAL_OF_OTHERS, (RANDOM, person, first_id)),
        ]
        for query, values in self.rng.sample(queries, 2):
            rows = connection.execute(query, values)
            trials = rows.fetchall()
            if trials:
                trial = self.rng.choice(trials)
                return tuple(trial)
        return (None,)


def right_choice(kind: str, items: Sequence[int]) -> int:
    """The right answer to a catch trial, as a position on the screen."""
    if kind == "anchor":
        reference = items[0]
        return items.index(reference, 1)
    n_shown = [items.count(item) for item in items]
    return n_shown.index(1)
