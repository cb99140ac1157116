"""Edits in style space: by channel, by name, from vectors; the same whatever method edits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import sdic
from sdic.direction import Direction, StyleDirection
from sdic.editing.directions import check_fits, load_direction, locate, save_direction
from sdic.editing.manifest import known_directions
from sdic.editing.styleclip import read_styleclip, styleclip_direction
from sdic.editing.styles import channel_direction, joined, sizes, vectors
from sdic.errors import CheckpointError, ConfigError
from sdic.networks.stylegan2 import GeneratorConfig

FFHQ = GeneratorConfig()


def as_styles(generator, delta: torch.Tensor) -> StyleDirection:
    """The direction of style space that does what `delta` [D], added to every row of a code, does to the styles."""
    code = generator.latent_avg.expand(1, generator.config.latent_rows, -1)
    before, after = generator.synthesis.styles(code), generator.synthesis.styles(code + delta)
    parts = [
        {layer: (new[layer] - old[layer])[0] for layer in old}
        for old, new in ((before.convs, after.convs), (before.rgb, after.rgb))
    ]
    return StyleDirection(convs=parts[0], rgb=parts[1], name="same")


def test_vectors_are_counted_as_stylespace_does() -> None:
    known = vectors(FFHQ)
    assert len(known) == 26
    assert sum(vector.channels for vector in known) == 9088
    assert {9088, 6048, 5376} <= set(sizes(FFHQ))
    convs = [number for number, vector in enumerate(known) if vector.part == "convs"]
    assert convs[:11] == [0, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15]  # StyleCLIP's list, to 128 px
    assert [vector.layer for vector in known[:8]] == [0, 0, 1, 2, 2, 3, 4, 4]
    assert [vector.channels for vector in known[-3:]] == [64, 32, 32]


@pytest.mark.parametrize("method", ["sdic", "e4e"])
def test_an_edit_of_styles_is_the_edit_of_the_code_that_moves_them(method, photos) -> None:
    inverter = sdic.load("tiny", "cpu", method=method)
    generator, inversion = inverter.generator, inverter.invert(photos[:1])
    delta = torch.randn(64)
    strengths = [-0.5, 1.0]
    for options in [{"rule": rule} for rule in ("paper", "carried", "released")] if method == "sdic" else [{}]:
        wanted = inverter.edit(inversion, Direction(delta), strengths, **options)
        found = inverter.edit(inversion, as_styles(generator, delta), strengths, **options)
        assert (wanted - inversion.image).abs().max() > 0.5
        assert torch.allclose(found, wanted, atol=1e-4)
    assert inverter.generator is generator  # the inverter itself is as it was
    assert torch.equal(inverter.edit(inversion, as_styles(generator, delta), 0.0), inversion.image)


def test_styles_and_codes_can_be_edited_together(tiny, photos) -> None:
    inversion = tiny.invert(photos[:1])
    delta, other = torch.randn(64), torch.randn(64)
    styles = as_styles(tiny.generator, delta)
    wanted = tiny.edit(inversion, [Direction(delta), Direction(other)], [0.5, 0.25], rule="paper")
    found = tiny.edit(inversion, [styles, Direction(other)], [0.5, 0.25], rule="paper")
    assert torch.allclose(found, wanted, atol=1e-4)
    twice = tiny.edit(inversion, [styles, styles], [0.25, 0.25], rule="paper")
    assert torch.allclose(twice, tiny.edit(inversion, Direction(delta), 0.5, rule="paper"), atol=1e-4)


def test_a_channel_by_its_name_moves_that_channel_alone(tiny) -> None:
    direction = load_direction("s3.5", "tiny", tiny.generator)
    code = tiny.generator.latent_avg.expand(1, 10, -1)
    before = joined(tiny.generator.synthesis.styles(code), tiny.generator.config)
    shifts = direction.shifts(torch.tensor([2.0]))
    assert set(shifts.convs) == {2}
    assert not shifts.rgb
    assert shifts.convs[2][0].nonzero().tolist() == [[5]]
    assert float(shifts.convs[2][0, 5]) == 2.0
    assert before.shape == (1, sum(vector.channels for vector in vectors(tiny.generator.config)))
    assert locate("s3.5").identity() != locate("s3.6").identity()


@pytest.mark.parametrize(
    ("name", "said"), [("s99.0", "style vectors 0 to 13"), ("s3.4000", "style vector 3 has channels 0 to 47")]
)
def test_a_channel_that_is_not_there(tiny, name, said) -> None:
    with pytest.raises(ConfigError, match=said):
        load_direction(name, "tiny", tiny.generator)


def test_styles_of_another_generator_are_refused(tiny, photos) -> None:
    direction = channel_direction([(6, 501, 1.0)], FFHQ, name="smiling")
    with pytest.raises(ConfigError, match=r"shifts 512 styles of convolution 4.*another generator"):
        tiny.edit(tiny.invert(photos[:1]), direction, 1.0)
    with pytest.raises(ConfigError, match="Known here: pc0, pc1, pc2"):
        check_fits(direction, tiny.generator, "tiny")
    with pytest.raises(ConfigError, match="Known here: pc0, pc1, pc2"):
        check_fits(Direction(torch.ones(512)), tiny.generator, "tiny")


def test_published_channels_have_names() -> None:
    cards = [card for card in known_directions().values() if card.channels]
    assert {"black_hair", "smiling", "glasses", "gender"} <= {card.name for card in cards if card.domain == "face"}
    assert {"front", "sky", "logo"} <= {card.name for card in cards if card.domain == "car"}
    for card in cards:
        direction = load_direction(card.name, card.domain)
        assert direction.kind == "style"
        assert sum(int((part != 0).sum()) for part in direction.convs.values()) == len(card.channels)
        low, high = card.limits or (card.default, card.default)
        assert low <= card.default <= high
    blond = load_direction("blond_hair", "face")
    assert float(blond.convs[8][479]) == 3.0  # StyleSpace's (12, 479), three for each unit
    assert float(blond.convs[8][266]) == 3.0


def test_a_direction_of_styles_is_kept_whole(tmp_path: Path, tiny) -> None:
    direction = as_styles(tiny.generator, torch.randn(64))
    save_direction(tmp_path / "s.safetensors", direction)
    again = load_direction(tmp_path / "s.safetensors", generator=tiny.generator)
    assert isinstance(again, StyleDirection)
    assert again.convs.keys() == direction.convs.keys()
    for part in ("convs", "rgb"):
        for layer, values in getattr(direction, part).items():
            assert torch.equal(getattr(again, part)[layer], values)


@pytest.mark.parametrize("wrong", [{}, {"convs": {0: torch.tensor([torch.nan])}}, {"rgb": {0: torch.ones(1, 2)}}])
def test_styles_that_are_none(wrong) -> None:
    with pytest.raises(ConfigError, match="finite numbers"):
        StyleDirection(**wrong)


def test_an_empty_range_is_refused() -> None:
    for limits in ((2.0, 2.0), (3.0, 1.0), (0.0, float("inf"))):
        with pytest.raises(ConfigError, match="range of strengths is empty"):
            Direction(torch.ones(4), limits=limits)


def styleclip_parts(config: GeneratorConfig, count: int) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]:
    table = torch.nn.functional.normalize(torch.randn(count, 512), dim=1)
    spread = [torch.rand(vector.channels) + 0.5 for vector in vectors(config)]
    return table, spread, torch.randn(1, 512)


def test_styleclip_as_its_paper_says(tiny) -> None:
    config = tiny.generator.config
    held = sizes(config)
    count = sorted(held)[2]
    table, spread, text = styleclip_parts(config, count)
    direction = styleclip_direction(table, spread, text, 0.05, config)
    relevance = table @ (text[0] / text.norm())
    first = held[count][0].channels
    kept = relevance[:first] * (relevance[:first].abs() >= 0.05)
    assert torch.allclose(direction.convs[0], kept / relevance.abs().max() * spread[0], atol=1e-6)
    assert not direction.rgb
    with pytest.raises(ConfigError, match="no channel is as relevant"):
        styleclip_direction(table, spread, text, 0.9, config)
    with pytest.raises(ConfigError, match="the text's difference"):
        styleclip_direction(table[:-1], spread, text, 0.05, config)
    with pytest.raises(ConfigError, match="standard deviations of 13 style vectors"):
        styleclip_direction(table, spread[:-1], text, 0.05, config)


def test_styleclip_from_its_files(tmp_path: Path, tiny) -> None:
    import pickle

    import numpy as np

    config = tiny.generator.config
    count = sorted(sizes(config))[2]
    table, spread, text = styleclip_parts(config, count)
    np.save(tmp_path / "fs3.npy", table.numpy())
    np.save(tmp_path / "angry.npy", text.numpy())
    stats = [[part.numpy() * 0 for part in spread], [part.numpy() for part in spread]]
    (tmp_path / "S_mean_std").write_bytes(pickle.dumps(tuple(stats), protocol=2))
    found = read_styleclip(tmp_path / "fs3.npy", tmp_path / "S_mean_std", tmp_path / "angry.npy", 0.05, config)
    wanted = styleclip_direction(table, spread, text, 0.05, config)
    assert found.name == "angry"
    assert all(torch.allclose(found.convs[layer], part) for layer, part in wanted.convs.items())
    (tmp_path / "S_mean_std").write_bytes(pickle.dumps(stats[1], protocol=2))
    with pytest.raises(CheckpointError, match="two lists of arrays"):
        read_styleclip(tmp_path / "fs3.npy", tmp_path / "S_mean_std", tmp_path / "angry.npy", 0.05, config)
