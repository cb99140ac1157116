"""Files of what shares memory: e4e's code is its initial code, and a direction's origin may be its own delta."""

import torch

from sdic.checkpoints import read_bundle, write_native
from sdic.direction import Direction
from sdic.editing.directions import read_direction, save_direction
from sdic.tiny import tiny_bundle
from sdic.types import Inversion


def test_an_inversion_whose_code_is_its_initial_code(tmp_path):
    memory = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0))
    image = torch.zeros(2, 3, 8, 8)
    for base in (memory, memory.view(2, 4, 6), memory.flip(0).flip(0)):
        Inversion(image, memory, base, extras={"part": memory[:1].expand(2, 4, 6)}).save(tmp_path / "x.safetensors")
        found = Inversion.load(tmp_path / "x.safetensors")
        assert torch.equal(found.latent, memory)
        assert torch.equal(found.base_latent, memory)
        assert torch.equal(found.extras["part"][1], memory[0])


def test_a_direction_whose_origin_is_its_delta(tmp_path):
    delta = torch.ones(6)
    save_direction(tmp_path / "x.safetensors", Direction(delta, kind="set", origin=delta))
    found = read_direction(tmp_path / "x.safetensors")
    assert torch.equal(found.delta[0], delta)
    assert found.origin is not None
    assert torch.equal(found.origin, delta)


def test_a_network_two_of_whose_tensors_are_one(tmp_path):
    networks = tiny_bundle(0).networks
    convs = networks["generator"].synthesis.convs
    convs[1].bias = convs[0].bias
    write_native(tmp_path / "x.safetensors", {"generator": networks["generator"]})
    state = read_bundle(tmp_path / "x.safetensors").networks["generator"].state_dict()
    assert torch.equal(state["synthesis.convs.0.bias"], state["synthesis.convs.1.bias"])
