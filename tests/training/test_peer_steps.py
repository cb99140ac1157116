"""A training step of HFGI, FS and StyleRes against a plain reference of its loss, and a run that is killed."""

import copy
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from test_train_resume import same
from torchvision.transforms import RandomPerspective
from training_processes import run_processes

from sdic.config import load_config
from sdic.data.dataset import Batch
from sdic.losses.identity import identity_loss
from sdic.methods import METHODS
from sdic.networks.stylegan2 import Generator
from sdic.training.distributed import World
from sdic.training.task import find_task

CONFIG = Path(__file__).parent / "peers.yaml"
NAMES = ("hfgi", "fs", "styleres")


def words_of(name):
    """The method's tiny sizes as settings."""
    return [f"model.{key}={str(value).replace(' ', '')}" for key, value in METHODS[name].tiny.items()]


def task_of(name, portraits, *words):
    """(task in double precision with all its terms, its generator as it is written, photos of two)."""
    networks = [
        f"loss.lpips_weights={portraits / 'attributes.safetensors'}",
        f"loss.id_network={portraits / 'identity.safetensors'}",
    ]
    given = [*words_of(name), "loss.lpips=0.8", "loss.id=0.1", *networks, "validation.metrics=[l2]", *words]
    entry = find_task(name)
    task = entry.task(load_config(entry.config, CONFIG, given), World(0, 1, torch.device("cpu")))
    plain = Generator(task.frozen["generator"].config).double()
    plain.load_state_dict(task.frozen["generator"].state_dict())
    task.inverter.double()
    task.joint.double()
    for network in task.networks.values():
        network.train()
    task.photos = SimpleNamespace(cache=None)
    coarse = torch.randn(2, 3, 8, 8)
    photo = torch.tanh(F.interpolate(coarse, size=(64, 64), mode="bicubic")).double()
    return task, plain.eval().requires_grad_(False), photo


@contextmanager
def draws_in_double():
    """Random numbers of a pass in double precision: products of float32 noise would round."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def step(task, photo, seed=3):
    """(loss, gradients, terms) of a training step."""
    torch.manual_seed(seed)
    for network in task.networks.values():
        network.zero_grad()
    with draws_in_double():
        terms = task.loss(task.name, Batch(photo, ["a", "b"]))
        terms["loss"].backward()
    return terms["loss"].detach(), gradient(task), terms


def gradient(task):
    parameters = [p for network in task.networks.values() for p in network.parameters()]
    assert all(p.grad is not None for p in parameters)
    return torch.cat([p.grad.flatten() for p in parameters])


def drawn_from(generator, latent, layer, feature, noise=None, behind=False):
    """G(latent) with `feature` as the output of layer k, or entering the layer behind it: by hooks, in one pass."""
    convs = generator.synthesis.convs
    if behind:
        hook = convs[layer + 1].register_forward_pre_hook(lambda _, given: (feature, *given[1:]))
    else:
        hook = convs[layer].register_forward_hook(lambda *_: feature)
    try:
        return generator.synthesis(latent, noise="fixed" if noise is None else noise)
    finally:
        hook.remove()


def joint(task, photo, output, l2):
    """The terms that all methods have, by the config's weights, added up in the loss's order: two of them are float32
    whatever they look at."""
    terms = [l2 * (photo - output).square().mean()] if l2 else []
    terms.append(0.8 * task.joint.lpips(photo, output).mean())
    terms.append(0.1 * identity_loss(task.joint.embedder, photo, output))
    return sum(terms[1:], terms[0])


def hfgi_reference(task, generator, photo, seed):
    ada, consultation = task.networks["ada"], task.networks["consultation"]
    with torch.no_grad():
        latent = task.frozen["encoder"](photo)
        initial = generator.synthesis(latent).clamp(-1, 1)
        feature = generator.synthesis.until(3, latent).feature
    distortion = photo - initial
    torch.manual_seed(seed)
    aligned = ada(RandomPerspective(0.15, 0.9)(distortion), initial)
    scale, shift = consultation(aligned, feature.shape[2:])
    output = drawn_from(generator, latent, 3, feature + feature * scale + shift)
    return joint(task, photo, output, 1.0) + 0.1 * (aligned - distortion).abs().mean()


def fs_reference(task, generator, photo, seed):
    """With random noise: two pictures of each of two photos and two drawn pictures, half a ramp."""
    encoder, sizes = task.networks["feature_style"], generator.config
    torch.manual_seed(seed)
    sides = [sizes.layer_resolution(layer) for layer in range(sizes.layers)]
    maps = {layer: torch.randn(2, 1, side, side) for layer, side in enumerate(sides)}
    with torch.no_grad():
        w = generator.mapping(torch.randn(2, 64))[:, None].expand(-1, sizes.latent_rows, -1)
        made = generator.synthesis(w, noise=maps).clamp(-1, 1)
    free = {layer: torch.randn(4, 1, side, side) for layer, side in enumerate(sides)}
    pictures = torch.cat([photo, made])
    latent, predicted = encoder(pictures)
    outputs = []
    for noise in ({layer: torch.cat([noise, noise]) for layer, noise in maps.items()}, free):
        own = generator.synthesis.until(2, latent, noise=noise).feature
        outputs.append(drawn_from(generator, latent, 2, 0.5 * own + 0.5 * predicted, noise, behind=True))
    # Twice the mean over both: the perceptual distance rounds to float32, so a sum of two means would differ in that.
    total = 2 * joint(task, torch.cat([pictures, pictures]), torch.cat(outputs[::-1]), 0.0)
    pixel = (outputs[1][2:] - made).square().mean()
    return total + pixel + 0.01 * (predicted - own.detach()).square().mean()


def styleres_reference(task, generator, photo, seed):
    transform = task.networks["transform"]
    with torch.no_grad():
        latent, skip = task.frozen["encoder"].with_skip(photo)
        feature = generator.synthesis.until(3, latent).feature
    extracted = transform.extraction(transform.align(skip, feature))
    both = torch.cat([transform.of_feature(feature), transform.of_extracted(extracted)], 1)
    completed = feature + torch.sigmoid(transform.gate(both)) * transform.offset(both)
    return joint(task, photo, drawn_from(generator, latent, 3, completed), 1.0)


CASES = {
    "hfgi": (hfgi_reference, ()),
    "styleres": (styleres_reference, ()),
    "fs": (fs_reference, ("loss.l2=0", "model.ramp=100", "model.noise=random")),
}


@pytest.mark.parametrize("name", CASES)
def test_a_step_equals_a_plain_reference_of_its_loss(name, portraits):
    equals_its_reference(name, portraits, *CASES[name])


def equals_its_reference(name, portraits, reference, words):
    """Loss and gradient of a step, after 50 images, beside those of reference(task, generator, photos, seed)."""
    task, generator, photo = task_of(name, portraits, *words)
    task.images = 50
    statistics = [copy.deepcopy(network.state_dict()) for network in task.networks.values()]
    loss, found, _ = step(task, photo)
    for network, before in zip(task.networks.values(), statistics, strict=True):
        network.load_state_dict(before)
        network.zero_grad()
    with draws_in_double():
        plain = reference(task, generator, photo, 3)
        plain.backward()
    assert abs(loss / plain.detach() - 1) < 1e-10
    expected = gradient(task)
    assert (found - expected).norm() / expected.norm() < 1e-9


def test_a_map_that_is_not_warped_is_another_step(portraits):
    """The control: one term less, and the loss is another."""
    task, generator, photo = task_of("hfgi", portraits, "loss.warp=0")
    loss, _, terms = step(task, photo)
    assert terms["align"] > 0
    with draws_in_double():
        other = hfgi_reference(task, generator, photo, 3).detach()
    assert abs(loss / other - 1) > 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_kill_and_resume_equals_an_uninterrupted_run(tmp_path, name):
    straight, broken = tmp_path / "straight" / "run", tmp_path / "broken" / "run"

    def words(folder):
        return [*words_of(name), f"run.dir={folder}", *(["model.noise=random"] if name == "fs" else [])]

    assert run_processes(CONFIG, words(straight), task=name) == [0]
    assert run_processes(CONFIG, words(broken), task=name, die_at=5) == [-9]
    assert run_processes(CONFIG, words(broken), task=name) == [0]
    same(broken, straight, 14)
