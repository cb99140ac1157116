"""Hair: where it grows, how thick it is, and what hangs or stands off, all in head space.

Hair is a shell on the skull whose thickness rises smoothly from zero at the hairline (so that there is no edge like a
helmet's), joined with locks that stand off. A style is a row of numbers (:data:`CUTS`); styles that need the same
solids form a family and are traced together.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ..params import HAIR_STYLES, PortraitParams
from .sdf import cut, join, length2, ramp, round_ellipsoid, smoothstep, sphere
from .shape import Rows

CLOSE, HANGING, CURLED = range(3)  # families


@dataclass(frozen=True)
class Cut:
    """One hair style in numbers (head units; the hairline is relative to the person's own)."""

    family: int = CLOSE
    rise: float = 0.0  # of the hairline in front
    side: float = -0.05  # height of the sideburns' end
    ear: float = 0.165  # radius left free around the ear
    locks: float = 0.0  # depth of the notches of the front edge
    lock_rate: float = 20.0  # notches a unit, times 2 pi
    slope: float = 0.0  # of the front edge, times the parting
    top: float = 0.0  # thickness at the crown and at the sides, and what volume adds to the former
    gain: float = 0.0
    sides: float = 0.0
    width: float = 0.2  # over which thickness is reached
    tuft: float = -0.5  # size of a tuft above the forehead, and of a knot at the crown; well negative for none
    knot: float = -0.5
    bottom: float = 0.0  # where hanging hair ends
    sway: float = 0.0  # amplitude of its waves
    flare: float = 0.0
    ball: float = -0.5  # growth of a round mass over that of an average afro
    curl: float = 0.0  # depth and rate of curls
    curl_rate: float = 25.0


CUTS: dict[str, Cut] = {
    "bald": Cut(top=-0.05, sides=-0.05),
    "buzz": Cut(top=0.030, sides=0.025, width=0.10),
    "short": Cut(locks=0.010, lock_rate=31.0, slope=0.10, top=0.125, gain=0.035, sides=0.045, width=0.28),
    "quiff": Cut(top=0.09, sides=0.035, width=0.24, tuft=0.0),
    "fringe": Cut(
        rise=-0.17, side=-0.12, ear=0.10, locks=0.022, slope=0.10, top=0.12, gain=0.035, sides=0.085, width=0.12
    ),
    "bun": Cut(top=0.075, sides=0.05, width=0.16, knot=0.0),
    "bob": Cut(HANGING, side=-0.3, ear=0.0, top=0.11, gain=0.035, sides=0.09, bottom=-0.52, flare=0.05),
    "long": Cut(HANGING, side=-0.3, ear=0.0, top=0.10, gain=0.035, sides=0.09, bottom=-1.12, sway=0.004),
    "wavy": Cut(HANGING, side=-0.3, ear=0.0, top=0.12, gain=0.035, sides=0.10, bottom=-1.05, sway=0.028),
    "curly": Cut(
        CURLED, rise=-0.04, locks=0.016, top=0.17, gain=0.035, sides=0.10, width=0.15, curl=0.028, curl_rate=21.0
    ),
    "afro": Cut(
        CURLED, rise=-0.04, locks=0.016, top=0.12, sides=0.12, width=0.15, ball=0.0, curl=0.022, curl_rate=30.0
    ),
}
assert tuple(sorted(CUTS)) == tuple(sorted(HAIR_STYLES))


def family_of(style: int) -> int:
    """The family of a hair style's index."""
    return CUTS[HAIR_STYLES[style]].family


def derive_hair(p: PortraitParams) -> Rows:
    """The hair of the portraits `p`, [N] each: the numbers of :class:`Cut`, adapted to the person."""
    table = {
        f.name: torch.tensor([float(getattr(CUTS[style], f.name)) for style in HAIR_STYLES], device=p.device)
        for f in fields(Cut)
    }
    c = {name: column[p.hair_style] for name, column in table.items()}
    del c["family"]
    recede = p.balding * smoothstep(25.0, 65.0, p.age)
    c["top"] = c["top"] + c.pop("gain") * p.hair_volume
    c["tuft"] = c["tuft"] + 0.04 * p.hair_volume
    c["knot"] = c["knot"] + 0.035 * p.hair_volume
    c["ball"] = c["ball"] + 0.06 * p.hair_volume
    return Rows(
        **c,
        grow=0.04 * p.hair_volume,  # how much wider hanging hair stands off
        line=0.41 + 0.05 * p.hair_line + 0.20 * recede,  # height of the hairline above the forehead's middle
        temple=0.07 + 0.14 * recede,  # how far it recedes at the temples
        part=p.hair_part,  # -1..1
        phase=torch.pi * p.hair_phase,  # radians
    )


def growth(family: int, h: Rows, x: Tensor, ax: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Height above the hairline: positive where hair grows, negative on bare skin (in head units)."""
    if family == HANGING:
        # The front edge falls from the parting to both sides, like curtains.
        front = h.line + 0.10 - 0.85 * torch.sqrt((x - 0.26 * h.part).square_() + 0.0036).clamp_(max=0.36)
    else:
        turn = h.lock_rate * x + h.phase
        notches = h.locks * (torch.sin(turn) + 0.6 * torch.sin(2.26 * turn))
        temples = h.temple * ramp(0.08, 0.36, ax) - 0.9 * (ax - 0.30).clamp_(min=0)
        front = h.line + h.rise + temples + notches + h.slope * h.part * x
    low = (h.side + 0.45) * smoothstep(-0.28, -0.05, z) - 0.45
    above = y - torch.lerp(low, front, smoothstep(0.04, 0.34, z))
    # Around the ear; a radius of zero leaves nothing free.
    around = length2(y + 0.01, z + 0.05) - h.ear + (h.ear <= 0)
    return torch.minimum(above, around)


def _shell(h: Rows, y: Tensor, skull: Tensor, above: Tensor) -> Tensor:
    """A coat on the skull, going from `sides` at the ears to `top` at the crown."""
    thickness = torch.lerp(h.sides, h.top, ramp(0.1, 0.65, y)) * (1 - 0.5 * h.slope * h.part)
    t = (above / h.width).clamp_(-1, 1)
    rounded = t.clamp(min=0)
    return skull - thickness * rounded * (2 - rounded) + 0.012 - 0.05 * t.clamp_(max=0)


def _window(h: Rows, ax: Tensor, y: Tensor, z: Tensor, width: float) -> Tensor:
    """Negative in the region in front of the face that hair leaves free."""
    up = (y + 0.10 - 0.2 * (h.line - 0.41)) / 0.60
    # Below the cheeks the opening goes on downwards, narrowing: hair does not close under the chin.
    frame = length2(ax / (width + 0.10 * up.clamp(-1, 0)), up.clamp(min=0)) - 1
    return torch.maximum(frame * 0.45, 0.02 - z)


def _close(h: Rows, x: Tensor, y: Tensor, z: Tensor, d: Tensor) -> Tensor:
    """Adds tuft and knot."""
    side = x - 0.10 * h.part
    tuft = round_ellipsoid(
        side, y - 0.70 - h.tuft.clamp(min=-0.1), z - 0.30 + 0.25 * x * h.part, 0.36, 0.17, 0.25, 0.17
    )
    knot = sphere(x - 0.05 * h.part, y - 0.84, z + 0.22, 0.20 + h.knot)
    return join(join(d, tuft + (h.tuft < -0.3) * 9.0, 0.14), knot, 0.05)


def _hanging(h: Rows, x: Tensor, ax: Tensor, y: Tensor, z: Tensor, d: Tensor) -> Tensor:
    """Adds what hangs down at both sides and the back, open around the face."""
    wave = torch.sin(11 * y + 5 * z + h.phase) + 0.5 * torch.sin(19 * y - 9 * x + h.phase)
    ax = ax + h.sway * (wave - 1) + h.flare * (y + 0.1)
    hang = round_ellipsoid(ax, y + 0.20, z + 0.14, 0.70 + h.grow, 1.05, 0.56 + h.grow, 0.52)
    hang = cut(hang, -_window(h, ax, y, z, 0.475), 0.09)
    return join(d, cut(hang, h.bottom - y, 0.14), 0.12)


def _curled(h: Rows, x: Tensor, ax: Tensor, y: Tensor, z: Tensor, d: Tensor) -> Tensor:
    """Adds a round mass and a knobbly surface."""
    grow = h.ball.clamp(min=-0.1)
    ball = round_ellipsoid(x, y - 0.28, z + 0.14, 0.80 + grow, 0.74 + grow, 0.72 + grow, 0.62)
    ball = cut(ball, -_window(h, ax, y, z, 0.47), 0.10) + (h.ball < -0.3) * 9.0
    rate = h.curl_rate
    knobs = torch.sin(rate * x + h.phase + 2 * torch.sin(0.5 * rate * y))
    knobs = knobs * torch.sin(rate * y + 1.3 * h.phase) * torch.sin(rate * z + 0.7 * h.phase)
    return join(d, ball, 0.1) - h.curl * knobs


def hair_distance(family: int, h: Rows, x: Tensor, ax: Tensor, y: Tensor, z: Tensor, skull: Tensor) -> Tensor:
    """Distance to the hair of portraits that are all of one family."""
    d = _shell(h, y, skull, growth(family, h, x, ax, y, z))
    if family == CLOSE:
        return _close(h, x, y, z, d)
    if family == HANGING:
        return _hanging(h, x, ax, y, z, d)
    return _curled(h, x, ax, y, z, d)
