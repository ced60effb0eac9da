"""The settings of a study: each with its range and help, for the command line and study.json."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from glocal.data.planning import SHARE_OF_CATCH_TRIALS
from glocal.options import Options


class Settings(Options):
    """The settings of a study.

    `open` has three states. None: `people` personal links. True: one link for everybody. False:
    the study is closed, and only people who have begun can go on.
    """

    kind: Literal["odd-one-out", "anchor"] = Field(
        "odd-one-out", description="Question; anchor asks which of two images is more like a third."
    )
    repeats: float = Field(
        0.2, ge=0, le=0.4, description="Share of trials that repeat an earlier question."
    )
    catch: float = Field(
        SHARE_OF_CATCH_TRIALS,
        ge=0,
        le=0.1,
        description="Share of catch trials: one image is shown twice, so only one answer is right.",
    )
    per_person: int = Field(200, ge=1, le=100_000, description="Trials for each participant.")
    people: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Number of people: one link each (default 1), or with --open the maximum "
        "number who can begin. A smaller number ends links that nobody has used.",
    )
    open: bool | None = Field(
        None,
        description="One open link: each visitor begins as a new participant. --no-open closes the "
        "study to all who have not begun. [default: a link for each participant]",
        json_schema_extra={"flags": "--open/--no-open"},
    )
    max_starts_per_minute: int = Field(
        60,
        ge=1,
        le=100_000,
        description="With --open: maximum number of people per minute.",
        json_schema_extra={"flags": "--max-starts"},
    )
    days: float = Field(90.0, gt=0, le=36_500, description="Days until all links expire.")
    min_seconds: float = Field(
        0.3,
        ge=0,
        le=3600,
        description="Minimum mean time for an answer, in seconds: a person's requests, ten an "
        "answer, are limited by it; 0 for no limit.",
    )
    title: str | None = Field(
        None, description="Title of the page for participants. [default: the name of the folder]"
    )
    code: str | None = Field(
        None,
        pattern=r"^[\w-]{1,64}$",
        description="Completion code that everybody gets, for example that of a study on Prolific. "
        "[default: a different code for each participant]",
    )
    return_url: str | None = Field(
        None,
        pattern=r"^https?://",
        description="Address that the last page links to; {id} becomes the participant's id, "
        "{code} the completion code.",
    )
    seed: int = Field(0, ge=0, description="Random seed of the questions.")

    @model_validator(mode="after")
    def _check_code(self) -> Settings:
        url = self.return_url or ""
        if "prolific" in url and "{code}" in url and self.code is None:
            raise ValueError(
                f"`return_url={url}` would return a different code for each participant, but "
                f"Prolific knows only the code of your study. Pass it as `code=C1ABC23`."
            )
        return self
