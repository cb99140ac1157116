"""The settings of a run of `sdic invert` or `sdic edit`, and which part of the list is this process's."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from sdic.editing.manifest import check_domain
from sdic.errors import ConfigError, did_you_mean
from sdic.faces.finding import AlignSettings, check_settings
from sdic.look import looks_of
from sdic.methods import check_precision
from sdic.utils.images import PIXEL_LIMIT

DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True)
class Share:
    """Which part of the list is this process's. ranks: the rest is that of torchrun's other ranks at the same time;
    without, of runs of their own (--shard)."""

    index: int = 0
    count: int = 1
    ranks: bool = False

    @classmethod
    def of(cls, shard: str) -> Share:
        """From "i/n" with 0 <= i < n, or without from what torchrun says in the environment."""
        parts = shard.split("/") if shard else [os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")]
        numbers = [int(part) for part in parts if part.isdecimal()]
        if len(parts) == len(numbers) == 2 and numbers[0] < numbers[1]:
            return cls(numbers[0], numbers[1], ranks=not shard and numbers[1] > 1)
        if shard:
            raise ConfigError(f"shard must be i/n, such as 0/4 for the first of 4: they count from 0; got {shard!r}")
        return cls()

    @property
    def leads(self) -> bool:
        """Whether this process reports to the person: it works alone, or it is rank 0."""
        return not self.ranks or self.index == 0

    def name(self, base: str) -> str:
        """Such as "report", or "report-0-of-4" for a shard."""
        return f"{base}-{self.index}-of-{self.count}" if self.count > 1 and not self.ranks else base


@dataclass
class RunSettings:
    """inputs: photos, folders of them, or "examples" (bundled portraits); for `edit` also saved inversions and codes.
    out: where all goes.
    model: name or file; for the examples alone it may be left out (portraits).
    method: another than the model's own, on the same networks.
    refine: the method, model or file that goes on from the codes of `model`; see `sdic.load`.
    edits: such as "age=3" or "smile=-2:2:5"; empty for `invert`.
    edit_list: a YAML file of edits with names (docs/editing.md), beside `edits`.
    mask: where the edits act: a picture, white there, or a folder of them with the photos' names; "" is everywhere.
    look: what else to make of the pictures, joined by commas: strip, grid, webp, gif, mp4, page (docs/editing.md).
    fps: pictures a second of webp, gif and mp4.
    domain: whose direction names are meant; "" is the model's own.
    options: of the model's method, by name.
    attributes: the network that measures amounts, "" for the domain's, "none" for amounts in the direction's own unit.
    rule: the option of that name, for edits alone.
    align: "auto" cuts the faces out of raw photos for models of faces, "always" for any model of square pictures, and
    out of photos that are aligned already too; "never" takes photos as they are.
    face: "largest", "all", or the N-th from the left, counted from 1.
    landmarks: a .csv or .json file of them, instead of a detector. detector: auto, mediapipe or yunet.
    device, precision: of the model.
    batch_size: photos at a time, 0 for 4, or 1 on a CPU (as fast there, and less is lost when a run is stopped).
    shard: "i/n", part i (from 0) of n of the sorted list.
    limit: only the first photos, 0 for all.
    save_inversions: keep each inversion as a file that `edit` takes.
    save_latents: keep each code alone, a small file that `edit` takes as well.
    sheet_rows: photos per page of the contact sheet, 0 for none.
    sheet_pages: at most so many pages.
    max_pixels: larger photos are refused.
    wait_seconds: how long rank 0 waits for another rank that shows no sign of life.
    """

    inputs: list[str] = field(default_factory=list)
    out: str = ""
    model: str = ""
    method: str = ""
    refine: str = ""
    edits: list[str] = field(default_factory=list)
    edit_list: str = ""
    mask: str = ""
    look: str = ""
    fps: float = 10.0
    domain: str = ""
    attributes: str = ""
    rule: str = ""
    options: dict[str, str] = field(default_factory=dict)
    align: str = "auto"
    face: str = "largest"
    landmarks: str = ""
    detector: str = "auto"
    device: str = "auto"
    precision: str = "fp32"
    batch_size: int = 0
    shard: str = ""
    limit: int = 0
    save_inversions: bool = False
    save_latents: bool = False
    sheet_rows: int = 16
    sheet_pages: int = 20
    max_pixels: int = PIXEL_LIMIT
    wait_seconds: float = 600.0

    def __post_init__(self) -> None:
        device = self.device.split(":")[0]
        if device not in DEVICES:
            wrong = f"device must be one of {', '.join(DEVICES)}, got {device!r}"
            raise ConfigError(wrong + did_you_mean(device, DEVICES))
        check_precision(self.precision)
        check_settings(self.aligning)
        for name, least in (("batch_size", 0), ("limit", 0), ("sheet_rows", 0), ("sheet_pages", 0), ("max_pixels", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}")
        Share.of(self.shard)
        looks_of(self.look, self.fps)

    @property
    def aligning(self) -> AlignSettings:
        """Those of them that say how raw photos are aligned."""
        return AlignSettings(self.align, self.face, self.landmarks, self.detector)

    def check(self, command: str) -> None:
        """ConfigError for what a run cannot do without."""
        usage = f"sdic {command} PHOTOS --out DIR --model NAME" + (" --edit age=3" if command == "edit" else "")
        for name, what in (("inputs", "photos or folders of photos"), ("out", "--out DIR"), ("model", "--model NAME")):
            if not getattr(self, name):
                raise ConfigError(f"{what} missing; usage: {usage} (`sdic models` lists the models)")
        if command == "edit" and not (self.edits or self.edit_list):
            wanted = "--edit NAME=STRENGTH, such as --edit age=3, or --edits FILE.yaml"
            raise ConfigError(f"no edit asked for: {wanted}; usage: {usage}")
        for name in ("edits", "edit_list", "mask", "domain", "attributes", "rule"):
            if command != "edit" and getattr(self, name) != getattr(RunSettings(), name):
                raise ConfigError(f"`sdic {command}` does not edit, and takes no {name}; use: sdic edit")
        check_domain(self.domain)
