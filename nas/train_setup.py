"""Configuration → the objects and plain values of a training. No DictConfig goes past this."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from latency.devices import Device
from latency.plan import MeasureSettings
from nas.checks import check_range
from nas.configuration import check_whole, plain_values
from nas.data import ImageData
from nas.earlier_run import EarlierRun
from nas.settings import for_networks
from nas.setup import build, check_run_name
from nas.training import TrainSettings
from nas.training.devices import accelerator_of
from nas.training.full import FullTraining, Keep
from nas.training.released import WeightsSource
from nas.training.settings import Accelerator
from nas.units import parse_latency_ms
from search_spaces import Architecture, load_seed, seed_names

_SEED_RESOLUTION = 224
_BEST, _WEIGHTS = "best.yaml", "best.pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRun:
    """All that a training is made of.

    Attributes:
        architecture: the network, for the data's classes and at the image size.
        weights: a file of its ``state_dict``, ours or another library's; ``None``: random ones.
        training: how, without the processes that train together, which are started later.
        devices: how many those are.
        timed: whether ``best.onnx`` is measured on ``device``.
        target_ms: what it must meet there, where something was asked for.
        config: what the run folder keeps.
        notes: what a person should know of it, a line each.
    """

    name: str
    architecture: Architecture
    weights: WeightsSource | None
    data: ImageData
    training: FullTraining
    devices: int
    device: Device
    timed: bool
    target_ms: float | None
    measure: MeasureSettings
    folder: Path
    config: dict[str, Any]
    command: str
    notes: tuple[str, ...] = ()


def build_training(config: DictConfig, *, command: str) -> TrainRun:
    """Build everything that ``conf/train.yaml`` describes.

    Raises:
        ValueError: a value is out of range or of the wrong type; the message names it.
    """
    plain = plain_values(config)
    check_whole(plain, "train")
    _check_plain(plain)
    check_run_name("name", name := str(plain["name"]))
    settings = _settings(config, plain)
    devices = _devices(plain["devices"], settings)
    device: Device = build("device", config.device)
    data: ImageData = build("data", config.data)
    architecture, weights = _start(plain, data)
    measure = for_networks(build("measure", config.measure))
    target_ms, notes = _target_ms(plain, measure)
    return TrainRun(
        name=name,
        architecture=architecture,
        weights=weights,
        data=data,
        training=FullTraining(
            settings=settings,
            keep=_keep(plain["keep"]),
            validates=True,
            seed=plain["seed"],
            checkpoint_s=plain["checkpoint_s"],
            tensorboard=plain["tensorboard"],
        ),
        devices=devices,
        device=device,
        timed=plain["timed"],
        target_ms=target_ms,
        measure=measure,
        folder=Path(str(plain["runs"])) / name,
        config=plain,
        command=command,
        notes=notes,
    )


def _check_start(plain: dict[str, Any]) -> None:
    if (plain["arch"] is None) == (plain["from"] is None):
        both = "both are given" if plain["arch"] is not None else "neither is given"
        raise ValueError(
            "give arch=… (a seed such as mobilenet_v3_small, a file.yaml, or the folder of a run), "
            f"or from=runs/NAME for its network and its weights; {both}"
        )


def _check_plain(plain: dict[str, Any]) -> None:
    _check_start(plain)
    check_range("seed", plain["seed"], 0, 2**31, whole=True)
    check_range("checkpoint_s", plain["checkpoint_s"], 0, 1e6)
    if plain["resolution"] is not None:
        check_range("resolution", plain["resolution"], 16, 4096, whole=True)
    for field in ("tensorboard", "timed"):
        if not isinstance(plain[field], bool):
            raise ValueError(f"{field} must be true or false, but got {plain[field]!r:.80}")


def _target_ms(
    plain: dict[str, Any], measure: MeasureSettings
) -> tuple[float | None, tuple[str, ...]]:
    """What is asked for, or else what the run that ``from`` names had to meet; and notes on it."""
    if plain["target_latency"] is not None:
        return parse_latency_ms(plain["target_latency"]), ()
    earlier = None if plain["from"] is None else EarlierRun.of(Path(str(plain["from"])) / _WEIGHTS)
    if earlier is None:
        return None, ()
    target_ms, note = earlier.target_ms(plain["device"], measure)
    return target_ms, () if note is None else (note,)


def _settings(config: DictConfig, plain: dict[str, Any]) -> TrainSettings:
    settings: TrainSettings = build("training", config.training)
    # The settings turn words into kinds, and refuse others.
    given: dict[str, Any] = {
        field: plain[field] for field in ("accelerator", "precision") if plain[field] is not None
    }
    return replace(settings, **given)


def _devices(given: object, settings: TrainSettings) -> int:
    if given == "auto":
        has_gpus = accelerator_of(settings) is Accelerator.CUDA
        return torch.cuda.device_count() if has_gpus else 1
    check_range("devices", given, 1, 1024, whole=True)
    return int(str(given))


def _keep(given: object) -> Keep:
    if given not in tuple(Keep):
        raise ValueError(f"keep must be one of {', '.join(Keep)}, but got {given!r:.80}")
    return Keep(str(given))


def _start(plain: dict[str, Any], data: ImageData) -> tuple[Architecture, WeightsSource | None]:
    """The network, for the data's classes and at the image size, and its weights."""
    given = plain["weights"]
    weights = None if given is None else WeightsSource.parse(str(given))
    size: int | None = plain["resolution"]
    if plain["from"] is not None:
        folder = Path(str(plain["from"]))
        if not (folder / _WEIGHTS).exists():
            raise ValueError(
                f"from={folder} holds no {_BEST} and {_WEIGHTS} of a finished run; give the folder "
                "of one, such as from=runs/mobilenet_v3_15ms"
            )
        network, weights = _read(folder / _BEST), weights or WeightsSource(path=folder / _WEIGHTS)
    elif (path := _network_file(str(plain["arch"]))) is not None:
        network = _read(path)
    else:
        network = load_seed(str(plain["arch"]), resolution=size or _SEED_RESOLUTION)
    if weights is not None and (earlier := EarlierRun.of(weights.path)) is not None:
        earlier.check_parts(plain["data"], data)
    if size is not None:
        network = network.with_resolution(size)
    return network.with_num_classes(data.num_classes), weights


def _network_file(arch: str) -> Path | None:
    """The file that ``arch`` names, where it is no seed.

    Raises:
        ValueError: it is neither.
    """
    if arch in seed_names():
        return None
    path = Path(arch)
    if arch.endswith((".yaml", ".yml")):
        return path
    if (path / _BEST).exists():
        return path / _BEST
    raise ValueError(
        f"arch must be a file.yaml, the folder of a finished run, or one of "
        f"{', '.join(seed_names())}, but got {arch!r:.80}"
    )


def _read(path: Path) -> Architecture:
    try:
        return Architecture.from_yaml(path.read_text())
    except OSError as error:
        raise ValueError(f"the network {path} cannot be read: {error.strerror}") from None
