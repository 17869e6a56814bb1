"""What a person reads of a file, and when they are warned."""

from typing import Any

from nas.exporting.printing import record_lines


def _int8(after: float, **quantisation: Any) -> dict[str, Any]:
    return {
        "precision": "int8",
        "bytes": 1_234_567,
        "accuracy": {
            "validation": after,
            "validation_images": 360,
            "test": 0.881,
            "test_images": 300,
            "tests": 2,
        },
        "fp32_validation": 0.912,
        "agreement": 0.973,
        "quantisation": {
            "method": "mse",
            "tried": {"minmax": 0.5, "mse": after},
            "images": 256,
            "exclude": [],
            "reduce_range": False,
            **quantisation,
        },
        "latency": None,
    }


def test_int8() -> None:
    assert list(record_lines("model-int8.onnx", _int8(0.907), 0.02)) == [
        "model-int8.onnx, 1.23 MB",
        "  accuracy   validation 91.2% before, 90.7% after quantisation (-0.5 points) on 360 "
        "images; test 88.1% on 300 images, which this run has now looked at 2 times",
        "  agreement  97.3% of these get the same class as in fp32",
        "  calibrated by mse on 256 training images (minmax 50.0%, mse 90.7% on the validation "
        "part)",
    ]


def test_too_great_a_loss_says_what_to_try() -> None:
    warning = list(record_lines("a", _int8(0.88), 0.02))[-1]
    assert warning == (
        "  warning    int8 loses 3.2 points, more than max_accuracy_loss=0.02; try "
        "calibration.images=1024; exclude=[blocks.0,classifier] or exclude=[squeeze_excite], "
        "which keeps in float32 what often suffers most; reduce_range=true, where this processor "
        "has no VNNI"
    )
    assert "warning" not in " ".join(record_lines("a", _int8(0.88), 0.04))
    once = _int8(0.5, tried={"mse": 0.5}, exclude=["blocks.0"], reduce_range=True)
    lines = list(record_lines("a", once, 0.02))
    assert lines[-2].endswith("; blocks.0 stay in float32")
    assert lines[-1].endswith("try calibration.method=best; calibration.images=1024")


def test_fp32_and_latency() -> None:
    record = {
        "precision": "fp32",
        "bytes": 4_000_000,
        "accuracy": {"validation": 0.5, "validation_images": 10, "test": 0.25},
        "logit_difference": 2.1e-6,
        "probability_difference": 1e-7,
        "latency": {
            "target_ms": 5.0,
            "predicted_ms": 4.5,
            "measured_ms": 5.25,
            "verdict": "missed",
            "threads": 2,
            "batch": 1,
            "device": {"cpu": "a processor"},
            "runtime": "onnxruntime",
            "runtime_version": "1.32.0",
        },
    }
    assert list(record_lines("model-fp32.onnx", record, 0.02)) == [
        "model-fp32.onnx, 4.00 MB",
        "  accuracy   validation 50.0% on 10 images; test 25.0% by the run's report",
        "  checked    logits within 2.1e-06 of torch's",
        "  pixels     go in as bytes, probabilities come out; within 1.0e-07 of the same outside "
        "of the graph",
        "  latency    target 5.00 ms, predicted 4.50 ms, measured 5.25 ms, MISSED",
        "             a processor, 2 threads, batch 1, onnxruntime 1.32.0",
    ]
