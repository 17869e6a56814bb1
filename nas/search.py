"""``python -m nas.search target_latency=15ms``: find the network that fits a device."""

import shlex
import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from latency.console import Terminal
from nas.entry import CONFIG_FOLDER, USER_ERROR, loading, run_entry, show_failure

_failed_in_sweep: list[int] = []


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
        from nas.second_stage import shared_arguments, shave_winners
        from nas.setup import build_search
    try:
        if OmegaConf.is_missing(config, "target_latency"):
            raise ValueError(
                "target_latency is missing; say what the network must meet on this device, "
                "for example target_latency=15ms"
            )
        hydra_config = HydraConfig.get()
        sweep = hydra_config.mode is RunMode.MULTIRUN
        given = hydra_config.overrides.task if sweep else sys.argv[1:]
        search = build_search(config, command=shlex.join(["python", "-m", "nas.search", *given]))
        run_search(search, terminal)
    except FAILURES as error:
        show_failure(error)
        return _fail(USER_ERROR)
    if search.second_stage is None:
        return None
    own = [s.path for s in hydra_config.runtime.config_sources if s.provider == "command-line"]
    code = shave_winners(
        search.second_stage,
        search.settings.name,
        {target_ms: search.folder_of(target_ms) for target_ms in search.settings.targets_ms},
        shared_arguments(hydra_config.overrides.task, own),
        terminal,
    )
    return _fail(code) if code else None


def _fail(code: int) -> None:
    """End the process; in a sweep, let the other runs go on."""
    if HydraConfig.get().mode is not RunMode.MULTIRUN:
        sys.exit(code)
    _failed_in_sweep.append(code)


if __name__ == "__main__":
    main()
