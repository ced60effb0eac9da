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
    (found,) = findings(run)
    assert found.startswith(
        "global agrees less with people: a (agreement with people, by dot products) changes by -.200"
    )


@pytest.mark.parametrize("k", ["ten", [1], -3, 10.5, None, True, {}])
def test_a_number_of_neighbours_that_is_none_is_that_of_a_sweep(k):
    """Settings of a row may hold anything: what is no whole number from 1 on is taken for ten."""
    scores = [Score("s", "neighbours_kept", 0.5, transform="global", settings={"k": k})]
    assert verdict(Run(("r",), score_frame(scores))) == [
        "Of each image's ten nearest neighbours 5.0 stay with `global`."
    ]
