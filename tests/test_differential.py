"""Whole commands on random small problems beside an implementation in loops and scipy: `oracle` and `differential`."""

import numpy as np
import pytest
from differential import CHECKS

SEEDS = {"fit": range(4), "invariance": range(1), "sweep": [7]}


@pytest.mark.parametrize(
    ("name", "seed"), [(name, seed) for name in CHECKS for seed in SEEDS.get(name, range(3))]
)  # fmt: skip
def test_a_command_agrees_with_the_oracle(name, seed, tmp_path):
    """What a command prints and writes is what plain loops and scipy find on the same files."""
    assert CHECKS[name](np.random.default_rng(seed), tmp_path) == []
