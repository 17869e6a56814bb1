"""``python -m nas.export run=runs/NAME``: ONNX files of a finished run, in float32 and int8."""

import sys

import hydra
from omegaconf import DictConfig

from latency.console import Terminal
from nas.entry import CONFIG_FOLDER, USER_ERROR, loading, run_entry, show_failure


def main() -> None:
    """The command. Exit code 0: done; 2: the input cannot be used; 130: stopped by the user."""
    run_entry(_hydra_main)


@hydra.main(version_base=None, config_path=CONFIG_FOLDER, config_name="export")
def _hydra_main(config: DictConfig) -> None:
    terminal = Terminal()
    terminal.line("chronas: loading")
    with loading(terminal):
        from nas.exporting.pipeline import run_export
        from nas.exporting.settings import build_export
        from nas.pipeline import FAILURES
    try:
        command = ["python", "-m", "nas.export", *sys.argv[1:]]
        run_export(build_export(config, command=command), terminal)
    except FAILURES as error:
        show_failure(error)
        sys.exit(USER_ERROR)


if __name__ == "__main__":
    main()
