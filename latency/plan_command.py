"""``python -m latency.plan``: writes a plan, and says how to measure it."""

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from latency.plan import MeasureSettings, calibration_networks, entry_builders, write_plan
from search_spaces.architecture import Architecture
from search_spaces.blocks import Block
from search_spaces.seeds import load_seed
from search_spaces.shapes import TensorShape
from search_spaces.spaces import SearchSpace, mnasnet_space, mobilenet_v3_space

SPACES: dict[str, Callable[..., SearchSpace]] = {
    "mobilenet_v3": mobilenet_v3_space,
    "mnasnet": mnasnet_space,
}
DESCRIPTION = """\
Write a plan: what a device is to measure, in a file of a few megabytes at most.

    python -m latency.plan --space mobilenet_v3 --out phone.plan
    python -m latency.plan --seed mobilenet_v3_small --seed shufflenet_v2_x1_0:1.5 --out two.plan

Of a space every block that some network has, and a few whole networks to fit the table's scale on;
of a network its blocks and itself, end to end.
"""
_SECONDS_BETWEEN_LINES = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the plan; returns the exit code, 2 with one line on stderr for bad input."""
    options = _parser().parse_args(arguments)
    try:
        settings = MeasureSettings(threads=options.threads, batch=options.batch)
        blocks, networks = _wanted(options)
        builders = entry_builders(blocks, networks, batch=settings.batch)
        write_plan(options.out, list(builders.values()), settings, _progress())
        size_bytes = options.out.stat().st_size
    except (ValueError, OSError) as error:
        print(f"latency.plan: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"stopped; there is no {options.out}", file=sys.stderr)
        return 130
    print(_next_step(options.out, len(builders), size_bytes))
    return 0


def _next_step(plan: Path, entries: int, size_bytes: int) -> str:
    size = f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.1f} kB"
    table = plan.with_suffix(".jsonl" if plan.suffix != ".jsonl" else ".table.jsonl")
    return (
        f"{plan}: {entries} entries, {size}. Measure it here, or on a machine that has Python,\n"
        "numpy, onnxruntime and a copy of latency/profile.py:\n\n"
        f"    python latency/profile.py {shlex.quote(str(plan))} --out {shlex.quote(str(table))}\n"
    )


def _parser() -> argparse.ArgumentParser:
    # Without argparse's own usage a mistake is answered in one line; --help shows the text above.
    parser = argparse.ArgumentParser(
        prog="latency.plan",
        usage=argparse.SUPPRESS,
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--space", action="append", default=[], choices=SPACES, help="all blocks of a space")
    add("--base", metavar="SEED", help="the network that the spaces vary (their own by default)")
    add("--seed", action="append", default=[], metavar="NAME[:WIDTH]", help="a published network")
    add("--arch", action="append", default=[], metavar="FILE", type=Path, help="a network in YAML")
    add("--resolution", type=int, help="image height and width in pixels (224, or the network's)")
    add("--num-classes", type=int, help="classes of every network (1000, or the network's)")
    add("--threads", type=int, default=1, help="threads of onnxruntime (%(default)s)")
    add("--batch", type=int, default=1, help="images a run (%(default)s)")
    add("--out", type=Path, required=True, metavar="PLAN", help="the plan file to write")
    return parser


def _wanted(
    options: argparse.Namespace,
) -> tuple[list[tuple[Block, TensorShape]], list[Architecture]]:
    """The blocks and the whole networks that the options ask for."""
    networks = [_adapted(_seed(text), options) for text in options.seed]
    networks += [_adapted(Architecture.from_yaml(path), options) for path in options.arch]
    if not (networks or options.space):
        raise ValueError("nothing to measure; give at least one of --space, --seed and --arch")
    if options.base is not None and not options.space:
        raise ValueError(f"--base {options.base} is for a space; give --space as well")
    blocks = [pair for network in networks for pair in network.walk()]
    for name in options.space:
        space = _space(name, options)
        blocks += space.reachable_blocks()
        networks += calibration_networks(space)
    return blocks, networks


def _seed(text: str) -> Architecture:
    name, colon, width = text.partition(":")
    try:
        factor = float(width) if colon else 1.0
    except ValueError:
        raise ValueError(
            f"--seed must be NAME or NAME:WIDTH with a number for WIDTH, but got {text!r:.80}"
        ) from None
    return load_seed(name, factor)


def _adapted(network: Architecture, options: argparse.Namespace) -> Architecture:
    if options.resolution is not None:
        network = network.with_resolution(options.resolution)
    if options.num_classes is not None:
        network = network.with_num_classes(options.num_classes)
    return network


def _space(name: str, options: argparse.Namespace) -> SearchSpace:
    given = {
        "resolution": options.resolution,
        "num_classes": options.num_classes,
        "base": options.base,
    }
    return SPACES[name](**{field: value for field, value in given.items() if value is not None})


def _progress() -> Callable[[int, int], None]:
    """Prints on stderr how many graphs are built, once a second at most."""
    shown = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal shown
        if time.monotonic() - shown >= _SECONDS_BETWEEN_LINES:
            shown = time.monotonic()
            print(f"built {done}/{total} graphs", file=sys.stderr)

    return report
