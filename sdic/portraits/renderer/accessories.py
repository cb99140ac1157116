"""Solids of the details outside the generator's domain: glasses, hats, earrings; head space."""

from __future__ import annotations

import torch
from torch import Tensor

from .sdf import cut, ellipsoid, length2, length3, round_ellipsoid, sphere, torus_z
from .shape import Rows

ABSENT = 9.0  # a distance beyond everything in the picture


def _only(kind: Tensor, value: int, distance: Tensor) -> Tensor:
    return torch.where(kind == value, distance, ABSENT)


def glasses_distance(s: Rows, x: Tensor, ax: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Frame and dark lenses (the latter only for sunglasses)."""
    ex, ey = ax - s.eye_x - 0.005, y - 0.005
    ez = z - 0.665 + 0.35 * ex + 0.2 * (ex * ex)  # the front bends back towards the temples
    round_rim = torus_z(ex, ey, ez, 0.150, 0.020)
    corner = torch.maximum(ex.abs() - 0.150, ey.abs() - 0.105)
    square_rim = length2(corner, ez) - 0.022
    rim = torch.where(s.glasses == 1, round_rim, square_rim)
    bridge = torch.maximum(length2(y - 0.035, z - 0.72) - 0.018, ax - 0.10)
    arm_x = ax - 0.395 - 0.30 * (0.62 - z)
    arm = torch.maximum(length2(y - 0.03, arm_x) - 0.020, torch.maximum(z - 0.62, -0.08 - z))
    frame = torch.minimum(torch.minimum(rim, bridge), arm)
    lens = torch.maximum(ellipsoid(ex, ey, ez, 0.165, 0.125, 0.05), ez.abs() - 0.03)
    return torch.where(s.glasses > 0, frame, ABSENT), _only(s.glasses, 3, lens)


def hat_edge(s: Rows, z: Tensor) -> Tensor:
    """Height of a hat's lower edge; hair above it is hidden."""
    return torch.where(s.hat == 1, 0.27 + 0.2 * z, 0.37 + 0.06 * z)


def hat_distance(s: Rows, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """The hat of each portrait, ABSENT without one."""
    edge = hat_edge(s, z)
    fold = 0.035 * (y < edge + 0.15)
    beanie = cut(round_ellipsoid(x, y - 0.20, z + 0.08, 0.67, 0.70, 0.74, 0.66) - fold, edge - y, 0.04)
    beanie = torch.minimum(beanie, sphere(x, y - 0.96, z + 0.10, 0.13))
    dome = cut(round_ellipsoid(x, y - 0.22, z + 0.08, 0.66, 0.68, 0.74, 0.65), edge - y, 0.03)
    visor = cut(ellipsoid(x, y - 0.43 + 0.22 * (z - 0.6), z - 0.60, 0.46, 0.05, 0.50), 0.2 - z, 0.02)
    cap = torch.minimum(dome, visor)
    crown = round_ellipsoid(x, y - 0.40, z + 0.08, 0.66, 0.62, 0.72, 0.60)
    crown = cut(cut(crown, edge - y, 0.03), y - 0.88 + 0.12 * x.abs(), 0.10)
    across = length2(x, z + 0.06)
    brim = torch.maximum(across - 0.98, (y - edge - 0.12 * x * x).abs() - 0.022)
    hat = torch.where(s.hat == 1, beanie, torch.where(s.hat == 2, cap, torch.minimum(crown, brim * 0.9)))
    return torch.where(s.hat > 0, hat, ABSENT)


def earring_distance(s: Rows, ax: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """A stud or hoop at each ear lobe."""
    lobe_x, lobe_y = ax - s.skull_x - 0.045, y + 0.02 + 0.15 * s.ear_r
    stud = length3(lobe_x, lobe_y, z + 0.03) - 0.052
    hoop = torus_z(lobe_x, lobe_y + 0.12, z + 0.03, 0.10, 0.022)
    return torch.minimum(_only(s.earrings, 1, stud), _only(s.earrings, 2, hoop))
