"""`poolctl rules`: what is looked for, and why."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import poolctl

from poolctl.analysis.findings import REGISTRY


def test_every_rule_is_listed_with_its_severity(tmp_path: Path) -> None:
    result = poolctl("rules", cwd=tmp_path)
    assert (result.code, result.err) == (0, "")
    listed = [tuple(line.split()[:3]) for line in result.out.splitlines() if line.startswith("PC")]
    assert listed == [(code, m.RULE.slug, m.RULE.severity.value) for code, m in REGISTRY.items()]


@pytest.mark.parametrize("name", ["PC302", "pc302", "idle-in-hold"])
def test_a_rule_is_explained_by_its_code_or_its_slug(tmp_path: Path, name: str) -> None:
    result = poolctl("rules", name, cwd=tmp_path)
    assert result.code == 0
    assert result.out.startswith("PC302 idle-in-hold (warning)\n")
    assert all(
        part in result.out for part in ("What it detects", "Why it matters", "How to fix it", "When it is wrong")
    )


def test_a_code_that_is_none_names_those_that_are(tmp_path: Path) -> None:
    result = poolctl("rules", "PC000", cwd=tmp_path)
    assert (result.code, result.out) == (2, "")
    assert result.errors[0] == "error: there is no rule 'PC000'"
    assert "PC101" in result.errors[1]
