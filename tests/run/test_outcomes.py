"""Outcomes: batches that lose nothing, and what ends a run."""

import time

import jobs_work
import pytest

from lunar_potential.run.jobs import run_jobs
from lunar_potential.run.outcomes import Buffer


def test_batches_by_number_and_at_the_end():
    seen = []
    with Buffer(seen.append, size=3, seconds=600) as buffer:
        for number in range(4):
            buffer.add(number)
        assert seen == [[0, 1, 2]]
    assert seen == [[0, 1, 2], [3]]


def test_batches_by_time_and_at_the_end():
    seen = []
    with Buffer(seen.append, size=100, seconds=0.05) as buffer:
        buffer.add(3)
        while not seen:
            time.sleep(0.01)
        assert seen == [[3]]
        buffer.seconds = 600
        buffer.add(4)
    assert seen == [[3], [4]]


def test_an_interrupted_batch_is_handed_over_again():
    seen = []

    def receive(batch):
        seen.append(batch)
        if len(seen) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        with Buffer(receive, size=2) as buffer:
            buffer.add("a"), buffer.add("b")
    assert seen == [["a", "b"], ["a", "b"]]


def test_an_error_of_a_batch_by_the_clock_is_not_lost():
    def receive(batch):
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        with Buffer(receive, size=100, seconds=0.01) as buffer:
            buffer.add(1)
            while not buffer.error:
                time.sleep(0.01)
            buffer.add(2)


def test_a_batch_of_nothing_is_a_mistake():
    with pytest.raises(ValueError, match="1 or more"):
        run_jobs(abs, [1], flush_batch_size=0)


@pytest.mark.parametrize("size, batches", [(1, [1] * 7), (3, [3, 3, 1]), (50, [7])])
def test_flush_batch_size(size, batches):
    seen = []
    run_jobs(abs, list(range(7)), on_results=seen.append, flush_batch_size=size)
    assert [len(batch) for batch in seen] == batches


def test_fatal_errors_end_the_run_and_keep_what_was_finished():
    seen = []
    with pytest.raises(ZeroDivisionError, match="three"):
        run_jobs(
            jobs_work.fails,
            [2, 5, 8, 3, 11],
            on_results=seen.append,
            fatal=(ZeroDivisionError,),
        )
    assert [outcome.item for outcome in seen[0]] == [2, 5, 8]
