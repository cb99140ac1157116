"""Pictures from folders, zips and lists, and what is said when they are not there."""

import pickle
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from sdic.data.dataset import PictureDataset, collate
from sdic.data.sampler import View
from sdic.data.sources import Request, open_source
from sdic.errors import ConfigError, SdicError
from sdic.types import Geometry

GEOMETRY = Geometry(64, (64, 64))


@pytest.fixture
def folder(tmp_path):
    draw = np.random.default_rng(0)
    for index, name in enumerate(("b/02.png", "a/01.jpg", "a/10.png", "c.webp")):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 255, (80 + index, 80 + index, 3), dtype=np.uint8)).save(path)
    (tmp_path / "pictures" / "notes.txt").write_text("not a picture")
    return tmp_path / "pictures"


def pack(folder, path, how):
    with zipfile.ZipFile(path, "w", how) as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, file.relative_to(folder).as_posix())
    return path


def test_a_folder_tree_is_read_in_sorted_order(folder):
    _, names, broken = open_source(Request("auto", str(folder)))
    assert names == ["a/01.jpg", "a/10.png", "b/02.png", "c.webp"]
    assert broken == {}


def test_a_zip_gives_the_same_photos_as_its_folder(folder, tmp_path):
    path = pack(folder, tmp_path / "pictures.zip", zipfile.ZIP_STORED)
    datasets = []
    for place in (folder, path):
        source, names, _ = open_source(Request("auto", str(place)))
        datasets.append(PictureDataset(source, names, GEOMETRY))
    datasets.append(pickle.loads(pickle.dumps(datasets[1])))  # as a loader process gets it
    for index in range(4):
        samples = [dataset[View(index, index % 2 == 0)] for dataset in datasets]
        assert len({sample.name for sample in samples}) == 1
        assert torch.equal(samples[0].photo, samples[1].photo)
        assert torch.equal(samples[0].photo, samples[2].photo)


def test_a_compressed_zip_is_refused_with_the_command_that_makes_a_good_one(folder, tmp_path):
    path = pack(folder, tmp_path / "packed.zip", zipfile.ZIP_DEFLATED)
    with pytest.raises(ConfigError, match="zip -0 -r"):
        open_source(Request("auto", str(path)))


def test_a_list_chooses_by_path_file_name_or_stem(folder, tmp_path):
    chosen = tmp_path / "list.txt"
    chosen.write_text("# test split\n10\n\nc.webp\nb/02.png\n")
    assert open_source(Request("auto", str(folder), str(chosen)))[1] == ["a/10.png", "b/02.png", "c.webp"]


def test_a_list_with_unknown_names_says_how_many_and_which(folder, tmp_path):
    chosen = tmp_path / "list.txt"
    chosen.write_text("10\n77\n78\n")
    with pytest.raises(ConfigError, match=r"2 of 3 names are not in the data, such as 77, 78.*a/01.jpg"):
        open_source(Request("auto", str(folder), str(chosen)))


def test_limit_takes_the_first(folder):
    assert open_source(Request("auto", str(folder), limit=2))[1] == ["a/01.jpg", "a/10.png"]


def test_unreadable_files_are_left_out_and_named(folder):
    (folder / "a" / "00.png").write_bytes(b"no picture at all")
    (folder / "a" / "05.jpg").write_bytes(b"")
    _, names, broken = open_source(Request("auto", str(folder), limit=2))
    assert names == ["a/01.jpg", "a/10.png"]
    assert set(broken) == {"a/00.png", "a/05.jpg"}


def test_a_picture_that_breaks_when_decoded_is_replaced_always_by_the_same(folder):
    path = folder / "a" / "10.png"
    path.write_bytes(path.read_bytes()[:-3000])  # the header is fine
    source, names, broken = open_source(Request("auto", str(folder)))
    assert broken == {}
    sample = PictureDataset(source, names, GEOMETRY)[View(1, False)]
    assert sample.name == "b/02.png"
    assert "a/10.png" in sample.problem
    assert collate([sample, sample]).problems == [sample.problem] * 2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: root / "nowhere", ("no such folder", "nowhere", "data.path")),
        (lambda root: root / "nowhere.zip", ("no such zip", "nowhere.zip")),
        (lambda root: (root / "empty").mkdir() or root / "empty", ("no pictures", "empty", ".png", ".jpg")),
        (lambda root: "", ("data.path is empty",)),
    ],
)
def test_wrong_and_empty_paths_say_what_was_looked_for(tmp_path, make, words):
    with pytest.raises(ConfigError) as error:
        open_source(Request("auto", str(make(tmp_path))))
    for word in words:
        assert word in str(error.value)


def test_an_unknown_source_is_named():
    with pytest.raises(SdicError, match="synthetic"):
        open_source(Request("synthetics", ""))


def test_mirroring_mirrors_and_changes_the_digest(folder):
    source, names, _ = open_source(Request("auto", str(folder)))
    dataset = PictureDataset(source, names, GEOMETRY)
    plain, mirrored = dataset[View(0, False)], dataset[View(0, True)]
    assert torch.equal(plain.photo.flip(-1), mirrored.photo)
    assert plain.digest != mirrored.digest
    assert plain.photo.shape == (3, 64, 64)
    assert plain.photo.min() >= -1
    assert plain.photo.max() <= 1


def test_photos_are_brought_to_size_as_inversion_does(folder):
    from sdic.utils.images import fit, read_picture, to_tensor

    source, names, _ = open_source(Request("auto", str(folder)))
    photo = PictureDataset(source, names, GEOMETRY)[View(2, False)].photo
    assert torch.equal(photo, to_tensor(fit(read_picture(folder / names[2]), GEOMETRY)[0]))


def test_synthetic_pictures_differ_and_repeat():
    source, names, _ = open_source(Request("synthetic", "", limit=3))
    dataset = PictureDataset(source, names, GEOMETRY)
    photos = [dataset[View(index, False)].photo for index in range(3)]
    assert torch.equal(photos[0], dataset[View(0, False)].photo)
    assert not torch.equal(photos[0], photos[1])
    held_out, other, _ = open_source(Request("synthetic", "", limit=3, part="validation"))
    assert not torch.equal(photos[0], PictureDataset(held_out, other, GEOMETRY)[View(0, False)].photo)
