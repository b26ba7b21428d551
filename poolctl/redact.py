"""Secrets out of what people are shown.

In: URLs, messages and configured values, well-formed or not. Out: the same text with `***` where a secret was.
Knows no driver: a URL that cannot be parsed may still hold a password, so nothing here parses one.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

MASK = "***"

_NAMES = r"(?:password|passwd|passphrase|pwd|secret|token|api_?key|access_?key)"
_SECRET_KEY = re.compile(_NAMES, re.IGNORECASE)

# A whole URL, perhaps a broken one: with an unencoded `@`, `/` or blank inside the password, or without its scheme.
_USERINFO = re.compile(
    r"^(?P<head>\s*(?:[a-z][\w+.-]*:/+[^\s:/?#@]*:|[^\s:/?#@]*:(?!//)))(?P<secret>.*)(?=@)", re.IGNORECASE | re.DOTALL
)
_PARAMETER = re.compile(rf"(?P<head>[?&;][\w-]*{_NAMES}[\w-]*=)(?P<secret>[^&#]*)", re.IGNORECASE)

# The same inside a sentence, where a blank ends the URL.
_USERINFO_IN_TEXT = re.compile(r"(?P<head>\b[a-z][\w+.-]*://[^\s:/?#@]*:)(?P<secret>\S*)(?=@)", re.IGNORECASE)
_PARAMETER_IN_TEXT = re.compile(
    rf"(?P<head>\b[\w-]*{_NAMES}[\w-]*\s*=\s*)(?P<secret>'[^']*'|\"[^\"]*\"|[^\s&;,'\"]+)", re.IGNORECASE
)


def redact(url: str) -> str:
    """Return `url` without its secrets: the password before the host, and parameters named like one.

    Errs on the side of hiding: with an `@` further on, everything up to the last `@` goes.
    """
    return _PARAMETER.sub(_mask, _USERINFO.sub(_mask, url))


def secrets_in(url: str) -> set[str]:
    """Return the secrets that `redact` hides in `url`, as written and percent-decoded."""
    found = {match["secret"] for rule in (_USERINFO, _PARAMETER) for match in rule.finditer(url)}
    return {form for secret in found for form in (secret, unquote(secret)) if form}


def scrub(text: str, url: str | None = None) -> str:
    """Return a message of a driver or library in one line, without the secrets of `url` and without any URL's own."""
    line = text
    for secret in sorted(secrets_in(url or ""), key=len, reverse=True):
        # A short secret ("db") is also a part of ordinary words: hide it only where it stands alone.
        edge = r"(?<!\w)%s(?!\w)" if len(secret) < 6 else "%s"
        line = re.sub(edge % re.escape(secret), MASK, line)
    line = " ".join(line.split())
    return _PARAMETER_IN_TEXT.sub(_mask, _USERINFO_IN_TEXT.sub(_mask, line))


def _mask(match: re.Match[str]) -> str:
    return match["head"] + MASK


def redact_value(key: str, value: object) -> object:
    """Return a configured value as it may be shown: `***` when its key names a secret, URLs redacted."""
    if isinstance(value, str):
        return MASK if _SECRET_KEY.search(key) else redact(value)
    if isinstance(value, list | tuple):
        return [redact_value(key, item) for item in value]
    return value
