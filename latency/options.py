"""What the commands of this package have in common on their command lines."""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from latency.devices import Device, LocalDevice, SshDevice
from latency.devices.base import DeviceError
from latency.plan import MeasureSettings
from latency.profile import CPU_PROVIDER
from search_spaces.architecture import Architecture
from search_spaces.precision import Precision
from search_spaces.seeds import load_seed
from search_spaces.spaces import (
    SearchSpace,
    mnasnet_space,
    mobilenet_v3_space,
    shufflenet_v2_space,
)

SPACES: dict[str, Callable[..., SearchSpace]] = {
    "mobilenet_v3": mobilenet_v3_space,
    "mnasnet": mnasnet_space,
    "shufflenet_v2": shufflenet_v2_space,
}

FAILURES = (ValueError, LookupError, OSError, DeviceError)
"""What a person can mend; shown as one line."""


def make_parser(command: str, description: str) -> argparse.ArgumentParser:
    """A parser that answers a mistake in one line; ``--help`` shows the whole description."""
    return argparse.ArgumentParser(
        prog=command,
        usage=argparse.SUPPRESS,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def run_command(name: str, run: Callable[[], None]) -> int:
    """Run a command; returns the exit code: 2 with one line for bad input, 130 where stopped."""
    try:
        run()
    except FAILURES as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """``--seed``, ``--arch`` and how networks are used."""
    add = parser.add_argument
    add("--seed", action="append", default=[], metavar="NAME[:WIDTH]", help="a published network")
    add("--arch", action="append", default=[], metavar="FILE", type=Path, help="a network in YAML")
    sizes = "image height and width in pixels, one or several: 160,192,224 (224, or the network's)"
    add("--resolution", type=resolutions, metavar="PIXELS", help=sizes)
    add("--num-classes", type=int, help="classes of every network (1000, or the network's)")


def resolutions(text: str) -> list[int]:
    """What ``--resolution`` gives, for argparse.

    Each network is used at each of them; of a space each network has one, a choice.
    """
    try:
        return [int(size) for size in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be pixels like 224 or 160,192,224, but got {text!r:.80}"
        ) from None


def add_space_options(parser: argparse.ArgumentParser) -> None:
    """``--space`` and ``--base``."""
    add = parser.add_argument
    add("--space", action="append", default=[], choices=SPACES, help="all blocks of a space")
    add("--base", metavar="SEED", help="the network that the spaces vary (their own by default)")


def add_measure_options(parser: argparse.ArgumentParser) -> None:
    """What becomes a ``MeasureSettings``."""
    default = MeasureSettings()
    add = parser.add_argument
    add("--threads", type=int, default=default.threads, help="threads of the runtime (%(default)s)")
    add("--batch", type=int, default=default.batch, help="images a run (%(default)s)")
    add("--precision", choices=tuple(Precision), default=Precision.FP32, help="(%(default)s)")
    add("--affinity", metavar="CORES", help="cores to pin the measurement to, like 0 or 2,3")
    add("--spinning", action="store_true", help="let idle threads spin")
    add("--runs", type=int, default=default.runs, help="timed runs a visit (%(default)s)")
    add("--min-rounds", type=int, default=default.min_rounds, help="visits, least (%(default)s)")
    add("--max-rounds", type=int, default=default.max_rounds, help="visits, most (%(default)s)")


def add_device_options(parser: argparse.ArgumentParser) -> None:
    """Where the measurement runs."""
    add = parser.add_argument
    where = "local, torch_cuda or ssh:[USER@]HOST[:PORT] (%(default)s)"
    add("--device", default="local", metavar="WHERE", help=where)
    add("--python", default="python3", help="the interpreter on an ssh device (%(default)s)")
    add("--provider", default=CPU_PROVIDER, help="execution provider of onnxruntime (%(default)s)")


def settings_of(options: argparse.Namespace) -> MeasureSettings:
    """The settings that the options give; ``ValueError`` names one that is out of range."""
    return MeasureSettings(
        threads=options.threads,
        batch=options.batch,
        precision=Precision(options.precision),
        affinity=_cores(options.affinity),
        spinning=options.spinning,
        runs=options.runs,
        min_rounds=options.min_rounds,
        max_rounds=max(options.min_rounds, options.max_rounds),
    )


def _cores(text: str | None) -> Sequence[int] | None:
    if text is None:
        return None
    try:
        return [int(core) for core in text.split(",")]
    except ValueError:
        raise ValueError(f"--affinity must be cores like 0 or 2,3, but got {text!r:.80}") from None


def device_of(options: argparse.Namespace) -> Device:
    """The device that the options name."""
    if options.device == "local":
        return LocalDevice(provider=options.provider)
    if options.device == "torch_cuda":
        from latency.devices.torch_cuda import TorchCudaDevice  # loads torch

        return TorchCudaDevice()
    if found := re.fullmatch(r"ssh:(?:([^@\s]+)@)?([^@\s]+?)(?::(\d+))?", options.device):
        user, host, port = found.groups()
        return SshDevice(
            host=host,
            user=user,
            port=None if port is None else int(port),
            provider=options.provider,
            python=options.python,
        )
    raise ValueError(
        "--device must be local, torch_cuda or ssh:[USER@]HOST[:PORT], but got "
        f"{options.device!r:.80}"
    )


def networks_of(options: argparse.Namespace) -> list[Architecture]:
    """The networks that ``--seed`` and ``--arch`` name."""
    named = [_seed(text) for text in options.seed]
    named += [Architecture.from_yaml(path) for path in options.arch]
    return [network for each in named for network in adapted(each, options)]


def spaces_of(options: argparse.Namespace) -> list[SearchSpace]:
    """The spaces that the options name."""
    if options.base is not None and not options.space:
        raise ValueError(f"--base {options.base} is for a space; give --space as well")
    given = {
        "resolution": options.resolution,
        "num_classes": options.num_classes,
        "base": options.base,
    }
    fields = {field: value for field, value in given.items() if value is not None}
    return [SPACES[name](**fields) for name in options.space]


def _seed(text: str) -> Architecture:
    name, colon, width = text.partition(":")
    try:
        factor = float(width) if colon else 1.0
    except ValueError:
        raise ValueError(
            f"--seed must be NAME or NAME:WIDTH with a number for WIDTH, but got {text!r:.80}"
        ) from None
    return load_seed(name, factor)


def adapted(network: Architecture, options: argparse.Namespace) -> list[Architecture]:
    """The network at each resolution and with the number of classes that the options give."""
    if options.num_classes is not None:
        network = network.with_num_classes(options.num_classes)
    match options.resolution:
        case None:
            return [network]
        case [size]:
            return [network.with_resolution(size)]
        case sizes:
            return [
                replace(network, name=f"{network.name}_{size}", resolution=size) for size in sizes
            ]
