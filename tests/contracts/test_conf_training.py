"""``conf/train.yaml`` and the presets of ``conf/training`` build what their sources say."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nas.data import Augmentation
from nas.resolvers import register_resolvers
from nas.setup import build
from nas.train_setup import TrainRun, build_training
from nas.training import TrainSettings
from nas.training.full import Keep
from nas.training.peer_weights import Library
from nas.training.released import WeightsSource
from nas.training.settings import Accelerator, OptimizerKind, Precision, ScheduleKind
from search_spaces import load_seed

CONF = Path(__file__).parents[2] / "conf"
INCEPTION = Augmentation(crop=0.08, flip=True)
_MNASNET = TrainSettings(
    epochs=350,
    batch_size=256,
    optimizer=OptimizerKind.RMSPROP,
    learning_rate=0.256,
    rate_batch=4096,
    momentum=0.9,
    square_decay=0.9,
    epsilon=1e-3,
    weight_decay=1e-5,
    decay_vectors=False,
    schedule=ScheduleKind.STEP_EXPONENTIAL,
    warmup_epochs=5,
    decay_rate=0.97,
    decay_epochs=2.4,
    label_smoothing=0.1,
    dropout=0.2,
    augmentation=INCEPTION,
    threads=None,
)
PRESETS = {
    "small": TrainSettings(epochs=30, augmentation=Augmentation(), threads=None),
    "mnasnet": _MNASNET,
    "mobilenet_v3": replace(
        _MNASNET,
        epochs=600,
        learning_rate=0.1,
        decay_rate=0.99,
        decay_epochs=3,
        ema_decay=0.9999,
    ),
    "modern": TrainSettings(
        epochs=100,
        batch_size=128,
        optimizer=OptimizerKind.ADAMW,
        learning_rate=1e-3,
        rate_batch=256,
        square_decay=0.999,
        weight_decay=0.05,
        decay_vectors=False,
        warmup=0.05,
        dropout=0.2,
        mixup=0.1,
        cutmix=1.0,
        augmentation=replace(INCEPTION, rand_augment=7),
        ema_decay=0.9998,
        gradient_clip=5.0,
        threads=None,
    ),
}


def _build(*overrides: str) -> TrainRun:
    register_resolvers()
    given = list(overrides)
    if not any(each.startswith(("arch=", "from=")) for each in given):
        given.append("arch=mobilenet_v3_small")
    with initialize_config_dir(config_dir=str(CONF), version_base=None):
        return build_training(compose("train", given), command="the command")


def test_every_preset_is_held_to_something() -> None:
    assert sorted(path.stem for path in (CONF / "training").glob("*.yaml")) == sorted(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_what_its_source_says(name: str) -> None:
    assert _build(f"training={name}").training.settings == PRESETS[name]


def test_a_training_by_itself() -> None:
    run = _build()
    assert run.name == "train_mobilenet_v3_small"
    assert run.folder == Path("runs/train_mobilenet_v3_small")
    assert run.architecture == load_seed("mobilenet_v3_small").with_num_classes(10)
    assert (run.weights, run.devices, run.timed, run.target_ms) == (None, 1, True, None)
    assert (run.training.keep, run.training.validates) == (Keep.BEST, True)
    assert (run.training.seed, run.training.tensorboard) == (0, False)


def test_what_is_given_arrives() -> None:
    run = _build(
        "arch=mnasnet_a1", "training=modern", "training.epochs=7", "accelerator=cpu", "devices=2",
        "precision=bf16-mixed", "resolution=96", "seed=3", "keep=last", "weights=torchvision:a.pt",
        "training.augmentation.flip=false",
    )  # fmt: skip
    settings = run.training.settings
    assert (settings.epochs, settings.optimizer) == (7, OptimizerKind.ADAMW)
    assert (settings.accelerator, settings.precision) == (Accelerator.CPU, Precision.BFLOAT16)
    assert settings.augmentation == Augmentation(crop=0.08, rand_augment=7)
    assert (run.devices, run.weights, run.training.keep) == (
        2,
        WeightsSource(path=Path("a.pt"), library=Library.TORCHVISION),
        Keep.LAST,
    )
    assert (run.architecture.resolution, run.training.seed) == (96, 3)


@pytest.mark.parametrize("entry", ["search", "netadapt"])
def test_a_preset_serves_the_end_of_a_search_too(entry: str) -> None:
    register_resolvers()
    given = ["target_latency=15ms", "name=run", "+training@final=mnasnet", "final.epochs=5"]
    with initialize_config_dir(config_dir=str(CONF), version_base=None):
        config = compose(entry, given)
    assert build("final", config.final) == replace(_MNASNET, epochs=5)


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """The folder of a finished run, of a network at 64×64 with other classes."""
    network = load_seed("mnasnet_b1", resolution=64).with_num_classes(7)
    (tmp_path / "best.yaml").write_text(network.to_yaml())
    (tmp_path / "best.pt").write_bytes(b"weights")
    _save_settings(tmp_path)
    return tmp_path


def _save_settings(run: Path, *overrides: str) -> None:
    """Leave what a run's folder says of its settings."""
    register_resolvers()
    with initialize_config_dir(config_dir=str(CONF), version_base=None):
        config = compose("search", ["target_latency=15ms", "name=run", *overrides])
    nodes = {name: config[name] for name in ("seed", "data", "device", "measure")}
    plain = OmegaConf.to_container(OmegaConf.create(nodes), resolve=True)
    (run / "config.yaml").write_text(yaml.safe_dump(plain))


def test_a_runs_network_with_its_weights_or_without(finished: Path) -> None:
    network = load_seed("mnasnet_b1", resolution=64).with_num_classes(10)
    begun = _build(f"from={finished}")
    assert (begun.architecture, begun.weights) == (
        network,
        WeightsSource(path=finished / "best.pt"),
    )
    assert begun.name == f"train_{finished.name}"
    for arch in (finished, finished / "best.yaml"):
        run = _build(f"arch={arch}")
        assert (run.architecture, run.weights) == (network, None)
    other = _build(f"from={finished}", "weights=other.pt").weights
    assert other == WeightsSource(path=Path("other.pt"))


@pytest.mark.parametrize(
    ("summary", "target_ms"),
    [
        ({"latency": {"target_ms": 15.0}}, 15.0),
        ({"latency": {"target_ms": None}}, None),
        ({"latency": None}, None),
        (None, None),
    ],
)
def test_the_target_is_that_of_the_run_before(
    finished: Path, summary: object, target_ms: float | None
) -> None:
    if summary is not None:
        (finished / "summary.json").write_text(json.dumps(summary))
    assert _build(f"from={finished}").target_ms == target_ms
    assert _build(f"from={finished}", "target_latency=800us").target_ms == 0.8
    assert _build(f"arch={finished}").target_ms is None  # its network alone


def test_a_target_is_one_of_a_device_and_of_how_it_measures(finished: Path) -> None:
    (finished / "summary.json").write_text('{"latency": {"target_ms": 20.0}}')
    _save_settings(finished, "device=ssh", "device.host=board", "measure.threads=2")
    same = ("device=ssh", "device.host=board", "measure.threads=2")
    begun = _build(f"from={finished}", *same)
    assert (begun.target_ms, begun.notes) == (20.0, ())
    for other, reason in (((), "device._target_="), (same[:2], "measure.threads=2")):
        run = _build(f"from={finished}", *other)
        assert run.target_ms is None
        (note,) = run.notes
        assert f"20 ms, is not taken over: it is of {reason}" in note
        given = _build(f"from={finished}", "target_latency=20ms", *other)
        assert (given.target_ms, given.notes) == (20.0, ())
    # best.onnx is a float32 file: what an int8 file must meet is none of its matter.
    _save_settings(finished, "measure.precision=int8")
    (note,) = _build(f"from={finished}").notes
    assert "it is of measure.precision=int8, and now it is fp32" in note


def test_weights_of_a_run_are_tested_on_what_it_has_not_seen(finished: Path) -> None:
    _save_settings(finished, "seed=3")
    begun = (f"from={finished}",), ("arch=mnasnet_b1", f"weights={finished}/best.pt")
    for given in begun:
        with pytest.raises(ValueError, match=r"data\.seed=3, but now it is data\.seed=0: .*; give"):
            _build(*given)
        assert _build(*given, "data.seed=3").training.seed == 0
        assert _build(*given, "seed=3").training.seed == 3
    with pytest.raises(ValueError, match=r"; give data\.test_share=0\.2$"):
        _build(*begun[0], "seed=3", "data.test_share=0.3")
    assert _build(f"arch={finished}").weights is None  # and new ones know no image


def test_a_target_that_is_none_is_refused(finished: Path) -> None:
    (finished / "summary.json").write_text('{"latency": {"target_ms": "15ms"}}')
    with pytest.raises(
        ValueError, match=r"^latency\.target_ms of .*summary\.json must be a number"
    ):
        _build(f"from={finished}")
    with pytest.raises(ValueError, match=r"^target_latency=15 has no unit"):
        _build("target_latency=15")
    with pytest.raises(ValueError, match=r"^target_latency must be a number above 0 with a unit"):
        _build("target_latency=80%")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["arch=resnet50"], r"^arch must be a file\.yaml, the folder of a finished run, or one of"),
        (["arch=null"], r"^give arch=… \(a seed such as .*; neither is given$"),
        (["arch=mnasnet_a1", "from=runs/a"], "both are given$"),
        (["from=runs/none"], r"^from=runs/none holds no best\.yaml and best\.pt of a finished run"),
        (["arch=none.yaml"], r"^the network none\.yaml cannot be read: No such file"),
        (["keep=first"], "^keep must be one of best, last, but got 'first'$"),
        (["devices=0"], r"^devices must be an integer in 1\.\.1024, but got 0$"),
        (["devices=two"], r"^devices must be an integer in 1\.\.1024, but got 'two'$"),
        (["seed=-1"], r"^seed must be an integer in 0\.\."),
        (["resolution=8"], r"^resolution must be an integer in 16\.\.4096, but got 8$"),
        (["checkpoint_s=-1"], r"^checkpoint_s must be a number in 0\.\."),
        (["timed=maybe"], "^timed must be true or false, but got 'maybe'$"),
        (["tensorboard=1"], "^tensorboard must be true or false, but got 1$"),
        (["weights=keras:a.pt"], r"^weights must be FILE or one of"),
        (["name=../x"], "^name must be letters, digits"),
        (["precision=fp8"], r"^TrainSettings\.precision must be one of 32-true, bf16-mixed"),
        (["training.optimizer=adam"], r"^training: TrainSettings\.optimizer must be one of sgd"),
        (["training=mnasnet", "training.epochs=3"], r"warmup_epochs must be in 0\.\.3"),
        (["+training.rate=1"], r"^training: .*unexpected keyword argument 'rate'"),
        (["training.augmentation.crop=2"], r"^training.*Augmentation\.crop must be a number in"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(overrides: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _build(*overrides)


def test_all_gpus_are_one_process_where_there_are_none(monkeypatch: Any) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert _build("devices=auto").devices == 1
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert _build("devices=auto").devices == 4
