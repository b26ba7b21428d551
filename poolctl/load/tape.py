"""Tape: what will be done and when, drawn from the seed before the run.

In: a scenario, a seed, and for an open model a rate and a duration. Out: intended instants and work items; the same
seed gives the same tape, whatever the number of processes that play it, and a shorter tape is the beginning of a
longer one. Knows no clock and no database.

Every quantity has a random stream of its own (PCG64, seeded with the seed and a hash of the quantity's name), so that a
parameter added to one transaction changes nothing else.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from poolctl.clock import NS
from poolctl.errors import InputError, UsageError
from poolctl.load.arrivals import CHUNK, Arrivals, Closed
from poolctl.load.scenario import Scenario, Transaction

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from poolctl.load.arrivals import Source

BLOCK = 256
"""Work items of a client drawn at once. Part of the tape's meaning, as it bounds what the digest covers."""


@dataclass(frozen=True, slots=True)
class Work:
    """One work item."""

    item: int
    """Its number, from 0: on the tape, or in its client's loop."""
    transaction: Transaction
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class OpenTape:
    """An open model's tape: work item i is due at `due_ns[i]`."""

    due_ns: NDArray[np.int64]
    """Intended instants, nanoseconds from the start of the load, ascending."""
    work: list[Work]
    duration_s: float

    def __len__(self) -> int:
        return len(self.work)

    @property
    def offered_per_s(self) -> float:
        """Arrivals per second over the duration."""
        return len(self.work) / self.duration_s

    def shard(self, part: int, of: int) -> tuple[list[int], list[Work]]:
        """Return the instants and items of one of `of` equal shares, `part` counted from 0."""
        return self.due_ns[part::of].tolist(), self.work[part::of]

    def digest(self) -> str:
        """Return the SHA-256 of all instants and items: equal for equal tapes, and only for them."""
        digest = hashlib.sha256(self.due_ns.astype("<i8").tobytes())
        for first in range(0, len(self.work), CHUNK):
            _add(digest, self.work[first : first + CHUNK])
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class ClosedTape:
    """A closed model's tape: an endless row of work items for each client; how many are done, the run decides."""

    scenario: type[Scenario]
    model: Closed
    seed: int

    def client(self, client: int) -> Iterator[tuple[Work, float]]:
        """Yield the client's work items, each with the seconds to think after it."""
        mixer = _Mixer(self.scenario, self.seed, f"client {client}")
        pauses = _stream(self.seed, f"client {client}", "think")
        while True:
            yield from zip(mixer.draw(BLOCK), self.model.think.values(pauses(BLOCK)), strict=True)

    def digest(self) -> str:
        """Return the SHA-256 of every client's first block."""
        digest = hashlib.sha256(struct.pack("<I", self.model.clients))
        for client in range(self.model.clients):
            rows = list(islice(self.client(client), BLOCK))
            _add(digest, [work for work, _ in rows])
            digest.update(struct.pack(f"<{BLOCK}d", *(pause for _, pause in rows)))
        return digest.hexdigest()


def draw(scenario: type[Scenario], seed: int, duration_s: float, rate: float | None = None) -> OpenTape | ClosedTape:
    """Draw the scenario's tape. `rate` (per second) scales an open model; UsageError for a closed one."""
    arrivals = scenario.arrivals
    if isinstance(arrivals, Closed):
        if rate is not None:
            raise UsageError(
                f"{scenario.__name__} is a closed model ({arrivals}): it has no rate to set",
                "leave --rate out, or change its clients",
            )
        return ClosedTape(scenario, arrivals, seed)
    import numpy as np

    shape: Arrivals = arrivals if rate is None else arrivals.at_rate(rate)
    seconds = shape.instants(_stream(seed, "arrivals"), duration_s)
    names = shape.names()
    mixer = _Mixer(scenario, seed)
    work = mixer.draw(len(seconds), names[: len(seconds)] if names else None)
    return OpenTape(np.rint(seconds * NS).astype(np.int64), work, duration_s)


class _Mixer:
    """Draws work items one block after another: which transaction, and its parameters."""

    def __init__(self, scenario: type[Scenario], seed: int, *whose: str) -> None:
        import numpy as np

        self._scenario = scenario
        self._transactions = list(scenario.transactions)
        weights = np.array([one.weight for one in self._transactions], dtype=np.float64)
        self._edges = np.cumsum(weights) / weights.sum()
        self._pick = _stream(seed, *whose, "transaction")
        self._streams = {
            (one.name, key): _stream(seed, *whose, one.name, key)
            for one in self._transactions
            for key in one.parameters
        }
        self._drawn = 0

    def draw(self, count: int, names: list[str] | None = None) -> list[Work]:
        """Return the next `count` items; `names` says which transactions, else the weights do."""
        import numpy as np

        if names is None:
            kinds = np.searchsorted(self._edges, self._pick(count), side="right").clip(max=len(self._transactions) - 1)
        else:
            kinds = np.array([self._index(name) for name in names], dtype=np.int64)
        counts = np.bincount(kinds, minlength=len(self._transactions)).tolist()
        rows = [self._rows(one, n) for one, n in zip(self._transactions, counts, strict=True)]
        first, self._drawn = self._drawn, self._drawn + count
        transactions = self._transactions
        return [
            Work(item, transactions[kind], next(rows[kind])) for item, kind in enumerate(kinds.tolist(), start=first)
        ]

    def _rows(self, one: Transaction, count: int) -> Iterator[dict[str, Any]]:
        if not one.parameters:
            return iter([{} for _ in range(count)])
        columns = [spec.values(self._streams[one.name, key](count)) for key, spec in one.parameters.items()]
        keys = tuple(one.parameters)
        return (dict(zip(keys, row, strict=True)) for row in zip(*columns, strict=True))

    def _index(self, name: str) -> int:
        for index, one in enumerate(self._transactions):
            if one.name == name:
                return index
        known = ", ".join(one.name for one in self._transactions)
        raise InputError(
            f"the arrivals file asks for transaction {name!r}, which {self._scenario.__name__} does not have",
            f"it has {known}",
        )


def _stream(seed: int, *names: str) -> Source:
    import numpy as np

    key = int.from_bytes(hashlib.sha256("\0".join(names).encode()).digest()[:8], "little")
    return np.random.Generator(np.random.PCG64([seed, key])).random


def _add(digest: Any, work: list[Work]) -> None:
    rows = [(one.item, one.transaction.name, one.parameters) for one in work]
    digest.update(json.dumps(rows, default=repr, sort_keys=True).encode())
