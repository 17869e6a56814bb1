"""``python -m nas.search target_latency=15ms``: find the network that fits a device."""

import os
import shlex
import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from latency.console import Terminal
from nas.entry import CONFIG_FOLDER, USER_ERROR, loading, run_entry

_failed_in_sweep: list[str] = []


def main() -> None:
    """The command. Exit code 0: done; 2: the input cannot be used; 130: stopped by the user."""
    run_entry(_hydra_main)
    if _failed_in_sweep:
        sys.exit(USER_ERROR)


@hydra.main(version_base=None, config_path=CONFIG_FOLDER, config_name="search")
def _hydra_main(config: DictConfig) -> None:
    terminal = Terminal()
    terminal.line("chronas: loading")
    with loading(terminal):
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
