"""``python -m nas.train arch=mobilenet_v3_small``: train one network, and hand it over."""

import os
import shlex
import sys

import hydra
from omegaconf import DictConfig

from latency.console import Terminal
from nas.entry import CONFIG_FOLDER, USER_ERROR, loading, run_entry, show_failure


def main() -> None:
    """The command. Exit code 0: done; 2: the input cannot be used; 130: stopped by the user."""
    run_entry(_hydra_main)


@hydra.main(version_base=None, config_path=CONFIG_FOLDER, config_name="train")
def _hydra_main(config: DictConfig) -> None:
    # Of several processes that train together only the first one speaks.
    is_first = os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"
    terminal = Terminal(quiet=not is_first)
    terminal.line("chronas: loading")
    with loading(terminal):
        from nas.pipeline import FAILURES
        from nas.train_pipeline import run_training
        from nas.train_setup import build_training
        from nas.training.failures import TrainingError
    try:
        command = shlex.join(["python", "-m", "nas.train", *sys.argv[1:]])
        run_training(build_training(config, command=command), terminal, is_first=is_first)
    except FAILURES as error:
        # What one process alone lacks, such as memory, the first one would never hear of.
        if is_first or isinstance(error, TrainingError) or os.environ.get("CHRONAS_DEBUG"):
            show_failure(error)
        sys.exit(USER_ERROR)


if __name__ == "__main__":
    main()
