"""Every file of conf/ composes, and builds what its name says."""

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from optuna import pruners, samplers
from PIL import Image

from benchmarks.prediction import synthetic_table
from latency.devices import LocalDevice, OfflineDevice, SshDevice
from latency.devices.torch_cuda import TorchCudaDevice
from nas.evaluators import ProxyEvaluator, SupernetEvaluator, TableEvaluator
from nas.executors import LocalExecutor, RayExecutor, ThreadExecutor
from nas.problem import Problem
from nas.reward import AbsoluteReward, PowerReward
from nas.samplers import EvolutionSampler, LookupAwareSampler, PpoSampler
from nas.setup import Search, build_search
from nas.training import TrainSettings
from search_spaces.spaces import mobilenet_v3_space

CONF = Path(__file__).parents[2] / "conf"
PLUGIN = Path(__file__).parents[1] / "end_to_end/plugin"
GROUP_FILES = sorted(
    str(path.relative_to(CONF))[:-5]
    for path in CONF.glob("*/*.yaml")
    if path.parent.name != "training"  # which test_conf_training.py is about
)

GIVEN = {
    "device/offline": ["table=tables/phone.jsonl"],
    "device/ssh": ["device.host=lab", "device.user=me", "+device.options.ProxyJump=gate"],
}
"""What has no default."""

BUILT: dict[str, Callable[[Search], bool]] = {
    "data/digits": lambda s: (
        (s.data.name, len(s.data.test), s.data.num_classes) == ("digits", 360, 10)
    ),
    "data/huggingface": lambda s: (
        (s.data.name, len(s.data.train), s.data.class_names) == ("pets", 12, ("cat", "dog"))
    ),
    "data/image_folder": lambda s: (
        (s.data.name, len(s.data.train), s.data.class_names) == ("pets", 12, ("cat", "dog"))
    ),
    "data/torch_dataset": lambda s: (
        (s.data.name, len(s.data.train), s.data.class_names) == ("Pets", 12, ("cat", "dog"))
    ),
    "device/local": lambda s: s.device == LocalDevice(),
    "device/offline": lambda s: (
        s.device == OfflineDevice(table=Path("tables/phone.jsonl"))
        and s.settings.table == Path("tables/phone.jsonl")
    ),
    "device/ssh": lambda s: (
        s.device == SshDevice(host="lab", user="me", options={"ProxyJump": "gate"})
        and s.settings.table == Path("tables/ssh-lab-fp32-t1-b1.jsonl")
    ),
    "device/torch_cuda": lambda s: (
        s.device == TorchCudaDevice(index=0)
        and s.settings.table == Path("tables/torch_cuda-fp32-t1-b1.jsonl")
    ),
    "evaluator/proxy": lambda s: isinstance(s.evaluator, ProxyEvaluator),
    "evaluator/supernet": lambda s: isinstance(s.evaluator, SupernetEvaluator),
    "evaluator/table": lambda s: isinstance(s.evaluator, TableEvaluator),
    "executor/local": lambda s: isinstance(s.executor, LocalExecutor),
    "executor/ray": lambda s: isinstance(s.executor, RayExecutor),
    "executor/threads": lambda s: isinstance(s.executor, ThreadExecutor),
    "pruner/hyperband": lambda s: s.prunes and isinstance(s.pruner, pruners.HyperbandPruner),
    "pruner/median": lambda s: s.prunes and isinstance(s.pruner, pruners.MedianPruner),
    "pruner/none": lambda s: not s.prunes,
    "reward/absolute": lambda s: s.reward == AbsoluteReward(beta=-0.10),
    "reward/hard": lambda s: s.reward == PowerReward(alpha=0, beta=-1),
    "reward/soft": lambda s: s.reward == PowerReward(alpha=-0.07, beta=-0.07),
    "reward/soft_small": lambda s: s.reward == PowerReward(alpha=-0.15, beta=-0.15),
    "sampler/evolution": lambda s: _proposes(s, EvolutionSampler),
    "sampler/lookup_aware": lambda s: _proposes(s, LookupAwareSampler),
    "sampler/nsga2": lambda s: s.sampler.pareto and _proposes(s, samplers.NSGAIISampler),
    "sampler/ppo": lambda s: _proposes(s, PpoSampler),
    "sampler/random": lambda s: _proposes(s, samplers.RandomSampler),
    "sampler/tpe": lambda s: _proposes(s, samplers.TPESampler),
    "space/mnasnet": lambda s: (
        s.space.name == "mnasnet"
        and s.space.choices["stage2.conv_op"] == ("conv", "separable", "mbconv3", "mbconv6")
    ),
    "space/mobilenet_v3": lambda s: (
        s.space.name == "mobilenet_v3" and s.space.choices["stage2.expansion"] == (3, 4, 6)
    ),
    "space/shufflenet_v2": lambda s: (
        s.space.name == "shufflenet_v2"
        and s.space.choices["stage2.width"] == (0.5, 0.75, 1.0, 1.25, 1.5)
    ),
}


def _pets() -> Iterator[tuple[int, Image.Image]]:
    rng = np.random.default_rng(0)
    for number in range(20):
        yield number % 2, Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))


def _pet_folder(folder: Path) -> list[str]:
    for number, (label, image) in enumerate(_pets()):
        path = folder / "pets" / ("cat", "dog")[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    return [f"data.path={folder}/pets", f"data.scans={folder}/scans"]


def _pet_parquet(folder: Path) -> list[str]:
    datasets = pytest.importorskip("datasets")
    labels, images = zip(*_pets(), strict=True)
    kinds = datasets.ClassLabel(names=["cat", "dog"])
    features = datasets.Features({"image": datasets.Image(), "label": kinds})
    table = datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)
    table.to_parquet(str(folder / "pets.parquet"))
    return [f"data.path={folder}/pets.parquet", f"data.scans={folder}/scans"]


def _pet_arrays(folder: Path) -> list[str]:
    labels, images = zip(*_pets(), strict=True)
    np.save(folder / "images.npy", np.stack([np.asarray(image) for image in images]))
    np.save(folder / "labels.npy", np.array(labels))
    return ["data.dataset._target_=pet_dataset.Pets", f"+data.dataset.folder={folder}"]


PETS: dict[str, Callable[[Path], list[str]]] = {
    "data/huggingface": _pet_parquet,
    "data/image_folder": _pet_folder,
    "data/torch_dataset": _pet_arrays,
}
"""What makes twenty images for a file of conf/data, and returns how they are named to it."""


def _proposes(search: Search, kind: type) -> bool:
    """Whether the sampler is of that kind, on networks of the space that all take equally long."""
    table = synthetic_table(search.space)
    problem = Problem.of(search.space, table, reward=search.reward, targets_ms=(15.0,))
    return isinstance(search.sampler.make(problem, 0), kind)


def _compose(*overrides: str) -> DictConfig:
    with initialize_config_dir(config_dir=str(CONF), version_base=None):
        return compose("search", ["target_latency=15ms", "name=run", *overrides])


def _build(*overrides: str) -> Search:
    return build_search(_compose(*overrides), command="the command")


def test_every_file_is_held_to_something() -> None:
    assert sorted(BUILT) == GROUP_FILES
    entries = sorted(path.name for path in CONF.glob("*.yaml"))
    assert entries == ["export.yaml", "netadapt.yaml", "search.yaml", "train.yaml"]


@pytest.mark.parametrize("file", GROUP_FILES)
def test_every_file_builds_what_its_name_says(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group, _, name = file.partition("/")
    given = GIVEN.get(file, [])
    if file == "data/huggingface":
        datasets = pytest.importorskip("datasets")
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    if file in PETS:
        monkeypatch.syspath_prepend(PLUGIN)
        given = PETS[file](tmp_path)
    if file == "evaluator/table":
        known = tmp_path / "known.csv"
        row = mobilenet_v3_space().base_choices | {"accuracy": 0.9}
        pd.DataFrame([row]).to_csv(known, index=False)
        given = [f"evaluator.file={known}"]
    assert BUILT[file](_build(f"{group}={name}", *given))


def test_the_search_by_itself() -> None:
    search = _build()
    settings = search.settings
    assert (settings.name, settings.study, settings.targets_ms) == ("run", "run", (15.0,))
    assert (settings.resolutions, settings.proxy_resolution) == ((224,), 32)
    assert (settings.measure.threads, settings.measure.batch) == (1, 1)
    assert settings.table == Path("tables/local-fp32-t1-b1.jsonl")
    assert search.folder == Path("runs/run")
    assert search.command == "the command"
    assert search.space.name == "mobilenet_v3"
    # The space's networks fit the data and are timed at the deployed size.
    network = search.space.build(search.space.base_choices)
    assert (network.num_classes, network.resolution) == (10, 224)


def test_what_is_given_arrives() -> None:
    search = _build(
        "target_latency=800us", "runs=/tmp/elsewhere", "name=two.b-1", "seed=7", "trials=3",
        "finalists=2", "resolution=96", "proxy_resolution=16", "measure.threads=4",
        "measure.batch=8", "final.epochs=5", "final.learning_rate=1e-3", "data.test_share=0.1",
        "space.base=mnasnet_b1",
    )  # fmt: skip
    settings = search.settings
    assert settings.targets_ms == (pytest.approx(0.8),)
    assert search.folder == Path("/tmp/elsewhere/two.b-1")
    assert (settings.seed, settings.trials, settings.finalists) == (7, 3, 2)
    assert (settings.resolutions, settings.proxy_resolution) == ((96,), 16)
    assert (settings.measure.threads, settings.measure.batch) == (4, 8)
    assert settings.table == Path("tables/local-fp32-t4-b8.jsonl")
    assert settings.final == TrainSettings(
        epochs=5, batch_size=16, learning_rate=1e-3, threads=None
    )
    assert len(search.data.test) == 180
    assert search.space.base_choices["stage7.depth"] == 0
    assert _build("table=own.jsonl").settings.table == Path("own.jsonl")


def test_several_targets_and_image_sizes() -> None:
    search = _build("target_latency=[15ms, 800us]", "resolution=[96,160]")
    assert search.settings.targets_ms == (0.8, 15.0)
    assert search.space.resolutions == (96, 160)
    name = "name='${joined:${target_latency}}'"
    assert _compose("target_latency=[8ms,15ms]", name).name == "8ms_15ms"
    assert _compose("target_latency=8ms", name).name == "8ms"


def test_headroom_is_in_the_targets_of_a_search_with_a_second_stage() -> None:
    given = ("target_latency=12ms", "headroom=1.25")
    assert _build(*given).settings.targets_ms == (12.0,)
    assert _build(*given, "netadapt=true").settings.targets_ms == (15.0,)


def test_a_pruner_that_cannot_end_anything_is_said_to() -> None:
    assert _build("pruner=median").notes == []
    for cannot in ("sampler=nsga2", "evaluator=supernet"):
        assert _build(cannot).notes == []
        search = _build(cannot, "pruner=median")
        assert not search.prunes
        (note,) = search.notes
        assert note.startswith("the pruner ends nothing early here: that takes")


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("postgresql://me:secret@db/studies", "postgresql://me:secret@db/studies"),
        # What Hydra reads is not what was typed.
        (
            r"postgresql://me:secret@db/studies?sslmode\=require",
            "postgresql://me:secret@db/studies?sslmode=require",
        ),
        (
            r"postgresql:///studies?password\=secret",
            "postgresql:///studies?password=secret",
        ),
        ('"postgresql://me:it\'s,secret@db/studies"', "postgresql://me:it's,secret@db/studies"),
    ],
)
def test_no_password_is_kept(given: str, url: str) -> None:
    overrides = ["target_latency=15ms", "name=run", f"storage={given}"]
    with initialize_config_dir(config_dir=str(CONF), version_base=None):
        config = compose("search", overrides)
    search = build_search(config, command=shlex.join(["python", "-m", "nas.search", *overrides]))
    assert search.settings.storage == url
    assert "secret" not in str(search.config) + search.command
    assert search.command.startswith("python -m nas.search target_latency=15ms name=run ")


def test_the_run_keeps_plain_values() -> None:
    search = _build("space=mnasnet", "evaluator.settings.epochs=1")
    config: dict[str, Any] = search.config
    assert not OmegaConf.is_config(config)
    assert type(config["evaluator"]["settings"]) is dict
    assert config["evaluator"]["settings"]["epochs"] == 1
    # References between settings are written out.
    assert config["evaluator"]["resolution"] == 32
    assert config["data"]["seed"] == 0
    assert config["space"]["base"] == "mnasnet_a1"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("target_latency=15", "^target_latency=15 has no unit"),
        ("name=../x", "^name must be letters, digits"),
        ("trials=0", r"^trials must be an integer in 1\.\.1000000, but got 0$"),
        ("trials=many", r"^trials must be an integer in 1\.\.1000000, but got 'many'$"),
        ("seed=-1", r"^seed must be an integer in 0\.\."),
        ("resolution=8", r"^resolution must be an integer in 16\.\.4096, but got 8$"),
        ("proxy_resolution=5000", r"^proxy_resolution must be an integer in 16\.\.4096"),
        ("measure.threads=0", r"^measure: threads must be an integer in 1\.\."),
        ("space.base=mnasnet_a2", r"^space: there is no seed 'mnasnet_a2'"),
        ("space.base=mobilenet_v2", r"^space: the base network is no member of the space: stage1"),
        ("data.test_share=0.9", r"data\.test_share must be in 0\.01\.\.0\.45, but got 0\.9$"),
        ("reward.beta=0.07", r"^reward: reward\.beta must be a number in -10\.\.0"),
        (
            "evaluator.settings.epochs=0",
            r"^evaluator: TrainSettings\.epochs must be an integer in 1",
        ),
        ("final.learning_rate=fast", r"^final: TrainSettings\.learning_rate must be a number in"),
        ("device=ssh", "^device: host must be a name .* like device.host=raspberrypi .* got None$"),
        (
            "device=offline",
            r"^device: table must be the file .* table=tables/phone\.jsonl, .* None$",
        ),
        ("device=offline table=a.plan", r"^device: table must be the file .* but got 'a\.plan'$"),
        ("+device.host=lab", r"^device: .*unexpected keyword argument 'host'"),
        ("+reward.gamma=1", r"^reward: .*unexpected keyword argument 'gamma'"),
        ("+sampler.restarts=1", r"^sampler has no setting 'restarts'; it has \['fresh',"),
        ("sampler=tpe +sampler.restarts=1", r"^sampler has no setting 'restarts'"),
        ("executor.workers=0", r"^executor: executor\.workers must be an integer in 1\.\."),
        ("max_params=-1", r"^max_params must be a number above 0"),
        ("max_peak_memory=2", r"^max_peak_memory must be a number above 0, with a multiple"),
        ("max_latency=5", r"^max_latency=5 has no unit"),
        ("driver_patience_s=1", r"^driver_patience_s must be a number in 30\.\.86400"),
        ("target_latency=[8ms,8ms]", r"^target_latency must be one value or several different"),
        ("handover=maybe", r"^handover must be true or false"),
        ("reward._target_=nas.reward.CubicReward", r"^reward: .*CubicReward"),
        (
            "evaluator=table evaluator.file=known.csv evaluator.percent=no",
            r"^evaluator: evaluator\.percent must be true or false, but got 'no'$",
        ),
        (
            "evaluator=supernet +evaluator.settings.train.channels_last=false",
            r"^evaluator: SupernetSettings\.train\.channels_last must be True, .* got False$",
        ),
        ("~pruner", r"^pruner is missing; give pruner=… with one of hyperband, median, none$"),
        ("~executor", r"^executor is missing; give executor=… with one of local, ray, threads$"),
        ("~trials", r"^trials is missing; leave ~trials out$"),
        ("~measure", r"^measure is missing; leave ~measure out$"),
        ("final=null", r"^final must be settings, as in conf/search\.yaml, but got None$"),
        ("~pruner._target_", r"^pruner: _target_ is missing; it names what is built$"),
        (
            "~sampler._target_",
            r"^sampler cannot be built: _target_ is missing; it names what is built$",
        ),
        ("evaluator.resolution=${nowhere}", r"Interpolation key 'nowhere' not found"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _build(*override.split(" "))
