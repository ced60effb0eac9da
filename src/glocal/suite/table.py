"""Tables of scores: one row each, and arms × tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from glocal.evaluation.comparison import holm
from glocal.finding import SIGNIFICANCE
from glocal.scores import Score, Scores

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ["network", "features", "arm", "task", "metric", "value", "low", "high", "p", "n"]


def long_scores(scores: Scores) -> pd.DataFrame:
    """One row for each score and difference: network, arm, task, metric, numbers and p-value.

    `p` is the corrected p-value if there is one.
    """
    import pandas as pd

    rows = []
    for score in scores:
        p = score.p if score.p_corrected is None else score.p_corrected
        rows.append({**vars(score), "arm": score.transform, "p": p})
    return pd.DataFrame(rows, columns=_COLUMNS)


def score_table(scores: Scores, baseline: str) -> pd.DataFrame:
    """A table with a line per network and arm and a column per task, filled by `cell`."""
    import pandas as pd

    table = pd.DataFrame(
        {"network": network, "arm": arm}
        | {task: cell(scores, network, task, arm, baseline) for task in scores.tasks}
        for network, arm in scores.arms
    )
    return table.drop(columns="network") if scores.networks == [""] else table


def cell(scores: Scores, network: str, task: str, arm: str, baseline: str) -> str:
    """The text of a score: ``0.480 [0.460, 0.499]*``.

    A star marks an arm that differs from the baseline: paired test, p < 0.05 after the correction
    for all comparisons.
    """
    score = scores.of(network, task, arm)
    if score is None:
        return "-"
    gain = scores.gain(network, task, arm, baseline)
    p = None if gain is None else gain.p_corrected
    return score.text() + ("*" if p is not None and p < SIGNIFICANCE else "")


def corrected(scores: Sequence[Score]) -> list[Score]:
    """The scores with Holm's correction of their p-values for all comparisons."""
    p_values = iter(holm([score.p for score in scores if score.p is not None]))
    return [
        score if score.p is None else replace(score, p_corrected=next(p_values)) for score in scores
    ]
