"""Small whole files of every kind that is read, made on the spot."""

from __future__ import annotations

import json
import pickle
import re
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.ada_pickles import ada_pickle, made, tf_pickle


def foreign_weights(folder: Path) -> list[Path]:
    """StyleGAN2 in rosinality's layout (both torch formats), NVIDIA's pickles, and the beginning of an e4e file."""
    from sdic.networks.stylegan2 import GeneratorConfig
    from tests.checkpoints.test_files import rosinality_keys
    from tests.golden_weights import draw

    config = GeneratorConfig(32, style_dim=16, mapping_layers=2, channels=(4, 4, 4, 4))
    state = {key: draw(key, shape) for key, shape in rosinality_keys(config).items()}
    content = {"g_ema": state, "latent_avg": torch.zeros(16), "opts": Namespace(lr=0.1)}
    torch.save(content, folder / "zip.pt")
    flat = torch.cat([torch.zeros(16), *(value.flatten() for value in state.values())])
    ends = torch.tensor([16, *(value.numel() for value in state.values())]).cumsum(0).tolist()
    views = {key: flat[ends[n] : ends[n + 1]].view(value.shape) for n, (key, value) in enumerate(state.items())}
    legacy = {"g_ema": views, "latent_avg": flat[:16]}  # one storage: torch writes several in the order of addresses
    torch.save(legacy, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    decoder = {f"decoder.{key}": value for key, value in state.items()}
    e4e = {"state_dict": {**decoder, "encoder.styles.0.x": torch.zeros(2)}, "latent_avg": torch.zeros(8, 16)}
    torch.save(
        {**e4e, "opts": Namespace(encoder_type="Encoder4Editing", start_from_latent_avg=True)}, folder / "e4e.pt"
    )
    generator = made(base=64, most=4)
    (folder / "ada.pkl").write_bytes(ada_pickle(generator))
    (folder / "ada3.pkl").write_bytes(ada_pickle(generator, 3))
    (folder / "tf.pkl").write_bytes(tf_pickle(generator))
    (folder / "bare.pkl").write_bytes(pickle.dumps({"g_ema": state}))
    return _steady(folder)


def tflite_files(folder: Path) -> list[Path]:
    """A small file of the format, which holds no network that is known, and the beginning of a real one."""
    from tests.faces.stand_ins import stand_in, tflite_file

    small = {"a/Kernel": torch.ones(3, 4), "b": torch.ones(2, dtype=torch.int32), "c": torch.ones(3).half()}
    (folder / "small.tflite").write_bytes(tflite_file(small))
    (folder / "iris.tflite").write_bytes(tflite_file(stand_in("iris"))[:20_000])
    return sorted(folder.iterdir())


def landmarks(folder: Path) -> list[Path]:
    """Five points of two photos, both forms."""
    five = [[30.0, 40.0], [70.0, 42.0], [50.0, 60.0], [35.0, 80.0], [66.0, 81.0]]
    (folder / "points.json").write_text(json.dumps({"a.jpg": five, "b": [five, five]}))
    numbers = ",".join(str(value) for point in five for value in point)
    (folder / "points.csv").write_text(f"name,x1,y1\na.jpg,{numbers}\nb.jpg,{numbers}\n")
    return sorted(folder.iterdir())


def crops(folder: Path) -> list[Path]:
    """One crop, and one photo that was left as it was."""
    crop = {"quad": [[0, 0], [0, 8], [8, 8], [8, 0]], "size": 64, "photo_size": [9, 9], "source": "x"}
    about = {"photo": "a.jpg", "sha256": "0", "settings": {}}
    content = {"crops": {"a/b.png": {**about, "crop": crop}, "c.png": {**about, "crop": None}}}
    (folder / "crops.json").write_text(json.dumps(content))
    return sorted(folder.iterdir())


def _steady(folder: Path) -> list[Path]:
    """The files without the addresses that torch names storages by: a seed gives the same bytes at every run."""
    for path in folder.iterdir():
        content = path.read_bytes()
        if path.suffix == ".safetensors":  # the library's order of the header is random
            size = int.from_bytes(content[:8], "little")
            header = json.loads(content[8 : 8 + size])
            header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
            content = content[:8] + json.dumps(header, separators=(",", ":")).encode().ljust(size) + content[8 + size :]
        for number, address in enumerate(dict.fromkeys(re.findall(rb"(?<![0-9])[0-9]{14,15}(?![0-9])", content))):
            content = content.replace(address, b"%0*d" % (len(address), number))
        path.write_bytes(content)
    return sorted(folder.iterdir())


def our_weights(folder: Path) -> list[Path]:
    """A generator, and an e4e with DIPN's settings beside it."""
    from sdic.checkpoints import write_native
    from sdic.networks.e4e import E4E, E4EConfig
    from sdic.networks.stylegan2 import Generator, GeneratorConfig

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = Generator(GeneratorConfig(32, 16, 2, channels=(4, 4, 4, 4)))
        encoder = E4E(E4EConfig(8, 16, (1, 1, 1, 1), (4, 4, 4, 4), input_size=32))
    write_native(folder / "generator.safetensors", {"generator": generator}, {"layer": "3", "domain": "tiny"})
    write_native(folder / "encoder.safetensors", {"encoder": encoder}, {"run": "x"}, torch.float16)
    return sorted(folder.iterdir())


def inversions(folder: Path) -> list[Path]:
    """With and without a feature."""
    from sdic.types import Inversion

    code: dict[str, Any] = {"image": torch.zeros(1, 3, 8, 8), "latent": torch.zeros(1, 4, 6), "method": "e4e"}
    code["base_latent"] = torch.ones(1, 4, 6)
    Inversion(**code).save(folder / "code.safetensors")
    feature = torch.zeros(1, 2, 4, 4)
    extras = {"base_feature": feature + 1}
    Inversion(**code, feature=feature, layer=1, extras=extras).save(folder / "feature.safetensors")
    return _steady(folder)


def directions(folder: Path) -> list[Path]:
    """Every format that is read."""
    from sdic.direction import Direction, StyleDirection
    from sdic.editing.directions import save_direction

    torch.save(torch.ones(1, 16), folder / "w.pt")
    torch.save(torch.ones(4, 16), folder / "rows.pth", _use_new_zipfile_serialization=False)
    torch.save({"mean": torch.zeros(1, 16), "comp": torch.ones(3, 1, 16), "std": torch.ones(3)}, folder / "pca.pt")
    np.save(folder / "w.npy", np.ones((1, 16)))
    dump = {"lat_mean": np.zeros((1, 16)), "lat_comp": np.ones((3, 1, 16)), "lat_stdev": np.ones(3)}
    np.savez(folder / "dump.npz", **dump)
    np.savez_compressed(folder / "small.npz", **dump)
    save_direction(
        folder / "ours.safetensors", Direction(torch.ones(1, 16), "set", (0, 2), torch.zeros(16), 2.0, (-1, 1), "age")
    )
    save_direction(folder / "styles.safetensors", StyleDirection(convs={2: torch.ones(8)}, rgb={2: torch.ones(8)}))
    boundary = {"boundary": np.ones((1, 14, 16)), "meta_data": {"manipulate_layers": [2, 3]}}
    np.save(folder / "smile.npy", np.array(boundary, dtype=object), allow_pickle=True)
    return _steady(folder)


def configs(folder: Path) -> list[Path]:
    """A training's settings, with a base."""
    text = (
        "run:\n  dir: runs/x\n  images: 10\n  tensorboard: true\noptim:\n  lr: 1e-4\n  name: adam\ndata:\n  limit: 5\n"
    )
    (folder / "base.yaml").write_text(text)
    (folder / "config.yaml").write_text("model:\n  layer: 5\n  generator: x.pt\nloss: {lpips: 0.8, id: 0.1}\n" + text)
    return sorted(folder.iterdir())


def edit_lists(folder: Path) -> list[Path]:
    """Words, a sweep, and regions of every kind that needs no file."""
    (folder / "list.yaml").write_text(
        "edits:\n  wide: pc0=2\n  slow: pc0=-1:1:3,pc1=2\n  part:\n    edit: pc1=2\n    inside:\n"
        "      ellipse: [[0.2, 0.3, 0.8, 0.9], [0, 0, 0.1, 0.1]]\n      rectangle: [0.1, 0.1, 0.5, 0.5]\n"
        "      polygon: [[0, 0], [1, 0], [0.5, 1]]\n      feather: 0.05\n      outside: true\n"
    )
    return [folder / "list.yaml"]


def manifests(folder: Path) -> list[Path]:
    """Three directions, two of which share a source."""
    (folder / "manifest.yaml").write_text(
        "sources:\n  ours: &x {source: here, licence: MIT}\ndirections:\n"
        "- {name: age, domain: face, file: face/age.pt, from: ours, limits: [-5, 5], default: 3, unit: years}\n"
        "- {name: eyes, domain: face, file: pca.pt, kind: set, component: 54, rows: [7, 8], about: open eyes}\n"
        "- {name: hair, domain: face, channels: [[12, 479, 3], [6, 501]], limits: [-7, 7], default: 5}\n"
    )
    return sorted(folder.iterdir())


def labels(folder: Path) -> list[Path]:
    """A CSV as people write them."""
    rows = "".join(f"photo{n}.png;{n % 2};{n / 10};\n" for n in range(8))
    (folder / "labels.csv").write_text("file;smile;age;glasses\n" + rows)
    return sorted(folder.iterdir())


def hash_notes(folder: Path) -> list[Path]:
    """As `remember_sha256` writes it."""
    (folder / "weights.pt.sha256").write_text(f"{'0a' * 32}  weights.pt\n")
    return sorted(folder.iterdir())


def pictures(folder: Path) -> list[Path]:
    """Every format and mode."""
    from tests.fuzz import samples

    for name, content in samples.pictures().items():
        (folder / name).write_bytes(content)
    return sorted(folder.iterdir())


def zips(folder: Path) -> list[Path]:
    """Photos beside other files, stored and compressed."""
    import zipfile

    from tests.fuzz.test_fuzz_zips import made

    for name, how in (("stored.zip", zipfile.ZIP_STORED), ("deflated.zip", zipfile.ZIP_DEFLATED)):
        (folder / name).write_bytes(made(how))
    return sorted(folder.iterdir())


def name_lists(folder: Path) -> list[Path]:
    """A list of names in both encodings."""
    text = "# chosen\n" + "\n".join(f"folder/{index:03d}.png" for index in range(20)) + "\n030\n"
    for encoding in ("utf-8", "utf-8-sig"):
        (folder / f"{encoding}.txt").write_bytes(text.encode(encoding))
    return sorted(folder.iterdir())
