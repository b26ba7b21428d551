"""Log echoes: messages that two handlers wrote (`echo_pool="debug"` adds one of its own to those of the application).

In: what was said of which connection, when. Out: whether that is the same message again. Two formats may tell the time
with different precision, so the instants need not be equal.
"""

from __future__ import annotations

from collections import OrderedDict

from poolctl.target.log_messages import Key, What

TWICE_NS = 20_000_000
"""The same said of the same connection within this time, and nothing else in between, is one message, twice."""
MOST_CLOSED = 256
"""Connections that are remembered a little beyond their end."""

Place = tuple[int, Key]
"""A process and a connection in it."""
Word = tuple[What, int]
"""What was said, and when."""

SILENCE: Word = (What.OTHER, 0)


class Echoes:
    """What was said last."""

    def __init__(self) -> None:
        self.count = 0
        """Messages that were said again."""
        self._closed: OrderedDict[Place, Word] = OrderedDict()
        self._plain: tuple[str, int] = ("", 0)

    def again(self, last: Word, what: What, at: int) -> bool:
        """Whether a connection's last word is said once more."""
        found = last[0] is what and abs(at - last[1]) <= TWICE_NS
        self.count += found
        return found

    def last_of(self, place: Place) -> Word:
        """Return the last word about a connection that is no more."""
        return self._closed.get(place, SILENCE)

    def close(self, place: Place, what: What, at: int) -> None:
        """Remember the last word about a connection."""
        self._closed[place] = (what, at)
        self._closed.move_to_end(place)
        if len(self._closed) > MOST_CLOSED:
            self._closed.popitem(last=False)

    def plain_again(self, said: str, at: int) -> bool:
        """Whether a message that names no connection is said once more, in a log where others are, too."""
        found = self.count > 0 and said == self._plain[0] and abs(at - self._plain[1]) <= TWICE_NS
        self._plain = (said, at)
        self.count += found
        return found
