"""SQLAlchemy's own tests of its pools and engines, with capture on. They are not in the wheel: unpack the source
distribution of the installed version and name it in POOLCTL_SQLALCHEMY_SOURCE. Without it, `test_capture_ends.py` has
an equivalent set of behaviours."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = os.environ.get("POOLCTL_SQLALCHEMY_SOURCE")
TESTS = [f"test/engine/test_{name}.py" for name in ("pool", "reconnect", "transaction", "execute")] + [
    "test/ext/asyncio"
]
PLUGIN = """
from pathlib import Path
import os, tempfile
def pytest_sessionstart(session):
    if os.environ["WITH_CAPTURE"] == "yes":
        from poolctl.capture import Recorder, install
        session.recorder = Recorder(Path(tempfile.mkdtemp()))
        install(session.recorder)
def pytest_sessionfinish(session):
    if os.environ["WITH_CAPTURE"] == "yes":
        print("capture errors:", session.recorder.ring.counters[0])
        session.recorder.ring_path.unlink()
"""


@pytest.mark.skipif(SOURCE is None, reason="POOLCTL_SQLALCHEMY_SOURCE does not name SQLAlchemy's source")
def test_sqlalchemys_own_tests_pass_as_they_do_without_capture(tmp_path):
    (tmp_path / "capture_plugin.py").write_text(PLUGIN)
    plain, captured = run(tmp_path, "no"), run(tmp_path, "yes")
    assert re.search(r"\d+ passed", plain)
    assert re.search(r"(\d+) passed", captured).group(1) == re.search(r"(\d+) passed", plain).group(1)
    assert re.findall(r"\d+ failed", captured) == re.findall(r"\d+ failed", plain)
    assert "capture errors: 0" in captured


def run(plugin: Path, with_capture: str) -> str:
    root = Path(__file__).parents[2]
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "capture_plugin",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:asyncio",
            *TESTS,
        ],
        cwd=SOURCE,
        env={**os.environ, "PYTHONPATH": f"{plugin}:{root}", "WITH_CAPTURE": with_capture},
        capture_output=True,
        text=True,
        check=False,
    ).stdout
