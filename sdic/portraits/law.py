"""The law of portraits: a fixed function from coordinates to the parameters of a portrait, and from a generator's z.

A coordinate is a standard normal number. A portrait's own come from its seed (:mod:`.sampling`), a generator's are its
code z by its length: both are portraits of one law, which is as smooth a function as a mapping network can learn.

* A real field is the inverse of its distribution function at the coordinate's own, so it moves with the coordinate.
* A hue is the angle of two coordinates, so that it goes round without a seam.
* A choice is the largest of one coordinate each (Gumbel's way: exact probabilities), so that all choices border on all.
* "Absent, or an amount": one coordinate, whose amount falls to its least where absence begins.

Shapes: B batch, D width of the code (at least COORDINATES, 76; what is left over is free for the generator's use).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sdic.errors import ConfigError

from .params import CLOTHES_STYLES, PortraitParams, field_spec

LAW = 2  # number of the law by which seeds become portraits; the pictures of a split are others where it is another
EDGE = 1e-6  # how close to 0 and 1 a uniform number comes
BETA_ROWS, BETA_STEPS = 65, 2049  # of the table of the hair colour's distribution

# Colours are sRGB; neighbours are mixed, so that hair and eyes come in all shades between.
# Hair from black to pale blond.
HAIR_COLORS = (
    (0.09, 0.075, 0.07),
    (0.17, 0.11, 0.08),
    (0.30, 0.19, 0.12),
    (0.44, 0.28, 0.16),
    (0.62, 0.44, 0.25),
    (0.84, 0.69, 0.43),
    (0.91, 0.81, 0.60),
)
# Hair from auburn to ginger.
RED_HAIR_COLORS = ((0.40, 0.14, 0.08), (0.66, 0.28, 0.11), (0.78, 0.45, 0.22))
# Eyes from dark brown over green and grey to blue.
EYE_COLORS = (
    (0.22, 0.13, 0.08),
    (0.36, 0.22, 0.12),
    (0.50, 0.36, 0.18),
    (0.36, 0.46, 0.24),
    (0.42, 0.50, 0.50),
    (0.30, 0.48, 0.66),
)
# Relative frequency of HAIR_STYLES at the masculine end of the hidden masculine-feminine scale.
MASCULINE_HAIR_STYLES = (0.8, 1.3, 2.2, 1.8, 0.7, 1.2, 0.7, 0.1, 0.25, 0.2, 0.1)
# The same at its feminine end.
FEMININE_HAIR_STYLES = (0.05, 0.15, 0.35, 0.2, 0.9, 1.0, 0.9, 1.8, 2.0, 1.8, 1.6)


def portrait_of(z: Tensor) -> PortraitParams:
    """Codes [B, D] -> B portraits without details, on the device of `z`. The length of a code does not matter.

    A coordinate is z_i / rms(z), as the mapping network takes it. ConfigError where D is below COORDINATES.
    """
    if z.ndim != 2 or z.shape[1] < COORDINATES:
        raise ConfigError(f"a portrait takes {COORDINATES} coordinates; codes are {list(z.shape)}")
    return portrait_at(z.float() * torch.rsqrt(z.float().square().mean(1, keepdim=True) + 1e-12), z.shape[1])


def portrait_at(coordinates: Tensor, sphere: int = 0) -> PortraitParams:
    """Coordinates [B, COORDINATES or more] -> B portraits without details, on their device.

    The first IDENTITY_COORDINATES make the person, the rest what may change about a person. sphere: number of
    dimensions in which the coordinates are a point on a sphere; 0 where they are independent normal numbers.
    """
    taken = _Coordinates(coordinates, sphere)
    values = PortraitParams.defaults(len(coordinates), coordinates.device).as_dict()
    for name, value in {**_identity(taken), **_nuisance(taken)}.items():
        values[name] = value.to(field_spec(name).dtype).contiguous()
    return PortraitParams(**values)


class _Coordinates:
    """The coordinates of a batch [B, N], taken one after the other; see `portrait_at`."""

    def __init__(self, t: Tensor, sphere: int):
        self.t = t
        self.kurtosis = -6 / (sphere + 2) if sphere else 0.0
        self.taken = 0

    def normal(self) -> Tensor:
        """[B], standard normal (up to 1/D: see `uniform`)."""
        self.taken += 1
        return self.t[:, self.taken - 1]

    def uniform(self) -> Tensor:
        """[B], uniform in (0, 1).

        A normal number has F(t) = Phi(t). A coordinate of a point on the sphere of radius sqrt(D) has variance 1 and
        excess kurtosis -6 / (D + 2); the Edgeworth term F(t) = Phi(t) - kurtosis / 24 * He3(t) * phi(t) takes the error
        from 1/D to 1/D^2.
        """
        t = self.normal()
        density = torch.exp(-0.5 * t.square()) / math.sqrt(2 * math.pi)
        value = torch.special.ndtr(t) - self.kurtosis / 24 * (t**3 - 3 * t) * density
        return value.clamp(EDGE, 1 - EDGE)

    def hue(self) -> Tensor:
        """[B], uniform on the circle [0, 1)."""
        return torch.atan2(self.normal(), self.normal()) / (2 * math.pi) + 0.5

    def choice(self, weights: Tensor) -> Tensor:
        """[B] int64: index i with probability weights[:, i] / sum; weights [B, K], positive."""
        noise = torch.stack([-torch.log(-torch.log(self.uniform())) for _ in range(weights.shape[1])], 1)
        return (weights.log() + noise).argmax(1)

    def between(self, low: float, high: float) -> Tensor:
        """[B], uniform."""
        return low + (high - low) * self.uniform()

    def bell(self, deviation: float, limit: float) -> Tensor:
        """[B], normal with its tails moved to the limits."""
        return (deviation * self.normal()).clamp(-limit, limit)

    def factor(self, shift: Tensor | float = 0.0) -> Tensor:
        """[B] in [-1, 1]: a facial proportion, more often near the middle, plus a shift."""
        return (self.bell(0.5, 1.0) + shift).clamp(-1, 1)

    def amount(self, chance: Tensor | float, low: float, high: float) -> Tensor:
        """[B]: 0 with probability 1 - chance, else uniform in [low, high], least next to absence."""
        u = self.uniform()
        limit = torch.as_tensor(chance, device=u.device, dtype=u.dtype).expand_as(u)
        share = (u / limit.clamp_min(EDGE)).clamp(0, 1)
        return torch.where(u < limit, high - (high - low) * share, torch.zeros_like(u))


def _identity(c: _Coordinates) -> dict[str, Tensor]:
    """The fields that make a person."""
    femininity = c.uniform()
    masculine = 1 - 2 * femininity  # -1..1
    tone = c.uniform() ** 1.4
    light = 1 - tone
    like: Sequence[Sequence[float]] = (MASCULINE_HAIR_STYLES, FEMININE_HAIR_STYLES)
    ends = torch.tensor(like, device=tone.device, dtype=tone.dtype)
    style = c.choice(ends[0] * (1 - femininity)[:, None] + ends[1] * femininity[:, None])

    # Dark skin comes mostly with dark hair and eyes, light skin with all.
    hair = _mix(HAIR_COLORS, _beta_quantile(c.uniform(), tone))
    red = c.uniform() < 0.14 * light
    hair = torch.where(red[:, None], _mix(RED_HAIR_COLORS, c.uniform()), hair)
    dyed = c.uniform() < 0.02
    hair = torch.where(dyed[:, None], _hsv(c.hue(), c.between(0.4, 0.7), c.between(0.4, 0.8)), hair)

    may_shave = (femininity < 0.55).float()
    beard = c.amount(0.42 * may_shave, 0.15, 1.0)
    chance = torch.where(beard > 0, 0.8 + 0.2 * 0.08 * (femininity < 0.5), 0.08 * (femininity < 0.5))
    freckles = c.amount(0.22, 0.3, 1.0) * (1.3 - 1.6 * tone).clamp(0, 1)
    return {
        "face_width": c.factor(),
        "face_length": c.factor(),
        "jaw_width": c.factor(0.35 * masculine),
        "chin": c.factor(0.25 * masculine),
        "cheeks": c.factor(),
        "nose_width": c.factor(0.15 * masculine),
        "nose_length": c.factor(),
        "nose_height": c.factor(),
        "mouth_width": c.factor(),
        "lips": c.factor(-0.3 * masculine),
        "lip_tint": (femininity - 0.45).clamp_min(0) * 1.8 * c.uniform(),
        "eye_size": c.factor(-0.2 * masculine),
        "eye_spacing": c.factor(),
        "eye_tilt": c.factor(),
        "lashes": (0.15 + 0.75 * femininity * c.between(0.4, 1.1)).clamp(0, 1),
        "eye_color": _mix(EYE_COLORS, c.uniform() * (0.25 + 0.75 * light)),
        "brow_thickness": c.factor(0.45 * masculine),
        "brow_height": c.factor(),
        "brow_arch": c.factor(-0.35 * masculine),
        "ear_size": c.factor(),
        "neck_width": (0.7 * c.bell(0.5, 1.0) + 0.55 * masculine).clamp(-1, 1),
        "skin_tone": tone,
        "skin_warmth": c.factor(),
        "freckles": freckles,
        "hair_style": style,
        "hair_color": hair,
        "hair_volume": c.between(-1, 1),
        "hair_line": c.factor(),
        "hair_part": c.between(-1, 1),
        "hair_phase": c.between(-1, 1),
        "balding": c.uniform() * (femininity < 0.5),
        "beard": beard,
        "moustache": c.amount(chance, 0.4, 1.0),
    }


def _nuisance(c: _Coordinates) -> dict[str, Tensor]:
    """Attributes and scene: everything that may change while a person stays the same person."""
    hue, brightness = c.hue(), c.between(0.35, 0.9)
    old = c.uniform()
    age = torch.where(old < 0.12, 6 + 12 * old / 0.12, 18 + 66 * (old - 0.12) / 0.88)
    second_brightness = (brightness + 0.15 * c.normal()).clamp(0.2, 0.95)
    clothes = c.choice(torch.ones(len(hue), len(CLOTHES_STYLES), device=hue.device))
    return {
        "yaw": c.bell(18.0, 48.0),
        "pitch": c.bell(5.0, 14.0),
        "roll": c.bell(3.5, 11.0),
        "smile": (0.3 + 0.5 * c.normal()).clamp(-1, 1),
        "age": age,
        "light_azimuth": c.bell(32.0, 70.0),
        "light_elevation": c.between(10, 55),
        "light_intensity": (1 + 0.15 * c.normal()).clamp(0.65, 1.35),
        "light_warmth": c.bell(0.4, 1.0),
        "light_fill": (1 + 0.2 * c.normal()).clamp(0.55, 1.4),
        "background_top": _hsv(hue, c.between(0.08, 0.55), brightness),
        "background_bottom": _hsv(hue + 0.12 * c.normal(), c.between(0.08, 0.55), second_brightness),
        "clothes_style": clothes,
        "clothes_color": _hsv(c.hue(), c.between(0.05, 0.65), c.between(0.15, 0.85)),
    }


def _mix(table: Sequence[Sequence[float]], place: Tensor) -> Tensor:
    """Colours [B, 3] at `place` [B] (0..1) along a table."""
    colors = torch.tensor(table, device=place.device, dtype=place.dtype)
    at = place.clamp(0, 1) * (len(colors) - 1)
    low = at.floor().clamp(max=len(colors) - 2).long()
    return torch.lerp(colors[low], colors[low + 1], (at - low)[:, None])


def _hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """sRGB [B, 3] of hue (any real number, period 1), saturation and value [B]."""
    turn = torch.tensor([5.0, 3.0, 1.0], device=hue.device)  # the textbook's f(n) = v - v s max(0, min(k, 4 - k, 1))
    k = (turn + hue[:, None] * 6) % 6
    wedge = torch.minimum(torch.minimum(k, 4 - k), torch.ones_like(k)).clamp_min(0)
    return value[:, None] * (1 - saturation[:, None] * wedge)


def _beta_quantile(u: Tensor, tone: Tensor) -> Tensor:
    """The hair colour's place: the u-quantile of Beta(1 + 0.6 (1 - tone), 1.2 + 3.5 tone), all [B] in [0, 1]."""
    table = _beta_table().to(u)
    row, column = tone * (BETA_ROWS - 1), u * (BETA_STEPS - 1)
    grid = torch.stack([column / (BETA_STEPS - 1), row / (BETA_ROWS - 1)], 1) * 2 - 1
    found = F.grid_sample(table[None, None], grid[None, None], align_corners=True, padding_mode="border")
    return found[0, 0, 0]


@functools.lru_cache(maxsize=1)
def _beta_table() -> Tensor:
    """[BETA_ROWS, BETA_STEPS]: quantiles at even steps of u (columns) for even steps of tone (rows), by quadrature."""
    x = torch.linspace(0, 1, 20_001, dtype=torch.float64)
    middle = (x[1:] + x[:-1]) / 2
    levels = torch.linspace(0, 1, BETA_STEPS, dtype=torch.float64)
    rows = []
    for tone in torch.linspace(0, 1, BETA_ROWS, dtype=torch.float64).tolist():
        a, b = 1 + 0.6 * (1 - tone), 1.2 + 3.5 * tone
        cells = middle ** (a - 1) * (1 - middle) ** (b - 1)
        cdf = torch.cat([cells.new_zeros(1), cells.cumsum(0) / cells.sum()])
        above = torch.searchsorted(cdf, levels).clamp(1, len(x) - 1)
        low, high = cdf[above - 1], cdf[above]
        rows.append(x[above - 1] + (levels - low) / (high - low).clamp_min(1e-300) * (x[above] - x[above - 1]))
    return torch.stack(rows).clamp(0, 1).float()


def _count(*parts: Callable[[_Coordinates], dict[str, Tensor]]) -> int:
    taken = _Coordinates(torch.ones(1, 1024), 0)
    for part in parts:
        part(taken)
    return taken.taken


IDENTITY_COORDINATES: int = _count(_identity)
"""How many coordinates, the first, decide who a portrait shows."""
COORDINATES: int = _count(_identity, _nuisance)
"""How many coordinates decide a portrait."""
