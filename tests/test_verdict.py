"""The verdict of a page says of the rows what the rows say."""

import re

import numpy as np
import pytest

from glocal.report.loading import Run
from glocal.report.verdict import MARGIN, verdict
from glocal.report.words import decimals, stay
from glocal.scores import Score
from glocal.suite.table import score_frame

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


@pytest.mark.parametrize("seed", range(40))
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


def test_several_networks_are_told_by_their_range():
    """The least and the greatest agreement, difference and number of neighbours of glocal stand in two sentences."""
    scores = []
    for network, before, after, stays in (("a", 0.40, 0.45, 0.91), ("b", 0.48, 0.56, 0.80)):
        scores.append(Score("t", "accuracy_cosine", before, network=network, split="heldout"))
        scores.append(Score("t", "accuracy_cosine", after, network=network, split="heldout", transform="glocal"))
        scores.append(Score("s", "neighbours_kept", stays, network=network, transform="glocal"))
    assert verdict(Run(("r",), score_frame(scores))) == [
        "On 2 networks `glocal` agrees with people on .450 to .560 of new answers, `original` on .400 to .480; the "
        "differences are +.050 to +.080.",
        "Of each image's ten nearest neighbours 8.0 to 9.1 stay with `glocal`.",
    ]


def test_a_run_without_rows_has_no_verdict():
    """Nothing is said of nothing; a lone task that nothing is compared with stands with its values."""
    assert verdict(Run(("r",), score_frame([]))) == []
    assert verdict(Run(("r",), score_frame([Score("f", "accuracy_logistic", 0.61)]))) == [
        "Few-shot accuracy, logistic probe: .610 with `original`."
    ]
