"""``python -m netadapt.run seed=mnasnet_a1``: shave a network until it meets a latency."""

import shlex
import sys

import hydra
from omegaconf import DictConfig

from latency.console import Terminal
from nas.entry import CONFIG_FOLDER, USER_ERROR, loading, run_entry, show_failure


def main() -> None:
    """The command. Exit code 0: done; 2: the input cannot be used; 130: stopped by the user."""
    run_entry(_hydra_main)


@hydra.main(version_base=None, config_path=CONFIG_FOLDER, config_name="netadapt")
def _hydra_main(config: DictConfig) -> None:
    terminal = Terminal()
    terminal.line("chronas: loading")
    with loading(terminal):
        from nas.pipeline import FAILURES
        from netadapt.pipeline import run_netadapt
        from netadapt.setup import build_run
    try:
        command = shlex.join(["python", "-m", "netadapt.run", *sys.argv[1:]])
        run_netadapt(build_run(config, command=command), terminal)
    except FAILURES as error:
        show_failure(error)
        sys.exit(USER_ERROR)


if __name__ == "__main__":
    main()
