"""Whole commands on random small problems beside an implementation in loops and scipy: `oracle` and `differential`."""

import os

import numpy as np
import pytest
from differential import CHECKS

SEEDS = {"fit": (0, 1, 3, 4, 5), "sweep": (6,)}  # those of a second or so
CASES = [(name, seed) for name in CHECKS for seed in SEEDS.get(name, range(3))]


@pytest.mark.parametrize(("name", "seed"), CASES)
def test_a_command_agrees_with_the_oracle(name, seed, tmp_path):
    """What a command prints and writes is what plain loops and scipy find on the same files."""
    assert CHECKS[name](np.random.default_rng(seed), tmp_path) == []


@pytest.mark.nightly
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", CHECKS)
def test_many_commands_agree_with_the_oracle(name, tmp_path):
    """So they do on other problems: with GLOCAL_TRIES=1, 150 of each."""
    tries = int(float(os.environ.get("GLOCAL_TRIES", "0.05")) * 150)
    for seed in range(1000, 1000 + tries):
        folder = tmp_path / str(seed)
        folder.mkdir()
        assert CHECKS[name](np.random.default_rng(seed), folder) == [], seed
