"""What a study asks and how: each setting with its range and help, as the command line and ``study.json`` have them."""

from __future__ import annotations

from dataclasses import dataclass

from glocal.errors import ParameterError
from glocal.options import check_options, option

KINDS = ("odd-one-out", "anchor")
ORDERS = ("random", "informative")
_COUNTABLE = "1 to 100000"


def _share(value: float) -> bool:
    return 0 <= value <= 0.5


def _countable(value: int) -> bool:
    return 1 <= value <= 100_000


def _days(value: float) -> bool:
    return 0 < value <= 36_500


@dataclass(frozen=True)
class Settings:
    """The settings of a study; their help texts say what they do."""

    kind: str = option(
        "odd-one-out",
        "odd-one-out, or anchor: which of two images is more like a reference.",
        allowed=" and ".join(KINDS),
        holds=KINDS.__contains__,
    )
    order: str = option(
        "random",
        "random: balanced over the images; or informative: what tells most about the transform, chosen by each fit.",
        allowed=" and ".join(ORDERS),
        holds=ORDERS.__contains__,
    )
    random_share: float = option(
        0.3,
        "With --order informative: the share that is asked at random all the same; evaluation uses these.",
        allowed="0 to 1",
        holds=lambda value: 0 <= value <= 1,
    )
    repeats: float = option(
        0.05, "Share of trials that ask again what the person, or another one, was asked.",
        allowed="0 to 0.5", holds=_share,
    )  # fmt: skip
    catch: float = option(
        0.02, "Share of trials with one right answer: two equal images beside another one.",
        allowed="0 to 0.5", holds=_share,
    )  # fmt: skip
    per_person: int = option(200, "Trials for each person.", allowed=_COUNTABLE, holds=_countable)
    people: int | None = option(
        None, "Number of people: one link each, 1 if it is left out; with --open the most that may begin.",
        kind=int, allowed=_COUNTABLE, holds=_countable,
    )  # fmt: skip
    open: bool = option(False, "One link for all: whoever opens it begins as a new person.")
    days: float = option(90.0, "Days for which the links are valid.", allowed="above 0, at most 36500", holds=_days)
    fastest: float = option(
        0.3, "Mean seconds between answers below which a person has to wait; 0 for no limit.",
        allowed="0 to 3600", holds=lambda value: 0 <= value <= 3600,
    )  # fmt: skip
    title: str | None = option(None, "Of the page that people see.", kind=str)
    return_url: str | None = option(
        None, "Where people go at the end; {id} stands for their id, {code} for their completion code.",
        kind=str, allowed="addresses that begin with https:// or http://",
        holds=lambda value: value.startswith(("https://", "http://")),
    )  # fmt: skip
    features: str | None = option(None, "Features of the images, for fits and for --order informative.", kind=str)
    model: str | None = option(None, "Network that extracts the features, as in glocal extract.", kind=str)
    layer: str | None = option(None, "Its layer.", kind=str)
    seed: int = option(0, "Of what is asked.", allowed="at least 0", holds=lambda value: value >= 0)

    def __post_init__(self) -> None:
        check_options(self)
        if self.repeats + self.catch > 0.5:
            raise ParameterError(
                f"repeats and catch are {self.repeats:g} and {self.catch:g} of the trials; together at most 0.5 is "
                "allowed."
            )
        if self.features is not None and self.model is not None:
            raise ParameterError("features and model were both given; give one: features are read, or extracted.")
        if self.order == "informative" and self.features is None and self.model is None:
            raise ParameterError("the order informative fits the answers while they come; give --features or --model.")
