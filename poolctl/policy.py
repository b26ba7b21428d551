"""Policy: from where on something is worth a warning or an alert.

In: nothing. Out: one frozen record, its defaults FIELD.md section 2, every figure open to configuration.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """The thresholds of FIELD.md section 2. In TOML `[thresholds]`, without the `_s`: times as `50ms`, shares as `85%`.

    At or below the first of a pair is healthy; above it a warning; above the second an alert.
    """

    checkout_hook_warning_s: float = 0.005
    """Ping and listeners on checkout, without the queue."""
    checkout_hook_alert_s: float = 0.015
    acquire_time_warning_s: float = 0.050
    acquire_time_alert_s: float = 0.200
    checkin_time_warning_s: float = 0.002
    """Reset and hooks on return."""
    checkin_time_alert_s: float = 0.010
    hold_time_warning_s: float = 30.0
    hold_time_batch_s: float = 120.0
    """Up to here a hold above the warning is tolerated, for batch work only."""
    hold_time_alert_s: float = 300.0
    hold_time_objective_s: float = 30.0
    """What the p95 of hold_time is held to where no objective says it (`--slo "p95 hold < 2s"`)."""
    caller_timeout_s: float = math.inf
    """After so long callers give up, whatever the pool does. Infinite: not known."""
    active_ratio_low: float = 0.3
    """Active ÷ open below this: oversized."""
    active_ratio_warning: float = 0.6
    active_ratio_alert: float = 0.85
    leaks_per_minute_warning: float = 0.0
    leaks_per_minute_alert: float = 3.0
    validation_failure_warning: float = 0.001
    """Share of pre-pings that fail."""
    validation_failure_alert: float = 0.01
    overflow_warning: float = 0.2
    """Overflow in use ÷ max_overflow."""
    overflow_alert: float = 1.0
    """Reached, not exceeded: the overflow is used up."""
    long_hold_quantile: float = 0.95
    """Leases above this quantile of hold_time are listed with their site."""
