"""How well `sdic align` finds eyes and crops: against marked pupils, against aligned photos, far, turned, and how fast.

    python scripts/measure_faces.py --marked LONDON --aligned CELEBA

LONDON: photos with a .tem file of landmarks beside them (count, then x y a line; 0 and 1 are the pupils, 87 and 93 the
corners of the mouth), as the Face Research Lab London Set has. CELEBA: crops as FFHQ's, such as CelebA-HQ. No photo is
changed or kept.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from PIL import Image

from sdic.faces.alignment import ffhq_quad, is_aligned
from sdic.faces.finding import Finder, open_finder
from sdic.faces.points import Array, Face
from sdic.utils.images import read_picture

Case = Callable[[Image.Image, Array], tuple[Image.Image, Array]]


def marked(folder: Path) -> list[tuple[Image.Image, Array]]:
    """(photo, [4, 2] true eyes and corners of the mouth) of every photo with a .tem file."""
    found = []
    for path in sorted(folder.glob("*.tem")):
        rows = [row.split() for row in path.read_text().splitlines()]
        points = np.array([[float(value) for value in row[:2]] for row in rows[1 : 1 + int(rows[0][0])]])
        found.append((read_picture(path.with_suffix(".jpg")), points[[0, 1, 87, 93]]))
    return found


def turned(degrees: float) -> Case:
    def case(photo: Image.Image, points: Array) -> tuple[Image.Image, Array]:
        turn = math.radians(degrees)
        matrix = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        centre = np.array(photo.size) / 2
        grey = (128, 128, 128)
        return photo.rotate(-degrees, Image.Resampling.BICUBIC, fillcolor=grey), (points - centre) @ matrix.T + centre

    return case


def far(distance: float) -> Case:
    """The photo reduced until the eyes are so many pixels apart, in a picture of 1350 px."""

    def case(photo: Image.Image, points: Array) -> tuple[Image.Image, Array]:
        scale = distance / math.dist(points[0], points[1])
        small = photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.LANCZOS)
        wide = Image.new("RGB", (1350, 1350), (120, 130, 140))
        wide.paste(small, (700, 300))
        return wide, points * scale + [700, 300]

    return case


def grey(photo: Image.Image, points: Array) -> tuple[Image.Image, Array]:
    return photo.convert("L").convert("RGB"), points


def dark(photo: Image.Image, points: Array) -> tuple[Image.Image, Array]:
    return photo.point(lambda value: value // 4), points


def cut_off(photo: Image.Image, points: Array) -> tuple[Image.Image, Array]:
    """Head cut off above the brows and beside the right eye: the crop lies over two edges."""
    across = math.dist(points[0], points[1])
    top, right = int(points[:2, 1].min() - 0.5 * across), int(points[1, 0] + 0.55 * across)
    return photo.crop((0, top, right, photo.height)), points - [0, top]


def errors(face: Face, points: Array) -> tuple[list[float], float, float, float]:
    """(both eyes in % of their distance, crop centre in % of its side, its size in % off, roll in degrees off)."""
    apart = math.dist(points[0], points[1])
    eyes = [100 * math.dist(face.points[k], points[k]) / apart for k in (0, 1)]
    found, true = ffhq_quad(face), ffhq_quad(Face(points))
    side, true_side = (math.dist(quad[0], quad[3]) for quad in (found, true))
    angles = [math.degrees(math.atan2(*(quad[3] - quad[0])[::-1])) for quad in (found, true)]
    off = (angles[0] - angles[1] + 180) % 360 - 180
    return eyes, 100 * math.dist(found.mean(0), true.mean(0)) / true_side, 100 * (side / true_side - 1), off


def measure(name: str, finder: Finder, photos: list[tuple[Image.Image, Array]], case: Case) -> None:
    """One line of the table."""
    eyes: list[float] = []
    rest, seconds, missed = [], [], 0
    for photo, points in photos:
        picture, true = case(photo, points)
        start = time.process_time()
        faces = finder.find(picture)
        seconds.append(time.process_time() - start)
        found = [errors(face, true) for face in faces[:1]]
        if not found or max(found[0][0]) > 25:
            missed += 1
            continue
        eyes += found[0][0]
        rest.append([abs(found[0][1]), found[0][2], abs(found[0][3])])
    if not rest:
        print(f"| {name} | 0 of {len(photos)} | | | | | {max(seconds):.2f} |")
        return
    means, most = np.mean(rest, 0), np.max(rest, 0)
    print(
        f"| {name} | {len(photos) - missed} of {len(photos)} | {np.mean(eyes):.2f} / {max(eyes):.2f} | "
        f"{means[0]:.2f} / {most[0]:.2f} | {means[1]:+.1f} | {means[2]:.2f} | {max(seconds):.2f} |"
    )


def refused(finder: Finder, photos: list[tuple[Image.Image, Array]]) -> None:
    """Hair, chests and walls: parts of the photos without a face."""
    count, alarms = 0, 0
    for photo, points in photos:
        apart, eyes = math.dist(points[0], points[1]), points[:2, 1].mean()
        hair, chest = (
            (0, 0, photo.width, int(eyes - 0.5 * apart)),
            (0, int(eyes + 2.6 * apart), photo.width, photo.height),
        )
        for box in (hair, chest, (0, 0, photo.width // 6, photo.height)):
            count, alarms = count + 1, alarms + bool(finder.find(photo.crop(box)))
    print(f"\nstrips of hair, chests, walls: a face was found in {alarms} of {count}")


def aligned(finder: Finder, folder: Path) -> None:
    """Photos that are crops: found, recognised, and how far our crop would be from theirs."""
    rows, found, recognised = [], 0, 0
    paths = sorted(folder.glob("*.jpg"))
    for path in paths:
        photo = read_picture(path)
        for face in finder.find(photo)[:1]:
            quad = ffhq_quad(face) + 0.5
            side, across = math.dist(quad[0], quad[3]), quad[3] - quad[0]
            centre = 100 * math.dist(quad.mean(0), (photo.width / 2, photo.height / 2)) / photo.width
            rows.append([centre, 100 * (side / photo.width - 1), abs(math.degrees(math.atan2(across[1], across[0])))])
            found, recognised = found + 1, recognised + is_aligned(photo.size, face)
    mean, most = np.mean(rows, 0), np.max(rows, 0)
    print(f"\naligned photos: {found} of {len(paths)} found, {recognised} recognised as aligned;", end=" ")
    print(f"crop centre {mean[0]:.2f} / {most[0]:.2f} % off, size {mean[1]:+.1f} %,", end=" ")
    print(f"roll {mean[2]:.2f} / {most[2]:.2f} degrees")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--marked", type=Path, required=True)
    parser.add_argument("--aligned", type=Path)
    parser.add_argument("--detector", default="mediapipe")
    args = parser.parse_args()
    torch.set_num_threads(1)
    finder, photos = open_finder(args.detector), marked(args.marked)
    finder.find(photos[0][0])
    print("| photos | found | eyes, mean / max % | crop centre, mean / max % | size % | roll | seconds, max |")
    print("|---|---|---|---|---|---|---|")
    cases: dict[str, Case] = {"as they are": turned(0), "grey": grey, "a quarter of the light": dark}
    cases |= {f"turned by {degrees}": turned(degrees) for degrees in (-90, -45, -10, 10, 20, 30, 45, 90)}
    cases |= {"head cut off": cut_off}
    cases |= {f"eyes {distance} px apart in 1350 px": far(distance) for distance in (70, 42, 26, 13, 10)}
    for name, case in cases.items():
        measure(name, finder, photos, case)
    refused(finder, photos)
    if args.aligned is not None:
        aligned(finder, args.aligned)


if __name__ == "__main__":
    main()
