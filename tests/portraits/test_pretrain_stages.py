"""Every stage: runs, learns, resumes exactly, writes files that load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from pretraining_workshop import CONFIGS, FILES, TASKS, learn
from safetensors import safe_open

from sdic.checkpoints import read_bundle
from sdic.config import load_config
from sdic.data.samples import Places
from sdic.errors import CheckpointError, ConfigError, SdicError
from sdic.methods import METHODS
from sdic.networks.portrait_nets import AttributeConfig, AttributeNet, ParameterEncoder
from sdic.networks.stylegan2 import Generator, GeneratorConfig, Mapping
from sdic.portraits import VECTOR_SIZE, vector_layout
from sdic.portraits.law import COORDINATES
from sdic.portraits.samples import Recipe, render_samples
from sdic.portraits.tasks.attributes import attribute_values
from sdic.portraits.tasks.mapping import LIFT, OFFSET, center_styles, lay_wires, solve_output
from sdic.portraits.tasks.supervised import code_pool, draw_at, growing_size
from sdic.training.exporting import export
from sdic.training.state_files import resume, write_state
from sdic.training.task import find_task
from sdic.training.tasks.e4e import E4EBatch, offset_norms, rows_open

ROLES = {
    "attributes": {"attribute_net"},
    "identity": {"portrait_embedder"},
    "generator-supervised": {"generator"},
    "generator": {"generator"},
    "e4e": {"encoder"},
}


def places(count: int) -> Places:
    return Places(torch.arange(count), torch.zeros(count, dtype=torch.bool))


def newest(folder: Path) -> Any:
    return resume(folder / "checkpoints", lambda path, state: state, print)


@pytest.mark.parametrize("task", TASKS)
def test_a_finished_training_leaves_files_that_load(task: str, workshop: Any) -> None:
    result = workshop.file(task).parent
    bundle = read_bundle(workshop.file(task))
    assert set(bundle.networks) == ROLES[task]
    assert json.loads((result / "metrics.json").read_text())["images"] == 16
    with Image.open(result / "samples.png") as picture:
        assert min(picture.size) >= 32
    assert load_config(find_task(task).config, result / "config.yaml").run.images == 16
    lines = [json.loads(line) for line in (result.parent / "metrics.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines if line["kind"] == "train"] == [8, 16]


@pytest.mark.parametrize("task", TASKS)
def test_a_run_that_was_stopped_ends_as_one_that_was_not(task: str, workshop: Any) -> None:
    run = f"{task}-again"
    stopped = workshop.trainer(task, run=run)
    inner = stopped.step

    def step(batches: Any) -> Any:
        if stopped.progress.steps == 3:
            raise KeyboardInterrupt
        return inner(batches)

    stopped.step = step  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    assert newest(workshop.root / run)["progress"]["images"] == 8
    assert workshop.trainer(task, run=run).run() == 0
    ours, theirs = (newest(workshop.root / name) for name in (run, task))
    for part in ("networks", "averages"):
        for name, tensors in ours["parts"][part].items():
            for key, tensor in tensors.items():
                assert torch.equal(tensor, theirs["parts"][part][name][key]), (name, key)
    assert all(torch.equal(ours["extra"][name], theirs["extra"][name]) for name in ours["extra"])
    lines = [(workshop.root / name / "metrics.jsonl").read_text() for name in (task, run)]
    assert lines[0] == lines[1]
    results = [(workshop.root / name / "result" / f"{FILES.get(task, task)}.safetensors") for name in (task, run)]
    networks = [read_bundle(path).networks for path in results]
    for role, network in networks[0].items():
        for key, tensor in network.state_dict().items():
            assert torch.equal(tensor, networks[1][role].state_dict()[key]), key


def test_attributes_learn_a_fixed_batch(workshop: Any) -> None:
    terms = learn(workshop.prepared("attributes", "optim.lr=1e-2"), "attributes", places(8), 25)
    assert terms[-1]["loss"] < 0.6 * terms[0]["loss"]


def test_identity_learns_a_fixed_batch(workshop: Any) -> None:
    task = workshop.prepared("identity", "optim.lr=5e-3")
    assert task.config.data.views == 2
    task.images = 10_000_000  # the margin is whole
    terms = learn(task, "identity", places(8), 25)
    assert terms[-1]["arcface"] < 0.5 * terms[0]["arcface"]
    assert terms[-1]["traits"] < 0.8 * terms[0]["traits"]


def test_the_supervised_stage_learns_pictures(workshop: Any) -> None:
    terms = learn(workshop.prepared("generator-supervised", "optim.lr=1e-2", "grow=0"), "supervised", places(8), 30)
    assert terms[-1]["picture"] < 0.6 * terms[0]["picture"]


def test_the_mapping_learns_what_is_not_linear(workshop: Any) -> None:
    stage = workshop.prepared("generator-supervised")
    index, optimizer = torch.arange(64), stage.phases[0].optimizer
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
    task = workshop.prepared("generator", "optim.lr=1e-2", "anchor=20", "perceptual=0", "model.start=''")
    before = float(task.anchor_loss(torch.arange(8)).detach())
    learn(task, "generator", places(4), 25)
    assert float(task.anchor_loss(torch.arange(8)).detach()) < 0.8 * before


def test_the_discriminator_learns_to_tell_real_from_fake(workshop: Any) -> None:
    terms = learn(workshop.prepared("generator", "optim.lr=1e-2", "model.start=''"), "discriminator", places(8), 15)
    assert terms[-1]["loss"] < 0.5 * terms[0]["loss"]


def test_the_discriminator_may_learn_alone_at_first(workshop: Any) -> None:
    run = workshop.trainer("generator", "critic_first=4", run="alone")
    task, seen = run.task, []
    inner = task.loss
    task.loss = lambda phase, batch: (seen.append(phase), inner(phase, batch))[1]
    critic = task.critic.output.weight.clone()
    after: list[Any] = []
    run._after_step = lambda: after.append([p.clone() for p in task.generator.parameters()])  # type: ignore[method-assign]
    before = [parameter.clone() for parameter in task.generator.parameters()]
    assert run.run() == 0
    assert seen[:2] == ["discriminator", "r1"]  # the whole first step
    assert all(torch.equal(old, new) for old, new in zip(before, after[0], strict=True))
    assert not torch.equal(critic, task.critic.output.weight)
    assert seen[2:4] == ["discriminator", "generator"]
    assert not torch.equal(before[0], after[1][0])


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
        "run.images=8",
    ]
    assert workshop.trainer("generator", *words, run="folder").run() == 0
    assert set(read_bundle(workshop.file("generator", "folder")).networks) == {"generator"}
    assert "psnr" not in json.loads((workshop.file("generator", "folder").parent / "metrics.json").read_text())


def test_the_encoder_learns_known_codes(workshop: Any) -> None:
    words = ("optim.lr=1e-2", "code=1", "critic=0", "perceptual=0", "id=0", "generated=1", "optim.batch=8")
    task = workshop.prepared("e4e", *words, "optim.name=adam", "optim.beta1=0.9", "optim.beta2=0.99", "optim.eps=1e-8")
    w = task.codes(8)
    task.codes = lambda count: w  # always the same
    terms = learn(task, "encoder", lambda: E4EBatch(places(0)), 40)
    assert terms[-1]["code"] < 0.6 * terms[0]["code"]


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
    generator: Any = read_bundle(workshop.file("generator")).require("generator", "test")
    latent = generator.latent(torch.randn(2, 80))
    state = generator.synthesis.until(5, latent, noise="none")  # before the 32 px block is finished
    assert draw_at(generator.synthesis, latent, 16, "none").shape == (2, 3, 16, 16)
    assert torch.allclose(draw_at(generator.synthesis, latent, 16, "none"), state.rgb, atol=1e-5)
    assert torch.equal(draw_at(generator.synthesis, latent, 32, "none"), generator.synthesis(latent, noise="none"))


def test_a_bank_is_the_same_from_cache_and_in_any_length(tmp_path: Path) -> None:
    recipe = Recipe("codes", 16, 4, 80, "generator")
    device = torch.device("cpu")
    first = render_samples(recipe, 4, device, str(tmp_path))
    again = render_samples(recipe, 8, device, str(tmp_path))
    without = render_samples(recipe, 8, device)
    assert torch.equal(again.pictures, without.pictures)
    assert torch.equal(first.pictures, again.pictures[:4])
    assert torch.equal(again.z, without.z)  # type: ignore[arg-type]
    next(recipe.folder(tmp_path).glob("*.npz")).write_bytes(b"damaged")
    assert torch.equal(render_samples(recipe, 8, device, str(tmp_path)).pictures, without.pictures)


def test_people_stay_the_same_in_all_their_views() -> None:
    params = Recipe("people", 16, 8, views=4).params(0, torch.device("cpu"))
    assert params.face_width[:4].unique().numel() == 1
    assert params.face_width[4:].unique().numel() == 1
    assert params.face_width[0] != params.face_width[4]
    assert params.yaw.unique().numel() == 8


def test_attribute_values_are_in_their_units() -> None:
    from sdic.portraits import PortraitParams
    from sdic.portraits.samples import labels_of

    params = PortraitParams.defaults(2, yaw=torch.tensor([-20.0, 35.0]), smile=0.4, age=torch.tensor([11.0, 70.0]))
    expected = torch.tensor([[-20.0, 0.4, 11.0], [35.0, 0.4, 70.0]])
    assert torch.allclose(attribute_values(labels_of(params)), expected, atol=1e-4)


def test_the_clock_ends_a_run_and_the_same_command_goes_on(workshop: Any) -> None:
    run = "clock"
    assert workshop.trainer("attributes", "run.minutes=1e-6", run=run).run() == 3
    assert not workshop.file("attributes", run).exists()
    assert workshop.trainer("attributes", run=run).run() == 0


def test_a_run_that_fits_the_clock_is_finished_early(workshop: Any) -> None:
    run = workshop.trainer("attributes", "run.images=4000000", "run.fit_minutes=0.005", run="fitted")
    assert run.run() == 0
    images = json.loads((workshop.file("attributes", "fitted").parent / "metrics.json").read_text())["images"]
    assert 0 < images < 4_000_000
    assert run.task.phases[0].optimizer.param_groups[0]["lr"] < 0.5 * run.config.optim.lr


def test_a_state_of_other_settings_is_refused(workshop: Any) -> None:
    assert workshop.trainer("attributes", "run.images=4", run="other").run() == 0
    with pytest.raises(CheckpointError, match=r"other settings: model\.hidden \(was 16, is 8\)"):
        workshop.trainer("attributes", "model.hidden=8", run="other").run()


def test_a_loss_that_is_not_finite_stops_the_run(workshop: Any) -> None:
    run = workshop.trainer("attributes", run="nan")
    inner = run.task.loss
    run.task.loss = lambda phase, batch: {"loss": inner(phase, batch)["loss"] * float("nan")}
    with pytest.raises(SdicError, match=r"not finite.*picture \d"):
        run.run()


def test_missing_pieces_of_a_state_mean_the_older_one(tmp_path: Path) -> None:
    write_state(tmp_path, 1, {"value": torch.arange(3)}, 1, 15 * 2**20)
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_state(tmp_path, 2, {"value": torch.arange(5_000_000)}, 1, 15 * 2**20)  # several pieces
    assert len(list(tmp_path.glob("state-00000002.[0-9]*"))) > 1
    assert all(path.stat().st_size <= 16 * 2**20 for path in tmp_path.iterdir())
    assert resume(tmp_path, lambda path, state: len(state["value"]), print) == 5_000_000
    for name, content in kept.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "state-00000002.001").unlink()
    assert resume(tmp_path, lambda path, state: len(state["value"]), print) == 3


def test_every_config_parses() -> None:
    seen = set()
    for path in sorted(CONFIGS.glob("*.yaml")):
        name = path.stem.split("_")[0]
        task = {"encoder": "e4e", "difference": "sdic"}.get(name, "sdic" if name.startswith("sdic-") else name)
        words = ["data.path=somewhere"] if path.stem == "generator_folder" else []
        config = load_config(find_task(task).config, path, words)
        assert task == "directions" or config.run.images >= 1
        seen.add(task)
    assert seen >= {*TASKS, "directions", "sdic"}
    assert seen - {*TASKS, "directions"} <= set(METHODS)


def test_what_a_stage_cannot_do_is_said_at_once(workshop: Any) -> None:
    with pytest.raises(ConfigError, match="style_dim"):
        workshop.prepared("generator-supervised", "model.style_dim=32")
    with pytest.raises(ConfigError, match="channels"):
        workshop.prepared("generator-supervised", "model.channels=[8,8]")
    with pytest.raises(CheckpointError, match="earlier stage"):
        workshop.prepared("e4e", "generator=nowhere.safetensors")
    with pytest.raises(ConfigError, match="yaw"):
        workshop.task("generator", "data.flip=true")
