"""The typed record of everything a portrait depends on: a batch of N portraits, one tensor a field.

Every field declares its group, unit, range and meaning once; checks, CSV columns and the flat vector of
:mod:`sdic.portraits.vector` are all derived from that declaration.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from sdic.errors import ConfigError, UnknownNameError

Group = Literal["attribute", "identity", "scene", "detail"]
Value = Tensor | float | int | Sequence[float]
Index = int | slice | Tensor | Sequence[int]

HAIR_STYLES = ("bald", "buzz", "short", "quiff", "fringe", "curly", "afro", "bob", "long", "wavy", "bun")
CLOTHES_STYLES = ("crew", "v-neck", "collar", "turtleneck")
GLASSES = ("none", "round", "square", "sunglasses")
HATS = ("none", "beanie", "cap", "brim")
EARRINGS = ("none", "stud", "hoop")
SCARS = ("none", "straight", "stitched")
PATTERNS = ("none", "stripes", "dots", "checks")
TEXTS = ("none", "HELLO", "TORCH", "LOVE", "OPEN", "2026", "PEACE", "MUSIC", "SMILE")


@dataclass(frozen=True)
class FieldSpec:
    """What one field of :class:`PortraitParams` means.

    ``width`` is 1 for a field of shape [N] and k for one of shape [N, k]. ``choices`` names the values of an integer
    (int64) field; without it the field is float32 within [low, high].
    """

    name: str
    group: Group
    low: float
    high: float
    default: float
    unit: str
    doc: str
    width: int = 1
    choices: tuple[str, ...] = ()

    @property
    def dtype(self) -> torch.dtype:
        return torch.int64 if self.choices else torch.float32

    def shape(self, count: int) -> tuple[int, ...]:
        return (count,) if self.width == 1 else (count, self.width)


def _field(group: Group, low: float, high: float, default: float, doc: str, unit: str = "relative", **more: Any) -> Any:
    return dataclasses.field(metadata={"spec": FieldSpec("", group, low, high, default, unit, doc, **more)})


def _color(group: Group, default: float, doc: str) -> Any:
    return _field(group, 0, 1, default, doc, "sRGB", width=3)


def _choice(group: Group, choices: tuple[str, ...], doc: str) -> Any:
    return _field(group, 0, len(choices) - 1, 0, doc, "index", choices=choices)


@dataclass(frozen=True)
class PortraitParams:
    """A batch of N portraits; all tensors share N and the device.

    Build one with :meth:`defaults` (an average face) or :func:`sdic.portraits.sample_params`. Index with an int, a
    slice, or a list or tensor of positions (a batch comes back); change with :meth:`replace`; join with :meth:`cat`.
    """

    # Attributes: what an edit moves.
    yaw: Tensor = _field("attribute", -60, 60, 0, "head turn; positive turns the nose to the picture's right", "deg")
    pitch: Tensor = _field("attribute", -25, 25, 0, "head nod; positive lifts the chin", "deg")
    roll: Tensor = _field("attribute", -20, 20, 0, "head tilt; positive is clockwise in the picture", "deg")
    smile: Tensor = _field("attribute", -1, 1, 0, "-1 frown, 0 neutral, about 0.3 lips part, 1 laugh")
    age: Tensor = _field("attribute", 6, 85, 30, "shape below 18, wrinkles and spots from 35, grey from 40", "years")

    # Identity: what makes a person.
    face_width: Tensor = _field("identity", -1, 1, 0, "narrow to wide head")
    face_length: Tensor = _field("identity", -1, 1, 0, "short to long lower face")
    jaw_width: Tensor = _field("identity", -1, 1, 0, "tapered to square jaw")
    chin: Tensor = _field("identity", -1, 1, 0, "receding to prominent chin")
    cheeks: Tensor = _field("identity", -1, 1, 0, "hollow to full cheeks")
    nose_width: Tensor = _field("identity", -1, 1, 0, "narrow to wide nose")
    nose_length: Tensor = _field("identity", -1, 1, 0, "short to long nose")
    nose_height: Tensor = _field("identity", -1, 1, 0, "flat to projecting nose")
    mouth_width: Tensor = _field("identity", -1, 1, 0, "narrow to wide mouth")
    lips: Tensor = _field("identity", -1, 1, 0, "thin to full lips")
    lip_tint: Tensor = _field("identity", 0, 1, 0, "natural to red lips")
    eye_size: Tensor = _field("identity", -1, 1, 0, "small to large eyes")
    eye_spacing: Tensor = _field("identity", -1, 1, 0, "close to wide-set eyes")
    eye_tilt: Tensor = _field("identity", -1, 1, 0, "outer corners low to high")
    lashes: Tensor = _field("identity", 0, 1, 0.3, "faint to strong lash line")
    eye_color: Tensor = _color("identity", 0.35, "iris")
    brow_thickness: Tensor = _field("identity", -1, 1, 0, "thin to bushy brows")
    brow_height: Tensor = _field("identity", -1, 1, 0, "low to high brows")
    brow_arch: Tensor = _field("identity", -1, 1, 0, "flat to arched brows")
    ear_size: Tensor = _field("identity", -1, 1, 0, "small to large ears")
    neck_width: Tensor = _field("identity", -1, 1, 0, "slim to strong neck and shoulders")
    skin_tone: Tensor = _field("identity", 0, 1, 0.35, "light to dark skin")
    skin_warmth: Tensor = _field("identity", -1, 1, 0, "rosy to olive undertone")
    freckles: Tensor = _field("identity", 0, 1, 0, "none to many freckles")
    hair_style: Tensor = _choice("identity", HAIR_STYLES, "cut")
    hair_color: Tensor = _color("identity", 0.25, "hair before greying, also brows and beard")
    hair_volume: Tensor = _field("identity", -1, 1, 0, "flat to voluminous hair")
    hair_line: Tensor = _field("identity", -1, 1, 0, "low to high forehead (or length of a fringe)")
    hair_part: Tensor = _field("identity", -1, 1, 0, "parting on the picture's left to right")
    hair_phase: Tensor = _field("identity", -1, 1, 0, "which strands and curls fall where")
    balding: Tensor = _field("identity", 0, 1, 0, "how far the hairline recedes with age")
    beard: Tensor = _field("identity", 0, 1, 0, "shaved, stubble, full beard (grows from age 16 to 22)")
    moustache: Tensor = _field("identity", 0, 1, 0, "none to full moustache (grows from age 16 to 22)")

    # Scene: light, background and clothes, all that is neither the person nor an edit.
    light_azimuth: Tensor = _field("scene", -75, 75, -30, "key light; positive from the picture's right", "deg")
    light_elevation: Tensor = _field("scene", -5, 65, 35, "key light above the horizon", "deg")
    light_intensity: Tensor = _field("scene", 0.4, 1.6, 1, "key light over its usual strength", "ratio")
    light_warmth: Tensor = _field("scene", -1, 1, 0, "blue to orange key light")
    light_fill: Tensor = _field("scene", 0.3, 1.5, 1, "ambient light over its usual strength", "ratio")
    background_top: Tensor = _color("scene", 0.55, "upper background")
    background_bottom: Tensor = _color("scene", 0.75, "lower background")
    clothes_style: Tensor = _choice("scene", CLOTHES_STYLES, "neckline")
    clothes_color: Tensor = _color("scene", 0.4, "shirt")

    # Details: outside the generator's domain, all off by default.
    glasses: Tensor = _choice("detail", GLASSES, "glasses")
    glasses_color: Tensor = _color("detail", 0, "frame")
    hat: Tensor = _choice("detail", HATS, "hat")
    hat_color: Tensor = _color("detail", 0, "hat")
    hat_trim_color: Tensor = _color("detail", 0, "bands and button of the hat")
    earrings: Tensor = _choice("detail", EARRINGS, "earrings")
    earrings_color: Tensor = _color("detail", 0, "earrings")
    moles: Tensor = _field("detail", 0, 3, 0, "how many of the three moles show", "count")
    mole_places: Tensor = _field(
        "detail", -1, 1, 0, "x, y of three moles on the face (-1..1 spans cheek to cheek, chin to forehead)", width=6
    )
    scar: Tensor = _choice("detail", SCARS, "scar")
    scar_place: Tensor = _field("detail", -1, 1, 0, "x, y as for moles, and angle in half turns", width=3)
    clothes_pattern: Tensor = _choice("detail", PATTERNS, "pattern on the shirt")
    clothes_pattern_color: Tensor = _color("detail", 0, "second colour of the shirt")
    clothes_text: Tensor = _choice("detail", TEXTS, "word on the shirt")
    background_pattern: Tensor = _choice("detail", PATTERNS, "pattern behind the head")
    background_pattern_color: Tensor = _color("detail", 0, "second colour of the background")
    background_text: Tensor = _choice("detail", TEXTS, "word above the shoulders, behind the head")
    text_color: Tensor = _color("detail", 0, "both texts")

    def __post_init__(self) -> None:
        yaw = self.yaw
        if not isinstance(yaw, Tensor) or yaw.dim() != 1:
            raise ConfigError(
                "yaw must be a tensor of shape [N]; for single numbers use PortraitParams.defaults(1, yaw=...)"
            )
        for spec in SPECS:
            value = getattr(self, spec.name)
            if not isinstance(value, Tensor) or tuple(value.shape) != spec.shape(len(yaw)):
                found = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise ConfigError(f"{spec.name} must be a tensor of shape {list(spec.shape(len(yaw)))}, not {found}")
            if value.device != yaw.device:
                raise ConfigError(f"{spec.name} is on {value.device} but yaw is on {yaw.device}")

    @classmethod
    def defaults(cls, count: int = 1, device: torch.device | str = "cpu", **values: Value) -> PortraitParams:
        """`count` average faces without details; `values` are set as by :meth:`replace`."""
        if count < 1:
            raise ConfigError(f"a batch holds at least one portrait, not {count}")
        fields = {s.name: torch.full(s.shape(count), s.default, dtype=s.dtype, device=device) for s in SPECS}
        return cls(**fields).replace(**values)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Tensor]) -> PortraitParams:
        """The record with exactly these fields; the inverse of :meth:`as_dict`."""
        for name in values:
            field_spec(name)
        missing = [s.name for s in SPECS if s.name not in values]
        if missing:
            raise ConfigError(f"missing portrait parameters: {', '.join(missing)}")
        return cls(**{s.name: values[s.name].to(s.dtype) for s in SPECS})

    @classmethod
    def cat(cls, parts: Sequence[PortraitParams]) -> PortraitParams:
        """One batch of all the portraits of `parts`, in order."""
        if not parts:
            raise ConfigError("nothing to join: an empty sequence of portrait parameters")
        return cls(**{s.name: torch.cat([getattr(p, s.name) for p in parts]) for s in SPECS})

    def as_dict(self) -> dict[str, Tensor]:
        """The fields by name, in declaration order (the tensors are shared, not copied)."""
        return {s.name: getattr(self, s.name) for s in SPECS}

    def __len__(self) -> int:
        return int(self.yaw.shape[0])

    def __iter__(self) -> Iterator[PortraitParams]:
        return (self[i] for i in range(len(self)))

    @property
    def device(self) -> torch.device:
        return self.yaw.device

    def __getitem__(self, index: Index) -> PortraitParams:
        if isinstance(index, int):
            if not -len(self) <= index < len(self):
                raise IndexError(f"portrait {index} of a batch of {len(self)}")
            index = slice(index % len(self), index % len(self) + 1)
        elif not isinstance(index, slice):
            index = torch.as_tensor(index, device=self.device)
        return type(self)(**{name: value[index] for name, value in self.as_dict().items()})

    def repeat(self, count: int) -> PortraitParams:
        """Each portrait `count` times in a row ([a, b] -> [a, a, b, b])."""
        return self[torch.arange(len(self), device=self.device).repeat_interleave(count)]

    def to(self, device: torch.device | str) -> PortraitParams:
        """The same batch on another device."""
        return type(self)(**{name: value.to(device) for name, value in self.as_dict().items()})

    def replace(self, **values: Value) -> PortraitParams:
        """The same portraits with some fields changed.

        A number (or one row of a [N, k] field) is used for the whole batch; a tensor may have the full shape. Raises
        UnknownNameError for a misspelt field and ConfigError for a value out of range or of the wrong shape.
        """
        changed: dict[str, Tensor] = {}
        for name, value in values.items():
            spec = field_spec(name)
            tensor = torch.as_tensor(value, dtype=spec.dtype, device=self.device)
            try:
                tensor = tensor.expand(spec.shape(len(self)))
            except RuntimeError:
                raise ConfigError(
                    f"{name} must have shape {list(spec.shape(len(self)))}, not {list(tensor.shape)}"
                ) from None
            # `not (inside)` rather than `outside`, so that NaN is refused too.
            if not bool(((tensor >= spec.low) & (tensor <= spec.high)).all()):
                raise ConfigError(f"{name} must lie in [{spec.low:g}, {spec.high:g}] ({spec.unit}: {spec.doc})")
            changed[name] = tensor.contiguous()
        return replace(self, **changed)

    def without_details(self) -> PortraitParams:
        """The same portraits with every detail switched off."""
        return self.replace(**{s.name: s.default for s in specs_of("detail")})

    def has_details(self) -> Tensor:
        """Boolean [N]: whether any detail shows."""
        return torch.stack([getattr(self, name) > 0 for name in DETAIL_SWITCHES]).any(0)


SPECS = tuple(replace(field.metadata["spec"], name=field.name) for field in dataclasses.fields(PortraitParams))
"""In declaration order."""
_SPEC_BY_NAME = {spec.name: spec for spec in SPECS}


def field_spec(name: str) -> FieldSpec:
    """What the field `name` means; UnknownNameError (with a suggestion) when there is none."""
    try:
        return _SPEC_BY_NAME[name]
    except KeyError:
        raise UnknownNameError("portrait parameter", name, _SPEC_BY_NAME) from None


def specs_of(*groups: Group) -> tuple[FieldSpec, ...]:
    """The fields of the given groups, in declaration order."""
    return tuple(spec for spec in SPECS if spec.group in groups)


DETAIL_SWITCHES = tuple(spec.name for spec in specs_of("detail") if spec.choices or spec.name == "moles")
"""The details that are there or not (0 is not), in declaration order; the rest says where and in which colour."""
