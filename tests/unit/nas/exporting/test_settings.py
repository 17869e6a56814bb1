"""What the command line says, as settings; what it may not say, in one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from PIL import Image

from latency.devices import LocalDevice
from latency.devices.offline import OfflineDevice
from nas.entry import CONFIG_FOLDER, as_hydra_reads_it
from nas.exporting.ranges import Method
from nas.exporting.settings import Export, build_export
from search_spaces.precision import Precision

MakeRun = Callable[..., Path]


def _build(*overrides: str) -> Export:
    with initialize_config_dir(config_dir=CONFIG_FOLDER, version_base=None):
        return build_export(compose("export", list(overrides)), command=["export", *overrides])


def test_by_itself(make_run: MakeRun) -> None:
    folder = make_run()
    export = _build(f"run={folder}")
    settings = export.settings
    assert settings.precisions == (Precision.FP32, Precision.INT8)
    assert settings.calibration.methods == tuple(Method)
    assert (settings.calibration.images, settings.with_preprocessing) == (256, False)
    assert (export.device, export.measures) == (LocalDevice(), True)
    assert export.data.name == "digits"
    assert export.measure.batch == 1
    assert export.folder == folder / "export"
    assert export.command == f"export run={folder}"


def test_device_and_measuring_are_the_runs(make_run: MakeRun) -> None:
    offline = {"_target_": "latency.devices.OfflineDevice", "table": "tables/phone.jsonl"}
    measure = {"_target_": "latency.plan.MeasureSettings", "batch": 4, "threads": 2}
    folder = make_run(device=offline, measure=measure)
    export = _build(f"run={folder}")
    assert export.device == OfflineDevice(table=Path("tables/phone.jsonl"))
    assert not export.measures
    assert (export.measure.batch, export.measure.threads, export.measure.runs) == (4, 2, 12)
    assert _build(f"run={folder}", "measure=true").measures
    assert _build(f"run={folder}", "batch=2").measure.batch == 2
    assert _build(f"run={folder}", "device=local").device == LocalDevice()
    board = _build(f"run={folder}", "device=offline", "table=tables/board.jsonl").device
    assert board == OfflineDevice(table=Path("tables/board.jsonl"))


def test_the_images_may_lie_elsewhere(make_run: MakeRun, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(120):
        folder = tmp_path / "here" / str(number % 10)
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    images = {
        "_target_": "nas.data.image_folder.image_folder_data",
        "path": str(tmp_path / "there"),
        "scans": str(tmp_path / "scans"),
        "seed": 0,
    }
    folder = make_run(data=images)
    with pytest.raises(ValueError, match="there is no folder"):
        _build(f"run={folder}")
    export = _build(f"run={folder}", f"data.path={tmp_path / 'here'}")
    assert (export.data.name, export.data.num_classes) == ("here", 10)


def test_one_method_or_several(make_run: MakeRun) -> None:
    folder = make_run()
    for given, expected in (
        ("entropy", (Method.ENTROPY,)),
        ("[mse,minmax]", (Method.MSE, Method.MINMAX)),
        ("best", tuple(Method)),
    ):
        settings = _build(f"run={folder}", f"calibration.method={given}").settings
        assert settings.calibration.methods == expected
    settings = _build(f"run={folder}", "precision=int8", "exclude=[blocks.0,classifier]").settings
    assert settings.precisions == (Precision.INT8,)
    assert settings.exclude == ("blocks.0", "classifier")


def test_the_flag(make_run: MakeRun) -> None:
    flag = as_hydra_reads_it("--with-preprocessing")
    assert _build(f"run={make_run()}", flag).settings.with_preprocessing
    for other in ("run=--with-preprocessing", "precision=int8", "--cfg"):
        assert as_hydra_reads_it(other) == other


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("precision=fp16", r"^precision must be among fp32, int8, but got 'fp16'$"),
        ("precision=[]", r"^precision must name one of fp32, int8, or both$"),
        (
            "calibration.method=kl",
            r"^calibration\.method must be among minmax, percentile, entropy,",
        ),
        ("calibration.images=0", r"^Calibration\.images must be an integer in 1\.\."),
        ("calibration.percentile=10", r"^Calibration\.percentile must be a number in 50\.\.100"),
        ("batch=0", r"^batch must be an integer in 1\.\.4096, but got 0$"),
        ("max_accuracy_loss=2", r"^max_accuracy_loss must be a number in 0\.\.1, but got 2$"),
        ("measure=perhaps", r"^measure must be true or false, but got 'perhaps'$"),
        ("test=1", r"^test must be true or false, but got 1$"),
        ("with_preprocessing=2", r"^with_preprocessing must be true or false, but got 2$"),
    ],
)
def test_what_is_refused(override: str, message: str, make_run: MakeRun) -> None:
    with pytest.raises(ValueError, match=message):
        _build(f"run={make_run()}", override)


def test_no_run() -> None:
    with pytest.raises(ValueError, match=r"^run is missing; give the folder of a finished run"):
        _build()


def test_data_that_cannot_be_built(make_run: MakeRun) -> None:
    data: dict[str, Any] = {"_target_": "nas.data.digits.nothing"}
    with pytest.raises(ValueError, match=r"^data") as refused:
        _build(f"run={make_run(data=data)}")
    assert "\n" not in str(refused.value)
