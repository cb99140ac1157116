"""Training of e4e (Tov et al. 2021) on real pictures and on the generator's own.

Real pictures have no code: they are reconstructed (L2, perceptual, identity). Generated ones have: the code that they
were drawn from is asked for as well. What keeps codes editable is the paper's: rows get their offsets one after the
other, offsets are held small, and a latent discriminator distinguishes the rows' codes from the mapping network's. It
learns before the encoder in every step, from pools in which older codes of both kinds are remembered.

Shapes: B batch, L latent rows, D style width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdic.changes import Noise
from sdic.data.samples import Places, SamplesConfig
from sdic.errors import ConfigError
from sdic.evaluation.codes import OwnCodes
from sdic.fast import accelerate
from sdic.feature_networks import identity_network
from sdic.losses.adversarial import critic_loss, fooling_loss, r1_penalty
from sdic.losses.identity import identity_loss, identity_similarity
from sdic.networks.e4e import E4E, E4EConfig
from sdic.networks.portrait_nets import LatentCritic
from sdic.settings import at_least, require, section, setting
from sdic.training.config import OptimConfig, RunConfig, TrainingConfig
from sdic.training.distributed import World
from sdic.training.frozen import perceptual_from, require_network
from sdic.training.latent_critic import remembered
from sdic.training.task import Entry, Phase, grid, register
from sdic.training.tasks.samples import SamplesTask
from sdic.types import Geometry


@dataclass
class E4EModelConfig:
    """e4e's IR-SE body."""

    blocks: list[int] = setting([2, 3, 4, 2], "blocks of its four stages")
    widths: list[int] = setting([32, 64, 96, 128], "channels of its four stages")
    coarse: int = setting(3, "rows below this one read the coarsest feature")
    middle: int = setting(6, "rows below this one, from `coarse` on, read the middle feature")


@dataclass
class E4ETrainingConfig(TrainingConfig):
    """e4e's training. The defaults are its paper's but for `code` and `generated`, which are ours."""

    run: RunConfig = section(RunConfig, images=1_600_000, save_every=16_000, log_every=800, pictures_every=16_000)
    data: SamplesConfig = section(SamplesConfig)
    optim: OptimConfig = section(OptimConfig, lr=1e-4, batch=8)
    model: E4EModelConfig = section(E4EModelConfig)
    generator: str = setting("pretrained/portraits/generator.safetensors", "file of the generator")
    attributes: str = setting("", "file or model of the perceptual distance; empty: without that term")
    identity: str = setting("", "file or model of the identity network; empty: without that term")
    l2: float = setting(1.0, "weight of the squared error")
    perceptual: float = setting(0.8, "weight of the perceptual distance")
    id: float = setting(0.1, "weight of 1 - cosine of the identities")
    code: float = setting(0.2, "weight of the squared error to the known codes of generated pictures")
    generated: float = setting(0.5, "share of a batch that the generator draws")
    deltas: float = setting(2e-4, "weight of the offsets' norm")
    critic: float = setting(0.1, "weight of the latent discriminator; 0: none")
    critic_lr: float = setting(2e-5, "its learning rate, by Adam")
    critic_r1: float = setting(10.0, "gamma of its R1 penalty")
    critic_r1_every: int = setting(16, "steps between two of its R1 penalties")
    pool: int = setting(50, "codes of either kind that it remembers")
    progressive_from: int = setting(160_000, "images before row 1 gets its offset")
    progressive_every: int = setting(16_000, "images before each further row does")
    start_spread: float = setting(
        0.0,
        "0: codes begin as the paper's do, equally wide in all directions; above 0: with W's covariance, offsets with "
        "this share of its spread",
    )
    noise: Literal["random", "fixed"] = setting("random", "of the generator in training")
    evaluate: int = setting(500, "pictures of an evaluation")

    def __post_init__(self) -> None:
        require(0 <= self.generated <= 1, f"generated is a share of the batch, got {self.generated}")
        at_least(self, 1, "critic_r1_every progressive_every")
        at_least(self, 0, "start_spread", zero="0 (off)")
        at_least(self, 0, "pool", zero="0 (none)")


@dataclass
class Reconstruction:
    """What a batch has been made into: target and output [N + M, 3, R, R], code [N + M, L, D], and w [M, D] of the last
    M, which the generator drew.
    opened: rows with a code of their own.
    real, fake: codes [N + M, D] for the discriminator, through the pools."""

    target: Tensor
    output: Tensor
    code: Tensor
    w: Tensor
    opened: int
    real: Tensor
    fake: Tensor


@dataclass
class E4EBatch:
    """Places of real pictures, and what this step has made of them so far: all its phases look at one forward pass."""

    places: Places
    made: Reconstruction | None = None

    @property
    def names(self) -> list[str]:
        return self.places.names


class E4ETask(SamplesTask):
    """Trains an E4E for a frozen generator."""

    name = "encoder"
    config: E4ETrainingConfig

    @property
    def geometry(self) -> Geometry:
        """The generator's size, and squares of `data.resolution` for the encoder."""
        return Geometry(self.generator.config.resolution, (self.config.data.resolution,) * 2)

    def __init__(self, config: E4ETrainingConfig, world: World):
        super().__init__(config, world)
        generator: Any = accelerate(
            self.place(require_network(config.generator, "generator", "the encoder's training"))
        )
        sizes = generator.config
        side = config.data.resolution
        if side > sizes.resolution:
            raise ConfigError(
                f"data.resolution={side}, but {config.generator} draws {sizes.resolution} px: an encoder looks at "
                "pictures of the generator's size or at smaller ones (e4e: 256 of 1024)"
            )
        self.generator = generator
        self.perceptual = perceptual_from(config.attributes, self.device)
        self.embedder = identity_network(config.identity).to(self.device) if config.identity else None
        lookers = {"perceptual": self.perceptual, "identity": self.embedder}
        self.frozen = {"generator": self.generator, **{role: net for role, net in lookers.items() if net is not None}}
        with self.weights_drawn(self.name):
            encoder: Any = E4E(E4EConfig(sizes.latent_rows, sizes.style_dim, input_size=side, **vars(config.model)))
            encoder.latent_avg.copy_(self.generator.latent_avg.cpu().expand_as(encoder.latent_avg))
            self.own = OwnCodes.of(self.generator)
            if config.start_spread > 0:
                start_in_w(encoder, self.own.spread(), config.start_spread)
            critic = LatentCritic(sizes.style_dim)
        self.encoder: Any = self.trained(encoder)
        self.critic: Any = self.trained(critic)
        self.networks = {"critic": self.critic, "encoder": self.encoder} if config.critic else {"encoder": self.encoder}
        self.averaged = ("encoder",)
        self.phases = [Phase("encoder", ("encoder",), self.optimizer(self.encoder.parameters()))]
        if config.critic:
            adam = torch.optim.Adam(self.critic.parameters(), config.critic_lr)
            r1 = Phase("critic_r1", ("critic",), adam, config.critic_r1_every)
            self.phases = [Phase("critic", ("critic",), adam), r1, *self.phases]
        # The scale of W decides what a distance between codes means; errors are counted in its variance.
        draw = torch.Generator().manual_seed(0)
        z = torch.randn(4096, sizes.style_dim, generator=draw).to(self.device)
        with torch.no_grad():
            self.variance = self.generator.mapping(z).var(0).mean()
        self.extra = {name: torch.zeros(config.pool, sizes.style_dim, device=self.device) for name in ("real", "fake")}
        self.extra["coded"] = torch.zeros((), dtype=torch.int64, device=self.device)  # codes that have come before

    def prepare(self, stopped: Callable[[], bool]) -> None:
        (side, _), drawn = self.geometry.input_size, self.geometry.resolution
        if side < drawn:
            self.say(f"the encoder looks at pictures of {side} px; {self.config.generator} draws {drawn} px")
        self.samples = self.open({"kind": "split"}, self.config.data.count, stopped)

    # A step -----------------------------------------------------------------------------------------------------------

    @property
    def pictures_a_step(self) -> int:
        parts = self.world.size * self.config.optim.accumulate
        return parts * (self.micro_batch - round(self.config.generated * self.micro_batch))

    def batches(self, images: int) -> Iterator[E4EBatch]:  # type: ignore[override]
        return map(E4EBatch, super().batches(images))

    def loss(self, phase: str, batch: E4EBatch) -> dict[str, Tensor]:
        if batch.made is None:
            batch.made = self.reconstruct(batch.places)
        made = batch.made
        if phase == "critic":
            return {"loss": critic_loss(self.critic(made.real), self.critic(made.fake))}
        if phase == "critic_r1":
            config = self.config
            return {"loss": config.critic_r1 / 2 * config.critic_r1_every * r1_penalty(self.critic, made.real)}
        batch.made = None
        return self.encoder_terms(made)

    def reconstruct(self, places: Places) -> Reconstruction:
        """The forward pass of real pictures and as many drawn ones as `generated` asks for."""
        count, rows = round(self.config.generated * self.micro_batch), self.generator.config.latent_rows
        picture, w = self.samples.batch(places.index, places.flip), self.codes(count)
        opened = rows_open(self.images, self.config.progressive_from, self.config.progressive_every, rows)
        with torch.no_grad(), self.autocast():
            latent = w[:, None].expand(-1, rows, -1)
            drawn = self.drawn(latent, self.noise(count)).clamp(-1, 1)
        target = torch.cat([picture, drawn])
        # Also in the discriminator's phase: the encoder's own comes back to this pass.
        self.encoder.requires_grad_(True)
        with self.autocast():
            code = self.encoder(target, opened).float()
            # As e4e does: a code must not explain the noise of one fixed draw.
            output = self.drawn(code, self.noise(len(code)))
        real, fake = self.remembered(code.detach()[:, :opened]) if self.config.critic else (w, w)
        return Reconstruction(target, output, code, w, opened, real, fake)

    def encoder_terms(self, made: Reconstruction) -> dict[str, Tensor]:
        """The encoder's loss and its unweighted terms."""
        config, code, w = self.config, made.code, made.w
        terms = {"l2": F.mse_loss(made.output, made.target), "offsets": offset_norms(code, made.opened)}
        with self.autocast():
            if self.perceptual is not None and config.perceptual > 0:
                terms["perceptual"] = self.perceptual(made.target, made.output).float().mean()
            if self.embedder is not None and config.id > 0:
                terms["id"] = identity_loss(self.embedder, made.target, made.output)
        if len(w):
            terms["code"] = (code[len(code) - len(w) :] - w[:, None]).square().mean() / self.variance
        if config.critic:
            terms["fooling"] = fooling_loss(self.critic(code[:, : made.opened].flatten(0, 1)))
        weights = {"offsets": config.deltas, "fooling": config.critic}
        weighted = [weights.get(name, getattr(config, name, 0.0)) * value for name, value in terms.items()]
        return {"loss": torch.stack(weighted).sum(), **terms}

    def remembered(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """(real, fake) codes [B, D] for the discriminator, of W and of the encoder's [B, opened rows, D]."""
        return remembered(self, self.codes, code)

    def drawn(self, code: Tensor, noise: Noise = "fixed") -> Tensor:
        """The generator's pictures of codes [B, L, D] as the encoder and the losses look at them: [B, 3, R, R] at
        `data.resolution`."""
        return self.geometry.at_input_size(self.generator.synthesis(code, noise=noise).float())

    @torch.no_grad()
    def codes(self, count: int) -> Tensor:
        """Codes [count, D] of random z."""
        return self.generator.mapping(self.randn(count, self.generator.config.style_dim))

    # What is measured, drawn, written ---------------------------------------------------------------------------------

    @torch.no_grad()
    def reconstructions(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """(code [B, L, D], picture [B, 3, R, R] clamped) of pictures, by the encoder whose results count."""
        code = self.average("encoder")(pictures)
        return code, self.drawn(code).clamp(-1, 1)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """L2, PSNR (dB), perceptual distance and identity on unseen pictures, the distance of their codes from W
        (`OwnCodes.distance`, the mean over rows) and the error of known codes."""
        unseen = self.open_unseen("split", self.config.evaluate)
        sums: dict[str, float] = {}
        count = min(len(unseen), self.config.evaluate)
        for index in torch.arange(count, device=self.device).split(32):
            target = unseen.batch(index)
            code, output = self.reconstructions(target)
            error = (output - target).square().flatten(1).mean(1)
            found = {"l2": error, "psnr": 10 * torch.log10(4 / error), "from_w": self.own.distance(code).mean(1)}
            if self.perceptual is not None:
                found["perceptual"] = self.perceptual(target, output)
            if self.embedder is not None:
                found["id"] = identity_similarity(self.embedder, target, output)
            for name, value in found.items():
                sums[name] = sums.get(name, 0.0) + float(value.sum())
        w, rows = self.codes(64), self.generator.config.latent_rows
        code, _ = self.reconstructions(self.drawn(w[:, None].expand(-1, rows, -1)).clamp(-1, 1))
        error = (code - w[:, None]).square().mean() / self.variance
        return {**{name: total / count for name, total in sums.items()}, "known_code_error": float(error)}

    def picture(self) -> Tensor:
        """Rows of real pictures, each with the row of their reconstructions below it."""
        target = self.samples.first(16)
        return grid([target, self.reconstructions(target)[1]], min(8, len(target)))

    def exported(self) -> dict[str, nn.Module]:
        return {"encoder": self.average("encoder")}

    def outputs(self, networks: Mapping[str, Any]) -> Tensor:
        return self.drawn(networks["encoder"](self.samples.first(8)))


def rows_open(images: int, start: int, every: int, rows: int) -> int:
    """How many rows have a code of their own: 1 (row 0 alone) before `start` images, then one more every `every`."""
    return 1 if images < start else min(rows, 2 + (images - start) // every)


@torch.no_grad()
def start_in_w(encoder: E4E, spread: Tensor, share: float) -> None:
    """Give a new encoder's codes the shape of W: row 0 its covariance, offsets that of `share` of its spread.

    W is flat: at 64 px its widest direction has 280 times the deviation of its narrowest. Codes that begin as wide in
    one as in the other are far outside, and the way back in is slow. spread: [D, D] of `OwnCodes.spread`.
    """
    for row, head in enumerate(encoder.heads):
        weight: Tensor = head.linear.weight  # type: ignore[union-attr, assignment]
        weight.copy_(spread.to(weight) @ weight * (1.0 if row == 0 else share))


def offset_norms(code: Tensor, rows: int) -> Tensor:
    """e4e's delta regularisation: the norms of the open rows' offsets from row 0, summed over rows. [B, L, D] -> []."""
    return (code[:, 1:rows] - code[:, :1]).norm(dim=2).sum(1).mean()


register("e4e", Entry(E4ETrainingConfig, E4ETask, "the encoder e4e, for a generator"))
