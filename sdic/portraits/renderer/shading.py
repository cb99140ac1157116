"""Colours of what the rays hit: materials, light, background and the tone curve. Everything is linear until the end."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..params import PortraitParams, specs_of
from .details import paint_marks, pattern_cover, shirt_word, wall_words
from .face import Paint, paint_face, relief
from .hair import CURLED, growth
from .look import derive_look, to_linear
from .noise import spot_noise, strand_noise
from .sdf import length2, ramp, smoothstep
from .shape import Rows
from .trace import CLOTH, FRAME, HAIR, HAT, LENS, METAL, SKIN, VIEW_Y, Hits, Rays, Scene

KEY, FILL = 0.95, 0.38  # usual strengths of the key light and of the ambient light


class Points(Rows):
    """M points of one material.

    where [M]: their portraits. world, head [3, M]: places in the world and in the head's coordinates. normal [3, M]: in
    the world. light: theirs. lit [M]: 0 in the key light's shadow. open_ [M]: 0 where ambient light is shut out.
    """

    def facing_light(self, normal: Tensor | None = None) -> Tensor:
        """Cosine of a normal (the surface's own if None) and the key light, [M]."""
        return ((self.normal if normal is None else normal) * self.light.direction).sum(0)

    def halfway(self) -> Tensor:
        """Unit vectors between the key light and the viewer, [3, M]: where highlights are."""
        viewer = torch.tensor([0.0, 0.0, 1.0], device=self.world.device).view(3, 1)
        return normalize(self.light.direction + viewer, dim=0)


def derive_lights(p: PortraitParams) -> Rows:
    """Light of each portrait, [3, N]: direction to the key light (unit), and linear colours."""
    azimuth, elevation = torch.deg2rad(p.light_azimuth), torch.deg2rad(p.light_elevation)
    flat = elevation.cos()
    direction = torch.stack([flat * azimuth.sin(), elevation.sin(), flat * azimuth.cos()])
    tint = torch.stack([1 + 0.16 * p.light_warmth, 1 + 0.02 * p.light_warmth, 1 - 0.20 * p.light_warmth])
    room = torch.lerp(torch.full_like(tint, 0.9), to_linear(p.background_top.t()) + 0.25, 0.30)
    cool = torch.stack([1 - 0.05 * p.light_warmth, torch.ones_like(p.yaw), 1 + 0.06 * p.light_warmth])
    return Rows(
        direction=direction,
        key=KEY * p.light_intensity * tint,
        fill=FILL * p.light_fill * room * cool,
        rim=0.25 * (0.3 + to_linear(p.background_top.t())),
    )


def derive_dress(p: PortraitParams) -> Rows:
    """Colours (linear [3, N]) and choices (float [N]) of scene and details, named as in the parameters."""
    columns = {}
    for spec in specs_of("scene", "detail"):
        if spec.choices:
            columns[spec.name] = getattr(p, spec.name).float()
        elif spec.unit == "sRGB":
            columns[spec.name] = to_linear(getattr(p, spec.name).t())
    return Rows(**columns)


def tone(linear: Tensor) -> Tensor:
    """Linear light to display values 0..1: straight at first, then a shoulder, so that light skin is not burnt out."""
    knee = 0.55
    over = (linear - knee).clamp(min=0)
    return (linear.clamp(0, knee) + (1 - knee) * (1 - torch.exp(-over / (1 - knee)))) ** (1 / 2.2)


class Shader:
    """Colours for the rays of one scene."""

    def __init__(self, scene: Scene):
        p = scene.params
        self.scene = scene
        self.look = derive_look(p, scene.solids)
        self.lights = derive_lights(p)
        self.dress = derive_dress(p)
        self.marked = bool(((p.moles > 0) | (p.scar > 0)).any())
        self.dressed = bool(((p.clothes_pattern > 0) | (p.clothes_text > 0)).any())
        self.papered = bool(((p.background_pattern > 0) | (p.background_text > 0)).any())
        places = [p.moles[None], p.mole_places.t(), p.scar[None].float(), p.scar_place.t()]
        self.marks = torch.cat(places)

    def background(self, rays: Rays) -> Tensor:
        """Linear colours [3, M] of rays that hit nothing."""
        d = self.dress.take(rays.portrait)
        x, y = rays.origin[0], rays.origin[1]
        color = torch.lerp(d.background_bottom, d.background_top, ramp(-1.2, 1.0, y))
        if self.papered:
            cover = pattern_cover(d.background_pattern, x, y, 0.30, self.scene.pixel)
            color = torch.lerp(color, d.background_pattern_color, 0.75 * cover)
            color = torch.lerp(color, d.text_color, 0.9 * wall_words(d.background_text, x, y))
        glow = 1.12 - 0.30 * ((x * x + (y - VIEW_Y - 0.1).square()) / 1.6)
        return color * glow.clamp(min=0.4)

    def surface(self, rays: Rays, hits: Hits) -> Tensor:
        """Linear colours [3, M] of what rays hit."""
        points = Points(
            where=rays.portrait,
            world=rays.world(hits.depth),
            head=rays.head(hits.depth),
            normal=hits.normal,
            lit=hits.light[0],
            open_=hits.light[1],
        )
        out = torch.empty_like(points.world)
        painters = {SKIN: self._skin, HAIR: self._hair, CLOTH: self._cloth, HAT: self._hat}
        painters.update({kind: functools.partial(self._shiny, kind) for kind in (FRAME, LENS, METAL)})
        for kind, painter in painters.items():
            index = (hits.material == kind).nonzero().squeeze(1)
            if index.numel():
                here = points.take(index)
                here.light = self.lights.take(here.where)
                out[:, index] = painter(here)
        return out

    def _skin(self, hits: Points) -> Tensor:
        where, lit, px = hits.where, hits.lit, self.scene.pixel
        k = self.look.take(where)
        x, y, z = hits.head
        base = relief(k, x, y, z)
        color, gloss, smooth = paint_face(k, x, y, z, base, px)
        paint = Paint(color)
        if self.marked:
            paint_marks(paint, self.marks.index_select(1, where), k.skin, x, y, z, px)
        self._roots(paint, k, self.scene.hair.take(where), x, y, z)
        h = 0.008
        slope_x, slope_y = (relief(k, x + h, y, z) - base) / h, (relief(k, x, y + h, z) - base) / h
        tilt = self.scene.to_world(where, torch.stack([slope_x, slope_y, torch.zeros_like(x)]))
        normal = normalize(hits.normal - tilt * (1 - smooth), dim=0)
        direct = hits.facing_light(normal)
        # Light bleeds around the edge of a shadow in skin, red the farthest.
        wrap = torch.tensor([0.34, 0.20, 0.15], device=x.device).view(3, 1)
        diffuse = ((direct + wrap) / (1 + wrap)).clamp(min=0) * torch.lerp(lit, torch.ones_like(lit), 0.5 * wrap)
        facing = (normal * hits.halfway()).sum(0).clamp(min=0)
        spec = gloss * (0.30 * facing**12 + 0.35 * facing**50) * (0.3 + 0.7 * lit)
        return self._mix(paint.color, hits, normal, diffuse, spec, 0.5)

    def _roots(self, paint: Paint, k: Rows, hair: Rows, x: Tensor, y: Tensor, z: Tensor) -> None:
        """Hair painted on the skin where the shell begins: the hairline fades in instead of starting at an edge."""
        above = growth(self.scene.family, hair, x, x.abs(), y, z)
        fine, clump, _ = strand_noise(torch.atan2(x, z + 0.25) / (2 * torch.pi), 0.3 * y + 0.3 * hair.phase)
        cover = smoothstep(-0.06, 0.03, above + 0.014 * fine + 0.01 * clump)
        paint.mix(k.hair * 0.7, cover * ramp(-0.62, -0.48, y) * 0.95 * (hair.top > 0))

    def _hair(self, hits: Points) -> Tensor:
        where, lit, px = hits.where, hits.lit, self.scene.pixel
        k, s = self.look.take(where), self.scene.hair.take(where)
        x, y, z = hits.head
        if self.scene.family == CURLED:
            small, large = spot_noise(0.9 * x + s.phase + 0.4 * z, 0.9 * y - 0.3 * z)
            color = k.hair * (1 + 0.22 * small + 0.12 * large).clamp_(0.3, 1.8)
            spec = 0.05 * (hits.normal[1] * 0.5 + 0.5) * lit
            diffuse = ((hits.facing_light() + 0.25) / 1.25).clamp(min=0) * lit
            return self._mix(color, hits, hits.normal, diffuse, spec, 0.7)
        # Strands run away from the crown, which sits at the parting.
        away_x, away_z = x - 0.22 * s.part, z + 0.28
        radius = length2(away_x, away_z)
        turn = torch.atan2(away_x, away_z) / (2 * torch.pi)
        turn = turn + 0.4 * s.sway * torch.sin(11 * y + s.phase)
        fine, clump, slope = strand_noise(2 * turn + 0.1 * s.phase, 0.30 * y + 0.15 * radius + s.phase)
        fade = 1 / (1 + 10 * px)
        color = k.hair * (1 + fade * 0.20 * fine + 0.16 * clump).clamp_(0.35, 1.8)
        across = self.scene.to_world(where, torch.stack([away_z / radius, torch.zeros_like(x), -away_x / radius]))
        normal = normalize(hits.normal - across * slope * (0.16 * fade + 0.03), dim=0)
        along = normalize(torch.linalg.cross(normal, across, dim=0), dim=0)
        diffuse = ((hits.facing_light(normal) + 0.25) / 1.25).clamp(min=0) * lit
        tilt = (along * hits.halfway()).sum(0) + 0.10 + 0.07 * clump
        ring = (1 - tilt * tilt).clamp(min=0) ** 40
        spec = ring * (0.055 + 0.055 * fine.clamp(-1, 1) * fade) * (0.25 + 0.75 * lit) * (0.5 + k.hair.mean(0).sqrt())
        return self._mix(color, hits, normal, diffuse, spec, 0.6)

    def _cloth(self, hits: Points) -> Tensor:
        d = self.dress.take(hits.where)
        color = d.clothes_color
        if self.dressed:
            x, y = hits.world[0], hits.world[1]
            cover = pattern_cover(d.clothes_pattern, x, y, 0.17, self.scene.pixel)
            color = torch.lerp(color, d.clothes_pattern_color, cover)
            color = torch.lerp(color, d.text_color, shirt_word(d.clothes_text, x, y) * (hits.world[2] > -0.3))
        return self._matt(color, hits)

    def _hat(self, hits: Points) -> Tensor:
        d = self.dress.take(hits.where)
        x, y, z = hits.head
        ribs = 0.85 + 0.15 * torch.sin(60 * torch.atan2(x, z + 0.08)) * (d.hat == 1)
        band = torch.where(d.hat == 1, ((y < 0.42 + 0.2 * z) | (y > 0.86)).float(), 0.0)
        band = torch.where(d.hat == 2, ramp(0.19, 0.21, z) * ramp(0.56, 0.54, y), band)
        brim_band = ramp(0.44, 0.46, y) * ramp(0.60, 0.58, y) * (length2(x, z + 0.06) < 0.78)
        band = torch.where(d.hat == 3, brim_band, band)
        color = torch.lerp(d.hat_color, d.hat_trim_color, band) * ribs
        return self._matt(color, hits)

    def _shiny(self, kind: int, hits: Points) -> Tensor:
        d = self.dress.take(hits.where)
        color = {FRAME: d.glasses_color, METAL: d.earrings_color}.get(kind, torch.full_like(hits.world, 0.012))
        diffuse = hits.facing_light().clamp(min=0) * hits.lit
        spec = 0.7 * (hits.normal * hits.halfway()).sum(0).clamp(min=0) ** 40
        if kind == LENS:
            spec = spec + 0.04 * ramp(0.02, 0.10, hits.head[1])
        return self._mix(color, hits, hits.normal, diffuse, spec, 0.5)

    def _matt(self, color: Tensor, hits: Points) -> Tensor:
        """Cloth and felt: no highlight."""
        diffuse = ((hits.facing_light() + 0.15) / 1.15).clamp(min=0) * hits.lit
        return self._mix(color, hits, hits.normal, diffuse, torch.zeros_like(hits.lit), 0.4)

    def _mix(self, color: Tensor, hits: Points, normal: Tensor, diffuse: Tensor, spec: Tensor, rim: float) -> Tensor:
        """Key, ambient and rim light together. `diffuse` is [M] or [3, M]; `normal` has skin's and hair's bumps."""
        light, open_ = hits.light, hits.open_
        sky = 0.80 + 0.25 * normal[1]
        edge = (1 - normal[2].clamp(min=0)) ** 3 * open_ * rim
        lighting = light.key * diffuse * (0.45 + 0.55 * open_) + light.fill * (sky * open_)
        return color * lighting + light.key * spec + light.rim * edge * (0.15 + color)
