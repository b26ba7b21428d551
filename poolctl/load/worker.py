"""A worker process: `python -m poolctl.load.worker`, started by poolctl only.

In: one Order on standard input, which then stays open: its end means that poolctl is gone. Out: answers on standard
output, records in a ring, statistics to locust's master. It has a session of its own and ignores SIGINT, so that
a Ctrl-C in the terminal ends the load in order and loses nothing.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import threading
from typing import IO, Any

from poolctl.errors import Exit, PoolctlError, UsageError
from poolctl.load import bootstrap

os.environ[bootstrap.UNPATCHED] = "1"

from poolctl.load import swarm
from poolctl.load.find import find
from poolctl.load.orders import Order, failure_line
from poolctl.load.station import Station
from poolctl.load.tape import draw


def main() -> int:
    """Run one worker; return its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = _keep_stdout_for_answers()
    line = sys.stdin.buffer.readline()
    if not line:
        return Exit.USAGE
    order = Order.from_line(line)
    try:
        scenario = find(order.scenario).scenario
        tape = draw(scenario, order.seed, order.duration_s, order.rate)
        if tape.digest() != order.digest:
            raise UsageError(
                f"{order.scenario} gave another tape in a worker process than before",
                "let everything random come from @transaction(…) and the arrivals, and leave the file alone meanwhile",
            )
        station = Station(scenario, tape, order.target, loop=order.loop, directory=order.run_directory)
        _watch_parent(station)
        target = station.open(setup=order.setup)
        _answer(answers, {"kind": "ready", "target": dataclasses.asdict(target)})
        swarm.work(scenario, station, order.port)
        failure = station.failure
        station.close()
        _answer(answers, {"kind": "done", "failure": f"{type(failure).__name__}: {failure}" if failure else None})
    except PoolctlError as error:
        _answer(answers, failure_line(error))
        return error.exit_code
    return Exit.DONE


def _keep_stdout_for_answers() -> IO[str]:
    """Return the pipe to poolctl; what the scenario prints goes to standard error from now on."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def _answer(answers: IO[str], answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _watch_parent(station: Station) -> None:
    """End at once when poolctl is gone, and take along what only poolctl would have removed."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        station.abandon()
        os._exit(Exit.BUG)

    threading.Thread(target=watch, name="poolctl-parent", daemon=True).start()


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # everything is closed; what a driver or a scenario left behind must not keep the process alive
