"""Swarm: locust's part. It decides how many users run, starts and stops them, and carries the statistics.

In: a scenario, a station for this process. Out: locust's users, which only park: each stands for one part of an open
tape, or for one client of a closed one. The only module that imports locust.

The master counts the users of each worker once they are spawned and deals out the parts (message `poolctl.play`), so
that the parts add up to the whole tape however the users are spread. At the end it asks for the end of the load
(`poolctl.finish`) and waits until every worker has drained and reported (`poolctl.finished`): locust itself gives
workers half a second for their last words, and drops the rest.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
import os
import sys
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from poolctl.load import bootstrap

os.environ.setdefault(bootstrap.UNPATCHED, "1")

import gevent
import gevent.event
import locust
import locust.env
import locust.event
import locust.runners

from poolctl.clock import NS, monotonic_ns
from poolctl.load.arrivals import Closed
from poolctl.load.scenario import Scenario
from poolctl.load.station import Ending, Station
from poolctl.load.tally import METHOD, others_listen, tally

FLUSH_S = 0.1
"""How often results go to locust's statistics, in one go."""

FIRE_AT_ONCE = 16
"""Results told to listeners without a pause: each costs 8 µs, and the loop waits meanwhile."""

LEAD_NS = NS // 5
"""From dealing out the parts to the first instant of the tape: time for the message to arrive."""

REPLY_S = 5.0
"""How much longer than its drain a worker may take to say that it has finished."""


class Parked(locust.User):  # type: ignore[misc]
    """A user that does nothing: the work is done on the loop that owns the pool."""

    abstract = True

    def park(self) -> None:
        """Wait for the end, which comes as a GreenletExit."""
        gevent.event.Event().wait()

    tasks = [park]  # noqa: RUF012 - locust's way


def user_class(scenario: type[Scenario]) -> type[Parked]:
    """Return the locust user that stands for `scenario`."""
    made: type[Parked] = type(
        f"{scenario.__name__}User", (Parked,), {"abstract": False, "scenario": scenario, "__doc__": scenario.__doc__}
    )
    return made


def users_of(scenario: type[Scenario], processes: int) -> int:
    """Return how many users locust is to run: the clients of a closed model, or a part of the tape for each process."""
    return scenario.arrivals.clients if isinstance(scenario.arrivals, Closed) else processes


class Swarm:
    """The master of one load: it listens on a free port of the loopback interface, without a web interface."""

    def __init__(self, scenario: type[Scenario], processes: int) -> None:
        logging.getLogger("locust").setLevel(logging.ERROR)  # it speaks of options that nobody gave
        # A worker whose interpreter is busy for some seconds is not dead: its process, which we hold, would tell.
        locust.runners.HEARTBEAT_LIVENESS = 60
        self._scenario = scenario
        self._processes = processes
        self.environment = locust.env.Environment(
            user_classes=[user_class(scenario)], events=locust.event.Events(), stop_timeout=0
        )
        self._runner = self.environment.create_master_runner("127.0.0.1", 0)
        self.dealer = Dealer(self._runner)

    @property
    def port(self) -> int:
        """Where workers connect."""
        port: int = self._runner.server.port
        return port

    @property
    def connected(self) -> int:
        """Workers that have said they are ready."""
        return len(self._runner.clients.ready)

    def start(self) -> int:
        """Have all users spawned and deal out the tape; return the instant it begins at (monotonic nanoseconds)."""
        inspect.stack()  # the first call reads many sources; locust makes it while stopping, beside a saturated loop
        users = users_of(self._scenario, self._processes)
        self._runner.start(users, spawn_rate=users)
        return self.dealer.started_at

    def stop(self, drain_s: float, dead: int = 0) -> None:
        """End the load everywhere, let workers drain for `drain_s`, collect the statistics, say goodbye.

        `dead` workers are known to be gone already.
        """
        self.dealer.drain_s, self.dealer.dead = drain_s, dead
        self._runner.quit()

    def close(self) -> None:
        """Stop listening."""
        self._runner.greenlet.kill(block=True)
        context = self._runner.server.socket.context
        self._runner.server.close(linger=0)
        context.destroy(linger=0)

    def statistics(self) -> dict[str, Any]:
        """Return locust's own figures by transaction, times in milliseconds: a cross-check, rounded by locust."""
        return {
            entry.name: {
                "requests": entry.num_requests,
                "failures": entry.num_failures,
                "mean_ms": round(entry.avg_response_time, 3),
                "median_ms": entry.median_response_time,
                "p95_ms": entry.get_response_time_percentile(0.95),
                "max_ms": entry.max_response_time,
            }
            for entry in self.environment.stats.entries.values()
        }


class Dealer:
    """The master's (or the only process's) listeners: deals the parts when users have spawned, ends the load."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self.started_at = 0
        """Instant at which the tape begins; 0 before."""
        self.drain_s = 2.0
        self.lead_ns = LEAD_NS
        self.dead = 0
        """Workers known to be gone: nobody waits for their last words."""
        self._awaited: set[str] = set()
        self._all_finished = gevent.event.Event()
        self.prepare: Callable[[], dict[str, Any]] | None = None
        """Called before the first deal; what it returns goes to the workers with it."""
        self._extra: dict[str, Any] = {}
        self.endings: dict[str, dict[str, Any]] = {}
        """What each worker said at the end."""
        runner.register_message("poolctl.finished", self._finished)
        events = runner.environment.events
        events.spawning_complete.add_listener(self._deal)
        events.test_stop.add_listener(self._stop)

    def _deal(self, user_count: int, **_: Any) -> None:
        if self.prepare is not None and not self._extra:
            self._extra = self.prepare()
            if not self._extra:
                return
        if not self.started_at:
            self.started_at = monotonic_ns() + self.lead_ns
        first = 0
        for client in sorted(self._runner.clients.all, key=lambda client: str(client.id)):
            if client.state == locust.runners.STATE_MISSING:
                continue
            count = sum(client.user_classes_count.values())
            parts = list(range(first, first + count))
            first += count
            message = {"parts": parts, "of": user_count, "start_at": self.started_at, **self._extra}
            self._runner.send_message("poolctl.play", message, client.id)

    def _stop(self, **_: Any) -> None:
        self.started_at = 0
        self._all_finished.clear()
        missing = locust.runners.STATE_MISSING
        self._awaited = {client.id for client in self._runner.clients.all if client.state != missing}
        if len(self._awaited) > self.dead:
            self._runner.send_message("poolctl.finish", {"drain_s": self.drain_s})
            self._all_finished.wait(self.drain_s + REPLY_S)

    def _finished(self, msg: Any, **_: Any) -> None:
        self.endings[msg.node_id] = msg.data
        self._awaited.discard(msg.node_id)
        if len(self._awaited) <= self.dead:
            self._all_finished.set()


class Hand:
    """A worker's listeners: passes the master's orders on to the station, and the station's results to locust."""

    def __init__(self, environment: Any, station: Station | Callable[[dict[str, Any]], Station]) -> None:
        self._environment = environment
        self._owns_station = not isinstance(station, Station)
        self._station_for = (lambda _: station) if isinstance(station, Station) else station
        self._station: Station | None = None
        self._flusher: gevent.Greenlet | None = None

    def listen(self, runner: Any) -> None:
        """Take orders from the master through `runner`."""
        runner.register_message("poolctl.play", self._play)
        runner.register_message("poolctl.finish", self._finish, concurrent=True)

    def play(self, order: dict[str, Any]) -> None:
        """Play these parts; see `Player.play`."""
        if self._station is None:
            self._station = self._station_for(order)
        if self._flusher is None:
            inspect.stack()  # see Swarm.start: the runner of `locust -f` does it here
            self._flusher = gevent.spawn(self._flush_for_ever)
        self._station.play(order["parts"], order["of"], order["start_at"])

    def finish(self, drain_s: float) -> Ending:
        """End the load here and report every result."""
        ending = Ending(0, 0, 0)
        if self._station is not None:
            ending = patient(self._station.finish(drain_s), drain_s + REPLY_S) or ending
            self.flush()
        if self._flusher is not None:
            self._flusher.kill()
            self._flusher = None
        return ending

    def close(self) -> None:
        """Close the station; the next `play` opens another."""
        if self._station is not None:
            self._station.close()
            self._station = None

    def flush(self) -> None:
        """Tell locust's listeners, its statistics among them, what has ended since the last time."""
        if self._station is None:
            return
        waiting, request = self._station.results, self._environment.events.request
        results = [waiting.popleft() for _ in range(len(waiting))]
        if not others_listen(request):
            tally(self._environment.stats, results)
            return
        for number, (name, response_ms, error) in enumerate(results, 1):
            if not number % FIRE_AT_ONCE:
                gevent.sleep(0)  # lets go of the interpreter's lock: the loop's next arrival may be due
            request.fire(request_type=METHOD, name=name, response_time=response_ms, response_length=0, exception=error)

    def _play(self, msg: Any, **_: Any) -> None:
        self.play(msg.data)

    def _finish(self, msg: Any, **_: Any) -> None:
        runner = self._environment.runner
        ending = self.finish(float(msg.data["drain_s"]))
        runner._send_stats()  # noqa: SLF001 - before "finished" on the same socket, so that nothing is lost
        if self._owns_station:
            self.close()
        runner.send_message("poolctl.finished", dataclasses.asdict(ending))

    def _flush_for_ever(self) -> None:
        while True:
            gevent.sleep(FLUSH_S)
            self.flush()


def later(what: Callable[[], Any]) -> None:
    """Call `what` from a greenlet of its own, which may end the one that asks."""
    gevent.spawn(what)


def patient(future: Future[Any], timeout_s: float) -> Any:
    """Return the result of a future of another thread while greenlets go on; None when it does not come in time."""
    until = monotonic_ns() + int(timeout_s * NS)
    while not future.done():
        if monotonic_ns() > until:
            return None
        gevent.sleep(0.01)
    return future.result()


def work(scenario: type[Scenario], station: Station, port: int) -> None:
    """Be a worker of the master at `port` on this machine until it says goodbye."""
    logging.getLogger("locust").setLevel(logging.ERROR)
    environment = locust.env.Environment(
        user_classes=[user_class(scenario)], events=locust.events, stop_timeout=0, parsed_options=_no_options()
    )
    hand = Hand(environment, station)
    runner = environment.create_worker_runner("127.0.0.1", port)
    hand.listen(runner)
    runner.greenlet.join()
    hand.flush()


def _no_options() -> Any:
    """Return what locust's own parser gives for an empty command line, without reading locust.conf or LOCUST_*."""
    import argparse

    return argparse.Namespace(web_base_path="", tags=None, exclude_tags=None, enable_rebalancing=False, headless=True)


def publish(scenario: type[Scenario]) -> None:
    """Put the scenario's user into its module, where the `locust` command looks, and listen for the run."""
    from poolctl.load import plain

    module = sys.modules[scenario.__module__]
    made = user_class(scenario)
    made.__module__ = scenario.__module__
    setattr(module, made.__name__, made)
    locust.events.init.add_listener(lambda environment, **_: plain.attach(scenario, environment))
