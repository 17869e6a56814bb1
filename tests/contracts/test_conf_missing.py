"""What every command says of a setting that has no default and was not given."""

from collections.abc import Callable
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from nas.entry import CONFIG_FOLDER
from nas.exporting.settings import build_export
from nas.resolvers import register_resolvers
from nas.setup import build_search
from nas.train_setup import build_training
from netadapt.setup import build_run


def _refused(build: Callable[..., Any], entry: str, given: list[str]) -> str:
    register_resolvers()
    with initialize_config_dir(config_dir=CONFIG_FOLDER, version_base=None):
        config = compose(entry, given)
    with pytest.raises(ValueError, match=r"missing|not found") as refused:
        build(config, command="the command")
    return str(refused.value)


@pytest.mark.parametrize(
    ("build", "entry", "given"),
    [
        (build_search, "search", ["target_latency=15ms", "name=run"]),
        (build_training, "train", ["arch=mnasnet_a1"]),
        (build_run, "netadapt", ["seed=mnasnet_a1"]),
    ],
)
@pytest.mark.parametrize(
    ("data", "setting"),
    [
        ("image_folder", "data.path"),
        ("huggingface", "data.path"),
        ("torch_dataset", "data.dataset._target_"),
    ],
)
def test_data_that_is_not_said(
    build: Callable[..., Any], entry: str, given: list[str], data: str, setting: str
) -> None:
    said = _refused(build, entry, [*given, f"data={data}"])
    assert said == f"{setting} is missing; give {setting}=…"


def test_what_exporting_lacks() -> None:
    said = _refused(build_export, "export", [])
    assert said == "run is missing; give the folder of a finished run: run=runs/NAME"
    said = _refused(build_export, "export", ["run=runs/NAME", "+device.host=???"])
    assert said == "device.host is missing; give device.host=…"


def test_a_reference_to_nothing() -> None:
    said = _refused(build_training, "train", ["arch=mnasnet_a1", "seed=${nothing}"])
    assert said.startswith("Interpolation key 'nothing' not found")
    assert "\n" not in said
