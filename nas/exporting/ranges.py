"""Which values activations have on real images, and which of them int8 is to tell apart.

Images are streamed: first for the smallest and largest value of each activation, then for its
histogram between these. All methods read the same histograms.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, assert_never

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import Tensor

BINS = 2048
LEVELS = 256
_VALUES = 1 << 14
"""Of an activation, in one image's part of a histogram: so many are enough, and fast."""
_FACTORS = np.linspace(0.2, 1.0, 81)
"""Of the range of all values: what ``entropy`` and ``mse`` try."""

Range = tuple[float, float]
Images = Callable[[], Iterable[Tensor]]
"""Gives the same images ``(1, C, H, W)`` each time."""


class Method(StrEnum):
    """What becomes of rare large values, which cost all others resolution.

    - ``minmax``: all values stay;
    - ``percentile``: the largest and smallest are clipped, a share of all;
    - ``entropy``: the range that changes the distribution least (Migacz, *8-bit inference with
      TensorRT*, GTC 2017), without the zeros that a ReLU makes;
    - ``mse``: the range with the least mean squared error (Nagel et al., *A white paper on neural
      network quantization*, 2021, section 3.1).
    """

    MINMAX = "minmax"
    PERCENTILE = "percentile"
    ENTROPY = "entropy"
    MSE = "mse"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Histogram:
    """How often an activation has which values.

    Attributes:
        low, high: the smallest and largest.
        counts: of the values in ``BINS`` equal parts of that range.
    """

    low: float
    high: float
    counts: NDArray[np.float64]

    @property
    def edges(self) -> NDArray[np.float64]:
        return np.linspace(self.low, self.high, len(self.counts) + 1)


def observe(
    model: onnx.ModelProto, images: Images, on_image: Callable[[], None]
) -> dict[str, Histogram]:
    """The histogram of every activation, by name; the image is one of them.

    Args:
        model: a float32 model of batch 1.
        on_image: called twice an image.
    """
    observer = _Observer(model)
    lows: dict[str, float] = {}
    highs: dict[str, float] = {}
    for image in images():
        for name, values in observer(image):
            low, high = map(float, torch.aminmax(values))
            lows[name] = min(lows.get(name, np.inf), low)
            highs[name] = max(highs.get(name, -np.inf), high)
        on_image()
    counts = {name: np.zeros(BINS) for name in lows}
    for image in images():
        for name, values in observer(image):
            if lows[name] < highs[name]:
                found = torch.histc(_some(values), BINS, lows[name], highs[name])
                counts[name] += found.double().numpy()
        on_image()
    return {name: Histogram(low=lows[name], high=highs[name], counts=counts[name]) for name in lows}


def _some(values: Tensor) -> Tensor:
    """About ``_VALUES`` of them, at equal distances; odd, so as not to keep to one column."""
    return values.flatten()[:: len(values.flatten()) // _VALUES | 1]


class _Observer:
    """Runs a model and hands out all that it computes on the way."""

    def __init__(self, model: onnx.ModelProto) -> None:
        observed = onnx.ModelProto()
        observed.CopyFrom(model)
        graph = observed.graph
        self._input = graph.input[0].name
        self._names = [output for node in graph.node for output in node.output]
        del graph.output[:]
        for name in self._names:
            graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
        options = ort.SessionOptions()
        options.log_severity_level = 3
        self._session = ort.InferenceSession(
            observed.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, image: Tensor) -> Iterable[tuple[str, Tensor]]:
        given = np.ascontiguousarray(image)
        found: list[Any] = self._session.run(self._names, {self._input: given})
        yield self._input, torch.from_numpy(given)
        for name, values in zip(self._names, found, strict=True):
            yield name, torch.from_numpy(values)


def ranges(
    histograms: Mapping[str, Histogram], method: Method, percentile: float
) -> dict[str, Range]:
    """The range of each activation that int8 is to cover; zero is in all of them.

    Args:
        percentile: of the values that ``percentile`` keeps; as many are clipped at each end.
    """
    return {name: _range(each, method, percentile) for name, each in histograms.items()}


def _range(histogram: Histogram, method: Method, percentile: float) -> Range:
    low, high = histogram.low, histogram.high
    if low < high:
        match method:
            case Method.MINMAX:
                pass
            case Method.PERCENTILE:
                low, high = _within_percentile(histogram, percentile)
            case Method.ENTROPY:
                low, high = _best_range(histogram, _divergence)
            case Method.MSE:
                low, high = _best_range(histogram, _squared_error)
            case _:
                assert_never(method)
    return min(low, 0.0), max(high, 0.0)


def _within_percentile(histogram: Histogram, percentile: float) -> Range:
    clipped = (1 - percentile / 100) / 2
    shares = np.cumsum(histogram.counts) / histogram.counts.sum()
    first = int(np.searchsorted(shares, clipped, side="right"))
    last = int(np.searchsorted(shares, 1 - clipped, side="left"))
    edges = histogram.edges
    return float(edges[first]), float(edges[min(last, BINS - 1) + 1])


def _best_range(histogram: Histogram, cost: Callable[[Histogram, float, float], float]) -> Range:
    """The candidate of least cost; of equal ones the widest."""
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    candidates = [(low * factor, high * factor) for factor in _FACTORS[::-1]]
    best_low, best_high = min(candidates, key=lambda candidate: cost(histogram, *candidate))
    return float(best_low), float(best_high)


def _squared_error(histogram: Histogram, low: float, high: float) -> float:
    edges = histogram.edges
    centres = (edges[1:] + edges[:-1]) / 2
    step = (high - low) / (LEVELS - 1)
    rounded = low + step * np.clip(np.round((centres - low) / step), 0, LEVELS - 1)
    return float(histogram.counts @ (centres - rounded) ** 2)


def _divergence(histogram: Histogram, low: float, high: float) -> float:
    """Of what is left of the distribution from it, clipped values being its outermost ones."""
    edges = histogram.edges
    centres = (edges[1:] + edges[:-1]) / 2
    counts = np.where((edges[:-1] <= 0) & (edges[1:] >= 0), 0.0, histogram.counts)
    inside = (centres >= low) & (centres <= high)
    if not counts[inside].sum():
        return np.inf
    kept, values = counts[inside].copy(), centres[inside]
    levels = np.round((values - low) / (high - low) * (LEVELS - 1)).astype(np.int64)
    filled = kept > 0
    sums = np.bincount(levels, kept, minlength=LEVELS)
    bins = np.bincount(levels, filled, minlength=LEVELS)
    spread = np.where(filled, sums[levels] / np.maximum(bins[levels], 1), 0.0)
    kept[0] += counts[centres < low].sum()
    kept[-1] += counts[centres > high].sum()
    # In an outermost bin that holds clipped values alone nothing of theirs is left.
    spread = np.where(kept > 0, np.maximum(spread, 1e-9 * kept.sum()), spread)
    before, after = kept / kept.sum(), spread / spread.sum()
    some = before > 0
    return float((before[some] * np.log(before[some] / after[some])).sum())
