"""Laws of arrivals and tapes, for any shape, seed and duration."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from poolctl.load import Scenario, choice, integers, on_off, poisson, ramp, transaction, zipf
from poolctl.load.arrivals import Arrivals, RateProfile
from poolctl.load.tape import OpenTape, draw

rates = st.floats(0.5, 200)
lengths = st.floats(0.05, 20)
shapes = st.one_of(
    st.builds(poisson, rates),
    st.builds(on_off, st.just(0.0) | rates, rates, lengths, lengths),
    st.builds(ramp, st.just(0.0) | rates, rates, lengths),
)
seeds = st.integers(0, 2**64 - 1)


@transaction(weight=2, a=integers(1, 10), b=zipf(50))
def first(connection, a, b):
    pass


@transaction(c=choice("x", "y"))
def second(connection, c):
    pass


def tape_of(shape: Arrivals, seed: int, duration_s: float) -> OpenTape:
    class Any1(Scenario):
        arrivals = shape
        transactions = (first, second)

    tape = draw(Any1, seed, duration_s)
    assert isinstance(tape, OpenTape)
    return tape


@settings(max_examples=60, deadline=None)
@given(shapes, seeds, st.floats(0.1, 30), st.floats(0.1, 1.0))
def test_a_shorter_tape_is_the_beginning_of_a_longer_one(shape, seed, duration_s, share):
    long = tape_of(shape, seed, duration_s)
    short = tape_of(shape, seed, duration_s * share)
    assert short.due_ns.tolist() == long.due_ns.tolist()[: len(short)]
    assert short.work == long.work[: len(short)]


@settings(max_examples=60, deadline=None)
@given(shapes, seeds, st.floats(0.1, 30), st.integers(1, 7))
def test_instants_ascend_within_the_duration_and_shares_are_disjoint_and_complete(shape, seed, duration_s, parts):
    tape = tape_of(shape, seed, duration_s)
    at = tape.due_ns
    assert (np.diff(at) >= 0).all()
    assert not len(at) or (at[0] >= 0 and at[-1] <= round(duration_s * 1e9))
    items = sorted(work.item for part in range(parts) for work in tape.shard(part, parts)[1])
    assert items == list(range(len(tape)))


@settings(max_examples=60, deadline=None)
@given(shapes, st.floats(0.5, 50))
def test_setting_a_rate_gives_that_rate(shape, rate):
    assert isinstance(shape, RateProfile)
    assert abs(shape.at_rate(rate).rate - rate) < 1e-6 * rate


@settings(max_examples=40, deadline=None)
@given(shapes, seeds)
def test_the_number_of_arrivals_is_what_the_rate_promises(shape, seed):
    # Poisson: the count over T has mean ∫rate and the same variance; six standard deviations never happen.
    duration_s = 40.0
    expected = sum(length * (low + high) / 2 for length, low, high in _pieces_until(shape, duration_s))
    assert abs(len(tape_of(shape, seed, duration_s)) - expected) <= 6 * expected**0.5 + 1


def _pieces_until(shape: RateProfile, duration_s: float):
    passed = 0.0
    while passed < duration_s:
        for length, low, high in shape.pieces:
            cut = min(length, max(duration_s - passed, 0.0))
            yield cut, low, low + (high - low) * cut / length
            passed += length
        if not shape.again and passed < duration_s:
            yield duration_s - passed, shape.pieces[-1][2], shape.pieces[-1][2]
            return
