"""What a person reads of an exported file."""

from collections.abc import Iterator, Mapping
from typing import Any

from nas.report.summary import processor_name


def record_lines(name: str, record: Mapping[str, Any], max_loss: float) -> Iterator[str]:
    """A file's record of ``export.json`` as lines."""
    yield f"{name}, {record['bytes'] / 1e6:.2f} MB"
    accuracy = record["accuracy"]
    if record["precision"] == "int8":
        yield from _int8_lines(record, max_loss)
    else:
        yield (
            f"  accuracy   validation {accuracy['validation']:.1%} on "
            f"{accuracy['validation_images']} images{_test(accuracy)}"
        )
        yield f"  checked    logits within {record['logit_difference']:.1e} of torch's"
    if "probability_difference" in record:
        yield (
            "  pixels     go in as bytes, probabilities come out; within "
            f"{record['probability_difference']:.1e} of the same outside of the graph"
        )
    if record["latency"] is not None:
        yield from _latency_lines(record["latency"])


def _int8_lines(record: Mapping[str, Any], max_loss: float) -> Iterator[str]:
    accuracy, quantisation = record["accuracy"], record["quantisation"]
    before, after = record["fp32_validation"], accuracy["validation"]
    yield (
        f"  accuracy   validation {before:.1%} before, {after:.1%} after quantisation "
        f"({100 * (after - before):+.1f} points) on {accuracy['validation_images']} images"
        f"{_test(accuracy)}"
    )
    yield f"  agreement  {record['agreement']:.1%} of these get the same class as in fp32"
    tried = ", ".join(f"{method} {share:.1%}" for method, share in quantisation["tried"].items())
    excluded = quantisation["exclude"]
    left = f"; {', '.join(excluded)} stay in float32" if excluded else ""
    yield (
        f"  calibrated by {quantisation['method']} on {quantisation['images']} training images "
        f"({tried} on the validation part){left}"
    )
    if before - after > max_loss:
        yield _advice(before - after, max_loss, quantisation)


def _test(accuracy: Mapping[str, Any]) -> str:
    if accuracy.get("test") is None:
        return ""
    if "tests" not in accuracy:
        return f"; test {accuracy['test']:.1%} by the run's report"
    times = "once" if accuracy["tests"] == 1 else f"{accuracy['tests']} times"
    return (
        f"; test {accuracy['test']:.1%} on {accuracy['test_images']} images, which this run has "
        f"now looked at {times}"
    )


def _advice(loss: float, max_loss: float, quantisation: Mapping[str, Any]) -> str:
    ways = []
    if len(quantisation["tried"]) == 1:
        ways.append("calibration.method=best")
    ways.append(f"calibration.images={4 * quantisation['images']}")
    if not quantisation["exclude"]:
        ways.append(
            "exclude=[blocks.0,classifier] or exclude=[squeeze_excite], which keeps in float32 "
            "what often suffers most"
        )
    if not quantisation["reduce_range"]:
        ways.append("reduce_range=true, where this processor has no VNNI")
    return (
        f"  warning    int8 loses {100 * loss:.1f} points, more than max_accuracy_loss="
        f"{max_loss:g}; try {'; '.join(ways)}"
    )


def _latency_lines(latency: Mapping[str, Any]) -> Iterator[str]:
    said = [f"measured {latency['measured_ms']:.2f} ms"]
    if latency["predicted_ms"] is not None:
        said.insert(0, f"predicted {latency['predicted_ms']:.2f} ms")
    if "share_of_fp32" in latency:
        said.append(f"{latency['share_of_fp32']:.2f} of fp32's, in turns with it")
    if latency["target_ms"] is not None:
        said.insert(0, f"target {latency['target_ms']:.2f} ms")
        said.append(str(latency["verdict"]).upper())
    yield f"  latency    {', '.join(said)}"
    threads = "1 thread" if latency["threads"] == 1 else f"{latency['threads']} threads"
    yield (
        f"             {processor_name(latency['device'])}, {threads}, batch {latency['batch']}, "
        f"{latency['runtime']} {latency['runtime_version']}"
    )
