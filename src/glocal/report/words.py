"""Words for people in place of identifiers: metrics, numbers, settings and lists as sentences say them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

AGREEMENT = ("accuracy_cosine", "accuracy_dot")
KEPT = "neighbours_kept"
LOWER = ("fpr95", "loss", "local_loss")  # metrics of which less is better
_PROBES = {
    "logistic": "logistic probe", "ridge": "ridge probe", "ncm": "nearest class mean", "1nn": "nearest neighbour",
}  # fmt: skip
_METRICS = {
    "accuracy_cosine": "agreement with people",
    "accuracy_dot": "agreement with people, by dot products",
    KEPT: "neighbours kept",
    "auroc": "anomaly detection, area under the ROC curve",
    "aupr": "anomaly detection, area under the precision-recall curve",
    "fpr95": "anomaly detection, false alarms where 95 % are found",
    "map": "retrieval, mean average precision",
    "loss": "loss of the answers, nats",
    "cka": "likeness of the whole structure (CKA)",
    "normalised_by_majority": "agreement as a share of what people reach",
    "normalised_by_leave_one_out": "agreement as a share of what people reach",
    "ceiling_people": "the simulated people themselves",
    "ceiling_majority": "people, by their majority",
    "ceiling_leave_one_out": "people, each against the others",
    "ceiling_lower": "people, lower bound",
    "ceiling_upper": "people, upper bound",
    "matches_kept": "matches kept at the moved threshold",
    "local_loss": "local loss, nats",
    "evaluations": "evaluations of the objective",
} | {f"accuracy_{name}": f"few-shot accuracy, {words}" for name, words in _PROBES.items()}  # fmt: skip
_COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_SIGNS = {"alpha": "α", "lmbda": "λ", "tau": "τ", "mix": "mix", "eta": "η"}


def metric_words(metric: str) -> str:
    """What a metric measures.

    >>> metric_words("accuracy_logistic")
    'few-shot accuracy, logistic probe'
    """
    if metric in _METRICS:
        return _METRICS[metric]
    if match := re.fullmatch(r"(spearman|pearson)_(\w+)", metric):
        kind = "rank correlation" if match[1] == "spearman" else "correlation"
        return f"{kind} with people's dissimilarities, {match[2]}"
    if match := re.fullmatch(r"recall_(\d+)", metric):
        return f"retrieval, recall at {match[1]}"
    return metric.replace("_", " ")


def decimals(value: float, *, signed: bool = False) -> str:
    """Three decimals without a zero before the point; no sign before what rounds to zero.

    >>> decimals(0.5624), decimals(-0.0002, signed=True), decimals(0.25, signed=True), decimals(1.0)
    ('.562', '.000', '+.250', '1.000')
    """
    text = f"{abs(value):.3f}"
    sign = "" if text == "0.000" else "-" if value < 0 else "+" if signed else ""
    return sign + text.removeprefix("0")


def interval_words(low: float | None, high: float | None) -> str:
    """The interval of a difference in brackets, with a space before; nothing where there is none."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    return f" [{decimals(low, signed=True)}, {decimals(high, signed=True)}]"


def stay(share: float, k: int) -> str:
    """How many of k neighbours stay, one decimal: ``9.1``."""
    return f"{share * k:.1f}"


def counted(number: int, what: str) -> str:
    """A number and its noun: ``1 network``, ``2 networks``."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def count_words(number: int) -> str:
    """Small numbers are written out."""
    return _COUNTS[number] if number < len(_COUNTS) else str(number)


def listed(parts: Sequence[str]) -> str:
    """``a, b and c``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def span(texts: Iterable[str]) -> str:
    """Numbers as texts of one form: the only one, or the least and the greatest."""
    found = sorted(set(texts), key=float)
    return found[0] if len(found) == 1 else f"{found[0]} to {found[-1]}"


def setting_words(row: dict[Any, Any]) -> list[str]:
    """A setting: its method, and what it has of α, λ, τ and η; the mix where it is not 1."""
    values = {name: plain(row.get(name)) for name in _SIGNS}
    told = {name: value for name, value in values.items() if value is not None and (name, value) != ("mix", 1)}
    return [str(row["method"]), *(value_words(name, value) for name, value in told.items())]


def value_words(parameter: str, value: float) -> str:
    """One parameter of a setting.

    >>> value_words("lmbda", 0.3)
    'λ 0.3'
    """
    return f"{_SIGNS[parameter]} {value:g}"


def axis_title(parameter: str) -> str:
    """What stands at the axis of a setting: its sign, and its name."""
    return "share of the scaled identity (mix)" if parameter == "mix" else f"{_SIGNS[parameter]} ({parameter})"


def plain(value: Any) -> Any:
    """A value of a table as Python has it, NaN as None."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and math.isnan(value) else value
