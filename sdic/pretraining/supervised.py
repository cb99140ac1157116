"""The generator's first stage: StyleGAN2 taught by a renderer.

`portrait_of` gives every z a portrait, so there is a right picture for every code. Three things are trained at
once, each by regression:

* the parameter encoder h: parameters -> w (linear, with a small correction), and with it
* the synthesis, G(h(parameters)) against the rendered picture, at 16, 32, ... pixels first: small features such as eyes
  are placed by the coarse layers, and are lost for good in pictures that begin blurred at full size;
* the mapping network, mapping(z) against h(parameters of z), and some pictures drawn through it.

What comes out is an ordinary StyleGAN2 whose W is nearly linear in everything that makes a portrait; h stays behind in
the run's state. An adversarial stage sharpens the pictures afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sdic.data.portraits import VECTOR_SIZE, params_to_vector
from sdic.data.portraits.law import COORDINATES, portrait_of
from sdic.errors import ConfigError
from sdic.networks.portrait_nets import ParameterEncoder, PerceptualDistance
from sdic.networks.stylegan2 import Generator, GeneratorConfig, Synthesis
from sdic.pretraining.bank import Bank, Recipe, open_bank
from sdic.pretraining.config import SupervisedConfig, SynthesisModelConfig
from sdic.pretraining.exporting import export, grid
from sdic.pretraining.losses import face_weight, pixel_loss
from sdic.pretraining.mapping import OFFSET, center_styles, lay_wires, solve_output
from sdic.pretraining.networks import perceptual_from, start_from
from sdic.pretraining.stage import Stage

FIRST_SIZE = 16
METRIC_EVERY, METRIC_CODES = 500, 8192  # steps between two looks at the codes' covariance, and codes looked at


def generator_config(model: SynthesisModelConfig, resolution: int) -> GeneratorConfig:
    """The generator that the settings describe; ConfigError where they cannot be."""
    if len(model.channels) != int(math.log2(resolution)) - 1:
        raise ConfigError(
            f"model.channels needs one width for each of 4, 8, ..., data.resolution={resolution}, got {model.channels}"
        )
    return GeneratorConfig(resolution, model.style_dim, model.mapping_layers, channels=tuple(model.channels))


def growing_size(step: int, grow: int, resolution: int) -> int:
    """The size that is trained at `step`: FIRST_SIZE for `grow` steps, then twice that, and so on to the resolution."""
    return resolution if grow == 0 else min(resolution, FIRST_SIZE << min(step // grow, 16))


def draw_at(synthesis: Synthesis, latent: Tensor, size: int, noise: Any = "random") -> Tensor:
    """The picture [B, 3, size, size] as accumulated by the RGB outputs up to `size`."""
    if size == synthesis.config.resolution:
        return synthesis(latent, noise=noise)
    picture = synthesis.rgb_below(2 * int(math.log2(size)) - 3, latent, noise)
    assert picture is not None
    return picture


def shrunk(picture: Tensor, size: int) -> Tensor:
    """Averaged down to [B, 3, size, size]; sizes are powers of two apart."""
    factor = picture.shape[3] // size
    return picture if factor == 1 else nn.functional.avg_pool2d(picture, factor)


class SupervisedStage(Stage):
    """Trains Generator and ParameterEncoder on rendered portraits."""

    name = "generator-supervised"
    config: SupervisedConfig

    def prepare(self, deadline: float, say: Any) -> None:
        config, data, model = self.config, self.config.data, self.config.model
        if data.source != "portraits":
            raise ConfigError("the supervised stage needs known parameters; a folder begins with the adversarial stage")
        if model.style_dim < COORDINATES:
            raise ConfigError(f"model.style_dim must be at least {COORDINATES}, what a portrait takes of z")
        recipe = Recipe("codes", data.resolution, data.chunk, model.style_dim, "generator")
        self.bank = open_bank(data, recipe, data.count, self.device, deadline, say)
        self.generator = Generator(generator_config(model, data.resolution))
        self.place(self.generator)
        self.parameters = ParameterEncoder(VECTOR_SIZE, model.style_dim).to(self.device)
        self.pool = code_pool(config.mapping_pool, model.style_dim, self.device)
        self.parameters.mean.copy_(self.pool[1].mean(0))
        self.parameters.std.copy_(self.pool[1].std(0).clamp_min(1e-3))
        torch.nn.init.constant_(self.parameters.linear.bias, OFFSET)
        if model.start:
            start_from(model.start, {"generator": self.generator})
        else:
            lay_wires(self.generator.mapping, COORDINATES)
            few = slice(0, 20_000)
            solve_output(self.generator.mapping, self.pool[0][few], self.parameters(self.pool[1][few]))
            center_styles(self.generator.synthesis, OFFSET)
        self.perceptual: PerceptualDistance | None = perceptual_from(config.attributes, self.device)
        self.networks = {"generator": self.generator, "parameters": self.parameters}
        self.extra = {"metric": self.code_metric()}
        self.average("generator")
        synthesis = self.adam([*self.generator.synthesis.parameters(), *self.parameters.parameters()], config.optim)
        mapping = torch.optim.Adam(self.generator.mapping.parameters(), config.mapping_lr, (0.9, 0.99))
        self.optimizers = {"synthesis": synthesis, "mapping": mapping}

    def vectors(self, index: Tensor) -> Tensor:
        """The parameters [B, VECTOR_SIZE] of pictures of the bank."""
        return self.bank.labels[index, :VECTOR_SIZE]

    def step(self, step: int) -> dict[str, Tensor]:
        if step % METRIC_EVERY == 0:
            self.extra["metric"] = self.code_metric()
        return self.update(
            self.bank.draw(self.run.batch), growing_size(step, self.config.grow, self.config.data.resolution)
        )

    def update(self, index: Tensor, size: int) -> dict[str, Tensor]:
        """One step on pictures `index` [B] of the bank at `size` pixels."""
        config = self.config
        assert self.bank.z is not None
        codes = self.parameters(self.vectors(index))
        spread = codes.detach().std(0).mean()
        mapping_loss = self.mapping_error(torch.randint(len(self.pool[0]), (config.mapping_batch,), device=self.device))
        # Not before all sizes are there: a mapping that is still far off would blur what the synthesis learns.
        full = size == self.generator.config.resolution
        through = round(config.through_mapping * len(index)) if full else 0
        noisy = codes + config.w_noise * spread * torch.randn_like(codes)
        w = torch.cat([self.generator.mapping(self.bank.z[index[:through]]), noisy[through:]])
        picture, truth, perceptual = self.compare(w, index, size)
        loss = picture + config.perceptual * perceptual
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        (loss + config.mapping_weight * mapping_loss).backward()
        for optimizer in self.optimizers.values():
            optimizer.step()
        return {"loss": loss, "picture": picture, "perceptual": perceptual, "mapping": mapping_loss, "l2": truth}

    @torch.no_grad()
    def code_metric(self) -> Tensor:
        """[D, D], C^(-1/4) for the covariance C of the codes, scaled to give them variance 1.

        What fills little of W, such as the shape of a chin, would otherwise drown in the error that hair and background
        leave; C^(-1/2) would weigh everything alike, and a mapping of this width pays for that with yaw.
        """
        codes = self.parameters(self.pool[1][:METRIC_CODES])
        variance, axes = torch.linalg.eigh(torch.cov(codes.T).double())
        root = variance.clamp_min(1e-3 * float(variance.mean())) ** -0.25
        metric = ((axes * root) @ axes.T).to(codes.dtype)
        return metric / (codes @ metric).var(0).mean().sqrt()

    def mapping_error(self, index: Tensor) -> Tensor:
        """Share of the variance of h(parameters) that mapping(z) misses, in `code_metric`, on codes `index`
        [M] of the pool."""
        z, vector = self.pool
        with torch.no_grad():
            wanted = self.parameters(vector[index])
        return ((self.generator.mapping(z[index]) - wanted) @ self.extra["metric"]).square().mean()

    def compare(self, w: Tensor, index: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """(weighted pixel loss, mean squared error, perceptual distance) of G(w), w [B, D], against the bank."""
        config = self.config
        target = shrunk(self.bank.batch(index), size)
        latent = w[:, None].expand(-1, self.generator.config.latent_rows, -1)
        with self.autocast():
            output = draw_at(self.generator.synthesis, latent, size).float()
            perceptual = output.new_zeros(())
            if self.perceptual is not None and config.perceptual > 0 and size >= 32:
                some = slice(0, max(1, round(config.perceptual_share * len(output))))
                perceptual = self.perceptual(target[some], output[some]).mean()
        weight = face_weight(size, config.face, self.device)
        return (
            pixel_loss(output, target, weight, config.l2, config.l1),
            (output - target).square().mean().detach(),
            perceptual,
        )

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """PSNR (dB, peak 2) of G(mapping(z)) against the rendered portrait of z, whole and weighted to the face, for
        codes that were never trained on."""
        config, data = self.config, self.config.data
        unseen = Recipe(
            "codes", data.resolution, min(data.chunk, config.evaluate), config.model.style_dim, "validation"
        )
        return {**anchor_errors(self.shown("generator"), open_bank(data, unseen, config.evaluate, self.device))}

    def picture(self) -> Tensor:
        """Pairs of rows: rendered portraits, and below each the generator's picture of the same code."""
        return compared(self.shown("generator"), self.bank)

    def export(self, folder: Path) -> list[Path]:
        return [export_generator(folder / "generator-supervised.safetensors", self.shown("generator"), self.source)]


def code_pool(count: int, style_dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(z [count, D], parameters [count, VECTOR_SIZE]): codes for the mapping's regression, which needs no pictures."""
    draw = torch.Generator().manual_seed(0)
    z = torch.randn(count, style_dim, generator=draw).to(device)
    return z, torch.cat([params_to_vector(portrait_of(part)) for part in z.split(20_000)])


@torch.no_grad()
def anchor_errors(generator: Any, bank: Bank, batch: int = 32) -> dict[str, float]:
    """PSNR in dB of a generator's pictures against the bank's portraits of the same codes, and of their faces."""
    assert bank.z is not None
    total, face = 0.0, 0.0
    weight = face_weight(generator.config.resolution, 1e6, bank.pictures.device)  # the bell alone
    for index in torch.arange(len(bank), device=bank.pictures.device).split(batch):
        error = (generator(bank.z[index]).clamp(-1, 1) - bank.batch(index)).square()
        total += float(error.mean((1, 2, 3)).sum())
        face += float((error * weight).mean((1, 2, 3)).sum())
    return {name: 10 * math.log10(4 * len(bank) / max(v, 1e-12)) for name, v in (("psnr", total), ("face_psnr", face))}


def compared(generator: Any, bank: Bank, columns: int = 8) -> Tensor:
    """Rows of portraits, each with the generator's row of the same codes below it."""
    assert bank.z is not None
    index = torch.arange(min(len(bank), 3 * columns), device=bank.pictures.device)
    pairs = zip(bank.batch(index).split(columns), generator(bank.z[index]).split(columns), strict=True)
    return grid(torch.cat([part for pair in pairs for part in pair]), columns)


@torch.no_grad()
def export_generator(path: Path, generator: Any, source: Mapping[str, str]) -> Path:
    """Write a generator with its mean code, in half precision if its pictures agree."""
    generator.latent_avg.copy_(generator.mean_latent())
    z = torch.randn(8, generator.config.style_dim, generator=torch.Generator().manual_seed(0)).to(generator.latent_avg)
    export(path, {"generator": generator}, lambda n: n["generator"](z), source)
    return path
