"""The generator's first training: StyleGAN2 taught by a renderer.

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
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sdic.data.sampler import derive_seed
from sdic.data.samples import Places, SamplesConfig
from sdic.losses.reconstruction import face_weight, pixel_loss
from sdic.networks.portrait_nets import ParameterEncoder
from sdic.networks.stylegan2 import Generator, Synthesis
from sdic.portraits import VECTOR_SIZE, params_to_vector
from sdic.portraits.law import COORDINATES, portrait_of
from sdic.portraits.tasks.mapping import OFFSET, center_styles, lay_wires, solve_output
from sdic.settings import require, section, setting
from sdic.training.config import OptimConfig, TrainingConfig
from sdic.training.distributed import World
from sdic.training.frozen import start_from
from sdic.training.task import Entry, Phase, register
from sdic.training.tasks.stylegan2 import CODES, GeneratorTask, SynthesisModelConfig, generator_config

FIRST_SIZE = 16
METRIC_EVERY, METRIC_CODES = 500, 8192  # steps between two looks at the codes' covariance, and codes looked at


@dataclass
class SupervisedConfig(TrainingConfig):
    """The generator's supervised training."""

    data: SamplesConfig = section(SamplesConfig)
    optim: OptimConfig = section(
        OptimConfig, name="adam", lr=2e-3, fall=1.0, final=0.05, beta1=0.9, beta2=0.99, eps=1e-8, batch=64
    )
    model: SynthesisModelConfig = section(SynthesisModelConfig)
    grow: int = setting(64_000, "images at each of the sizes 16, 32, ... before the next one")
    face: float = setting(5.0, "how many times a pixel of the middle counts more than one of the rim")
    l2: float = setting(1.0, "weight of the squared error")
    l1: float = setting(0.5, "weight of the absolute error")
    perceptual: float = setting(0.5, "weight of the perceptual distance")
    perceptual_share: float = setting(1.0, "share of a batch that it is taken on (it costs half of a step on a CPU)")
    attributes: str = setting("", "file or model of the perceptual distance; empty: none")
    w_noise: float = setting(0.02, "noise on the known codes, in their standard deviations")
    mapping_lr: float = setting(0.2, "learning rate of the mapping network (whose parameters are stored times 100)")
    mapping_batch: int = setting(256, "codes a step of its regression")
    mapping_pool: int = setting(100_000, "codes that are made at the start for it")
    mapping_weight: float = setting(1.0, "weight of its error beside the pictures'")
    through_mapping: float = setting(0.25, "share of a batch that is drawn through it instead of the parameter encoder")
    evaluate: int = setting(1000, "portraits of unseen codes that are measured")

    def __post_init__(self) -> None:
        require(self.data.known, "the supervised training needs known parameters; a folder begins with `generator`")
        require(
            self.model.style_dim >= COORDINATES,
            f"model.style_dim must be at least {COORDINATES}, what a portrait takes of z",
        )


def growing_size(images: int, grow: int, resolution: int) -> int:
    """The size that is trained: FIRST_SIZE for `grow` images, then twice that, and so on to the resolution."""
    return resolution if grow == 0 else min(resolution, FIRST_SIZE << min(images // grow, 16))


def draw_at(synthesis: Synthesis, latent: Tensor, size: int, noise: Any = "random") -> Tensor:
    """The picture [B, 3, size, size] as accumulated by the RGB outputs up to `size`."""
    if size == synthesis.config.resolution:
        return synthesis(latent, noise=noise)
    picture = synthesis.rgb_below(2 * int(math.log2(size)) - 3, latent, noise)
    assert picture is not None
    return picture


class SupervisedTask(GeneratorTask):
    """Trains Generator and ParameterEncoder on rendered portraits."""

    name = "generator-supervised"
    config: SupervisedConfig

    def __init__(self, config: SupervisedConfig, world: World):
        super().__init__(config, world)
        with self.weights_drawn(self.name):
            generator = Generator(generator_config(config.model, config.data.resolution))
            parameters = ParameterEncoder(VECTOR_SIZE, config.model.style_dim)
        self.generator = self.trained(generator)
        self.parameters: Any = self.trained(parameters)
        self.networks = {"generator": self.generator, "parameters": self.parameters}
        groups = [
            {"params": [*self.generator.synthesis.parameters(), *self.parameters.parameters()]},
            {"params": list(self.generator.mapping.parameters()), "lr": config.mapping_lr, "betas": (0.9, 0.99)},
        ]
        self.phases = [Phase("supervised", ("generator", "parameters"), self.optimizer(groups))]

    def prepare(self, stopped: Callable[[], bool]) -> None:
        config, model = self.config, self.config.model
        self.samples = self.open({**CODES, "style_dim": model.style_dim}, config.data.count, stopped)
        self.pool = code_pool(config.mapping_pool, model.style_dim, self.device)
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(derive_seed(config.run.seed, self.name, "wires"))
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
        self.extra = {"metric": self.code_metric()}

    def after_step(self) -> None:
        if self.steps % METRIC_EVERY == 0:
            self.extra["metric"] = self.code_metric()

    def loss(self, phase: str, batch: Places) -> dict[str, Tensor]:
        size = growing_size(self.images, self.config.grow, self.generator.config.resolution)
        return self.terms(batch.index, size)

    def terms(self, index: Tensor, size: int) -> dict[str, Tensor]:
        """The loss on pictures `index` [B] of the set at `size` pixels, and its terms."""
        config = self.config
        assert self.samples.z is not None
        codes = self.parameters(self.samples.labels[index, :VECTOR_SIZE])
        spread = codes.detach().std(0).mean()
        few = config.mapping_batch // (self.world.size * config.optim.accumulate)
        mapping = self.mapping_error((self.rand(few) * len(self.pool[0])).long())
        # Not before all sizes are there: a mapping that is still far off would blur what the synthesis learns.
        full = size == self.generator.config.resolution
        through = round(config.through_mapping * len(index)) if full else 0
        noisy = codes + config.w_noise * spread * self.randn(*codes.shape)
        w = torch.cat([self.generator.mapping(self.samples.z[index[:through]]), noisy[through:]])
        picture, squares, perceptual = self.compare(w, index, size)
        loss = picture + config.perceptual * perceptual + config.mapping_weight * mapping
        return {"loss": loss, "picture": picture, "perceptual": perceptual, "mapping": mapping, "l2": squares}

    @torch.no_grad()
    def code_metric(self) -> Tensor:
        """[D, D], C^(-1/4) for the covariance C of the codes, scaled to give them variance 1.

        What fills little of W, such as the shape of a chin, would otherwise drown in the error that hair and background
        leave; C^(-1/2) would weigh everything alike, and cost a mapping of this width its yaw.
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
        """(weighted pixel loss, mean squared error, perceptual distance) of G(w), w [B, D], against the set."""
        config = self.config
        target = F.avg_pool2d(self.samples.batch(index), config.data.resolution // size)
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

    def evaluate(self) -> dict[str, float]:
        """PSNR (dB, peak 2) of G(mapping(z)) against the rendered portrait of z, whole and weighted to the face, for
        codes that were never trained on."""
        unseen = self.open_unseen("codes", self.config.evaluate, style_dim=self.config.model.style_dim)
        return self.anchor_errors(unseen)


def code_pool(count: int, style_dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(z [count, D], parameters [count, VECTOR_SIZE]): codes for the mapping's regression, which needs no pictures."""
    draw = torch.Generator().manual_seed(0)
    z = torch.randn(count, style_dim, generator=draw).to(device)
    return z, torch.cat([params_to_vector(portrait_of(part)) for part in z.split(20_000)])


register("generator-supervised", Entry(SupervisedConfig, SupervisedTask, "portraits: StyleGAN2 taught by the renderer"))
