"""The verdict of a page says of the rows what the rows say."""

import re

import numpy as np
import pytest

from glocal.report.findings import findings
from glocal.report.loading import Run
from glocal.report.verdict import MARGIN, direction, verdict
from glocal.report.words import decimals, stay
from glocal.results import Score
from glocal.suite.table import main_rows, score_frame

ARMS = ("naive", "global", "glocal")


def made(seed, tasks=("few", "odd", "far")):
    """Rows of one network: agreement, neighbours and tasks with differences of every size and certainty."""
    rng = np.random.default_rng(seed)
    scores = [Score("a", "accuracy_cosine", rng.uniform(0.3, 0.7), n=9, split="heldout", network="n")]
    scores += [
        Score("a", "accuracy_cosine", rng.uniform(0.3, 0.7), n=9, split="heldout", network="n", transform=arm)
        for arm in ARMS
    ]
    scores += [Score("s", "neighbours_kept", rng.uniform(0.1, 1), network="n", transform=arm) for arm in ARMS]
    for task in tasks:
        scores.append(Score(task, "auroc", 0.5, network="n"))
        for arm in ARMS:
            value, p = rng.choice([1, -1]) * rng.choice([0.0002, 0.009, 0.02, 0.3]), rng.choice([0.001, 0.4])
            scores.append(Score(task, "auroc", 0.5 + value, network="n", transform=arm))
            scores.append(Score(task, "auroc_difference", value, network="n", transform=arm, p=p, p_holm=p))
    return scores


@pytest.mark.parametrize("seed", range(3))
def test_the_numbers_of_a_verdict_are_those_of_its_rows(seed):
    """Each arm stands with its agreement and its neighbours; a task changes for the arms that the rows say."""
    scores = made(seed)
    agreement, kept, tasks = verdict(Run(("r",), score_frame(scores)))
    for score in scores:
        if score.metric == "accuracy_cosine":
            assert re.search(
                rf"`{score.transform}` (agrees with people )?on {re.escape(decimals(score.value))}\b", agreement
            )
        if score.metric == "neighbours_kept":
            assert re.search(rf"\b{re.escape(stay(score.value, 10))} (stay )?with `{score.transform}`", kept)
    said = {"better": set(), "worse": set(), "undecided": set()}
    for clause in tasks.removeprefix("Beside `original`: ").rstrip(".").split("; "):
        task, _, rest = clause.partition(" is ")
        for which, names in re.findall(r"(better|worse|undecided) with (.*?) \(", rest):
            said[which] |= {(task, arm) for arm in re.findall(r"`(\w+)`", names)}
    expected = {"better": set(), "worse": set(), "undecided": set()}
    for score in scores:
        if score.metric == "auroc_difference" and abs(score.value) > MARGIN:
            which = "undecided" if score.p_holm >= 0.05 else "better" if score.value > 0 else "worse"
            expected[which].add((score.task, score.transform))
    assert said == expected
    assert not re.search(r"[-+]0?\.000", tasks)


def test_less_is_better_of_errors_and_losses():
    """A rise of false alarms or of a loss is worse, and an undefined difference is neither."""
    told = {"metric": "fpr95", "difference": 0.3, "p_holm": 0.001}
    assert direction(told) == "worse"
    assert direction(told | {"difference": -0.3}) == "better"
    assert direction(told | {"metric": "loss_difference", "difference": -0.3}) == "better"
    assert direction(told | {"metric": "auroc"}) == "better"
    assert direction(told | {"difference": float("nan")}) == "undecided"


def test_a_difference_is_that_of_the_metric_shown():
    """A later difference by another metric does not stand beside the first metric of a task, but both are found."""
    scores = [
        Score("a", "accuracy_cosine", value, transform=arm) for arm, value in (("original", 0.4), ("global", 0.5))
    ]
    for metric, value in (("accuracy_cosine_difference", 0.1), ("accuracy_dot_difference", -0.2)):
        scores.append(Score("a", metric, value, transform="global", p=0.001, p_holm=0.001))
    run = Run(("r",), score_frame(scores))
    assert main_rows(run.rows)["difference"].dropna().tolist() == [0.1]
    assert len(findings(run)) == 1
