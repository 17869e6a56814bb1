"""Ranges of activations, held to numpy, scipy and onnxruntime's own calibration."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
from onnxruntime.quantization.calibrate import create_calibrator
from scipy.stats import entropy
from torch import Tensor

from nas.exporting.ranges import BINS, LEVELS, Histogram, Method, observe, ranges
from search_spaces import build_onnx


class _Reader(CalibrationDataReader):
    def __init__(self, images: Tensor) -> None:
        self._feeds = iter([{"input": image.numpy()} for image in torch.split(images, 1)])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._feeds, None)


@pytest.fixture
def model(trained) -> onnx.ModelProto:
    return build_onnx(trained.architecture, trained.model.state_dict())


@pytest.fixture
def images(trained) -> Tensor:
    (images, _) = next(iter(trained.data.train.batches(24, 16)))
    return images


def _histogram(values: np.ndarray) -> Histogram:
    counts, _ = np.histogram(values, BINS)
    return Histogram(low=values.min(), high=values.max(), counts=counts.astype(np.float64))


def _range(values: np.ndarray, method: Method, percentile: float = 99.99) -> tuple[float, float]:
    return ranges({"x": _histogram(values)}, method, percentile)["x"]


@pytest.mark.parametrize(
    ("method", "theirs", "tolerance"),
    [
        (Method.MINMAX, CalibrationMethod.MinMax, 1e-6),
        # Theirs has 2048 bins on both sides of zero, and rounds to their edges, too.
        (Method.PERCENTILE, CalibrationMethod.Percentile, 0.01),
    ],
)
def test_as_onnxruntime_calibrates(
    method: Method,
    theirs: CalibrationMethod,
    tolerance: float,
    model: onnx.ModelProto,
    images: Tensor,
    tmp_path: Path,
) -> None:
    onnx.save(model, tmp_path / "model.onnx")
    calibrator = create_calibrator(
        tmp_path / "model.onnx",
        [],
        augmented_model_path=str(tmp_path / "augmented.onnx"),
        calibrate_method=theirs,
        extra_options={"symmetric": False}
        | ({"percentile": 99.0, "num_bins": 2048} if method is Method.PERCENTILE else {}),
    )
    calibrator.collect_data(_Reader(images))
    expected = calibrator.compute_data()
    found = ranges(observe(model, lambda: torch.split(images, 1), lambda: None), method, 99.0)
    assert len(found) > 20
    for name, (low, high) in found.items():
        their_low, their_high = (each.item() for each in expected[name].range_value)
        span = their_high - their_low
        assert low == pytest.approx(min(0.0, their_low), abs=tolerance * span)
        assert high == pytest.approx(max(0.0, their_high), abs=tolerance * span)


def test_images_are_streamed_and_counted(model: onnx.ModelProto, images: Tensor) -> None:
    alive = most = 0
    seen: list[int] = []

    def stream() -> Iterator[Tensor]:
        nonlocal alive, most
        for image in torch.split(images, 1):
            alive += 1
            most = max(most, alive)
            yield image
            alive -= 1

    histograms = observe(model, stream, lambda: seen.append(1))
    assert (most, len(seen)) == (1, 2 * len(images))
    given = histograms["input"]
    assert given.counts.sum() == images.numel()
    assert (given.low, given.high) == (float(images.min()), float(images.max()))
    logits = histograms["output"]
    assert logits.counts.sum() == 10 * len(images)


def test_large_activations_are_sampled_evenly(trained) -> None:
    network = trained.architecture.with_resolution(256)
    (image, _) = next(iter(trained.data.train.batches(1, 256)))
    model = build_onnx(network, trained.model.state_dict())
    given = observe(model, lambda: [image], lambda: None)["input"]
    whole = _histogram(image.numpy())
    assert 1 << 13 < given.counts.sum() < 1 << 15
    shares, expected = (h.counts.cumsum() / h.counts.sum() for h in (given, whole))
    assert np.abs(shares - expected).max() < 0.02


@pytest.mark.parametrize("percentile", [90.0, 99.0, 99.9])
def test_percentile_as_numpy(percentile: float) -> None:
    values = np.random.default_rng(0).standard_normal(100_000)
    found = _range(values, Method.PERCENTILE, percentile)
    clipped = (100 - percentile) / 2
    expected = np.percentile(values, [clipped, 100 - clipped])
    assert found == pytest.approx(tuple(expected), abs=2 * np.ptp(values) / BINS)


def test_mse_is_least_by_the_values_themselves() -> None:
    values = np.random.default_rng(0).standard_t(3, 20_000)

    def error(factor: float) -> float:
        low, high = factor * values.min(), factor * values.max()
        step = (high - low) / (LEVELS - 1)
        rounded = low + step * np.clip(np.round((values - low) / step), 0, LEVELS - 1)
        return float(((values - rounded) ** 2).mean())

    low, high = _range(values, Method.MSE)
    factors = np.linspace(0.2, 1, 81)
    best = factors[np.argmin([error(factor) for factor in factors])]
    assert best < 1
    assert (low, high) == pytest.approx((best * values.min(), best * values.max()), rel=0.03)


def test_entropy_keeps_what_has_no_tail_and_cuts_a_thin_one() -> None:
    rng = np.random.default_rng(0)
    even = rng.uniform(0, 6, 100_000)
    assert _range(even, Method.ENTROPY)[1] > 5.9
    outlier = np.append(rng.normal(3, 0.5, 100_000), 30.0)
    assert _range(outlier, Method.ENTROPY)[1] < 20


def test_entropy_is_least_by_scipys_divergence() -> None:
    """Of 8 levels written out: what is left of a distribution when each is spread over its bins."""
    values = np.random.default_rng(0).exponential(1.0, 50_000) + 0.5
    histogram = _histogram(values)
    high = _range(values, Method.ENTROPY)[1]

    def divergence(limit: float) -> float:
        centres = (histogram.edges[1:] + histogram.edges[:-1]) / 2
        kept = histogram.counts[centres <= limit]
        levels = np.round(centres[centres <= limit] / limit * (LEVELS - 1)).astype(int)
        spread = np.zeros_like(kept)
        for level in np.unique(levels):
            filled = (levels == level) & (kept > 0)
            if filled.any():
                spread[filled] = kept[filled].sum() / filled.sum()
        clipped = kept.copy()
        clipped[-1] += histogram.counts[centres > limit].sum()
        spread = np.where(clipped > 0, np.maximum(spread, 1e-9 * clipped.sum()), spread)
        return float(entropy(clipped, spread))

    limits = histogram.high * np.linspace(0.2, 1, 81)
    assert high == pytest.approx(limits[np.argmin([divergence(limit) for limit in limits])])


def test_zero_is_in_every_range() -> None:
    rng = np.random.default_rng(0)
    for method in Method:
        low, high = _range(rng.uniform(2, 3, 1000), method)
        assert low == 0.0
        assert high > 2
        low, high = _range(rng.uniform(-3, -2, 1000), method)
        assert high == 0.0
        assert low < -2


def test_a_constant_activation_has_a_range() -> None:
    for value, expected in ((0.0, (0.0, 0.0)), (2.0, (0.0, 2.0)), (-1.0, (-1.0, 0.0))):
        constant = Histogram(low=value, high=value, counts=np.zeros(BINS))
        for method in Method:
            assert ranges({"x": constant}, method, 99.99)["x"] == expected
