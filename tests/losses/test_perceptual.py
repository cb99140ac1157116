"""LPIPS: files checked, nothing downloaded, nothing replaced in silence."""

import pytest
import torch

from sdic.config import load_config
from sdic.errors import CheckpointError, SdicError
from sdic.losses.perceptual import BACKBONE, load_backbone, pretrained_lpips, random_lpips
from sdic.training.task import find_task
from sdic.training.tasks.inverter_settings import build_networks

TrainConfig = find_task("sdic").config
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def lpips():
    return random_lpips()


def test_distance_of_equal_pictures_is_zero_and_of_others_is_not(lpips):
    photo = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert lpips(photo, photo).tolist() == [0, 0]
    assert (lpips(photo, photo.flip(-1)) > 0).all()


def test_it_is_frozen_stays_in_eval_mode_and_says_that_it_is_random(lpips):
    lpips.train()
    assert not any(module.training for module in lpips.modules())
    assert not any(parameter.requires_grad for parameter in lpips.parameters())
    assert lpips.name == "lpips_random"


def test_making_it_draws_nothing_from_the_random_state():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    random_lpips()
    assert torch.equal(before, torch.get_rng_state())


def test_too_small_pictures_are_an_error(lpips):
    with pytest.raises(SdicError, match="at least 32 px, got 40x16"):
        lpips(torch.zeros(1, 3, 16, 40), torch.zeros(1, 3, 16, 40))


def test_torchvisions_backbone_lands_in_the_right_slices():
    from torchvision.models import alexnet

    torch.manual_seed(1)
    backbone = alexnet(weights=None)
    model = random_lpips()
    load_backbone(model.network, backbone.state_dict(), "file")
    picture = torch.randn(1, 3, 64, 64)
    slices = model.network.net(picture)
    assert torch.equal(slices[0], backbone.features[:2](picture))
    assert torch.equal(slices[4], backbone.features[:12](picture))


def test_another_file_under_the_right_name_is_refused(tmp_path):
    (tmp_path / BACKBONE).write_bytes(b"something else")
    with pytest.raises(CheckpointError, match="sha256"):
        pretrained_lpips(tmp_path / BACKBONE)


def test_a_missing_file_says_where_it_was_looked_for_and_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("SDIC_PRETRAINED", str(tmp_path))
    monkeypatch.setattr("sdic.zoo.REPOSITORY", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError) as error:
        build_networks(load_config(TrainConfig), CPU)
    for word in (BACKBONE, str(tmp_path), "download.pytorch.org", "loss.lpips=0", "loss.lpips_weights=random"):
        assert word in str(error.value)


def test_random_weights_are_used_only_when_asked_for():
    words = ["loss.lpips_weights=random", "loss.id=0", "loss.id_network=none"]
    assert build_networks(load_config(TrainConfig, None, words), CPU).lpips.name == "lpips_random"
