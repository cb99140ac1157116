"""Finding what each ray hits: a pinhole camera, the scene's distance function, and sphere tracing.

Rays are flat batches over any mix of the portraits of a chunk, described by their picture coordinates and portrait
number. Depth is the world's z, which falls as a ray leaves the camera.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from ..params import PortraitParams
from .accessories import earring_distance, glasses_distance, hat_distance, hat_edge
from .geometry import face_distance, skull_distance, torso_distance
from .hair import derive_hair, family_of, hair_distance
from .sdf import cut, join
from .shape import PIVOT, Rows, derive_shape, head_rotation

CAMERA_Z = 8.0  # distance of the camera from the middle of the head
HALF_VIEW = 1.17  # half the picture's side, in head units, at z = 0
VIEW_Y = -0.13  # what lies in the picture's middle
NEAR, FAR = 1.32, -0.8  # nothing visible is in front of or behind these depths
STEP = 0.92  # of the distance: smooth joins and hair bend the distances a little
HASTY = 1.5  # the same for rays that move away
CREEP = 0.002  # growth of the least step from one step to the next

SKIN, HAIR, CLOTH, HAT, FRAME, LENS, METAL = range(7)
EMPTY = -1  # the material of background


class Rays(Rows):
    """M rays: world point = origin + depth * direction, and the same in head space.

    portrait: int64 [M]. origin, direction, head_origin, head_direction: [3, M].
    """

    def __len__(self) -> int:
        return len(self.portrait)

    def world(self, depth: Tensor) -> Tensor:
        """World points [3, M] at `depth` [M]."""
        return torch.addcmul(self.origin, self.direction, depth)

    def head(self, depth: Tensor) -> Tensor:
        """Head-space points [3, M] at `depth` [M]."""
        return torch.addcmul(self.head_origin, self.head_direction, depth)


class Hits(Rows):
    """What each of M rays met: material [M] (EMPTY for background), depth [M] (FAR for background), world normal [3, M]
    and occlusion `light` [2, M] (see :func:`occlusion`)."""


class Scene:
    """A few portraits whose hair is of one family, ready to be traced."""

    def __init__(self, params: PortraitParams, size: int):
        self.params = params
        self.family = family_of(int(params.hair_style[0]))
        self.hair = derive_hair(params)
        self.solids = Rows(**vars(derive_shape(params)), **vars(self.hair))
        self.rotation = head_rotation(params)
        self.pixel = 2 * HALF_VIEW / size  # side of a pixel in head units
        self.hats = bool((params.hat > 0).any())
        self.glasses = bool((params.glasses > 0).any())
        self.earrings = bool((params.earrings > 0).any())

    def rays(self, portrait: Tensor, u: Tensor, v: Tensor) -> Rays:
        """Rays through picture coordinates `u`, `v` (-1..1, right and up) of the given portraits; each [M]."""
        u, v = u * HALF_VIEW, v * HALF_VIEW
        origin = torch.stack([u, v + VIEW_Y, torch.zeros_like(u)])
        direction = torch.stack([-u / CAMERA_Z, -v / CAMERA_Z, torch.ones_like(u)])
        pivot = torch.tensor(PIVOT, device=u.device).view(3, 1)
        head_origin = self.to_head(portrait, origin - pivot) + pivot
        head_direction = self.to_head(portrait, direction)
        return Rays(
            portrait=portrait,
            origin=origin,
            direction=direction,
            head_origin=head_origin,
            head_direction=head_direction,
        )

    def to_head(self, portrait: Tensor, vector: Tensor) -> Tensor:
        """World vectors [3, M] in the head space of each one's portrait."""
        transpose = self.rotation.permute(1, 2, 0).index_select(2, portrait)  # [world, head, M]
        return (vector.unsqueeze(1) * transpose).sum(0)

    def to_world(self, portrait: Tensor, vector: Tensor) -> Tensor:
        """Head-space vectors [3, M] in the world."""
        rotation = self.rotation.permute(2, 1, 0).index_select(2, portrait)  # [head, world, M]
        return (vector.unsqueeze(1) * rotation).sum(0)

    def distances(self, body: Rows, world: Tensor, head: Tensor) -> tuple[list[Tensor], list[int]]:
        """Distance [M] to each solid present, and its material."""
        x, y, z = head
        ax = x.abs()
        skull = skull_distance(body, x, y, z)
        face = face_distance(body, x, ax, y, z, skull)
        flesh, cloth = torso_distance(body, world[0], world[1], world[2])
        hair = hair_distance(self.family, body, x, ax, y, z, skull)
        if self.hats:
            hair = torch.where(body.hat > 0, cut(hair, y - hat_edge(body, z) - 0.03, 0.02), hair)
        found, materials = [join(face, flesh, 0.09), cloth, hair], [SKIN, CLOTH, HAIR]
        if self.hats:
            found.append(hat_distance(body, x, y, z))
            materials.append(HAT)
        if self.glasses:
            found += glasses_distance(body, x, ax, y, z)
            materials += [FRAME, LENS]
        if self.earrings:
            found.append(earring_distance(body, ax, y, z))
            materials.append(METAL)
        return found, materials

    def distance(self, body: Rows, world: Tensor, head: Tensor) -> Tensor:
        """Distance [M] to whatever is nearest."""
        return functools.reduce(torch.minimum, self.distances(body, world, head)[0])

    def nearest(self, body: Rows, world: Tensor, head: Tensor) -> tuple[Tensor, Tensor]:
        """Distance [M] and material [M] of whatever is nearest."""
        found, materials = self.distances(body, world, head)
        distance, which = torch.stack(found).min(0)
        return distance, torch.tensor(materials, device=distance.device)[which]


def march(scene: Scene, rays: Rays, start: Tensor, far: Tensor, radius: float, steps: int) -> tuple[Tensor, Tensor]:
    """Follow the rays from depth `start` down to `far` until something is nearer than `radius`.

    With the radius of a bundle of rays, all of the bundle is free down to the depth returned ("cone marching"). Returns
    depth [M] and whether the ray was stopped [M].
    """
    bundle = radius if radius > scene.pixel else 0.0
    reach = 0.0 if bundle else 0.6 * scene.pixel  # how near a single ray must be for its hit to be extrapolated
    hasty = STEP if bundle else HASTY
    depth, stopped = start.clone(), torch.zeros_like(start, dtype=torch.bool)
    index = torch.arange(len(rays), device=start.device)
    active, body, z, limit = rays, scene.solids.take(rays.portrait), start, far
    before, moved = torch.full_like(z, 9.0), torch.ones_like(z)  # the last distance, and the step taken then
    # Rays that are finished stay as they are until they are dropped: when that is depends on the others of the batch.
    met, lost = torch.zeros_like(stopped), torch.zeros_like(stopped)
    for step in range(steps):
        d = scene.distance(body, active.world(z), active.head(z))
        near = sure = met | (d < radius) & ~lost
        if reach:
            # A ray that runs steeply into a surface, or has entered it, hits where the secant through the last two
            # distances says.
            slope = (before - d) / moved
            steep = (d < reach) & (slope > 0.5) & (before < 8.0) & ~(near & (d > -radius)) & ~(met | lost)
            z = torch.where(steep, z - d / slope, z)
            near = near | steep
        last = step == steps - 1
        # The least step grows, so that rays which skim a surface get past it within the steps they have.
        # A ray that moves away from all surfaces may take longer steps: should it enter one, that is noticed.
        moved = (torch.where(d > before, hasty, STEP) * (d - bundle)).clamp_(min=CREEP * step)
        z, before = torch.where(near | lost, z, z - moved), torch.where(near, 0.0, d)
        if not last and step % 2 == 0:
            continue  # dropping finished rays costs as much as a step, so it happens every other time
        gone = z < limit
        depth[index] = z
        # A ray still creeping along a silhouette at the end counts as a hit when it is within a pixel.
        stopped[index] = (near | (d < scene.pixel) & ~gone) if last else near
        met, lost = sure, gone & ~near  # what the secant says is looked at once more
        keep = (~(met | lost)).nonzero().squeeze(1)
        if last or keep.numel() == 0:
            break
        if keep.numel() < 0.85 * len(active):
            index, active, z, limit = index[keep], active.take(keep), z[keep], limit[keep]
            before, moved, met, lost = before[keep], moved[keep], met[keep], lost[keep]
            body = scene.solids.take(active.portrait)
    return depth, stopped


def normals(scene: Scene, rays: Rays, body: Rows, depth: Tensor, distance: Tensor) -> Tensor:
    """World normals [3, M] by forward differences; `distance` is the distance at the points themselves."""
    h = 0.006
    world, head = rays.world(depth), rays.head(depth)
    columns = []
    for axis in range(3):
        moved = world.clone()
        moved[axis] += h
        step = scene.rotation[:, axis, :].t().index_select(1, rays.portrait)  # the axis in head space
        columns.append(scene.distance(body, moved, torch.add(head, step, alpha=h)) - distance)
    return torch.nn.functional.normalize(torch.stack(columns), dim=0)


def occlusion(scene: Scene, rays: Rays, body: Rows, depth: Tensor, normal: Tensor, light: Tensor) -> Tensor:
    """[2, M]: how far the key light (0 in shadow) and the ambient light (0 in a crevice) reach each hit.

    `normal` and `light` (direction to the light) are [3, M] in the world.
    """
    world = rays.world(depth)
    head = rays.head(depth)

    def clearance(direction: Tensor, into_head: Tensor, reach: float) -> Tensor:
        return scene.distance(body, world + reach * direction, head + reach * into_head) / reach

    lit, open_ = torch.ones_like(depth), torch.ones_like(depth)
    light_head, normal_head = scene.to_head(rays.portrait, light), scene.to_head(rays.portrait, normal)
    for reach in (0.09, 0.22, 0.45):
        lit = torch.minimum(lit, 3.2 * clearance(light, light_head, reach) + 0.22)
    for reach, weight in ((0.08, 0.4), (0.25, 0.45)):
        open_ = open_ - weight * (1 - clearance(normal, normal_head, reach)).clamp_(0, 1)
    return torch.stack([lit.clamp_(0, 1), open_.clamp_(0.1, 1)])
