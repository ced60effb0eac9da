"""What a verdict says: the lines of a situation, and the commands that apply what it recommends."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from glocal.scores import DIFFERENCE, ORIGINAL, Score
from glocal.screen import fits, wrapped
from glocal.verdict.arms import has_mean_as_origin
from glocal.verdict.choice import Situation
from glocal.verdict.examples import EXAMPLES, NAMES_ALONE, SUPERCLASSES

_INDENT = 28  # columns before what is said of a situation
_ARMS = {
    ORIGINAL: "the original features",
    NAMES_ALONE: "the names alone",
    EXAMPLES: "the examples alone",
}
_METRICS = {
    "accuracy_ncm": ", nearest mean",
    "accuracy_logistic": ", logistic",
    "map": " mAP",
    "auroc": " AUROC",
}


def situation_lines(situation: Situation, n_left_out: int, width: int) -> list[str]:
    """The situation, and beside it what is said of it."""
    lines: list[str] = []
    head = f"{situation.head} "
    if len(head) > _INDENT:
        lines += wrapped(head, width)
        head = ""
    for sentence in sentences(situation, n_left_out):
        line = f"{head:{_INDENT}}{sentence}"
        if fits([line], width):
            lines.append(line)
        else:
            lines += [*wrapped(head, width)] if head else []
            lines += wrapped(f"  {sentence}", width)
        head = ""
    return lines


def sentences(situation: Situation, n_left_out: int = 0) -> Iterator[str]:
    """Yield what is said of a situation: the arm, its gain, and what else to know."""
    if situation.arm is None:
        yield situation.reason
        return
    rough = " (rough)" if situation.rough else ""
    arm = _ARMS.get(situation.arm, situation.arm)
    metric = _METRICS.get(situation.metric, "")
    value = situation.value or 0.0
    if situation.gain is not None:
        gain = Score("", DIFFERENCE, situation.gain, situation.gain_low, situation.gain_high)
        yield arm
        yield f"{gain.text()}{metric}{rough}"
    elif situation.arm == ORIGINAL:
        yield f"leave the features as they are ({value:.3f}{metric}){rough}"
    else:
        yield f"{arm}, {Score('', '', value, situation.low, situation.high).text()}{rough}"
    if situation.gain_of_mean is not None:
        yield _of_mean(situation.gain_of_mean)
    yield from _of_first_ten(situation)
    yield from situation.losses
    if situation.share_of_others is not None:
        yield f"means are of normal images and {situation.share_of_others:.0%} others"
    elif situation.finds_anomalies:
        yield "means are of the collection"
    if n_left_out:
        without = ", or without a superclass" if situation.name == SUPERCLASSES else ""
        yield f"classes left out, with too few images{without}: {n_left_out}"


def _of_mean(gain: float) -> str:
    """The gain that the mean gives by itself, which is a part of a transform's gain unless lost."""
    if gain < 0:
        return f"mean subtracted alone {gain:+.3f}"
    return f"of which mean subtracted {gain:+.3f}"


def _of_first_ten(situation: Situation) -> Iterator[str]:
    """Yield what a search finds among the first ten, where a gain has to be certain too."""
    if situation.precision_10 is None:
        return
    if situation.gain is None or situation.precision_10_gain is None:
        yield f"P@10 {situation.precision_10:.3f}"
        return
    low = situation.precision_10_gain_low
    gain = Score("", DIFFERENCE, situation.precision_10_gain, low, situation.precision_10_gain_high)
    yield f"P@10 {gain.text()}"
    if low is None or low <= 0:
        yield "for the whole ranking, not the first ten"


class Application(NamedTuple):
    """What a command does: apply an arm to features, or find anomalies by it."""

    arm: str
    finds_anomalies: bool


Commands = Mapping[Application, str]
"""The command of each application of a recommended arm."""


def has_own_origin(situation: Situation) -> bool:
    """Whether the arm subtracts another mean than in the other situations."""
    return situation.finds_anomalies and has_mean_as_origin(str(situation.arm))


def application(situation: Situation) -> Application:
    """What the command of a situation does."""
    return Application(str(situation.arm), situation.finds_anomalies)


def commands(
    situations: Iterable[Situation], features: str, means: Path | None = None
) -> dict[Application, str]:
    """The command of each recommended arm; none writes another's file.

    The first one that applies an arm to the feature file writes `aligned.npy` and, for a transform
    that is made of the features, `mine.npz`; the following ones number theirs. Anomalies are found
    among new images, with `means` or the means of a collection.
    """
    by_application: dict[Application, str] = {}
    files = 0
    for situation in situations:
        key = application(situation)
        if situation.transform is None or key in by_application:
            continue
        if situation.finds_anomalies:
            by_application[key] = _anomaly_command(situation, means)
            continue
        by_application[key] = _apply_command(situation, features, files)
        files += 1
    return by_application


def _apply_command(situation: Situation, features: str, files: int) -> str:
    """The command that applies an arm to a feature file, after so many that write theirs."""
    number = f"-{files + 1}" if files else ""
    words = ["glocal", "apply", str(situation.transform), features]
    if situation.recentred:
        words += ["--recentre", features]
    if has_mean_as_origin(str(situation.arm)):
        words += ["--save-transform", f"mine{number}.npz"]
    return shlex.join([*words, "--out", f"aligned{number}.npy"])


def _anomaly_command(situation: Situation, means: Path | None) -> str:
    """The command that finds anomalies among new images."""
    words = ["glocal", "anomaly", "NORMAL", "NEW", "--transform", str(situation.transform)]
    if has_mean_as_origin(str(situation.arm)):
        words += ["--means", str(means or "COLLECTION")]
    return shlex.join([*words, "--out", "anomalies.csv"])


def command_lines(situations: Iterable[Situation], commands: Commands, width: int) -> list[str]:
    """One command for each recommended arm, headed by its situations; none is broken."""
    heads: dict[Application, list[str]] = {}
    for situation in situations:
        key = application(situation)
        if key in commands:
            heads.setdefault(key, []).append(situation.head.strip())
    lines = []
    for key, names in heads.items():
        lines += ["", *wrapped(f"{', '.join(names)}:", width), commands[key]]
    return lines


def loss_sentence(arm: str, gain: Score) -> str:
    """What is said of an arm that is recommended elsewhere and certainly worse here."""
    return f"{arm} loses here: {gain.text()}"
