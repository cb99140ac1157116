"""The face's surface: relief (lips, folds, wrinkles) and paint (eyes, brows, mouth, beard), in head space.

Both are functions of the position on the face seen from the front, so they turn with the head. Heights are in head
units.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .noise import spot_noise, strand_noise
from .sdf import ramp, smoothstep
from .shape import Rows


def _bump(x: Tensor, width: Tensor | float) -> Tensor:
    """A bell of height 1 and about the given half-width, cheaper than an exponential."""
    t = 1 - (x / width).square_().clamp_(max=1)
    return t * t


def mouth_at(k: Rows, x: Tensor) -> Rows:
    """The mouth's lines: heights of the lips' edges, and how far along the lips a point is (across, 0 = corner)."""
    t2 = (x / k.mouth_w).square()
    across = (1 - t2).clamp_(min=0)
    seam = k.mouth_y + k.mouth_bend * (t2.clamp(max=1.3) - 0.45)
    inner_top = seam + 0.22 * k.open_mouth * across
    inner_bottom = seam - 0.78 * k.open_mouth * torch.sqrt(across) * (0.4 + 0.6 * across)
    full = torch.sqrt(across + 1e-6)
    top, bottom = inner_top + k.lip_up * full * (1 - 0.28 * _bump(x, 0.05)), inner_bottom - k.lip_low * full
    return Rows(top=top, inner_top=inner_top, inner_bottom=inner_bottom, bottom=bottom, across=across)


def relief(k: Rows, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Height of the fine surface above the traced one; its slope tilts the normals."""
    ax = x.abs()
    m = mouth_at(k, x)
    upper = _bump(y - 0.5 * (m.top + m.inner_top), 0.6 * (m.top - m.inner_top) + 0.02)
    lower = _bump(y - 0.5 * (m.bottom + m.inner_bottom), 0.6 * (m.inner_bottom - m.bottom) + 0.02)
    h = (0.009 * upper + 0.018 * lower) * smoothstep(0.0, 0.25, m.across)
    fold = _bump(ax - 0.115 - 0.03 * k.smile - 0.42 * (k.nose_y - y), 0.05) * _bump(y - k.nose_y + 0.12, 0.15)
    h = h - fold * (0.016 * k.smile + 0.016 * k.old)
    t = (ax - k.eye_x) / k.eye_w
    lid = k.eye_top * torch.sqrt((1 - t * t).clamp_(min=1e-4)) + 0.034 + 0.015
    h = h - 0.010 * _bump(y - lid, 0.022) * ramp(1.25, 0.8, t.abs())
    bag = _bump(y + 0.10 + 0.012 * k.old - 0.04 * t * t, 0.03) * ramp(1.1, 0.5, t.abs())
    h = h - bag * (0.012 * k.old + 0.004 * k.smile)
    lines = _bump(torch.remainder(y - 0.02 * torch.cos(9 * x) - 0.265, 0.085) - 0.0425, 0.022)
    h = h - 0.014 * k.old * lines * ramp(0.42, 0.25, ax) * smoothstep(0.25, 0.29, y) * smoothstep(0.56, 0.50, y)
    feet = _bump(torch.remainder(y - 0.015 - (ax - 0.36) * 0.6 * torch.sign(y - 0.015), 0.055) - 0.0275, 0.018)
    crow = feet * _bump(ax - 0.42, 0.075) * _bump(y - 0.015, 0.09)
    h = h - crow * (0.012 * k.old + 0.003 * k.smile)
    glabella = _bump(ax - 0.045, 0.018) * _bump(y - 0.17, 0.08)
    h = h - glabella * (0.012 * k.old + 0.008 * k.frown)
    jowl = _bump(ax - 0.23 - 0.05 * k.smile, 0.028) * _bump(y - k.mouth_y + 0.12, 0.10)
    return (h - 0.014 * k.old * jowl) * ramp(0.0, 0.2, z)


class Paint:
    """A colour [3, M] that layers are laid over."""

    def __init__(self, color: Tensor):
        self.color = color.clone()

    def mix(self, color: Tensor, amount: Tensor) -> None:
        """Lay `color` ([3, M] or [3, 1]) over it with opacity `amount` [M] in 0..1."""
        self.color = torch.lerp(self.color, color, amount)

    def tint(self, red: float, green: float, blue: float, amount: Tensor) -> None:
        """Multiply by a colour, as far as `amount` [M] says."""
        factor = torch.tensor([red, green, blue], device=self.color.device).view(3, 1) - 1
        self.color = self.color * (1 + factor * amount)


def paint_face(k: Rows, x: Tensor, y: Tensor, z: Tensor, height: Tensor, px: float) -> tuple[Tensor, Tensor, Tensor]:
    """Linear colour [3, M] and gloss [M] of skin points, and where eyes and teeth have no relief [M].

    `height` is the :func:`relief` there and `px` the size of a pixel.
    """
    ax = x.abs()
    front = ramp(0.0, 0.2, z)
    paint = Paint(k.skin)
    _complexion(paint, k, x, ax, y, z, front, height)
    _facial_hair(paint, k, x, ax, y, z, px)
    lips, hole = _mouth(paint, k, x, y, front, px)
    nostril = _bump(ax - k.nose_x + 0.002, 0.034) * _bump(y - k.nose_y + 0.062, 0.020)
    paint.mix(k.skin * 0.12, 0.85 * nostril * ramp(0.5, 0.6, z))
    eyes = _eyes(paint, k, x, ax, y, front, px)
    _brows(paint, k, x, ax, y, front, px)
    smooth = torch.maximum(eyes, hole)
    gloss = (0.17 - 0.07 * k.old + 0.22 * lips) * (1 - smooth)
    return paint.color, gloss, smooth


def _complexion(
    paint: Paint, k: Rows, x: Tensor, ax: Tensor, y: Tensor, z: Tensor, front: Tensor, height: Tensor
) -> None:
    small, large = spot_noise(0.55 * x + k.phase, 0.55 * y + 0.3 * z)
    blush = _bump(ax - 0.30, 0.22) * _bump(y + 0.17, 0.17) * front
    paint.tint(1.0, 0.70, 0.68, blush * (0.32 + 0.35 * k.kid - 0.1 * k.old))
    nose = _bump(x, 0.13) * _bump(y - k.nose_y, 0.11) * ramp(0.55, 0.66, z)
    paint.tint(1.0, 0.78, 0.75, 0.4 * nose)
    socket = _bump(ax - k.eye_x, 0.19) * _bump(y - 0.02, 0.16) * front
    paint.tint(0.80, 0.70, 0.70, socket * (0.30 + 0.35 * k.old))
    where = _bump(y + 0.10, 0.24) * ramp(0.52, 0.30, ax) * front
    paint.tint(0.62, 0.45, 0.33, ramp(0.9, 1.5, small) * where * k.freckles)
    paint.tint(0.66, 0.55, 0.47, ramp(1.3, 2.1, large + 0.6 * small) * k.old.square() * 0.45)
    ear = _bump(y, 0.11) * _bump(z + 0.02, 0.07) * ramp(0.56, 0.62, ax)
    paint.tint(0.75, 0.52, 0.48, 0.8 * ear)
    paint.tint(1.0, 0.93, 0.92, (0.5 + 0.5 * large).clamp_(0, 1) * (0.25 + 0.45 * k.old))
    # The same lines as in the relief, as a stain: at 64 pixels shading alone would not show them.
    paint.tint(0.66, 0.52, 0.47, (height * -60).clamp_(0, 1) * (0.30 + 0.50 * k.old))


def _facial_hair(paint: Paint, k: Rows, x: Tensor, ax: Tensor, y: Tensor, z: Tensor, px: float) -> None:
    cheek_line = k.mouth_y + 0.055 + 2.0 * (ax - 0.16).clamp(min=0).square() + 0.10 * ramp(0.40, 0.56, ax)
    beard = ramp(0.02, -0.05, y - cheek_line) * ramp(-0.20, -0.05, z)
    middle = k.mouth_y + 0.085 - 0.9 * ax.square()
    moustache = ramp(0.045, 0.025, (y - middle).abs()) * ramp(0.20, 0.15, ax) * ramp(0.3, 0.4, z)
    fine, clump, _ = strand_noise(0.55 * torch.atan2(x, z + 0.1), 0.35 * y + 0.2)
    fade = 1 / (1 + 12 * px)
    strands = (1 + fade * (0.22 * fine + 0.12 * clump)).clamp_(0.4, 1.7)
    cover = torch.maximum(beard * (k.beard * 1.5).clamp(max=1), moustache * (k.moustache * 1.3).clamp(max=1))
    stubble = (0.55 + 0.45 * (k.beard > 0.35)) * cover + 0.15 * fade * cover * fine
    paint.mix(k.hair * 0.75 * strands, stubble.clamp(0, 0.94))


def _mouth(paint: Paint, k: Rows, x: Tensor, y: Tensor, front: Tensor, px: float) -> tuple[Tensor, Tensor]:
    """Returns the masks of the lips and of the opening."""
    m = mouth_at(k, x)
    soft = 0.5 * px + 0.006
    inside_lips = torch.minimum(m.top - y, y - m.bottom)
    lips = ramp(-soft, soft, inside_lips) * ramp(0.0, 0.10, m.across) * front
    paint.mix(k.lip, lips * (0.75 + 0.25 * k.lip_tint))
    opening = torch.minimum(m.inner_top - y, y - m.inner_bottom)
    hole = ramp(-0.4 * px, 0.4 * px, opening) * ramp(0.0, 0.06, m.across) * (k.open_mouth > 0.004) * front
    dark = torch.tensor([0.10, 0.018, 0.02], device=x.device).view(3, 1)
    paint.mix(dark, hole)
    tongue = _bump(x, 0.13) * _bump(y - m.inner_bottom, 0.05)
    paint.mix(torch.tensor([0.42, 0.10, 0.11], device=x.device).view(3, 1), 0.8 * hole * tongue)
    # Upper teeth fill most of the opening, so that a smile is white even when it is two pixels high.
    edge = m.inner_top - 0.68 * k.open_mouth * torch.sqrt(m.across)
    gaps = 1 - 0.20 / (1 + 20 * px) * _bump(torch.remainder(x + 0.031, 0.062) - 0.031, 0.007)
    white = torch.tensor([0.88, 0.86, 0.80], device=x.device).view(3, 1) * (1 - k.old * 0.18)
    teeth = hole * ramp(-0.5 * px - 0.004, 0.5 * px + 0.004, y - edge)
    paint.mix(white * gaps * (0.72 + 0.28 * m.across), teeth)
    seam = _bump(y - 0.5 * (m.inner_top + m.inner_bottom), 0.010 + 0.5 * px) * ramp(0.0, 0.12, m.across)
    closed = ramp(0.03, 0.0, k.open_mouth)
    paint.mix(k.skin * torch.tensor([0.16, 0.08, 0.08], device=x.device).view(3, 1), 0.85 * seam * closed * front)
    corner = _bump(x.abs() - k.mouth_w, 0.025) * _bump(y - k.mouth_y - 0.55 * k.mouth_bend, 0.022)
    paint.mix(k.skin * 0.22, 0.55 * corner * front)
    return lips * (1 - hole), hole


def _eyes(paint: Paint, k: Rows, x: Tensor, ax: Tensor, y: Tensor, front: Tensor, px: float) -> Tensor:
    ex = ax - k.eye_x
    ey = y - 0.012 - k.eye_tilt * ex
    t = ex / k.eye_w
    oval = (1 - t * t).clamp(min=0)
    top, bottom = k.eye_top * torch.sqrt(oval), -k.eye_bottom * torch.sqrt(oval) * (0.5 + 0.5 * oval)
    opening = ramp(-0.5 * px, 0.5 * px, torch.minimum(top - ey, ey - bottom)) * ramp(1.05, 0.97, t.abs()) * front
    # The whites darken towards the rim and under the upper lid, or they would look flat and staring.
    shade = (0.62 + 0.38 * ramp(0.0, 0.05, top - ey)) * (1 - 0.25 * t * t)
    white = torch.tensor([0.80, 0.79, 0.78], device=x.device).view(3, 1)
    paint.mix(white * shade, opening)
    ix = ex - torch.sign(x) * k.gaze
    r = torch.sqrt(ix * ix + (ey - 0.006).square() + 1e-9)
    iris = opening * ramp(k.iris_r + 0.6 * px, k.iris_r - 0.6 * px, r)
    inner = r / k.iris_r
    glow = 0.75 + 0.75 * ramp(0.02, -0.05, ey) - 0.75 * ramp(0.78, 1.0, inner)
    paint.mix(k.iris * glow * shade, iris)
    pupil = ramp(0.030 + 0.5 * px, 0.030 - 0.5 * px, r)
    paint.mix(torch.full_like(white, 0.006), opening * pupil)
    glint_x, glint_y = ix * torch.sign(x) - 0.022, ey - 0.030
    glint = ramp(0.019 + 0.5 * px, 0.019 - 0.5 * px, torch.sqrt(glint_x * glint_x + glint_y * glint_y + 1e-9))
    paint.mix(torch.full_like(white, 1.0), glint * opening)
    near = ramp(1.22, 1.0, t.abs()) * front
    lash = _bump(ey - top - 0.004, 0.014 + 0.012 * k.lashes + 0.45 * px) * near
    paint.mix(torch.full_like(white, 0.012), lash * (0.50 + 0.42 * k.lashes))
    wing = _bump(ex - 1.08 * k.eye_w, 0.035) * _bump(ey - 0.022, 0.022) * ramp(0.45, 1.0, k.lashes) * front
    paint.mix(torch.full_like(white, 0.012), 0.8 * wing)
    lower = _bump(ey - bottom, 0.010 + 0.35 * px) * near
    paint.mix(k.skin * 0.30, 0.45 * lower)
    crease = _bump(ey - top - 0.040, 0.012 + 0.4 * px) * near
    paint.mix(k.skin * 0.45, 0.5 * crease)
    return opening


def _brows(paint: Paint, k: Rows, x: Tensor, ax: Tensor, y: Tensor, front: Tensor, px: float) -> None:
    t = (ax - k.eye_x) / 0.150
    inner = ramp(0.0, -1.0, t)
    middle = k.brow_y + k.brow_arch * (1 - t * t) + 0.008 * t - 0.030 * k.frown * inner
    height = k.brow_h * (1 - 0.35 * ramp(0.2, 1.1, t) - 0.15 * inner) + 0.15 * px
    fine, _, _ = strand_noise(0.9 * x + 0.9 * torch.sign(x) * y, 0.4 * y)
    soft = 0.006 + 0.5 * px
    body = ramp(height + soft, height - soft, (y - middle).abs()) * ramp(1.12, 0.92, t.abs()) * front
    paint.mix(k.hair * 0.60, body * (0.86 + 0.10 * fine / (1 + 12 * px)).clamp(0, 1))
