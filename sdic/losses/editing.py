"""The editing loss, eq. 8: stay near the initial code and feature, where edits work.

Shapes: B batch, L latent rows, D style width, C, h, w the compensated feature.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

EditForm = Literal["paper", "released"]


def edit_loss(
    latent: Tensor, enhanced_latent: Tensor, feature: Tensor, enhanced_feature: Tensor, form: EditForm
) -> Tensor:
    """Codes w, w' [B, L, D] and features F, F' [B, C, h, w] -> a scalar.

    "paper": L1(w, w') + L1(F, F'), eq. 8, each a mean over entries (a sum over the two million entries of F would
    drown every other term). "released": 0.8 MSE(F, F') + 0.2 MSE(w, w').
    """
    if form == "paper":
        return F.l1_loss(enhanced_latent, latent) + F.l1_loss(enhanced_feature, feature)
    return 0.8 * F.mse_loss(enhanced_feature, feature) + 0.2 * F.mse_loss(enhanced_latent, latent)
