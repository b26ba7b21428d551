"""Growth: demands made from a demand: more of it, and parts of it.

In: a demand. Out: another one, without what was measured of the first. Time is never compressed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from poolctl.analysis.demand import Demand
from poolctl.analysis.pool_rules import Floats, Ints


def grow(demand: Demand, factor: float, random: np.random.Generator, jitter_s: float = 0.05) -> Demand:
    """Return the demand with arrivals × factor (≥ 1): duplicated with a jitter, never compressed.

    Compressing time would sharpen bursts and shorten them alike; duplicates keep their shape (notes: p95 up to 17 %
    low otherwise). The copies do what another lease of the same site and context did. Of a closed loop whole clients
    are duplicated, so that the copies wait for their answers too.
    """
    if demand.client is not None:
        return _grow_clients(demand, demand.client, factor, random, jitter_s)
    whole, part = divmod(factor - 1, 1)
    count = len(demand.at_s)
    copies = np.repeat(np.arange(count), int(whole) + (random.random(count) < part))
    moved = np.maximum(demand.at_s[copies] + random.uniform(-jitter_s, jitter_s, len(copies)), 0)
    at = np.concatenate([demand.at_s, moved])
    mark = np.concatenate([demand.mark, demand.marks.like(demand.mark[copies], random)])
    order = np.argsort(at, kind="stable")
    return replace(demand.blank(), at_s=at[order], mark=mark[order])


def _grow_clients(demand: Demand, client: Ints, factor: float, random: np.random.Generator, jitter_s: float) -> Demand:
    names = np.unique(client)
    twins = random.permutation(np.tile(names, int(np.ceil(factor))))[: round((factor - 1) * len(names))]
    at, ended, mark, owner = [demand.at_s], [demand.ended_s], [demand.mark], [client]
    for number, twin in enumerate(twins.tolist()):
        theirs = np.flatnonzero(client == twin)
        shift = abs(random.uniform(-jitter_s, jitter_s))
        at.append(demand.at_s[theirs] + shift)
        ended.append(demand.ended_s[theirs] + shift)
        mark.append(demand.marks.like(demand.mark[theirs], random))
        owner.append(np.full(len(theirs), int(names.max()) + 1 + number))
    order = np.argsort(np.concatenate(at), kind="stable")
    return replace(
        demand.blank(),
        at_s=np.concatenate(at)[order],
        ended_s=np.concatenate(ended)[order],
        mark=np.concatenate(mark)[order],
        client=np.concatenate(owner)[order],
    )


def cut(demand: Demand, windows: Sequence[tuple[float, float, float]]) -> Demand:
    """Return the requests inside the windows (from, to, moved to), in order.

    What a bootstrap and a quarter are made of. A closed loop loses its clients: its instants are taken as they were.
    """
    parts: list[tuple[Floats, Ints]] = []
    for low, high, target in windows:
        first, last = np.searchsorted(demand.at_s, [low, high])
        parts.append((demand.at_s[first:last] - low + target, demand.mark[first:last]))
    empty: tuple[Any, Any] = (np.empty(0), np.empty(0, dtype=np.int64))
    at, mark = (np.concatenate(part) for part in zip(*(parts or [empty]), strict=True))
    return replace(demand.blank(), at_s=at, mark=mark)
