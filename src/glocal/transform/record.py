"""The schemas of a transform's record and of the options of its card.

Files come from strangers, so that a damaged or hostile record is rejected before it is used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field, ValidationError, field_validator

from glocal.errors import ParameterError
from glocal.options import Options
from glocal.results import FitRecord, RecordPart, built, wrong_place

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
        for name in [value] if isinstance(value, str) else value or ():
            if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
                raise ValueError(
                    f"{name!r} is not the name of a repository on the Hugging Face hub, OWNER/NAME."
                )
        return value


class SourceOptions(Options):
    """The features that a transform maps, and notes on it, for its record and its card."""

    panel: ClassVar[str] = "Record and card"

    model_name: str | None = Field(
        None, description="Name of the network, for the record and the card."
    )
    layer: str | None = Field(None, description="Layer of that network.")
    preprocessing: str | None = Field(
        None, description="Preprocessing of the images, or of the rows after extraction."
    )
    notes: str | None = Field(None, description="Markdown for the card: data, limits, purpose.")

    def described(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return the record of a transform, with its entries replaced by these options."""
        described = dict(record)
        stated = self.model_dump(exclude={"notes"}, exclude_none=True)
        if "model_name" in stated:
            stated["model"] = stated.pop("model_name")
        if stated:
            described["source"] = {**(record.get("source") or {}), **stated}
        if self.notes is not None:
            described["card"] = {**(record.get("card") or {}), "notes": self.notes}
        return described


_Base64 = Annotated[str, Field(pattern=r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2,3}={1,2})?$")]


class _Source(RecordPart):
    model: str | None = None
    layer: str | None = None


class _Sweep(RecordPart):
    keep: float | None = Field(None, gt=0, le=1)
    reason: str | None = None
    fold_unit: str | None = None


class _Rows(RecordPart):
    mean: float
    std: float = Field(gt=0)
    mean_length: float = Field(ge=0)
    normalize: bool
    columns: dict[Annotated[str, Field(pattern=r"^[0-9]{1,9}$")], float] = Field({})


class _Sketch(RecordPart):
    objects: _Base64
    questions: _Base64


class TransformRecord(RecordPart):
    """The record in a transform file, which is ``meta`` of `LinearTransform`."""

    format: int = Field(FORMAT, ge=1, le=FORMAT)
    strength: float = Field(1.0, ge=0)
    source: _Source | None = None
    fit: Annotated[FitRecord, built(FitRecord)] | None = None
    rows: _Rows | None = None
    fitted: _Sketch | None = None
    sweep: _Sweep | None = None
    reduced: dict[str, Any] | None = None
    card: dict[str, Any] | None = None


def check_record(record: Any, dimensions: int) -> None:
    """Raise a ValueError if `record` is not valid for a transform of `dimensions` dimensions."""
    try:
        checked = TransformRecord.model_validate(record)
        CardOptions(**(checked.card or {}))
    except ValidationError as error:
        raise ValueError(f"its record is {wrong_place(error)}") from error
    except (ParameterError, TypeError) as error:  # a TypeError if a key is called self
        raise ValueError(f"its record is wrong at card: {error}") from error
    if checked.rows and any(int(column) >= dimensions for column in checked.rows.columns):
        raise ValueError(
            f"its record is wrong at rows: it has a column beyond the {dimensions} dimensions"
        )


def network_name(source: Mapping[str, Any] | None) -> str:
    """The model and layer of the features of a transform; empty if neither is recorded."""
    parts = [(source or {}).get(part) for part in ("model", "layer")]
    return " / ".join(filter(None, parts))


def folded_name(name: str) -> str:
    """The name of a network in lower case, with a dash for each slash and underscore."""
    return str(name).casefold().replace("/", "-").replace("_", "-")
