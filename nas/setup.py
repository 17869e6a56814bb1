"""Configuration → the objects and plain values of a search. No DictConfig goes past this."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from latency.devices import Device
from latency.plan import MeasureSettings
from nas.data import ImageData
from nas.evaluators import Evaluator
from nas.reward import Reward
from nas.settings import SearchSettings
from nas.units import parse_latency_ms
from search_spaces.spaces import SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """All that a search is made of.

    ``make_sampler`` is given the number of trials so far; ``config`` is what the run folder keeps.
    """

    settings: SearchSettings
    space: SearchSpace
    data: ImageData
    evaluator: Evaluator
    reward: Reward
    device: Device
    make_sampler: Callable[[int], optuna.samplers.BaseSampler]
    folder: Path
    config: dict[str, Any]
    command: str


def build_search(config: DictConfig, *, command: str) -> Search:
    """Build everything that ``conf/search.yaml`` describes.

    Raises:
        ValueError: a value is out of range or of the wrong type; the message names it.
    """
    try:
        plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        raise ValueError(" ".join(str(error).split())) from None
    device: Device = _build("device", config.device)
    settings = _settings(config, plain, device)

    def make_sampler(trials_so_far: int) -> optuna.samplers.BaseSampler:
        seed = settings.seed + trials_so_far
        sampler: optuna.samplers.BaseSampler = _build("sampler", config.sampler, seed=seed)
        return sampler

    make_sampler(0)  # a setting that it does not have shows before anything is measured
    data: ImageData = _build("data", config.data)
    return Search(
        settings=settings,
        space=_build(
            "space", config.space, resolution=settings.resolution, num_classes=data.num_classes
        ),
        data=data,
        evaluator=_build("evaluator", config.evaluator, data=data.for_search(), seed=settings.seed),
        reward=_build("reward", config.reward),
        device=device,
        make_sampler=make_sampler,
        folder=Path(str(plain["runs"])) / settings.name,
        config=plain,
        command=command,
    )


def _settings(config: DictConfig, plain: dict[str, Any], device: Device) -> SearchSettings:
    target_ms = parse_latency_ms(plain["target_latency"])
    name = str(plain["name"])
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise ValueError(
            f"name must be letters, digits, '.', '_', '+' and '-' (it names a folder), but got "
            f"{name!r}"
        )
    measure: MeasureSettings = _build("measure", config.measure)
    # A table holds for one device, precision, number of threads and batch: one file each.
    kind = f"{device.name}-{measure.precision}-t{measure.threads}-b{measure.batch}"
    table = plain["table"] or f"tables/{kind}.jsonl"
    return SearchSettings(
        name=name,
        target_ms=target_ms,
        resolution=plain["resolution"],
        proxy_resolution=plain["proxy_resolution"],
        trials=plain["trials"],
        finalists=plain["finalists"],
        seed=plain["seed"],
        table=Path(str(table)),
        measure=measure,
        final=_build("final", config.final),
    )


def _build(field: str, node: DictConfig, **arguments: Any) -> Any:
    """Instantiate what ``node._target_`` names; its ``ValueError`` comes out as it is."""
    try:
        # Given to Hydra, dataclass arguments would be turned into configurations.
        return instantiate(node, _partial_=True)(**arguments)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, ValueError):
            raise ValueError(f"{field}: {cause}") from cause
        raise ValueError(f"{field} cannot be built: {' '.join(str(error).split())}") from error
    except (ValueError, TypeError) as error:
        raise ValueError(f"{field}: {error}") from error
