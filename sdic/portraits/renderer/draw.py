"""Pictures from portrait parameters."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from sdic.errors import ConfigError

from ..params import PortraitParams
from .hair import family_of
from .shading import Shader, tone
from .trace import EMPTY, FAR, NEAR, Hits, Rays, Scene, march, normals, occlusion

TILE = 4  # side in pixels of the bundles that are traced first
SUBPIXELS = ((-0.35, 0.12), (0.12, -0.35), (0.33, 0.33))  # with the pixel's middle: four samples
CONTRAST = 0.08  # difference of neighbouring pixels (0..1) from which on a pixel is supersampled
SMOOTH = 0.15  # depth range around a pixel up to which its surface is taken for a plane


@torch.no_grad()
def render(
    params: PortraitParams,
    size: int = 128,
    *,
    antialias: bool = True,
    device: torch.device | str | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Draw portraits.

    Fastest with hundreds of portraits a call: portraits with similar hair are drawn together.

    Args:
        params: N portraits.
        size: side of the square pictures in pixels, 16 to 1024, a multiple of 4.
        antialias: take four samples of every pixel on an edge (about half the speed) rather than one.
        device: where to compute and return; the parameters' own by default.
        chunk: portraits traced together; by default as many as keep the working set small.

    Returns:
        float32 [N, 3, size, size] in [-1, 1], on `device`. A portrait's picture does not depend on the others of its
        batch.

    Raises:
        ConfigError: for an impossible size or chunk.
    """
    if not isinstance(size, int) or size % TILE or not 16 <= size <= 1024:
        raise ConfigError(f"size must be a multiple of {TILE} from 16 to 1024, not {size!r}")
    if chunk is not None and chunk < 1:
        raise ConfigError(f"chunk must be at least 1, not {chunk}")
    params = params.to(params.device if device is None else device)
    if chunk is None:
        chunk = max(1, (2**18 if params.device.type == "cpu" else 2**23) // size**2)
    out = torch.empty(len(params), 3, size, size, device=params.device)
    for index in _chunks(params, chunk):
        out[index] = _draw(Scene(params[index], size), size, antialias)
    return out


def _chunks(params: PortraitParams, chunk: int) -> Iterator[Tensor]:
    """Positions of at most `chunk` portraits of one hair family at a time: only that family's solids are computed."""
    families = torch.tensor([family_of(style) for style in params.hair_style.tolist()])
    for family in families.unique().tolist():
        yield from (families == family).nonzero().squeeze(1).to(params.device).split(chunk)


def _draw(scene: Scene, size: int, antialias: bool) -> Tensor:
    """[n, 3, size, size] in [-1, 1]."""
    shader = Shader(scene)
    rays = scene.rays(*_grid(scene, size))
    hits = _trace(scene, rays, _bundles(scene, size), torch.full_like(rays.origin[0], FAR))
    _light(scene, shader, rays, hits)
    color = tone(_shade(shader, rays, hits))
    if antialias:
        _antialias(scene, shader, size, rays, hits, color)
    return color.view(3, -1, size, size).transpose(0, 1) * 2 - 1


def _grid(scene: Scene, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Portrait and picture coordinates (-1..1, right and up) of the middles of side x side squares of each; [M]."""
    count, device = len(scene.params), scene.params.device
    center = (torch.arange(side, device=device) + 0.5) / side * 2 - 1
    portrait = torch.arange(count, device=device).repeat_interleave(side * side)
    return portrait, center.repeat(count * side), -center.repeat_interleave(side).repeat(count)


def _bundles(scene: Scene, size: int) -> Tensor:
    """Depth [n * size * size] down to which nothing can be hit; below FAR where a whole tile is background."""
    tiles = size // TILE
    rays = scene.rays(*_grid(scene, tiles))
    start = torch.full_like(rays.origin[0], NEAR)
    radius = 0.5**0.5 * (TILE - 1) * scene.pixel * 1.2  # to the outermost pixel's middle, wider for perspective
    depth, stopped = march(scene, rays, start, torch.full_like(start, FAR), radius, 14)
    depth = torch.where(stopped | (depth >= FAR), depth, FAR - 1)
    return depth.view(-1, tiles, tiles).repeat_interleave(TILE, 1).repeat_interleave(TILE, 2).reshape(-1)


def _trace(scene: Scene, rays: Rays, start: Tensor, far: Tensor) -> Hits:
    """Materials, depths and normals; light is left at 1."""
    hits = Hits(
        material=torch.full_like(rays.portrait, EMPTY),
        depth=torch.full_like(start, FAR),
        normal=torch.zeros_like(rays.origin),
        light=torch.ones(2, len(rays), device=start.device),
    )
    hopeful = (start > far).nonzero().squeeze(1)
    found, hit = march(scene, rays.take(hopeful), start[hopeful], far[hopeful], 0.2 * scene.pixel, 32)
    index, depth = hopeful[hit], found[hit]
    at = rays.take(index)
    body = scene.solids.take(at.portrait)
    distance, material = scene.nearest(body, at.world(depth), at.head(depth))
    hits.material[index], hits.depth[index] = material, depth
    hits.normal[:, index] = normals(scene, at, body, depth, distance)
    return hits


def _light(scene: Scene, shader: Shader, rays: Rays, hits: Hits) -> None:
    """Fill in the occlusion of all hits."""
    index = (hits.material != EMPTY).nonzero().squeeze(1)
    at = rays.take(index)
    toward = shader.lights.direction.index_select(1, at.portrait)
    found = occlusion(scene, at, scene.solids.take(at.portrait), hits.depth[index], hits.normal[:, index], toward)
    hits.light[:, index] = found


def _shade(shader: Shader, rays: Rays, hits: Hits) -> Tensor:
    """Linear colours [3, M]."""
    color = torch.empty_like(rays.origin)
    empty = (hits.material == EMPTY).nonzero().squeeze(1)
    color[:, empty] = shader.background(rays.take(empty))
    index = (hits.material != EMPTY).nonzero().squeeze(1)
    color[:, index] = shader.surface(rays.take(index), hits.take(index))
    return color


def _antialias(scene: Scene, shader: Shader, size: int, rays: Rays, hits: Hits, color: Tensor) -> None:
    """Average more samples into the pixels of `color` [3, M] that differ from a neighbour.

    Where one surface fills the neighbourhood only its paint varies: samples are taken on the tangent plane. Elsewhere
    rays are traced anew, between the depths around, and take their occlusion from the nearest neighbour in depth.
    """
    portrait, u, v = _grid(scene, size)
    shape = (-1, size, size)
    depth, material = hits.depth.view(shape), hits.material.view(shape).float()
    nearest, farthest = max_pool2d(depth, 3, 1, 1).view(-1), -max_pool2d(-depth, 3, 1, 1).view(-1)
    uniform = (max_pool2d(material, 3, 1, 1) == -max_pool2d(-material, 3, 1, 1)).view(-1)
    edge = _contrast(color.view(3, *shape)).view(-1) | ~uniform | (nearest - farthest > 2 * SMOOTH)
    plane = uniform & (nearest - farthest < SMOOTH) & (hits.normal[2] > 0.25)
    total = color.clone()
    for flat in (True, False):
        group = (edge & (plane == flat)).nonzero().squeeze(1)
        if group.numel() == 0:
            continue
        pixels = group.repeat(len(SUBPIXELS))
        offset = torch.tensor(SUBPIXELS, device=u.device).repeat_interleave(group.numel(), 0).t() * (2 / size)
        moved = scene.rays(portrait[pixels], u[pixels] + offset[0], v[pixels] + offset[1])
        if flat:
            samples = hits.take(pixels)
            normal, z = samples.normal, samples.depth
            across = moved.world(z) - rays.take(pixels).world(z)
            samples.depth = z - (normal[0] * across[0] + normal[1] * across[1]) / normal[2]
        else:
            # Deeper than the depths around there is background, if there is any around.
            solid = torch.where(depth <= FAR, NEAR, depth)
            last = -max_pool2d(-solid, 3, 1, 1).view(-1)
            far = torch.where(farthest <= FAR, (last - 0.25).clamp(min=FAR), FAR)
            samples = _trace(scene, moved, (nearest[pixels] + 0.08).clamp(max=NEAR), far[pixels])
            _borrow_light(size, pixels, hits, samples)
        added = tone(_shade(shader, moved, samples)).view(3, len(SUBPIXELS), -1).sum(1)
        total[:, group] = (color[:, group] + added) / (1 + len(SUBPIXELS))
    color.copy_(total)


def _borrow_light(size: int, pixels: Tensor, hits: Hits, samples: Hits) -> None:
    """Give each sample the occlusion of the most similar of its pixel and the four pixels around."""
    column, row = pixels % size, pixels // size % size
    best = torch.full_like(samples.depth, 1e9)
    for dx, dy in ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)):
        inside = (column + dx >= 0) & (column + dx < size) & (row + dy >= 0) & (row + dy < size)
        near = torch.where(inside, pixels + dy * size + dx, pixels)
        differs = (hits.material[near] != samples.material).float()
        score = (hits.depth[near] - samples.depth).abs() + 10 * differs
        better = score < best
        best = torch.where(better, score, best)
        samples.light = torch.where(better, hits.light[:, near], samples.light)


def _contrast(picture: Tensor) -> Tensor:
    """[n, size, size]: pixels of [3, n, size, size] whose colour differs from a neighbour's."""
    edge = torch.zeros(picture.shape[1:], dtype=torch.bool, device=picture.device)
    for dim in (1, 2):
        step = picture.diff(dim=dim + 1).abs().amax(0) > CONTRAST
        for first in (0, 1):  # both sides of a step
            edge.narrow(dim, first, step.shape[dim]).logical_or_(step)
    return edge
