"""The record of a transform, and the options of its card.

The models are the schemas of files, which come from strangers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from glocal.data.features import Features
from glocal.options import Options
from glocal.results import FitRecord, Record, RowStatistics, Sketch

FORMAT = 1


class CardOptions(Options):
    """The options of a model card.

    Parameters
    ----------
    licence : str or None
        An identifier such as ``"mit"``; for None the card says that none is stated.
    base_model : str or None
        The network on the Hugging Face hub, ``OWNER/NAME``. None stands for the recorded network
        if it comes from timm, and otherwise for no network.
    datasets : sequence of str
        The data sets of the answers on the hub.
    notes : str
        Additional Markdown, such as where the data come from, and what was and was not measured.
    """

    licence: str | None = None
    base_model: str | None = None
    datasets: Sequence[str] = ()
    notes: str = ""

    @field_validator("licence")
    @classmethod
    def _is_identifier(cls, licence: str | None) -> str | None:
        if licence is not None and not re.fullmatch(r"[\w.+-]+", licence):
            raise ValueError(f"{licence!r} is not an identifier such as mit or cc-by-4.0.")
        return licence

    @field_validator("base_model", "datasets")
    @classmethod
    def _are_repositories(cls, value: Any) -> Any:
        names = [value] if isinstance(value, str) else value or ()
        for name in names:
            if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
                raise ValueError(
                    f"{name!r} is not the name of a repository on the Hugging Face hub, OWNER/NAME."
                )
        return value


class Source(Record):
    """The network, layer and preprocessing of the features that a transform maps."""

    model: str | None = None
    layer: str | None = None
    preprocessing: str | None = None

    @property
    def network_name(self) -> str:
        """The model and layer; empty if neither is recorded."""
        return " / ".join(filter(None, (self.model, self.layer)))


class SweepChoice(Record):
    """How a sweep chose a setting: by the share to keep, None for the loss, on these folds."""

    keep: float | None = Field(None, gt=0, le=1)
    reason: str
    folds: int
    fold_unit: str
    seed: int
    n_settings: int


class Reduction(Record):
    """The dimensions that `glocal.transform.reduced` left, and the shares that they keep."""

    dimensions: int
    of: int
    rows: int
    energy: float
    length: float


class Centring(Record):
    """The number of rows whose means a transform subtracts."""

    n: int


class Recentring(Record):
    """How many images the origin was moved toward, and the weight of the old origin."""

    n: int
    weight: float


class TransformRecord(Record):
    """Where a transform comes from, how it was fitted and changed, and what its card states.

    A part is None if it does not apply. `key` is the hash by which a suite keeps a fit. `other` is
    the JSON text of the keys of a file that this version does not know; it is written back.
    """

    source: Source = Source()
    fit: FitRecord | None = None
    rows: RowStatistics | None = None
    fitted: Sketch | None = None
    sweep: SweepChoice | None = None
    reduced: Reduction | None = None
    strength: float = Field(1.0, ge=0)
    centring: Centring | None = None
    recentred: Recentring | None = None
    key: str | None = None
    card: CardOptions = CardOptions()
    other: str = "{}"

    @property
    def hashes(self) -> dict[str, str]:
        """The hashes of the data of the fit, by their names."""
        provenance = None if self.fit is None else self.fit.provenance
        return {} if provenance is None else provenance.data

    @property
    def method_in_words(self) -> str:
        """The method of the fit, or the share of neighbours that it was to keep."""
        if self.fit is None:
            return ""
        share = None
        if self.fit.keep is not None:
            share = self.fit.keep.keep
        if share is None:
            return self.fit.method or ""
        return f"keep {share}"


def folded_name(name: str) -> str:
    """The name of a network in lower case, with a dash for each slash and underscore."""
    return str(name).casefold().replace("/", "-").replace("_", "-")


def network_of(features: Features, file: Path) -> str:
    """The model and layer that features record, or else the name of their file, for rows."""
    is_unnamed = file.stem == "features" and file.parent.name
    name = file.parent.name if is_unnamed else file.stem
    return Source(**features.network).network_name or name
