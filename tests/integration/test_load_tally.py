"""Adding up for locust: the same figures as one request after the other would leave."""

from __future__ import annotations

import os

os.environ.setdefault("LOCUST_SKIP_MONKEY_PATCH", "1")

from hypothesis import given, settings
from hypothesis import strategies as st
from locust.event import EventHook
from locust.stats import RequestStats

from poolctl.load.tally import METHOD, others_listen, tally

results = st.lists(
    st.tuples(
        st.sampled_from(["look", "buy"]),
        st.floats(0.001, 90_000),
        st.sampled_from([None, ValueError("wrong"), TimeoutError("late")]),
    ),
    min_size=1,
    max_size=60,
)


@settings(deadline=None)
@given(st.lists(results, min_size=1, max_size=3))
def test_many_results_at_once_count_as_each_alone(batches):
    alone, together = RequestStats(), RequestStats()
    for batch in batches:
        for name, response_ms, error in batch:
            alone.log_request(METHOD, name, response_ms, 0)
            if error:
                alone.log_error(METHOD, name, error)
        tally(together, batch)
    assert set(alone.entries) == set(together.entries)
    for mine, theirs in [
        (together.total, alone.total),
        *((together.entries[k], alone.entries[k]) for k in alone.entries),
    ]:
        assert mine.num_requests == theirs.num_requests
        assert mine.num_failures == theirs.num_failures
        assert dict(mine.response_times) == dict(theirs.response_times)
        assert (mine.min_response_time, mine.max_response_time) == (theirs.min_response_time, theirs.max_response_time)
        assert abs(mine.total_response_time - theirs.total_response_time) <= 1e-6 * theirs.total_response_time
    assert {k: e.occurrences for k, e in together.errors.items()} == {k: e.occurrences for k, e in alone.errors.items()}


def test_only_listeners_that_are_not_locusts_own_count():
    from locust.env import Environment

    environment = Environment()
    environment.create_local_runner()
    assert not others_listen(environment.events.request)
    environment.events.request.add_listener(lambda **_: None)
    assert others_listen(environment.events.request)
    environment.runner.quit()


def test_an_event_that_does_not_show_its_listeners_may_have_some():
    assert others_listen(object())
    assert not others_listen(EventHook())
