"""Pixels in, probabilities out: the same as normalising and a softmax outside of the graph."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from nas.data import Preprocessing
from nas.exporting.accuracy import probability_difference
from nas.exporting.onnx_file import ExportError, Runner
from nas.exporting.preprocessing_graph import with_preprocessing
from nas.exporting.quantising import quantise
from nas.exporting.ranges import Method, observe, ranges
from search_spaces import build_onnx

PREPROCESSING = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def test_it_computes_what_torch_computes_of_the_same_pixels(trained) -> None:
    model = build_onnx(trained.architecture, trained.model.state_dict(), batch=2)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(
        with_preprocessing(model, PREPROCESSING).SerializeToString(),
        providers=["CPUExecutionProvider"],
    )
    (given,), (shares,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("image", "tensor(uint8)", [2, 16, 16, 3])
    assert (shares.name, shares.shape) == ("probabilities", [2, 10])
    (found,) = session.run(None, {"image": pixels})
    # torchvision's own words: to 0..1, channels first, minus mean, by std.
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(v)[:, None, None] for v in (PREPROCESSING.mean, PREPROCESSING.std))
    with torch.no_grad():
        expected = trained.model((images - mean) / std).log_softmax(1).numpy()
    assert np.ptp(expected, axis=0).max() > 1
    np.testing.assert_allclose(np.log(found), expected, rtol=0, atol=1e-3)
    onnx.checker.check_model(with_preprocessing(model, PREPROCESSING), full_check=True)


def test_what_is_given_stays_as_it_was(trained) -> None:
    model = build_onnx(trained.architecture, trained.model.state_dict())
    before = model.SerializeToString()
    with_preprocessing(model, PREPROCESSING)
    assert model.SerializeToString() == before


def test_int8_stays_int8_between(trained) -> None:
    model = build_onnx(trained.architecture, trained.model.state_dict())
    (images, _) = next(iter(trained.data.validation.batches(4, 16)))
    histograms = observe(model, lambda: torch.split(images, 1), lambda: None)
    quantised = quantise(model, ranges(histograms, Method.MINMAX, 99.99))
    within = with_preprocessing(quantised, trained.data.preprocessing)
    added = [node.op_type for node in within.graph.node if node not in quantised.graph.node]
    assert added == ["Transpose", "Cast", "Mul", "Add", "Softmax"]
    runners = [Runner(each.SerializeToString()) for each in (quantised, within)]
    assert probability_difference(*runners, trained.data.preprocessing, images) < 1e-4


def test_another_preprocessing_is_noticed(trained) -> None:
    model = build_onnx(trained.architecture, trained.model.state_dict())
    within = with_preprocessing(model, PREPROCESSING)
    (images, _) = next(iter(trained.data.validation.batches(4, 16)))
    runners = [Runner(each.SerializeToString()) for each in (model, within)]
    with pytest.raises(ExportError, match="probabilities differ by"):
        probability_difference(*runners, trained.data.preprocessing, images)


def test_images_that_were_no_pixels_are_refused(trained) -> None:
    model = build_onnx(trained.architecture, trained.model.state_dict())
    runner = Runner(model.SerializeToString())
    unknown = Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3)
    with pytest.raises(ValueError, match=r"needs images of pixels in 0\.\.1, but these are of -2"):
        probability_difference(
            runner, runner, unknown, torch.linspace(-2, 2, 768).view(1, 3, 16, 16)
        )
