"""Threads by the size of the problem, and how OpenMP's threads wait."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch

from glocal.aligner import fit_arm
from glocal.solver.threads import threads_for, work_of


@pytest.fixture
def four_threads():
    """Torch with four threads, whatever the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("work", "threads"), [(0.0, 1), (9e8, 1), (1.1e9, 2), (1e15, 4)])
def test_a_problem_gets_the_threads_its_size_calls_for(four_threads, work, threads):
    """One thread for each half a billion operations, at least one, at most those of torch, which come back."""
    with threads_for(work) as chosen:
        assert torch.get_num_threads() == chosen == threads
    assert torch.get_num_threads() == 4


def test_fits_at_the_same_time_give_all_threads_back(four_threads):
    """Of two fits in two Python threads that overlap, none leaves torch with the few threads of the other."""
    first_inside, second_inside = Barrier(2), Barrier(2)

    def first() -> int:
        with threads_for(1.0):
            first_inside.wait()
            second_inside.wait()
        return torch.get_num_threads()

    def second() -> int:
        first_inside.wait()
        with threads_for(1.0):
            second_inside.wait()
        return torch.get_num_threads()

    with ThreadPoolExecutor(2) as pool:
        assert [job.result() for job in (pool.submit(first), pool.submit(second))] == [4, 4]


def test_the_work_of_the_local_term_is_that_of_its_blocks():
    """Products of a block with itself count block by block: two blocks of 100 are less than one of 200."""
    assert work_of(10, 8, 100) < work_of(10, 8, 100, [100, 100]) < work_of(10, 8, 100, [200])


def test_a_small_fit_runs_on_one_thread(four_threads, world):
    """A fit and a sweep of milliseconds use one thread, a machine's other work notwithstanding, and give back four."""
    seen = set()

    def look(*_: object) -> None:
        seen.add(torch.get_num_threads())

    fit_arm(world.objects, world.triplets, local_features=world.local, tol=1e-2, on_step=look)
    assert seen == {1}
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize(
    ("given", "before", "spins"),
    [
        ({}, "", "5000"),
        ({"GOMP_SPINCOUNT": "7"}, "", "7"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "", "None"),
        ({}, "sys.modules['torch'] = sys; ", "None"),
    ],
)
def test_openmp_is_told_to_wait_without_spinning_for_long(given, before, spins):
    """Importing glocal bounds OpenMP's spinning before torch loads it; what the user chose stands, and nothing is set
    where torch was loaded before, which read it already."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    code = f"import os, sys; {before}import glocal; print(os.environ.get('GOMP_SPINCOUNT'))"
    said = subprocess.check_output([sys.executable, "-c", code], env={**environment, **given}, text=True)
    assert said.strip() == spins
