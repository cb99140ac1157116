"""Losses and distances against cases computed by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from sdic.errors import ConfigError
from sdic.evaluation.fid import frechet_distance, moments_of
from sdic.losses.adversarial import critic_loss, fooling_loss, path_lengths, path_penalty, r1_penalty
from sdic.losses.identity import arcface_loss
from sdic.losses.reconstruction import face_weight, pixel_loss
from sdic.networks.portrait_nets import AttributeConfig, AttributeDistance, AttributeNet
from sdic.portraits.tasks.identity import area_under_curve, verification, verification_accuracy


def test_adversarial_losses_by_hand() -> None:
    real, fake = torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [-1.0]])
    expected = (math.log(2) + math.log1p(math.exp(-2))) / 2 + (math.log(2) + math.log1p(math.exp(-1))) / 2
    assert float(critic_loss(real, fake)) == pytest.approx(expected, rel=1e-6)
    assert float(fooling_loss(fake)) == pytest.approx((math.log(2) + math.log1p(math.exp(1))) / 2, rel=1e-6)


def test_r1_of_a_quadratic_critic() -> None:
    scale = torch.tensor(3.0, requires_grad=True)
    real = torch.tensor([[1.0, 2.0], [0.0, -1.0]])
    penalty = r1_penalty(lambda x: scale * x.square().sum(1, keepdim=True), real)  # gradient 2 s x
    assert float(penalty.detach()) == pytest.approx(4 * 9 * (5 + 1) / 2)
    penalty.backward()
    assert float(scale.grad) == pytest.approx(8 * 3 * 3)  # type: ignore[arg-type]


def test_path_length_of_a_linear_generator() -> None:
    """G(w) = a . w summed over rows, the same in every pixel: J^T y is a times a normal number, for every row."""
    torch.manual_seed(1)
    latent = torch.zeros(2000, 3, 2, requires_grad=True)
    scale = torch.tensor([0.5, 2.0])
    value = (latent * scale).sum((1, 2))
    picture = (
        value[:, None, None, None].expand(-1, 1, 4, 4) / 4
    )  # |J^T y|^2 = |scale|^2 n^2 for every row, n ~ N(0, 1/16)
    lengths = path_lengths(picture, latent)
    expected = math.sqrt(0.5**2 + 2.0**2) / 4 * math.sqrt(2 / math.pi)
    assert float(lengths.mean().detach()) == pytest.approx(expected, rel=0.05)


def test_path_penalty_by_hand() -> None:
    lengths = torch.tensor([1.0, 3.0], requires_grad=True)
    penalty, mean = path_penalty(lengths, torch.tensor(0.0), 0.5)
    assert float(mean) == pytest.approx(1.0)
    assert float(penalty.detach()) == pytest.approx(2.0)
    penalty.backward()
    assert lengths.grad is not None
    assert lengths.grad.tolist() == pytest.approx([0.0, 2.0])


def test_face_weight_has_mean_one_and_its_height() -> None:
    weight = face_weight(64, 5.0)
    assert float(weight.mean()) == pytest.approx(1.0, rel=1e-5)
    assert float(weight.max() / weight.min()) == pytest.approx(5.0, rel=0.05)
    assert float(weight[0, 0, 30, 32]) > 4 * float(weight[0, 0, 63, 0])


def test_pixel_loss_by_hand() -> None:
    output, target = torch.tensor([[[[1.0, 0.0]]]]), torch.zeros(1, 1, 1, 2)
    weight = torch.tensor([[[[2.0, 1.0]]]])
    assert float(pixel_loss(output * 2, target, weight, 1.0, 0.5)) == pytest.approx((2 * (4 + 1)) / 2)


def test_arcface_without_margin_is_cross_entropy_and_with_it_by_hand() -> None:
    embedding = torch.tensor([[math.cos(0.4), math.sin(0.4)]])
    centers = torch.tensor([[2.0, 0.0], [0.0, 0.5]])
    label = torch.tensor([0])

    def entropy(angle: float) -> float:
        own, other = 10 * math.cos(angle), 10 * math.sin(0.4)
        return math.log(math.exp(own) + math.exp(other)) - own

    assert float(arcface_loss(embedding, centers, label, 0.0, 10.0)) == pytest.approx(entropy(0.4), rel=1e-4)
    assert float(arcface_loss(embedding, centers, label, 0.3, 10.0)) == pytest.approx(entropy(0.7), rel=1e-4)


def test_arcface_penalty_does_not_fall_beyond_its_turn() -> None:
    angles = torch.linspace(0, math.pi - 0.01, 60)
    embedding = torch.stack([angles.cos(), angles.sin()], 1)
    losses = [
        float(arcface_loss(e[None], torch.tensor([[1.0, 0.0], [0.0, -1.0]]), torch.tensor([0]), 0.5, 8.0))
        for e in embedding
    ]
    assert all(later > earlier for earlier, later in pairwise(losses) if earlier > 1e-3)


def test_area_under_curve_and_accuracy_by_hand() -> None:
    same, different = torch.tensor([0.9, 0.5, 0.4]), torch.tensor([0.5, 0.1])
    assert area_under_curve(same, different) == pytest.approx((2 + 1.5 + 1) / 6)
    assert verification_accuracy(same, different) == pytest.approx(
        (1 + 0.5) / 2
    )  # threshold 0.4: all of one, half of the other


def test_verification_of_people_that_are_told_apart() -> None:
    basis = torch.eye(4).repeat_interleave(3, 0)
    values = verification(basis, 3)
    assert values["auc"] == 1.0
    assert values["accuracy"] == 1.0
    assert values["cosine_same"] == 1.0
    assert values["cosine_different"] == 0.0
    assert verification(basis.roll(1, 0), 3)["auc"] < 0.9  # each person now has another's picture


def test_frechet_distance_of_known_gaussians() -> None:
    eye = torch.eye(3)
    mean = torch.tensor([1.0, 2.0, 2.0])
    assert frechet_distance((torch.zeros(3), eye), (mean, eye)) == pytest.approx(9.0, abs=1e-9)
    # Commuting covariances: sum of (sqrt(a) - sqrt(b))^2.
    assert frechet_distance((mean, torch.diag(torch.tensor([1.0, 4.0, 9.0]))), (mean, 4 * eye)) == pytest.approx(2.0)
    # Not commuting, 2 x 2: tr sqrt(AB) = sqrt(tr(AB) + 2 sqrt(det(AB))).
    a, b = torch.tensor([[2.0, 1.0], [1.0, 2.0]]), torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    cross = math.sqrt(float((a @ b).trace()) + 2 * math.sqrt(float(a.det() * b.det())))
    zero = torch.zeros(2)
    assert frechet_distance((zero, a), (zero, b)) == pytest.approx(4 + 4 - 2 * cross, abs=1e-6)


def test_moments_are_those_of_all_batches() -> None:
    features = torch.randn(50, 4) * torch.tensor([1.0, 2.0, 3.0, 4.0]) + 5
    mean, covariance = moments_of(features.split(7), lambda x: x)
    assert torch.allclose(mean, features.double().mean(0))
    assert torch.allclose(covariance, torch.cov(features.double().t()), atol=1e-9)
    with pytest.raises(ConfigError):
        moments_of([], lambda x: x)


def test_perceptual_distance_is_a_distance_of_normalised_features() -> None:
    network = AttributeNet(AttributeConfig(widths=(4, 6), hidden=8))
    distance = AttributeDistance(network).train()
    assert not distance.network.training
    a, b = torch.rand(2, 3, 16, 16) * 2 - 1, torch.rand(2, 3, 16, 16) * 2 - 1
    assert distance(a, a).tolist() == [0.0, 0.0]
    assert torch.allclose(distance(a, b), distance(b, a))
    assert bool((distance(a, b) > 0).all())
    features = [torch.nn.functional.normalize(f, dim=1) for f in network.features(a)]
    others = [torch.nn.functional.normalize(f, dim=1) for f in network.features(b)]
    by_hand = sum((2 - 2 * (f * g).sum(1)).mean((1, 2)) for f, g in zip(features, others, strict=True)) / 2
    assert torch.allclose(distance(a, b), by_hand, atol=1e-5)
