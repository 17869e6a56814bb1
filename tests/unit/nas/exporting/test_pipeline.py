"""Exports of a small run: what is made, kept, counted, measured and said inside the files."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from latency.console import Terminal
from latency.devices.base import DeviceError
from latency.plan import MeasureSettings
from nas.exporting import making
from nas.exporting.metadata import graph_digest, read_metadata
from nas.exporting.pipeline import run_export
from nas.exporting.ranges import Method
from nas.exporting.settings import Calibration, Export, ExportSettings
from nas.exporting.source import FinishedRun
from nas.run_folder import locked
from nas.training.weights import save_weights
from search_spaces.precision import Precision

MakeExport = Callable[..., Export]
# What the device of tests calls the median is 2 % more than the undisturbed latency.
CALIBRATION = Calibration(images=40, methods=(Method.MINMAX, Method.MSE))
FP32, INT8 = "model-fp32.onnx", "model-int8.onnx"


@pytest.fixture
def make_export(trained, make_run: Callable[..., Path], make_device: Callable[..., Any]):
    """``make_export(precisions=…)``: of one run, on one device that needs no clock."""
    folder, device = make_run(), make_device(lambda entry: 4.0 if FP32 in entry["key"] else 2.0)

    def make(**settings: Any) -> Export:
        return Export(
            settings=ExportSettings(**{"calibration": CALIBRATION, **settings}),
            run=FinishedRun.read(folder),
            data=trained.data,
            device=device,
            measure=MeasureSettings(),
            command="the command",
        )

    return make


@pytest.fixture
def quantisations(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Of every quantisation, the parts that it left out."""
    found: list[object] = []
    quantise = making.quantise

    def counted(*args: Any, **options: Any) -> Any:
        found.append(options["exclude"])
        return quantise(*args, **options)

    monkeypatch.setattr(making, "quantise", counted)
    return found


def _run(content: bytes, images: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate(
        [session.run(None, {name: image.numpy()})[0] for image in torch.split(images, 1)]
    )


def test_both_files_and_all_that_is_known_of_them(trained, make_export: MakeExport) -> None:
    export = make_export()
    records = run_export(export, Terminal())
    assert records == json.loads((export.folder / "export.json").read_text())
    images, labels = next(iter(trained.data.validation.batches(1000, 16)))
    with torch.no_grad():
        expected = trained.model(images).numpy()
    answered = {}
    for name in (FP32, INT8):
        content = (export.folder / name).read_bytes()
        answered[name] = _run(content, images.contiguous())
        said, record = read_metadata(content), records[name]
        right = (answered[name].argmax(1) == labels.numpy()).mean()
        assert record["accuracy"]["validation"] == pytest.approx(right)
        assert record["accuracy"]["validation_images"] == len(labels)
        assert record["bytes"] == len(content)
        assert said["accuracy"] == record["accuracy"]
        assert said["latency"] == record["latency"]
        assert said["latency"]["graph_sha256"] == record["graph_sha256"] == graph_digest(content)
        assert (said["command"], said["classes"][3]) == ("the command", "3")
    assert np.abs(answered[FP32] - expected).max() <= 1e-4
    assert records[FP32]["logit_difference"] <= 1e-4
    agreement = (answered[FP32].argmax(1) == answered[INT8].argmax(1)).mean()
    assert records[INT8]["agreement"] == pytest.approx(agreement)
    tried = records[INT8]["quantisation"]["tried"]
    assert list(tried) == ["minmax", "mse"]
    assert records[INT8]["accuracy"]["validation"] == max(tried.values())


def test_what_is_to_be_known_of_the_data_is_said(
    make_export: MakeExport, capsys: pytest.CaptureFixture[str]
) -> None:
    export = make_export(precisions=(Precision.FP32,))
    export = replace(export, data=replace(export.data, notes=("1 image is skipped: a.png",)))
    run_export(export, Terminal())
    assert "data: 1 image is skipped: a.png\n" in capsys.readouterr().out


def test_latency_is_of_the_files_beside_target_and_prediction(make_export: MakeExport) -> None:
    export = make_export()
    records = run_export(export, Terminal())
    fp32, int8 = records[FP32]["latency"], records[INT8]["latency"]
    assert (fp32["measured_ms"], int8["measured_ms"]) == (4.08, 2.04)
    assert (fp32["target_ms"], fp32["verdict"], int8["verdict"]) == (5.0, "met", "met")
    # The run's table was of fp32.
    assert (fp32["predicted_ms"], int8["predicted_ms"]) == (3.0, None)
    assert int8["share_of_fp32"] == 0.5
    assert (int8["threads"], int8["batch"]) == (1, 1)
    strict = replace(export.run, summary={"latency": {"target_ms": 3.0, "predicted_ms": 3.0}})
    records = run_export(replace(export, run=strict), Terminal())
    assert [records[name]["latency"]["verdict"] for name in (FP32, INT8)] == ["missed", "met"]
    for summary in ({}, {"latency": None}, {"latency": {"measured_ms": 9.0}}):
        unknown = replace(export, run=replace(export.run, summary=summary))
        latency = run_export(unknown, Terminal())[INT8]["latency"]
        assert (latency["target_ms"], latency["verdict"]) == (None, None)
        assert latency["measured_ms"] == 2.04


def test_a_repeated_command_makes_nothing_again(
    make_export: MakeExport, quantisations: list[object]
) -> None:
    export = make_export()
    first = run_export(export, Terminal())
    files = {name: (export.folder / name).stat().st_mtime_ns for name in (FP32, INT8)}
    assert run_export(export, Terminal()) == first
    assert len(quantisations) == 2
    assert {name: (export.folder / name).stat().st_mtime_ns for name in files} == files
    assert export.device.asked[1:] == [set()]
    assert json.loads((export.run.folder / "tests.json").read_text()) == [
        0.9,
        first[INT8]["accuracy"]["test"],
    ]
    (export.folder / INT8).write_bytes(b"damaged")
    assert run_export(export, Terminal()) == first


def test_other_settings_make_another_file_and_leave_the_rest(
    make_export: MakeExport, quantisations: list[object]
) -> None:
    run_export(make_export(), Terminal())
    export = make_export(precisions=(Precision.INT8,), exclude=("squeeze_excite",))
    records = run_export(export, Terminal())
    assert list(records) == [INT8]
    assert records[INT8]["quantisation"]["exclude"] == ["squeeze_excite"]
    assert all(quantisations[2:])
    known = json.loads((export.folder / "export.json").read_text())
    assert set(known) == {FP32, INT8}
    assert (export.folder / FP32).exists()
    assert len(json.loads((export.run.folder / "tests.json").read_text())) == 3


def test_files_of_other_weights_go(trained, make_export: MakeExport) -> None:
    export = make_export(test=False)
    before = run_export(export, Terminal())
    assert before[INT8]["accuracy"]["test"] is None
    state = {name: value.clone() for name, value in trained.model.state_dict().items()}
    state["blocks.3.classifier.bias"] += 5.0 * torch.eye(10)[0]
    save_weights(export.run.folder / "best.pt", state)
    export = make_export(test=False, precisions=(Precision.FP32,))
    after = run_export(export, Terminal())
    assert after[FP32]["graph_sha256"] != before[FP32]["graph_sha256"]
    assert not (export.folder / INT8).exists()
    assert set(json.loads((export.folder / "export.json").read_text())) == {FP32}
    assert json.loads((export.run.folder / "tests.json").read_text()) == [0.9]


def test_pixels_in_and_probabilities_out(trained, make_export: MakeExport) -> None:
    run_export(make_export(), Terminal())
    export = make_export(with_preprocessing=True)
    records = run_export(export, Terminal())
    assert set(records) == {
        "model-fp32-with-preprocessing.onnx", "model-int8-with-preprocessing.onnx"
    }  # fmt: skip
    preprocessing = trained.data.preprocessing
    (images, _) = next(iter(trained.data.test.batches(50, 16)))
    shades = images * preprocessing.std[0] + preprocessing.mean[0]
    pixels = (255 * shades).round().byte().permute(0, 2, 3, 1).contiguous()
    prepared = preprocessing.normalise(pixels.permute(0, 3, 1, 2) / 255).contiguous()
    for name, record in records.items():
        content = (export.folder / name).read_bytes()
        assert read_metadata(content)["preprocessing"]["in_graph"] is True
        assert record["probability_difference"] < 1e-4
        shares = _run(content, pixels)
        assert shares.sum(1) == pytest.approx(np.ones(50), abs=1e-5)
        plain = (export.folder / name.replace("-with-preprocessing", "")).read_bytes()
        expected = torch.from_numpy(_run(plain, prepared)).softmax(1)
        assert shares == pytest.approx(expected.numpy(), abs=1e-4)
    # The network is the one that was tested before.
    assert len(json.loads((export.run.folder / "tests.json").read_text())) == 2


def test_files_are_there_before_they_are_measured(
    make_export: MakeExport, monkeypatch: pytest.MonkeyPatch, quantisations: list[object]
) -> None:
    export = make_export()

    def fail(*_: object) -> None:
        raise DeviceError("the phone is off")

    with monkeypatch.context() as off:
        off.setattr(export.device, "measure", fail)
        with pytest.raises(DeviceError, match="the phone is off"):
            run_export(export, Terminal())
    for name in (FP32, INT8):
        assert "latency" not in read_metadata((export.folder / name).read_bytes())
    assert run_export(export, Terminal())[INT8]["latency"]["measured_ms"] == 2.04
    assert len(quantisations) == 2


def test_without_measuring_nothing_is_claimed(make_export: MakeExport) -> None:
    export = make_export(measure=False, precisions=(Precision.INT8,))
    records = run_export(export, Terminal())
    assert records[INT8]["latency"] is None
    assert export.device.asked == []
    measured = run_export(make_export(precisions=(Precision.INT8,)), Terminal())[INT8]["latency"]
    assert measured["measured_ms"] == 2.04
    assert "share_of_fp32" not in measured


def test_calibration_images_are_of_the_training_part(
    trained, make_export: MakeExport, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    observe = making.observe

    def watched(model: Any, images: Any, on_image: Any) -> Any:
        assert all(map(torch.equal, images(), images())), "each pass must see the same images"
        seen.extend(images())
        return observe(model, images, on_image)

    monkeypatch.setattr(making, "observe", watched)
    run_export(make_export(measure=False, precisions=(Precision.INT8,)), Terminal())
    known = {image.numpy().tobytes() for image in trained.data.train.images_at(
        torch.arange(len(trained.data.train)), 16).contiguous()}  # fmt: skip
    drawn = [image[0].contiguous().numpy().tobytes() for image in seen]
    assert len(drawn) == 40
    assert len(set(drawn)) > 30
    assert known.issuperset(drawn)


def test_a_run_that_is_at_work_is_left_alone(make_export: MakeExport) -> None:
    export = make_export()
    with (
        locked(export.run.config_folder),
        pytest.raises(ValueError, match="another process is working in"),
    ):
        run_export(export, Terminal())
    assert not export.folder.exists()
