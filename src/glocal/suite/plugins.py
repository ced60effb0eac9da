"""Kinds of tasks that other distributions add by an entry point of the group ``glocal.tasks``.

An entry point names a kind of task and a function of the embedding of labelled images, their labels
and, if it has options, a pydantic model of these. The function returns values and what they are
values of: ``"images"``, or ``"classes"`` in ascending order. Their mean is the score, and higher is
better.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from pydantic import Field, PrivateAttr, SkipValidation, ValidationError

from glocal.errors import ParameterError, PluginError, did_you_mean, one_line
from glocal.evaluation.comparison import Result
from glocal.evaluation.intervals import ItemValues
from glocal.options import error_sentence
from glocal.scores import Score
from glocal.similarity import Labels
from glocal.suite.labelled import LabelledTask
from glocal.suite.sources import Embed, File, Sources, TomlValue, options_from_table

if TYPE_CHECKING:
    # NOTE: where a library has imported importlib_metadata, entry points are of the class there
    from importlib.metadata import EntryPoint

GROUP = "glocal.tasks"
_ANY_VALUE = (-math.inf, math.inf)


class PluginTask(LabelledTask):
    """A task of a kind of another distribution: labelled images, and options of its function."""

    side_options = (("features", "labels"),)
    kind: str
    features: File = Field(description="Feature file of the images.")
    labels: File = Field(description="Class of each image.")
    options: SkipValidation[Mapping[str, TomlValue]] = Field(
        {}, description="Options of the function."
    )
    distribution: str
    version: str
    _function: Callable[..., tuple[Any, str]] = PrivateAttr()

    @classmethod
    def from_table(cls, table: Mapping[str, TomlValue], kinds: Sequence[str]) -> PluginTask:
        """Read the table of a suite file; its kind is none of `kinds`, which the package has."""
        entry_point = _entry_point(str(table["kind"]), kinds)
        distribution = entry_point.dist
        assert distribution is not None  # it comes from an installed one
        options: dict[str, TomlValue] = {}
        fields: dict[str, TomlValue] = {
            "kind": entry_point.name,
            "options": options,
            "distribution": distribution.name,
            "version": distribution.version,
        }
        for key, value in table.items():
            if key in ("features", "labels"):
                fields[key] = value
            elif key != "kind":
                options[key] = value
        task = options_from_table(cls, fields)
        task._function = task._loaded(entry_point)
        return task

    def _loaded(self, entry_point: EntryPoint) -> Callable[..., tuple[Any, str]]:
        """The function of embedding and labels; one that cannot be loaded fails when called."""
        try:
            function = entry_point.load()
            signature = inspect.signature(function, eval_str=True)
            parameters = [*signature.parameters.values()]
            model = None
            if len(parameters) > 2:
                model = parameters[2].annotation
            if model is inspect.Parameter.empty:
                raise TypeError("its options have no annotation, which must be a pydantic model")
        except Exception as error:  # noqa: BLE001
            failure = error

            def fail(*arguments: Any) -> tuple[Any, str]:
                raise failure

            return fail
        if model is None:
            for name in self.options:
                raise ParameterError(f"there is no option {name!r}: {self.kind} has no options.")
            return function
        try:
            options = model(**self.options)
        except ValidationError as error:
            raise ParameterError(error_sentence(error, [*model.model_fields])) from error
        return lambda embedding, labels: function(embedding, labels, options)

    def score(self, sources: Sources, embed: Embed) -> Result:
        """Score by the function; whatever goes wrong in it is a PluginError."""
        embedding, labels = self.embedded(sources, embed)
        try:
            values, unit = self._function(embedding, labels)
            values = _checked(values, unit, labels)
        except Exception as error:
            raise PluginError(
                f"the kind of task {self.kind} of {self.distribution} {self.version} failed: "
                f"{type(error).__name__}: {one_line(error)}. Tell its authors, or leave the task "
                "out."
            ) from error
        units = ItemValues(values=values, limits=_ANY_VALUE)
        mean, low, high = units.bounded()
        score = Score(
            task=self.kind,
            metric=self.kind,
            value=mean,
            low=low,
            high=high,
            n=len(values),
            settings={**self.options, "unit": unit},
        )
        return Result.from_scores([score], units)


def _entry_point(kind: str, kinds: Sequence[str]) -> EntryPoint:
    """The entry point of a kind; a ParameterError if it has none, or if a kind is taken."""
    added = entry_points(group=GROUP)
    for name in added.names:
        owners = [point.dist.name for point in added.select(name=name) if point.dist is not None]
        if name in kinds:
            owners.insert(0, "glocal")
        if len(owners) > 1:
            raise ParameterError(
                f"the kind of task {name} is one of {' and of '.join(owners)}. Uninstall one of "
                "these, or rename its entry point."
            )
    if kind not in added.names:
        allowed = [*kinds, *added.names]
        advice = did_you_mean(kind, allowed) or f" The kinds are {', '.join(allowed)}."
        raise ParameterError(f"there is no kind of task {kind!r}.{advice}")
    (entry_point,) = added.select(name=kind)
    return entry_point


def _checked(values: Any, unit: str, labels: Labels) -> Float[np.ndarray, " u"]:
    """The values of a function in float64, one for each image or class."""
    classes = np.unique(labels)
    counts = {"images": len(labels), "classes": len(classes)}
    if unit not in counts:
        raise ValueError(f"it returns values of {unit!r}, not of {' or '.join(counts)}")
    count = counts[unit]
    array = np.asarray(values, dtype=np.float64)
    is_finite = np.isfinite(array).all()
    if array.shape != (count,) or not is_finite:
        raise ValueError(
            f"it returns values of shape {array.shape}, not {count} finite ones for the {unit}"
        )
    return array
