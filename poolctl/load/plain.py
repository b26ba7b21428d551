"""Plain: a scenario under locust's own command, `locust -f scenarios/bursty.py`.

In: locust's environment, once it has a runner. Out: the same load, on the target that poolctl's configuration names
(POOLCTL_URL, POOLCTL_POOL_SIZE, …, or poolctl.toml) or on the embedded PostgreSQL, with locust's statistics and web
interface. No capture, no run directory, no report: those are `poolctl loadtest`.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from poolctl import config
from poolctl.clock import NS, monotonic_ns
from poolctl.errors import PoolctlError, UsageError
from poolctl.load import swarm
from poolctl.load.loop import loop_kind
from poolctl.load.scenario import Scenario
from poolctl.load.station import Station, set_up
from poolctl.load.tape import draw
from poolctl.target.embedded import EmbeddedPostgres
from poolctl.target.engine import check
from poolctl.target.permission import refuse_writes
from poolctl.target.spec import TargetSpec

SEED = 1
"""Without POOLCTL_SEED."""

ENDLESS_S = 600.0
"""Length of the tape when locust is not told how long to run; then the load is over."""

PREPARE_S = 120.0
LEAD_NS = NS


def attach(scenario: type[Scenario], environment: Any) -> None:
    """Take part in the run of `environment`, whatever its runner; what cannot work ends the process with one line."""
    try:
        _attach(scenario, environment)
    except PoolctlError as error:
        sys.stderr.write(_line(error))
        raise SystemExit(int(error.exit_code)) from None


def _attach(scenario: type[Scenario], environment: Any) -> None:
    if environment.__dict__.setdefault("poolctl_scenario", scenario) is not scenario:
        raise UsageError(
            "several poolctl scenarios in one run of locust", "give locust one scenario file, with one class"
        )
    runner = environment.runner
    kind = type(runner).__name__
    hand = swarm.Hand(environment, lambda order: _station(scenario, order))
    if kind == "WorkerRunner":
        hand.listen(runner)
        return
    host = _Host(scenario, environment)
    environment.events.quit.add_listener(lambda **_: host.close())
    if kind == "MasterRunner":
        dealer = swarm.Dealer(runner)
        dealer.lead_ns = LEAD_NS
        dealer.prepare = host.prepare
    else:
        _Alone(hand, environment, host)


def _line(error: PoolctlError) -> str:
    return f"poolctl: {error.message} ({error.hint})\n" if error.hint else f"poolctl: {error.message}\n"


class _Host:
    """The process that owns the database of the run: the master, or the only one."""

    def __init__(self, scenario: type[Scenario], environment: Any) -> None:
        self._scenario = scenario
        self._environment = environment
        self._postgres: EmbeddedPostgres | None = None
        self._settings = config.load({})

    def prepare(self) -> dict[str, Any]:
        """Have a database with the scenario's tables; return what the others need to know. Greenlets go on.

        Where that cannot be had, locust ends with one line and the error's exit code; an empty order comes back.
        """
        with ThreadPoolExecutor(1) as thread:
            try:
                target: TargetSpec = swarm.patient(thread.submit(self._prepare), PREPARE_S)
            except PoolctlError as error:
                sys.stderr.write(_line(error))
                self._environment.process_exit_code = int(error.exit_code)
                swarm.later(self._environment.runner.quit)
                return {}
        run_time = getattr(self._environment.parsed_options, "run_time", None)
        return {
            "url": target.url if target.embedded else None,
            "seed": SEED if self._settings.seed is None else self._settings.seed,
            "duration_s": float(run_time) if run_time else self._settings.duration or ENDLESS_S,
            "rate": self._settings.rate,
        }

    def close(self) -> None:
        """Stop the embedded PostgreSQL, if there is one."""
        if self._postgres is not None:
            self._postgres.stop()
            self._postgres = None

    def _prepare(self) -> TargetSpec:
        target = TargetSpec(**self._settings.target())
        if target.needs_embedded:
            self._postgres = self._postgres or EmbeddedPostgres().start()
            target = target.started(self._postgres.url)
        check(target)
        if self._scenario.writes:
            refuse_writes(target, [self._scenario.__name__])
        if may_set_up(self._scenario, target):
            set_up(self._scenario, target)
        return target


class _Alone:
    """The listeners of the only process."""

    def __init__(self, hand: swarm.Hand, environment: Any, host: _Host) -> None:
        self._hand = hand
        self._host = host
        self._order: dict[str, Any] = {}
        environment.events.spawning_complete.add_listener(self._play)
        environment.events.test_stop.add_listener(self._stop)

    def _play(self, user_count: int, **_: Any) -> None:
        if not self._order:
            found = self._host.prepare()
            if not found:
                return
            self._order = {**found, "start_at": monotonic_ns() + LEAD_NS}
        self._hand.play({**self._order, "parts": list(range(user_count)), "of": user_count})

    def _stop(self, **_: Any) -> None:
        self._hand.finish(drain_s=2.0)
        self._hand.close()
        self._order = {}


def may_set_up(scenario: type[Scenario], target: TargetSpec) -> bool:
    """Whether the scenario has a set-up that may run there: on poolctl's own database, or where writes are allowed."""
    return scenario.setup is not None and (target.embedded or target.allow_writes)


def _station(scenario: type[Scenario], order: dict[str, Any]) -> Station:
    settings = config.load({})
    target = TargetSpec(**settings.target())
    if order["url"]:
        target = target.started(order["url"])
    tape = draw(scenario, order["seed"], order["duration_s"], order["rate"])
    station = Station(scenario, tape, target, loop=loop_kind(None), directory=None)
    station.open(setup=False)
    return station
