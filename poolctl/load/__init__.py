"""Load: scenarios, the tape drawn from them, and the engine that plays it.

What a scenario file imports is here, and nothing heavy with it. The first import decides how this process stands to
locust (see `bootstrap`), so it comes before everything else.
"""

from poolctl.load import bootstrap

bootstrap.run_unpatched()

from poolctl.load.arrivals import Arrivals, Closed, batch_of, closed, from_file, on_off, poisson, ramp  # noqa: E402
from poolctl.load.draws import choice, exponential, integers, lognormal, uniform, zipf  # noqa: E402
from poolctl.load.scenario import Scenario, Transaction, think, transaction  # noqa: E402
from poolctl.load.shop import create_shop  # noqa: E402

__all__ = [
    "Arrivals",
    "Closed",
    "Scenario",
    "Transaction",
    "batch_of",
    "choice",
    "closed",
    "create_shop",
    "exponential",
    "from_file",
    "integers",
    "lognormal",
    "on_off",
    "poisson",
    "ramp",
    "think",
    "transaction",
    "uniform",
    "zipf",
]
