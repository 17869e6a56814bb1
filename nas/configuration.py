"""A Hydra configuration → plain values, or one line that says what it lacks."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException


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
