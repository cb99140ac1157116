"""StyleGAN2 as published, with an anchor to the truth where there is one.

Four phases: the discriminator by the logistic loss, its lazy R1 penalty, the generator by the non-saturating loss, and
the lazy path-length penalty; style mixing, and an average of the weights. Where a domain knows the right picture of a
code, pictures of known codes are held to it by an error of small weight, so that yaw stays yaw while the discriminator
asks for sharpness. For a user's own pictures there is no truth, and this is the whole training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sdic.data.samples import Places, SamplesConfig, SampleSet
from sdic.errors import ConfigError
from sdic.evaluation.fid import frechet_distance, moments_of
from sdic.losses.adversarial import critic_loss, fooling_loss, path_lengths, path_penalty, r1_penalty
from sdic.losses.reconstruction import face_weight, pixel_loss
from sdic.networks.discriminator import Discriminator
from sdic.networks.stylegan2 import Generator, GeneratorConfig
from sdic.settings import require, section, setting
from sdic.training.config import OptimConfig, TrainingConfig
from sdic.training.distributed import World
from sdic.training.exporting import export
from sdic.training.frozen import perceptual_from, start_from
from sdic.training.task import Entry, Phase, grid, register
from sdic.training.tasks.samples import SamplesTask

CODES = {"kind": "codes", "split": "generator"}


@dataclass
class SynthesisModelConfig:
    """The generator."""

    style_dim: int = setting(128, "width of z and w")
    mapping_layers: int = setting(8, "layers of the mapping network")
    channels: list[int] = setting([256, 256, 256, 128, 64], "widths at 4, 8, ..., data.resolution")
    start: str = setting("", "a file with a generator (and perhaps a discriminator) to begin from; empty: from nothing")


@dataclass
class StyleGAN2Config(TrainingConfig):
    """The adversarial training."""

    data: SamplesConfig = section(SamplesConfig)
    optim: OptimConfig = section(OptimConfig, name="adam", lr=2e-3, beta1=0.0, beta2=0.99, eps=1e-8, batch=64)
    model: SynthesisModelConfig = section(SynthesisModelConfig)
    anchor: float = setting(10.0, "weight of the error against the truth of known codes")
    critic_first: int = setting(0, "images before the generator's first step: the discriminator learns alone")
    face: float = setting(5.0, "the anchor: how many times a pixel of the middle counts more than one of the rim")
    perceptual: float = setting(0.5, "the anchor: weight of the perceptual distance")
    attributes: str = setting("", "file or model for Fréchet distance and the anchor's perceptual part; empty: neither")
    r1: float = setting(0.5, "gamma of the R1 penalty; 0: none")
    r1_every: int = setting(16, "steps between two R1 penalties")
    path: float = setting(2.0, "weight of the path-length penalty; 0: none")
    path_every: int = setting(4, "steps between two path-length penalties")
    path_shrink: int = setting(2, "the path-length penalty takes so many times fewer pictures")
    path_decay: float = setting(0.01, "share of the running mean of path lengths that a penalty replaces")
    mixing: float = setting(0.9, "chance of two codes in one picture")
    noise: Literal["random", "fixed"] = setting("random", "of the generator in training")
    evaluate: int = setting(2000, "pictures of an evaluation")

    def __post_init__(self) -> None:
        require(min(self.r1_every, self.path_every, self.path_shrink) >= 1, "the *_every and path_shrink start at 1")
        require(0 <= self.mixing <= 1, f"mixing is a probability, got {self.mixing}")


def generator_config(model: SynthesisModelConfig, resolution: int) -> GeneratorConfig:
    """The generator that the settings describe; ConfigError where they cannot be."""
    if len(model.channels) != int(math.log2(resolution)) - 1:
        raise ConfigError(
            f"model.channels needs one width for each of 4, 8, ..., data.resolution={resolution}, got {model.channels}"
        )
    return GeneratorConfig(resolution, model.style_dim, model.mapping_layers, channels=tuple(model.channels))


class GeneratorTask(SamplesTask):
    """What trains a generator. perceptual: the distance that `config.attributes` names, or None."""

    def __init__(self, config: Any, world: World):
        super().__init__(config, world)
        self.averaged = ("generator",)
        self.perceptual = perceptual_from(config.attributes, self.device)
        self.frozen = {} if self.perceptual is None else {"perceptual": self.perceptual}

    @torch.no_grad()
    def anchor_errors(self, samples: SampleSet) -> dict[str, float]:
        """PSNR in dB of the generator's pictures against the true ones of the same codes, and of their faces."""
        assert samples.z is not None
        generator, total, face = self.average("generator"), 0.0, 0.0
        weight = face_weight(generator.config.resolution, 1e6, self.device)  # the bell alone
        for index in samples.places(32):
            error = (generator(samples.z[index]).clamp(-1, 1) - samples.batch(index)).square()
            total += float(error.mean((1, 2, 3)).sum())
            face += float((error * weight).mean((1, 2, 3)).sum())
        sums = (("psnr", total), ("face_psnr", face))
        return {name: 10 * math.log10(4 * len(samples) / max(value, 1e-12)) for name, value in sums}

    def picture(self) -> Tensor:
        """Rows of true pictures, each with the generator's row of the same codes below it."""
        assert self.samples.z is not None
        pictures = self.samples.first(24)
        drawn = self.average("generator")(self.samples.z[: len(pictures)])
        return grid([pictures, drawn], min(8, len(pictures)))

    @torch.no_grad()
    def exported(self) -> dict[str, nn.Module]:
        generator = self.average("generator")
        generator.latent_avg.copy_(generator.mean_latent())
        return {"generator": generator}

    def outputs(self, networks: Mapping[str, Any]) -> Tensor:
        """Its pictures of eight fixed codes."""
        generator = networks["generator"]
        z = torch.randn(8, generator.config.style_dim, generator=torch.Generator().manual_seed(0))
        return generator(z.to(generator.latent_avg))


class StyleGAN2Task(GeneratorTask):
    """Trains Generator against Discriminator.

    The discriminator always computes in full precision: its minibatch deviation is a small difference of large numbers,
    and bf16's eight bits show in the generator's pictures but not in real ones.
    """

    name = "generator"
    config: StyleGAN2Config

    def __init__(self, config: StyleGAN2Config, world: World):
        super().__init__(config, world)
        sizes = generator_config(config.model, config.data.resolution)
        with self.weights_drawn(self.name):
            networks: dict[str, nn.Module] = {"generator": Generator(sizes), "discriminator": Discriminator(sizes)}
        if config.model.start:
            start_from(config.model.start, networks)
        self.networks = {role: self.trained(network) for role, network in networks.items()}
        self.generator: Any = self.networks["generator"]
        self.critic: Any = self.networks["discriminator"]
        critic = self.optimizer(self.critic.parameters(), config.r1_every if config.r1 else 0)
        generator = self.optimizer(self.generator.parameters(), config.path_every if config.path else 0)
        r1 = Phase("r1", ("discriminator",), critic, config.r1_every)
        path = Phase("path", ("generator",), generator, config.path_every, config.critic_first)
        self.phases = [
            Phase("discriminator", ("discriminator",), critic),
            *([r1] if config.r1 else []),
            Phase("generator", ("generator",), generator, start=config.critic_first),
            *([path] if config.path else []),
        ]
        self.extra = {"path_mean": torch.zeros((), device=self.device)}

    def prepare(self, stopped: Callable[[], bool]) -> None:
        config = self.config
        recipe = {**CODES, "style_dim": config.model.style_dim}
        self.samples = self.open(recipe, config.data.count, stopped)

    # The phases -------------------------------------------------------------------------------------------------------

    def loss(self, phase: str, batch: Places) -> dict[str, Tensor]:
        return {
            "discriminator": self.critic_terms,
            "r1": self.r1_terms,
            "generator": self.generator_terms,
            "path": self.path_terms,
        }[phase](batch)

    def critic_terms(self, batch: Places) -> dict[str, Tensor]:
        """The logistic loss on real pictures [B, 3, R, R] and as many generated ones."""
        with torch.no_grad():
            fake = self.fakes(len(batch.index))
        real = self.critic(self.samples.batch(batch.index, batch.flip))
        logits = self.critic(fake)
        return {"loss": critic_loss(real, logits), "real": real.mean(), "fake": logits.mean()}

    def r1_terms(self, batch: Places) -> dict[str, Tensor]:
        """gamma / 2 * r1_every * R1, in full precision."""
        penalty = r1_penalty(self.critic, self.samples.batch(batch.index, batch.flip))
        return {"loss": self.config.r1 / 2 * self.config.r1_every * penalty, "r1": penalty}

    def generator_terms(self, batch: Places) -> dict[str, Tensor]:
        """Fool the discriminator, and stay at the truth of known codes."""
        fake = self.fakes(len(batch.index))
        fooling = fooling_loss(self.critic(fake))
        if self.config.anchor <= 0 or self.samples.z is None:
            return {"loss": fooling, "fooling": fooling}
        anchor = self.anchor_loss(batch.index[: max(1, len(batch.index) // 2)])
        return {"loss": fooling + self.config.anchor * anchor, "fooling": fooling, "anchor": anchor}

    def path_terms(self, batch: Places) -> dict[str, Tensor]:
        """The path-length penalty, in full precision; "path" is the mean length."""
        config = self.config
        latent = self.latent(max(1, len(batch.index) // config.path_shrink), config.mixing)
        picture = self.generator.synthesis(latent, noise=self.noise(len(latent)))
        lengths = path_lengths(picture, latent, self.randn(*picture.shape))
        average = self.world.mean(lengths.detach().mean())
        penalty, self.extra["path_mean"] = path_penalty(lengths, self.extra["path_mean"], config.path_decay, average)
        return {"loss": config.path * config.path_every * penalty, "path": lengths.mean()}

    def fakes(self, count: int) -> Tensor:
        """Generated pictures [count, 3, R, R], float32."""
        return self.drawn(self.latent(count, self.config.mixing))

    def drawn(self, latent: Tensor) -> Tensor:
        """Codes [B, L, D] -> pictures [B, 3, R, R], float32."""
        with self.autocast():
            return self.generator.synthesis(latent, noise=self.noise(len(latent))).float()

    def latent(self, count: int, mixing: float) -> Tensor:
        """Codes [count, L, D] of random z; with probability `mixing` the rows from a random one on are of another z."""
        rows, width = self.generator.config.latent_rows, self.generator.config.style_dim
        first, second = self.generator.mapping(torch.cat([self.randn(count, width), self.randn(count, width)])).chunk(2)
        cut = 1 + (self.rand(count) * (rows - 1)).long()
        cut = torch.where(self.rand(count) < mixing, cut, rows)
        other = torch.arange(rows, device=self.device)[None] >= cut[:, None]
        return torch.where(other[:, :, None], second[:, None], first[:, None])

    def anchor_loss(self, index: Tensor) -> Tensor:
        """Error of G(mapping(z)) against the true pictures `index` [B] of the set."""
        config = self.config
        assert self.samples.z is not None
        target = self.samples.batch(index)
        latent = self.generator.mapping(self.samples.z[index])[:, None]
        output = self.drawn(latent.expand(-1, self.generator.config.latent_rows, -1))
        with self.autocast():
            distance = self.perceptual(target, output).mean() if self.perceptual is not None else 0.0
        weight = face_weight(target.shape[3], config.face, self.device)
        return pixel_loss(output, target, weight, 1.0, 0.5) + config.perceptual * distance

    # What is measured, drawn, written ---------------------------------------------------------------------------------

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Fréchet distance of generated to real pictures, and between two halves of as many real ones; where there is a
        truth also the PSNR against that of unseen codes."""
        config, generator = self.config, self.average("generator")
        real = self.open_unseen("codes", config.evaluate, style_dim=config.model.style_dim)
        values = self.anchor_errors(real) if real.z is not None else {}
        if self.perceptual is None or not hasattr(self.perceptual.network, "pooled"):
            return values
        count = min(config.evaluate, len(real)) // 2 * 2
        places = torch.arange(count, device=self.device)
        features = self.perceptual.network.pooled
        halves = [moments_of((real.batch(i) for i in half.split(32)), features) for half in (places[::2], places[1::2])]
        every = moments_of((real.batch(i) for i in places.split(32)), features)
        codes = torch.randn(count, generator.config.style_dim, device=self.device)
        samples = (generator(z, noise="random").clamp(-1, 1) for z in codes.split(32))
        fewer = (generator(z, noise="random").clamp(-1, 1) for z in codes[: count // 2].split(32))
        drawn, half = moments_of(samples, features), moments_of(fewer, features)
        # The distance is biased upwards by small samples, so halves are compared with halves.
        return {
            **values,
            "frechet": frechet_distance(drawn, every),
            "frechet_half": frechet_distance(half, halves[0]),
            "frechet_real_halves": frechet_distance(*halves),
            "frechet_pictures": float(count),
        }

    def picture(self) -> Tensor:
        """Truth and picture of the same codes where there is a truth, then (for all) random samples."""
        generator = self.average("generator")
        samples = grid(generator(torch.randn(32, generator.config.style_dim, device=self.device)), 8)
        return torch.cat([super().picture(), samples], 1) if self.samples.z is not None else samples

    def export(self, folder: Path, networks: Mapping[str, nn.Module], about: Mapping[str, str]) -> list[Path]:
        # Not shipped: what another run of this task goes on from (model.start), where the state is too large to carry.
        pictures, path = self.samples.first(4), folder / "handover.safetensors"
        export(path, self.networks, lambda n: n["discriminator"](pictures), about)
        return [*super().export(folder, networks, about), path]


register(
    "generator", Entry(StyleGAN2Config, StyleGAN2Task, "StyleGAN2, adversarially: your own pictures, or a domain's")
)
