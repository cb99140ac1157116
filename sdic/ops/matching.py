"""Where the places of one map are found in another: windowed matching, and moving a map along what was found.

Shapes: B batch, C channels, S side of a map in cells; a flow is [B, 2, S, S], (down, right) in cells.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sdic.ops.backend import is_reference

ROWS = 16  # rows of cells that are matched at once: the costs of a larger map would fill the memory


def match(a: Tensor, b: Tensor, window: int, softness: float, stay: float) -> Tensor:
    """For each cell of `a` [B, C, S, S] the mean offset of the cells of `b` [B or 1, C, S, S] that look like it.

    A cell of b at most `window` cells away, in rows and in columns, weighs exp(-cost / softness); the cost is the
    squared distance of the two cells' channels, less `stay` for the cell at the same place. -> flow [B, 2, S, S].
    """
    if is_reference():
        return match_reference(a, b, window, softness, stay)
    side, b = a.shape[-1], b.expand_as(a)
    place = torch.arange(side, device=a.device, dtype=a.dtype)
    near = (place[:, None] - place).abs() <= window
    flows = []
    for first in range(0, side, ROWS):
        last = min(first + ROWS, side)
        low, high = max(0, first - window), min(side, last + window)
        queries, keys = a[:, :, first:last].flatten(2), b[:, :, low:high].flatten(2)
        # |a - b|^2 = |a|^2 - 2 a b + |b|^2, and the first is the same for all candidates of a cell
        score = (2 * (queries.transpose(1, 2) @ keys) - keys.square().sum(1, keepdim=True)) / softness
        score = score.unflatten(2, (high - low, side)).unflatten(1, (last - first, side))
        rows, columns = near[first:last, low:high], near
        score = score.masked_fill(~(rows[:, None, :, None] & columns[None, :, None, :]), -torch.inf)
        same = (place[first:last, None, None, None] == place[low:high, None]) & (place[:, None, None] == place)
        weight = (score + same * (stay / softness)).flatten(3).softmax(3).unflatten(3, (high - low, side))
        down = weight.sum(4) @ place[low:high] - place[first:last, None]
        right = weight.sum(3) @ place - place
        flows.append(torch.stack([down, right], 1))
    return torch.cat(flows, 2)


def match_reference(a: Tensor, b: Tensor, window: int, softness: float, stay: float) -> Tensor:
    """Reference: every offset of the window in turn."""
    side, offsets = a.shape[-1], range(-window, window + 1)
    padded = F.pad(b.expand_as(a), (window, window, window, window))
    inside = F.pad(torch.ones_like(a[:1, :1]), (window, window, window, window))
    costs, moves = [], []
    for down in offsets:
        for right in offsets:
            rows = slice(window + down, window + down + side)
            columns = slice(window + right, window + right + side)
            cost = (a - padded[:, :, rows, columns]).square().sum(1) - stay * (down == right == 0)
            costs.append(cost.masked_fill(inside[:, 0, rows, columns] == 0, torch.inf))
            moves.append(a.new_tensor([down, right]))
    weights = (-torch.stack(costs, 1) / softness).softmax(1)
    return torch.einsum("bnyx,nd->bdyx", weights, torch.stack(moves))


def move_along(x: Tensor, flow: Tensor) -> Tensor:
    """x [B or 1, C, H, H] read at every place plus its flow [B, 2, S, S], bilinearly: [B, C, H, H]. What lies beyond
    the border is as at the border."""
    size, side = x.shape[-1], flow.shape[-1]
    fine = F.interpolate(flow, size=(size, size), mode="bilinear", align_corners=False) if size != side else flow
    centre = (torch.arange(size, device=x.device, dtype=x.dtype) * 2 + 1) / size - 1
    grid = torch.stack([centre + fine[:, 1] * (2 / side), centre[:, None] + fine[:, 0] * (2 / side)], 3)
    x = x.expand(len(flow), -1, -1, -1)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def smooth(x: Tensor, sigma: float) -> Tensor:
    """Gaussian filter of every channel, borders continued: [B, C, S, S]."""
    radius = int(3 * sigma) + 1
    taps = torch.exp(-(torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype) ** 2) / (2 * sigma**2))
    kernel = (taps / taps.sum()).expand(x.shape[1], 1, 1, -1)
    x = F.conv2d(F.pad(x, (radius, radius, 0, 0), mode="replicate"), kernel, groups=x.shape[1])
    return F.conv2d(F.pad(x, (0, 0, radius, radius), mode="replicate"), kernel.transpose(2, 3), groups=x.shape[1])
