"""Scenarios: what a file may say, what is refused with its place, and how files are found."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.util import greenlet_spawn

from poolctl.errors import InputError, UsageError
from poolctl.load import Scenario, choice, exponential, integers, lognormal, poisson, think, transaction, uniform, zipf
from poolctl.load.find import files, find

GOOD = """
from poolctl.load import Scenario, poisson, transaction

@transaction
def look(connection):
    pass

class Shop(Scenario):
    \"\"\"A shop.\"\"\"
    arrivals = poisson(1)
    transactions = (look,)
"""


def test_a_transaction_is_its_function_with_weight_and_draws():
    @transaction(weight=3, product=integers(1, 9), hot=True)
    def look(connection, product, hot):
        return connection, product, hot

    assert (look.name, look.weight, look.takes, look.native) == ("look", 3.0, "connection", False)
    assert look("c", 2, hot=False) == ("c", 2, False)
    assert look.parameters["product"] == integers(1, 9)
    assert look.parameters["hot"].values(np.zeros(2)) == [True, True]


def test_a_transactions_site_is_the_line_of_its_def():
    @transaction(
        weight=2,
    )
    def look(connection):
        pass

    file, line, function = look.site
    assert file == __file__
    assert Path(file).read_text().splitlines()[line - 1].strip() == "def look(connection):"
    assert function.endswith("look")


def test_what_a_transaction_takes_is_told_by_annotation_or_by_name():
    def annotated(anything: Connection):
        pass

    async def native(whatever: AsyncSession):
        pass

    def named(engine):
        pass

    assert transaction(annotated).takes == "connection"
    assert (transaction(native).takes, transaction(native).native) == ("session", True)
    assert transaction(named).takes == "engine"


def test_thinking_while_holding_is_seen():
    def thinks(connection):
        think(0.1)

    def works(connection):
        connection.execute("select 1")

    assert transaction(thinks).thinks
    assert not transaction(works).thinks


@pytest.mark.parametrize(
    ("function", "parameters", "says"),
    [
        (lambda: None, {}, "takes nothing"),
        (lambda stuff: None, {}, "cannot tell what its first parameter 'stuff'"),
        (lambda connection, product: None, {}, "no value for product"),
        (lambda connection: None, {"product": 3}, "does not take product"),
        (lambda connection: None, {"weight": -1}, "below 0"),
    ],
)
def test_a_function_that_does_not_fit_is_refused_with_its_place(function, parameters, says):
    with pytest.raises(InputError, match=rf"test_scenario\.py:\d+: transaction .*{says}"):
        transaction(**parameters)(function)


def test_a_scenario_without_arrivals_or_transactions_is_refused_with_its_line():
    with pytest.raises(InputError, match=r"test_scenario\.py:\d+: scenario Nothing has no arrivals"):

        class Nothing(Scenario):
            transactions = ()

    with pytest.raises(InputError, match="scenario Empty needs transactions"):

        class Empty(Scenario):
            arrivals = poisson(1)
            transactions = (len,)  # type: ignore[assignment]


def test_transactions_of_one_scenario_have_different_names():
    look = (
        transaction(lambda connection: None, name="look")
        if False
        else transaction(name="look")(lambda connection: None)
    )
    with pytest.raises(InputError, match="different names"):

        class Twice(Scenario):
            arrivals = poisson(1)
            transactions = (look, look)


def test_a_single_objective_may_be_a_text():
    class One(Scenario):
        arrivals = poisson(1)
        transactions = (transaction(name="look")(lambda connection: None),)
        objectives = "p95 wait < 50ms"  # type: ignore[assignment]

    assert One.objectives == ("p95 wait < 50ms",)


def test_a_base_class_without_anything_is_allowed():
    class Base(Scenario):
        writes = True

    assert Base.writes


def test_thinking_sleeps_in_a_thread(monkeypatch: pytest.MonkeyPatch):
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    thread = threading.Thread(target=think, args=("20ms",))
    thread.start()
    thread.join()
    assert slept == [0.02]


def test_thinking_awaits_in_a_greenlet_so_that_others_go_on():
    order = []

    async def other():
        order.append("other")

    async def main():
        task = asyncio.ensure_future(other())
        await greenlet_spawn(lambda: (think(0), think(0.001), order.append("thought")))
        await task

    asyncio.run(main())
    assert order == ["other", "thought"]


def test_thinking_in_an_async_def_is_refused_because_it_would_block_the_loop():
    async def main():
        think(0.1)

    with pytest.raises(UsageError, match="block the event loop"):
        asyncio.run(main())


@pytest.mark.parametrize(
    ("draw", "mean"),
    [
        (uniform("10ms", "30ms"), 0.02),
        (integers(1, 9), 5.0),
        (exponential("60ms"), 0.06),
        (lognormal("60ms", 0.4), 0.06 * np.exp(0.08)),
        (choice(1, 5, weights=(3, 1)), 2.0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_draws_have_their_means(draw, mean):
    values = draw.values(np.random.Generator(np.random.PCG64(3)).random(20_000))
    assert np.mean(values) == pytest.approx(mean, rel=0.03)


def test_whole_number_draws_reach_both_ends_and_no_further():
    values = integers(1, 4).values(np.array([0.0, 0.24, 0.25, 0.999999999]))
    assert values == [1, 1, 2, 4]
    ends = zipf(10).values(np.array([0.0, np.nextafter(1.0, 0.0)]))
    assert ends == [1, 10]


def test_draws_that_cannot_work_are_refused():
    for make in (
        lambda: uniform(2, 1),
        lambda: integers(2, 1),
        choice,
        lambda: choice(1, weights=(0,)),
        lambda: zipf(0),
    ):
        with pytest.raises(UsageError):
            make()


def test_the_shipped_scenarios_are_found_by_name():
    assert {"bursty", "batch", "low_concurrency"} <= set(files())
    found = find("bursty")
    assert found.scenario.__name__ == "Bursty"
    assert found.summary.startswith("Bursty web traffic")
    assert len(found.digest) == 64


def test_a_scenario_here_hides_a_shipped_one_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "bursty.py").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    assert find("bursty").scenario.__name__ == "Shop"
    assert find("batch").scenario.__name__ == "Batch"


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="no scenario 'burtsy'") as raised:
        find("burtsy")
    assert "did you mean bursty?" in raised.value.hint


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def broken(:\n", r"shop\.py:1: invalid syntax"),
        ("\nimport no_such_module\n", r"shop\.py:2: ModuleNotFoundError"),
        ("\n\nx = 1 / 0\n", r"shop\.py:3: ZeroDivisionError"),
        ("x = 1\n", "has no scenario"),
        (GOOD + "\nclass Other(Shop):\n    pass\n", "several scenarios"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_line(tmp_path: Path, source: str, says: str):
    file = tmp_path / "shop.py"
    file.write_text(source)
    with pytest.raises(InputError, match=says):
        find(str(file))


def test_one_of_several_scenarios_is_chosen_by_class(tmp_path: Path):
    file = tmp_path / "shop.py"
    file.write_text(GOOD + "\nclass Other(Shop):\n    pass\n")
    assert find(f"{file}:Other").scenario.__name__ == "Other"
    with pytest.raises(InputError, match="no scenario 'Third'"):
        find(f"{file}:Third")


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="no scenario file"):
        find(str(tmp_path / "none.py"))
