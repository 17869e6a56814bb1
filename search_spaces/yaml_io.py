"""Architecture ↔ YAML. Strict: a schema version; no unknown or duplicate keys, aliases or tags."""

import re
from collections.abc import Hashable, Mapping
from dataclasses import MISSING, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args

import yaml

from search_spaces.architecture import Architecture
from search_spaces.blocks import Activation, Block, PoolKind, Skip, SqueezeExcite

SCHEMA_VERSION = 1
MAX_YAML_BYTES = 1_000_000


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


BLOCK_TYPES: dict[str, type[Block]] = {_snake_case(t.__name__): t for t in get_args(Block)}

_ENUM_FIELDS: dict[str, type[StrEnum]] = {
    "activation": Activation,
    "output_activation": Activation,
    "hidden_activation": Activation,
    "gate": Activation,
    "skip": Skip,
    "kind": PoolKind,
}


class _StrictLoader(yaml.SafeLoader):
    """Plain data only; a duplicate key, an alias or an explicit tag is an error."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise ValueError("aliases are not allowed")
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            raise ValueError(f"the tag {event.tag!r} is not allowed{_mark(event)}")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise ValueError(f"keys must be strings, but got {key!r}{_mark(key_node)}")
            if key in seen:
                raise ValueError(f"the key {key!r} stands twice{_mark(key_node)}")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _mark(located: Any) -> str:
    mark = getattr(located, "start_mark", None)
    return f" (line {mark.line + 1})" if mark is not None else ""


def read_text(path: Path) -> str:
    """The text of a description file; ``ValueError`` if it is too large or not UTF-8."""
    with path.open("rb") as file:
        data = file.read(MAX_YAML_BYTES + 1)
    if len(data) > MAX_YAML_BYTES:
        raise ValueError(f"{path} is larger than {MAX_YAML_BYTES} bytes; that is no description")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from None


def load_mapping(text: str) -> dict[str, Any]:
    """Parse YAML text into a mapping of plain data.

    Raises:
        ValueError: not YAML, not a mapping, duplicate keys, aliases, tags, or nested too deeply.
    """
    if len(text) > MAX_YAML_BYTES:
        raise ValueError(f"the YAML text is longer than {MAX_YAML_BYTES} characters")
    try:
        data = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader subclass
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise ValueError(f"not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ValueError("not valid YAML: nested too deeply") from None
    if not isinstance(data, dict):
        raise ValueError(f"expected a mapping at the top level, but got {type(data).__name__}")
    return data


def check_keys(where: str, data: object, required: set[str], allowed: set[str]) -> dict[str, Any]:
    """``data`` as a mapping with all of ``required`` and nothing outside ``allowed``."""
    if not isinstance(data, dict):
        raise ValueError(f"{where} must be a mapping, but got {data!r:.80}")
    unknown = sorted(map(str, data.keys() - allowed))
    if unknown:
        raise ValueError(
            f"{where} has the unknown key {unknown[0]!r}; allowed: {', '.join(sorted(allowed))}"
        )
    missing = sorted(required - data.keys())
    if missing:
        raise ValueError(f"{where} lacks the key {missing[0]!r}")
    return data


def architecture_from_yaml(text: str) -> Architecture:
    """Read a network from YAML text; ``ValueError`` says what is wrong and where."""
    return architecture_from_dict(load_mapping(text))


def architecture_from_dict(data: object) -> Architecture:
    """A network from the plain data of its YAML; ``ValueError`` says what is wrong and where."""
    allowed = {field.name for field in fields(Architecture)} | {"schema"}
    mapping = check_keys("the architecture", data, {"schema", "name", "blocks"}, allowed)
    if type(mapping["schema"]) is not int or mapping["schema"] != SCHEMA_VERSION:
        raise ValueError(
            f"schema must be {SCHEMA_VERSION}, but got {mapping['schema']!r}; "
            "this file is from another version of chronas"
        )
    if not isinstance(mapping["blocks"], list):
        raise ValueError(f"blocks must be a list, but got {mapping['blocks']!r:.80}")
    values = {key: value for key, value in mapping.items() if key != "schema"}
    values["blocks"] = tuple(
        _block_from_dict(f"blocks[{index}]", block) for index, block in enumerate(mapping["blocks"])
    )
    return Architecture(**values)


def _block_from_dict(where: str, data: object) -> Block:
    if not isinstance(data, dict) or not isinstance(data.get("type"), str):
        raise ValueError(f"{where} must be a mapping with a 'type', but got {data!r:.80}")
    block_type = BLOCK_TYPES.get(data["type"])
    if block_type is None:
        raise ValueError(
            f"{where}.type must be one of {', '.join(sorted(BLOCK_TYPES))}, but got "
            f"{data['type']!r}"
        )
    values = {key: value for key, value in data.items() if key != "type"}
    block: Block = _dataclass_from_dict(where, block_type, values)
    return block


def _dataclass_from_dict(where: str, cls: type[Any], data: object) -> Any:
    required = {f.name for f in fields(cls) if f.default is MISSING}
    values = dict(check_keys(where, data, required, {f.name for f in fields(cls)}))
    for key, enum in _ENUM_FIELDS.items():
        if key in values:
            values[key] = _enum_value(f"{where}.{key}", enum, values[key])
    if values.get("squeeze_excite") is not None:
        values["squeeze_excite"] = _dataclass_from_dict(
            f"{where}.squeeze_excite", SqueezeExcite, values["squeeze_excite"]
        )
    try:
        return cls(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _enum_value(where: str, enum: type[StrEnum], value: object) -> StrEnum:
    if not isinstance(value, str) or value not in set(enum):
        raise ValueError(f"{where} must be one of {', '.join(enum)}, but got {value!r:.80}")
    return enum(value)


def architecture_to_yaml(architecture: Architecture) -> str:
    """YAML text that ``architecture_from_yaml`` reads back to an equal network."""
    return _to_text(architecture_to_dict(architecture))


def architecture_to_dict(architecture: Architecture) -> dict[str, Any]:
    """The plain data of a network's YAML. A block's fields that have their default are left out."""
    return {
        "schema": SCHEMA_VERSION,
        "name": architecture.name,
        "resolution": architecture.resolution,
        "image_channels": architecture.image_channels,
        "norm_epsilon": architecture.norm_epsilon,
        "blocks": [
            {"type": _snake_case(type(block).__name__)} | _dataclass_to_dict(block)
            for block in architecture.blocks
        ],
    }


def _dataclass_to_dict(value: Any) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for field in fields(value):
        item = getattr(value, field.name)
        if item == field.default:
            continue
        if isinstance(item, SqueezeExcite):
            item = _dataclass_to_dict(item)
        data[field.name] = str(item) if isinstance(item, StrEnum) else item
    return data


def _flow(value: object) -> str:
    """A value on one line, as YAML flow style."""
    text: str = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, width=float("inf"), allow_unicode=True
    )
    return text.removesuffix("\n").removesuffix("\n...")


def _to_text(data: Mapping[str, Any]) -> str:
    lines = [f"{key}: {_flow(value)}" for key, value in data.items() if key != "blocks"]
    lines.append("blocks:")
    lines.extend(f"  - {_flow(block)}" for block in data["blocks"])
    return "\n".join(lines) + "\n"
