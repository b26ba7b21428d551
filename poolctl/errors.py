"""The one error tree: raised low, rendered once by the CLI's error boundary.

Every error is a message (what was wrong, where, what was expected) and a hint (what to do next). The class
carries the exit code of DESIGN.md section 3. No message may hold a secret: pass URLs through
`poolctl.redact` first.
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes that a user may rely on."""

    DONE = 0
    GATE_FAILED = 1
    USAGE = 2
    TARGET = 3
    INCONCLUSIVE = 4
    BUG = 70
    INTERRUPTED = 130


class PoolctlError(Exception):
    """Something the user can act on; never a bug in poolctl."""

    exit_code = Exit.USAGE

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        """What was wrong, where, and what was expected: one line, no secrets."""
        self.hint = hint
        """What to do next: one line, or empty."""


class UsageError(PoolctlError):
    """The command line or a setting cannot work."""


class ConfigError(PoolctlError):
    """A configuration file cannot be read or says something impossible."""


class InputError(PoolctlError):
    """A file the user named (scenario, run, trace, log) is missing, unreadable or malformed."""


class OutputError(PoolctlError):
    """A result cannot be written: full disk, missing permission, a file that is already there."""


class TargetError(PoolctlError):
    """The database or the process cannot be reached, or was lost on the way."""

    exit_code = Exit.TARGET
