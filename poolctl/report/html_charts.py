"""Report or Comparison -> pictures as inline SVG, drawn by matplotlib. Imported only when HTML is asked for.

In: the records as they are. Out: SVG elements for a page of `report.html_page`. Computes no statistic.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from poolctl.analysis.phrases import percent
from poolctl.report.html_canvas import BAD, DOUBT, GOOD, HELD, INK, LINE, SOFT, WAIT, canvas
from poolctl.report.html_page import clean
from poolctl.report.sentences import near
from poolctl.trace.comparison import Against, Measure, Role
from poolctl.trace.report import Outcome, PoolPoint, Prediction, Report, SiteRow
from poolctl.units import format_seconds

SITES = 12
"""Places shown in the picture; the table has all of them."""
SHORTEST_S = 1e-7
"""Where a logarithmic scale begins at the latest."""
FLOOR_S = 0.0005
"""Times below this lie on the axis of a logarithmic scale."""


def pool_over_time(report: Report) -> str:
    """The pool, the queue, what timed out and what arrived, over the run; empty without a time line."""
    points = report.pool.timeline
    if len(points) < 2:
        return ""
    at = [point.at_s for point in points]
    slice_s = at[1] - at[0]
    strips = list(_strips(points, slice_s))
    with canvas(1.9 + 0.95 * len(strips), [2.4, *[1.0] * len(strips)]) as (draw, axes, finish):
        _held(axes[0], report, at, points)
        for ax, (title, values, color) in zip(axes[1:], strips, strict=True):
            ax.fill_between(at, values, step="post", color=color, alpha=0.35, linewidth=0)
            ax.step(at, values, where="post", color=color, linewidth=1.2)
            ax.set_title(title)
            ax.set_ylim(0, max(values) * 1.1 or 1)
        for ax in axes:
            ax.set_xlim(0, max(at[-1] + slice_s, report.run.duration_s))
            ax.yaxis.set_major_locator(draw.ticker.MaxNLocator(3, integer=True))
            ax.xaxis.set_major_formatter(lambda value, _: format_seconds(value))
            ax.label_outer()
        finish("The pool over time: connections in use, requests waiting, time-outs and arrivals")
        return finish.svg


def _held(ax: Any, report: Report, at: list[float], points: list[PoolPoint]) -> None:
    settings = report.target.settings
    held = [point.checked_out for point in points]
    ax.fill_between(at, held, step="post", color=HELD, alpha=0.3, linewidth=0)
    ax.step(at, held, where="post", color=HELD, linewidth=1.4, label="most at once")
    ax.step(at, [p.mean_checked_out for p in points], where="post", color=INK, linewidth=0.8, label="mean")
    capacity = settings.capacity
    top: float = max([*held, 1])
    if capacity is not None and capacity != float("inf"):
        ax.axhline(capacity, color=BAD, linewidth=1.2, linestyle=(0, (4, 3)), label=f"capacity {capacity:g}")
        top = max(top, capacity)
    if settings.pool_size and settings.pool_size != capacity:
        size = settings.pool_size
        ax.axhline(size, color=DOUBT, linewidth=1.0, linestyle=(0, (1, 2)), label=f"pool_size {size}")
    ax.set_ylim(0, top * 1.12)
    ax.set_title("connections in use")
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, fontsize=8, borderaxespad=0.1, handlelength=1.6)


def _strips(points: list[PoolPoint], slice_s: float) -> Iterator[tuple[str, list[float], str]]:
    waiting = [float(point.waiting or 0) for point in points]
    timed_out = [float(point.timed_out) for point in points]
    if any(waiting):
        yield "requests waiting", waiting, WAIT
    if any(timed_out):
        yield "timed out", timed_out, BAD
    if any(point.arrivals for point in points):
        yield "arrivals per second", [point.arrivals / slice_s for point in points], SOFT


def hold_by_site(report: Report) -> str:
    """Where the hold times of each place lie: p50 to p95, p99, maximum; empty where none is known."""
    rows = sorted(report.sites, key=lambda row: -(row.hold_share or 0))
    shown = [row for row in rows if row.hold_time_s.p50][:SITES][::-1]
    if not shown:
        return ""
    with canvas(0.75 + 0.34 * len(shown), [1.0]) as (_, (ax,), finish):
        for place, row in enumerate(shown):
            hold = row.hold_time_s
            known = [value for value in (hold.p50, hold.p90, hold.p95, hold.p99, hold.max) if value]
            p50, top = max(known[0], FLOOR_S), max(*known, FLOOR_S)
            ax.plot([p50, top], [place, place], color=LINE, linewidth=2.5, solid_capstyle="round")
            if hold.p95:
                ax.plot([p50, hold.p95], [place, place], color=HELD, linewidth=7, solid_capstyle="butt", alpha=0.75)
            ax.plot([p50], [place], "|", color=INK, markersize=11, markeredgewidth=1.8)
            if hold.max:
                ax.plot([hold.max], [place], "o", color=SOFT, markersize=3.2)
            if hold.p99:
                ax.plot([hold.p99], [place], "|", color=BAD, markersize=9, markeredgewidth=1.6)
        ax.set_yticks(range(len(shown)), [_place(row) for row in shown], color=INK)
        ax.set_ylim(-0.6, len(shown) - 0.4)
        _log_seconds(ax, "x")
        ax.grid(visible=True, axis="x")
        ax.grid(visible=False, axis="y")
        ax.set_title("hold time: ❙ p50, ▬ to p95, red ❙ p99, ● longest")
        finish("Hold time by transaction and site, p50 to p95, p99 and maximum, on a logarithmic scale")
        return finish.svg


def _place(row: SiteRow, most: int = 44) -> str:
    name = clean(row.context or near(row.site))
    return name if len(name) <= most else f"…{name[1 - most :]}"


def sizing_curve(report: Report) -> str:
    """What the model predicts at each size: p95 wait and response, time-outs; empty with fewer than three sizes."""
    sizing = report.sizing
    shown = sorted(
        (p for p in (sizing.predictions if sizing else []) if p.max_overflow == 0), key=lambda p: p.pool_size
    )
    if len(shown) < 3:
        return ""
    lossy = any(p.timeout_rate for p in shown)
    with canvas(3.1 if lossy else 2.5, [2.2, 1.0] if lossy else [1.0]) as (draw, axes, finish):
        _curves(axes[0], shown)
        if lossy:
            sizes = [p.pool_size for p in shown]
            axes[1].bar(sizes, [100 * p.timeout_rate for p in shown], width=0.6, color=BAD, alpha=0.75)
            axes[1].set_title("requests that time out (%)")
            axes[1].yaxis.set_major_locator(draw.ticker.MaxNLocator(3))
        for ax in axes:
            _marked(ax, report)
            ax.xaxis.set_major_locator(draw.ticker.MaxNLocator(min(len(shown), 14), integer=True))
            ax.set_xlim(shown[0].pool_size - 0.7, shown[-1].pool_size + 0.7)
            ax.label_outer()
        axes[-1].set_xlabel("pool_size, without overflow")
        top = axes[0]
        top.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=6, fontsize=8, borderaxespad=0.1, handlelength=1.6)
        finish("Predicted p95 wait and response time and share of time-outs at each pool size")
        return finish.svg


def _curves(ax: Any, shown: list[Prediction]) -> None:
    known = [p for p in shown if p.wait_time_s.p95 is not None]
    waits = [max(p.wait_time_s.p95 or 0.0, FLOOR_S) for p in known]
    ax.plot([p.pool_size for p in known], waits, color=WAIT, linewidth=1.6, label="p95 wait", zorder=3)
    for meets, color, label in ((True, GOOD, "objective met"), (False, BAD, "missed"), (None, SOFT, None)):
        chosen = [(p.pool_size, wait) for p, wait in zip(known, waits, strict=True) if p.meets is meets]
        if chosen:
            ax.plot(*zip(*chosen, strict=True), "o", color=color, markersize=5, label=label, zorder=4)
    answered = [(p.pool_size, p.response_time_s.p95) for p in shown if p.response_time_s and p.response_time_s.p95]
    if answered:
        ax.plot(*zip(*answered, strict=True), color=SOFT, linewidth=1.2, linestyle=(0, (4, 2)), label="p95 response")
    _log_seconds(ax, "y")
    ax.set_title("predicted time")


def _marked(ax: Any, report: Report) -> None:
    best = report.sizing.recommended if report.sizing else None
    for settings, color, label in ((report.target.settings, DOUBT, "today"), (best, GOOD, "recommended")):
        if settings is not None and settings.pool_size:
            ax.axvline(settings.pool_size, color=color, linewidth=5, alpha=0.25, label=label, zorder=1)


def changes(against: Against, margin: float) -> str:
    """The change of each measure with its interval, and the margin; empty where no ratio is known."""
    rows = [row for row in against.measures if row.ratio and row.ratio > 0][::-1]
    if not rows:
        return ""
    with canvas(0.75 + 0.3 * len(rows), [1.0]) as (draw, (ax,), finish):
        ax.axvline(1.0, color=SOFT, linewidth=1.0)
        ax.axvline(1.0 + margin, color=BAD, linewidth=1.2, linestyle=(0, (4, 3)))
        low, high = 1.0, 1.0 + margin
        for place, row in enumerate(rows):
            color = _tone(row)
            at = _within(row.ratio or 1.0)
            ends = [_within(end) for end in row.ci] if row.ci else [at, at]
            low, high = min(low, at, *ends), max(high, at, *ends)
            strong = row.role is Role.PRIMARY
            ax.plot(ends, [place, place], color=color, linewidth=5 if strong else 3, alpha=0.6, solid_capstyle="butt")
            ax.plot([at], [place], "o", color=color, markersize=6 if strong else 4.5)
        ax.set_xscale("log")
        ax.set_xlim(low / 1.06, high * 1.06)
        ax.set_yticks(range(len(rows)), [clean(row.name) for row in rows], color=INK)
        ax.set_ylim(-0.6, len(rows) - 0.4)
        ax.xaxis.set_major_locator(draw.ticker.FixedLocator(_ratio_ticks(low, high)))
        ax.xaxis.set_minor_locator(draw.ticker.NullLocator())
        ax.xaxis.set_major_formatter(lambda value, _: percent(value - 1, sign=abs(value - 1) > 0.001))
        ax.grid(visible=True, axis="x")
        ax.grid(visible=False, axis="y")
        ax.set_title("change from base to head, with its limits; dashed: the margin")
        finish(f"{against.scenario}: change of each measure from base to head, with its limits")
        return finish.svg


def _within(ratio: float) -> float:
    """What is beyond a factor of ten is shown at the edge."""
    return min(max(ratio, 0.1), 10.0)


def _tone(row: Measure) -> str:
    if row.role is Role.ADVISORY:
        return SOFT
    return {Outcome.PASS: GOOD, Outcome.FAIL: BAD, Outcome.INCONCLUSIVE: DOUBT}[row.verdict]


def _ratio_ticks(low: float, high: float) -> list[float]:
    steps = (
        [0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.3]
        if high / low < 1.6
        else [0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0]
    )
    return [step for step in steps if low / 1.05 <= step <= high * 1.05]


def _log_seconds(ax: Any, which: str) -> None:
    from matplotlib import ticker

    axis = getattr(ax, f"{which}axis")
    getattr(ax, f"set_{which}scale")("log")
    low = max(axis.get_data_interval()[0], SHORTEST_S)
    high = max(axis.get_data_interval()[1], low)
    room = 1.25 if high / low > 4 else 1.6
    getattr(ax, f"set_{which}lim")(low / room, high * room)
    steps = [1.0] if high / low > 1000 else [1.0, 3.0] if high / low > 8 else [1.0, 1.5, 2.0, 3.0, 5.0, 7.0]
    axis.set_major_locator(ticker.LogLocator(10, steps, numticks=12))
    axis.set_minor_locator(ticker.NullLocator())
    axis.set_major_formatter(lambda value, _: format_seconds(value))
