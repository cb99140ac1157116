"""Every term of eq. 7-9 against a value worked out by hand."""

import pytest
import torch

from sdic.errors import ConfigError
from sdic.losses.editing import edit_loss
from sdic.losses.identity import identity_loss
from sdic.losses.joint import JointLoss, LossWeights
from sdic.losses.reconstruction import l2_loss


class FirstTwoPixels:
    """An embedder whose embedding can be read off: the first two red values, normalised."""

    def embed(self, picture):
        return torch.nn.functional.normalize(picture[:, 0, 0, :2])


class MeanGap(torch.nn.Module):
    """Stands for LPIPS: the mean absolute difference of each picture."""

    name = "lpips"

    def forward(self, photo, output):
        return (photo - output).abs().flatten(1).mean(1)


def pictures():
    """Two photos and outputs of 3x1x2 values; differences: 1 in one of six values, and 2 in all six."""
    photo = torch.zeros(2, 3, 1, 2)
    photo[0, 0, 0] = torch.tensor([1.0, 0.0])
    photo[1, 0, 0] = torch.tensor([0.0, 2.0])
    output = photo.clone()
    output[0, 0, 0, 1] = 1.0
    output[1] += 2.0
    return photo, output


def test_l2_is_the_mean_squared_error_of_all_values():
    # (1 + 6 * 4) / 12
    assert l2_loss(*pictures()).item() == pytest.approx(25 / 12)


def test_l2_euclidean_is_the_norm_per_picture():
    # (sqrt(1) + sqrt(24)) / 2
    assert l2_loss(*pictures(), form="euclidean").item() == pytest.approx((1 + 24**0.5) / 2)


def test_identity_is_one_minus_the_cosine():
    # First: (1,0) against (1,1)/sqrt 2. Second: (0,2) against (2,4)/sqrt 20.
    cosines = (0.5**0.5, 4 / 20**0.5)
    assert identity_loss(FirstTwoPixels(), *pictures()).item() == pytest.approx(1 - sum(cosines) / 2)


def edit_tensors():
    w, f = torch.zeros(1, 2, 2), torch.zeros(1, 1, 2, 2)
    w2 = torch.tensor([[[1.0, -2.0], [0.0, 0.0]]])  # L1 mean 3/4, MSE 5/4
    f2 = torch.full((1, 1, 2, 2), -3.0)  # L1 mean 3, MSE 9
    return w, w2, f, f2


def test_edit_loss_of_the_paper_eq_8():
    assert edit_loss(*edit_tensors(), "paper").item() == pytest.approx(0.75 + 3)


def test_edit_loss_of_the_release():
    assert edit_loss(*edit_tensors(), "released").item() == pytest.approx(0.8 * 9 + 0.2 * 1.25)


def test_joint_loss_eq_7_and_9():
    photo, output = pictures()
    w, w2, f, f2 = edit_tensors()
    loss = JointLoss(LossWeights(1.0, 0.8, 0.2, 0.5), MeanGap(), FirstTwoPixels())
    terms = loss(photo, output, w, w2, f, f2)
    l2, lpips, edit = 25 / 12, 13 / 12, 3.75  # the mean gap is (1/6 + 2) / 2
    identity = 1 - (0.5**0.5 + 4 / 20**0.5) / 2
    assert list(terms) == ["loss", "l2", "lpips", "id", "edit"]
    assert terms["lpips"].item() == pytest.approx(lpips)
    assert terms["loss"].item() == pytest.approx(l2 + 0.8 * lpips + 0.2 * identity + 0.5 * edit)


def test_a_term_of_weight_zero_is_not_computed_and_needs_no_network():
    photo, output = pictures()
    terms = JointLoss(LossWeights(2.0, 0, 0, 0))(photo, output, *edit_tensors())
    assert list(terms) == ["loss", "l2"]
    assert terms["loss"].item() == pytest.approx(50 / 12)
    with pytest.raises(ValueError, match="network"):
        JointLoss(LossWeights(1, 1, 0, 0))


def test_the_photos_embedding_carries_no_gradient():
    photo, output = (picture.requires_grad_() for picture in pictures())
    identity_loss(FirstTwoPixels(), photo, output).backward()
    assert photo.grad is None
    assert output.grad.abs().sum() > 0


def test_the_map_is_compared_with_the_plain_difference():
    photo, output = torch.full((2, 3, 8, 8), 0.5), torch.zeros(2, 3, 8, 8)
    initial, discrepancy = photo - 0.3, torch.full((2, 3, 8, 8), 0.1)
    loss = JointLoss(LossWeights(0, 0, 0, 0, 5.0))
    terms = loss(photo, output, *edit_tensors(), discrepancy, initial)
    assert float(terms["map"]) == pytest.approx(0.04)
    assert float(terms["loss"]) == pytest.approx(0.2)
    with pytest.raises(ConfigError, match="discrepancy map"):
        loss(photo, output, *edit_tensors())
