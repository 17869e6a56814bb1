"""Reads seed files: a network, its source, its published figures and its width rule."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from search_spaces.architecture import Architecture
from search_spaces.scaling import (
    LastRule,
    SqueezeRule,
    WidthRule,
    check_width,
    scale_width,
)
from search_spaces.yaml_io import architecture_from_dict, check_keys, load_mapping, read_text

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFigures:
    """What a source says of a seed at 224×224.

    Attributes:
        width: the width multiplier the figures are of.
        params: exact, counted on a public implementation, or ``None``.
        params_millions: as the paper prints it, or ``None``.
        madds_millions: fused multiply-adds, or ``None``.
        source: where the figures stand.
        note: why our count differs, where it does.
    """

    source: str
    width: float = 1.0
    params: int | None = None
    params_millions: float | None = None
    madds_millions: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A seed file. ``other_widths`` names the seeds that are its published width multiples."""

    architecture: Architecture
    source: str
    published: tuple[PublishedFigures, ...]
    width_rule: WidthRule
    other_widths: Mapping[float, str]


def seed_names() -> tuple[str, ...]:
    """The names of all seeds, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


@cache
def read_seed(name: str) -> Seed:
    """The seed called ``name``.

    Raises:
        ValueError: there is no such seed; the message lists near names and all names.
    """
    names = seed_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
        hint = f"; did you mean {' or '.join(near)}?" if near else "."
        raise ValueError(f"there is no seed {name!r}{hint} Seeds: {', '.join(names)}")
    return _parse_seed(load_mapping(read_text(_FOLDER / f"{name}.yaml")))


def load_seed(name: str, width: float = 1.0, resolution: int | None = None) -> Architecture:
    """A seed network, scaled.

    Args:
        name: one of ``seed_names()``.
        width: the width multiplier α. ShuffleNets take their own published channels at their
            published widths; everything else is rounded as the family's implementations do.
        resolution: image height and width in pixels (ρ × 224); by default the seed's own.

    Raises:
        ValueError: an unknown name, or a width or resolution out of range.
    """
    seed = read_seed(name)
    width = check_width(width)
    if width in seed.other_widths:
        architecture = read_seed(seed.other_widths[width]).architecture
    else:
        architecture = scale_width(seed.architecture, width, seed.width_rule)
    return architecture if resolution is None else architecture.with_resolution(resolution)


def _parse_seed(data: dict[str, Any]) -> Seed:
    check_keys(
        "the seed",
        data,
        {"architecture", "source"},
        {"architecture", "source", "published", "width_rule", "other_widths"},
    )
    figure_keys = {field.name for field in fields(PublishedFigures)}
    rule = check_keys(
        "width_rule", data.get("width_rule", {}), set(), {f.name for f in fields(WidthRule)}
    )
    default = WidthRule()
    return Seed(
        architecture=architecture_from_dict(data["architecture"]),
        source=data["source"],
        published=tuple(
            PublishedFigures(**check_keys("published", entry, {"source"}, figure_keys))
            for entry in data.get("published", [])
        ),
        width_rule=WidthRule(
            divisor=rule.get("divisor", default.divisor),
            squeeze=SqueezeRule(rule.get("squeeze", default.squeeze)),
            last_layer=LastRule(rule.get("last_layer", default.last_layer)),
        ),
        other_widths={float(k): v for k, v in data.get("other_widths", {}).items()},
    )
