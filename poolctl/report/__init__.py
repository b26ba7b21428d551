"""Report -> text. One module a format, each with one function `render(report, style) -> str`; this is their registry.

A format in which several reports are more than one after another has `render_all(reports, style)` too, and one that
needs an extra `require()`.

In: a `Report` or a `Comparison` (`poolctl.trace`). Out: text. Nothing here computes a statistic, reads a run or prints.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

from poolctl.errors import UsageError
from poolctl.report.style import Style
from poolctl.trace.comparison import Comparison
from poolctl.trace.report import Report

FORMATS = {
    "console": "poolctl.report.console",
    "json": "poolctl.report.json_document",
    "markdown": "poolctl.report.markdown",
    "html": "poolctl.report.html",
    "junit": "poolctl.report.junit",
    "github": "poolctl.report.github",
    "openmetrics": "poolctl.report.openmetrics",
}
"""Format -> the module that writes it."""

COMPARISONS = {
    "console": "poolctl.report.comparison_console",
    "json": "poolctl.report.comparison_json",
    "markdown": "poolctl.report.comparison_markdown",
    "html": "poolctl.report.html",
    "junit": "poolctl.report.junit",
    "github": "poolctl.report.github",
    "openmetrics": "poolctl.report.openmetrics",
}
"""Format -> the module that writes a comparison in it."""

ENDINGS = {
    ".txt": "console",
    ".json": "json",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".xml": "junit",
    ".annotations": "github",
    ".prom": "openmetrics",
}
"""Ending of a file -> its format."""


def render(report: Report, format: str, *, width: int = 100, color: bool = False) -> str:  # noqa: A002 - the option's name
    """Return `report` as text that ends with a newline. Raises UsageError when there is no such format."""
    module = importlib.import_module(FORMATS[check_format(format)])
    text: str = module.render(report, Style(width=width, color=color))
    return text


def render_all(reports: Sequence[Report], format: str, *, width: int = 100, color: bool = False) -> str:  # noqa: A002
    """Return one report as it is, several as one document of the format. Raises UsageError as `render` does."""
    if len(reports) == 1:
        return render(reports[0], format, width=width, color=color)
    write = getattr(importlib.import_module(FORMATS[check_format(format)]), "render_all", None)
    if write is not None:
        text: str = write(reports, Style(width=width, color=color))
        return text
    return "\n\n".join(render(report, format, width=width, color=color) for report in reports)


def render_comparison(comparison: Comparison, format: str, *, width: int = 100, color: bool = False) -> str:  # noqa: A002
    """Return `comparison` as text that ends with a newline. Raises UsageError when there is no such format."""
    module = importlib.import_module(COMPARISONS[check_format(format)])
    write = getattr(module, "render_comparison", None) or module.render
    text: str = write(comparison, Style(width=width, color=color))
    return text


def ready(name: str) -> None:
    """Raise UsageError when `name` is no format, or one that needs what is not installed."""
    require = getattr(importlib.import_module(FORMATS[check_format(name)]), "require", None)
    if require is not None:
        require()


def check_format(name: str) -> str:
    """Return `name` when it is a format. Raises UsageError, naming those that are."""
    if name not in FORMATS:
        raise UsageError(f"no format {name!r}", f"the formats are {', '.join(FORMATS)}")
    return name


def format_of(path: Path) -> str:
    """Return the format that the ending of `path` names. Raises UsageError when it names none."""
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        problem = f"the ending {ending!r} names no format" if ending else "it has no ending to name the format"
        raise UsageError(f"cannot write a report to {path}: {problem}", f"end it in {', '.join(ENDINGS)}")
    return ENDINGS[ending]
