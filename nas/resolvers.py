"""What configurations may say beside OmegaConf's own interpolations."""

from collections.abc import Sequence

from omegaconf import OmegaConf


def register_resolvers() -> None:
    """``${joined:${target_latency}}``: ``8ms_15ms`` of a list, and a single value as it is."""
    OmegaConf.register_new_resolver("joined", _joined, replace=True)


def _joined(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "_".join(str(each).strip() for each in value)
    return str(value)
