"""Per-portrait numbers that the geometry needs, derived once from the parameters.

Head space: the unit is about 70 % of a head's width; x to the picture's right, y up, z to the viewer; eyes near y = 0,
chin near y = -0.75, skull top near y = 0.8. The head turns about PIVOT; neck and shoulders stay put.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TypeVar

import torch
from torch import Tensor

from ..params import PortraitParams
from .sdf import smoothstep

PIVOT = (0.0, -0.40, -0.10)

R = TypeVar("R", bound="Rows")


class Rows(SimpleNamespace):
    """Columns of numbers by name, one entry a portrait, ray or point: [N], or [3, N] for colours and vectors."""

    def take(self: R, index: Tensor) -> R:
        """The entries at `index` (int64 [M]) of every column: how rays get the numbers of their portrait."""
        scalars = {name: c for name, c in vars(self).items() if c.dim() == 1 and c.is_floating_point()}
        taken = {name: c.index_select(-1, index) for name, c in vars(self).items() if name not in scalars}
        if scalars:  # one gather for all of them
            stacked = torch.stack(list(scalars.values())).index_select(1, index)
            taken.update(zip(scalars, stacked.unbind(0), strict=True))
        return type(self)(**taken)


def childhood(age: Tensor) -> Tensor:
    """1 at age 6, 0 from 18 on."""
    return smoothstep(18.0, 4.0, age)


def elderliness(age: Tensor) -> Tensor:
    """0 until 33, 1 at 80: how strong wrinkles and spots are."""
    return ((age - 33) / 47).clamp(0, 1)


def derive_shape(p: PortraitParams) -> Rows:
    """The solid parts of the portraits `p`, each number [N]; choices as floats."""
    kid, old = childhood(p.age), elderliness(p.age)
    smile = p.smile.clamp(min=0)
    grown = smoothstep(16.0, 22.0, p.age)
    beard = p.beard * grown
    jaw_y = -0.25 - 0.035 * p.face_length + 0.09 * kid
    jaw_ry = 0.49 - 0.05 * kid
    style = p.clothes_style
    return Rows(
        skull_x=0.585 + 0.025 * p.face_width,
        jaw_x=0.45 + 0.015 * kid + 0.05 * p.jaw_width + 0.025 * p.face_width + 0.025 * beard + 0.01 * old,
        jaw_y=jaw_y,
        jaw_ry=jaw_ry + 0.02 * beard,
        chin_y=jaw_y - jaw_ry + 0.13,
        chin_z=0.335 + 0.03 * p.chin - 0.02 * kid,
        chin_r=0.13 + 0.012 * p.chin + 0.03 * beard + 0.012 * p.jaw_width,
        cheek_y=-0.16 + 0.04 * smile - 0.03 * old,
        cheek_r=0.165 + 0.018 * p.cheeks + 0.018 * smile + 0.03 * kid - 0.012 * old,
        nose_x=0.052 + 0.014 * p.nose_width - 0.006 * kid,
        nose_y=-0.155 - 0.035 * p.nose_length + 0.045 * kid - 0.02 * old,
        nose_z=0.665 + 0.035 * p.nose_height - 0.045 * kid,
        nose_r=0.083 + 0.010 * p.nose_width - 0.008 * kid + 0.008 * old,
        eye_x=0.225 + 0.016 * p.eye_spacing,
        ear_r=1 + 0.15 * p.ear_size + 0.08 * old + 0.05 * kid,
        neck_r=0.235 + 0.035 * p.neck_width - 0.05 * kid,
        shoulder_x=1.08 + 0.12 * p.neck_width - 0.26 * kid,
        neckline=torch.tensor([-0.93, -0.91, -0.88, -0.76], device=p.device)[style],  # height of its edge in front
        neckline_v=torch.tensor([0.0, 0.34, 0.22, 0.0], device=p.device)[style],  # depth of the V
        glasses=p.glasses.float(),
        hat=p.hat.float(),
        earrings=p.earrings.float(),
    )


def head_rotation(p: PortraitParams) -> Tensor:
    """[N, 3, 3] rotation from head space to the world: nod, then turn, then tilt."""
    yaw, pitch, roll = torch.deg2rad(p.yaw), torch.deg2rad(p.pitch), torch.deg2rad(p.roll)
    one, zero = torch.ones_like(yaw), torch.zeros_like(yaw)

    def matrix(*entries: Tensor) -> Tensor:
        return torch.stack(entries, -1).view(-1, 3, 3)

    turn = matrix(yaw.cos(), zero, yaw.sin(), zero, one, zero, -yaw.sin(), zero, yaw.cos())
    nod = matrix(one, zero, zero, zero, pitch.cos(), pitch.sin(), zero, -pitch.sin(), pitch.cos())
    tilt = matrix(roll.cos(), roll.sin(), zero, -roll.sin(), roll.cos(), zero, zero, zero, one)
    return tilt @ turn @ nod
