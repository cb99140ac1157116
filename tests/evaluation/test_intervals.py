"""Bootstrap intervals and paired differences, on samples whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch

from sdic.evaluation.intervals import difference, interval
from sdic.evaluation.summary import of_edits, of_inversions
from sdic.evaluation.tables import differences_table, interval_table


def normal(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


def test_the_interval_of_a_gaussian_mean_is_1_96_standard_errors() -> None:
    values = 5 + 2 * normal(400)
    low, high = interval(values.tolist()) or (0, 0)
    mean, error = float(values.mean()), float(values.std(correction=0)) / 400**0.5
    assert low == pytest.approx(mean - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(mean + 1.96 * error, abs=0.15 * error)
    assert interval(values.tolist()) == (low, high)  # the same every time


def test_the_interval_holds_the_true_mean_19_times_in_20() -> None:
    found = [interval((3 + normal(60, seed)).tolist()) or (0, 0) for seed in range(200)]
    assert 180 <= sum(low < 3 < high for low, high in found) <= 199


def test_a_difference_is_paired() -> None:
    """What makes a picture hard for both (spread 10) does not count, what sets the methods apart (spread .1) does."""
    hard = 10 * normal(100)
    first, other = hard.tolist(), (hard + 0.3 + 0.1 * normal(100, 1)).tolist()
    mean, low, high = difference(first, other) or (0, 0, 0)
    assert mean == pytest.approx(0.3, abs=0.03)
    assert 0.25 < low < mean < high < 0.35
    assert difference(first, first) == (0, 0, 0)


def test_numbers_that_are_not_there_are_left_out() -> None:
    assert interval([1.0, None, 1.0, math.inf, "needs FILE"]) == (1.0, 1.0)
    assert difference([1.0, None, 2.0, 5.0], [2.0, 3.0, 3.0, None]) == (1.0, 1.0, 1.0)
    assert interval([1.0, None]) is None
    assert difference([1.0, None], [None, 2.0]) is None


def rows(shift: float) -> list[dict[str, float]]:
    return [{"psnr": 20 + place % 3 + shift, "l2": 0.04} for place in range(9)]


def test_rows_and_tables_say_them() -> None:
    e4e = of_inversions(rows(0), {})
    sdic = of_inversions(rows(2), {}, rows(0))
    low, high = e4e["interval"]["psnr"]
    assert low < e4e["psnr"] == 21 < high
    assert "difference" not in e4e
    assert sdic["difference"]["psnr"] == pytest.approx((2, 2, 2))
    text = interval_table({"e4e": e4e, "sdic": sdic})
    assert f"21.00 [{low:.2f}, {high:.2f}]" in text
    last = text.splitlines()[-1]
    assert "sdic - e4e" in last
    assert "+2.00 [+2.00, +2.00]" in last
    edited = [{"age": {"20": {"l2": row["l2"], "id": row["psnr"] / 30, "details_kept": None}}} for row in rows(0)]
    moved = [{"age": {"20": {**line["age"]["20"], "l2": 0.01}}} for line in edited]
    found = of_edits(moved, {}, edited)["age"]["20"]
    assert found["difference"]["l2"] == pytest.approx((-0.03, -0.03, -0.03))
    assert found["difference"]["details_kept"] is None
    text = differences_table({"e4e": of_edits(edited, {}), "sdic": of_edits(moved, {}, edited)}, "e4e")
    assert "-0.0300 [-0.0300, -0.0300]" in text.splitlines()[-1]
