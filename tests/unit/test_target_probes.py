"""What is made of MySQL's process list; PostgreSQL's view is tested on a real server."""

from __future__ import annotations

from poolctl.target.probes import _mysql_sample


def test_sessions_are_counted_by_command_and_user() -> None:
    rows = [("a", "Sleep", "", 1), ("a", "Query", "Waiting for table metadata lock", 1), ("b", "Query", None, 1)]
    sample = _mysql_sample(rows, connected=9)
    assert (sample["sessions"], sample["idle"], sample["active"], sample["lock_waits"]) == (3, 1, 2, 1)
    assert sample["applications"] == {"a": 2, "b": 1}
    assert sample["hidden"] == 0


def test_sessions_that_the_user_may_not_see_are_counted_as_hidden() -> None:
    sample = _mysql_sample([("a", "Sleep", "", 0)], connected=5)
    assert (sample["sessions"], sample["hidden"], sample["idle"]) == (5, 4, 1)
    assert _mysql_sample([], connected=0)["hidden"] == 0
