"""``conf/netadapt.yaml`` → a run that begins from another."""

from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from PIL import Image

from nas.entry import CONFIG_FOLDER
from nas.resolvers import register_resolvers
from nas.training.weights import save_weights
from netadapt.setup import NetAdaptRun, build_run
from netadapt.tuning import parts_of
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


def test_proposals_are_not_compared_on_images_that_the_weights_know(
    finished: Path, tmp_path: Path
) -> None:
    begun = _build(f"from={finished}", "data.seed=3")
    used, kept = parts_of(begun.tuning)
    assert used.fingerprint() == begun.data.train.fingerprint()
    assert kept.fingerprint() == begun.data.validation.fingerprint()
    new = _build("seed=mobilenet_v3_small")
    used, kept = parts_of(new.tuning)
    assert len(used) + len(kept) == len(new.data.train)
    assert len(kept) == pytest.approx(0.2 * len(new.data.train), abs=1)


def test_how_long_proposals_are_tuned_depends_on_the_data(tmp_path: Path) -> None:
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            folder = tmp_path / "pets" / part / name
            folder.mkdir(parents=True)
            for number in range(8):
                Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"{number}.png")
    assert _build().settings.steps == 20
    pets = ("data=image_folder", f"data.path={tmp_path}/pets", f"data.scans={tmp_path}/scans")
    assert _build(*pets).settings.steps == 1000
    assert _build(*pets, "steps=50").settings.steps == 50


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("~device", r"device is missing; give device=… with one of .*local"),
        ("kinds=null", r"kinds must be a list of expansion, .* kinds=\[expansion\], but got None"),
        ("kinds=expansion", r"kinds must be a list of .* but got 'expansion'"),
        ("target_latency=10", r"has no unit"),
        ("measure.precision=int8", r"measure\.precision must be fp32 .* nas\.export makes int8"),
    ],
)
def test_bad_input_is_refused_before_anything_is_measured(override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _build(override)
