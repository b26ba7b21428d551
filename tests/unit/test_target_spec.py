"""A TargetSpec refuses what cannot work, hides what is secret and survives the pipe to a worker."""

from __future__ import annotations

import json
from typing import Any

import pytest

from poolctl.errors import UsageError
from poolctl.target.spec import TargetSpec

URL = "postgresql+asyncpg://u:secret@h/db"


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"pool_size": -1}, "pool_size -1"),
        ({"pool_size": 0, "max_overflow": 5}, "without limit"),
        ({"max_overflow": -2}, "max_overflow -2"),
        ({"pool_timeout_s": 0}, "pool_timeout 0 s"),
        ({"pool_timeout_s": -1.0}, "pool_timeout -1 s"),
        ({"pool_timeout_s": float("nan")}, "pool_timeout nan"),
        ({"pool_recycle_s": 0}, "pool_recycle 0 s"),
        ({"pool_recycle_s": -2}, "pool_recycle -2 s"),
    ],
)
def test_a_pool_setting_that_cannot_work_is_refused_in_one_line(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError) as refused:
        TargetSpec(url=URL, **settings)
    assert word in refused.value.message
    assert refused.value.hint
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    "settings",
    [
        {"pool_size": 0},
        {"pool_size": 0, "max_overflow": -1},
        {"max_overflow": 0},
        {"pool_recycle_s": -1},
        {"lifo": True},
    ],
)
def test_a_pool_setting_with_a_meaning_is_taken(settings: dict[str, Any]) -> None:
    assert TargetSpec(url=URL, **settings).with_pool(pool_timeout_s=1.0).pool_timeout_s == 1.0


def test_two_targets_are_refused() -> None:
    with pytest.raises(UsageError, match="two targets"):
        TargetSpec(url=URL, engine="app:engine")


def test_a_spec_survives_the_pipe_to_a_worker() -> None:
    spec = TargetSpec(url=URL, pool_size=3, pool_timeout_s=0.5, lifo=False, allow_writes=True)
    assert TargetSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_neither_repr_nor_shown_text_holds_the_password() -> None:
    spec = TargetSpec(url=URL)
    assert "secret" not in repr(spec)
    assert spec.shown == "postgresql+asyncpg://u:***@h/db"


def test_without_a_target_the_embedded_server_is_wanted_until_it_is_started() -> None:
    spec = TargetSpec(pool_size=2)
    assert spec.needs_embedded
    started = spec.started("postgresql+asyncpg://postgres@/postgres?host=/tmp/x")
    assert not started.needs_embedded
    assert started.embedded
    assert started.pool_size == 2
    assert started.shown == "embedded PostgreSQL"
