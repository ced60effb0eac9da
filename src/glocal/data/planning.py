"""Plan a study: the number of answers, people and minutes, and the money that it takes."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from pydantic import Field

from glocal.errors import ParameterError
from glocal.options import Options

ANSWERS_PER_OBJECT = 25.0
"""Answers per object that attain half of the attainable gain about these objects."""
SHARE_OF_CATCH_TRIALS = 0.02
STUDY_FILE = "study.json"
"""The name of the file that marks the folder of a study."""
_EXPONENT = 0.8
_MEAN_PER_MEDIAN = 1.25  # ratio of the mean response time to the median
_MINUTES_TO_BEGIN = 2.0


class NewObjects(NamedTuple):
    """The constants T (answers) and n₀ (objects) of the gain about new objects.

    For t answers about n objects, it is G / ((1 + T / t)(1 + n₀ / n)), where G is the gain for very
    many of both.
    """

    answers: float
    objects: float


NETWORKS = {"strong": NewObjects(1000.0, 45.0), "weak": NewObjects(3000.0, 150.0)}
"""The constants of a network that agrees well with people before any fit (CLIP), and of a network
that does not (EfficientNet)."""


class StudyDesign(Options):
    """The settings of a study for which a plan is made."""

    gain: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="Share of the attainable gain in agreement with people about these images.",
    )
    seconds: float = Field(4.0, gt=0, le=3600, description="Median response time in seconds.")
    per_person: int = Field(200, ge=1, le=100_000, description="Trials per participant.")


class StudyPlan(StudyDesign):
    """A study plan: its settings, and the resources that the study takes.

    Parameters
    ----------
    objects : int
        Number of images, 3 to a million.
    answers, people : int
        Number of answers about similarity, and of the people who give them.
    minutes, hours : float
        Minutes per person, with two minutes to begin, and hours for all of them.
    cost : float or None
        Pay for these hours, without the fees of a recruiting site.
    new_objects : dict
        Number of answers for the same share of the gain about other objects, for each kind of
        network; None if no number of answers about so few objects attains it.
    """

    objects: int = Field(ge=3, le=1_000_000)
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
            f"{self.objects} images, {self.gain:g} of the gain that answers about them can give",
            f"{self.answers:,} answers: {self.people} participants × {self.per_person} trials",
            f"{self.minutes:.0f} minutes each, {self.hours:.1f} hours in all{cost}",
            f"the same share for other images: {', '.join(needs)}",
            "each question is asked once, but a fifth of the trials repeat a question, for the "
            "ceiling",
        ]


def plan_study(objects: int, *, pay: float | None = None, **settings: Any) -> StudyPlan:
    """Plan a study: answers, people, minutes and cost for a share of the attainable gain.

    The attainable gain is the agreement of people with each other less the agreement of the
    original features with them. For the objects of the study, a fit to t answers about n objects
    attains the share

        share = 1 / (1 + (25 n / t)^0.8)

    of this gain. For new objects, it attains the share 1 / ((1 + T / t)(1 + n₀ / n)) of the gain
    from answers about very many objects, with T and n₀ from `NETWORKS`. Both formulas describe 199
    simulated studies of 30 to 500 objects of THINGS, with root mean square errors of .08 and .06.

    Parameters
    ----------
    objects : int
        n, the number of images.
    pay : float or None
        Pay per hour, in any currency.
    **settings
        Of `StudyDesign`: ``gain`` (0.5), the share of the attainable gain, between 0 and 1;
        ``seconds`` (4), the median response time, with a mean that is 1.25 times as long; and
        ``per_person`` (200), the trials per person, 2 % of them catch trials.

    Raises
    ------
    ParameterError
        If a value is out of its range.

    Examples
    --------
    >>> plan = plan_study(100, pay=12)
    >>> plan.answers, plan.people, round(plan.minutes), round(plan.cost)
    (2500, 13, 19, 49)
    >>> plan.new_objects
    {'strong': 2637, 'weak': None}
    """
    design = StudyDesign(**settings)
    if pay is not None and not 0 <= pay < math.inf:
        raise ParameterError(f"`pay` is {pay}; it must be an amount of at least 0 per hour.")
    gain = design.gain
    answers = ANSWERS_PER_OBJECT * objects * (gain / (1 - gain)) ** (1 / _EXPONENT)
    people = math.ceil(answers / (design.per_person * (1 - SHARE_OF_CATCH_TRIALS)))
    minutes = design.per_person * design.seconds * _MEAN_PER_MEDIAN / 60 + _MINUTES_TO_BEGIN
    hours = people * minutes / 60
    return StudyPlan(
        **design.model_dump(),
        objects=objects,
        answers=math.ceil(answers),
        people=people,
        minutes=minutes,
        hours=hours,
        cost=None if pay is None else hours * pay,
        new_objects={name: _answers(network, objects, gain) for name, network in NETWORKS.items()},
    )


def attained_share(answers: float, objects: int) -> float:
    """The share of the attainable gain that a number of answers attains about the same objects.

    >>> attained_share(2500, 100)
    0.5
    """
    return 1 / (1 + (ANSWERS_PER_OBJECT * objects / answers) ** _EXPONENT)


def _answers(network: NewObjects, objects: int, gain: float) -> int | None:
    """The number of answers for a share of the gain about new objects; None if none suffices."""
    reached = gain * (1 + network.objects / objects)
    return None if reached >= 1 else math.ceil(network.answers * reached / (1 - reached))
