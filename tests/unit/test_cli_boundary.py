"""Whatever goes wrong becomes one clear line and the right code, and never a secret."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import typer

from poolctl.cli.boundary import guarded
from poolctl.errors import InputError, OutputError, PoolctlError, TargetError


def raising(error: BaseException) -> Any:
    def call() -> None:
        raise error

    return call


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("no", "so"), 2),
        (OutputError("no", "so"), 2),
        (TargetError("no", "so"), 3),
        (PoolctlError("no", "so"), 2),
    ],
)
def test_an_error_is_said_once_with_its_hint_and_its_code(
    capsys: pytest.CaptureFixture[str], error: PoolctlError, code: int
) -> None:
    assert guarded(raising(error)) == code
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "error: no\nhint: so\n")


def test_no_hint_is_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(raising(PoolctlError("no"))) == 2
    assert capsys.readouterr().err == "error: no\n"


def test_an_interrupt_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (4, 4), ("text", 0)])
def test_what_a_command_returns_is_the_code(returned: object, code: int) -> None:
    assert guarded(lambda: returned) == code


def test_an_exit_of_the_library_keeps_its_code() -> None:
    assert guarded(raising(typer.Exit(3))) == 3


def test_a_misuse_is_the_library_s_message_in_our_form(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["poolctl", "report"])
    assert guarded(raising(typer.BadParameter("not\nso"))) == 2
    assert (
        capsys.readouterr().err == "error: Invalid value: not so\nhint: `poolctl report --help` shows what it takes\n"
    )


def test_a_bug_is_one_line_and_a_file_without_secrets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["poolctl", "--url", "postgresql://me:hunter22@db/shop"])
    assert guarded(raising(ZeroDivisionError("at postgresql://me:hunter22@db/shop\nnow"))) == 70
    said = capsys.readouterr()
    first, second = said.err.splitlines()
    assert first == "error: this is a bug in poolctl: ZeroDivisionError: at postgresql://me:***@db/shop now"
    (file,) = tmp_path.glob("poolctl-bug-*.txt")
    assert second == f"hint: please report it with {file}, where its traceback is"
    text = file.read_text()
    assert "test_cli_boundary.py" in text
    assert "    raise error" in text
    assert "me:***@db/shop" in text
    assert "hunter22" not in text + said.err + said.out


def test_a_bug_where_nothing_can_be_written_shows_its_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "mkstemp", _no_file)
    assert guarded(raising(ZeroDivisionError("x"))) == 70
    assert "ZeroDivisionError: x" in capsys.readouterr().err


def _no_file(*_: object, **__: object) -> None:
    raise OSError("no space left")
