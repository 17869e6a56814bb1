"""Configuration → the objects and plain values of a run. No DictConfig goes past this."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, open_dict

from latency.devices import Device
from nas.configuration import check_whole, config_errors, plain_values
from nas.data import ImageData
from nas.earlier_run import EarlierRun
from nas.executors import Executor
from nas.setup import build, check_run_name, table_path
from nas.training.peer_weights import Library
from nas.training.released import WeightsSource
from netadapt.changes import ProposalKind
from netadapt.proposals import ProposalSettings
from netadapt.settings import NetAdaptSettings
from netadapt.tuning import Tuning
from netadapt.weight_transfer import Keep
from search_spaces import Architecture, load_seed, seed_names

_SEED_RESOLUTION = 224


@dataclass(frozen=True, slots=True, kw_only=True)
class NetAdaptRun:
    """All that a run is made of.

    Attributes:
        seed: the network to begin with, for the data's classes.
        weights: the file of its ``state_dict``, ours or another library's; ``None``: it is trained
            first.
        config: what the run folder keeps.
    """

    settings: NetAdaptSettings
    seed: Architecture
    weights: WeightsSource | None
    data: ImageData
    tuning: Tuning
    device: Device
    executor: Executor
    folder: Path
    config: dict[str, Any]
    command: str


def build_run(config: DictConfig, *, command: str) -> NetAdaptRun:
    """Build everything that ``conf/netadapt.yaml`` describes.

    Raises:
        ValueError: a value is out of range or of the wrong type; the message names it.
    """
    with config_errors():
        config = _with_random_seed(config)
    plain = plain_values(config)
    check_whole(plain, "netadapt")
    device: Device = build("device", config.device)
    settings = _settings(config, plain, device)
    data: ImageData = build("data", config.data)
    seed, weights = _start(plain, data, settings.resolution)
    earlier = None if weights is None else EarlierRun.of(weights.path)
    if earlier is not None:
        earlier.check_parts(plain["data"], data)
    knows_all = earlier is not None and earlier.has_seen(plain["data"])
    return NetAdaptRun(
        settings=settings,
        seed=seed,
        weights=weights,
        data=data,
        tuning=Tuning(
            data=json.dumps(plain["data"]),
            share=None if knows_all else settings.proposal_share,
            steps=settings.steps,
            train=settings.tune,
            resolution=settings.proxy_resolution,
            keep=settings.keep,
            seed=settings.random_seed,
        ),
        device=device,
        executor=build("executor", config.executor),
        folder=Path(str(plain["runs"])) / settings.name,
        config=plain,
        command=command,
    )


def _with_random_seed(config: DictConfig) -> DictConfig:
    """On the command line ``seed`` is a network; to data and whatever else asks it is a number."""
    changed = config.copy()
    with open_dict(changed):
        changed.name, changed.network = config.name, config.seed
        changed.seed = config.random_seed
    return changed


def _settings(config: DictConfig, plain: dict[str, Any], device: Device) -> NetAdaptSettings:
    check_run_name("name", str(plain["name"]))
    measure = build("measure", config.measure)
    return NetAdaptSettings(
        name=str(plain["name"]),
        target=str(plain["target_latency"]),
        delta=plain["delta"],
        decay=plain["decay"],
        proposals=ProposalSettings(
            kinds=_kinds(plain["kinds"]),
            divisor=plain["divisor"],
        ),
        keep=_one_of("keep", plain["keep"], Keep),
        steps=plain["steps"],
        tune=build("tune", config.tune),
        pretrain=build("pretrain", config.pretrain),
        final=build("final", config.final),
        proposal_share=plain["proposal_share"],
        resolution=plain["resolution"],
        proxy_resolution=plain["proxy_resolution"],
        random_seed=plain["random_seed"],
        table=table_path(plain["table"], device, measure),
        measure=measure,
    )


def _kinds(given: object) -> tuple[ProposalKind, ...]:
    if not isinstance(given, list):
        raise ValueError(
            f"kinds must be a list of {', '.join(ProposalKind)}, such as kinds=[expansion], but "
            f"got {given!r:.80}"
        )
    return tuple(_one_of("kinds", kind, ProposalKind) for kind in given)


def _one_of(field: str, value: object, kind: Any) -> Any:
    if value not in tuple(kind):
        raise ValueError(f"{field} must be among {', '.join(kind)}, but got {value!r:.80}")
    return kind(value)


def _start(
    plain: dict[str, Any], data: ImageData, resolution: int | None
) -> tuple[Architecture, WeightsSource | None]:
    """The seed, for the data's classes and at the deployed image size, and its weights."""
    given = plain["weights"]
    weights = None if given is None else WeightsSource.parse(str(given))
    if plain["from"] is not None:
        folder = Path(str(plain["from"]))
        if not (folder / "best.pt").exists():
            raise ValueError(
                f"from={folder} holds no best.yaml and best.pt of a finished search; give the "
                "folder of a run, such as from=runs/mobilenet_v3_15ms"
            )
        winner = _read(folder / "best.yaml", data, resolution)
        return winner, weights or WeightsSource(path=folder / "best.pt", library=Library.OURS)
    seed = str(plain["network"])
    if seed.endswith((".yaml", ".yml")):
        return _read(Path(seed), data, resolution), weights
    if seed not in seed_names():
        raise ValueError(
            f"seed must be a file.yaml or one of {', '.join(seed_names())}, but got {seed!r:.80}"
        )
    size = _SEED_RESOLUTION if resolution is None else resolution
    return load_seed(seed, resolution=size).with_num_classes(data.num_classes), weights


def _read(path: Path, data: ImageData, resolution: int | None) -> Architecture:
    try:
        network = Architecture.from_yaml(path.read_text())
    except OSError as error:
        raise ValueError(f"the network {path} cannot be read: {error.strerror}") from None
    if network.num_classes != data.num_classes:
        raise ValueError(
            f"{path} is a network of {network.num_classes} classes, but {data.name} has "
            f"{data.num_classes}"
        )
    return network if resolution is None else network.with_resolution(resolution)
