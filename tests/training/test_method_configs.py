"""Every config of a method beside SDIC parses, and has its authors' terms and weights."""

import pytest
from training_processes import REPOSITORY

from sdic.config import load_config, to_yaml
from sdic.methods import METHODS
from sdic.training.task import find_task

CONFIGS = REPOSITORY / "configs"
FILES = [path for path in sorted((CONFIGS / "train").glob("*.yaml")) if path.stem.split("_")[0] in METHODS]
ON_PORTRAITS = [
    path
    for path in sorted((CONFIGS / "portraits").glob("*_64.yaml"))
    if (name := path.stem.split("_")[0]) in METHODS and name != "sdic"
]
WEIGHTS = {"psp": (1.0, 0.8, 0.1), "restyle": (1.0, 0.8, 0.1), "hyperstyle": (1.0, 0.8, 0.1)}
"""l2, lpips, id of their options for faces. Cars have 0.5 of MoCo in the place of the last."""


def read(path):
    name = path.stem.split("_")[0]
    return name, load_config(find_task(name).config, path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_config_parses_has_the_authors_weights_and_reads_back_equal(path, tmp_path):
    name, config = read(path)
    assert config.run.dir == f"runs/{path.stem}"
    (tmp_path / "resolved.yaml").write_text(to_yaml(config))
    assert load_config(type(config), tmp_path / "resolved.yaml") == config
    if name in WEIGHTS:
        l2, lpips, identity = WEIGHTS[name]
        cars = "cars" in path.stem
        assert (config.loss.l2, config.loss.lpips, config.loss.id) == (l2, lpips, 0.5 if cars else identity)
        assert config.loss.id_network == ("moco" if cars else "arcface")
        assert (config.loss.edit, config.optim.name, config.optim.lr, config.optim.batch) == (0, "ranger", 1e-4, 8)
        assert config.model.noise == ("fixed" if name == "hyperstyle" else "random")
        assert "#" in path.read_text()


def test_over_e4e_there_are_its_own_terms_too():
    _, config = read(CONFIGS / "train" / "restyle_e4e_ffhq.yaml")
    loss = config.loss
    assert (loss.offsets, loss.critic, loss.critic_lr, loss.critic_r1, loss.pool) == (2e-4, 0.1, 2e-5, 10, 50)
    assert (config.model.relative, config.model.progressive_from, config.model.progressive_every) == (
        True,
        20_000 * 8,
        2_000 * 8,
    )
    assert read(CONFIGS / "train" / "restyle_psp_ffhq.yaml")[1].loss.critic == 0


def test_the_ablations_are_there():
    changed = {"restyle_psp_pyramid", "restyle_psp_one_pass", "hyperstyle_one_pass", "hyperstyle_not_shared"}
    assert {path.stem for path in FILES} >= changed


@pytest.mark.parametrize("path", ON_PORTRAITS, ids=lambda path: path.stem)
def test_a_config_for_portraits_parses(path):
    _, config = read(path)
    assert config.run.dir == f"runs/portraits/{path.stem.removesuffix('_64')}"
    assert config.loss.lpips_weights == "pretrained/portraits/attributes.safetensors"
    assert getattr(config.model, "widths", [24, 48, 64, 96]) == [24, 48, 64, 96]  # as e4e's, where there is a body
    assert getattr(config.model, "blocks", [1, 2, 2, 1]) == [1, 2, 2, 1]
