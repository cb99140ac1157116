"""The generator's adversarial stage: StyleGAN2 as published, with an anchor to the truth where there is one.

Logistic loss, lazy R1, lazy path-length regularisation, style mixing, an average of the weights. For portraits the
pictures of known codes are held to their rendered truth by an error of small weight, so that yaw stays yaw while the
discriminator asks for sharpness. For a user's own pictures there is no truth, and this stage is the whole training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdic.evaluation.fid import frechet_distance, moments_of
from sdic.networks.discriminator import Discriminator
from sdic.networks.stylegan2 import Generator
from sdic.pretraining.bank import Recipe, open_bank
from sdic.pretraining.config import AdversarialConfig
from sdic.pretraining.exporting import export, grid
from sdic.pretraining.losses import (
    critic_loss,
    face_weight,
    fooling_loss,
    path_lengths,
    path_penalty,
    pixel_loss,
    r1_penalty,
)
from sdic.pretraining.networks import perceptual_from, start_from
from sdic.pretraining.stage import Stage
from sdic.pretraining.supervised import anchor_errors, compared, export_generator, generator_config


class AdversarialStage(Stage):
    """Trains Generator against Discriminator.

    The discriminator always computes in full precision: its minibatch deviation is a small difference of large numbers,
    and bf16's eight bits show in the generator's pictures but not in real ones.
    """

    name = "generator"
    config: AdversarialConfig

    def prepare(self, deadline: float, say: Any) -> None:
        config, data, model = self.config, self.config.data, self.config.model
        recipe = Recipe("codes", data.resolution, data.chunk, model.style_dim, "generator")
        self.bank = open_bank(data, recipe, data.count, self.device, deadline, say)
        sizes = generator_config(model, data.resolution)
        self.generator, self.critic = Generator(sizes), Discriminator(sizes)
        if model.start:
            start_from(model.start, {"generator": self.generator, "discriminator": self.critic})
        self.place(self.generator)
        self.place(self.critic)
        self.perceptual = perceptual_from(config.attributes, self.device)
        self.networks = {"generator": self.generator, "discriminator": self.critic}
        self.average("generator")
        self.optimizers = {
            "generator": self.adam(self.generator.parameters(), config.optim, config.path_every if config.path else 0),
            "discriminator": self.adam(self.critic.parameters(), config.optim, config.r1_every if config.r1 else 0),
        }
        self.extra = {"path_mean": torch.zeros((), device=self.device)}

    @property
    def anchored(self) -> bool:
        """Whether codes have a known truth."""
        return self.config.anchor > 0 and self.bank.z is not None

    def step(self, step: int) -> dict[str, Tensor]:
        config, index = self.config, self.bank.draw(self.run.batch)
        real = self.bank.batch(index, config.data.flip)
        terms = self.update_critic(real)
        if config.r1 > 0 and step % config.r1_every == 0:
            terms["r1"] = self.regularise_critic(real)
        if step < config.critic_first:
            return terms
        terms |= self.update_generator()
        if config.path > 0 and step % config.path_every == 0:
            terms["path"] = self.regularise_generator()
        return terms

    def latent(self, count: int, mixing: float) -> Tensor:
        """Codes [count, L, D] of random z; with probability `mixing` the rows from a random one on are of another z."""
        rows, width = self.generator.config.latent_rows, self.generator.config.style_dim
        w = self.generator.mapping(torch.randn(2 * count, width, device=self.device))
        first, second = w.chunk(2)
        cut = torch.randint(1, rows, (count,), device=self.device)
        cut = torch.where(torch.rand(count, device=self.device) < mixing, cut, rows)
        other = torch.arange(rows, device=self.device)[None] >= cut[:, None]
        return torch.where(other[:, :, None], second[:, None], first[:, None])

    def update_critic(self, real: Tensor) -> dict[str, Tensor]:
        """One discriminator step on real pictures [B, 3, R, R] and as many generated ones."""
        with torch.no_grad():
            latent = self.latent(len(real), self.config.mixing)
            with self.autocast():
                fake = self.generator.synthesis(latent, noise="random").float()
        real_logits, fake_logits = self.critic(real), self.critic(fake)
        loss = critic_loss(real_logits, fake_logits)
        self._apply("discriminator", loss)
        return {"critic": loss, "real": real_logits.mean().detach(), "fake": fake_logits.mean().detach()}

    def regularise_critic(self, real: Tensor) -> Tensor:
        """One step on gamma / 2 * r1_every * R1, in full precision; returns R1."""
        penalty = r1_penalty(self.critic, real)
        self._apply("discriminator", self.config.r1 / 2 * self.config.r1_every * penalty)
        return penalty.detach()

    def update_generator(self) -> dict[str, Tensor]:
        """One generator step: fool the discriminator and stay at the truth of known codes."""
        config = self.config
        latent = self.latent(self.run.batch, config.mixing)
        self.critic.requires_grad_(False)
        with self.autocast():
            fake = self.generator.synthesis(latent, noise="random").float()
        loss = fooling_loss(self.critic(fake))
        terms = {"fooling": loss}
        if self.anchored:
            anchor = self.anchor_loss(self.bank.draw(max(1, self.run.batch // 2)))
            terms["anchor"] = anchor
            loss = loss + config.anchor * anchor
        self._apply("generator", loss)
        self.critic.requires_grad_(True)
        return terms

    def anchor_loss(self, index: Tensor) -> Tensor:
        """Error of G(mapping(z)) against the rendered portraits of pictures `index` of the bank."""
        config = self.config
        assert self.bank.z is not None
        target = self.bank.batch(index)
        latent = self.generator.mapping(self.bank.z[index])[:, None].expand(-1, self.generator.config.latent_rows, -1)
        with self.autocast():
            output = self.generator.synthesis(latent, noise="random").float()
            distance = self.perceptual(target, output).mean() if self.perceptual is not None else 0.0
        weight = face_weight(target.shape[3], config.face, self.device)
        return pixel_loss(output, target, weight, 1.0, 0.5) + config.perceptual * distance

    def regularise_generator(self) -> Tensor:
        """One step on the path-length penalty, in full precision; returns the mean length."""
        config = self.config
        latent = self.latent(max(1, self.run.batch // config.path_shrink), config.mixing)
        lengths = path_lengths(self.generator.synthesis(latent, noise="random"), latent)
        penalty, self.extra["path_mean"] = path_penalty(lengths, self.extra["path_mean"], config.path_decay)
        self._apply("generator", config.path * config.path_every * penalty)
        return lengths.detach().mean()

    def _apply(self, name: str, loss: Tensor) -> None:
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Fréchet distance of generated to real pictures, and between two halves of as many real ones; for portraits
        also the PSNR against the truth of unseen codes."""
        config, data = self.config, self.config.data
        generator: Any = self.shown("generator")
        values: dict[str, float] = {}
        if data.source == "portraits":
            held = Recipe(
                "codes", data.resolution, min(data.chunk, config.evaluate), config.model.style_dim, "validation"
            )
            real = open_bank(data, held, config.evaluate, self.device)
            values |= anchor_errors(generator, real)
        else:
            real = self.bank
        if self.perceptual is None or not hasattr(self.perceptual.network, "pooled"):
            return values
        count = min(config.evaluate, len(real)) // 2 * 2
        places = torch.arange(count, device=self.device)
        features = self.perceptual.network.pooled
        halves = [moments_of((real.batch(i) for i in half.split(32)), features) for half in (places[::2], places[1::2])]
        every = moments_of((real.batch(i) for i in places.split(32)), features)
        width = generator.config.style_dim
        codes = torch.randn(count, width, device=self.device)
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
        """For portraits truth and picture of the same codes, then (for all) random samples."""
        generator: Any = self.shown("generator")
        z = torch.randn(32, generator.config.style_dim, device=self.device)
        samples = grid(generator(z), 8)
        return torch.cat([compared(generator, self.bank), samples], 1) if self.bank.z is not None else samples

    def export(self, folder: Path) -> list[Path]:
        generator = export_generator(folder / "generator.safetensors", self.shown("generator"), self.source)
        # Not shipped: what another run of this stage goes on from (model.start), where the state is too large to carry.
        both = {"generator": self.generator, "discriminator": self.critic}
        picture = self.bank.batch(torch.arange(min(4, len(self.bank)), device=self.device))
        path = folder / "handover.safetensors"
        export(path, both, lambda n: n["discriminator"](picture), self.source)
        return [generator, path]
