"""Each metric on a case whose answer is known."""

import pytest
import torch

from sdic.errors import SdicError
from sdic.evaluation.metrics import METRICS, Networks, label, measure, metric

NONE = Networks()


def picture(seed=0):
    return torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(seed)) - 0.5


def test_a_constant_shift():
    photo = picture()
    values = measure(["l2", "psnr"], photo, photo + 0.2, NONE)
    assert values["l2"] == pytest.approx([0.04, 0.04])
    assert values["psnr"] == pytest.approx([20, 20])  # 10 log10(4 / 0.04)


def test_l2_and_psnr_of_the_papers_table_belong_together():
    # Mean squared error on [-1, 1]: the printed .007 is 27.57 dB.
    photo = picture()
    assert measure(["psnr"], photo, photo + 0.007**0.5, NONE)["psnr"] == pytest.approx([27.57, 27.57], abs=0.005)


def test_equal_pictures():
    photo = picture()
    assert measure(["ssim"], photo, photo, NONE)["ssim"] == pytest.approx([1, 1])
    assert METRICS["l2"].compute(photo, photo, NONE).tolist() == [0, 0]


def test_ssim_of_two_flat_pictures_by_hand():
    # Flat pictures have no variance: SSIM = (2 a b + c1) / (a^2 + b^2 + c1) with c1 = (0.01 * 2)^2.
    a, b, c1 = 0.5, -0.25, (0.01 * 2) ** 2
    flat = torch.ones(1, 3, 32, 32)
    expected = (2 * a * b + c1) / (a * a + b * b + c1)
    assert measure(["ssim"], a * flat, b * flat, NONE)["ssim"] == pytest.approx([expected], abs=1e-4)


def test_identity_is_the_cosine():
    class Corner:
        def embed(self, image):
            return torch.nn.functional.normalize(image[:, 0, 0, :2])

    photo, output = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    photo[0, 0, 0] = torch.tensor([1.0, 0.0])
    output[0, 0, 0] = torch.tensor([3.0, 4.0])
    assert measure(["id"], photo, output, Networks(embedder=Corner()))["id"] == pytest.approx([0.6])


def test_lpips_keeps_the_name_of_its_backbone():
    class Random:
        name = "lpips_random"

        def __call__(self, photo, output):
            return (photo - output).abs().mean((1, 2, 3))

    networks = Networks(lpips=Random())
    assert label("lpips", networks) == "lpips_random"
    assert list(measure(["lpips"], picture(), picture(1), networks)) == ["lpips_random"]


def test_unknown_metrics_and_missing_networks_are_errors():
    with pytest.raises(SdicError, match="psnr"):
        metric("psrn")
    with pytest.raises(SdicError, match="lpips"):
        metric("lpips", NONE)
