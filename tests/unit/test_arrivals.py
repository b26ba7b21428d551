"""Arrivals: shapes, scaling, files, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from poolctl.errors import InputError, UsageError
from poolctl.load import batch_of, closed, exponential, from_file, on_off, poisson, ramp
from poolctl.load.arrivals import Arrivals


def instants(arrivals: Arrivals, duration_s: float, seed: int = 1) -> list[float]:
    return arrivals.instants(np.random.Generator(np.random.PCG64(seed)).random, duration_s).tolist()


def test_poisson_arrivals_have_the_rate_and_exponential_gaps():
    gaps = np.diff(instants(poisson("200/s"), 100.0))
    assert len(gaps) == pytest.approx(20_000, rel=0.03)
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.03)


def test_on_off_arrivals_come_at_the_rate_of_their_part_of_the_cycle():
    at = np.array(instants(on_off("10/s", "100/s", "8s", "2s"), 1000.0))
    in_burst = at % 10 >= 8
    assert in_burst.sum() == pytest.approx(20_000, rel=0.03)
    assert (~in_burst).sum() == pytest.approx(8_000, rel=0.05)


def test_an_on_off_process_may_be_silent_between_its_bursts():
    at = np.array(instants(on_off(0, "100/s", "8s", "2s"), 100.0))
    assert len(at) > 1500
    assert (at % 10 >= 8).all()


def test_a_ramp_rises_and_then_stays():
    at = np.array(instants(ramp(0, "100/s", "10s"), 20.0))
    assert ((at >= 10) & (at < 20)).sum() == pytest.approx(1000, rel=0.1)
    assert (at < 10).sum() == pytest.approx(500, rel=0.15)
    assert (at < 5).sum() == pytest.approx(125, rel=0.3)


def test_a_batch_arrives_in_one_instant():
    assert instants(batch_of(3, "2s"), 4.5) == [0, 0, 0, 2, 2, 2, 4, 4, 4]


@pytest.mark.parametrize(
    "arrivals", [poisson(50), on_off(8, 110, "8s", "6s"), ramp(1, 40, "5s"), batch_of(10, "500ms")], ids=str
)
def test_a_rate_can_be_set_and_the_shape_stays(arrivals):
    half = arrivals.at_rate(arrivals.rate / 2)
    assert half.rate == pytest.approx(arrivals.rate / 2)
    assert len(instants(half, 200.0)) == pytest.approx(len(instants(arrivals, 200.0)) / 2, rel=0.1)


@pytest.mark.parametrize(
    "arrivals", [poisson(50), on_off(8, 110, "8s", "6s"), ramp(1, 40, "5s"), ramp(40, 1, "5s")], ids=str
)
def test_a_shorter_run_is_the_beginning_of_a_longer_one(arrivals):
    long = instants(arrivals, 63.0)
    short = instants(arrivals, 21.5)
    assert short
    assert short == long[: len(short)]
    assert all(at >= 21.5 for at in long[len(short) :])


def test_a_file_holds_instants_in_any_order_with_comments(tmp_path: Path):
    file = tmp_path / "arrivals.txt"
    file.write_text("# recorded on Monday\n0.5\n0.25  # early\n\n3\n")
    arrivals = from_file(file)
    assert instants(arrivals, 10.0) == [0.25, 0.5, 3.0]
    assert instants(arrivals, 1.0) == [0.25, 0.5]
    assert arrivals.names() is None
    assert instants(arrivals.at_rate(arrivals.rate * 2), 10.0) == [0.125, 0.25, 1.5]


def test_a_file_may_name_the_transaction_of_each_arrival(tmp_path: Path):
    file = tmp_path / "arrivals.txt"
    file.write_text("0.5,buy\n0.25, look\n")
    assert from_file(file).names() == ["look", "buy"]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("0.1\nsoon\n", ":2: 'soon'"),
        ("-1\n", ":1: '-1'"),
        ("nan\n", ":1: 'nan'"),
        ("# nothing\n", "no arrivals"),
        ("1,a\n2\n", "some lines"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(tmp_path: Path, text: str, where: str):
    file = tmp_path / "arrivals.txt"
    file.write_text(text)
    with pytest.raises(InputError, match=where):
        from_file(file)


def test_a_missing_file_is_an_input_error(tmp_path: Path):
    with pytest.raises(InputError, match="No such file"):
        from_file(tmp_path / "none.txt")


@pytest.mark.parametrize(
    "make",
    [
        lambda: poisson(0),
        lambda: poisson("fast"),
        lambda: on_off(5, 0, "1s", "1s"),
        lambda: on_off(5, 50, "0s", "1s"),
        lambda: ramp(5, 0, "1s"),
        lambda: batch_of(0, "1s"),
        lambda: batch_of(5, 0),
        lambda: closed(0),
        lambda: closed(5, think="slow"),
    ],
)
def test_what_cannot_work_is_refused(make):
    with pytest.raises(UsageError):
        make()


def test_a_closed_model_takes_a_duration_or_a_draw_to_think():
    assert closed(3, "20ms").think.values(np.zeros(2)) == [0.02, 0.02]
    assert closed(3, exponential("20ms")).think == exponential(0.02)


def test_a_cycle_is_what_a_run_must_last_to_have_seen_everything():
    assert on_off(quiet="8/s", burst="110/s", quiet_for="8s", burst_for="6s").cycle_s == 14
    assert on_off(quiet="8/s", burst="110/s", quiet_for="8s", burst_for="6s").at_rate(5).cycle_s == 14
    assert ramp("1/s", "9/s", over="20s").cycle_s == 20
    assert poisson("50/s").cycle_s == 0
    assert batch_of(5, every="1s").cycle_s == 0
