"""Every shipped config parses, and a wrong setting is named."""

from pathlib import Path

import pytest
from training_processes import REPOSITORY

from sdic.config import load_config, to_yaml
from sdic.errors import ConfigError
from sdic.methods import METHODS
from sdic.training.task import find_task

TrainConfig = find_task("sdic").config
FILES = sorted((REPOSITORY / "configs" / "train").glob("*.yaml"))
FILES = [path for path in FILES if path.stem.split("_")[0] not in METHODS]  # METHOD_*.yaml: test_method_configs.py
DOMAINS = {"ffhq", "ffhq_released", "cars", "portraits", "debug"}
PORTRAITS = sorted((REPOSITORY / "configs" / "portraits").rglob("*.yaml"))
ON_PORTRAITS = [path for path in PORTRAITS if path.stem.startswith("sdic") or path.parent.name == "ablations"]
ABLATIONS = {"no_sc_no_att", "no_att", "layer5", "layer9", "no_sc", "affine_fusion"}


def test_the_configs_of_the_issue_are_there():
    assert {path.stem for path in FILES} >= DOMAINS | ABLATIONS


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_config_parses_and_reads_back_equal(path: Path, tmp_path):
    config = load_config(TrainConfig, path)
    assert config.run.dir == f"runs/{path.stem}"
    (tmp_path / "resolved.yaml").write_text(to_yaml(config))
    assert load_config(TrainConfig, tmp_path / "resolved.yaml") == config


@pytest.mark.parametrize("path", ON_PORTRAITS, ids=lambda path: path.stem)
def test_a_config_for_portraits_parses(path: Path):
    config = load_config(TrainConfig, path)
    ablation = path.parent.name == "ablations"
    folder = f"ablations/{path.stem}" if ablation else path.stem.split("_")[0]  # variants of a size share a folder
    assert config.run.dir == f"runs/portraits/{folder}"
    assert config.loss.lpips_weights == "portraits-attributes"


def test_off_is_a_word_where_a_text_is_asked_for(tmp_path: Path):
    (tmp_path / "one.yaml").write_text("data: {cache: off}\n")
    assert load_config(TrainConfig, tmp_path / "one.yaml").data.cache == "off"
    assert load_config(TrainConfig, None, ["data.cache=off", "data.flip=off"]).data.cache == "off"
    assert load_config(TrainConfig, None, ["data.flip=off"]).data.flip is False


def test_portraits_have_the_papers_ablations():
    changed = {path.stem for path in ON_PORTRAITS if path.parent.name == "ablations"}
    assert changed >= {"full", "no_sc", "no_att", "no_sc_no_att", "affine_fusion", "layer3", "layer7", "difference"}


def test_ffhq_is_the_papers_text_and_its_release_the_authors_code():
    paper = load_config(TrainConfig, REPOSITORY / "configs/train/ffhq.yaml")
    assert (paper.optim.name, paper.optim.lr, paper.optim.batch, paper.run.images) == ("ranger", 1e-3, 2, 200_000)
    assert (paper.loss.l2, paper.loss.lpips, paper.loss.id, paper.loss.edit) == (1, 0.8, 0.2, 0.5)
    assert (paper.model.layer, paper.model.preset, paper.loss.edit_form) == (7, "paper", "paper")
    released = load_config(TrainConfig, REPOSITORY / "configs/train/ffhq_released.yaml")
    assert (released.loss.id, released.loss.edit_form, released.model.preset) == (0.1, "released", "released")
    assert released.model.noise == "random"


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("run.images=0", r"run\.images"),
        ("run.keep_last=0", r"run\.keep_last"),
        ("data.workers=-1", r"data\.workers"),
        ("model.layer=0", r"model\.layer"),
        ("loss.lpips=-1", r"loss\.lpips"),
        ("loss.id_network=none", r"loss\.id_network"),
        ("optim.lr=0", r"optim\.lr"),
        ("optim.beta2=1", r"optim\.beta2"),
        ("optim.accumulate=3", r"optim\.accumulate=3"),
        ("validation.best=fid", r"validation\.best=fid"),
        ("optim.nam=adam", r"optim\.nam.*name"),
        ("optim.name=sgd", r"optim\.name"),
    ],
)
def test_wrong_settings_are_named(word, named):
    with pytest.raises(ConfigError, match=named):
        load_config(TrainConfig, None, [word])
