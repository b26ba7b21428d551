"""`poolctl config`: what holds, and who said so."""

from __future__ import annotations

import json
from pathlib import Path

from command import poolctl


def test_each_setting_is_shown_with_its_source_and_what_it_shadows(tmp_path: Path) -> None:
    (tmp_path / "poolctl.toml").write_text('pool_size = 7\npool_timeout = "1500ms"\n')
    result = poolctl("config", cwd=tmp_path, environment={"POOLCTL_POOL_SIZE": "9", "POOLCTL_SEED": "3"})
    assert (result.code, result.err) == (0, "")
    lines = [line.split() for line in result.out.splitlines()]
    assert ["pool_size", "7", "poolctl.toml"] in lines
    assert ["shadows", "9", "from", "environment", "POOLCTL_POOL_SIZE"] in lines
    assert ["pool_timeout", "1.50", "s", "poolctl.toml"] in lines
    assert ["seed", "3", "environment", "POOLCTL_SEED"] in lines
    assert ["max_overflow", "-", "default"] in lines
    assert ["thresholds.acquire_time_alert", "200", "ms", "default"] in lines


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "poolctl.toml").write_text('url = "postgresql+asyncpg://me:hunter22@db/shop"\n')
    for options in ([], ["--json"]):
        result = poolctl("config", *options, cwd=tmp_path)
        assert result.code == 0
        assert "me:***@db/shop" in result.out
        assert "hunter22" not in result.out + result.err


def test_json_is_one_document(tmp_path: Path) -> None:
    data = json.loads(poolctl("config", "--json", cwd=tmp_path, environment={"POOLCTL_SLO": "p95 wait < 50ms"}).out)
    assert data["settings"]["slo"]["value"] == ["p95 wait < 50ms"]
    assert data["settings"]["slo"]["source"] == "environment POOLCTL_SLO"


def test_a_misspelt_key_names_the_file_and_the_nearest_key(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.poolctl]\npoolsize = 3\n")
    result = poolctl("config", cwd=tmp_path)
    assert (result.code, result.out) == (2, "")
    assert result.errors == [
        "error: pyproject.toml [tool.poolctl]: poolsize: no such key",
        "hint: did you mean 'pool_size'?",
    ]
