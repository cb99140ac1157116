"""One run of `sdic evaluate`, from settings to numbers, report and the rows of the sheet."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from sdic.editing.directions import locate
from sdic.errors import ConfigError
from sdic.evaluation import summary, tables
from sdic.evaluation.contenders import Contender, load_contenders, resolve
from sdic.evaluation.domains import Changes, Domain, domain, label_of, parse_changes
from sdic.evaluation.journal import Journal
from sdic.evaluation.judges import Judges, load_judges
from sdic.evaluation.progress import Progress
from sdic.evaluation.quality import BATCH, generator_quality
from sdic.evaluation.subjects import Photos, Portraits
from sdic.evaluation.work import Bench, Journals, truths_folder
from sdic.types import Direction
from sdic.utils.files import write_atomic
from sdic.utils.tensors import resolve_device

PAYS_BY = ("l2", "perceptual", "region_l2")
BASELINE = "e4e"  # the method that compensating is held against


@dataclass
class Settings:
    """domain: in `domains.DOMAINS`. methods: see `contenders.resolve`. photos: a folder or zip; "" is the domain's own
    portraits. limit, edit_limit: how many pictures are inverted, and how many of them edited. generator: how many
    pictures its quality is measured on, 0 for none. changes: such as "yaw=5,10"; none is the domain's. attributes,
    identity: networks that measure, by name or file; "" is the domain's. sheet: portraits on the sheet. seed: of the
    generator's samples."""

    domain: str
    methods: list[str] = field(default_factory=lambda: ["e4e", "sdic"])
    photos: str = ""
    limit: int = 1000
    edit_limit: int = 200
    generator: int = 0
    changes: list[str] = field(default_factory=list)
    out: str = ""
    device: str = "auto"
    attributes: str = ""
    identity: str = ""
    sheet: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("limit", 1), ("edit_limit", 0), ("generator", 0), ("sheet", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name.replace('_', '-')} must be at least {least}, got {getattr(self, name)}")
        if self.generator == 1:
            raise ConfigError("generator must be 0 (not measured) or at least 2; some thousand are usual")
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise ConfigError("device cuda: torch finds no CUDA device here; use --device cpu, or auto")
        self.out = self.out or f"runs/evaluate/{self.domain}"


@dataclass(frozen=True)
class Result:
    """methods: what `--json` writes. text: the tables. labels, rows: of the sheet; a row is its name and one file a
    column, relative to `out`. problems: photos that were left out."""

    methods: dict[str, dict[str, Any]]
    text: str
    labels: list[str]
    rows: list[tuple[str, list[str]]]
    problems: list[str]


def evaluate(settings: Settings, versions: Mapping[str, str] | None = None) -> Result:
    """Measure what is not measured yet, and write report.json and tables.md into `settings.out`."""
    began, started = time.monotonic(), time.strftime("%FT%T%z")
    known = domain(settings.domain)
    changes: Changes = {} if settings.photos or not settings.edit_limit else parse_changes(settings.changes, known)
    device, out = resolve_device(settings.device), Path(settings.out)
    contenders = load_contenders(resolve(settings.methods, known), str(device))
    judges = load_judges(known, device, settings.attributes, settings.identity)
    geometry = contenders[0].inverter.geometry
    subjects: Photos | Portraits
    if settings.photos:
        subjects = Photos(settings.photos, settings.limit, geometry, device)
    else:
        subjects = Portraits(known.split, settings.limit, geometry.input_size[0], changes, device)
    directions, identities = _directions(known, changes, contenders)
    shared = {"pictures": subjects.identity, "judges": judges.weights, "device": device.type}
    bench = Bench(contenders, judges, _journals(contenders, shared, changes, identities, out), directions, out)
    if isinstance(subjects, Portraits) and changes:
        bench.edited = set(subjects.keys[: settings.edit_limit])
        bench.shown = subjects.showcase(settings.edit_limit, settings.sheet)
        bench.shown_changes = {name: amounts[len(amounts) // 2] for name, amounts in changes.items()}
    bench.run(subjects, bench.missing(subjects.keys) or len(subjects) * len(contenders))
    quality = _quality(settings, known, contenders[0], judges, out) if settings.generator else None

    results, edits = _summarise(bench, subjects.keys, known)
    labels = list(results)
    gains = {label: summary.gain(results[labels[0]], results[label]) for label in labels[1:]}
    text = _text(results, gains, edits, quality, known)
    sheet_labels, rows = _sheet(bench, subjects, geometry.input_size[0])
    report = {
        "command": "evaluate",
        "settings": asdict(settings),
        "started": started,
        "seconds": round(time.monotonic() - began, 3),
        "machine": machine(device),
        "versions": dict(versions or {}),
        "methods": {c.label: {"model": c.model, **c.identity()} for c in contenders},
        "judges": judges.weights,
        "directions": identities,
        "pictures": {**subjects.identity, "count": len(subjects.keys), "problems": subjects.problems},
        "results": results,
        "gain": {"over": labels[0], **gains},
        "generator": quality,
        "sheet": "sheet.png" if rows else None,
    }
    write_atomic(out / "report.json", json.dumps(report, indent=1) + "\n")
    write_atomic(out / "tables.md", text + "\n")
    return Result(results, text, sheet_labels, rows, subjects.problems)


def machine(device: torch.device) -> str:
    """What it ran on, in a line."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as handle:
            model = next((line.split(":", 1)[1].strip() for line in handle if line.startswith("model name")), model)
    except OSError:  # not Linux
        pass
    text = f"{platform.system()}, {model}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return f"{text}, {torch.cuda.get_device_name(device)}" if device.type == "cuda" else text


def _directions(
    known: Domain, changes: Changes, contenders: Sequence[Contender]
) -> tuple[dict[str, Direction], dict[str, str]]:
    """By attribute, and what tells them apart; ConfigError where one does not fit a generator."""
    directions, identities = {}, {}
    for name in changes:
        located = locate(name, known.name)
        directions[name], identities[name] = located.load(contenders[0].inverter.generator), located.identity()
        if directions[name].kind != "add":
            raise ConfigError(f"direction {name!r} is of kind {directions[name].kind!r}: its strength 0 is not no edit")
        for contender in contenders:
            generator = contender.inverter.generator
            directions[name].shift(generator.latent_avg.expand(1, generator.config.latent_rows, -1), 1.0)
    return directions, identities


def _journals(
    contenders: Sequence[Contender], shared: dict[str, Any], changes: Changes, identities: dict[str, str], out: Path
) -> Journals:
    folder = out / "journal"
    inversions, edits = {}, {}
    for contender in contenders:
        label, settings = contender.label, {**shared, **contender.identity()}
        inversions[label] = Journal(folder, f"{label}-inversion", {"part": "inversion", **settings})
        for way in ("", *contender.variants()) if changes else ():
            asked = {"changes": {name: list(amounts) for name, amounts in changes.items()}, "directions": identities}
            name = f"{label}-{way or 'edit'}"
            edits[label, way] = Journal(folder, name, {"part": "edit", "way": way, **asked, **settings})
    return Journals(inversions, edits)


def _quality(
    settings: Settings, known: Domain, contender: Contender, judges: Judges, out: Path
) -> dict[str, float | int]:
    """The generator's quality, from the journal if it was measured before."""
    inverter, count = contender.inverter, settings.generator
    identity = {"generator": inverter.fingerprint, "attributes": judges.weights["attributes"], "seed": settings.seed}
    where = {"split": known.split, "size": inverter.geometry.input_size[0], "device": inverter.device.type}
    where |= {"noise": "random"}  # in the first version it was the same for all samples
    journal = Journal(out / "journal", "generator", {"part": "generator", **identity, **where})
    if str(count) not in journal:
        progress = Progress(3 * -(-count // BATCH), "batch")
        try:
            features, step = judges.attributes.pooled, progress.step
            found = generator_quality(
                inverter.generator, inverter.geometry, features, known.split, count, settings.seed, step
            )
        finally:
            progress.close()
        journal.add(str(count), found)
    return {**journal[str(count)], "pictures": count}


def _summarise(bench: Bench, keys: Sequence[str], known: Domain) -> tuple[dict[str, Any], dict[str, Any]]:
    """(what `--json` writes, edits by the name of their rows in tables)."""
    results: dict[str, dict[str, Any]] = {}
    rows: dict[str, Any] = {}
    edited = [key for key in keys if key in bench.edited]
    for contender in bench.contenders:
        label = contender.label
        edits: dict[str, Any] = {}
        for (owner, way), journal in bench.journals.edits.items():
            if owner == label:
                found = summary.of_edits(journal.select(edited))
                rows[f"{label} ({way.replace('_', '-')})" if way else label] = found
                edits |= {way: found} if way else found
        results[label] = {**summary.of_inversions(bench.journals.inversions[label].select(keys)), "edits": edits}
    baseline = next((c.label for c in bench.contenders if c.inverter.method == BASELINE), None)
    for contender in bench.contenders:
        edits = results[contender.label]["edits"]
        if baseline is not None and contender.inverter.method != BASELINE and known.pays in edits:
            against = results[baseline]["edits"][known.pays]
            edits[_pays(known)] = summary.stops_paying(against, edits[known.pays], PAYS_BY)
    return results, rows


def _pays(known: Domain) -> str:
    return f"{known.pays}_stops_paying"


def _text(
    results: dict[str, Any], gains: dict[str, Any], edits: dict[str, Any], quality: dict[str, Any] | None, known: Domain
) -> str:
    parts = [tables.inversion_table(results, gains)]
    if edits:
        parts.append(tables.editing_table(edits))
        parts.append(tables.changes_table(edits))
        for label, numbers in results.items():
            if _pays(known) in numbers["edits"]:
                found = numbers["edits"][_pays(known)]
                parts.append(tables.paying(known.pays, known.units[known.pays], label, BASELINE, found))
    if quality is not None:
        parts.append(
            f"Generator: Fréchet distance {quality['frechet']:.3f} of {quality['pictures']} samples to as many unseen "
            f"portraits; other portraits have {quality['frechet_of_real']:.3f}."
        )
    return "\n\n".join(parts)


def _sheet(bench: Bench, subjects: Photos | Portraits, size: int) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Photo, truth and every method's edit: a row for each portrait shown and each attribute."""
    labels = ["photo", "truth", *(f"{label}, {way}" if way else label for label, way in bench.journals.edits)]
    folder, rows = truths_folder(size), []
    for key in bench.shown:
        for name, change in bench.shown_changes.items():
            files = [bench.picture(folder, key), bench.picture(folder, key, name)]
            files += [bench.picture(journal.name, key, name) for journal in bench.journals.edits.values()]
            rows.append((f"portrait {key}, {name} moved by {label_of(change)}", files))
    return labels, rows
