"""What a raw photo costs beside its inversion, and what comes back when nothing is edited.

    python scripts/measure_raw.py --photo PHOTO.jpg

PHOTO: a portrait with room around the face. Each case is a photo made of it, in a process of its own: read, its face
found and aligned to 1024 px, pasted back (once unchanged, once with an edit of the whole crop) and written.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from PIL import Image

from sdic.errors import ImageError
from sdic.faces.finding import Aligner, AlignSettings
from sdic.faces.ownmode import read_original, write_like
from sdic.faces.pasting import EditedFace, paste
from sdic.utils.images import read_picture

MB = 1 << 20
Case = Callable[[Image.Image, Path], Path]


def scaled(photo: Image.Image, width: int) -> Image.Image:
    return photo.resize((width, round(photo.height * width / photo.width)), Image.Resampling.BICUBIC)


def saved(photo: Image.Image, folder: Path, **options: Any) -> Path:
    photo.save(folder / "photo.jpg", quality=92, **options)
    return folder / "photo.jpg"


def of_size(pixels: float) -> Case:
    """The photo in the middle of a picture of 4:3 with so many pixels, half as high."""

    def case(photo: Image.Image, folder: Path) -> Path:
        width, height = round((pixels * 4 / 3) ** 0.5), round((pixels * 3 / 4) ** 0.5)
        large = Image.new("RGB", (width, height), (110, 120, 125))
        large.paste(scaled(photo, round(photo.width * height / photo.height / 2)), (width // 4, height // 4))
        return saved(large, folder)

    return case


def turned(photo: Image.Image, folder: Path) -> Path:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(photo.transpose(Image.Transpose.ROTATE_90), folder, exif=exif)


def two(photo: Image.Image, folder: Path) -> Path:
    both = Image.new("RGB", (2 * photo.width, photo.height))
    both.paste(photo, (0, 0))
    both.paste(photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (photo.width, 0))
    return saved(both, folder)


def tiny(photo: Image.Image, folder: Path) -> Path:
    wide = Image.new("RGB", (1350, 1000), (110, 120, 125))
    wide.paste(scaled(photo, 40), (600, 300))  # the face itself is about 12 px wide
    return saved(wide, folder)


CASES: dict[str, Case] = {
    "as it is": lambda photo, folder: saved(photo, folder),
    "12 megapixels": of_size(12e6),
    "50 megapixels": of_size(50e6),
    "108 megapixels (found at half its size)": of_size(108e6),
    "stored lying (EXIF)": turned,
    "greyscale": lambda photo, folder: saved(photo.convert("L"), folder),
    "CMYK": lambda photo, folder: saved(photo.convert("CMYK"), folder),
    "head cut off": lambda photo, folder: saved(photo.crop((0, photo.height // 5, *photo.size)), folder),
    "over the right edge": lambda photo, folder: saved(photo.crop((0, 0, photo.width * 3 // 5, photo.height)), folder),
    "two faces, both": two,
    "a face of 12 px": tiny,
}


def measure(name: str, file: Path, results: Any) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        aligner = Aligner(AlignSettings("always", "all" if "both" in name else "largest"))
        aligner.open()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.process_time()
        try:
            found = aligner(read_picture(file), file.name, 1024)
        except ImageError as error:
            results.put(f"| {name} | {str(error).split(';')[0]} | | | | |")
            return
        aligned = time.process_time() - start
        crops = [(one.picture, one.crop) for one in found if one.crop is not None]
        start = time.process_time()
        original = read_original(file)
        edited = [EditedFace(Image.fromarray(255 - np.asarray(picture) // 2), crop, picture) for picture, crop in crops]
        write_like(Path(place) / "out.jpg", paste(original.picture, edited), original)
        pasted = time.process_time() - start
        memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        same = paste(original.picture, [EditedFace(picture, crop, picture) for picture, crop in crops])
        equal = np.array_equal(np.asarray(same), np.asarray(original.picture))
        again = read_original(write_like(Path(place) / "same.jpg", same, original)).picture
        off = np.square(np.asarray(again, np.float32) - np.asarray(original.picture, np.float32)).mean()
        psnr = 10 * np.log10(255**2 / max(float(off), 1e-9))
        pixels = "equal" if equal else "NOT EQUAL"
        results.put(
            f"| {name} | {len(crops)} | {aligned:.2f} | {pasted:.2f} | {memory:.0f} | {pixels}, {psnr:.1f} dB |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, required=True)
    args = parser.parse_args()
    print("One thread; seconds of its core. Memory beside that of an opened detector.\n")
    print(
        "| photo | faces | seconds to read, find, align | to read, paste, write | MB | nothing edited: pixels, file |"
    )
    print("|---|---|---|---|---|---|")
    context = multiprocessing.get_context("spawn")
    for name in CASES:
        with tempfile.TemporaryDirectory() as place:
            file = CASES[name](read_picture(args.photo), Path(place))
            results = context.Queue()
            process = context.Process(target=measure, args=(name, file, results))
            process.start()
            print(results.get(), flush=True)
            process.join()


if __name__ == "__main__":
    main()
