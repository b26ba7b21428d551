"""How large a pool is for nine of ten other runs, told from the resamples of one."""

from __future__ import annotations

import numpy as np
import pytest

from poolctl.analysis.limits import Limits
from poolctl.analysis.regime import judge
from poolctl.analysis.sizing import Found


def found(resampled: list[int], *, useful: int = 200) -> Found:
    regime = judge(np.arange(1000.0), [], 1000.0)
    return Found(5, 5, useful, 32, sorted(resampled), regime, Limits(0.0, 0.0, None), {})


@pytest.mark.parametrize(
    ("resampled", "enough"),
    [
        ([7] * 10, 7),  # no spread: nothing to add
        ([7] * 6 + [9] * 4, 10),  # 7 + 2 * 1.414, rounded up
        ([6] * 5 + [8] * 3 + [10] * 2, 12),  # 6 + 4 * 1.414, rounded up
        ([], 5),  # a closed loop: what the recorded arrivals ask for
    ],
)
def test_another_run_is_as_far_from_its_process_as_this_one(resampled: list[int], enough: int) -> None:
    assert found(resampled).likely == enough
    assert found(resampled, useful=4).size == max(enough, 5)  # what is useful caps the headroom, not this


def test_resamples_that_no_size_satisfies_ask_for_no_more_than_is_useful() -> None:
    assert found([6] * 8 + [32] * 2, useful=8).likely == 8
