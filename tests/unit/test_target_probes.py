"""What is made of a server's sessions: counted, stripped of literals, the telling ones first."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from poolctl.target import probing
from poolctl.target.probes_mysql import _backends
from poolctl.target.probing import Backend, sample_of, without_literals


def row(pid: int, user: str, command: str, state: str | None, query: str = "", time: int = 0) -> SimpleNamespace:
    return SimpleNamespace(id=pid, user=user, host="10.0.0.1:4", command=command, state=state, query=query, time=time)


def test_mysql_s_sessions_are_counted_by_command_and_user() -> None:
    listed = [
        row(1, "a", "Sleep", ""),
        row(2, "a", "Query", "Waiting for table metadata lock", "drop table t"),
        row(3, "b", "Query", None, "select 'x', 12", 4),
        row(4, "b", "Sleep", "", time=9),
    ]
    sample = sample_of(_backends(listed, {4: ("RUNNING", 9.0, None), 3: ("LOCK WAIT", 4.0, 3.0)}, {3: [4]}))
    assert (sample["sessions"], sample["idle"], sample["active"], sample["lock_waits"]) == (4, 1, 2, 2)
    assert (sample["idle_in_transaction"], sample["longest_idle_in_transaction_s"]) == (1, 9.0)
    assert sample["applications"] == {"a": 2, "b": 2}
    assert sample["backends"][1] == {
        "pid": 3,
        "application": "b",
        "user": "b",
        "client": "10.0.0.1",
        "state": "active",
        "wait": "Lock:row lock",
        "state_s": 4.0,
        "transaction_s": 4.0,
        "query": "select ?, ?",
        "blocked_by": [4],
        "lock_wait_s": 3.0,
    }


def test_the_telling_sessions_come_first_and_there_is_an_end_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "MOST", 3)
    seen = [
        Backend(1, state="idle", state_s=900.0),
        Backend(2, state="active", transaction_s=0.1),
        Backend(3, state="idle in transaction", transaction_s=7.0, state_s=6.0),
        Backend(4, state="idle", state_s=901.0),
        Backend(5),
    ]
    sample = sample_of(seen)
    assert [backend["pid"] for backend in sample["backends"]] == [3, 2, 4]
    assert (sample["sessions"], sample["hidden"], sample["idle"]) == (5, 1, 2)


@pytest.mark.parametrize(
    ("query", "mysql", "shown"),
    [
        ("select 1, 'it''s', x from t2 where n = $1", False, "select ?, ?, x from t2 where n = $1"),
        (r"select E'a\'b', 'c\', secret", False, "select ?, ?, secret"),
        ("select $tag$ hidden 'x' $tag$ , $$ y $$", False, "select ? , ?"),
        ("update t set note = 'cut off in the mid", False, "update t set note = ?"),
        ("select $$ cut off", False, "select ?"),
        ("select 'it\\'s', \"two\", 3.5", True, "select ?, ?, ?"),
        ("select 'cut", True, "select ?"),
        ("select /* user='alice' */ a -- of bob\nfrom t", False, "select a from t"),
        ("select '--', '/*', x", False, "select ?, ?, x"),
        ("select a # of bob\nfrom t -- carol", True, "select a from t"),
        ("select a #> b", False, "select a #> b"),
        ("select /* cut o", False, "select"),
        ("a\n  b", False, "a b"),
    ],
)
def test_no_literal_of_a_query_is_shown_not_even_one_that_was_cut_off(query: str, mysql: bool, shown: str) -> None:
    assert without_literals(query, mysql=mysql) == shown
