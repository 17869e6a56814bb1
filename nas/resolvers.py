"""What configurations may say beside OmegaConf's own interpolations."""

from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf

_DIGITS = "nas.data.digits.digits_data"


def register_resolvers() -> None:
    """Make them known.

    - ``${joined:${target_latency}}``: ``8ms_15ms`` of a list, and a single value as it is;
    - ``${last_part:${from},${seed}}``: of the first that is there, the last part of the path,
      without ``.yaml``;
    - ``${on_digits:3,5}``: the first on the embedded data, the second on any other.
    """
    OmegaConf.register_new_resolver("joined", _joined, replace=True)
    OmegaConf.register_new_resolver("last_part", _last_part, replace=True)
    OmegaConf.register_new_resolver("on_digits", _on_digits, replace=True)


def _last_part(*paths: object) -> str:
    given = next((str(path) for path in paths if path is not None), "")
    return given.rstrip("/").rpartition("/")[2].removesuffix(".yaml").removesuffix(".yml")


def _on_digits(there: object, elsewhere: object, *, _root_: DictConfig) -> object:
    return there if OmegaConf.select(_root_, "data._target_") == _DIGITS else elsewhere


def _joined(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "_".join(str(each).strip() for each in value)
    return str(value)
