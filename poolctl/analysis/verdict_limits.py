"""Verdict limits: from where on a number speaks for a verdict. Shares are of 1, times in seconds."""

NESTED_SHARE = 0.3
"""Of the connections held while anybody waited, held by tasks that waited for another."""
LEAKED_SHARE = 0.3
"""Of the capacity, leaked when requests timed out."""
STARVED_SHARE = 0.5
"""Of the waiting: with a connection free, or while the process itself stood still or had no moment to spare."""
UNHEARD_SHARE = 0.5
"""Of what the processes take for SQL, with the server idle: the answers wait for the process."""
STALLED_TIME = 0.1
"""Of the time, with an event loop that stands still, or without a processor: too much although nobody waited."""
DENIED_TIME = 0.05
"""Of the time, in which a loop was ready to run and the machine had no processor for it: what was seen is less sure."""
LOCK_SHARE = 0.3
"""Of the server's busy sessions, waiting for a lock."""
LOCK_WANTED = 0.85
"""Of the time that one row lock is wanted, where only the trace tells (`limits.NEAR`)."""
SLOWER_SHARE = 0.5
"""Of the growth in connections in use, by longer holds rather than by more requests."""
NO_SLOWER = 1.2
SQL_SHARE = 0.5
"""Of the hold: above it the database decides how long connections are held."""
IDLE_SHARE = 0.5
"""Of the hold: above it connections are held idle, where nothing says that the load grew."""
VERY_IDLE_SHARE = 0.8
"""Of the hold: so much idling is the defect, whatever the load does."""
SLOW_STATEMENT_S = 0.2
"""Mean time of a statement (as long as the alert of acquire_time) …"""
SLOW_TIMES = 5.0
"""… and so many times the mean of the other sites' statements: one slow query, not a busy pool."""
CLEAR = 1.3
"""A number this many times its limit is no close call."""
