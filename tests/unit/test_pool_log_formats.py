"""Formats: the same log, written as people write logs, gives the same leases."""

from __future__ import annotations

import gzip
import io
import json

import pytest
from pool_lines import START, Line, Told, _ms, asctime, full, json_lines, read

from poolctl.target.pool_log import read_log
from poolctl.trace.run import Run

ZONE = "+02:00"


def iso_z(line: Line) -> str:
    return f"{line.date:%Y-%m-%dT%H:%M:%S}.{line.date:%f}Z [{line.level:<8}] {line.text} [{line.logger}]"


def iso_offset(line: Line) -> str:
    where = f"{line.logger}:_checkout:{line.lineno}"
    return f"{line.date:%Y-%m-%d %H:%M:%S}.{_ms(line)}+02:00 | {line.level} | {line.pid} | {where} - {line.text}"


def epoch(line: Line) -> str:
    return f"{line.date.timestamp():.6f} {line.level} {line.pid} {line.thread} {line.logger} {line.text}"


def epoch_ms(line: Line) -> str:
    return f"[{round(line.date.timestamp() * 1000)}] {line.level} {line.logger} {line.text}"


def gunicorn(line: Line) -> str:
    return f"[{line.date:%Y-%m-%d %H:%M:%S} +0000] [{line.pid}] [{line.level}] {line.text}"


def django_verbose(line: Line) -> str:
    return f"{line.level} {line.date:%Y-%m-%d %H:%M:%S},{_ms(line)} base {line.pid} {line.thread} {line.text}"


def with_line_numbers(line: Line) -> str:
    return f"{line.date:%Y-%m-%d %H:%M:%S},{_ms(line)} {line.lineno} base {line.pid} {line.logger} {line.text}"


def uvicorn(line: Line) -> str:
    return f"\x1b[36m{line.level}\x1b[0m:    {line.date:%Y-%m-%d %H:%M:%S},{_ms(line)} - {line.text}"


def syslog(line: Line) -> str:
    return (
        f"{line.date:%b} {line.date.day:>2} {line.date:%H:%M:%S}.{line.date:%f} web-1 orders[{line.pid}]: "
        f"{line.level} {line.logger} {line.text}"
    )


def syslog_and_asctime(line: Line) -> str:
    return f"{line.date:%b} {line.date.day:>2} {line.date:%H:%M:%S} web-1 orders[{line.pid}]: {asctime(line)}"


def clf(line: Line) -> str:
    return f"[{line.date:%d/%b/%Y %H:%M:%S}.{_ms(line)}] {line.level} [{line.logger}] {line.text}"


def clock_only(line: Line) -> str:
    return f"{line.date:%H:%M:%S}.{_ms(line)} {line.level} {line.logger}: {line.text}"


def celery(line: Line) -> str:
    return f"[{line.date:%Y-%m-%d %H:%M:%S},{_ms(line)}: {line.level}/ForkPoolWorker-3] {line.text}"


def logfmt(line: Line) -> str:
    who = f"logger={line.logger} pid={line.pid} tid={line.thread}"
    return f'ts={line.date:%Y-%m-%dT%H:%M:%S}.{_ms(line)}Z level=debug {who} msg="{line.text}"'


def structlog_json(line: Line) -> str:
    return json.dumps(
        {
            "event": line.text,
            "logger": line.logger,
            "level": "debug",
            "timestamp": f"{line.date:%Y-%m-%dT%H:%M:%S}.{line.date:%f}Z",
        }
    )


def loguru_json(line: Line) -> str:
    return json.dumps({"text": f"{line.text}\n", "record": {"message": line.text, "name": line.logger,
        "process": {"id": line.pid, "name": "MainProcess"}, "thread": {"id": line.thread, "name": "MainThread"},
        "time": {"repr": str(line.date), "timestamp": line.date.timestamp()}}})  # fmt: skip


def ecs_json(line: Line) -> str:
    process = {"pid": line.pid, "thread": {"id": line.thread}}
    fields = {"message": line.text, "log.level": "debug", "log": {"logger": line.logger}, "process": process}
    return json.dumps({"@timestamp": f"{line.date:%Y-%m-%dT%H:%M:%S}.{_ms(line)}Z", **fields})


def docker_compose(line: Line) -> str:
    return f"web-1  | {full(line)}"


def docker_json(line: Line) -> str:
    return json.dumps(
        {"log": f"{full(line)}\n", "stream": "stderr", "time": f"{line.date:%Y-%m-%dT%H:%M:%S}.{line.date:%f}123Z"}
    )


def kubernetes(line: Line) -> str:
    return f"{line.date:%Y-%m-%dT%H:%M:%S}.{line.date:%f}789Z stderr F {asctime(line)}"


def kubernetes_json(line: Line) -> str:
    return f"{line.date:%Y-%m-%dT%H:%M:%S}.{line.date:%f}789Z stderr F {json_lines(line)}"


def kubectl_prefix(line: Line) -> str:
    return f"[pod/orders-6f9d-abcde/app] {asctime(line)}"


FORMATS = [
    full, asctime, json_lines, iso_z, iso_offset, epoch, epoch_ms, gunicorn, django_verbose, with_line_numbers,
    uvicorn, syslog, syslog_and_asctime, clf, clock_only, celery, logfmt, structlog_json, loguru_json, ecs_json,
    docker_compose, docker_json, kubernetes, kubernetes_json, kubectl_prefix,
]  # fmt: skip
TELL_THE_PROCESS = {
    full, json_lines, iso_offset, epoch, gunicorn, django_verbose, with_line_numbers, syslog, syslog_and_asctime,
    logfmt, loguru_json, ecs_json, docker_compose, docker_json, kubernetes_json,
}  # fmt: skip
TELL_THE_THREAD = {
    full, json_lines, epoch, django_verbose, logfmt, loguru_json, ecs_json, docker_compose, docker_json,
    kubernetes_json,
}  # fmt: skip


def a_log() -> Told:
    """Two connections, 40 leases that overlap, an invalidated one, an open one; a second apart, so that seconds do."""
    log = Told()
    log.created(0, 0x7F01)
    log.created(0, 0x7F02)
    for turn in range(20):
        log.used(1 + turn * 8, 3, 0x7F01)
        log.used(2 + turn * 8, 5, 0x7F02)
    log.checked_out(200, 0x7F01)
    log.invalidate(203, 0x7F01, "OperationalError:server closed the connection at 10.0.0.7")
    log.checked_out(204, 0x7F02)
    log.say(210, "GET /orders 200", logger="uvicorn.access")
    log.lines.sort(key=lambda line: line.at)
    return log


@pytest.mark.parametrize("style", FORMATS, ids=lambda style: style.__name__)
def test_every_format_gives_the_same_leases(tmp_path, style):
    found = a_log().read(tmp_path, style)
    assert found.summary.ends == {"returned": 40, "invalidated": 1, "open": 1}
    holds = sorted(hold for hold in found.holds_ms if hold is not None)
    assert holds == [3000] * 21 + [5000] * 20
    assert found.summary.malformed == 0
    assert found.summary.processes == 1
    assert abs(found.summary.duration_s - 210) < 1e-6


@pytest.mark.parametrize("style", FORMATS, ids=lambda style: style.__name__)
def test_the_process_and_thread_are_found_where_the_format_tells_them(tmp_path, style):
    leases = a_log().read(tmp_path, style).leases
    if style in TELL_THE_PROCESS:
        assert set(leases["process"]) == {4711}
    threads = set(leases["task"])
    assert threads == ({140_123_456_789_012} if style in TELL_THE_THREAD else {0})


@pytest.mark.parametrize(
    ("style", "resolution"),
    [
        (full, 1e-3),
        (gunicorn, 1.0),
        (epoch, 1e-6),
        (epoch_ms, 1e-3),
        (syslog, 1e-6),
        (syslog_and_asctime, 1e-3),
        (docker_json, 1e-3),
    ],
)
def test_the_resolution_of_the_times_is_told(tmp_path, style, resolution):
    found = a_log().read(tmp_path, style)
    assert found.summary.resolution_s == resolution
    assert found.summary.blind[0].startswith("times are exact to")


@pytest.mark.parametrize("style", [iso_z, epoch, kubernetes_json, structlog_json])
def test_times_that_say_their_zone_give_the_true_start(tmp_path, style):
    found = a_log().read(tmp_path, style)
    assert abs((found.summary.started_at - START).total_seconds()) < 1e-3 or style is kubernetes_json


def test_an_offset_is_taken_off_and_no_zone_counts_as_this_machines(tmp_path):
    shifted = a_log().read(tmp_path / "offset", iso_offset)
    assert round((START - shifted.summary.started_at).total_seconds()) == 7200
    local = a_log().read(tmp_path / "local", asctime)
    assert local.summary.started_at == START.replace(tzinfo=None).astimezone()
    assert any("time zone" in line for line in local.summary.blind)


def test_line_ends_of_windows_gzip_and_a_missing_last_end_are_read_alike(tmp_path):
    text = a_log().text()
    plain, crlf, packed, torn = (tmp_path / name for name in ("plain", "crlf", "packed.gz", "torn"))
    plain.write_text(text)
    crlf.write_bytes(text.replace("\n", "\r\n").encode())
    packed.write_bytes(gzip.compress(text.encode()))
    torn.write_text(text.rstrip("\n"))
    expected = read(plain, tmp_path / "a").tables.leases
    for path in (crlf, packed, torn):
        assert read(path, tmp_path / f"read-{path.name}").tables.leases.equals(expected)


def test_a_gzip_file_that_was_cut_off_gives_what_is_there(tmp_path):
    whole = gzip.compress(a_log().text().encode())
    path = tmp_path / "cut.gz"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    assert read(path, tmp_path).summary.leases > 0


def test_a_stream_is_read_like_a_file(tmp_path):
    run = Run.create(tmp_path)
    summary = read_log(io.BytesIO(a_log().text().encode()), run)
    assert summary.leases == 42
    assert summary.source == "the standard input"


def test_the_lines_may_be_cut_anywhere_by_the_blocks_they_are_read_in(tmp_path):
    class Dribble(io.RawIOBase):
        def __init__(self, data):
            self.data = data

        def readable(self):
            return True

        def readinto(self, buffer):
            part = self.data[:13]
            self.data = self.data[13:]
            buffer[: len(part)] = part
            return len(part)

    summary = read_log(Dribble(a_log().text().encode()), Run.create(tmp_path))
    assert summary.leases == 42
    assert summary.lines == len(a_log().lines)


def test_midnight_passes_in_a_log_that_has_no_dates(tmp_path):
    log = Told()
    before = 14.5 * 3600 - 1
    log.used(before, 2, 0x10)
    found = log.read(tmp_path, clock_only)
    assert found.holds_ms == [2000]


def test_a_syslog_without_a_year_that_passes_new_year_goes_on(tmp_path):
    path = tmp_path / "syslog"
    path.write_text(
        "Dec 31 23:59:59.000 web orders[7]: Connection <x object at 0x1> checked out from pool\n"
        "Jan  1 00:00:01.000 web orders[7]: Connection <x object at 0x1> being returned to pool\n"
    )
    assert read(path, tmp_path).holds_ms == [2000]


def test_processes_are_told_apart_by_pid_container_and_worker_name(tmp_path):
    one, two = Told(), Told(common={"pid": 4712})
    for log in (one, two):
        log.created(0, 0x7F01)
        log.used(1, 3, 0x7F01)
    mixed = Told([line for pair in zip(one.lines, two.lines, strict=True) for line in pair])
    assert mixed.read(tmp_path / "pids").summary.ends == {"returned": 2}
    assert set(mixed.read(tmp_path / "pids").leases["process"]) == {4711, 4712}

    def containers(line):
        return f"web-{line.pid - 4710}  | {full(Line(line.at, line.text, pid=1))}"

    found = mixed.read(tmp_path / "containers", containers)
    assert found.summary.ends == {"returned": 2}
    assert found.summary.processes == 2

    def workers(line):
        return f"[{line.date:%Y-%m-%d %H:%M:%S},000: DEBUG/ForkPoolWorker-{line.pid - 4710}] {line.text}"

    assert mixed.read(tmp_path / "workers", workers).summary.processes == 2


def test_a_tasks_name_tells_who_held_in_a_loop_and_its_thread_does_not(tmp_path):
    log = Told(common={"logger": "sqlalchemy.pool.impl.AsyncAdaptedQueuePool"})
    for n in range(4):
        log.used(n * 10, 5, 0x7F01, task=f"Task-{n + 1}")
    assert log.read(tmp_path / "task").leases["task"].nunique() == 4
    nameless = Told([Line(line.at, line.text, logger=line.logger) for line in log.lines])
    assert set(nameless.read(tmp_path / "thread").leases["task"]) == {0}


def test_trace_ids_and_routes_of_json_lines_come_with_the_lease(tmp_path):
    def style(line):
        more = {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "http.route": "/orders/{id}"}
        return json.dumps({**json.loads(json_lines(line)), **more})

    leases = a_log().read(tmp_path, style).leases
    assert set(leases["trace_id"]) == {"4bf92f3577b34da6a3ce929d0e0e4736"}
    assert set(leases["context"].astype(str)) == {"/orders/{id}"}


def test_what_another_library_says_of_its_connections_is_not_heard(tmp_path):
    log = a_log()
    for at in range(5, 200, 7):
        log.say(at, "Closing connection <redis.Connection at 0x7f01>", logger="redis.connection")
    log.lines.sort(key=lambda line: line.at)
    assert log.read(tmp_path).summary.ends == {"returned": 40, "invalidated": 1, "open": 1}
