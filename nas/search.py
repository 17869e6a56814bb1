"""``python -m nas.search target_latency=15ms``: find the network that fits a device."""

import os
import re
import shlex
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from latency.console import Terminal
from nas.resolvers import register_resolvers

_CONFIG_FOLDER = str(Path(__file__).resolve().parents[1] / "conf")
USER_ERROR, INTERRUPTED = 2, 130
_failed_in_sweep: list[str] = []


def main() -> None:
    """The command. Exit code 0: done; 2: the input cannot be used; 130: stopped by the user."""
    register_resolvers()
    # Hydra refuses +key= for a key that its config has, and this one must work both ways.
    sys.argv[1:] = [re.sub(r"^\+(?=target_latency=)", "++", argument) for argument in sys.argv[1:]]
    # With this set Hydra raises what it would else print over many lines.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    # Threads of torch that wait by spinning stop each other when something else needs a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        _hydra_main()
    except HydraException as error:
        message, _, _ = str(error).partition("Config search path:")
        print("error:", " ".join(message.split()), file=sys.stderr)
        sys.exit(USER_ERROR)
    except KeyboardInterrupt:
        print("stopped; the same command goes on where it was", file=sys.stderr)
        # Where the interrupt struck while an extension was running Python code, as imports do,
        # CPython forgets that it was handled, and would die of the signal on its way out.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)
    if _failed_in_sweep:
        sys.exit(USER_ERROR)


@hydra.main(version_base=None, config_path=_CONFIG_FOLDER, config_name="search")
def _hydra_main(config: DictConfig) -> None:
    terminal = Terminal()
    terminal.line("chronas: loading")
    with terminal.progress("loading"):
        from nas.pipeline import FAILURES, run_search
        from nas.setup import build_search
    try:
        if OmegaConf.is_missing(config, "target_latency"):
            raise ValueError(
                "target_latency is missing; say what the network must meet on this device, "
                "for example target_latency=15ms"
            )
        sweep = HydraConfig.get().mode is RunMode.MULTIRUN
        given = HydraConfig.get().overrides.task if sweep else sys.argv[1:]
        command = shlex.join(["python", "-m", "nas.search", *given])
        run_search(build_search(config, command=command), terminal)
    except FAILURES as error:
        if os.environ.get("CHRONAS_DEBUG"):
            raise
        print(f"error: {error}", file=sys.stderr)
        if HydraConfig.get().mode is not RunMode.MULTIRUN:
            sys.exit(USER_ERROR)
        # The other runs of a sweep go on.
        _failed_in_sweep.append(str(error))


if __name__ == "__main__":
    main()
