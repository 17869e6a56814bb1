"""One small network by three kinds of names, written out by hand; and weights of another one."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nas.training.peer_weights import Library, translate
from search_spaces import Architecture, build_model
from search_spaces.blocks import (
    Activation,
    ClassifierHead,
    ConvNormAct,
    DepthwiseSeparable,
    InvertedResidual,
    ShuffleV2Unit,
    SqueezeExcite,
)

NETWORK = Architecture(
    name="small",
    resolution=32,
    norm_epsilon=1e-3,
    blocks=(
        ConvNormAct(out_channels=8, kernel=3, stride=2),
        DepthwiseSeparable(out_channels=8, kernel=3),
        InvertedResidual(
            expanded_channels=8, out_channels=8, kernel=3, squeeze_excite=SqueezeExcite(channels=8)
        ),
        ConvNormAct(out_channels=8, kernel=1),
        ClassifierHead(num_classes=5, hidden_channels=8, hidden_activation=Activation.H_SWISH),
    ),
)

# Ours, torchvision's as in MobileNetV3, timm's; and the weight's shape, of a norm its channels.
# As many shapes as can be are equal, so nothing but names tells the layers apart.
LAYERS: list[tuple[str, str, str, tuple[int, ...]]] = [
    ("blocks.0.unit.conv", "features.0.0", "conv_stem", (8, 3, 3, 3)),
    ("blocks.0.unit.norm", "features.0.1", "bn1", (8,)),
    ("blocks.1.depthwise.conv", "features.1.block.0.0", "blocks.0.0.conv_dw", (8, 1, 3, 3)),
    ("blocks.1.depthwise.norm", "features.1.block.0.1", "blocks.0.0.bn1", (8,)),
    ("blocks.1.pointwise.conv", "features.1.block.1.0", "blocks.0.0.conv_pw", (8, 8, 1, 1)),
    ("blocks.1.pointwise.norm", "features.1.block.1.1", "blocks.0.0.bn2", (8,)),
    ("blocks.2.expand.conv", "features.2.block.0.0", "blocks.1.0.conv_pw", (8, 8, 1, 1)),
    ("blocks.2.expand.norm", "features.2.block.0.1", "blocks.1.0.bn1", (8,)),
    ("blocks.2.depthwise.conv", "features.2.block.1.0", "blocks.1.0.conv_dw", (8, 1, 3, 3)),
    ("blocks.2.depthwise.norm", "features.2.block.1.1", "blocks.1.0.bn2", (8,)),
    (
        "blocks.2.squeeze_excite.reduce",
        "features.2.block.2.fc1",
        "blocks.1.0.se.conv_reduce",
        (8, 8, 1, 1),
    ),
    (
        "blocks.2.squeeze_excite.expand",
        "features.2.block.2.fc2",
        "blocks.1.0.se.conv_expand",
        (8, 8, 1, 1),
    ),
    ("blocks.2.project.conv", "features.2.block.3.0", "blocks.1.0.conv_pwl", (8, 8, 1, 1)),
    ("blocks.2.project.norm", "features.2.block.3.1", "blocks.1.0.bn3", (8,)),
    ("blocks.3.unit.conv", "features.3.0", "blocks.2.0.conv", (8, 8, 1, 1)),
    ("blocks.3.unit.norm", "features.3.1", "blocks.2.0.bn1", (8,)),
    ("blocks.4.hidden", "classifier.0", "conv_head", (8, 8)),
    ("blocks.4.classifier", "classifier.3", "classifier", (5, 8)),
]
COLUMNS = {Library.OURS: 0, Library.TORCHVISION: 1, Library.TIMM: 2}


def _state(layers: Iterable[tuple[str, tuple[int, ...]]]) -> dict[str, Tensor]:
    """Random weights. Layers of one dimension are norms; those that none follows have a bias."""
    layers = list(layers)
    state: dict[str, Tensor] = {}
    for (name, shape), (_, following) in zip(layers, [*layers[1:], ("", (0, 0))], strict=True):
        state[f"{name}.weight"] = torch.rand(shape)
        if len(shape) == 1:
            state |= {f"{name}.{part}": torch.rand(shape) for part in ("bias", "running_mean")}
            state[f"{name}.running_var"] = torch.rand(shape)
            state[f"{name}.num_batches_tracked"] = torch.tensor(7)
        elif len(following) != 1:
            state[f"{name}.bias"] = torch.rand(shape[0])
    return state


def _small(library: Library) -> dict[str, Tensor]:
    return _state((layer[COLUMNS[library]], layer[3]) for layer in LAYERS)


def _expected(state: dict[str, Tensor], library: Library) -> dict[str, Tensor]:
    """Ours, by the list of names above."""
    ours = {layer[COLUMNS[library]]: layer[0] for layer in LAYERS}
    return {
        f"{ours[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": value
        for name, value in state.items()
    }


def _assert_same(given: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert given.keys() == expected.keys()
    assert all(torch.equal(given[name], expected[name]) for name in expected)


@pytest.mark.parametrize("library", Library)
def test_names_alone_decide(library: Library) -> None:
    state = _small(library)
    expected = _expected(state, library)
    for given in (state, dict(reversed(state.items())), dict(sorted(state.items()))):
        translated = translate(given, NETWORK)
        assert translated.library is library
        _assert_same(translated.weights, expected)
    build_model(NETWORK).load_state_dict(translated.weights)


def test_the_network_computes_what_the_library_does() -> None:
    for library in (Library.OURS, Library.TORCHVISION):
        translated = translate(_small(library), NETWORK)
        assert (translated.architecture, translated.notes) == (NETWORK, ())
    translated = translate(_small(Library.TIMM), NETWORK)
    assert translated.architecture == replace(NETWORK, norm_epsilon=1e-5)
    assert translated.notes == ("its batch norms have timm's epsilon, 1e-05 instead of 0.001",)


def test_timms_mobilenet_v1_has_relu6() -> None:
    relu, relu6 = (
        Architecture(
            name="like_mobilenet_v1",
            blocks=(
                ConvNormAct(out_channels=8, kernel=3, activation=activation),
                DepthwiseSeparable(
                    out_channels=8, kernel=3, activation=activation, output_activation=activation
                ),
                ClassifierHead(num_classes=5),
            ),
        )
        for activation in (Activation.RELU, Activation.RELU6)
    )
    layers = [(timm, shape) for _, _, timm, shape in [*LAYERS[:6], LAYERS[-1]]]
    translated = translate(_state(layers), relu)
    assert translated.architecture == relu6
    assert translated.notes == ("it has timm's ReLU6 instead of ReLU",)


@pytest.mark.parametrize("library", Library)
def test_a_classifier_of_other_classes_is_left_out(library: Library) -> None:
    state = _small(library)
    translated = translate(state, NETWORK.with_num_classes(3))
    assert translated.architecture.num_classes == 3
    assert translated.notes[-1] == (
        "its classifier of 5 classes is left out: one of 3 is initialised at random"
    )
    expected = _expected(state, library)
    for part in ("weight", "bias"):
        del expected[f"blocks.4.classifier.{part}"]
    _assert_same(translated.weights, expected)


def test_linear_layers_may_be_convolutions() -> None:
    state = _small(Library.TIMM)
    expected = _expected(state, Library.TIMM)
    for name in ("conv_head.weight", "classifier.weight"):
        state[name] = state[name][:, :, None, None]
    _assert_same(translate(state, NETWORK).weights, expected)


def test_norms_of_old_files_lack_their_count() -> None:
    state = _small(Library.TORCHVISION)
    old = {name: value for name, value in state.items() if "tracked" not in name}
    weights = translate(old, NETWORK).weights
    assert weights["blocks.1.depthwise.norm.num_batches_tracked"] == 0
    build_model(NETWORK).load_state_dict(weights)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bn1.bias": None}, r"^bn1\.bias is missing$"),
        ({"classifier.bias": None}, r"^classifier\.bias is missing$"),
        ({"bn1.running_std": (8,)}, r"^'bn1\.running_std' is left over$"),
        ({"conv_stem.bias": (8,)}, r"^'conv_stem\.bias' is left over$"),
        (
            {"blocks.1.0.conv_dw.weight": (8, 1, 5, 5)},
            r"^blocks\.1\.0\.conv_dw\.weight has the shape \(8, 1, 5, 5\), "
            r"and \(8, 1, 3, 3\) is needed$",
        ),
        ({"blocks.0.0.conv_pw.weight": (8, 8)}, r"conv_pw\.weight has the shape \(8, 8\), and"),
        ({"classifier.weight": (4, 8)}, r"^classifier\.weight has the shape \(4, 8\), and \(5"),
        ({"classifier.bias": ()}, r"^classifier\.bias has the shape \(\), and \(5,\) is needed"),
        ({"blocks.3.0.conv_dw.weight": (8, 1, 3, 3)}, "^its layers are not named as those of"),
        ({"blocks.1.1.conv_pw.weight": (8, 8, 1, 1)}, "^its layers are not named as those of"),
        ({"conv_stem.weight": None}, "^its layers are not named as those of"),
        ({"": (1,)}, "^its layers are not named as those of"),
    ],
)
def test_weights_of_another_network(
    changes: dict[str, tuple[int, ...] | None], message: str
) -> None:
    state = _small(Library.TIMM)
    for name, shape in changes.items():
        if shape is None:
            del state[name]
        else:
            state[name] = torch.rand(shape)
    with pytest.raises(ValueError, match=message):
        translate(state, NETWORK)


def test_equal_shapes_in_equal_order_under_names_of_other_blocks() -> None:
    """A unit of ShuffleNetV2, and blocks with the layers of its two branches one after another."""
    depthwise, pointwise, norm = (8, 1, 3, 3), (8, 8, 1, 1), (8,)
    layers = [
        ("conv1.0", (8, 3, 3, 3)),
        ("conv1.1", norm),
        ("stage2.0.branch1.0", depthwise),
        ("stage2.0.branch1.1", norm),
        ("stage2.0.branch1.2", pointwise),
        ("stage2.0.branch1.3", norm),
        ("stage2.0.branch2.0", pointwise),
        ("stage2.0.branch2.1", norm),
        ("stage2.0.branch2.3", depthwise),
        ("stage2.0.branch2.4", norm),
        ("stage2.0.branch2.5", pointwise),
        ("stage2.0.branch2.6", norm),
    ]
    stem, head = ConvNormAct(out_channels=8, kernel=3), ClassifierHead(num_classes=5)
    unit = ShuffleV2Unit(branch_channels=8, out_channels=16, stride=2)
    right = Architecture(name="right", blocks=(stem, unit, head))
    assert translate(_state([*layers, ("fc", (5, 16))]), right).library is Library.TORCHVISION
    chain = (
        DepthwiseSeparable(out_channels=8, kernel=3),
        InvertedResidual(expanded_channels=8, out_channels=8, kernel=3),
    )
    wrong = Architecture(name="wrong", blocks=(stem, *chain, head))
    with pytest.raises(ValueError, match="its layers are not named as those of"):
        translate(_state([*layers, ("fc", (5, 8))]), wrong)
