"""Every stage: runs, learns, resumes exactly, writes files that load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open

from sdic.checkpoints import read_bundle
from sdic.config import load_config
from sdic.data.portraits import VECTOR_SIZE, vector_layout
from sdic.data.portraits.law import COORDINATES
from sdic.errors import CheckpointError, ConfigError, SdicError
from sdic.networks.portrait_nets import AttributeConfig, AttributeNet, ParameterEncoder
from sdic.networks.stylegan2 import Generator, GeneratorConfig, Mapping
from sdic.pretraining.attributes import attribute_values
from sdic.pretraining.bank import Recipe, render_bank
from sdic.pretraining.config import DirectionsConfig
from sdic.pretraining.encoder import offset_norms, rows_open
from sdic.pretraining.exporting import export
from sdic.pretraining.loop import train
from sdic.pretraining.mapping import LIFT, OFFSET, center_styles, lay_wires, solve_output
from sdic.pretraining.stages import STAGES
from sdic.pretraining.state import read_state, write_state
from sdic.pretraining.supervised import code_pool, draw_at, growing_size
from sdic.training.config import TrainConfig

CONFIGS = Path(__file__).parent.parent.parent / "configs" / "portraits"
ROLES = {
    "attributes": {"attribute_net"},
    "identity": {"portrait_embedder"},
    "generator-supervised": {"generator"},
    "generator": {"generator"},
    "encoder": {"encoder"},
}


@pytest.mark.parametrize("stage", list(STAGES))
def test_a_finished_stage_leaves_files_that_load(stage: str, workshop: Any) -> None:
    result = workshop.file(stage).parent
    bundle = read_bundle(workshop.file(stage))
    assert set(bundle.networks) == ROLES[stage]
    assert json.loads((result / "metrics.json").read_text())["steps"] == 4
    with Image.open(result / "samples.png") as picture:
        assert min(picture.size) >= 32
    kind = STAGES[stage].config
    assert load_config(kind, result / "config.yaml").run.steps == 4  # type: ignore[attr-defined]
    lines = [json.loads(line) for line in (result.parent / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == [2, 4]


@pytest.mark.parametrize("stage", list(STAGES))
def test_a_run_that_was_stopped_ends_as_one_that_was_not(stage: str, workshop: Any) -> None:
    stopped = workshop.stage(stage, run=f"{stage}-again")
    steps, inner = 0, stopped.step

    def step(number: int) -> Any:
        nonlocal steps
        if steps == 3:
            raise KeyboardInterrupt
        steps += 1
        return inner(number)

    stopped.step = step
    with pytest.raises(KeyboardInterrupt):
        train(stopped)
    state = read_state(workshop.root / f"{stage}-again" / "state")
    assert state is not None
    assert state["step"] == 2
    assert train(workshop.stage(stage, run=f"{stage}-again"))
    ours = read_state(workshop.root / f"{stage}-again" / "state")
    theirs = read_state(workshop.root / stage / "state")
    assert ours is not None
    assert theirs is not None
    for part in ("networks", "averages"):
        for name, tensors in ours[part].items():
            for key, tensor in tensors.items():
                assert torch.equal(tensor, theirs[part][name][key]), (name, key)
    lines = [(workshop.root / run / "metrics.jsonl").read_text() for run in (stage, f"{stage}-again")]
    assert lines[0] == lines[1]


def test_attributes_learn_a_fixed_batch(workshop: Any) -> None:
    stage = workshop.prepared("attributes", "optim.lr=1e-2")
    index = torch.arange(8)
    picture, labels = stage.bank.batch(index), stage.bank.labels[index]
    losses = [float(stage.update(picture, labels)["loss"].detach()) for _ in range(25)]
    assert losses[-1] < 0.6 * losses[0]


def test_identity_learns_a_fixed_batch(workshop: Any) -> None:
    stage = workshop.prepared("identity", "optim.lr=5e-3")
    index = torch.arange(8)
    assert stage.config.data.views == 2
    terms = [stage.update(index, 10_000) for _ in range(25)]
    assert float(terms[-1]["arcface"].detach()) < 0.5 * float(terms[0]["arcface"].detach())
    assert float(terms[-1]["traits"].detach()) < 0.8 * float(terms[0]["traits"].detach())


def test_the_supervised_stage_learns_pictures(workshop: Any) -> None:
    stage = workshop.prepared("generator-supervised", "optim.lr=1e-2")
    losses = [float(stage.update(torch.arange(8), 32)["picture"].detach()) for _ in range(30)]
    assert losses[-1] < 0.6 * losses[0]


def test_the_mapping_learns_what_is_not_linear(workshop: Any) -> None:
    stage = workshop.prepared("generator-supervised")
    index, optimizer = torch.arange(64), stage.optimizers["mapping"]
    errors = []
    for _ in range(80):  # in the metric of the codes small factors count; in W's own, 40 were enough
        error = stage.mapping_error(index)
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(float(error.detach()))
    assert errors[0] < 0.5  # it begins with what is linear
    assert errors[-1] < 0.7 * errors[0]


def test_the_mapping_begins_with_what_is_linear() -> None:
    """Wires and least squares before any training: yaw is read off the code almost exactly, for unseen codes too."""
    mapping, encoder = Mapping(96, 4), ParameterEncoder(VECTOR_SIZE, 96)
    torch.nn.init.constant_(encoder.linear.bias, OFFSET)
    z, vector = code_pool(6000, 96, torch.device("cpu"))
    lay_wires(mapping, COORDINATES)
    normalised = z / z.square().mean(1, keepdim=True).sqrt()
    x = normalised
    for layer in list(mapping.layers)[:-1]:
        x = torch.nn.functional.leaky_relu(layer(x), 0.2) * 2**0.5
    assert torch.allclose(x[:50, :COORDINATES], normalised[:50, :COORDINATES] + LIFT, atol=1e-3)
    solve_output(mapping, z[:5000], encoder(vector[:5000]))
    with torch.no_grad():
        apart = mapping(z[5000:]) - encoder(vector[5000:])
        missed = (apart @ encoder.linear.weight).square().mean(0)  # the columns are orthonormal
    layout = vector_layout()
    for name, share in (("yaw", 0.02), ("pitch", 0.02), ("smile", 0.06), ("age", 0.08)):
        spread = vector[:, layout[name]].var()
        assert float(missed[layout[name]].mean()) < share * float(spread), name


def test_styles_are_one_at_the_mean_of_w() -> None:
    generator = Generator(GeneratorConfig(32, 16, 2, channels=(8, 8, 8, 8)))
    center_styles(generator.synthesis, OFFSET)
    for network in (*generator.synthesis.convs, *generator.synthesis.to_rgb):
        style = network.affine(torch.full((1, 16), OFFSET))  # type: ignore[operator, union-attr]
        assert torch.allclose(style, torch.ones_like(style), atol=1e-4)


def test_half_precision_only_where_outputs_agree(tmp_path: Path) -> None:
    network = AttributeNet(AttributeConfig(widths=(4, 4), hidden=8)).eval()
    picture = torch.rand(4, 3, 16, 16)

    def dtype() -> torch.dtype:
        export(tmp_path / "a.safetensors", {"attribute_net": network}, lambda n: n["attribute_net"](picture), {})
        with safe_open(str(tmp_path / "a.safetensors"), "pt") as handle:
            return handle.get_tensor("attribute_net.output.weight").dtype

    assert dtype() == torch.float16
    with torch.no_grad():  # large numbers that cancel: half precision would lose what is left of them
        network.hidden.weight.mul_(300)
        network.hidden.bias.copy_(-network.hidden(torch.ones(4, network.hidden.in_features)).mean(0))
        network.hidden.bias.add_(70_000)
    assert dtype() == torch.float32


def test_the_anchor_holds_the_generator_to_the_truth(workshop: Any) -> None:
    stage = workshop.prepared("generator", "optim.lr=1e-2", "anchor=20", "perceptual=0", "model.start=''")
    before = float(stage.anchor_loss(torch.arange(8)).detach())
    for _ in range(25):
        stage.update_generator()
    assert float(stage.anchor_loss(torch.arange(8)).detach()) < 0.8 * before


def test_the_discriminator_learns_to_tell_real_from_fake(workshop: Any) -> None:
    stage = workshop.prepared("generator", "optim.lr=1e-2", "model.start=''")
    real = stage.bank.batch(torch.arange(8))
    losses = [float(stage.update_critic(real)["critic"].detach()) for _ in range(15)]
    assert losses[-1] < 0.5 * losses[0]


def test_the_discriminator_may_learn_alone_at_first(workshop: Any) -> None:
    stage = workshop.prepared("generator", "critic_first=1")
    before = [parameter.clone() for parameter in stage.generator.parameters()]
    judged = stage.critic.output.weight.clone()
    assert "fooling" not in stage.step(0)
    assert all(torch.equal(old, new) for old, new in zip(before, stage.generator.parameters(), strict=True))
    assert not torch.equal(judged, stage.critic.output.weight)
    assert "fooling" in stage.step(1)
    assert not torch.equal(before[0], next(stage.generator.parameters()))


def test_style_mixing_takes_the_rows_of_two_codes(workshop: Any) -> None:
    stage = workshop.prepared("generator")
    with torch.no_grad():
        plain, mixed = stage.latent(6, 0.0), stage.latent(6, 1.0)
    assert torch.equal(plain, plain[:, :1].expand_as(plain))
    assert all(len(code.unique(dim=0)) == 2 for code in mixed)
    assert all(torch.equal(code[0], code[0]) and not torch.equal(code[0], code[-1]) for code in mixed)


def test_a_folder_of_pictures_trains_a_generator(workshop: Any, tmp_path: Path) -> None:
    for index in range(4):
        Image.new("RGB", (40, 36), (60 * index, 80, 200)).save(tmp_path / f"{index}.png")
    words = [
        "data.source=folder",
        f"data.path={tmp_path}",
        "data.flip=true",
        "anchor=0",
        "model.start=''",
        "run.steps=2",
    ]
    stage = workshop.stage("generator", *words, run="folder")
    assert train(stage)
    assert set(read_bundle(workshop.file("generator", "folder")).networks) == {"generator"}
    assert "psnr" not in json.loads((workshop.file("generator", "folder").parent / "metrics.json").read_text())


def test_the_encoder_learns_known_codes(workshop: Any) -> None:
    stage = workshop.prepared(
        "encoder", "optim.name=adam", "optim.lr=1e-2", "code=1", "critic=0", "perceptual=0", "id=0"
    )
    w, none = stage.codes(8), torch.empty(0, 3, 32, 32)
    losses = [float(stage.update(none, w, 0)["code"].detach()) for _ in range(40)]
    assert losses[-1] < 0.6 * losses[0]


def test_rows_open_one_after_the_other() -> None:
    assert [rows_open(step, 10, 5, 4) for step in (0, 9, 10, 14, 15, 20, 99)] == [1, 1, 2, 2, 3, 4, 4]


def test_offset_norms_by_hand() -> None:
    code = torch.zeros(1, 4, 2)
    code[0, 1] = torch.tensor([3.0, 4.0])
    code[0, 2] = torch.tensor([0.0, 2.0])
    code[0, 3] = 100.0  # not open yet
    assert float(offset_norms(code, 3)) == pytest.approx(7.0)
    assert float(offset_norms(code, 1)) == 0.0


def test_sizes_grow_to_the_resolution() -> None:
    assert [growing_size(step, 10, 64) for step in (0, 9, 10, 20, 1000)] == [16, 16, 32, 64, 64]
    assert growing_size(0, 0, 64) == 64


def test_a_small_picture_is_what_the_rgb_outputs_up_to_it_make(workshop: Any) -> None:
    generator: Any = read_bundle(workshop.file("generator")).need("generator", "test")
    latent = generator.latent(torch.randn(2, 80))
    state = generator.synthesis.until(5, latent, noise="none")  # before the 32 px block is finished
    assert draw_at(generator.synthesis, latent, 16, "none").shape == (2, 3, 16, 16)
    assert torch.allclose(draw_at(generator.synthesis, latent, 16, "none"), state.rgb, atol=1e-5)
    assert torch.equal(draw_at(generator.synthesis, latent, 32, "none"), generator.synthesis(latent, noise="none"))


def test_a_bank_is_the_same_from_cache_and_in_any_length(tmp_path: Path) -> None:
    recipe = Recipe("codes", 16, 4, 80, "generator")
    device = torch.device("cpu")
    first = render_bank(recipe, 4, device, str(tmp_path))
    again = render_bank(recipe, 8, device, str(tmp_path))
    without = render_bank(recipe, 8, device)
    assert torch.equal(again.pictures, without.pictures)
    assert torch.equal(first.pictures, again.pictures[:4])
    assert torch.equal(again.z, without.z)  # type: ignore[arg-type]
    next(recipe.folder(tmp_path).glob("*.npz")).write_bytes(b"damaged")
    assert torch.equal(render_bank(recipe, 8, device, str(tmp_path)).pictures, without.pictures)


def test_people_stay_the_same_in_all_their_views() -> None:
    params = Recipe("people", 16, 8, views=4).params(0, torch.device("cpu"))
    assert params.face_width[:4].unique().numel() == 1
    assert params.face_width[4:].unique().numel() == 1
    assert params.face_width[0] != params.face_width[4]
    assert params.yaw.unique().numel() == 8


def test_attribute_values_are_in_their_units() -> None:
    from sdic.data.portraits import PortraitParams
    from sdic.pretraining.bank import labels_of

    params = PortraitParams.defaults(2, yaw=torch.tensor([-20.0, 35.0]), smile=0.4, age=torch.tensor([11.0, 70.0]))
    expected = torch.tensor([[-20.0, 0.4, 11.0], [35.0, 0.4, 70.0]])
    assert torch.allclose(attribute_values(labels_of(params)), expected, atol=1e-4)


def test_the_clock_ends_a_run_and_the_same_command_goes_on(workshop: Any) -> None:
    run = "clock"
    assert not train(workshop.stage("attributes", "run.minutes=1e-6", run=run))
    assert not workshop.file("attributes", run).exists()
    assert train(workshop.stage("attributes", run=run))


def test_a_run_that_fits_the_clock_is_finished_early(workshop: Any) -> None:
    stage = workshop.stage("attributes", "run.steps=1000000", "run.fit_minutes=0.005", run="fitted")
    assert train(stage)
    steps = json.loads((workshop.file("attributes", "fitted").parent / "metrics.json").read_text())["steps"]
    assert 0 < steps < 1_000_000
    assert stage.optimizers["attributes"].param_groups[0]["lr"] < 0.5 * stage.config.optim.lr


def test_a_state_of_other_settings_is_refused(workshop: Any) -> None:
    assert not train(workshop.stage("attributes", "run.minutes=1e-6", run="other"))
    with pytest.raises(CheckpointError, match="other settings"):
        train(workshop.stage("attributes", "model.hidden=8", run="other"))


def test_a_loss_that_is_not_finite_stops_the_run(workshop: Any) -> None:
    stage = workshop.stage("attributes", run="nan")
    stage.step = lambda number: {"loss": torch.tensor(float("nan"))}
    with pytest.raises(SdicError, match="not finite"):
        train(stage)


def test_missing_pieces_of_a_state_mean_the_older_one(tmp_path: Path) -> None:
    write_state(tmp_path, 1, {"value": torch.arange(3)})
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_state(tmp_path, 2, {"value": torch.arange(5_000_000)})  # several pieces
    assert len(list(tmp_path.glob("state-00000002.[0-9]*"))) > 1
    assert all(path.stat().st_size <= 16 * 2**20 for path in tmp_path.iterdir())
    newest = read_state(tmp_path)
    assert newest is not None
    assert len(newest["value"]) == 5_000_000
    for name, content in kept.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "state-00000002.001").unlink()
    older = read_state(tmp_path)
    assert older is not None
    assert len(older["value"]) == 3


def test_every_config_parses() -> None:
    seen = set()
    for path in sorted(CONFIGS.glob("*.yaml")):
        name = path.stem.split("_")[0]
        others = {"directions": DirectionsConfig, "sdic": TrainConfig, "sdic-difference": TrainConfig}
        schema = others.get(name) or STAGES[name].config
        words = ["data.path=somewhere"] if path.stem == "generator_folder" else []
        assert load_config(schema, path, words).run.steps >= 1
        seen.add(name)
    assert seen == {*STAGES, "directions", "sdic", "sdic-difference"}


def test_what_a_stage_cannot_do_is_said_at_once(workshop: Any) -> None:
    with pytest.raises(ConfigError, match="style_dim"):
        workshop.prepared("generator-supervised", "model.style_dim=32")
    with pytest.raises(ConfigError, match="channels"):
        workshop.prepared("generator-supervised", "model.channels=[8,8]")
    with pytest.raises(CheckpointError, match="earlier stage"):
        workshop.prepared("encoder", "generator=nowhere.safetensors")
    with pytest.raises(ConfigError, match="yaw"):
        workshop.stage("generator", "data.flip=true")
