"""Tables of scores: one row each, arms × tasks, and the differences between networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from glocal.advice import SIGNIFICANCE
from glocal.evaluation.comparison import Result, difference, holm
from glocal.scores import Score, Scores, score_frame
from glocal.screen import Cell, block, fits, text_table

if TYPE_CHECKING:
    import pandas as pd

UNIT_ROWS = "All arms begin from rows scaled to length 1."
_BLOCK_WIDTH = 76  # columns
_COLUMNS = [
    "network",
    "features",
    "arm",
    "task",
    "split",
    "metric",
    "value",
    "low",
    "high",
    "p",
    "n",
    "baseline",
    "baseline_network",
    "settings",
]


def long_scores(scores: Scores) -> pd.DataFrame:
    """One row for each score and difference: arm, task, metric, numbers, p-value and settings.

    `p` is the corrected p-value if there is one. The settings are JSON.
    """
    frame = score_frame(scores)
    frame = frame.rename(columns={"transform": "arm"})
    p_corrected = frame["p_corrected"]
    is_corrected = p_corrected.notna()
    frame["p"] = p_corrected.where(is_corrected, frame["p"])
    return frame[_COLUMNS]


def cell(scores: Scores, network: str, task: str, arm: str, baseline: str) -> str:
    """The text of a score: ``0.480 [0.460, 0.499]*``.

    An asterisk marks an arm that differs from the baseline: paired test, p < 0.05 after the
    correction for all comparisons.
    """
    score = scores.score(network, task, arm)
    if score is None:
        return "-"
    gain = scores.gain(network, task, arm, baseline)
    return score.text() + _star(gain)


def score_table(scores: Scores, baseline: str) -> pd.DataFrame:
    """A table with a line per network and arm and a column per task, filled by `cell`."""
    import pandas as pd

    lines = []
    for network, arm in scores.arms:
        line = {"network": network, "arm": arm}
        for task in scores.tasks:
            line[task] = cell(scores, network, task, arm, baseline)
        lines.append(line)
    table = pd.DataFrame(lines)
    if scores.networks == [""]:
        return table.drop(columns="network")
    return table


def score_lines(scores: Scores, baseline: str, width: int) -> list[str]:
    """The table as lines: arms × tasks, or if that is too wide, a block of arms for each task.

    A line of a block has the score of an arm and its difference from the baseline.
    """
    table = score_table(scores, baseline)
    heading = [*table.columns]
    body = table.to_numpy().tolist()
    lines = text_table([heading, *body])
    if fits(lines, width):
        return lines
    block_width = min(width, _BLOCK_WIDTH)
    blocks: list[str] = []
    for network in scores.networks:
        for task in scores.tasks:
            blocks += _task_block(scores, network, task, baseline, block_width)
            blocks.append("")
    return blocks[:-1]


def _task_block(
    scores: Scores, network: str, task: str, baseline: str, block_width: int
) -> list[str]:
    """The lines of a task on a network: the score and the gain of each arm."""
    rows = []
    notes = set()
    for arm_network, arm in scores.arms:
        score = scores.score(network, task, arm)
        if score is None or arm_network != network:
            continue
        gain = scores.gain(network, task, arm, baseline)
        gain_cell = Cell("")
        if gain is not None:
            gain_cell = gain.cell(_star(gain))
        rows.append((arm, [score.cell(), gain_cell]))
        notes.add(score.note)
    title = task
    if len(scores.networks) > 1:
        title = f"{task}, {network}"
    note = "".join(notes)
    return block(title + note, rows, block_width)


def _star(gain: Score | None) -> str:
    """A star if a gain is significant after correction, else nothing."""
    if gain is None or gain.p_corrected is None:
        return ""
    is_significant = gain.p_corrected < SIGNIFICANCE
    return "*" if is_significant else ""


def corrected(scores: Sequence[Score]) -> list[Score]:
    """The scores with Holm's correction of their p-values for all comparisons."""
    p_values = [score.p for score in scores if score.p is not None]
    p_corrected = iter(holm(p_values))
    rows = []
    for score in scores:
        row = score
        if score.p is not None:
            row = replace(score, p_corrected=next(p_corrected))
        rows.append(row)
    return rows


def network_differences(results: Mapping[str, Mapping[str, Result]]) -> list[Score]:
    """The scores of each network less the first, arm by arm, on one task and the same data.

    `results` has the results of the arms of each network. P-values are corrected for all of these
    differences.
    """
    first, *others = results
    rows: list[Score] = []
    for arm, first_result in results[first].items():
        for network in others:
            result = results[network].get(arm)
            if result is None:
                continue
            for row in difference((arm, result), (arm, first_result)):
                gain = replace(row, network=network, baseline_network=first)
                rows.append(gain)
    return corrected(rows)


def network_table(scores: Scores) -> pd.DataFrame:
    """The differences between networks: a line each, with its interval and p."""
    import pandas as pd

    return pd.DataFrame(
        {
            "task": score.task,
            "arm": score.transform,
            "network": score.network,
            "less": score.baseline_network,
            "difference": score.text(),
            "p": _p_in_words(score),
        }
        for score in scores.network_gains
    )


def _p_in_words(score: Score) -> str:
    """The p-value of a difference, corrected if it was; a dash if there is none."""
    p = score.p_corrected
    if p is None:
        p = score.p
    if p is None:
        return "-"
    return f"{p:.2g}"


def network_lines(scores: Scores, width: int) -> list[str]:
    """The differences between networks as lines of text, each block after an empty line."""
    lines: list[str] = []
    for task, gains in groupby(scores.network_gains, key=lambda gain: gain.task):
        rows = []
        for gain in gains:
            p_text = ""
            if gain.p_corrected is not None:
                p_text = f"  p {gain.p_corrected:.2g}"
            name = f"{gain.network}, {gain.transform}"
            rows.append((name, [gain.cell(p_text)]))
        title = f"{task}, less {gain.baseline_network}"
        lines.append("")
        lines += block(title, rows, width)
    return lines
