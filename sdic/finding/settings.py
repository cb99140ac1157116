"""The settings of a search for a direction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sdic.errors import ConfigError, did_you_mean
from sdic.settings import require, setting

FITS = ("svm", "regression")
ALONG = ("covariance", "normal")
SPACES = ("w", "w+")


@dataclass
class FindSettings:
    """What is looked for, where, and how. One source is given: an attribute network (the domain's, if none is), a CSV
    of labels with photos or codes, or two folders of photos."""

    name: str = setting("", "the attribute: an output of the network, a column of the CSV, or a name for two folders")
    model: str = setting("", "whose generator, and for photos whose method: a model, weight file or training run")
    out: str = setting("", "the direction file, .safetensors; what was measured is beside it as .json")
    attributes: str = setting("", "a network that measures pictures: model or file (the domain's)")
    labels: str = setting("", "a CSV: names of photos and a column for each attribute, labels or scores")
    photos: str = setting("", "the folder or zip that holds the photos of the CSV; they are inverted by the method")
    codes: str = setting("", "instead: codes in the order of the CSV, as `sdic directions draw` or other tools write")
    present: str = setting("", "a folder or zip of photos that have the attribute")
    absent: str = setting("", "one of photos that have it not")
    condition: list[str] = setting([], "attributes of the same source, or directions, that are to stay as they are")
    fit: str = setting("", "svm (InterFaceGAN; of labels the default) or regression (of scores the default)")
    along: str = setting("", "covariance: the move of least Mahalanobis length (default), or normal, as published")
    space: str = setting("w", "w: one vector for every row; w+: one for each, from photos alone")
    extremes: float = setting(0.1, "share of the scores at either end that the classifier gets")
    samples: int = setting(10_000, "codes that are drawn and measured")
    probes: int = setting(64, "of them, those on which the unit is measured")
    batch: int = setting(8, "pictures measured at a time")
    top: int = setting(10, "channels that are listed")
    take: int = setting(1, "of them, those that the direction is made of")
    work: str = setting("", "folder of what is measured or inverted, where the same command goes on (beside the file)")
    seed: int = setting(0, "of the codes")
    device: str = setting("auto", "auto, cpu, cuda, cuda:1, mps")

    def __post_init__(self) -> None:
        for key, words in (("fit", ("", *FITS)), ("along", ("", *ALONG)), ("space", SPACES)):
            value = getattr(self, key)
            if value not in words:
                known = ", ".join(filter(None, words))
                raise ConfigError(f"{key} must be one of {known}, got {value!r}{did_you_mean(value, words)}")
        require(0 < self.extremes <= 0.5, f"extremes is a share of at most a half, got {self.extremes}")
        for key, least in (("samples", 12), ("probes", 1), ("batch", 1), ("top", 1), ("take", 1)):
            require(getattr(self, key) >= least, f"{key} must be at least {least}, got {getattr(self, key)}")
        require(self.take <= self.top, f"take must be at most top, {self.top}, got {self.take}")

    def check(self) -> str:
        """The source that is meant: "network", "labels" or "folders". ConfigError for settings that do not go
        together, or lack something."""
        usage = "sdic directions find NAME --model MODEL --out NAME.safetensors"
        for key in ("name", "model", "out"):
            require(bool(getattr(self, key)), f"{key} missing; usage: {usage}")
        require(
            not any(mark in self.name for mark in "/\\=,:"), f"a name must not contain / \\ = , or :, got {self.name!r}"
        )
        require(Path(self.out).suffix == ".safetensors", f"{self.out}: a direction is written as .safetensors")
        folders, labels = bool(self.present or self.absent), bool(self.labels)
        require(
            folders + labels + bool(self.attributes) <= 1,
            "one source at a time: a network (--attributes), a CSV (--labels), or two folders (--with, --without)",
        )
        if folders:
            require(bool(self.present and self.absent), "two folders: photos --with the attribute, and --without it")
        require(not labels or bool(self.photos) != bool(self.codes), "a CSV of labels is of --photos or of --codes")
        require(labels or not (self.photos or self.codes), "--photos and --codes are those of a CSV: --labels FILE")
        source = "folders" if folders else "labels" if labels else "network"
        require(
            self.space == "w" or source != "network",
            "the generator's own codes have the same row throughout: w+ is for photos and codes",
        )
        require(
            self.space == "w" or (self.along != "covariance" and self.fit != "regression"),
            "in w+ a direction is the classifier's normal: fit svm, along normal",
        )
        return source
