"""No secret of a URL survives, whatever the URL looks like."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolctl.redact import redact, redact_value, scrub


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+asyncpg://u:secret@h:5432/db", "postgresql+asyncpg://u:***@h:5432/db"),
        ("postgresql+asyncpg://u@h/db", "postgresql+asyncpg://u@h/db"),
        ("postgresql+asyncpg://:secret@h/db", "postgresql+asyncpg://:***@h/db"),
        ("postgresql+asyncpg://h:5432/db", "postgresql+asyncpg://h:5432/db"),
        ("postgresql+asyncpg://u:a@b/c?d@h/db", "postgresql+asyncpg://u:***@h/db"),
        ("postgresql+asyncpg://u:a b@h/db", "postgresql+asyncpg://u:***@h/db"),
        ("u:secret@h/db", "u:***@h/db"),
        ("postgresql:/u:secret@h/db", "postgresql:/u:***@h/db"),
        (
            "postgresql+asyncpg://u@h/db?password=secret&ssl=require",
            "postgresql+asyncpg://u@h/db?password=***&ssl=require",
        ),
        ("sqlite+aiosqlite:////tmp/a:b@c.db", "sqlite+aiosqlite:////tmp/a:b@c.db"),
    ],
)
def test_a_url_is_shown_without_its_secrets_and_otherwise_unchanged(url: str, shown: str) -> None:
    assert redact(url) == shown


PASSWORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=20).map("§{}§".format)
"""Marked at both ends, so that finding one in a text is no accident."""


@given(PASSWORDS, st.booleans(), st.sampled_from(["", "?ssl=require", "?password={}"]))
def test_no_password_survives_however_it_is_written(password: str, encoded: bool, parameters: str) -> None:
    written = quote(password, safe="") if encoded else password
    url = f"postgresql+asyncpg://user:{written}@host/db{parameters.format(quote(password, safe=''))}"
    assert written not in redact(url)
    assert password not in redact(url)


@given(PASSWORDS, st.booleans())
def test_no_password_survives_in_a_message_that_quotes_it(password: str, encoded: bool) -> None:
    written = quote(password, safe="") if encoded else password
    url = f"postgresql+asyncpg://user:{written}@host/db"
    for message in (f"cannot use {written!s} here", f"bad URL {url}", f"user {password} unknown\nretry"):
        scrubbed = scrub(message, url)
        assert written not in scrubbed
        assert password not in scrubbed
        assert "\n" not in scrubbed


def test_a_message_is_scrubbed_of_urls_and_parameters_that_nobody_named() -> None:
    assert scrub("no postgresql://u:secret@h/db for password='x y'") == "no postgresql://u:***@h/db for password=***"


def test_a_short_password_does_not_eat_the_words_around_it() -> None:
    assert scrub("database db is gone", "postgresql://u:db@h/x") == "database *** is gone"


def test_a_value_is_hidden_by_its_key_and_a_list_by_its_items() -> None:
    assert redact_value("api_token", "abc") == "***"
    assert redact_value("report", ["a.json", "postgresql://u:secret@h/db"]) == ["a.json", "postgresql://u:***@h/db"]
    assert redact_value("pool_size", 5) == 5
