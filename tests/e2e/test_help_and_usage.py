"""Help, version, and a command line that makes no sense."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from command import clean_environment, poolctl

from poolctl import __version__
from poolctl.cli.app import COMMANDS

SUBCOMMANDS = [(name,) for name in COMMANDS] + [("scenarios", name) for name in ("list", "show", "copy")]


@pytest.mark.parametrize("command", [(), *SUBCOMMANDS], ids=" ".join)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_explains_itself_on_stdout(tmp_path: Path, command: tuple[str, ...], option: str) -> None:
    result = poolctl(*command, option, cwd=tmp_path)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"Usage: {' '.join(['poolctl', *command])} ")
    assert "\x1b" not in result.out


def test_the_help_lists_every_command_with_its_purpose(tmp_path: Path) -> None:
    text = " ".join(poolctl("--help", cwd=tmp_path).out.split())
    assert [name for name, purpose in COMMANDS.items() if f" {name} {purpose}" not in text] == []


def test_the_version_is_the_package_s(tmp_path: Path) -> None:
    assert poolctl("--version", cwd=tmp_path).out == f"poolctl {__version__}\n"


def test_without_a_command_the_help_goes_to_stderr_with_code_2(tmp_path: Path) -> None:
    result = poolctl(cwd=tmp_path)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("Usage: poolctl ")


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["loadtst"], "No such command 'loadtst'. Did you mean loadtest?", "`poolctl --help` shows what it takes"),
        (["report", "--wrong"], "No such option: --wrong", "`poolctl report --help` shows what it takes"),
        (["loadtest", "--seed", "x"], "invalid value for '--seed'", "`poolctl loadtest --help` shows what it takes"),
        (["loadtest", "--seed"], "requires an argument", "`poolctl loadtest --help` shows what it takes"),
        (["scenarios", "show"], "Missing argument", "`poolctl scenarios show --help` shows what it takes"),
        (["report", "a", "b"], "unexpected extra argument", "`poolctl report --help` shows what it takes"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_two_lines_and_code_2(
    tmp_path: Path, arguments: list[str], error: str, hint: str
) -> None:
    result = poolctl(*arguments, cwd=tmp_path)
    assert (result.code, result.out) == (2, "")
    assert len(result.errors) == 2
    assert result.errors[0].startswith("error: ")
    assert error.lower() in result.errors[0].lower()
    assert result.errors[1] == f"hint: {hint}"


HEAVY = {
    "asyncpg",
    "gevent",
    "locust",
    "numpy",
    "pandas",
    "pyarrow",
    "rich",
    "scipy",
    "sqlalchemy",
    "uvloop",
    "asyncio",
}


@pytest.mark.parametrize("command", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_help_imports_nothing_heavy(tmp_path: Path, command: list[str]) -> None:
    code = (
        "import sys; from poolctl.cli import main; code = main(sys.argv[1:]);"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], cwd=tmp_path, env=clean_environment(), capture_output=True, check=True
    )
    assert HEAVY & set(done.stderr.decode().split()) == set()


def test_the_help_of_poolctl_costs_little_cpu(tmp_path: Path) -> None:
    """Under 0.1 s is the promise; the bound here leaves room for a slow or busy machine, the best of five counts."""
    costs = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        poolctl("--help", cwd=tmp_path)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(costs) < 0.25
