"""One entry is a domain: photos with networks or without, faces, cars, and a domain that this file alone knows."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

import sdic
from sdic import domains, zoo
from sdic.checkpoints import copy_native, write_native
from sdic.cli import main
from sdic.direction import Direction
from sdic.domains import DOMAINS, Attribute, Domain, Picture, Truth
from sdic.editing.directions import locate, save_direction
from sdic.errors import ConfigError
from sdic.evaluation.metrics import Networks, at_input_size, measure
from sdic.feature_networks import identity_network, perceptual_distance
from sdic.losses.perceptual import BACKBONE
from sdic.methods import METHODS
from sdic.networks.e4e import E4E, E4EConfig
from sdic.networks.portrait_nets import AttributeConfig, AttributeNet
from sdic.tiny import tiny_bundle
from sdic.types import Geometry
from sdic.utils.files import sha256_of
from sdic.utils.images import read_picture, to_tensor
from tests.golden_weights import stand_in

SQUARE = Geometry(64, (64, 64))
LPIPS, MOCO = f"needs {BACKBONE}", "needs moco_v2_800ep_pretrain.pt"


@pytest.fixture
def pretrained(tmp_path, monkeypatch):
    """The only folder in which weight files are found; it is empty."""
    monkeypatch.setattr("sdic.zoo.REPOSITORY", tmp_path / "nowhere")
    monkeypatch.setattr("sdic.zoo.INSTALLED", tmp_path / "nowhere")
    monkeypatch.setenv("SDIC_PRETRAINED", str(tmp_path / "pretrained"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pretrained").mkdir()
    return tmp_path / "pretrained"


@pytest.fixture
def folder(tmp_path):
    """Two photos."""
    (tmp_path / "photos").mkdir()
    for index in range(2):
        pixels = np.random.default_rng(index).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC).save(tmp_path / "photos" / f"{index}.png")
    return tmp_path / "photos"


@pytest.fixture
def whole(tmp_path):
    """A file with the untrained stack, which names no domain."""
    write_native(tmp_path / "own.safetensors", tiny_bundle(0).networks, {"layer": "3", "geometry": SQUARE.to_text()})
    return tmp_path / "own.safetensors"


@pytest.fixture
def run(tmp_path):
    """`run("PHOTOS", "--methods", "tiny")` -> (exit code, the JSON of --json, report.json)."""

    def call(*words):
        files = (tmp_path / "n.json", tmp_path / "out" / "report.json")
        for file in files:
            file.unlink(missing_ok=True)
        code = main(["evaluate", *map(str, words), "--device", "cpu", "--out", "out", "--json", "n.json"])
        return code, *(json.loads(file.read_text()) if file.is_file() else {} for file in files)

    return call


# Metrics without their networks --------------------------------------------------------------------------------------


def test_a_metric_without_its_network_is_a_cell_that_names_the_file(pretrained, folder, run, capsys):
    code, numbers, report = run(folder, "--methods", "tiny,tiny-e4e")
    assert code == 0
    assert list(numbers) == ["tiny", "tiny-e4e"]
    for values in numbers.values():
        assert (values["lpips"], values["id"]) == (LPIPS, MOCO)
        assert "perceptual" not in values
        assert all(isinstance(values[name], float) for name in ("psnr", "ssim", "l2", "seconds"))
        assert values["images"] == 2
    assert report["results"] == numbers
    assert report["gain"]["tiny-e4e"]["lpips"] is None
    assert report["metric_networks"]["identity"] == {"network": "moco", "needs": "moco_v2_800ep_pretrain.pt"}
    assert report["domain"] == "tiny"
    printed = capsys.readouterr().out
    assert printed.count(LPIPS) == printed.count(MOCO) == 2  # a row a method
    assert (pretrained.parent / "out" / "tables.md").read_text().strip() in printed


def test_a_file_that_names_no_domain_is_measured_as_far_as_it_goes(pretrained, folder, whole, run):
    code, numbers, report = run(folder, "--methods", whole)
    assert (code, report["domain"]) == (0, "")
    assert (numbers["own"]["lpips"], numbers["own"]["id"]) == (LPIPS, MOCO)
    assert numbers["own"]["edits"] == {}
    copy_native(whole, pretrained.parent / "cats.safetensors", {"domain": "cats"})
    assert run(folder, "--methods", "cats.safetensors")[2]["domain"] == "cats"  # it need not be in the table


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--domain", "face"), "sdic evaluate PHOTOS --domain face"),
        (("photos", "--methods", "tiny", "--generator", "4"), "draws no pictures of its own"),
        (("photos", "--methods", "tiny", "--attributes", "portraits-attributes"), "no edits to measure"),
        (("photos", "--methods", "tiny", "--change", "yaw=5"), "photos are inverted, not edited"),
        (("photos", "--methods", "tiny,a b=own.safetensors"), "label"),
        (("photos", "--methods", "tiny,cats.safetensors"), "domains cats, tiny"),
        (("photos", "--methods", "tiny", "--identity", "nowhere.pth"), "nowhere.pth"),
        (("photos", "--methods", "tiny", "--domain", "face"), "domain 'tiny', not 'face'"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_line(pretrained, folder, whole, run, capsys, words, message):
    copy_native(whole, pretrained.parent / "cats.safetensors", {"domain": "cats"})
    code, numbers, _ = run(*words)
    assert (code, numbers) == (2, {})
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


# Networks through their files ----------------------------------------------------------------------------------------


def put_lpips(pretrained, monkeypatch):
    """A file in the place of torchvision's AlexNet."""
    from torchvision.models import alexnet

    torch.save(alexnet(weights=None).state_dict(), pretrained / BACKBONE)
    monkeypatch.setattr("sdic.losses.perceptual.BACKBONE_SHA256", sha256_of(pretrained / BACKBONE)[:8])


def expected(model, photos, network):
    """LPIPS and identity of a model's inversion of the first photo, computed without `sdic evaluate`."""
    inverter = sdic.load(model, "cpu")
    networks = Networks(perceptual_distance("pretrained"), identity_network(network))
    photo = to_tensor(read_picture(photos / "0.png"))[None]
    image = at_input_size(inverter.invert(photo).image, inverter.geometry)
    return {name: value[0] for name, value in measure(["lpips", "id"], photo, image, networks).items()}


@pytest.mark.parametrize(
    ("domain", "words", "network", "file", "keys"),
    [
        ("face", (), "curricularface", "CurricularFace_Backbone.pth", "curricularface_backbone"),
        ("face", ("--identity", "arcface"), "arcface", "model_ir_se50.pth", "arcface_model_ir_se50"),
        ("car", (), "moco", "moco_v2_800ep_pretrain.pt", "moco_v2_800ep"),
    ],
)
def test_networks_work_from_their_files(pretrained, folder, run, monkeypatch, domain, words, network, file, keys):
    monkeypatch.setitem(zoo.MODELS, f"e4e-{domain}", zoo.ModelCard(f"e4e-{domain}", domain, "e4e", "untrained", seed=0))
    command = (folder, "--domain", domain, "--methods", f"a=e4e-{domain}", "--limit", "1", *words)
    _, numbers, _ = run(*command)
    assert (numbers["a"]["lpips"], numbers["a"]["id"]) == (LPIPS, f"needs {file}")
    put_lpips(pretrained, monkeypatch)
    torch.save(stand_in(keys), pretrained / file)
    code, numbers, report = run(*command)
    assert code == 0
    found = {name: numbers["a"][name] for name in ("lpips", "id")}
    assert found == pytest.approx(expected(f"e4e-{domain}", folder, network), abs=1e-5)
    assert report["metric_networks"]["identity"]["network"] == network
    assert len(report["metric_networks"]["perceptual"]["sha256"]) == 64


@pytest.mark.parametrize("word", ["random", "pretrained"])
def test_pictures_that_are_too_small_for_lpips_have_their_other_numbers(pretrained, folder, run, monkeypatch, word):
    put_lpips(pretrained, monkeypatch)
    encoder = E4E(E4EConfig(10, 64, (1, 1, 2, 1), (16, 24, 32, 48), input_size=32)).eval()
    networks = {"generator": tiny_bundle(0).networks["generator"], "encoder": encoder}
    source = {"method": "e4e", "geometry": Geometry(64, (24, 32)).to_text()}
    write_native(pretrained.parent / "small.safetensors", networks, source)
    code, numbers, report = run(folder, "--methods", "small.safetensors", "--perceptual", word)
    label = "lpips" if word == "pretrained" else "lpips_random"
    assert (code, numbers["small"][label]) == (0, "needs pictures of at least 32 px")
    assert all(isinstance(numbers["small"][name], float) for name in ("psnr", "ssim", "l2"))
    assert report["metric_networks"]["perceptual"] == {"network": word, "needs": "pictures of at least 32 px"}


# The table -----------------------------------------------------------------------------------------------------------


def test_every_model_is_of_a_domain_and_every_network_of_a_domain_is_a_model():
    assert {card.domain for card in zoo.MODELS.values()} <= set(DOMAINS)
    for entry in DOMAINS.values():
        named = {entry.perceptual, entry.identity, entry.attributes} - {"", "pretrained"}
        assert named <= set(zoo.MODELS)
        assert (entry.truth_source() is None) == (entry.name != "portraits")


def test_the_evaluation_names_no_domain_and_no_method():
    """Comments and documentation too: whoever adds one must have no reason to look there."""
    for path in (zoo.REPOSITORY / "sdic" / "evaluation").glob("*.py"):
        words = set(path.read_text().replace('"', " ").replace("'", " ").split())
        assert not words & {*DOMAINS, *METHODS} - {"sdic"}, path
        assert "sdic.portraits" not in path.read_text()


class Greys:
    """Grey pictures whose attribute is their level, from -1 to 1; a truth is lighter or darker by the change."""

    attributes = {"level": Attribute("of grey", (0.2, 0.4), 1.0)}  # noqa: RUF012

    def __init__(self, count, geometry, changes, device):
        self.keys = [f"grey {index}" for index in range(count)]
        self.levels = torch.linspace(-0.5, 0.5, count)
        self.changes, self.identity, self.problems = changes, {"greys": count}, []

    def __len__(self):
        return len(self.keys)

    def read(self, wanted, edited):
        for key, level in zip(self.keys, self.levels, strict=True):
            if wanted(key):
                sign = -1 if level > 0 else 1
                truths = {}
                for name, changes in self.changes.items() if edited(key) else ():
                    values = level + sign * torch.tensor(changes)
                    flat = values.view(-1, 1, 1, 1).expand(-1, 3, 64, 64)
                    truths[name] = Truth(changes, sign, values, flat, flat)
                yield Picture(key, torch.full((1, 3, 64, 64), float(level)), truths)

    def showcase(self, among, count):
        return self.keys[: min(among, count)]

    @staticmethod
    def without_details(first, count, geometry, device):
        return torch.linspace(-0.5, 0.5, count).view(-1, 1, 1, 1).expand(count, 3, 64, 64)


@pytest.fixture
def greys(pretrained, tmp_path, monkeypatch):
    """A domain that this file alone knows; its directions stand under another name."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = AttributeNet(AttributeConfig(("level",), (0.0,), (0.5,), widths=(4, 8), hidden=8))
        torch.nn.init.normal_(network.output.weight)
    write_native(tmp_path / "level.safetensors", {"attribute_net": network})
    monkeypatch.setenv("SDIC_EDITINGS", str(tmp_path))
    save_direction(tmp_path / "direction.safetensors", Direction(torch.randn(64) * 0.02, name="level"))
    card = "directions: [{name: level, domain: shades, file: direction.safetensors}]"
    (tmp_path / "manifest.yaml").write_text(card)
    level = str(tmp_path / "level.safetensors")
    entry = Domain("greys", SQUARE, "shades", level, "", level, f"{__name__}:Greys")
    domains.register(entry)
    yield entry
    del DOMAINS["greys"]


def test_a_domain_registered_by_a_test_alone(greys, whole, run, capsys):
    words = ("--domain", "greys", "--limit", "3", "--edit-limit", "2", "--sheet", "1", "--generator", "4")
    code, numbers, report = run(*words, "--methods", f"{whole},again={whole}")
    assert code == 0
    own = numbers["own"]
    assert isinstance(own["perceptual"], float)
    assert (own["id"], own["images"]) == ("needs --identity FILE", 3)
    assert set(own["edits"]["level"]) == {"0.2", "0.4"}
    assert own["edits"]["level"]["0.2"]["images"] == 2
    assert own["edits"]["level"]["0.2"]["id"] == "needs --identity FILE"
    assert isinstance(own["edits"]["level"]["0.2"]["attribute_error"], float)
    assert own["edits"]["level"]["0.2"]["details_kept"] is None
    assert set(numbers["again"]["edits"]["better_up_to"]["level"]) == {"l2", "perceptual", "region_l2", "largest"}
    assert report["generator"]["pictures"] == 4
    assert (report["directions"], report["sheet"]) == ({"level": locate("level", "greys").identity()}, "sheet.png")
    printed = capsys.readouterr().out
    assert "level ±0.2, 0.4" in printed
    assert "at no change that was asked for" in printed  # a method is not better than itself


def test_edits_without_the_attribute_network_are_a_cell_too(greys, whole, run, capsys):
    missing = Domain("greys", SQUARE, "shades", attributes="portraits-attributes", truth=greys.truth)
    DOMAINS["greys"] = missing  # the fixture takes it away
    code, numbers, report = run("--domain", "greys", "--limit", "2", "--generator", "4", "--methods", whole)
    assert code == 0
    assert numbers["own"]["edits"] == report["generator"] == "needs portraits/attributes.safetensors"
    assert isinstance(numbers["own"]["psnr"], float)
    assert "Edits: needs portraits/attributes.safetensors." in capsys.readouterr().out


def test_two_domains_of_one_name_are_refused(greys):
    with pytest.raises(ConfigError, match="greys"):
        domains.register(Domain("greys", SQUARE))
