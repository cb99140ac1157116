"""One run of `sdic evaluate`, from settings to numbers, report and the rows of the sheet."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from sdic.direction import Direction
from sdic.domains import DOMAINS, Attribute, Changes, Domain, Pictures, TruthSource, domain
from sdic.editing.directions import locate
from sdic.errors import ConfigError
from sdic.evaluation import summary, tables
from sdic.evaluation.editing import label_of, parse_changes
from sdic.evaluation.methods import MethodEntry, domain_of_all, load_methods, name_methods, resolve, usual_methods
from sdic.evaluation.networks import ROLES, MetricNetworks, check_attributes, load_networks
from sdic.evaluation.pictures import Photos
from sdic.evaluation.progress import ProgressBar
from sdic.evaluation.quality import BATCH, generator_quality
from sdic.evaluation.results import ResultsFile
from sdic.evaluation.work import Evaluation, truths_folder
from sdic.faces.finding import AlignSettings, check_settings
from sdic.settings import require
from sdic.utils.files import write_atomic
from sdic.utils.tensors import resolve_device

BETTER = "better_up_to"  # beside the attributes in the edits of a method


@dataclass
class Settings:
    """domain: in `domains.DOMAINS`; "" is the first that draws its own pictures, but for photos that of the models and
    files in `methods`.
    methods: see `methods.resolve`; none are those of the domain.
    photos: a folder or zip; "" is the domain's own pictures.
    align, face, landmarks, detector: how raw photos are aligned, see `sdic.faces.finding.AlignSettings`; "never" takes
    them as they are.
    limit, edit_limit: how many pictures are inverted, and how many of them edited.
    generator: how many pictures its quality is measured on, 0 for none.
    changes: such as "yaw=5,10"; none is the domain's.
    perceptual, identity, attributes: networks that measure, by name or file; "" is the domain's.
    sheet: pictures on the sheet.
    seed: of the generator's samples."""

    domain: str = ""
    methods: list[str] = field(default_factory=list)
    photos: str = ""
    align: str = "never"
    face: str = "largest"
    landmarks: str = ""
    detector: str = "auto"
    limit: int = 1000
    edit_limit: int = 200
    generator: int = 0
    changes: list[str] = field(default_factory=list)
    out: str = ""
    device: str = "auto"
    perceptual: str = ""
    identity: str = ""
    attributes: str = ""
    sheet: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("limit", 1), ("edit_limit", 0), ("generator", 0), ("sheet", 0)):
            value = getattr(self, name)
            require(value >= least, f"{name.replace('_', '-')} must be at least {least}, got {value}")
        require(bool(self.photos) or self.align == "never", "align is for photos, and none are named")
        check_settings(AlignSettings(self.align, self.face, self.landmarks, self.detector))
        require(self.generator != 1, "generator must be 0 (not measured) or at least 2; some thousand are usual")
        if not self.domain and (not self.photos or not self.methods or name_methods(self.methods)):
            self.domain = next(name for name, entry in DOMAINS.items() if entry.truth)
        self.out = self.out or f"runs/evaluate/{self.domain or 'photos'}"


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
    known = domain(settings.domain) if settings.domain else None
    source = known.truth_source() if known is not None else None
    changes = _changes(settings, source)
    device, out = resolve_device(settings.device), Path(settings.out)
    words = settings.methods or (usual_methods(known) if known is not None else [])
    methods = load_methods(resolve(words, known), str(device))
    known = known or domain_of_all(methods)
    geometry = methods[0].inverter.measured
    chosen = {role: getattr(settings, role) for role in ROLES}
    networks = load_networks(known, device, chosen, min(geometry.input_size))
    check_attributes(networks, changes)
    edits_need = networks.lacking.get("attributes", "") if changes else ""
    changes = {} if edits_need else changes
    pictures: Pictures
    on_sheet: Sequence[str] = ()
    if settings.photos or source is None:
        looked_at = [entry.inverter.geometry for entry in methods if entry.inverter.geometry != geometry]
        align = AlignSettings(settings.align, settings.face, settings.landmarks, settings.detector)
        pictures = Photos(settings.photos, settings.limit, geometry, device, next(iter(looked_at), None), align)
    else:
        pictures = drawn = source(settings.limit, geometry, changes, device)
        on_sheet = drawn.showcase(settings.edit_limit, settings.sheet) if changes else ()
    edited = set(pictures.keys[: settings.edit_limit]) if changes else set()
    sheet_changes = {name: amounts[len(amounts) // 2] for name, amounts in changes.items()}
    directions, identities = _directions(known, changes, methods)
    shared = {"pictures": pictures.identity, "networks": networks.identity(), "device": device.type}
    files = _results_files(methods, shared, changes, identities, out)
    evaluation = Evaluation(methods, networks, *files, directions, out, edited, on_sheet, sheet_changes)
    evaluation.run(pictures, evaluation.missing(pictures.keys) or len(pictures) * len(methods))
    quality = None
    if settings.generator and source is not None:
        quality = _quality(settings, source, methods[0], networks, out)

    own = _own_codes(evaluation, out)
    results, edits = _summarise(evaluation, pictures.keys, edits_need)
    labels = list(results)
    gains = {label: summary.gain(results[labels[0]], results[label]) for label in labels[1:]}
    text = _text(results, gains, edits, quality, networks, {} if source is None else source.attributes, edits_need, own)
    sheet_labels, rows = _sheet(evaluation, geometry.input_size[1])
    report = {
        "command": "evaluate",
        "settings": asdict(settings),
        "started": started,
        "seconds": round(time.monotonic() - began, 3),
        "machine": machine(device),
        "versions": dict(versions or {}),
        "domain": known.name,
        "methods": {entry.label: {"model": entry.model, **entry.identity()} for entry in methods},
        "metric_networks": networks.weights,
        "directions": identities,
        "pictures": {**pictures.identity, "count": len(pictures.keys), "problems": pictures.problems},
        "results": results,
        "gain": {"over": labels[0], **gains},
        "own_codes": own,
        "generator": quality,
        "sheet": "sheet.png" if rows else None,
    }
    write_atomic(out / "report.json", json.dumps(report, indent=1) + "\n")
    write_atomic(out / "tables.md", text + "\n")
    return Result(results, text, sheet_labels, rows, pictures.problems)


def machine(device: torch.device) -> str:
    """What it ran on, in a line."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as handle:  # not Linux
        model = next((line.split(":", 1)[1].strip() for line in handle if line.startswith("model name")), model)
    text = f"{platform.system()}, {model}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return f"{text}, {torch.cuda.get_device_name(device)}" if device.type == "cuda" else text


def _changes(settings: Settings, source: type[TruthSource] | None) -> Changes:
    """What edits are asked for; ConfigError where something is asked for that only a domain's own pictures have."""
    whose = f"domain {settings.domain!r}" if settings.domain else "the domain of these methods"
    if source is None and not settings.photos:
        raise ConfigError(
            f"{whose} draws no pictures of its own; measure yours: sdic evaluate PHOTOS --domain {settings.domain}"
        )
    if source is None:
        require(not settings.attributes, f"--attributes: {whose} has no edits to measure by them; leave it out")
        nothing = f"{whose} draws no pictures of its own to compare with; leave it out"
        require(not settings.generator, f"--generator: {nothing}")
    if source is None or settings.photos or not settings.edit_limit:
        return {}
    return parse_changes(settings.changes, source.attributes)


def _directions(
    known: Domain, changes: Changes, methods: Sequence[MethodEntry]
) -> tuple[dict[str, Direction], dict[str, str]]:
    """By attribute, and what distinguishes them; ConfigError where one does not fit a generator."""
    directions, identities = {}, {}
    for name in changes:
        located = locate(name, known.name)
        directions[name], identities[name] = located.load(methods[0].inverter.generator), located.identity()
        kind = directions[name].kind
        require(kind == "add", f"direction {name!r} is of kind {kind!r}: its strength 0 is not no edit")
        for entry in methods:
            generator = entry.inverter.generator
            directions[name].shift(generator.latent_avg.expand(1, generator.config.latent_rows, -1), 1.0)
    return directions, identities


def _results_files(
    methods: Sequence[MethodEntry], shared: dict[str, Any], changes: Changes, identities: dict[str, str], out: Path
) -> tuple[dict[str, ResultsFile], dict[tuple[str, str], ResultsFile]]:
    folder = out / "results"
    inversions, edits = {}, {}
    for entry in methods:
        label, settings = entry.label, {**shared, **entry.identity()}
        inversions[label] = ResultsFile(folder, f"{label}-inversion", {"part": "inversion", **settings})
        for way in ("", *entry.inverter.variants()) if changes else ():
            asked = {"changes": {name: list(amounts) for name, amounts in changes.items()}, "directions": identities}
            name = f"{label}-{way or 'edit'}"
            edits[label, way] = ResultsFile(folder, name, {"part": "edit", "way": way, **asked, **settings})
    return inversions, edits


def _quality(
    settings: Settings, source: type[TruthSource], entry: MethodEntry, networks: MetricNetworks, out: Path
) -> dict[str, float | int] | str:
    """The generator's quality, from its results file if it was measured before; or what it needs."""
    if networks.attributes is None:
        return networks.lacking["attributes"]
    inverter, count = entry.inverter, settings.generator
    identity = {"generator": inverter.fingerprint, "attributes": networks.identity()["attributes"]}
    where: dict[str, Any] = {"pictures": settings.domain, "size": inverter.measured.input_size}
    where |= {"device": inverter.device.type, "seed": settings.seed}
    where |= {"noise": "random"}  # in the first version it was the same for all samples
    results = ResultsFile(out / "results", "generator", {"part": "generator", **identity, **where})
    if str(count) not in results:
        with contextlib.closing(ProgressBar(3 * -(-count // BATCH), "batch")) as progress:
            draw = count, settings.seed, progress.step
            features = networks.attributes.pooled
            found = generator_quality(inverter.generator, inverter.measured, features, source, *draw)
        results.add(str(count), found)
    return {**results[str(count)], "pictures": count}


def _own_codes(evaluation: Evaluation, out: Path) -> dict[str, dict[str, float]]:
    """By method, what the own codes of its generator have of `Nearness`; from a results file if measured before."""
    found = {}
    for entry in evaluation.methods:
        known = entry.inverter.fingerprint
        results = ResultsFile(out / "results", "own-codes", {"part": "own codes", "generator": known})
        if known not in results:
            results.add(known, evaluation.nearness(entry).of_own())
        found[entry.label] = results[known]
    return found


def _summarise(evaluation: Evaluation, keys: Sequence[str], edits_need: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(what `--json` writes, edits by the name of their rows in tables)."""
    results: dict[str, dict[str, Any]] = {}
    rows: dict[str, Any] = {}
    lacking = {name: cell for name, cell in evaluation.networks.lacking.items() if name != "attributes"}
    edited = [key for key in keys if key in evaluation.edited]
    first_label = evaluation.methods[0].label
    first_edits: list[dict[str, Any]] = []
    for entry in evaluation.methods:
        label = entry.label
        edits: dict[str, Any] = {}
        for (owner, way), file in evaluation.edits.items():
            if owner == label:
                lines = file.select(edited)
                found = summary.of_edits(lines, lacking, first_edits)
                first_edits = first_edits or lines
                rows[f"{label} ({way.replace('_', '-')})" if way else label] = found
                edits |= {way: found} if way else found
        first_lines = [] if label == first_label else evaluation.inversions[first_label].select(keys)
        inversions = summary.of_inversions(evaluation.inversions[label].select(keys), lacking, first_lines)
        results[label] = {**inversions, "edits": edits_need or edits}
    first = next(iter(results))
    several = [name for name in evaluation.sheet_changes if len(rows[first].get(name, ())) > 1]
    for label in list(results)[1:] if several else ():
        compared = {name: summary.better_up_to(rows[first][name], rows[label][name]) for name in several}
        results[label]["edits"][BETTER] = compared
    return results, rows


def _text(
    results: dict[str, Any],
    gains: dict[str, Any],
    edits: dict[str, Any],
    quality: dict[str, Any] | str | None,
    networks: MetricNetworks,
    attributes: Mapping[str, Attribute],
    edits_need: str,
    own: Mapping[str, Mapping[str, float]],
) -> str:
    by = [f"{role} {entry['network']}" for role, entry in networks.weights.items() if "sha256" in entry]
    first = next(iter(results))
    parts = [tables.inversion_table(results, gains), f"Metric networks: {', '.join(by) or 'none'}."]
    parts += [
        f"The generator's own codes have {own[first]['from_w']:.1f} (from W) and {own[first]['nscd']:.3f} (NSCD)."
    ]
    parts += [tables.INTERVALS, tables.interval_table(results)] if results[first]["images"] > 1 else []
    parts += [f"Edits: {edits_need}."] if edits_need else []
    parts += [tables.editing_table(edits), tables.changes_table(edits)] if edits else []
    parts += [tables.differences_table(edits, first)] if edits and len(edits) > 1 else []
    for label, numbers in results.items():
        for name, found in numbers["edits"].get(BETTER, {}).items() if edits else ():
            parts.append(tables.better_sentence(name, attributes[name].unit, label, first, found))
    if isinstance(quality, str):
        parts.append(f"Generator: {quality}.")
    elif quality is not None:
        parts.append(
            f"Generator: Fréchet distance {quality['frechet']:.3f} of {quality['pictures']} samples to as many "
            f"pictures that nothing was trained on; other such pictures have {quality['frechet_of_real']:.3f}."
        )
    return "\n\n".join(parts)


def _sheet(evaluation: Evaluation, size: int) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Photo, truth and every method's edit: a row for each picture on the sheet and each attribute."""
    ways = evaluation.edits
    labels = ["photo", "truth", *(f"{label}, {way}" if way else label for label, way in ways)]
    folder, rows = truths_folder(size), []
    for key in evaluation.on_sheet:
        for name, change in evaluation.sheet_changes.items():
            files = [evaluation.sheet_file(folder, key), evaluation.sheet_file(folder, key, name)]
            files += [evaluation.sheet_file(file.name, key, name) for file in ways.values()]
            rows.append((f"{key}, {name} moved by {label_of(change)}", files))
    return labels, rows
