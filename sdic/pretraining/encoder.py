"""Training of e4e (Tov et al. 2021) on real pictures and on the generator's own.

Real pictures have no code: they are reconstructed (L2, perceptual, identity). Generated ones have: the code that they
were drawn from is asked for as well. What keeps codes editable is the paper's: rows get their offsets one after the
other, offsets are held small, and a discriminator tells the rows' codes from the mapping network's.

Shapes: B batch, L latent rows, D style width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sdic.errors import ConfigError
from sdic.evaluation.codes import OwnCodes
from sdic.losses.identity import identity_loss, identity_similarity
from sdic.networks.e4e import E4E, E4EConfig
from sdic.pretraining.bank import Recipe, open_bank
from sdic.pretraining.config import EncoderConfig
from sdic.pretraining.exporting import export, grid
from sdic.pretraining.latent_critic import CriticTraining
from sdic.pretraining.losses import fooling_loss
from sdic.pretraining.networks import need, perceptual_from
from sdic.pretraining.stage import Stage
from sdic.training.config import OptimConfig
from sdic.training.optim import build_optimizer


def rows_open(step: int, start: int, every: int, rows: int) -> int:
    """How many rows have a code of their own at a step: 1 (row 0 alone) before `start`, then one more every `every`."""
    return 1 if step < start else min(rows, 2 + (step - start) // every)


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


class EncoderStage(Stage):
    """Trains an E4E for a frozen generator."""

    name = "encoder"
    config: EncoderConfig

    def prepare(self, deadline: float, say: Any) -> None:
        config, data, model = self.config, self.config.data, self.config.model
        generator: Any = need(config.generator, "generator", "the encoder's training")
        sizes = generator.config
        if sizes.resolution != data.resolution:
            raise ConfigError(f"data.resolution={data.resolution}, but {config.generator} draws {sizes.resolution} px")
        self.bank = open_bank(
            data, Recipe("split", data.resolution, data.chunk), data.count, self.device, deadline, say
        )
        self.generator: Any = self.place(generator)
        self.perceptual = perceptual_from(config.attributes, self.device)
        embedder = need(config.identity, "portrait_embedder", "the identity loss") if config.identity else None
        self.embedder: Any = None if embedder is None else embedder.to(self.device)
        self.encoder: Any = E4E(
            E4EConfig(
                sizes.latent_rows,
                sizes.style_dim,
                tuple(model.blocks),  # type: ignore[arg-type]
                tuple(model.widths),  # type: ignore[arg-type]
                model.coarse,
                model.middle,
                sizes.resolution,
            )
        )
        self.encoder.latent_avg.copy_(generator.latent_avg.cpu().expand_as(self.encoder.latent_avg))
        self.own = OwnCodes.of(generator)
        if config.start_spread > 0:
            start_in_w(self.encoder, self.own.spread(), config.start_spread)
        self.place(self.encoder)
        self.critic_training = CriticTraining(config, sizes.style_dim, self.device)
        self.critic = self.critic_training.critic
        self.networks = {"encoder": self.encoder, "critic": self.critic}
        self.average("encoder")
        optim = config.optim
        chosen = OptimConfig(optim.name, optim.lr, beta1=optim.beta1, beta2=optim.beta2, eps=optim.eps)
        encoder = build_optimizer(chosen, self.encoder.parameters(), config.run.steps)
        self.optimizers = {"encoder": encoder, "critic": self.critic_training.optimizer}
        # The scale of W decides what a distance between codes means; errors are counted in its variance.
        self.variance = self.codes(4096).var(0).mean()
        self.extra = self.critic_training.pools

    @torch.no_grad()
    def codes(self, count: int) -> Tensor:
        """Codes [count, D] of random z."""
        z = torch.randn(count, self.generator.config.style_dim, device=self.device)
        return self.generator.mapping(z)

    def step(self, step: int) -> dict[str, Tensor]:
        count = round(self.config.generated * self.run.batch)
        w = self.codes(count)
        picture = self.bank.batch(self.bank.draw(self.run.batch - count), self.config.data.flip)
        return self.update(picture, w, step)

    def update(self, picture: Tensor, w: Tensor, step: int) -> dict[str, Tensor]:
        """One step on real pictures [N, 3, R, R] and on pictures drawn from codes w [M, D]."""
        config, rows = self.config, self.generator.config.latent_rows
        opened = rows_open(step, config.progressive_from, config.progressive_every, rows)
        self.encoder.train()
        with torch.no_grad(), self.autocast():
            drawn = self.generator.synthesis(w[:, None].expand(-1, rows, -1), noise="random").float().clamp(-1, 1)
        target = torch.cat([picture, drawn])
        with self.autocast():
            code = self.encoder(target, opened).float()
            # As e4e does: a code must not explain the noise of one fixed draw.
            output = self.generator.synthesis(code, noise="random").float()
        learned = self.update_critic(code.detach()[:, :opened], step) if config.critic > 0 else {}
        terms = self.terms(target, output, code, w, opened)
        weights = {
            "l2": config.l2,
            "perceptual": config.perceptual,
            "id": config.id,
            "code": config.code,
            "offsets": config.deltas,
            "fooling": config.critic,
        }
        loss = torch.stack([weights[name] * value for name, value in terms.items()]).sum()
        self.optimizers["encoder"].zero_grad(set_to_none=True)
        loss.backward()
        self.optimizers["encoder"].step()
        return {"loss": loss, **terms, **learned}

    def terms(self, target: Tensor, output: Tensor, code: Tensor, w: Tensor, opened: int) -> dict[str, Tensor]:
        """The unweighted terms. target, output [N + M, 3, R, R]; code [N + M, L, D]; w [M, D] of the last M."""
        config = self.config
        terms = {"l2": F.mse_loss(output, target), "offsets": offset_norms(code, opened)}
        with self.autocast():
            if self.perceptual is not None and config.perceptual > 0:
                terms["perceptual"] = self.perceptual(target, output).float().mean()
            if self.embedder is not None and config.id > 0:
                terms["id"] = identity_loss(self.embedder, target, output)
        if len(w):
            terms["code"] = (code[len(code) - len(w) :] - w[:, None]).square().mean() / self.variance
        if config.critic > 0:
            self.critic.requires_grad_(False)
            terms["fooling"] = fooling_loss(self.critic(code[:, :opened].flatten(0, 1)))
            self.critic.requires_grad_(True)
        return terms

    def update_critic(self, code: Tensor, step: int) -> dict[str, Tensor]:
        """One step of the latent discriminator on one row, drawn at random, of each code [B, opened rows, D]."""
        count = len(code)
        row = torch.randint(code.shape[1], (count,), device=self.device)
        fake = code[torch.arange(count, device=self.device), row]
        return {"critic": self.critic_training.update(self.codes(count), fake, step)}

    @torch.no_grad()
    def reconstructions(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """(code [B, L, D], picture [B, 3, R, R] clamped) of pictures, by the encoder whose results count."""
        code = self.shown("encoder")(pictures)
        return code, self.generator.synthesis(code).clamp(-1, 1)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """L2, PSNR (dB), perceptual distance and identity on unseen pictures, the distance of their codes from W
        (`OwnCodes.distance`, the mean over rows) and the error of known codes."""
        config, data = self.config, self.config.data
        unseen = self.bank
        if data.source == "portraits":
            recipe = Recipe("split", data.resolution, min(data.chunk, config.evaluate), split="validation")
            unseen = open_bank(data, recipe, config.evaluate, self.device)
        sums: dict[str, float] = {}
        count = min(len(unseen), config.evaluate)
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
        w = self.codes(64)
        rows = self.generator.config.latent_rows
        code, _ = self.reconstructions(self.generator.synthesis(w[:, None].expand(-1, rows, -1)).clamp(-1, 1))
        error = (code - w[:, None]).square().mean() / self.variance
        return {**{name: total / count for name, total in sums.items()}, "known_code_error": float(error)}

    def picture(self) -> Tensor:
        """Rows of real pictures, each with the row of their reconstructions below it."""
        target = self.bank.batch(torch.arange(min(16, len(self.bank)), device=self.device))
        _, output = self.reconstructions(target)
        columns = min(8, len(target))
        pairs = zip(target.split(columns), output.split(columns), strict=True)
        return grid(torch.cat([part for pair in pairs for part in pair]), columns)

    def export(self, folder: Path) -> list[Path]:
        path = folder / "encoder.safetensors"
        target = self.bank.batch(torch.arange(min(8, len(self.bank)), device=self.device))
        network = self.shown("encoder")
        export(path, {"encoder": network}, lambda n: self.generator.synthesis(n["encoder"](target)), self.source)
        return [path]
