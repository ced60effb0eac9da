"""What a verdict says: the lines of a situation, and the commands that apply what it recommends."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator

from glocal.scores import DIFFERENCE, ORIGINAL, Score
from glocal.screen import fits, wrapped
from glocal.verdict.arms import CENTRED
from glocal.verdict.choice import Situation
from glocal.verdict.situations import NAMES_ALONE, NOT_CLASS, SUPERCLASSES

_INDENT = 28  # columns before what is said of a situation
_ARMS = {ORIGINAL: "the original features", NAMES_ALONE: "the names alone"}
_METRICS = {
    "accuracy_ncm": ", nearest mean",
    "accuracy_logistic": ", logistic",
    "map": " mAP",
    "auroc": " AUROC",
}
NO_TRANSFORM = (
    "No transform of glocal fits these features. To make one, from published features of the "
    "network or from images of your own:"
)
MAKE = (
    "glocal fit --features FEATURES --answers ANSWERS --out transform.npz",
    "glocal align MODEL --images OBJECTS --answers ANSWERS --out DIR",
)


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
        yield f"of which mean subtracted {situation.gain_of_mean:+.3f}"
    yield from _of_first_ten(situation)
    yield from situation.losses
    if situation.name.startswith(NOT_CLASS):
        yield "means are those of all images"
    if n_left_out:
        without = ", or without a superclass" if situation.name == SUPERCLASSES else ""
        yield f"classes left out, with too few images{without}: {n_left_out}"


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


def commands(situations: Iterable[Situation], features: str) -> dict[str, str]:
    """The command that applies each recommended arm to a feature file; none writes another's file.

    The first one writes `aligned.npy` and, for a transform that is made of the features,
    `mine.npz`; the following ones number theirs.
    """
    by_arm: dict[str, str] = {}
    for situation in situations:
        if situation.transform is None or str(situation.arm) in by_arm:
            continue
        number = f"-{len(by_arm) + 1}" if by_arm else ""
        words = ["glocal", "apply", situation.transform, features]
        if situation.recentred:
            words += ["--recentre", features]
        if situation.recentred or situation.arm == CENTRED:
            words += ["--save-transform", f"mine{number}.npz"]
        by_arm[str(situation.arm)] = shlex.join([*words, "--out", f"aligned{number}.npy"])
    return by_arm


def command_lines(situations: Iterable[Situation], by_arm: dict[str, str], width: int) -> list[str]:
    """One command for each recommended arm, headed by its situations; none is broken."""
    heads: dict[str, list[str]] = {}
    for situation in situations:
        if str(situation.arm) in by_arm:
            heads.setdefault(str(situation.arm), []).append(situation.head.strip())
    lines = []
    for arm, names in heads.items():
        lines += ["", *wrapped(f"{', '.join(names)}:", width), by_arm[arm]]
    return lines


def loss_sentence(arm: str, gain: Score) -> str:
    """What is said of an arm that is recommended elsewhere and certainly worse here."""
    return f"{arm} loses here: {gain.text()}"
