"""Signed distances of head, neck, shoulders and shirt."""

from __future__ import annotations

import torch
from torch import Tensor

from .sdf import cut, ellipsoid, join, length2, length3, round_ellipsoid, sphere
from .shape import Rows


def skull_distance(s: Rows, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """The bare skull, on which hair grows too."""
    return round_ellipsoid(x, y - 0.17, z + 0.08, s.skull_x, 0.62, 0.66, 0.57)


def face_distance(s: Rows, x: Tensor, ax: Tensor, y: Tensor, z: Tensor, skull: Tensor) -> Tensor:
    """Head with ears in head space; `ax` is |x|, `skull` the value of :func:`skull_distance`."""
    jaw = round_ellipsoid(x, y - s.jaw_y, z - 0.12, s.jaw_x, s.jaw_ry, 0.46, 0.42)
    d = join(skull, jaw, 0.25)
    d = join(d, sphere(x, y - s.chin_y, z - s.chin_z, s.chin_r), 0.14)
    d = join(d, sphere(ax - 0.265, y - s.cheek_y, z - 0.365, s.cheek_r), 0.12)
    # Sockets are dented in, eyeballs (with their lids) bulge out of them again.
    d = cut(d, 0.175 - length3(ax - 0.225, y - 0.03, z - 0.715), 0.09)
    d = join(d, sphere(ax - s.eye_x, y - 0.015, z - 0.405, 0.138), 0.035)
    # The nose tapers upwards: one long ellipsoid, a round tip, two wings.
    bridge = ellipsoid(x, y + 0.01, z - 0.575, 0.062, 0.22, 0.095)
    tip = sphere(x, y - s.nose_y, z - s.nose_z, s.nose_r)
    wing = sphere(ax - s.nose_x, y - s.nose_y + 0.025, z - s.nose_z + 0.055, 0.056)
    d = join(d, join(join(bridge, tip, 0.10), wing, 0.04), 0.07)
    ear = ellipsoid(ax - s.skull_x - 0.015 + 0.35 * (z + 0.06), y + 0.01, z + 0.06, 0.042, 0.15 * s.ear_r, 0.095)
    return join(d, ear, 0.05)


def torso_distance(s: Rows, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Neck-and-shoulders skin, and the shirt over it; world space."""
    neck = length2(x, z + 0.11 - 0.12 * (y + 0.5)) - s.neck_r
    shoulders = ellipsoid(x, y + 1.58, z + 0.20, s.shoulder_x, 0.66, 0.44)
    flesh = cut(join(neck, shoulders, 0.24), y + 0.30, 0.1)
    # The edge of the shirt lies lower in front; a V takes away more around the middle.
    edge = y - s.neckline + 0.30 * z
    v = torch.minimum((y - s.neckline + s.neckline_v) - 1.5 * x.abs(), z + 0.05)
    return flesh, cut(flesh - 0.035, torch.maximum(edge, v), 0.03)
