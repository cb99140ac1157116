"""The portrait renderer: determinism, local edits, details, disjoint splits, resumable data sets."""

import csv
import io
import itertools
import json
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from sdic.errors import ConfigError, UnknownNameError
from sdic.portraits import (
    DETAIL_SWITCHES,
    SPLITS,
    VECTOR_SIZE,
    PortraitParams,
    params_to_vector,
    render,
    sample_params,
    specs_of,
    split_params,
    split_seeds,
    vector_layout,
    vector_to_params,
)
from sdic.portraits.sampling import is_held_out
from sdic.portraits.write import label_columns, main, write_split

SIZE = 64


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def face() -> PortraitParams:
    """A frontal adult with short brown hair whose whole face shows."""
    return PortraitParams.defaults(1, hair_style=2, hair_color=[0.3, 0.2, 0.12], eye_color=[0.3, 0.4, 0.5])


@pytest.fixture(scope="module")
def picture(face):
    return render(face, SIZE)


def change(a, b):
    """Mean absolute difference of each pixel, [H, W]."""
    return (a - b).abs().mean(dim=(0, 1))


def same(a: PortraitParams, b: PortraitParams) -> bool:
    other = b.as_dict()
    return all(torch.equal(value, other[name]) for name, value in a.as_dict().items())


# Parameters


def test_a_seed_is_a_portrait_whatever_is_drawn_with_it():
    many = sample_params(range(20), details=True)
    assert same(sample_params([13, 2], details=True), many[[13, 2]])
    assert not torch.equal(many.skin_tone[:10], many.skin_tone[10:])


def test_identity_and_nuisance_come_from_separate_seeds():
    people = sample_params([5, 5, 6], nuisance_seeds=[1, 2, 1])
    for spec in specs_of("identity"):
        value = getattr(people, spec.name)
        assert torch.equal(value[0], value[1]), spec.name
    for spec in specs_of("attribute", "scene"):
        value = getattr(people, spec.name)
        assert torch.equal(value[0], value[2]), spec.name
    assert people.yaw[0] != people.yaw[1]
    assert people.skin_tone[0] != people.skin_tone[2]


def test_sampled_values_stay_in_their_declared_ranges():
    params = sample_params(range(150), details=True)
    for spec in specs_of("attribute", "identity", "scene", "detail"):
        value = getattr(params, spec.name)
        assert value.min() >= spec.low, spec.name
        assert value.max() <= spec.high, spec.name
        assert value.unique().numel() > 1, f"{spec.name} never varies"


def test_details_are_off_by_default():
    plain = sample_params(range(50))
    assert not plain.has_details().any()
    detailed = sample_params(range(50), details=True)
    assert detailed.has_details().all()
    assert same(detailed.without_details(), plain)


def test_replace_broadcasts_and_checks(face):
    pair = PortraitParams.cat([face, face]).replace(yaw=[-10.0, 20.0], background_top=[0.1, 0.2, 0.3])
    assert pair.yaw.tolist() == [-10.0, 20.0]
    assert pair.background_top.shape == (2, 3)
    assert len(pair[1]) == 1
    assert pair[-1].yaw.item() == 20.0
    assert len(face.repeat(3)) == 3
    assert [p.yaw.item() for p in pair] == [-10.0, 20.0]
    with pytest.raises(UnknownNameError, match="did you mean 'smile'"):
        face.replace(smiel=1.0)
    with pytest.raises(ConfigError, match=r"age must lie in \[6, 85\]"):
        face.replace(age=120)
    with pytest.raises(ConfigError, match="yaw must lie in"):
        face.replace(yaw=float("nan"))
    with pytest.raises(ConfigError, match="shape"):
        face.replace(yaw=[1.0, 2.0])
    with pytest.raises(IndexError):
        face[1]
    with pytest.raises(ConfigError, match="missing"):
        PortraitParams.from_mapping({"yaw": torch.zeros(1)})
    assert same(PortraitParams.from_mapping(face.as_dict()), face)


def test_bad_seeds_are_refused():
    with pytest.raises(ConfigError, match="negative"):
        sample_params([-1])
    with pytest.raises(ConfigError, match="no seeds"):
        sample_params([])
    with pytest.raises(ConfigError, match="3 seeds but 2 nuisance"):
        sample_params([1, 2, 3], nuisance_seeds=[1, 2])


def test_vector_has_fixed_length_and_can_be_read_back():
    params = sample_params(range(30))
    vector = params_to_vector(params)
    assert vector.shape == (30, VECTOR_SIZE)
    assert vector.abs().max() <= 1
    back = vector_to_params(vector)
    for spec in specs_of("attribute", "identity", "scene"):
        tolerance = 1e-5 * (spec.high - spec.low)
        assert torch.allclose(getattr(back, spec.name).float(), getattr(params, spec.name).float(), atol=tolerance)
    assert vector_layout()["smile"].start == 3
    assert vector_to_params(vector * 5).yaw.abs().max() <= 60
    with pytest.raises(ConfigError, match="details"):
        params_to_vector(sample_params(1, details=True))
    with pytest.raises(ConfigError, match="shape"):
        vector_to_params(torch.zeros(2, 3))


# Pictures


@pytest.mark.parametrize("size", [64, 128])
def test_shape_and_range(size):
    pictures = render(sample_params([3]), size)
    assert pictures.shape == (1, 3, size, size)
    assert pictures.dtype == torch.float32
    assert pictures.min() >= -1
    assert pictures.max() <= 1
    assert pictures.std() > 0.1


def test_a_picture_does_not_depend_on_its_batch():
    """But for rounding: which rays are dropped when, as others are finished, changes no pixel."""
    params = sample_params(range(110, 118), details=True)
    together = render(params, 32)
    alone = torch.cat([render(params[i], 32) for i in range(8)])
    assert (together - alone).abs().max() < 1e-5
    assert (together - render(params, 32, chunk=3)).abs().max() < 1e-5
    assert torch.equal(together, render(params, 32))


def test_impossible_sizes_are_refused(face):
    for size in (-64, 0, 63, 4096):
        with pytest.raises(ConfigError, match="size must be"):
            render(face, size)
    with pytest.raises(ConfigError, match="chunk"):
        render(face, SIZE, chunk=0)


def test_antialiasing_comes_closer_to_a_fine_picture(face, picture):
    fine = torch.nn.functional.avg_pool2d(render(face, 4 * SIZE, antialias=False), 4)
    rough = render(face, SIZE, antialias=False)
    assert (picture - fine).abs().mean() < 0.7 * (rough - fine).abs().mean()


def test_smile_moves_the_mouth(face, picture):
    difference = change(render(face.replace(smile=1.0), SIZE), picture)
    mouth = difference[36:48, 24:40]
    assert mouth.mean() > 0.1
    assert mouth.mean() > 20 * difference[:16].mean()  # hair and background above
    assert mouth.mean() > 20 * difference[56:].mean()  # shirt
    frown = change(render(face.replace(smile=-1.0), SIZE), picture)
    assert frown[36:48, 24:40].mean() > 0.01


def test_a_smile_shows_white_teeth_at_64_pixels(face, picture):
    mouth = (0, slice(None), slice(37, 45), slice(26, 38))
    assert render(face.replace(smile=1.0), SIZE)[mouth].amin(0).max() > picture[mouth].amin(0).max() + 0.3


def test_positive_yaw_turns_the_nose_to_the_right(face):
    # Dark pupils and nostrils mark where the face looks; hair is made light so as not to count.
    blond = face.replace(
        hair_color=[0.9, 0.9, 0.9], clothes_color=[0.9, 0.9, 0.9], brow_thickness=-1.0, light_azimuth=0.0
    )
    turned = render(PortraitParams.cat([blond.replace(yaw=-35), blond, blond.replace(yaw=35)]), SIZE)
    dark = (-0.3 - turned.mean(1)[:, 20:40]).clamp(min=0)
    columns = (dark.sum(1) * torch.arange(SIZE)).sum(1) / dark.sum((1, 2))
    assert columns[0] < columns[1] - 4
    assert columns[2] > columns[1] + 4
    assert change(turned[:1], turned[1:2])[58:].mean() < 0.01  # the shoulders stay


def test_a_front_view_in_front_light_is_almost_symmetric(face):
    front = face.replace(light_azimuth=0.0, hair_style=0, hair_phase=0.0)
    picture = render(front, SIZE)
    assert change(picture, picture.flip(3)).mean() < 0.02


def test_age_greys_the_hair_and_changes_the_face_but_not_the_background(face, picture):
    old = render(face.replace(age=78.0), SIZE)
    difference = change(old, picture)
    assert difference[6:14, 24:40].mean() > 0.3
    assert difference[16:46, 22:42].mean() > 0.03
    assert difference[:, :4].max() == 0
    hair = old[0, :, 6:12, 26:38].mean((1, 2))
    assert (hair.max() - hair.min()) < 0.1


@pytest.mark.parametrize(
    ("name", "value", "rows", "columns"),
    [
        ("eye_color", [0.1, 0.7, 0.9], (24, 34), (20, 44)),
        ("brow_thickness", 1.0, (20, 30), (18, 46)),
        ("lip_tint", 1.0, (38, 46), (24, 40)),
        ("clothes_color", [0.9, 0.1, 0.1], (50, 64), (0, 64)),
    ],
)
def test_identity_factors_act_where_they_should(face, picture, name, value, rows, columns):
    difference = change(render(face.replace(**{name: value}), SIZE), picture)
    inside = difference[slice(*rows), slice(*columns)].sum()
    assert inside > 0.95 * difference.sum()
    assert inside > 0.5


@pytest.mark.parametrize(
    "values",
    [
        {"glasses": 1},
        {"glasses": 2},
        {"glasses": 3},
        {"hat": 1, "hat_color": [0.9, 0.2, 0.2]},
        {"hat": 2, "hat_color": [0.9, 0.2, 0.2]},
        {"hat": 3, "hat_color": [0.9, 0.2, 0.2]},
        {"earrings": 1, "earrings_color": [1.0, 0.8, 0.3]},
        {"earrings": 2, "earrings_color": [1.0, 0.8, 0.3]},
        {"moles": 1.0, "mole_places": [0.6, -0.3, 0, 0, 0, 0]},
        {"scar": 1, "scar_place": [-0.6, 0.1, 0.3]},
        {"scar": 2, "scar_place": [-0.6, 0.1, 0.3]},
        {"clothes_pattern": 2, "clothes_pattern_color": [0.9, 0.9, 0.2]},
        {"background_pattern": 3, "background_pattern_color": [0.2, 0.2, 0.9]},
        {"clothes_text": 1, "text_color": [1.0, 1.0, 1.0]},
        {"background_text": 5, "text_color": [0.1, 0.1, 0.1]},
    ],
    ids=lambda values: "-".join(str(v) for v in next(iter(values.items()))),
)
def test_every_detail_shows(face, picture, values):
    detailed = face.replace(**values)
    assert detailed.has_details().item()
    difference = change(render(detailed, SIZE), picture)
    assert (difference > 0.15).sum() >= 2, "too faint to see"
    if "clothes_text" in values:
        assert difference[:50].max() < 0.05
        assert difference[-1].max() < 0.05, "the word runs out of the picture"
        assert (difference[50:] > 0.15).sum() > 20


# Splits


def test_splits_do_not_overlap():
    ranges = sorted((split.first, split.first + split.size) for split in SPLITS.values())
    assert all(end <= first for (_, end), (first, _) in itertools.pairwise(ranges))
    assert {"generator", "inversion", "validation", "test"} == set(SPLITS)
    assert split_seeds("test", 3, start=2)[0] == SPLITS["test"].first + 2


def test_details_of_the_splits():
    assert not split_params("generator", 40).has_details().any()
    for name, kept in (("inversion", False), ("test", True)):
        params = split_params(name, 40)
        with_details = params.has_details()
        assert 0.3 < with_details.float().mean() < 0.95
        for portrait in params[with_details]:
            assert is_held_out({n: getattr(portrait, n).item() for n in DETAIL_SWITCHES}) is kept
    assert same(split_params("test", 5, start=7), split_params("test", 12)[7:])


def test_unknown_and_exhausted_splits_are_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'validation'"):
        split_params("validaton", 1)
    with pytest.raises(ConfigError, match="asked for 2"):
        split_seeds("test", 2, start=SPLITS["test"].size - 1)
    with pytest.raises(ConfigError):
        split_seeds("test", 0)


# Data sets


def decode_png(data: bytes) -> np.ndarray:
    """Pixels [H, W, 3] of a PNG in RGB."""
    with Image.open(io.BytesIO(data)) as picture:
        assert (picture.format, picture.mode) == ("PNG", "RGB")
        return np.array(picture)


def test_write_a_folder_and_resume(tmp_path):
    out = tmp_path / "faces"
    heard = []
    assert write_split("test", out, 2, 32, progress=lambda done, total: heard.append((done, total))) == 2
    assert heard == [(0, 2), (2, 2)]
    names = sorted(path.name for path in out.iterdir())
    assert names == ["21000000.png", "21000001.png", "labels.csv", "portraits.json"]
    wanted = render(split_params("test", 2), 32)[1].permute(1, 2, 0).add(1).mul(127.5).round().byte().numpy()
    found = decode_png((out / "21000001.png").read_bytes())
    assert (np.abs(found.astype(int) - wanted.astype(int)) <= 1).all()

    (out / "21000000.png").unlink()
    kept = (out / "21000001.png").stat().st_mtime_ns
    assert write_split("test", out, 3, 32) == 2
    assert (out / "21000001.png").stat().st_mtime_ns == kept
    assert write_split("test", out, 3, 32) == 0
    with pytest.raises(ConfigError, match="choose another place"):
        write_split("test", out, 3, 64)


def test_labels_say_what_is_in_the_pictures(tmp_path):
    write_split("inversion", tmp_path, 3, 16, start=4, antialias=False)
    with open(tmp_path / "labels.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    params = split_params("inversion", 3, start=4)
    assert list(rows[0]) == label_columns()
    assert [row["file"] for row in rows] == ["10000004.png", "10000005.png", "10000006.png"]
    assert all((tmp_path / row["file"]).exists() for row in rows)
    for i, row in enumerate(rows):
        assert row["split"] == "inversion"
        assert float(row["yaw"]) == pytest.approx(params.yaw[i].item(), rel=1e-5)
        assert float(row["hair_color_g"]) == pytest.approx(params.hair_color[i, 1].item(), rel=1e-5)
        assert float(row["mole_places_5"]) == pytest.approx(params.mole_places[i, 5].item(), rel=1e-5)
        assert specs_of("identity")[24].name == "hair_style"
        assert row["hair_style"] == specs_of("identity")[24].choices[params.hair_style[i]]


def test_write_a_zip_and_resume(tmp_path, capsys):
    out = tmp_path / "faces.zip"
    partial = tmp_path / "faces.zip.partial"
    write_split("validation", partial, 1, 16)  # as if killed after the first picture
    assert not out.exists()
    arguments = ["--split", "validation", "--size", "16", "--out", str(out)]
    assert main([*arguments, "--count", "2"]) == 0
    assert "2 portraits, 1 of them new" in capsys.readouterr().out
    assert not partial.exists()
    with zipfile.ZipFile(out) as archive:
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
        assert archive.namelist() == ["portraits.json", "labels.csv", "20000000.png", "20000001.png"]
        assert decode_png(archive.read("20000001.png")).shape == (16, 16, 3)
        rows = list(csv.DictReader(io.StringIO(archive.read("labels.csv").decode())))
        assert [row["seed"] for row in rows] == ["20000000", "20000001"]
    before = out.read_bytes()
    assert write_split("validation", out, 2, 16) == 0
    assert out.read_bytes() == before
    assert write_split("validation", out, 3, 16) == 1
    assert len(zipfile.ZipFile(out).namelist()) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces.zip"]


def test_the_command_explains_mistakes(tmp_path, capsys):
    assert main(["--split", "tests", "--count", "1", "--out", str(tmp_path / "x")]) == 1
    assert "did you mean 'test'" in capsys.readouterr().err
    assert main(["--split", "test", "--count", "1", "--size", "50", "--out", str(tmp_path / "x")]) == 1
    assert "size must be" in capsys.readouterr().err


def test_portraits_of_another_law_are_not_continued(tmp_path):
    """A folder from before the one law (its settings do not name a law) holds other people under the same seeds."""
    write_split("test", tmp_path, 1, 16)
    settings = json.loads((tmp_path / "portraits.json").read_text())
    del settings["law"]
    (tmp_path / "portraits.json").write_text(json.dumps(settings))
    with pytest.raises(ConfigError, match="choose another place"):
        write_split("test", tmp_path, 2, 16)
