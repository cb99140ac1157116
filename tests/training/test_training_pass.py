"""A method whose training compares more than its inversion: pairs of pictures and terms of its own."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import torch
from training_processes import small_trainer

from sdic.data.dataset import PictureDataset, collate
from sdic.data.sources import Request, open_source
from sdic.errors import ConfigError
from sdic.methods import METHODS
from sdic.methods.passes import Step, TrainingPass
from sdic.methods.sdic import SDICInverter
from sdic.settings import setting
from sdic.training.tasks.inverter_settings import config_of


@dataclass
class OwnTerms:
    spread: float = setting(0.5, "weight of the mean square of the code's change")
    unused: float = setting(0.0, "weight of a term that is never computed")


class Compares(SDICInverter):
    method = "compares"
    Losses = OwnTerms

    def training_pass(self, photo, frozen, step: Step):
        inversion = self._invert(photo, frozen)
        assert step.weights == {"spread": 0.5, "unused": 0.0}
        assert step.settings.layer == self.options.layer
        pairs = [(photo, inversion.image), (photo, self.generator.synthesis(inversion.latent))]
        terms = {"spread": (inversion.latent - inversion.base_latent).square().mean()}
        return TrainingPass(inversion, pairs, terms)


@pytest.fixture
def task(monkeypatch):
    monkeypatch.setitem(METHODS, "sdic", Compares)  # the words of `small_trainer` say sdic
    return small_trainer().task


def photos(task):
    source, names, _ = open_source(Request("synthetic", "", limit=2))
    dataset = PictureDataset(source, names, task.geometry)
    return collate([dataset[0], dataset[1]])


def test_the_loss_is_the_mean_over_pairs_and_the_methods_own_terms(task):
    task.photos = SimpleNamespace(cache=None)
    task.inverter.double()
    for network in task.networks.values():
        network.eval()
    batch = replace(photos(task), photo=photos(task).photo.double())
    found = task.loss("compares", batch)
    inversion = task.inverter._invert(batch.photo, task.inverter.frozen_pass(batch.photo))
    pictures = [inversion.image, task.inverter.generator.synthesis(inversion.latent)]
    each = [task.terms(batch.photo, task.geometry.at_input_size(x), inversion)["loss"] for x in pictures]
    spread = (inversion.latent - inversion.base_latent).square().mean()
    expected = (each[0] + each[1]) / 2 + 0.5 * spread
    torch.testing.assert_close(found["loss"], expected)
    torch.testing.assert_close(found["spread"], spread)


def test_own_terms_are_settings_of_the_loss():
    config = config_of(Compares)
    assert config().loss.spread == 0.5
    assert config().loss.l2 == 1.0
    with pytest.raises(ConfigError, match="all 0"):
        type(config().loss)(l2=0, lpips=0, id=0, edit=0)
