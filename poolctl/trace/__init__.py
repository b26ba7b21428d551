"""The records and the files of a run. Knows nobody above it; `events`, `ring` and `names` are standard library only,
because capture carries them into other people's processes."""

from poolctl.uncompiled import load

load("poolctl.trace.tail")
