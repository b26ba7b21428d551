"""Rules of thumb: what people set without a model, and what the model predicts for each.

In: the demand, the search. Out: one row a rule. Nothing here is a recommendation. Sources: FIELD.md sections 3 and 4,
HikariCP's "About Pool Sizing" (cores × 2 + spindles), Little's law with square-root staffing (Halfin and Whitt 1981),
Erlang C on mean rate and mean hold, and growth until nobody waits long, as FlexyPool does.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np

from poolctl.analysis.demand import Demand
from poolctl.analysis.goals import pooled
from poolctl.analysis.predict import predict
from poolctl.analysis.search import Search
from poolctl.analysis.theory import erlang_c_size, square_root_staffing
from poolctl.trace.report import RuleOfThumb


def rules_of_thumb(
    search: Search, demands: Sequence[Demand], least: int, cores: float | None = None
) -> list[RuleOfThumb]:
    """Return each rule with the model's prediction for it, per process and with the same processes."""
    limit = min((goal.limit for goal in search.goals if goal.on_time), default=0.05)
    count = len(demands)
    at = pooled([demand.at_s for demand in demands])
    span = max(float(at.max() - at.min()), 1e-9)
    hold = float(np.mean(pooled([demand.marks.hold_s[demand.mark] for demand in demands])))
    offered = len(at) / span * hold / count
    machine = cores or os.cpu_count() or 1
    rules = {
        "SQLAlchemy's default": (5, 10),
        "overflow half of pool_size": (max(2, least), max(1, least // 2)),
        f"HikariCP: {machine:.0f} cores × 2 + 1": (max(1, math.ceil((2 * machine + 1) / count)), 0),
        "Little + √: mean rate × mean hold": (square_root_staffing(offered), 0),
        "Erlang C: mean rate and mean hold": (erlang_c_size(offered, hold, 0.95, limit), 0),
        "grow until nobody waits longer than the objective": (_without_long_waits(search, demands, least, limit), 0),
    }
    return [RuleOfThumb(rule, predict(search, demands, *size)) for rule, size in rules.items()]


def _without_long_waits(search: Search, demands: Sequence[Demand], least: int, limit: float) -> int:
    size = least
    while size < 4 * least + 8:
        if max(float(outcome.wait_s.max(initial=0)) for outcome in search.at(demands, size)) <= limit:
            break
        size += 1
    return size
