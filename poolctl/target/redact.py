"""`redact` and `scrub` where the target layer's users look for them; the configuration below needs them as well."""

from __future__ import annotations

from poolctl.redact import redact, scrub

__all__ = ["redact", "scrub"]
