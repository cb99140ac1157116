"""Colours of what the rays hit: materials, light, background and the tone curve. Everything is linear until the end."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..params import PortraitParams
from .details import paint_marks, pattern_cover, shirt_word, wall_words
from .face import Paint, paint_face, relief
from .hair import CURLED, Hair, growth
from .look import Look, derive_look, to_linear
from .noise import spot_noise, strand_noise
from .sdf import length2, ramp, smoothstep
from .shape import Rows
from .trace import CLOTH, FRAME, HAIR, HAT, LENS, METAL, SKIN, VIEW_Y, Rays, Scene

KEY, FILL = 0.95, 0.38  # usual strengths of the key light and of the ambient light


@dataclass(frozen=True)
class Lights(Rows):
    """Light of each portrait, [3, N]: direction to the key light (unit), and linear colours."""

    direction: Tensor
    key: Tensor
    fill: Tensor
    rim: Tensor


@dataclass(frozen=True)
class Dress(Rows):
    """Colours and details of clothes, hat and background: linear [3, N], choices as float [N]."""

    cloth: Tensor
    cloth_second: Tensor
    cloth_pattern: Tensor
    cloth_text: Tensor
    ink: Tensor
    hat_kind: Tensor
    hat: Tensor
    hat_trim: Tensor
    frame: Tensor
    metal: Tensor
    wall_top: Tensor
    wall_bottom: Tensor
    wall_second: Tensor
    wall_pattern: Tensor
    wall_text: Tensor


@dataclass(frozen=True)
class Hits:
    """M points of one material.

    kind: which material. where [M]: their portraits. world, head [3, M]: places in the world and in the head's
    coordinates. normal [3, M]: in the world. light: theirs. lit [M]: 0 in the key light's shadow. open_ [M]: 0 where
    ambient light is shut out.
    """

    kind: int
    where: Tensor
    world: Tensor
    head: Tensor
    normal: Tensor
    light: Lights
    lit: Tensor
    open_: Tensor

    def facing_light(self, normal: Tensor | None = None) -> Tensor:
        """Cosine of a normal (the surface's own if None) and the key light, [M]."""
        return ((self.normal if normal is None else normal) * self.light.direction).sum(0)

    def halfway(self) -> Tensor:
        """Unit vectors between the key light and the viewer, [3, M]: where highlights are."""
        viewer = torch.tensor([0.0, 0.0, 1.0], device=self.world.device).view(3, 1)
        return normalize(self.light.direction + viewer, dim=0)


def derive_lights(p: PortraitParams) -> Lights:
    azimuth, elevation = torch.deg2rad(p.light_azimuth), torch.deg2rad(p.light_elevation)
    flat = elevation.cos()
    direction = torch.stack([flat * azimuth.sin(), elevation.sin(), flat * azimuth.cos()])
    tint = torch.stack([1 + 0.16 * p.light_warmth, 1 + 0.02 * p.light_warmth, 1 - 0.20 * p.light_warmth])
    room = torch.lerp(torch.full_like(tint, 0.9), to_linear(p.background_top.t()) + 0.25, 0.30)
    cool = torch.stack([1 - 0.05 * p.light_warmth, torch.ones_like(p.yaw), 1 + 0.06 * p.light_warmth])
    return Lights(
        direction=direction,
        key=KEY * p.light_intensity * tint,
        fill=FILL * p.light_fill * room * cool,
        rim=0.25 * (0.3 + to_linear(p.background_top.t())),
    )


def derive_dress(p: PortraitParams) -> Dress:
    def linear(color: Tensor) -> Tensor:
        return to_linear(color.t())

    return Dress(
        cloth=linear(p.clothes_color),
        cloth_second=linear(p.clothes_pattern_color),
        cloth_pattern=p.clothes_pattern.float(),
        cloth_text=p.clothes_text.float(),
        ink=linear(p.text_color),
        hat_kind=p.hat.float(),
        hat=linear(p.hat_color),
        hat_trim=linear(p.hat_trim_color),
        frame=linear(p.glasses_color),
        metal=linear(p.earrings_color),
        wall_top=linear(p.background_top),
        wall_bottom=linear(p.background_bottom),
        wall_second=linear(p.background_pattern_color),
        wall_pattern=p.background_pattern.float(),
        wall_text=p.background_text.float(),
    )


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
        self.look: Look = derive_look(p)
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
        color = torch.lerp(d.wall_bottom, d.wall_top, ramp(-1.2, 1.0, y))
        if self.papered:
            cover = pattern_cover(d.wall_pattern, x, y, 0.30, self.scene.pixel)
            color = torch.lerp(color, d.wall_second, 0.75 * cover)
            color = torch.lerp(color, d.ink, 0.9 * wall_words(d.wall_text, x, y))
        glow = 1.12 - 0.30 * ((x * x + (y - VIEW_Y - 0.1).square()) / 1.6)
        return color * glow.clamp(min=0.4)

    def surface(
        self, rays: Rays, depth: Tensor, material: Tensor, normal: Tensor, lit: Tensor, open_: Tensor
    ) -> Tensor:
        """Linear colours [3, M] of hits.

        `normal` is [3, M] in the world; `lit` (0 in the key light's shadow) and `open_` (0 where ambient light is shut
        out) are [M].
        """
        world, head = rays.world(depth), rays.head(depth)
        out = torch.empty_like(world)
        painters = {SKIN: self._skin, HAIR: self._hair, CLOTH: self._cloth, HAT: self._hat}
        painters.update({FRAME: self._shiny, LENS: self._shiny, METAL: self._shiny})
        for kind, painter in painters.items():
            index = (material == kind).nonzero().squeeze(1)
            if index.numel():
                where = rays.portrait.index_select(0, index)
                hits = Hits(
                    kind,
                    where,
                    world=world.index_select(1, index),
                    head=head.index_select(1, index),
                    normal=normal.index_select(1, index),
                    light=self.lights.take(where),
                    lit=lit.index_select(0, index),
                    open_=open_.index_select(0, index),
                )
                out[:, index] = painter(hits)
        return out

    def _skin(self, hits: Hits) -> Tensor:
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

    def _roots(self, paint: Paint, k: Look, hair: Hair, x: Tensor, y: Tensor, z: Tensor) -> None:
        """Hair painted on the skin where the shell begins: the hairline fades in instead of starting at an edge."""
        above = growth(self.scene.family, hair, x, x.abs(), y, z)
        fine, clump, _ = strand_noise(torch.atan2(x, z + 0.25) / (2 * torch.pi), 0.3 * y + 0.3 * hair.phase)
        cover = smoothstep(-0.06, 0.03, above + 0.014 * fine + 0.01 * clump)
        paint.mix(k.hair * 0.7, cover * ramp(-0.62, -0.48, y) * 0.95 * (hair.top > 0))

    def _hair(self, hits: Hits) -> Tensor:
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

    def _cloth(self, hits: Hits) -> Tensor:
        d = self.dress.take(hits.where)
        color = d.cloth
        if self.dressed:
            x, y = hits.world[0], hits.world[1]
            color = torch.lerp(color, d.cloth_second, pattern_cover(d.cloth_pattern, x, y, 0.17, self.scene.pixel))
            color = torch.lerp(color, d.ink, shirt_word(d.cloth_text, x, y) * (hits.world[2] > -0.3))
        return self._matt(color, hits)

    def _hat(self, hits: Hits) -> Tensor:
        d = self.dress.take(hits.where)
        x, y, z = hits.head
        ribs = 0.85 + 0.15 * torch.sin(60 * torch.atan2(x, z + 0.08)) * (d.hat_kind == 1)
        band = torch.where(d.hat_kind == 1, ((y < 0.42 + 0.2 * z) | (y > 0.86)).float(), 0.0)
        band = torch.where(d.hat_kind == 2, ramp(0.19, 0.21, z) * ramp(0.56, 0.54, y), band)
        brim_band = ramp(0.44, 0.46, y) * ramp(0.60, 0.58, y) * (length2(x, z + 0.06) < 0.78)
        band = torch.where(d.hat_kind == 3, brim_band, band)
        color = torch.lerp(d.hat, d.hat_trim, band) * ribs
        return self._matt(color, hits)

    def _shiny(self, hits: Hits) -> Tensor:
        d = self.dress.take(hits.where)
        color = {FRAME: d.frame, METAL: d.metal}.get(hits.kind, torch.full_like(hits.world, 0.012))
        diffuse = hits.facing_light().clamp(min=0) * hits.lit
        spec = 0.7 * (hits.normal * hits.halfway()).sum(0).clamp(min=0) ** 40
        if hits.kind == LENS:
            spec = spec + 0.04 * ramp(0.02, 0.10, hits.head[1])
        return self._mix(color, hits, hits.normal, diffuse, spec, 0.5)

    def _matt(self, color: Tensor, hits: Hits) -> Tensor:
        """Cloth and felt: no highlight."""
        diffuse = ((hits.facing_light() + 0.15) / 1.15).clamp(min=0) * hits.lit
        return self._mix(color, hits, hits.normal, diffuse, torch.zeros_like(hits.lit), 0.4)

    def _mix(self, color: Tensor, hits: Hits, normal: Tensor, diffuse: Tensor, spec: Tensor, rim: float) -> Tensor:
        """Key, ambient and rim light together. `diffuse` is [M] or [3, M]; `normal` has skin's and hair's bumps."""
        light, open_ = hits.light, hits.open_
        sky = 0.80 + 0.25 * normal[1]
        edge = (1 - normal[2].clamp(min=0)) ** 3 * open_ * rim
        lighting = light.key * diffuse * (0.45 + 0.55 * open_) + light.fill * (sky * open_)
        return color * lighting + light.key * spec + light.rim * edge * (0.15 + color)
