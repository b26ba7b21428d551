"""What queueing theory says: the known answers that the pool model is held to, and rules of thumb are made of.

In: rates and times in seconds. Out: probabilities, mean waits, quantiles. Knows nothing of traces or pools.
`offered` is the offered load in erlangs: arrival rate × mean hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Patience = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]


def erlang_c(servers: int, offered: float) -> float:
    """Return the probability that a request waits in M/M/c (Erlang 1917); 1.0 from saturation on."""
    if offered >= servers:
        return 1.0
    blocked = 1.0
    for server in range(1, servers + 1):  # Erlang B by its recursion: no factorials to overflow
        blocked = offered * blocked / (server + offered * blocked)
    return blocked / (1 - offered / servers * (1 - blocked))


def mmc_mean_wait(servers: int, offered: float, hold_s: float) -> float:
    """Return the mean wait in M/M/c, seconds; infinite from saturation on."""
    return math.inf if offered >= servers else erlang_c(servers, offered) * hold_s / (servers - offered)


def mmc_wait_quantile(servers: int, offered: float, hold_s: float, quantile: float) -> float:
    """Return the quantile of the wait in M/M/c, seconds: P(W > t) = C · exp(−(c − a) t / hold)."""
    if offered >= servers:
        return math.inf
    waits = erlang_c(servers, offered)
    return 0.0 if waits <= 1 - quantile else math.log(waits / (1 - quantile)) * hold_s / (servers - offered)


def mdc_mean_wait(servers: int, offered: float, hold_s: float) -> float:
    """Return the mean wait in M/D/c, seconds, exactly (Crommelin 1932).

    Seen at instants one hold apart the number in the system is a Markov chain: all in service leave, Poisson(a) come.
    Its stationary distribution is found by iteration; Little's law turns the mean queue into the mean wait.
    """
    if offered >= servers:
        return math.inf
    states = int(servers + 20 + 40 / (1 - offered / servers))
    counts = np.arange(states)
    logs = np.cumsum(np.concatenate([[0.0], np.log(counts[1:])]))
    come = np.exp(counts * math.log(offered) - offered - logs)
    left = np.maximum(counts - servers, 0)
    step = np.zeros((states, states))
    for state in range(states):
        step[state, left[state] :] = come[: states - left[state]]
    step /= step.sum(axis=1, keepdims=True)
    for _ in range(12):  # squaring: 2^12 holds
        step = step @ step
    queue = float(step[0] @ left)
    return queue * hold_s / offered


def mmc_patience(servers: int, rate: float, hold_s: float, survives: Patience) -> tuple[float, float]:
    """Return (share that gives up, mean wait of all in seconds) in M/M/c with patience.

    `survives(x)` is ∫₀ˣ P(patience > u) du in seconds for an array of offered waits x; so exponential patience gives
    Erlang A and a fixed pool_timeout gives M/M/c+D (Zeltyn and Mandelbaum 2005, section 3): the density of the offered
    wait is proportional to exp(λ·survives(x) − c·µ·x).
    """
    offered = rate * hold_s
    waits = np.linspace(0.0, 60 * hold_s * (1 + 7 / servers), 400_001)
    lasted = survives(waits)
    weight = np.exp(np.minimum(rate * lasted - servers * waits / hold_s, 700))
    step = float(waits[1])
    blocked = 1.0
    for server in range(1, servers):
        blocked = offered * blocked / (server + offered * blocked)
    total = 1.0 / blocked + rate * float(weight.sum()) * step  # relative to "servers − 1 in service"
    patient = np.gradient(lasted, waits)
    gives_up = rate * float(((1 - patient) * weight).sum()) * step / total
    return gives_up, rate * float((lasted * weight).sum()) * step / total


def patience_fixed(timeout_s: float) -> Patience:
    """Return `survives` for a pool_timeout."""
    return lambda waits: np.minimum(waits, timeout_s)


def patience_exponential(mean_s: float) -> Patience:
    """Return `survives` for exponential patience."""
    return lambda waits: mean_s * (1 - np.exp(-waits / mean_s))


def square_root_staffing(offered: float) -> int:
    """Return R + √R, rounded up: Little's law with a margin for randomness (Halfin and Whitt 1981)."""
    return math.ceil(offered + math.sqrt(offered)) if offered > 0 else 1


def erlang_c_size(offered: float, hold_s: float, quantile: float, limit_s: float, most: int = 1_000) -> int:
    """Return the fewest servers whose wait quantile in M/M/c stays under `limit_s`."""
    servers = max(1, math.floor(offered) + 1)
    while servers < most and mmc_wait_quantile(servers, offered, hold_s, quantile) >= limit_s:
        servers += 1
    return servers
