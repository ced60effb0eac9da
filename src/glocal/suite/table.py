"""Tables of scores: one row each, arms × tasks, and the differences between networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby, product
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
    *("network", "features", "arm", "task", "split", "metric"),
    *("value", "low", "high", "p", "n", "baseline", "baseline_network", "settings"),
]


def long_scores(scores: Scores) -> pd.DataFrame:
    """One row for each score and difference: arm, task, metric, numbers, p-value and settings.

    `p` is the corrected p-value if there is one. The settings are JSON.
    """
    frame = score_frame(scores).rename(columns={"transform": "arm"})
    frame["p"] = frame["p_corrected"].where(frame["p_corrected"].notna(), frame["p"])
    return frame[_COLUMNS]


def cell(scores: Scores, network: str, task: str, arm: str, baseline: str) -> str:
    """The text of a score: ``0.480 [0.460, 0.499]*``.

    An asterisk marks an arm that differs from the baseline: paired test, p < 0.05 after the
    correction for all comparisons.
    """
    score = scores.score(network, task, arm)
    if score is None:
        return "-"
    return score.text() + _star(scores.gain(network, task, arm, baseline))


def score_table(scores: Scores, baseline: str) -> pd.DataFrame:
    """A table with a line per network and arm and a column per task, filled by `cell`."""
    import pandas as pd

    table = pd.DataFrame(
        {"network": network, "arm": arm}
        | {task: cell(scores, network, task, arm, baseline) for task in scores.tasks}
        for network, arm in scores.arms
    )
    return table.drop(columns="network") if scores.networks == [""] else table


def score_lines(scores: Scores, baseline: str, width: int) -> list[str]:
    """The table as lines: arms × tasks, or if that is too wide, a block of arms for each task.

    A line of a block has the score of an arm and its difference from the baseline.
    """
    table = score_table(scores, baseline)
    lines = text_table([list(table.columns), *table.to_numpy().tolist()])
    if fits(lines, width):
        return lines
    blocks: list[str] = []
    for network, task in product(scores.networks, scores.tasks):
        rows = []
        notes = set()
        for of_network, arm in scores.arms:
            score = scores.score(network, task, arm)
            if score is None or of_network != network:
                continue
            gain = scores.gain(network, task, arm, baseline)
            rows.append((arm, [score.cell(), gain.cell(_star(gain)) if gain else Cell("")]))
            notes.add(score.note)
        title = f"{task}, {network}" if len(scores.networks) > 1 else task
        blocks += [*block(title + "".join(notes), rows, min(width, _BLOCK_WIDTH)), ""]
    return blocks[:-1]


def _star(gain: Score | None) -> str:
    p = None if gain is None else gain.p_corrected
    return "*" if p is not None and p < SIGNIFICANCE else ""


def corrected(scores: Sequence[Score]) -> list[Score]:
    """The scores with Holm's correction of their p-values for all comparisons."""
    p_values = iter(holm([score.p for score in scores if score.p is not None]))
    return [
        score if score.p is None else replace(score, p_corrected=next(p_values)) for score in scores
    ]


def network_differences(results: Mapping[str, Mapping[str, Result]]) -> list[Score]:
    """The scores of each network less the first, arm by arm, on one task and the same data.

    `results` has the results of the arms of each network. P-values are corrected for all of these
    differences.
    """
    first, *others = results
    rows: list[Score] = []
    for arm, baseline in results[first].items():
        for network in others:
            if arm in results[network]:
                pair = difference((arm, results[network][arm]), (arm, baseline))
                rows += [replace(row, network=network, baseline_network=first) for row in pair]
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
    p = score.p if score.p_corrected is None else score.p_corrected
    return "-" if p is None else f"{p:.2g}"


def network_lines(scores: Scores, width: int) -> list[str]:
    """The differences between networks as lines of text, each block after an empty line."""
    lines: list[str] = []
    for task, gains in groupby(scores.network_gains, key=lambda gain: gain.task):
        rows = []
        for gain in gains:
            p = "" if gain.p_corrected is None else f"  p {gain.p_corrected:.2g}"
            rows.append((f"{gain.network}, {gain.transform}", [gain.cell(p)]))
        lines += ["", *block(f"{task}, less {gain.baseline_network}", rows, width)]
    return lines
