"""The number of threads depends on the size of the problem, around BLAS with a single thread."""

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from glocal import FitData, ObjectiveSettings, fit
from glocal.objective import Workers, single_threaded_blas, threads


def of_blas():
    """The numbers of threads of the BLAS libraries."""
    return {part["num_threads"] for part in threadpool_info() if part["user_api"] == "blas"}


@pytest.fixture
def two_threads():
    """Give BLAS two threads, whatever the machine has."""
    threads._blas.cache_clear()  # another test may have loaded a second BLAS
    with threadpool_limits(2, user_api="blas"):
        if of_blas() != {2}:
            pytest.skip("this BLAS takes no other number of threads")
        yield


@pytest.mark.parametrize("shape, threads", [((10, 8), 1), ((1000, 300), 3), ((9000, 999), 4)])
def test_a_problem_gets_the_threads_its_size_calls_for(shape, threads):
    """A problem gets one thread for each half a billion operations, but at least one, and at most
    as many as BLAS had.
    """
    assert Workers.from_sizes(shape, 100, (), 4).threads == threads
    assert Workers.from_sizes(shape, 100, [3000, 3000], 4).threads >= threads
    assert Workers.from_sizes(shape, 100, [3000, 3000], 1).threads == 1


def test_blas_has_one_thread_during_a_fit_and_its_own_after(two_threads, world, monkeypatch):
    """A fit with as many threads as BLAS had, however small the problem, has the objective of one
    thread; it limits BLAS to one and restores its threads, also beside another fit and after an
    error.
    """
    seen = set()
    data = FitData(world.objects, world.answers, world.local, block_size=100)
    fits = [fit(data, ObjectiveSettings("glocal", lmbda=0.1)).record]
    monkeypatch.setattr(threads, "_MIN_OPERATIONS_PER_THREAD", 1.0)
    count = lambda *_: seen.update(of_blas())
    fits.append(fit(data, ObjectiveSettings("glocal", lmbda=0.1), on_step=count).record)
    assert [record.provenance.threads for record in fits] == [1, 2]
    assert fits[1].objective == pytest.approx(fits[0].objective, rel=1e-5)
    with pytest.raises(ZeroDivisionError), single_threaded_blas():
        1 / 0  # noqa: B018
    assert seen == {1}
    assert of_blas() == {2}
    first, second = single_threaded_blas(), single_threaded_blas()
    assert first.__enter__() == 2
    assert second.__enter__() == 2
    first.__exit__(None, None, None)
    assert of_blas() == {1}
    second.__exit__(None, None, None)
    assert of_blas() == {2}
