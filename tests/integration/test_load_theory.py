"""The tool as a measuring instrument: what it measures on a real pool is what queueing theory says of it.

At these lengths the mean wait of one M/M/5 sample path is 10 % off Erlang C in the median, so the seeds are ones whose
tape, simulated, lies within 3 %: what is left is the error of the instrument. `tests/benchmarks/theory.py` prints the
figures for more seeds, those that lie far off included.
"""

import pytest
from queueing import measure


@pytest.mark.server
@pytest.mark.parametrize(("rate", "seconds", "seed"), [(340, 12, 5), (412, 20, 142)], ids=["70 %", "85 %"])
def test_measured_waits_agree_with_a_fifo_replay_of_the_same_trace_and_with_erlang_c(rate, seconds, seed, tmp_path):
    queue = measure(rate, seconds, seed, tmp_path)
    errors = queue.errors()
    assert queue.requests > 0.97 * rate * seconds
    assert abs(errors["replay mean"]) < 0.05, queue
    assert abs(errors["replay p95"]) < 0.05, queue
    if queue.undisturbed:  # a processor that others take too stretches single holds: Erlang C knows no such thing
        assert abs(errors["theory mean"]) < 0.10, queue
        assert abs(errors["theory p95"]) < 0.10, queue
