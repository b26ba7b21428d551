"""The README names every command and every option, and none that does not exist."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from poolctl.cli.app import COMMANDS, build, command
from poolctl.report import format_of

README = Path(__file__).parents[2] / "README.md"


def options(parent: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every long option below a command, with the command it belongs to."""
    for param in parent.params:
        for name in (*param.opts, *param.secondary_opts):
            if name.startswith("--") and name != "--help":
                yield path, name
    for name, child in getattr(parent, "commands", {}).items():
        yield from options(child, f"{path} {name}")


OPTIONS = [
    *((path, name) for path, name in options(build(), "poolctl")),
    *((path, name) for key in COMMANDS for path, name in options(command(key), f"poolctl {key}")),
]


@pytest.fixture(scope="module")
def readme() -> str:
    return README.read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme(readme: str, name: str) -> None:
    assert re.search(rf"poolctl {name}\b", readme)


@pytest.mark.parametrize(("path", "name"), OPTIONS)
def test_every_option_is_in_the_readme(readme: str, path: str, name: str) -> None:
    assert re.search(rf"(?<![\w-]){name}(?![\w-])", readme), f"{name} of {path}"


def test_every_poolctl_command_line_in_the_readme_names_a_command_that_exists(readme: str) -> None:
    lines = re.findall(r"^(?:\$ )?poolctl ([a-z]+)", readme, flags=re.MULTILINE)
    assert lines
    assert set(lines) - set(COMMANDS) == set()


def test_every_option_of_a_poolctl_command_line_in_the_readme_exists(readme: str) -> None:
    known = {name for _, name in OPTIONS} | {"--help"}
    used = [
        option
        for line in re.findall(r"^(?:\$ )?poolctl .*$", readme, flags=re.MULTILINE)
        for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", line.partition("#")[0])
    ]
    assert used
    assert set(used) - known == set()


def test_the_workflows_of_the_readme_call_poolctl_as_it_can_be_called(readme: str) -> None:
    blocks = [block for block in re.findall(r"```yaml\n(.*?)```", readme, flags=re.DOTALL) if "poolctl " in block]
    lines = [line for block in blocks for line in re.findall(r"^ +(poolctl (?:.|\n +--)*)", block, flags=re.MULTILINE)]
    assert len(lines) >= 2
    for line in lines:
        _, name, *arguments = shlex.split(line)
        given = command(name).make_context(name, arguments).params
        assert given["ab"]
        assert given["inconclusive"] == "pass"
        for file in given["report"]:
            format_of(Path(file))


def test_ci_runs_the_readme_s_test_command(readme: str) -> None:
    (command,) = re.findall(r"```sh\n(.*/pytest)\n```", readme)
    assert f"\n{command}\n" in (README.parent / ".ci" / "run").read_text()


def test_ci_runs_the_gate_on_poolctl_itself() -> None:
    ci = README.parent / ".ci"
    assert ".venv/bin/python .ci/gate.py" in (ci / "run").read_text()
    assert json.loads((ci / "gate.json").read_text())["leaks"] == {"at_most": 0}
