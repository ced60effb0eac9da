"""The formulas of the plan of a study, and the shares that are never reached."""

import numpy as np
import pytest
from world import ROOT

import glocal
from glocal.data.planning import NETWORKS, attained_share
from glocal.errors import ParameterError


@pytest.mark.parametrize("n", [30, 100, 500])
@pytest.mark.parametrize("gain", [0.25, 0.5, 0.9])
def test_the_answers_reach_the_share_by_the_formula(n, gain):
    """The planned answers t reach the share 1 / (1 + (25 n / t)^.8), which is the attained share of
    so many, and one answer less does not.
    """
    t = glocal.plan_study(n, gain=gain).answers
    assert attained_share(t, n) == pytest.approx(gain, abs=2e-3)
    assert 1 / (1 + (25 * n / t) ** 0.8) >= gain > 1 / (1 + (25 * n / (t - 1)) ** 0.8)


@pytest.mark.parametrize("n", [30, 60, 100, 200, 500, 2000])
def test_new_objects_need_answers_by_the_formula_or_are_never_reached(n):
    """For new objects, t answers reach the share 1 / ((1 + T / t)(1 + n0 / n)), or no number of
    answers does.
    """
    plan = glocal.plan_study(n)
    for name, network in NETWORKS.items():
        limit = 1 / (1 + network.objects / n)
        t = plan.new_objects[name]
        assert (t is None) == (limit <= 0.5)
        if t is not None:
            assert limit / (1 + network.answers / t) == pytest.approx(0.5, abs=1e-3)


def test_people_minutes_and_cost_follow_from_the_answers():
    """Of 200 trials 196 are answers, and 200 trials of 4 s take 1.25 × 200 × 4 s and
    two minutes.
    """
    plan = glocal.plan_study(100, pay=12)
    assert plan.answers == 2500
    assert plan.people == int(np.ceil(2500 / 196))
    assert plan.minutes == pytest.approx(1000 / 60 + 2)
    assert plan.hours == pytest.approx(plan.people * plan.minutes / 60)
    assert plan.cost == pytest.approx(12 * plan.hours)
    assert glocal.plan_study(100).cost is None


@pytest.mark.parametrize(
    "name, value", [("gain", 1.0), ("seconds", 0), ("pay", -1), ("objects", 2)]
)
def test_a_value_out_of_its_range_is_refused(as_a_user, name, value):
    """A share of 1, a time of 0, a negative pay and two images are refused by the name of the
    argument.
    """
    with pytest.raises(ParameterError, match=name):
        glocal.plan_study(**{"objects": 100, name: value})


def test_the_table_of_the_page_is_made_by_the_function():
    """Each line of the table in docs/collect.md is what the function returns."""
    page = (ROOT / "docs" / "collect.md").read_text("utf-8")
    table = page.split("| images |")[1].split("\n\n")[0].splitlines()[2:]
    assert len(table) == 4
    for line in table:
        n = int(line.split("|")[1].replace(",", ""))
        plan = glocal.plan_study(n, pay=12)
        cells = [f"{n:,}", f"{plan.answers:,}", f"{plan.people} × 200", f"{plan.hours:.1f}"]
        cells.append(f"{plan.cost:.0f}")
        cells += ["never" if t is None else f"{t:,}" for t in plan.new_objects.values()]
        assert line == f"| {' | '.join(cells)} |"
