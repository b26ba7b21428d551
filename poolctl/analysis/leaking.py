"""Leaking: from when on a lease that is still open counts as never returned.

In: a View. Out: a threshold for each lease, and which of them outlived the operation that took them. Judges nothing.

An absolute limit would call every long hold a leak, or miss every leak in a short window. So the measure is what the
line itself did before: three times its longest finished hold. A line that never finished a hold has no such measure:
there the policy's warning threshold stands, unless the server shows that its connection is idle: then nobody uses it,
and three times the longest finished hold of all lines is long enough.
"""

from __future__ import annotations

import numpy as np

from poolctl.analysis.sweep import Floats
from poolctl.analysis.view import LEAK_FLOOR_S, LEAK_TIMES, Bools, View


def leak_threshold_s(view: View) -> Floats:
    """Return for each lease how long it may stay open before it counts as leaked."""
    by_site = np.maximum(LEAK_TIMES * _longest_of_site(view), LEAK_FLOOR_S)
    unknown = np.isnan(by_site)
    by_site[unknown] = view.policy.hold_time_warning_s
    if (unknown & view.open).any():
        longest = float(np.nanmax(view.column("hold_time_s"), initial=0.0))
        unused = unknown & _idle_on_server(view)
        by_site[unused] = min(max(LEAK_TIMES * longest, LEAK_FLOOR_S), view.policy.hold_time_warning_s)
    return np.minimum(by_site, view.policy.hold_time_alert_s)


def _longest_of_site(view: View) -> Floats:
    """For each lease the longest finished hold of its site; NaN where the site never finished one."""
    site, names = view.codes("site")
    longest = np.full(len(names) + 1, -1.0)
    np.maximum.at(longest, site, np.nan_to_num(view.column("hold_time_s"), nan=-1.0))
    found: Floats = longest[site]
    return np.where(found < 0, np.nan, found)


def _idle_on_server(view: View) -> Bools:
    """Which open leases the server showed idle, in a transaction or not, when it showed them last."""
    from poolctl.analysis.sessions import Sessions

    found, seen = np.zeros(len(view.open), np.bool_), Sessions(view)
    for at_s, sample in seen.within:
        for pid, backend in seen.backends(sample).items():
            lease = seen.lease_of(pid, at_s)
            if lease is not None and view.open[lease]:
                found[lease] = str(backend.get("state") or "").startswith("idle")
    return found


def outlived(view: View) -> Bools:
    """Return which leases are open although the operation that made them is over: nobody can give them back."""
    found = np.zeros(len(view.open), np.bool_)
    candidates = np.flatnonzero(view.open & ~np.isnan(view.column("intended_at_s")))
    if not len(candidates):
        return found
    intended, item = view.column("intended_at_s")[candidates], view.whole("item")[candidates]
    operations = view.tables.operations
    over = operations[operations["ended_at_s"].notna() & operations["intended_at_s"].isin(intended)]
    known = set(zip(over["intended_at_s"].tolist(), over["item"].tolist(), strict=True))
    found[candidates] = [pair in known for pair in zip(intended.tolist(), item.tolist(), strict=True)]
    return found
