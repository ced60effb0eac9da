"""What a verdict says: the choice in each situation, in lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glocal.scores import DIFFERENCE, ORIGINAL, Score, Scores
from glocal.screen import COLUMNS, Printable, fits, wrapped
from glocal.suite.situations import AND_NAMES, NAMES_ALONE, NOT_CLASS, SUPERCLASSES
from glocal.suite.table import score_lines
from glocal.transform.catalogue import bundled

if TYPE_CHECKING:
    import pandas as pd

KEPT = "neighbours kept"
_INDENT = 28  # columns before what is said of a situation
_MAKE = (
    "glocal fit --features FEATURES --answers ANSWERS --out transform.npz",
    "glocal align MODEL --images OBJECTS --answers ANSWERS --out DIR",
)


@dataclass(frozen=True)
class Situation:
    """The choice in one situation.

    Parameters
    ----------
    name : str
        The situation, as in ``"1 label a class"``.
    head : str
        The same in the words of a sentence, with the number of labels that decided.
    arm : str or None
        The arm to use: ``"original"`` leaves the features as they are, ``"centred"`` subtracts
        their column means, ``"names alone"`` uses no example, and all others are transforms. None
        if the situation cannot be decided.
    value : float or None
        The score of this arm: balanced accuracy, mean average precision, or AUROC.
    gain, low, high : float or None
        The gain over `original`, or beside class names over the names alone, with the interval at
        the level that is corrected for all pairs of arms (`glocal.suite.situations.differences`);
        without a gain the interval is the 95 % interval of the value.
    rough : bool
        Whether the smallest class has fewer than 12 images. The level is then .01.
    reason : str
        Why the situation cannot be decided, or which recommended arm is worse here.
    command : str
        The command that applies the arm; empty if there is nothing to apply.
    transform : str or None
        What `glocal apply` takes as its transform.
    recentred : bool
        Whether `glocal apply` recentres it.
    """

    name: str
    head: str
    arm: str | None = None
    value: float | None = None
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    rough: bool = False
    reason: str = ""
    command: str = ""
    transform: str | None = None
    recentred: bool = False

    def lines(self, n_left_out: int = 0) -> Iterator[str]:
        """Yield what is said of the situation: the arm, its gain, and what else to know."""
        if self.arm is None:
            yield self.reason
            return
        rough = " (rough)" if self.rough else ""
        arm = {ORIGINAL: "the original features", NAMES_ALONE: "the names alone"}.get(
            self.arm, self.arm
        )
        if self.gain is not None:
            yield arm
            yield Score("", DIFFERENCE, self.gain, self.low, self.high).text() + rough
        elif self.arm == ORIGINAL:
            yield f"leave the features as they are ({self.value:.3f}){rough}"
        else:
            yield f"{arm}, {Score('', '', self.value or 0.0, self.low, self.high).text()}{rough}"
        if self.reason:
            yield from self.reason.split("; ")
        if self.name.startswith(NOT_CLASS):
            yield "means are those of all images"
        if n_left_out:
            without = ", or without a superclass" if self.name == SUPERCLASSES else ""
            yield f"classes left out, with too few images{without}: {n_left_out}"


@dataclass(frozen=True, repr=False)
class Verdict(Printable):
    """The choice in each situation.

    Parameters
    ----------
    situations : tuple of Situation
        What to use, by situation.
    scores : Scores
        The scores of all arms, with the situations as tasks, and their differences from the first
        arm, with `p_corrected`.
    left_out : mapping
        By situation, the classes that have too few images to enter, with their number of images.
    """

    situations: tuple[Situation, ...]
    scores: Scores
    left_out: Mapping[str, Mapping[Any, int]]

    def summary(self) -> str:
        """Say what to use in each situation."""
        choices = [
            f"{situation.head.strip()}: {situation.arm or situation.reason}"
            for situation in self.situations
        ]
        return f"{'; '.join(choices)}."

    def table(self) -> pd.DataFrame:
        """Return the situations as a data frame."""
        import pandas as pd

        return pd.DataFrame(map(vars, self.situations))

    def text_lines(self, width: int = COLUMNS) -> list[str]:
        """What to use in each situation, what it keeps, and the commands that apply it."""
        lines = []
        for situation in self.situations:
            head = f"{situation.head} "
            if len(head) > _INDENT:
                lines += wrapped(head, width)
                head = ""
            for text in situation.lines(len(self.left_out[situation.name])):
                line = f"{head:{_INDENT}}{text}"
                if fits([line], width):
                    lines.append(line)
                else:
                    lines += [*wrapped(head, width)] if head else []
                    lines += wrapped(f"  {text}", width)
                head = ""
        return [*lines, *self._kept_lines(width), *self._command_lines(width)]

    def score_lines(self, width: int = COLUMNS) -> list[str]:
        """The scores of all arms by situation, with gains over the first, below a blank line."""
        lines: list[str] = []
        for has_names, baseline in ((False, ORIGINAL), (True, NAMES_ALONE)):
            rows = Scores(row for row in self.scores if row.task.endswith(AND_NAMES) == has_names)
            if rows:
                lines += ["", *score_lines(rows, baseline, min(width, COLUMNS))]
        return lines

    def _kept_lines(self, width: int) -> list[str]:
        """The share of its neighbours that an image keeps in each recommended arm."""
        arms = dict.fromkeys(situation.arm for situation in self.situations if situation.command)
        scores = {arm: self.scores.of("", KEPT, str(arm)) for arm in arms}
        shares = [f"{score.value:.3f} with {arm}" for arm, score in scores.items() if score]
        if not shares:
            return []
        sentence = f"Images keep of their ten nearest neighbours: {'; '.join(shares)}."
        return ["", *wrapped(sentence, width)]

    def _command_lines(self, width: int) -> list[str]:
        """One command for each recommended arm, headed by its situations; none is broken."""
        heads: dict[str, list[str]] = {}
        for situation in self.situations:
            if situation.command:
                heads.setdefault(situation.command, []).append(situation.head.strip())
        lines = []
        for command, names in heads.items():
            lines += ["", *wrapped(f"{', '.join(names)}:", width), command]
        if not {*bundled()} & {arm for _, arm in self.scores.arms}:
            sentence = (
                "No transform of glocal fits these features. To make one, from published features "
                "of the network or from images of your own:"
            )
            lines += ["", *wrapped(sentence, width), *_MAKE]
        return lines
