"""Matching in bands of rows against every offset in turn, and motions that are known."""

from __future__ import annotations

import pytest
import torch

from sdic.ops import use_reference
from sdic.ops.matching import match, move_along


@pytest.mark.parametrize(("side", "window"), [(5, 2), (16, 3), (32, 8), (40, 5), (7, 20)])
def test_the_fast_path_equals_the_reference(side: int, window: int) -> None:
    a, b = torch.randn(2, 6, side, side), torch.randn(2, 6, side, side)
    fast = match(a, b, window, 0.5, 0.2)
    with use_reference():
        plain = match(a, b, window, 0.5, 0.2)
    assert fast.shape == (2, 2, side, side)
    assert plain.abs().max() > 0.5
    torch.testing.assert_close(fast, plain, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(match(a, b[:1], window, 0.5, 0.2)[:1], fast[:1])


@pytest.mark.parametrize(("down", "right"), [(0, 3), (-2, 1), (4, -4)])
def test_a_known_motion_is_found_and_undone(down: int, right: int) -> None:
    before = torch.randn(1, 8, 32, 32)
    after = before.roll((down, right), (2, 3))
    flow = match(after, before, 6, 0.01, 0.0)
    inside = (slice(None), slice(None), slice(6, 26), slice(6, 26))
    expected = torch.tensor([-down, -right], dtype=torch.float32)[None, :, None, None]
    torch.testing.assert_close(flow[inside], expected.expand(1, 2, 20, 20), atol=1e-3, rtol=0)
    torch.testing.assert_close(move_along(before, flow)[inside], after[inside], atol=1e-2, rtol=0)


def test_no_cell_beyond_the_window_is_taken() -> None:
    before = torch.randn(1, 8, 32, 32)
    flow = match(before.roll(9, 3), before, 4, 0.01, 0.0)
    assert flow.abs().max() < 4.001


def test_staying_is_preferred_where_all_looks_alike() -> None:
    flat = torch.ones(1, 4, 16, 16)
    assert match(flat, flat, 3, 0.02, 0.0)[0, :, 0, 0].min() > 1  # the mean of the window's cells in the picture
    assert match(flat, flat, 3, 0.02, 0.2).abs().max() < 0.01


def test_a_flow_in_cells_moves_a_finer_map() -> None:
    x = torch.randn(1, 2, 64, 64)
    flow = torch.zeros(1, 2, 32, 32)
    assert torch.allclose(move_along(x, flow), x, atol=1e-4)
    flow[:, 1] = 1.5
    torch.testing.assert_close(move_along(x, flow)[..., :60], x[..., 3:63], atol=1e-3, rtol=1e-3)
