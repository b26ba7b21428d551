"""The effective settings, and where each of them came from.

In: the command line's options, `poolctl.toml` (or `[tool.poolctl]` of `pyproject.toml`) of one directory, the
environment. Out: frozen Settings with a Policy and, for every value, its source and what it shadows. Precedence:
command line, then TOML, then environment (`POOLCTL_…`), then defaults. Knows no command and no engine.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from poolctl import values
from poolctl.errors import ConfigError, UsageError
from poolctl.policy import Policy
from poolctl.redact import redact_value

COMMAND_LINE = "command line"
DEFAULT = "default"
PREFIX = "POOLCTL_"
THRESHOLDS = "thresholds"

FORMATS = ("console", "json", "markdown", "html", "junit", "github", "openmetrics")
SEVERITIES = ("info", "warning", "error", "critical")

__all__ = ["Effective", "Policy", "Settings", "load"]


@dataclass(frozen=True, slots=True)
class Effective:
    """One setting as it holds, for showing: secrets are redacted."""

    key: str
    """The key in TOML; thresholds as `thresholds.<name>`."""
    value: object
    source: str
    """`command line`, `poolctl.toml`, `pyproject.toml [tool.poolctl]`, `environment POOLCTL_…` or `default`."""
    shadowed: tuple[tuple[str, object], ...] = ()
    """(source, value) of what this value overrules, the nearest first; defaults are not listed."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a command can be told. None: not said; the target, the scenario or the command decides."""

    url: str | None = field(default=None, repr=False)
    """SQLAlchemy URL with an async driver; `embedded`: the embedded PostgreSQL, whatever a lower source says."""
    engine: str | None = None
    """`module:attribute`."""
    proxy: str | None = field(default=None, repr=False)
    """URL of the admin console of the pooler (PgBouncer) before the database; `diagnose` looks at it."""
    proxy_log: str | None = None
    """The pooler's log."""
    pool_size: int | None = None
    max_overflow: int | None = None
    pool_timeout: float | None = None
    """Seconds."""
    pool_recycle: float | None = None
    """Seconds; -1 never."""
    pre_ping: bool | None = None
    lifo: bool | None = None
    allow_writes: bool = False
    yes: bool = False
    duration: float | None = None
    """Seconds."""
    window: float = 60.0
    """Seconds that `diagnose` watches; 0: it judges settings only."""
    rate: float | None = None
    """Arrivals per second."""
    seed: int | None = None
    processes: int = 1
    slo: tuple[str, ...] = ()
    """Objectives, unparsed."""
    fail_on: str | None = None
    """Severity from which a finding fails the gate."""
    baseline: str | None = None
    inconclusive: str | None = None
    """`pass` or `fail`: what an inconclusive gate counts as."""
    format: str = "console"
    report: tuple[str, ...] = ()
    """Files to write; the ending names the format."""
    runs_dir: str = ".poolctl/runs"
    otlp: str | None = field(default=None, repr=False)
    """Collector (base URL) to which `diagnose` sends the pools' metrics; OpenTelemetry's own variables do as well."""
    policy: Policy = field(default_factory=Policy)
    effective: tuple[Effective, ...] = field(default=(), repr=False)
    """Every setting with its source, in the order of this class, thresholds last."""
    notes: tuple[str, ...] = ()
    """What a user should know about where settings came from, one line each."""

    def target(self) -> dict[str, Any]:
        """Return the fields of a TargetSpec."""
        return {
            "url": None if self.url == "embedded" else self.url,
            "engine": self.engine,
            "pool_size": self.pool_size,
            "max_overflow": self.max_overflow,
            "pool_timeout_s": self.pool_timeout,
            "pool_recycle_s": self.pool_recycle,
            "pre_ping": self.pre_ping,
            "lifo": self.lifo,
            "allow_writes": self.allow_writes,
            "yes": self.yes,
        }


def load(
    command_line: Mapping[str, Any], cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> Settings:
    """Merge all sources into Settings.

    `command_line` maps keys of Settings to what was given (None: not given; texts are read like TOML's). Raises
    UsageError for a bad option, ConfigError, naming file and key, for a bad file or variable.
    """
    environment = os.environ if environment is None else environment
    notes: list[str] = []
    levels = [
        _from_command_line(command_line),
        _from_toml(cwd or Path.cwd(), environment, notes),
        _from_environment(environment, notes),
    ]
    displaced = _choose_target(levels, notes)
    chosen, effective = _merge(levels, displaced)
    policy = Policy(**{name: chosen.pop(f"{THRESHOLDS}.{_bare(name)}") for name in _names(Policy)})
    _refuse_crossed(policy, effective)
    return Settings(**chosen, policy=policy, effective=tuple(effective), notes=tuple(notes))


@dataclass(frozen=True, slots=True)
class _Said:
    """One value as one source said it."""

    value: Any
    source: str


_Level = dict[str, _Said]


def _from_command_line(given: Mapping[str, Any]) -> _Level:
    level = {}
    for key, value in given.items():
        if value is not None and value not in ((), []):
            option = f"--{key.replace('_', '-')}"
            level[key] = _Said(_READERS[key](value, option), COMMAND_LINE)
    return level


def _from_toml(cwd: Path, environment: Mapping[str, str], notes: list[str]) -> _Level:
    own, project = cwd / "poolctl.toml", cwd / "pyproject.toml"
    section = "pyproject.toml [tool.poolctl]"
    if own.is_file():
        with_section = project.is_file() and "[tool.poolctl" in project.read_text(errors="replace")
        if with_section:
            notes.append(f"poolctl.toml shadows {section}: nothing of the latter is read")
        return _from_table(_parse(own), "poolctl.toml", environment)
    tool = _parse(project).get("tool", {}) if project.is_file() else {}
    return _from_table(tool.get("poolctl", {}), section, environment)


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path.name} is not TOML: {error}", "correct the line it names") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigError(f"{path.name} cannot be read: {reason}", "make it a readable UTF-8 file") from None


def _from_table(table: Any, source: str, environment: Mapping[str, str]) -> _Level:
    if not isinstance(table, dict):
        raise ConfigError(f"{source} is not a table", "write it as [tool.poolctl] with keys below")
    flat = {key: value for key, value in table.items() if key != THRESHOLDS}
    thresholds = table.get(THRESHOLDS, {})
    if not isinstance(thresholds, dict):
        raise ConfigError(f"{source}: {THRESHOLDS} is not a table", f"write it as [{THRESHOLDS}] with keys below")
    flat |= {f"{THRESHOLDS}.{name}": value for name, value in thresholds.items()}
    level = {}
    for key, raw in flat.items():
        place = f"{source}: {key}"
        if key not in _READERS:
            raise ConfigError(f"{place}: no such key", _nearest(key))
        value, variables = _expand(raw, place, environment)
        said = f"{source} through {', '.join(variables)}" if variables else source
        level[key] = _Said(_read(_READERS[key], value, place), said)
    return level


def _expand(value: Any, place: str, environment: Mapping[str, str]) -> tuple[Any, list[str]]:
    """Put the environment's values where a text says `${NAME}`; `$${` stands for a literal `${`."""
    if isinstance(value, list):
        parts = [_expand(item, place, environment) for item in value]
        return [part for part, _ in parts], [name for _, names in parts for name in names]
    if not isinstance(value, str):
        return value, []
    used: list[str] = []

    def replace(match: re.Match[str]) -> str:
        if match[0].startswith("$$"):
            return match[0][1:]
        if match[1] not in environment:
            raise ConfigError(f"{place}: the environment has no {match[1]}", f"set {match[1]}, or write the value out")
        used.append(match[0])
        return environment[match[1]]

    return re.sub(r"\$?\$\{([^}]*)\}", replace, value), used


def _from_environment(environment: Mapping[str, str], notes: list[str]) -> _Level:
    level = {}
    known = {PREFIX + key.upper().replace(".", "_"): key for key in _READERS}
    for name in sorted(environment):
        if name in known and environment[name].strip():
            key, source = known[name], f"environment {name}"
            texts = [part.strip() for part in environment[name].split(";") if part.strip()]
            value = texts if _READERS[key] is values.texts else environment[name].strip()
            level[key] = _Said(_read(_READERS[key], value, source, from_text=True), source)
        elif name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name[len(PREFIX) :], [other[len(PREFIX) :] for other in known], 1)
            if near:
                notes.append(f"the environment's {name} means nothing to poolctl: did you mean {PREFIX}{near[0]}?")
    return level


def _read(reader: values.Reader, value: Any, place: str, *, from_text: bool = False) -> Any:
    try:
        if from_text and reader in values.TEXT_FORMS:
            value = values.TEXT_FORMS[reader](value, place)
        return reader(value, place)
    except UsageError as error:
        raise ConfigError(error.message, error.hint) from None


def _choose_target(levels: list[_Level], notes: list[str]) -> dict[str, list[_Said]]:
    """Take out and return what is displaced: `url` and `engine` are one choice, made by the highest source."""
    for rank, level in enumerate(levels):
        if "url" in level and "engine" in level:
            where = level["url"].source
            kind = UsageError if where == COMMAND_LINE else ConfigError
            raise kind(f"{where}: url and engine name two targets", "keep one of them")
        for key, other in (("url", "engine"), ("engine", "url")):
            if key in level:
                lost = [lower.pop(other) for lower in levels[rank + 1 :] if other in lower]
                notes.extend(f"{key} ({level[key].source}) shadows {other} ({said.source})" for said in lost)
                return {other: lost}
    return {}


def _merge(levels: list[_Level], displaced: dict[str, list[_Said]]) -> tuple[dict[str, Any], list[Effective]]:
    defaults = {field.name: field.default for field in dataclasses.fields(Settings)}
    defaults |= {f"{THRESHOLDS}.{_bare(field.name)}": field.default for field in dataclasses.fields(Policy)}
    chosen, effective = {}, []
    for key in _READERS:
        said = [level[key] for level in levels if key in level] or [_Said(defaults[key], DEFAULT)]
        chosen[key] = said[0].value
        overruled = said[1:] + displaced.get(key, [])
        shadowed = tuple((lower.source, redact_value(key, lower.value)) for lower in overruled)
        effective.append(Effective(key, redact_value(key, said[0].value), said[0].source, shadowed))
    return chosen, effective


def _refuse_crossed(policy: Policy, effective: list[Effective]) -> None:
    sources = {row.key: row.source for row in effective}
    for name in _names(Policy):
        higher = name.replace("_warning", "_alert")
        low, high = getattr(policy, name), getattr(policy, higher)
        if low > high:
            key = f"{THRESHOLDS}.{_bare(name)}"
            raise ConfigError(
                f"{key} = {low:g} ({sources[key]}) lies above {_bare(higher)} = {high:g}", "raise the alert as well"
            )


def _names(kind: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _bare(name: str) -> str:
    return name.removesuffix("_s")


def _nearest(key: str) -> str:
    table, _, _name = key.rpartition(".")
    known = [other for other in _READERS if other.startswith(f"{THRESHOLDS}.") == bool(table)]
    near = difflib.get_close_matches(key.replace("-", "_"), known, 1)
    return f"did you mean {near[0]!r}?" if near else f"the keys are: {', '.join(known)}"


_READERS: dict[str, values.Reader] = {
    "url": values.text,
    "engine": values.text,
    "proxy": values.text,
    "proxy_log": values.text,
    "pool_size": values.NATURAL,
    "max_overflow": values.OR_UNLIMITED,
    "pool_timeout": values.duration,
    "pool_recycle": values.recycle,
    "pre_ping": values.flag,
    "lifo": values.flag,
    "allow_writes": values.flag,
    "yes": values.flag,
    "duration": values.duration,
    "window": values.window,
    "rate": values.rate,
    "seed": values.NATURAL,
    "processes": values.POSITIVE,
    "slo": values.texts,
    "fail_on": values.one_of(*SEVERITIES),
    "baseline": values.text,
    "inconclusive": values.one_of("pass", "fail"),
    "format": values.one_of(*FORMATS),
    "report": values.texts,
    "runs_dir": values.text,
    "otlp": values.text,
    **{f"{THRESHOLDS}.{_bare(name)}": values.threshold(name) for name in _names(Policy)},
}
"""Every key, in the order it is shown in, and what reads its value: raises UsageError, naming the place."""
