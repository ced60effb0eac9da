"""The plan of a study: how many answers, people, minutes and how much money it takes.

Beside it stands what both packages know of a study of glocal-collect.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import Field

from glocal.errors import ParameterError
from glocal.options import Options

ANSWERS_PER_OBJECT = 25.0
"""Answers for each object that give half of what is attainable about these objects."""
SHARE_OF_CATCH_TRIALS = 0.02
STUDY_FILE = "study.json"
"""The file that makes a folder that of a study."""
_EXPONENT = 0.8
_MEAN_PER_MEDIAN = 1.25  # of the seconds of an answer
_MINUTES_TO_BEGIN = 2.0


class NewObjects(NamedTuple):
    """The gain about new objects is G / ((1 + T / t)(1 + n₀ / n)): T answers and n₀ objects."""

    answers: float
    objects: float


NETWORKS = {"strong": NewObjects(1000.0, 45.0), "weak": NewObjects(3000.0, 150.0)}
"""A network that agrees well with people before any fit (CLIP), and one that does not
(EfficientNet)."""


class StudyDesign(Options):
    """What a plan is made for."""

    objects: int | None = Field(None, ge=3, le=1_000_000, description="Number of images.")
    gain: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="Share of the attainable gain in agreement with people, about these images.",
    )
    seconds: float = Field(4.0, gt=0, le=3600, description="Median seconds of an answer.")
    per_person: int = Field(200, ge=1, le=100_000, description="Trials for each person.")


@dataclass(frozen=True)
class StudyPlan:
    """A plan: what `plan_study` was asked for, and what it takes.

    Parameters
    ----------
    objects, gain, per_person
        As in `plan_study`.
    answers, people : int
        Answers about similarity, and the people who give them.
    minutes, hours : float
        For each person, with two minutes to begin, and for all of them.
    cost : float or None
        Of the hours, without the fees of a recruiting site.
    new_objects : dict
        The answers for the same share of the gain about other objects, by the kind of network:
        None where no number of answers about so few objects reaches it.
    """

    objects: int
    gain: float
    per_person: int
    answers: int
    people: int
    minutes: float
    hours: float
    cost: float | None
    new_objects: dict[str, int | None]

    def lines(self) -> list[str]:
        """The plan in words."""
        cost = "" if self.cost is None else f", {self.cost:,.0f} for their pay"
        needs = [
            f"{'never' if answers is None else f'about {answers:,} answers'} with a {name} network"
            for name, answers in self.new_objects.items()
        ]
        return [
            f"{self.objects} images, {self.gain:g} of what answers about them can give",
            f"{self.answers:,} answers: {self.people} people × {self.per_person} trials",
            f"{self.minutes:.0f} minutes each, {self.hours:.1f} hours in all{cost}",
            f"the same share for other images: {', '.join(needs)}",
            "each question is asked once, but a fifth of the trials repeat one, for the ceiling",
        ]


def plan_study(
    objects: int,
    *,
    gain: float = 0.5,
    seconds: float = 4.0,
    pay: float | None = None,
    per_person: int = 200,
) -> StudyPlan:
    """Plan a study: answers, people, minutes and cost for a share of what is attainable.

    What t answers about n objects give about the same objects, of the difference between the
    agreement of people with each other and that of the original features, is

        share = 1 / (1 + (25 n / t)^0.8),

    and about new objects 1 / ((1 + T / t)(1 + n₀ / n)) of what answers about very many objects
    give, with T and n₀ of `NETWORKS`. Both describe 199 simulated studies of 30 to 500 objects of
    THINGS, with errors of .08 and .06 (root mean square).

    Parameters
    ----------
    objects : int
        n, the number of images.
    gain : float
        The share of the attainable gain, between 0 and 1.
    seconds : float
        The median time of an answer; the mean is 1.25 times as long.
    pay : float or None
        Pay for an hour, in any currency.
    per_person : int
        Trials for each person, of which 2 % are catch trials.

    Raises
    ------
    ParameterError
        A value is out of its range.

    Examples
    --------
    >>> plan = plan_study(100, pay=12)
    >>> plan.answers, plan.people, round(plan.minutes), round(plan.cost)
    (2500, 13, 19, 49)
    >>> plan.new_objects
    {'strong': 2637, 'weak': None}
    """
    if objects is None:
        raise ParameterError("`objects` is None; pass the number of images, 3 or more.")
    StudyDesign(objects=objects, gain=gain, seconds=seconds, per_person=per_person)
    if pay is not None and not 0 <= pay < math.inf:
        raise ParameterError(f"`pay` is {pay}; it must be an amount of at least 0 for an hour.")
    answers = ANSWERS_PER_OBJECT * objects * (gain / (1 - gain)) ** (1 / _EXPONENT)
    people = math.ceil(answers / (per_person * (1 - SHARE_OF_CATCH_TRIALS)))
    minutes = per_person * seconds * _MEAN_PER_MEDIAN / 60 + _MINUTES_TO_BEGIN
    hours = people * minutes / 60
    return StudyPlan(
        objects=objects,
        gain=gain,
        per_person=per_person,
        answers=math.ceil(answers),
        people=people,
        minutes=minutes,
        hours=hours,
        cost=None if pay is None else hours * pay,
        new_objects={name: _answers(network, objects, gain) for name, network in NETWORKS.items()},
    )


def attained_share(answers: float, objects: int) -> float:
    """The share of the attainable gain that so many answers about the same objects give.

    >>> attained_share(2500, 100)
    0.5
    """
    return 1 / (1 + (ANSWERS_PER_OBJECT * objects / answers) ** _EXPONENT)


def _answers(network: NewObjects, objects: int, gain: float) -> int | None:
    """The answers for a share of the gain about new objects; None where none are enough."""
    reached = gain * (1 + network.objects / objects)
    return None if reached >= 1 else math.ceil(network.answers * reached / (1 - reached))
