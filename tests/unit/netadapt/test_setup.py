"""``conf/netadapt.yaml`` → a run that begins from another."""

from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir

from nas.entry import CONFIG_FOLDER
from nas.resolvers import register_resolvers
from nas.training.weights import save_weights
from netadapt.setup import NetAdaptRun, build_run
from search_spaces import build_model, load_seed


def _build(*overrides: str) -> NetAdaptRun:
    register_resolvers()
    with initialize_config_dir(config_dir=CONFIG_FOLDER, version_base=None):
        return build_run(compose("netadapt", list(overrides)), command="the command")


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """The folder of a search with ``seed=3``."""
    network = load_seed("mobilenet_v3_small", resolution=32).with_num_classes(10)
    (tmp_path / "best.yaml").write_text(network.to_yaml())
    save_weights(tmp_path / "best.pt", build_model(network).state_dict())
    data = {"_target_": "nas.data.digits.digits_data", "seed": 3, "test_share": 0.2}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"data": data}))
    return tmp_path


def test_weights_of_a_run_are_tested_on_what_it_has_not_seen(finished: Path) -> None:
    own = f"seed={finished}/best.yaml", f"weights=ours:{finished}/best.pt"
    for begun in ((f"from={finished}",), own):
        with pytest.raises(ValueError, match=r"data\.seed=3, but now it is data\.seed=0: .*; give"):
            _build(*begun)
        given = _build(*begun, "data.seed=3")
        assert (given.settings.random_seed, given.config["data"]["seed"]) == (0, 3)
        # As the second stage of a search is told of its seed.
        assert _build(*begun, "random_seed=3").config["data"]["seed"] == 3
        with pytest.raises(ValueError, match=r"; give data\.test_share=0\.2$"):
            _build(*begun, "random_seed=3", "data.test_share=0.3")
    assert _build(own[0]).weights is None  # and new ones know no image
