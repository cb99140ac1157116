"""The joint loss, eq. 7-9. Shapes: B batch; pictures [B, 3, H, W] in [-1, 1]."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from sdic.errors import ConfigError
from sdic.losses.editing import EditForm, edit_loss
from sdic.losses.identity import Embedder, identity_loss
from sdic.losses.parsing import parsing_loss
from sdic.losses.perceptual import PerceptualDistance
from sdic.losses.reconstruction import L2Form, l2_loss
from sdic.types import Inversion


@dataclass(frozen=True)
class LossWeights:
    """The lambdas of eq. 7 and 9, and that of a term of ours (`map`); a term of weight 0 is not computed."""

    l2: float = 1.0
    lpips: float = 0.8
    id: float = 0.2
    edit: float = 0.5
    map: float = 0.0
    parsing: float = 0.0


class JointLoss(nn.Module):
    """L = l2 L2 + lpips LPIPS + id L_ID + edit L_edit (+ parsing L_parsing, which is FS's). The networks are frozen; a
    term of weight 0 takes none.

    With map > 0, ours: + map MSE(D, I - R_o), by which a discrepancy map D learns first what there is to predict.
    lpips: LPIPS, or another perceptual distance in its place; the term is called by its name.
    """

    def __init__(
        self,
        weights: LossWeights,
        lpips: PerceptualDistance | None = None,
        embedder: Embedder | None = None,
        l2_form: L2Form = "mse",
        edit_form: EditForm = "paper",
        parser: Any = None,
    ):
        super().__init__()
        wanted = ((weights.lpips, lpips), (weights.id, embedder), (weights.parsing, parser))
        if any(weight > 0 and network is None for weight, network in wanted):
            raise ValueError("a term with a weight needs its network")
        self.weights = weights
        self.lpips: Any = lpips
        self.embedder: Any = embedder
        self.parser: Any = parser
        self.l2_form: L2Form = l2_form
        self.edit_form: EditForm = edit_form

    def forward(
        self,
        photo: Tensor,
        output: Tensor,
        latent: Tensor,
        enhanced_latent: Tensor,
        feature: Tensor | None,
        enhanced_feature: Tensor | None,
        discrepancy: Tensor | None = None,
        initial: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Scalars by name: each term before its weight, and their weighted sum "loss" (eq. 9).

        discrepancy, initial: D and R_o, [B, 3, H, W], which `map` compares with the photo; ConfigError without them.
        """
        latents, features = (latent, enhanced_latent), (feature, enhanced_feature)
        known: list[tuple[float, str, Callable[[], Tensor]]] = [
            (self.weights.l2, "l2", lambda: l2_loss(photo, output, self.l2_form)),
            (self.weights.lpips, getattr(self.lpips, "name", ""), lambda: self.lpips(photo, output).mean()),
            (self.weights.id, "id", lambda: identity_loss(self.embedder, photo, output)),
            (self.weights.parsing, "parsing", lambda: parsing_loss(self.parser, photo, output)),
            (self.weights.edit, "edit", lambda: edit_loss(*latents, *features, self.edit_form)),
            (self.weights.map, "map", lambda: map_loss(photo, initial, discrepancy)),
        ]
        terms = {name: (weight, compute()) for weight, name, compute in known if weight > 0}
        first, *others = (weight * value for weight, value in terms.values())
        return {"loss": sum(others, first), **{name: value for name, (_, value) in terms.items()}}

    def of(self, photo: Tensor, output: Tensor, inversion: Inversion) -> dict[str, Tensor]:
        """The same of any method's inversion; a method without a feature has the code's part of the editing loss."""
        base, feature = inversion.extras.get("base_feature"), inversion.feature
        maps = inversion.extras.get("discrepancy"), inversion.extras.get("initial_image")
        return self(photo, output, inversion.base_latent, inversion.latent, base, feature, *maps)


def map_loss(photo: Tensor, initial: Tensor | None, discrepancy: Tensor | None) -> Tensor:
    """Mean squared error of a discrepancy map to photo less first reconstruction, all [B, 3, H, W]."""
    if initial is None or discrepancy is None:
        raise ConfigError("loss.map is for methods with a discrepancy map, and this one has none; set loss.map=0")
    return F.mse_loss(discrepancy, photo - initial)
