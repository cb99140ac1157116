"""An untrained 64 px stack in the place of the domain's models, small networks that measure, and made-up directions."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sdic import zoo
from sdic.checkpoints import write_native
from sdic.cli import main
from sdic.direction import Direction
from sdic.editing.directions import save_direction
from sdic.networks.portrait_nets import AttributeConfig, AttributeNet, PortraitEmbedder, PortraitEmbedderConfig
from sdic.portraits.directions import write_cards


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Networks that measure, and a folder of directions."""
    folder = tmp_path_factory.mktemp("domain")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        attributes = AttributeNet(AttributeConfig(widths=(4, 8), hidden=8))
        torch.nn.init.normal_(attributes.output.weight)
        identity = PortraitEmbedder(PortraitEmbedderConfig(32, (1, 1, 1, 1), (4, 4, 8, 8), 8))
        deltas = {name: torch.randn(64) * 0.02 for name in ("age", "yaw", "smile")}
    files = SimpleNamespace(attributes=folder / "attributes.safetensors", identity=folder / "identity.safetensors")
    files.editings = folder / "editings"
    write_native(files.attributes, {"attribute_net": attributes})
    write_native(files.identity, {"portrait_embedder": identity})
    cards = []
    for name, delta in deltas.items():
        save_direction(files.editings / f"{name}.safetensors", Direction(delta, name=name))
        cards.append({"name": name, "domain": "portraits", "file": f"{name}.safetensors"})
    write_cards(files.editings / "manifest.yaml", "portraits", cards)
    return files


@pytest.fixture(scope="module")
def domain_files(files: SimpleNamespace) -> Iterator[SimpleNamespace]:
    """The same, while the domain's model names and directions lead to untrained ones."""
    models = {
        "portraits": zoo.ModelCard("portraits", "portraits", "sdic", "untrained", seed=0, options={"layer": 3}),
        "portraits-e4e": zoo.ModelCard("portraits-e4e", "portraits", "e4e", "untrained", seed=0),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDIC_EDITINGS", str(files.editings))
        for name, card in models.items():
            patch.setitem(zoo.MODELS, name, card)
        yield files


Call = Callable[..., tuple[int, dict[str, Any], dict[str, Any]]]


@pytest.fixture(scope="module")
def call_evaluate(domain_files: SimpleNamespace) -> Call:
    """`call("--limit", "2", out=FOLDER)` -> (exit code, the JSON of --json, report.json), both empty if not written."""

    def call(*words: str, out: Path):
        numbers = out / "numbers.json"
        numbers.unlink(missing_ok=True)
        options = ["--device", "cpu", "--out", str(out), "--json", str(numbers)]
        networks = ["--attributes", str(domain_files.attributes), "--identity", str(domain_files.identity)]
        code = main(["evaluate", *words, *options, *networks])
        return code, *(json.loads(p.read_text()) if p.is_file() else {} for p in (numbers, out / "report.json"))

    return call


@pytest.fixture
def evaluate(call_evaluate: Call, tmp_path: Path) -> Call:
    """The same, into the test's own folder."""
    return functools.partial(call_evaluate, out=tmp_path / "out")
