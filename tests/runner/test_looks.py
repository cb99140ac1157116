"""`sdic edit --edits --mask --look`: lists, masks and what is made of the pictures, in a folder run."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from runner_helpers import statuses, write_photo

from sdic.editing.words import parse_edits
from sdic.runner import outputs, pipeline
from sdic.runner.jobs import SMALL
from sdic.runner.looks import axes, sweeps

LIST = """
edits:
  wide: pc0=2
  slow: pc0=-1:1:3
  both: pc0=-1:1:2,pc1=-1:1:3
  part:
    edit: pc1=2
    inside: {rectangle: [0, 0, 0.5, 1], feather: 0}
"""


@pytest.fixture
def edit_list(tmp_path: Path) -> str:
    (tmp_path / "list.yaml").write_text(LIST)
    return str(tmp_path / "list.yaml")


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def test_a_list_becomes_folders_and_a_region_is_kept(model, run, edit_list, tmp_path):
    assert run("edit", "--edits", edit_list, "--edit", "pc0=2")[0] == 0
    out = tmp_path / "out"
    names = {path.parent.name for path in out.glob("*/anna.png")}
    both = {f"both, pc0={a},pc1={b}" for a in (-1, 1) for b in (-1, 0, 1)}
    assert names == {"inversion", "pc0=2", "wide", "slow, pc0=-1", "slow, pc0=0", "slow, pc0=1", "part", *both}
    plain, part = pixels(out / "inversion/anna.png"), pixels(out / "part/anna.png")
    assert np.array_equal(part[:, 32:], plain[:, 32:])
    assert not np.array_equal(part[:, :32], plain[:, :32])
    assert np.array_equal(pixels(out / "slow, pc0=0/anna.png"), plain)  # strength 0
    assert np.array_equal(pixels(out / "wide/anna.png"), pixels(out / "pc0=2/anna.png"))
    edits = model.edits
    assert set(statuses(run("edit", "--edits", edit_list, "--edit", "pc0=2")[1]).values()) == {"skipped"}
    assert model.edits == edits
    (tmp_path / "list.yaml").write_text(LIST.replace("0.5, 1", "0.25, 1"))
    assert run("edit", "--edits", edit_list)[0] == 0
    assert model.edits == edits + 3  # the changed region alone, of three photos
    assert np.array_equal(pixels(out / "part/anna.png")[:, 16:], plain[:, 16:])


def test_masks_of_every_photo_by_its_name(model, run, tmp_path, capsys):
    masks = tmp_path / "masks"
    left = Image.new("L", (64, 64))
    left.paste(255, (0, 0, 8, 64))
    for name, mask in (("anna.png", left), ("more/bo.png", Image.new("L", (64, 64)))):
        (masks / name).parent.mkdir(parents=True, exist_ok=True)
        mask.save(masks / name)
    code, report = run("edit", "--edit", "pc0=3", "--mask", str(masks))
    out = tmp_path / "out"
    assert code == 1
    assert [line["reason"] for line in report["files"] if line["status"] == "failed"] == [
        f"no mask for this photo: {masks / 'more/jürgen 東京'}.png is not there"
    ]
    folder = out / "pc0=3, inside masks"
    assert np.array_equal(pixels(folder / "more/bo.png"), pixels(out / "inversion/more/bo.png"))  # an empty mask
    changed = (pixels(folder / "anna.png") != pixels(out / "inversion/anna.png")).any((0, 2))
    assert changed[:8].all()
    assert not changed[10:].any()  # beyond the soft border of 64 * 0.02 px


def test_a_mask_of_another_size_names_both_sizes_and_ends_the_run(model, run, tmp_path, capsys):
    Image.new("L", (32, 16), 255).save(tmp_path / "m.png")
    assert run("edit", "--edit", "pc0=3", "--mask", str(tmp_path / "m.png"))[0] == 2
    assert "the mask is 32x16, and the model's pictures are 64x64" in capsys.readouterr().err
    assert model.photos == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--look", "strips"], "unknown look 'strips' .did you mean 'strip'"),
        (["--look", "page", "--fps", "0"], "fps must be above 0"),
        (["--look", "grid"], "--look grid needs two sweeps in one word"),
        (["--edits", "none.yaml"], "none.yaml: no such file"),
        (["--mask", "none.png"], "none.png: no such file for mask"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_done(model, run, words, said, tmp_path, capsys):
    assert run("edit", "--edit", "pc0=1", *words)[0] == 2
    assert re.search(said, capsys.readouterr().err)
    assert model.photos == 0
    assert not (tmp_path / "out" / "inversion").exists()


def test_an_inversion_has_no_sweep_to_show(model, run, capsys):
    assert run("invert", "--look", "gif")[0] == 2
    assert "--look gif shows edits, and none is made" in capsys.readouterr().err
    assert run("invert", "--look", "strip,page")[1]["looks"][-1] == "page.html"


def test_without_pyav_mp4_is_refused_at_once(model, run, monkeypatch, capsys):
    monkeypatch.setattr("sdic.utils.video.has_video", lambda: False)
    assert run("edit", "--edit", "pc0=1", "--look", "mp4")[0] == 2
    assert "pip install av" in capsys.readouterr().err


def test_everything_to_look_at(model, run, edit_list, tmp_path):
    looks = "strip,grid,webp,gif,page" + (",mp4" if importlib.util.find_spec("av") else "")
    code, report = run("edit", "--edits", edit_list, "--look", looks, "--limit", "1")
    out = tmp_path / "out"
    assert code == 0
    assert not report["warnings"]
    moving = [ending for ending in ("webp", "gif", "mp4") if ending in looks]
    wanted = {"look/strip/anna.png", "look/both/anna.png", "page.html"}
    wanted |= {f"look/{name}/anna.{ending}" for name in ("wide", "slow", "both", "part") for ending in moving}
    assert set(report["looks"]) == wanted
    assert all((out / name).is_file() for name in wanted)
    with Image.open(out / "look/slow/anna.webp") as animation:
        assert animation.n_frames == 4
    with Image.open(out / "look/both/anna.png") as grid:
        assert grid.size == (4 + 3 * 132, 18 + 2 * (128 + 22) + 4)
    page = (out / "page.html").read_text()
    assert page.count("<figure data-before>") == 2
    assert page.count("<figure ") == 2 + 1 + 3 + 6 + 1
    assert re.search(r"inversion, PSNR at 64x64</th><td>\d+\.\d\d dB", page)
    assert "<th>model name</th><td>tiny</td>" in page
    assert "<th>edits</th><td>wide; slow; both; part</td>" in page
    assert str(tmp_path) not in page  # pages are sent to others
    before = {name: (out / name).stat().st_mtime_ns for name in wanted}
    assert run("edit", "--edits", edit_list, "--look", looks, "--limit", "1")[0] == 0
    assert {name: (out / name).stat().st_mtime_ns for name in wanted} == before
    assert run("edit", "--edits", edit_list, "--look", "webp", "--fps", "5", "--limit", "1")[0] == 0
    assert (out / "look/slow/anna.webp").stat().st_mtime_ns != before["look/slow/anna.webp"]


def test_hostile_file_names_are_escaped_on_the_page(model, run, tmp_path):
    photos = tmp_path / "hostile"
    name = '<img src=x onerror=alert(1)>&".png'
    write_photo(photos / name)
    assert run("invert", "--look", "page", inputs=photos)[0] == 0
    page = (tmp_path / "out" / "page.html").read_text()
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;&amp;&quot;.png" in page


def test_many_edits_are_written_one_by_one(model, run, monkeypatch, tmp_path):
    """What is in memory does not grow with the length of a sweep."""
    held = []
    write = pipeline.write_output

    def watched(out, job, output):
        held.append(len(set(job.pictures) - {"inversion", *SMALL}))
        write(out, job, output)

    monkeypatch.setattr(pipeline, "write_output", watched)
    assert run("edit", "--edit", "pc0=-2:2:40", "--limit", "1")[0] == 0
    assert max(held) == 1
    assert len(list((tmp_path / "out").glob("pc0=*/anna.png"))) == 40
    assert run("edit", "--edit", "pc0=-2:2:40", "--limit", "1")[1]["totals"]["skipped"] == 1


def test_a_full_disk_ends_a_long_sweep_at_once(model, run, monkeypatch, capsys):
    def full(path, picture):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outputs, "write_png", full)
    assert run("edit", "--edit", "pc0=-2:2:40", "--limit", "1")[0] == 2
    assert "No space left on device" in capsys.readouterr().err


def test_sweeps_and_their_axes():
    edits = parse_edits(["pc0=-1:1:3", "pc1=2", "pc0=1:2:2,pc1=0,pc2=3:4:2"], "tiny")
    groups = sweeps(edits)
    assert list(groups) == ["pc0=-1..1", "pc1=2", "pc0=1..2,pc1=0,pc2=3..4"]
    assert [axes(group) for group in groups.values()] == [None, None, [["pc0=1", "pc0=2"], ["pc2=3", "pc2=4"]]]
