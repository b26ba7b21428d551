"""SQLAlchemy's own tests of its pools and engines, with capture on. They are not in the wheel: set
POOLCTL_SQLALCHEMY_SOURCE to the unpacked source of the installed version, or to `fetch` to have it fetched. Without it,
`test_capture_ends.py` has an equivalent set of behaviours: a minute's worth of sleeping tests is not for every run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import sqlalchemy

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


@pytest.fixture
def source(tmp_path: Path) -> Path:
    named = os.environ.get("POOLCTL_SQLALCHEMY_SOURCE")
    if named is None:
        pytest.skip("POOLCTL_SQLALCHEMY_SOURCE names no source of SQLAlchemy, nor says `fetch`")
    if named != "fetch":
        return Path(named)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "sqlalchemy"]
    fetched = subprocess.run(
        [*command, "--dest", tmp_path, f"sqlalchemy=={sqlalchemy.__version__}"], capture_output=True, text=True
    )
    archives = list(tmp_path.glob("*.tar.gz"))
    if not archives:
        pytest.skip(f"SQLAlchemy's source cannot be had: {fetched.stderr.strip().splitlines()[-1:]}")
    with tarfile.open(archives[0]) as archive:
        archive.extractall(tmp_path, filter="data")
    return next(path for path in tmp_path.iterdir() if path.is_dir())


def test_sqlalchemys_own_tests_pass_as_they_do_without_capture(tmp_path: Path, source: Path) -> None:
    (tmp_path / "capture_plugin.py").write_text(PLUGIN)
    plain, captured = run(tmp_path, source, "no"), run(tmp_path, source, "yes")
    assert re.search(r"\d+ passed", plain)
    assert re.search(r"(\d+) passed", captured).group(1) == re.search(r"(\d+) passed", plain).group(1)
    assert re.findall(r"\d+ failed", captured) == re.findall(r"\d+ failed", plain)
    assert "capture errors: 0" in captured


def run(plugin: Path, source: Path, with_capture: str) -> str:
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
        cwd=source,
        env={**os.environ, "PYTHONPATH": f"{plugin}:{root}", "WITH_CAPTURE": with_capture},
        capture_output=True,
        text=True,
        check=False,
    ).stdout
