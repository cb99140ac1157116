"""The samples of a Fréchet distance differ by their noise too, and are the same in every run."""

import pytest
import torch

from sdic.evaluation.quality import generator_quality
from sdic.networks.stylegan2 import Generator, GeneratorConfig
from sdic.portraits.truth import Portraits
from sdic.types import Geometry


@pytest.fixture
def noisy():
    """A generator whose pictures all have one code: they differ by their noise alone."""
    generator = Generator(GeneratorConfig(32, 16, 2, channels=(8, 8, 8, 8))).eval().requires_grad_(False)
    for layer in generator.mapping.layers:
        layer.weight.zero_()
    for conv in generator.synthesis.convs:
        conv.noise_strength.fill_(0.5)
    return generator


def test_every_sample_has_noise_of_its_own_and_every_run_the_same(noisy):
    seen = []

    def features(pictures):
        seen.append(pictures)
        return pictures.flatten(1)[:, ::97]

    def measure():
        return generator_quality(noisy, Geometry(32, (32, 32)), features, Portraits, 6, 0, lambda what: None)

    before = torch.random.get_rng_state()
    first = measure()
    assert torch.equal(torch.random.get_rng_state(), before)
    samples = seen[-1]
    assert len(samples.unique(dim=0)) == 6
    assert measure() == first
    assert torch.equal(seen[-1], samples)


def test_pretraining_measures_its_generator_in_the_same_way(noisy, monkeypatch):
    from types import SimpleNamespace

    from sdic.training.distributed import World
    from sdic.training.tasks.stylegan2 import StyleGAN2Config, StyleGAN2Task

    config = StyleGAN2Config(evaluate=8, path=0, r1=0)
    config.data.source = "folder"
    config.data.resolution, config.model.channels = 32, [8, 8, 8, 8]
    stage = StyleGAN2Task(config, World(0, 1, torch.device("cpu")))
    seen = []

    def pooled(pictures):
        seen.append(pictures)
        return pictures.flatten(1)[:, ::97]

    real = torch.rand(8, 3, 32, 32) * 2 - 1
    batch = {"__len__": lambda self: 8, "batch": lambda self, index: real[index], "z": None}
    stage.samples = type("Samples", (), batch)()
    stage.perceptual = SimpleNamespace(network=SimpleNamespace(pooled=pooled))
    monkeypatch.setattr(stage, "average", lambda name: noisy)
    stage.evaluate()
    assert len(seen[-2].unique(dim=0)) == 8  # the samples, and then half as many
    assert len(seen[-1].unique(dim=0)) == 4
