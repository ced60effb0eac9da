"""The records of fits, and how they become JSON.

A class of records is its own schema: what is read from a file is checked as what is made here.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_jsonable_python

from glocal.screen import Printable

if TYPE_CHECKING:
    import pandas as pd

UNCHANGED = "unchanged"
"""The status of a fit with W = I: the features stay as they are, but for a `centre` above 0."""


STRICT = ConfigDict(strict=True, extra="forbid")


class Record(BaseModel):
    """Base class of records, each of which is its own schema."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid", strict=True)


class Provenance(Record):
    """The origin of a result: version, data hashes, seed, and the machine that computed it."""

    version: str
    data: dict[str, str] = {}
    seed: int | None = None
    machine: str = Field(default_factory=platform.machine)
    python: str = Field(default_factory=platform.python_version)
    threads: int | None = None


Share = Annotated[float, Field(ge=0, le=1)]
Difference = Annotated[float, Field(ge=-1, le=1)]
Count = Annotated[int, Field(ge=0)]


class HeldOutScores(Record):
    """The scores of fits on the answers and images of the folds that they were made without.

    The class is also the schema of the record.

    Parameters
    ----------
    of : "objects", "questions" or "people"
        What the folds hold out: scores are about new objects, or about new answers about the same
        objects.
    folds, seed : int
        The number of folds, each held out once, and their seed.
    converged : bool
        Whether all of these fits converged.
    n : int
        The number of held-out answers.
    agreement, original, gain : float
        The agreement with and without the transform, as fractions, and their paired difference.
        `low` and `high`, `original_low` and `original_high`, `gain_low` and `gain_high` are the
        ends of 95 % intervals, None if they cannot be estimated.
    loss, original_loss : float
        The loss with the transform, and of features that are only scaled, in nats.
    neighbours_kept : float
        The share of its `k` nearest neighbours in the original features that an image keeps
        among the `n_images` held-out images of a fold (a mean), which are `among`.
        `neighbours_kept_low` and `neighbours_kept_high` are the ends of the 95 % interval over
        images.
    neighbours_kept_centred : float or None
        The share of the neighbours in the features with the origin of the fit; None if the fit
        subtracts nothing.
    axes_chance : float or None
        The change of an axis that the choice of the answers alone explains.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    of: Literal["objects", "questions", "people"]
    folds: Count
    seed: int
    converged: bool
    n: Count
    agreement: Share
    low: Share | None
    high: Share | None
    original: Share
    gain: Difference
    gain_low: Difference | None
    gain_high: Difference | None
    loss: float
    original_loss: float
    neighbours_kept: Share
    neighbours_kept_low: Share | None
    neighbours_kept_high: Share | None
    neighbours_kept_centred: Share | None
    k: Count
    n_images: Count
    among: Literal["local images", "objects"]
    original_low: Share | None = None
    original_high: Share | None = None
    axes_chance: float | None = Field(None, ge=0)


class MixedFit(Record):
    """A fit that `Keep` mixed: its settings and its outcome."""

    method: str
    alpha: float | None
    lmbda: float | None
    tau: float | None
    mix: float | None
    objective: float | None
    parts: dict[str, float] | None
    status: str
    gap: float | None
    certificate: str
    evaluations: int


class KeepScores(Record):
    """The held-out scores of the choice for a share of neighbours to keep.

    `neighbours_kept_error` is the standard error of the promised share.
    """

    keep: float
    agreement: Share
    neighbours_kept: Share
    neighbours_kept_centred: Share | None
    neighbours_kept_error: float | None


class KeepRecord(Record):
    """How `Keep` chose; docs/file-formats.md describes the keys.

    `gain` is what the choice adds to the agreement of the original features. `freest` is the choice
    without a share to keep, None if it is the original features or no share is kept, and `forgone`
    is what it would add to the agreement of the choice. Both have their standard errors.
    """

    keep: float | None
    share: float | None
    scale: float
    fits: tuple[MixedFit, ...]
    curve: tuple[KeepScores, ...]
    losses: dict[str, float]
    evaluations: int
    gain: float
    gain_error: float | None
    freest: KeepScores | None
    forgone: float
    forgone_error: float | None


class Watched(Record):
    """The answers that the stopping rule of the paper's loop watched: their number and losses."""

    n: Count
    parts: dict[str, float]


class SolverReport(Record):
    """The outcome of a fit, as the solver reports it.

    `centre` is the share of the column means that was subtracted from the features, or "scalar" for
    the standardization of the paper. `parts` are the
    unweighted terms of `objective`. `status` is ``"converged"``, ``"budget"``, ``"stalled"`` or
    `UNCHANGED`, and `reason` explains it. `gap` is an upper bound (for `glocal` an estimate) on the
    distance of the objective from the optimum, in nats, or None if no bound is known. `certificate`
    states what is proven about the solution. `rank` is the number of fitted directions if there are
    fewer rows than columns, else None; for `naive` it is the number of singular values of W above a
    thousandth of the largest.

    The fields from `bias` on belong to the paper's loop, which never counts as converged and has no
    `tol`. `n_fitted` is the number of answers outside the fold that its stopping rule watched, and
    `watched` holds the losses on that fold.
    """

    centre: Share | Literal["scalar"]
    objective: float | None = None
    parts: dict[str, float] | None = None
    status: str
    reason: str
    gap: float | None = None
    certificate: str
    evaluations: int = 0
    solver: str
    dtype: str
    tol: float | None = None
    lambda_max: float | None = None
    rank: int | None = None
    bias: bool = False
    eta: float | None = None
    optimiser: str | None = None
    epochs: int | None = None
    n_fitted: int | None = None
    watched: Watched | None = None


class FitRecord(Printable, SolverReport):
    """The record of a fit, which ``glocal fit --json`` prints and the transform file contains.

    It adds the arm and the data to the report of the solver. If `Keep` leaves the features as they
    are, there is no arm and no objective. `keep` records how it chose, and `heldout` holds the
    scores on folds, if they were computed. `chance` is the agreement that guessing gives.
    """

    keep: KeepRecord | None = None
    heldout: HeldOutScores | None = None

    method: str | None
    alpha: float | None
    lmbda: float | None
    tau: float | None
    mix: float | None
    converged: bool
    seconds: float
    n_answers: Count
    n_dropped: Count
    n_objects: Count
    n_local: Count
    n_local_blocks: Count | None
    block_size: Count | None
    n_people: Count | None = None
    chance: float | None = None
    provenance: Provenance | None = None

    def summary(self) -> str:
        """Say in a sentence which method was fitted to which data, and how the fit ended."""
        local = f", {self.n_local} local images" if self.n_local else ""
        dropped = f" ({self.n_dropped} answers dropped: no features)" if self.n_dropped else ""
        return (
            f"{self._method_in_words()}: {self.n_answers} answers on {self.n_objects} objects"
            f"{local}{dropped}, {self.status} in {self.seconds:.1f} s"
        )

    def table(self) -> pd.DataFrame:
        """Return all fields, one a row."""
        import pandas as pd

        fields = flattened(json.loads(to_json(self)))
        return pd.DataFrame(fields.items(), columns=["field", "value"])

    def _method_in_words(self) -> str:
        if (curve := self.keep) is None:
            return method_in_words(vars(self))
        if self.status == UNCHANGED:
            return unchanged_in_words(self.centre)
        fits = [method_in_words(vars(settings)) for settings in curve.fits]
        other = fits[1] if len(fits) > 1 else "the original features"
        criterion = "lmbda chosen on held-out questions"
        if curve.keep is not None:
            criterion = f"keep {curve.keep:g}"
        share = curve.share or 0.0
        rest = f" and {1 - share:.2f} of {other}" if share < 1 else ""
        return f"{criterion}: {share:.2f} of {fits[0]}{rest}"


class RowStatistics(Record):
    """The statistics of the rows of a fit.

    `mean` and `std` are taken over all entries, `mean_length` is the mean Euclidean length of the
    rows, `normalize` says whether all lengths are 1, and `columns` holds the standardized means
    of up to 16 columns that stand out, by column number.
    """

    mean: float
    std: float = Field(gt=0)
    mean_length: float = Field(ge=0)
    normalize: bool
    columns: dict[Annotated[str, Field(pattern=r"^[0-9]{1,9}$")], float] = {}


_Base64 = Annotated[str, Field(pattern=r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2,3}={1,2})?$")]


class Sketch(Record):
    """Short hashes of the objects and questions of a fit, by which they are recognised."""

    objects: _Base64
    questions: _Base64


def method_in_words(settings: Mapping[str, object]) -> str:
    """A method with the parameters alpha, lmbda, tau and mix that it has."""
    names = {name: name for name in ("alpha", "lmbda", "tau", "mix")}
    words = [str(settings["method"])]
    words += parameters_in_words(settings, names)
    return " ".join(words)


def parameters_in_words(values: Mapping[Any, Any], signs: Mapping[str, str]) -> Iterator[str]:
    """Yield the sign and value of each parameter that is set, except a mix of 1, the default."""
    for name, sign in signs.items():
        value = values.get(name)
        is_set = value is not None and not math.isnan(value)
        if is_set and (name, value) != ("mix", 1):
            yield f"{sign} {value:g}"


def unchanged_in_words(centre: float | str | None) -> str:
    """What a fit with W = I does, by its `centre`."""
    if not centre:
        return "the features stay as they are"
    return f"only the origin was moved (centre {centre})"


def to_json(value: Any) -> str:
    """Write a value as one line of strict ASCII JSON.

    NaN and infinities become null, dataclasses become objects, and NumPy numbers become numbers.
    Any other value that JSON lacks, such as a callback among the options of a trainer, becomes the
    name of its class, and a function or class its own name.
    """
    jsonable = to_jsonable_python(value, inf_nan_mode="null", fallback=_jsonable)
    return json.dumps(jsonable, allow_nan=False)


def flattened(record: Mapping[str, object]) -> dict[str, object]:
    """Flatten a nested record to one level, with keys such as ``fit.method``.

    >>> flattened({"fit": {"method": "global"}, "seed": 1})
    {'seed': 1, 'fit.method': 'global'}
    """
    import pandas as pd

    rows = pd.json_normalize(dict(record)).to_dict("records")
    row = rows[0] if rows else {}  # some versions have no row for an empty record
    return {str(key): value for key, value in row.items()}


def _jsonable(value: Any) -> Any:
    if hasattr(value, "item"):
        return value.item()
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"
