"""A Hydra configuration → plain values, or one line that says what it lacks."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

CONF = Path(__file__).resolve().parents[1] / "conf"


@contextmanager
def config_errors() -> Iterator[None]:
    """While a configuration is read, what it lacks or cannot refer to is a ``ValueError``."""
    try:
        yield
    except OmegaConfBaseException as error:
        raise ValueError(" ".join(str(error).split())) from None


def plain_values(config: DictConfig, hints: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The configuration as plain data, in which nothing is missing and every reference is resolved.

    Args:
        hints: what to give for a setting that is missing, by its name; by itself ``NAME=…``.

    Raises:
        ValueError: a setting is missing, or refers to what is not there; the message names it.
    """
    with config_errors():
        for name in sorted(OmegaConf.missing_keys(config)):
            raise ValueError(f"{name} is missing; give {(hints or {}).get(name, f'{name}=…')}")
        found: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    return found


def check_whole(plain: Mapping[str, Any], entry: str) -> None:
    """Refuse a configuration that lacks a part of ``conf/<entry>.yaml``: ``~NAME`` takes one out.

    Raises:
        ValueError: it does; the message names the part.
    """
    written = as_written(entry)
    chosen = [
        name for default in written["defaults"] if isinstance(default, dict) for name in default
    ]
    groups = {name for name in chosen if (CONF / name).is_dir()}
    for name in sorted(groups | settings_in(written)):
        if name not in plain:
            given = f"give {name}=… with one of {options_of(name)}"
            raise ValueError(
                f"{name} is missing; {given if name in groups else f'leave ~{name} out'}"
            )
        is_section = name in groups or isinstance(written[name], dict)
        if is_section and not isinstance(plain[name], dict):
            raise ValueError(
                f"{name} must be settings, as in conf/{entry}.yaml, but got {plain[name]!r:.80}"
            )


def as_written(entry: str) -> dict[str, Any]:
    """``conf/<entry>.yaml`` as it is, without its groups."""
    written: dict[str, Any] = yaml.safe_load((CONF / f"{entry}.yaml").read_text())
    return written


def settings_in(written: Mapping[str, Any]) -> set[str]:
    """The names of a file's settings, without what is Hydra's."""
    return written.keys() - {"defaults", "hydra"}


def options_of(group: str) -> str:
    """The files of a group of ``conf``, to show; a folder of one's own may have more."""
    return ", ".join(sorted(path.stem for path in (CONF / group).glob("*.yaml")))
