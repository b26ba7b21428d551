"""Counterfactual: what requests would have waited, had one site given its connections back sooner.

In: a View and a site. Out: the predictions of the pool model at the size that ran, or why there are none: the model has
to reproduce the run as it was first. Judges nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from poolctl.analysis.case import Case, prepare
from poolctl.analysis.predict import backtest, predict, why_off
from poolctl.analysis.view import View
from poolctl.analysis.what_if import Supposition, suppose
from poolctl.errors import PoolctlError
from poolctl.trace.report import Prediction

MOST_REQUESTS = 30_000
"""Of a longer run windows spread over it are replayed."""
NOTHING = 1e-6
"""Factor on holds that leaves nothing of them."""


@dataclass(frozen=True, slots=True)
class Otherwise:
    """The run as it was, and as it would have been, all by the same model."""

    as_it_was: Prediction
    released: Prediction
    """The site holds its connections only while the database works for it."""
    apart: Prediction
    """The site's requests are served by another pool."""


def otherwise(view: View, site: str) -> Otherwise | str:
    """Return what releasing the connections of a site would change, or why that cannot be told."""
    settings = view.settings
    if not settings.pool_size or settings.max_overflow is None or settings.max_overflow < 0:
        return "the pool has no limit to replay"
    case = prepare(view.tables, settings, view.objectives, view.target.server, 0, most_requests=MOST_REQUESTS)
    if isinstance(case, str):
        return case.removeprefix("no advice: ")
    tested = backtest(case.search, case.demands)
    if not tested.ok:
        return why_off(tested).removeprefix("no advice: ")

    def predicted(supposed: Case) -> Prediction:
        return predict(supposed.search, supposed.demands, settings.pool_size or 0, settings.max_overflow or 0)

    try:
        released, apart = (
            predicted(suppose(case, what))
            for what in (Supposition(idle={site: 0.0}), Supposition(holds={site: NOTHING}))
        )
    except PoolctlError as error:
        return error.message
    return Otherwise(predicted(case), released, apart)
