"""Colours and facial features of each portrait in numbers, derived once from the parameters."""

from __future__ import annotations

import torch
from torch import Tensor

from ..params import PortraitParams
from .sdf import smoothstep
from .shape import Rows, childhood, elderliness

# sRGB, light to dark.
SKIN_TONES = (
    (0.94, 0.79, 0.70),
    (0.91, 0.72, 0.60),
    (0.84, 0.62, 0.48),
    (0.74, 0.50, 0.37),
    (0.61, 0.39, 0.28),
    (0.48, 0.30, 0.21),
    (0.37, 0.235, 0.17),
)


def to_linear(srgb: Tensor) -> Tensor:
    """sRGB 0..1 to light intensity (a plain power law)."""
    return srgb.clamp(min=0) ** 2.2


def grey_amount(p: PortraitParams) -> Tensor:
    """Share of grey in the hair, [N] in 0..1."""
    return smoothstep(36.0, 72.0, p.age) ** 1.5


def hair_color(p: PortraitParams) -> Tensor:
    """Linear hair colour after greying, [3, N]."""
    grey = grey_amount(p)
    silver = torch.tensor([0.60, 0.60, 0.61], device=p.device).view(3, 1) * (1 + 0.25 * smoothstep(60.0, 85.0, p.age))
    return torch.lerp(to_linear(p.hair_color.t()), silver, 0.95 * grey)


def skin_color(p: PortraitParams) -> Tensor:
    """Linear skin colour, [3, N]; a little paler and yellower with age."""
    table = to_linear(torch.tensor(SKIN_TONES, device=p.device))
    place = p.skin_tone * (len(SKIN_TONES) - 1)
    low = place.floor().clamp(max=len(SKIN_TONES) - 2).long()
    color = torch.lerp(table[low], table[low + 1], (place - low).unsqueeze(1)).t()
    warm = torch.stack([-0.03 * p.skin_warmth, 0.04 * p.skin_warmth, -0.08 * p.skin_warmth])
    old = elderliness(p.age)
    return color * (1 + warm) * (1 + old * torch.tensor([-0.03, 0.0, -0.06], device=p.device).view(3, 1))


def derive_look(p: PortraitParams, solids: Rows) -> Rows:
    """What face painting needs of the portraits `p`: [N] numbers and linear [3, N] colours."""
    kid, old = childhood(p.age), elderliness(p.age)
    smile, frown = p.smile.clamp(min=0), (-p.smile).clamp(min=0)
    grown = smoothstep(16.0, 22.0, p.age)
    size = 1.10 + 0.13 * p.eye_size + 0.20 * kid
    skin = skin_color(p)
    natural = skin * torch.tensor([0.78, 0.36, 0.35], device=p.device).view(3, 1)
    red = torch.tensor([0.45, 0.03, 0.06], device=p.device).view(3, 1) * (0.6 + 0.5 * skin[:1])
    return Rows(
        skin=skin,
        iris=to_linear(p.eye_color.t()),
        hair=hair_color(p),
        lip=torch.lerp(natural, red, 0.85 * p.lip_tint),
        smile=smile,  # 0..1
        frown=frown,  # 0..1
        open_mouth=0.15 * smoothstep(0.12, 1.0, p.smile),  # height of the opening
        old=old,
        kid=kid,
        mouth_y=-0.405 - 0.02 * p.face_length + 0.06 * kid,
        mouth_w=0.165 + 0.022 * p.mouth_width + 0.068 * smile - 0.015 * frown - 0.025 * kid,
        mouth_bend=0.095 * smile - 0.075 * frown + 0.012,
        lip_up=0.036 + 0.013 * p.lips - 0.010 * old - 0.006 * smile,
        lip_low=0.047 + 0.016 * p.lips - 0.012 * old - 0.010 * smile,
        lip_tint=p.lip_tint,
        eye_x=solids.eye_x,
        eye_w=0.122 * size,
        eye_top=0.078 * size * (1 - 0.10 * smile - 0.10 * frown - 0.20 * old),
        eye_bottom=0.056 * size * (1 - 0.42 * smile),
        eye_tilt=0.16 * p.eye_tilt + 0.03 - 0.10 * old,
        gaze=-0.035 * torch.sin(torch.deg2rad(p.yaw)),
        iris_r=0.063 * size * (1 + 0.05 * kid),
        lashes=p.lashes,
        brow_y=0.172 + 0.018 * p.brow_height + 0.018 * smile - 0.016 * frown + 0.06 * (size - 1),
        brow_h=(0.024 + 0.010 * p.brow_thickness) * (1 - 0.25 * kid),
        brow_arch=0.028 + 0.022 * p.brow_arch,
        nose_x=solids.nose_x,
        nose_y=solids.nose_y,
        freckles=p.freckles,
        beard=p.beard * grown,
        moustache=p.moustache * grown,
        phase=p.hair_phase,
    )
