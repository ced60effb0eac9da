"""How reliable answers are, without any features: halves of the people, and the ceiling."""

import json
from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
import world
from world import normal, run

from glocal import Answers, people, reliability, simulated_answers
from glocal.errors import DataError
from glocal.evaluation.ceiling import ceiling

MIND = normal(12, 3)


def study(n_people, each, kind="odd-one-out"):
    """Answers of people with one mind."""
    answers = simulated_answers(MIND, n_people * each, seed=1)
    objects = answers.objects if kind == "odd-one-out" else answers.objects[:, [1, 0, 2]]
    return Answers(objects, kind=kind, person=np.repeat(np.arange(n_people), each))


@pytest.mark.parametrize("kind", ["odd-one-out", "anchor"])
def test_halves_correlate_by_the_shares_in_which_they_chose_a_pair(kind):
    """With two people each cut has the same halves: the correlation equals that of loops."""
    answers = study(2, 150, kind)
    similarity = []
    for person in (0, 1):
        votes = defaultdict(list)
        for row in answers.objects[answers.person == person].tolist():
            for number, (i, j) in enumerate(answers.pairs):
                votes[frozenset((row[i], row[j]))].append(number == 0)
        similarity.append({pair: np.mean(chosen) for pair, chosen in votes.items()})
    pairs = sorted(similarity[0].keys() & similarity[1].keys(), key=sorted)
    halves = [[half[pair] for pair in pairs] for half in similarity]
    result = reliability(answers)
    r = np.corrcoef(halves)[0, 1]
    assert result.split_half == pytest.approx(r)
    assert result.spearman_brown == pytest.approx(2 * r / (1 + r))
    assert result.n_people == 2
    assert result.n_pairs == len(pairs)


def test_the_correction_foretells_the_correlation_of_twice_as_many_people():
    """Spearman and Brown's value for 20 people is the correlation of halves of 40."""
    answers = study(40, 20)
    half = reliability(answers.select(answers.person < 20))
    assert half.spearman_brown == pytest.approx(reliability(answers).split_half, abs=0.03)
    assert half.split_half < half.spearman_brown - 0.05


def test_the_ceiling_comes_with_it():
    """The ceiling is that of the answers; answers of one person, or of nobody, are refused, and
    halves that judge no pair in common have no correlation.
    """
    answers = world.answers(400, 6, person=np.arange(400) % 8)
    assert reliability(answers).ceiling.leave_one_out == ceiling(answers).leave_one_out
    for person in (None, np.zeros(400, int)):
        with pytest.raises(DataError, match="two"):
            reliability(Answers(answers.objects, person=person))
    apart = reliability(Answers.from_array([[0, 1, 2], [3, 4, 5]], person=np.arange(2)))
    assert apart.split_half is None
    assert apart.n_pairs == 0


def test_answers_alone_can_be_checked(here):
    """`data check` of answers alone reports their faults and how reliable they are; with neither
    answers nor features there is nothing to check.
    """
    answers = study(4, 100)
    Answers(answers.objects + 1, person=answers.person).save("a.npz")
    checked = json.loads(run("data check --answers a.npz --test-answers a.npz --json").out)
    assert {"base", "leakage"} <= {finding["check"] for finding in checked["findings"]}
    assert checked["reliability"]["split_half"] > 0.5
    printed = run("data check --answers a.npz").out
    assert "Halves of the 4 people correlate by 0." in printed
    np.save("x.npy", np.eye(12))
    for options in ("", "--answers a.npz --local-features x.npy"):
        assert "nothing to check" in run(f"data check {options}").error(2)


def test_people_of_any_answers_are_listed_and_marked(here):
    """`data people` writes the table of `glocal.people`, and `data check` names whom it marks."""
    answers = study(6, 200)
    rows = answers.objects.copy()
    rows[:200] = np.random.default_rng(0).permuted(rows[:200], axis=1)
    random = Answers(rows, person=np.repeat([*"eabcdf"], 200))
    random.save("a.npz")
    listed = run("data people a.npz --out p.csv --json").json["people"]
    assert [row["person"] for row in listed if row["is_marked"]] == ["e"]
    table = pd.read_csv("p.csv", index_col="person")
    pd.testing.assert_frame_equal(table, people(random), check_names=False, check_dtype=False)
    assert "as if at random" in run("data people a.npz").out
    checked = run("data check --answers a.npz --json").json["findings"]
    (named,) = [finding for finding in checked if finding["check"] == "random"]
    assert "1 of 6 answer as if at random (first: e)" in named["message"]
    assert run("data people a.npz --out a.npz").code
