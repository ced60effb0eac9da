"""What a study asks and how: each setting with its range and help, as the command line and ``study.json`` have them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from glocal.options import Options

Kind = Literal["odd-one-out", "anchor"]


class Settings(Options):
    """The settings of a study; their descriptions say what they do."""

    kind: Kind = Field("odd-one-out", description="The question; anchor: which of two images is more like a third.")
    repeats: float = Field(0.05, ge=0, le=0.5, description="Share of trials that ask a question again.")
    catch: float = Field(0.02, ge=0, le=0.5, description="Share of trials with two equal images: one answer is right.")
    per_person: int = Field(200, ge=1, le=100_000, description="Trials for each person.")
    people: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Number of people: one link each (default 1); with --open the maximum number who can begin.",
    )
    open: bool = Field(False, description="One link for all: each visitor begins as a new person.")
    begin_per_minute: int = Field(60, ge=1, le=100_000, description="With --open: people who may begin in a minute.")
    days: float = Field(90.0, gt=0, le=36_500, description="Days after which all links of the study end.")
    fastest: float = Field(0.3, ge=0, le=3600, description="Least mean seconds between answers; 0 for no limit.")
    title: str | None = Field(None, description="Title of the page that people see. [default: the name of the folder]")
    return_url: str | None = Field(
        None, pattern=r"^https?://",
        description="Address to return to at the end; {id} becomes the person's id, {code} the completion code.",
    )  # fmt: skip
    seed: int = Field(0, ge=0, description="Random seed of the questions.")

    @model_validator(mode="after")
    def _leave_half(self) -> Settings:
        if self.repeats + self.catch > 0.5:
            raise ValueError(
                f"`repeats={self.repeats:g}` and `catch={self.catch:g}` are too many: together at most 0.5."
            )
        return self
