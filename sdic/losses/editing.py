"""The editing loss, eq. 8: stay near the initial code and feature, where edits work.

Shapes: B batch, L latent rows, D style width, C, h, w the compensated feature.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

EditForm = Literal["paper", "released"]


def edit_loss(
    latent: Tensor,
    enhanced_latent: Tensor,
    feature: Tensor | None,
    enhanced_feature: Tensor | None,
    form: EditForm,
) -> Tensor:
    """Codes w, w' [B, L, D] and features F, F' [B, C, h, w] (None: without their part) -> a scalar.

    "paper": L1(w, w') + L1(F, F'), eq. 8, each a mean over entries (a sum over the two million entries of F would
    drown every other term). "released": 0.8 MSE(F, F') + 0.2 MSE(w, w').
    """
    distance = F.l1_loss if form == "paper" else F.mse_loss
    code_weight, feature_weight = (1.0, 1.0) if form == "paper" else (0.2, 0.8)
    code = code_weight * distance(enhanced_latent, latent)
    if feature is None or enhanced_feature is None:
        return code
    return code + feature_weight * distance(enhanced_feature, feature)
