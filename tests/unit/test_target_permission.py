"""What poolctl may do to a target: nothing beyond this machine, and no writes, unless it was told so."""

from __future__ import annotations

import pytest
from sqlalchemy.engine import make_url

from poolctl.errors import UsageError
from poolctl.target.permission import hosts, is_local, refuse_distant, refuse_writes
from poolctl.target.spec import TargetSpec


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("postgresql+asyncpg://u@localhost/db", True),
        ("postgresql+asyncpg://u@LOCALHOST:5432/db", True),
        ("postgresql+asyncpg://u@127.0.0.1/db", True),
        ("postgresql+asyncpg://u@127.8.9.1/db", True),
        ("postgresql+asyncpg://u@[::1]:5432/db", True),
        ("postgresql+asyncpg://u@[::ffff:127.0.0.1]/db", True),
        ("postgresql+asyncpg://u@/db?host=/var/run/postgresql", True),
        ("postgresql+asyncpg://u@/db", True),
        ("mysql+asyncmy://u@/db?unix_socket=/run/mysqld.sock", True),
        ("sqlite+aiosqlite:////tmp/x.db", True),
        ("sqlite+aiosqlite://", True),
        ("postgresql+asyncpg://u@db.example.com/db", False),
        ("postgresql+asyncpg://u@10.0.0.1/db", False),
        ("postgresql+asyncpg://u@0.0.0.0/db", False),
        ("postgresql+asyncpg://u@localhost.example.com/db", False),
        ("postgresql+asyncpg://u@/db?host=localhost,db.example.com", False),
        ("postgresql+asyncpg://u@/db?host=localhost:5432&host=db.example.com:5432", False),
        ("postgresql+asyncpg://u@localhost/db?host=db.example.com", False),
        ("postgresql+psycopg://u@localhost/db?hostaddr=10.0.0.1", False),
    ],
)
def test_a_url_is_local_when_every_host_in_it_is_this_machine(url: str, local: bool) -> None:
    assert is_local(make_url(url)) is local


def test_a_distant_host_is_refused_until_somebody_says_yes() -> None:
    named = hosts(make_url("postgresql+asyncpg://u:secret@db.example.com/x"))
    with pytest.raises(UsageError, match=r"db\.example\.com") as refused:
        refuse_distant(TargetSpec(), named)
    assert "--yes" in refused.value.hint
    assert "secret" not in refused.value.message
    refuse_distant(TargetSpec(yes=True), named)


def test_writes_are_refused_on_every_database_but_our_own_until_allowed() -> None:
    named = TargetSpec(url="postgresql+asyncpg://u:secret@localhost/x")
    with pytest.raises(UsageError, match="set-up") as refused:
        refuse_writes(named, ["set-up", "place_order"])
    assert "--allow-writes" in refused.value.hint
    assert "secret" not in refused.value.message
    with pytest.raises(UsageError):
        refuse_writes(TargetSpec(engine="app:engine"), ["set-up"])
    refuse_writes(named, [])
    refuse_writes(TargetSpec(url=named.url, allow_writes=True), ["set-up"])
    refuse_writes(TargetSpec(), ["set-up"])
    refuse_writes(TargetSpec().started("postgresql+asyncpg:///x"), ["set-up"])
