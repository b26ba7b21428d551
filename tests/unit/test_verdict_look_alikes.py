"""The verdict on what looks like something else, from runs that are written by hand."""

import pytest
from synthesis import EPOCH, PID, Lease, through_pool, write_run

from poolctl.analysis.leases import tables
from poolctl.analysis.summary import analyse, target_of
from poolctl.analysis.view import View

POOL = {"pool_size": 4, "max_overflow": 0, "pool_timeout_s": 60.0}
HALF = 500_000_000
"""Of a second, in nanoseconds."""
EXPORT = "app/export.py:8 export"
OUTER, INNER = "app/shop.py:10 checkout", "app/audit.py:5 log"


def watched(tmp_path, leases, **more):
    return analyse(write_run(tmp_path, leases, command="diagnose", load=None, **{"settings": POOL, **more}))


def codes(report):
    return {finding.code for finding in report.findings}


def healthy(count=100, every=0.1, **more):
    return [Lease(k * every, 0.02, task=1000 + k, connection=9, **more) for k in range(count)]


def waiting(at, task, site="app/orders.py:42 handler"):
    return Lease(at, None, end="waiting", site=site, task=task, connection=0)


def test_a_deadlock_that_no_timeout_ends_is_nesting_and_no_leak(tmp_path):
    holding = [Lease(10.0 + k / 10, None, end="open", site=OUTER, task=k + 1, connection=k + 1) for k in range(4)]
    asking = [waiting(11.0 + k / 10, k + 1, INNER) for k in range(4)]
    report = watched(tmp_path, [*healthy(), *holding, *asking], duration=60.0)
    assert report.verdict == "nested checkouts"
    assert report.culprits == [INNER]
    assert "PC101" not in codes(report)


def test_a_leaked_task_s_number_that_another_task_has_now_is_no_nesting(tmp_path):
    leaked = [Lease(10.0 + k / 10, None, end="open", site=OUTER, task=k + 1, connection=k + 1) for k in range(4)]
    later = [waiting(50.0 + k / 10, 4 + 100 * k) for k in range(20)]
    stacks = {"app/orders.py:42 handler": ["app/orders.py:42 handler", "app/main.py:7 route"]}
    report = watched(tmp_path, [*healthy(), *leaked, *later], duration=60.0, stacks=stacks)
    assert report.verdict == "leaking"
    assert "PC601" not in codes(report)


def test_the_function_that_holds_is_on_the_stack_of_what_it_asks_next(tmp_path):
    holding = [Lease(10.0, None, end="open", site=OUTER, task=1, connection=1)]
    legal = [
        Lease(10.0, None, end="open", site="app/listen.py:3 listen", task=50 + k, connection=2 + k) for k in (0, 1)
    ]
    asking = [waiting(11.0, 1, INNER)]
    stacks = {INNER: [INNER, "app/shop.py:14 checkout", "app/main.py:7 route"]}
    run = write_run(tmp_path, [*healthy(), *holding, *legal, *asking], duration=60.0, settings=POOL, stacks=stacks)
    made = tables(run)
    view = View(made, target_of(made))
    assert view.nested.sum() == 1
    assert view.leaked.sum() == 2, "who waits for another connection has not leaked his"


STOPS = [k + 0.9 for k in range(0, 20, 2)]
"""Seconds at which 0.6 s end in which nothing ran."""


def waited_for_the_end_of(stops):
    return [
        Lease(at - 0.6 + n / 50, 0.01, wait=0.6 - n / 50, task=n, connection=n % 4 + 1)
        for at in stops
        for n in range(20)
    ]


def test_a_blocked_loop_is_not_a_small_pool(tmp_path):
    leases = waited_for_the_end_of(STOPS)
    leases += [Lease(at - 0.65, 0.64, task=90 + n, connection=n + 1, sql=0.5) for at in STOPS for n in range(4)]
    report = watched(tmp_path, [*leases, *healthy(200)], lags=[(at, 0.6) for at in STOPS])
    assert report.verdict == "starved"
    assert "event loop" in report.summary
    calm = watched(tmp_path / "calm", [*leases, *healthy(200)])
    assert calm.verdict != "starved"


def test_a_loop_without_a_processor_is_not_blocked_by_what_it_runs(tmp_path):
    """As above, and what stood still was the machine: for this process, or for everybody."""
    leases = waited_for_the_end_of(STOPS)
    still = [{"at": at, "from_ns": _ns(at - 0.7), "to_ns": _ns(at + 0.05), "lost_s": 0.58} for at in STOPS]
    for name, lags, around in (
        ("queued", [(at, 0.6, 0.55) for at in STOPS], {}),
        ("still", [(at, 0.6) for at in STOPS], {"machine.jsonl": still}),
    ):
        report = watched(tmp_path / name, [*leases, *healthy(200)], lags=lags, around=around)
        assert report.verdict == "starved"
        assert "no processor was free for it" in report.summary
        assert "PC602" not in codes(report)
        usual = {**POOL, "pool_timeout_s": 10.0}
        calm = watched(tmp_path / f"{name}-calm", healthy(400, every=0.05), settings=usual, lags=lags, around=around)
        assert calm.verdict == "starved", "nobody waits yet, but it is a fifth of the time and more"
        assert "no processor was free for it (2" in calm.summary
        assert any(line.startswith("processor: denied to the loop for 2") for line in calm.evidence), calm.evidence
        rare = watched(
            tmp_path / f"{name}-rare", healthy(400, every=0.05), settings=usual, lags=lags[:3], around=around
        )
        assert (rare.verdict, rare.confidence) == ("healthy", "medium"), rare.summary


def _ns(second):
    return EPOCH + int(second * 1e9)


def looked(wanted, count):
    """Lines of processes.jsonl, twice a second."""
    return [
        {"at": k / 2, "pid": PID, "wanted": wanted, "from_ns": EPOCH + k * HALF, "to_ns": EPOCH + (k + 1) * HALF}
        for k in range(count)
    ]


@pytest.mark.parametrize(("wanted", "verdict"), [(1.0, "starved"), (0.6, "too small")])
def test_an_interpreter_without_a_moment_to_spare_is_what_is_waited_for(tmp_path, wanted, verdict):
    leases = through_pool([(k / 100, 0.06) for k in range(1500)], 4, sql=[(0.0, 0.05)])
    report = watched(tmp_path, leases, around={"processes.jsonl": looked(wanted, 60)})
    assert report.verdict == verdict, report.evidence


def test_a_crowded_machine_is_no_starved_interpreter_while_the_server_works(tmp_path):
    """A thread always wants to run; but the server is at work for us, so it is not the answers that wait."""
    leases = [Lease(k / 2, 2.0, wait=0.9, backend_pid=70 + k % 4, connection=1 + k % 4, task=k + 1) for k in range(100)]

    def judged(name, state):
        seen = [{"at": at, "backends": [{"pid": 70 + k, "state": state} for k in range(4)]} for at in range(1, 50)]
        around = {"processes.jsonl": looked(1.0, 100), "server.jsonl": seen}
        return watched(tmp_path / name, leases, around=around)

    assert judged("at-work", "active").verdict != "starved"
    unread = judged("unread", "idle in transaction")
    assert unread.verdict == "starved"
    assert "100 % of what looked like SQL was over on the server" in unread.summary


@pytest.mark.parametrize(("statement", "verdict"), [(1.0, "database slow"), (0.05, "too small")])
def test_one_slow_statement_is_the_database_and_many_short_ones_are_the_pool(tmp_path, statement, verdict):
    """The holds are the same: one statement of a second, or twenty of 50 ms."""
    reports = [(k * 0.3, 1.0) for k in range(160)]
    orders = [(k / 20 + 0.01, 0.01) for k in range(800)]
    kinds = dict.fromkeys(reports, "report") | dict.fromkeys(orders, "orders")
    work = sorted(kinds)
    sql = [(number * statement, statement) for number in range(int(1 / statement))]
    leases = through_pool(
        work,
        4,
        timeout=5.0,
        site=lambda index: "app/report.py:9 report" if kinds[work[index]] == "report" else "app/orders.py:42 handler",
        sql=lambda index: sql if kinds[work[index]] == "report" else None,
    )
    report = watched(tmp_path, leases)
    assert report.verdict == verdict, f"{report.sizing.reason} {report.sizing.notes} {report.evidence}"
    if verdict == "database slow":
        assert report.culprits == ["app/report.py:9 report"]
        assert "app/report.py:9 report" in report.next_step


def test_a_lock_queue_names_who_holds_the_lock_and_others_databases_do_not_count(tmp_path):
    head = Lease(1.0, 20.0, site="app/migrate.py:3 migrate", backend_pid=70, connection=50, sql=0.1)
    waiting = [
        Lease(2.0 + k, 15.0, wait=0.5, backend_pid=71 + k % 3, connection=1 + k % 3, task=k + 1) for k in range(3)
    ]
    refused = [Lease(3.0 + k / 10, None, wait=1.0, end="timed_out", task=100 + k, connection=0) for k in range(100)]

    def sample(at):
        line = [{"pid": 71 + k, "state": "active", "wait": "Lock:relation", "blocked_by": [70]} for k in range(3)]
        strangers = [{"pid": 900 + k, "state": "active"} for k in range(20)]
        holder = {"pid": 70, "state": "idle in transaction", "query": "lock table orders"}
        return {"at": at, "active": 23, "lock_waits": 3, "backends": [*line, holder, *strangers]}

    around = {"server.jsonl": [sample(at) for at in range(5, 15)]}
    report = watched(tmp_path, [head, *waiting, *refused], around=around)
    assert report.verdict == "lock-bound"
    assert "migrate.py:3 migrate holds" in report.summary
    assert report.culprits[0] == "app/migrate.py:3 migrate"
    assert "app/migrate.py:3 migrate" in report.next_step
    alone = watched(tmp_path / "alone", [head, *waiting, *refused])
    assert alone.verdict != "lock-bound"


def test_settings_alone_may_be_wrong(tmp_path):
    wrong = watched(tmp_path / "a", [], settings={**POOL, "pool_timeout_s": 120.0}, duration=0.0)
    assert (wrong.verdict, wrong.next_step[:15]) == ("misconfigured", "pool_timeout=30")
    right = watched(tmp_path / "b", [], settings={**POOL, "pool_timeout_s": 10.0}, duration=0.0)
    assert right.verdict == "cannot tell"


def test_the_longest_leases_come_with_what_the_server_saw(tmp_path):
    leases = [*healthy(), Lease(3.0, 5.0, site=OUTER, backend_pid=77, connection=3, sql=0.05, context="GET /shop")]
    seen = {"pid": 77, "state": "idle in transaction", "query": "select ?"}
    around = {"server.jsonl": [{"at": at, "backends": [seen]} for at in range(1, 12)]}
    longest = watched(tmp_path, leases, around=around).long_leases[0]
    assert (longest.site, longest.context, longest.backend_pid) == (OUTER, "GET /shop", 77)
    assert longest.server == "idle in transaction: select ?"
    assert longest.sql_share == pytest.approx(0.01)


@pytest.mark.parametrize(("last", "verdict"), [("idle in transaction", "leaking"), ("active", "too small")])
def test_in_a_short_window_the_server_tells_a_leak_from_a_long_statement(tmp_path, last, verdict):
    """A line that never finished a hold: two connections, eight seconds, far below any absolute limit."""
    served = [Lease(k * 0.04, 0.02, task=k + 1, connection=1 + k % 2) for k in range(30)]
    gone = [
        Lease(1.3 + k / 10, None, end="open", site=EXPORT, backend_pid=70 + k, sql=0.01, connection=k + 1)
        for k in range(2)
    ]
    refused = [Lease(2.0 + k / 10, None, wait=1.0, end="timed_out", task=100 + k, connection=0) for k in range(50)]

    def sample(at, state):
        return {"at": at, "active": 0, "backends": [{"pid": 70 + k, "state": state} for k in range(2)]}

    seen = [sample(2, "active"), sample(3, "idle in transaction"), *(sample(at, last) for at in range(4, 8))]
    around = {"server.jsonl": [*seen, {"at": 7.9, "active": 0, "backends": []}]}
    settings = {"pool_size": 2, "max_overflow": 0, "pool_timeout_s": 1.0}
    report = watched(tmp_path, [*served, *gone, *refused], settings=settings, around=around, duration=8.0)
    assert report.verdict == verdict, report.evidence
    assert ("PC101" in codes(report)) == (verdict == "leaking")
