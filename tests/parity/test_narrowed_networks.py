"""Narrowed networks compute what the wider ones did where nothing of effect is gone."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from latency.context import walk_in_context
from netadapt.changes import ProposalKind, places
from netadapt.channel_match import ChannelMatch
from netadapt.channels import Channel
from netadapt.edits import edited_steps, narrow, with_steps
from netadapt.weight_transfer import match_networks, transfer_weights
from netadapt.width_groups import WidthGroup, width_groups
from search_spaces import Architecture, build_model, build_onnx, load_seed, seed_names
from search_spaces.blocks import (
    Activation,
    ClassifierHead,
    ConvNormAct,
    DepthwiseSeparable,
    InvertedResidual,
    Pool,
    PoolKind,
    ShuffleV1Unit,
    ShuffleV2Unit,
    Skip,
    SqueezeExcite,
)
from search_spaces.ops import Conv

State = dict[str, Tensor]
Trained = Callable[[str], tuple[Architecture, State]]

SPREAD = 0.1
EXACT, ACROSS_RUNTIMES = 1e-5, 1e-4
OTHER_KINDS = (ProposalKind.KERNEL, ProposalKind.DEPTH, ProposalKind.SQUEEZE_EXCITE)
WIDTHS = {"mobilenet": 0.25, "mnasnet": 0.25, "shufflenet": 0.5}


def images(number: int, resolution: int) -> Tensor:
    """Noise around a colour of each image's own: noise alone is the same to a global pool."""
    return torch.randn(number, 3, 1, 1) + torch.randn(number, 3, resolution, resolution)


@pytest.fixture(scope="session")
def trained(give_statistics: Callable[[nn.Module, Tensor], None]) -> Trained:
    """``trained(seed)``: a small network of its structure, with weights as after training.

    Logits of two images differ by ``SPREAD``.
    """

    @cache
    def build(name: str) -> tuple[Architecture, State]:
        torch.manual_seed(0)
        width = WIDTHS[name.split("_")[0]]
        architecture = load_seed(name, width, resolution=32).with_num_classes(10)
        model = build_model(architecture)
        give_statistics(model, images(4, 64))
        state: State = model.state_dict()
        answers = logits(architecture, state)
        spread = (answers[0] - answers[1]).abs().max()
        assert spread > 100 * EXACT, "the logits hardly depend on the image"
        for part in ("weight", "bias"):
            state[f"blocks.{len(architecture.blocks) - 1}.classifier.{part}"] *= SPREAD / spread
        return architecture, state

    return build


@cache
def two_images(resolution: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    colours = torch.randn(2, 3, 1, 1, generator=generator)
    return colours + torch.randn(2, 3, resolution, resolution, generator=generator)


def logits(architecture: Architecture, state: Mapping[str, Tensor]) -> Tensor:
    model = build_model(architecture).eval()
    model.load_state_dict(state, strict=True)
    with torch.no_grad():
        answer: Tensor = model(two_images(architecture.resolution))
    return answer


def onnx_logits(architecture: Architecture, state: Mapping[str, Tensor]) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    graph = build_onnx(architecture, state, batch=2).SerializeToString()
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"input": two_images(architecture.resolution).numpy()})
    return np.asarray(answer)


def assert_onnx_gives(
    expected: Tensor, architecture: Architecture, state: Mapping[str, Tensor]
) -> None:
    answer = onnx_logits(architecture, state)
    np.testing.assert_allclose(answer, expected, rtol=ACROSS_RUNTIMES, atol=ACROSS_RUNTIMES)


def one_width_each(groups: Iterable[WidthGroup]) -> Iterator[tuple[WidthGroup, int]]:
    """By turns the widest and one in the middle, so that neighbouring layers have both."""
    for index, group in enumerate(groups):
        widths = list(group.narrower_widths(4))
        yield group, widths[len(widths) // 2 if index % 2 else 0]


def without_effect(
    state: Mapping[str, Tensor], matched: ChannelMatch, channels: frozenset[Channel]
) -> State:
    """The old weights with all filters and norms of these channels zero."""
    zeroed = {name: tensor.clone() for name, tensor in state.items()}
    for layer in matched.old.values():
        positions = [p for p, channel in enumerate(layer.writes) if channel in channels]
        norm = layer.op.norm if isinstance(layer.op, Conv) else None
        for name in (f"{layer.op.name}.weight", f"{layer.op.name}.bias"):
            if name in zeroed:
                zeroed[name][positions] = 0
        for part in ("weight", "bias") if norm is not None else ():
            zeroed[f"{norm}.{part}"][positions] = 0
    return zeroed


def new_channels(matched: ChannelMatch) -> set[Channel]:
    channels = {c for layer in matched.new.values() for c in layer.reads + layer.writes}
    return channels.difference(matched.sources)


@pytest.mark.parametrize("name", seed_names())
class TestEverySeed:
    def test_nothing_left_out_is_bit_by_bit_the_same(self, name: str, trained: Trained) -> None:
        seed, state = trained(name)
        result = transfer_weights(seed, state, seed)
        assert result.keys() == state.keys()
        assert all(torch.equal(result[key], tensor) for key, tensor in state.items())
        assert torch.equal(logits(seed, result), logits(seed, state))

    def test_channels_without_effect_are_not_missed(self, name: str, trained: Trained) -> None:
        """For every group: logits within 1e-5, and those of ONNX within 1e-4."""
        seed, state = trained(name)
        for group, width in one_width_each(width_groups(seed)):
            smaller = narrow(seed, group, width)
            matched = match_networks(seed, state, smaller)
            assert not new_channels(matched)
            zeroed = without_effect(state, matched, matched.dropped | matched.moved)
            result = transfer_weights(seed, zeroed, smaller)
            answer = logits(smaller, result)
            torch.testing.assert_close(answer, logits(seed, zeroed), rtol=0, atol=EXACT)
            assert_onnx_gives(answer, smaller, result)

    def test_all_groups_one_after_another(self, name: str, trained: Trained) -> None:
        """As NetAdapt does it: weights of the network before, which has been narrowed itself."""
        network, state = trained(name)
        for slots in [group.slots for group in width_groups(network)]:
            group = next(g for g in width_groups(network) if g.slots == slots)
            smaller = narrow(network, group, next(iter(group.narrower_widths(4))))
            state = transfer_weights(network, state, smaller)
            network = smaller
        assert_onnx_gives(logits(network, state), network, state)

    def test_kernels_gates_and_blocks(self, name: str, trained: Trained) -> None:
        seed, state = trained(name)
        steps = walk_in_context(seed)
        for changes in places(seed, OTHER_KINDS, 8):
            for change in changes[-1:]:
                smaller, sources = with_steps(seed, edited_steps(steps, change.edits()))
                result = transfer_weights(seed, state, smaller, sources=sources)
                assert_onnx_gives(logits(smaller, result), smaller, result)


UNUSUAL = Architecture(
    name="unusual",
    image_channels=3,
    resolution=32,
    norm_epsilon=0.01,
    blocks=(
        ConvNormAct(out_channels=12, kernel=3, stride=2),
        ConvNormAct(
            out_channels=12, kernel=3, skip=Skip.POOL, squeeze_excite=SqueezeExcite(channels=5)
        ),
        Pool(kind=PoolKind.AVERAGE, kernel=3),
        ShuffleV1Unit(bottleneck_channels=12, out_channels=36, groups=3, input_groups=2, stride=2),
        ShuffleV1Unit(bottleneck_channels=8, out_channels=36, groups=4, input_groups=1, kernel=5),
        ShuffleV2Unit(branch_channels=7, out_channels=36, kernel=5),
        ShuffleV2Unit(branch_channels=33, out_channels=36, activation=Activation.H_SWISH),
        InvertedResidual(expanded_channels=40, out_channels=36, kernel=3, skip=Skip.IDENTITY),
        ShuffleV2Unit(branch_channels=9, out_channels=40, stride=2),
        DepthwiseSeparable(out_channels=24, kernel=7, output_activation=Activation.SWISH),
        ClassifierHead(num_classes=10, hidden_channels=24, hidden_activation=Activation.SWISH),
    ),
)


def test_what_no_seed_has(give_statistics: Callable[[nn.Module, Tensor], None]) -> None:
    """Streams of several makers through units that halve, group, add and pool them."""
    model = build_model(UNUSUAL)
    give_statistics(model, images(4, 64))
    state = model.state_dict()
    groups = width_groups(UNUSUAL)
    assert len(groups) == 11
    with_new = []
    for group in groups:
        for width in group.narrower_widths(1):
            smaller = narrow(UNUSUAL, group, width)
            matched = match_networks(UNUSUAL, state, smaller)
            zeroed = without_effect(state, matched, matched.dropped | matched.moved)
            result = transfer_weights(UNUSUAL, zeroed, smaller)
            answer = logits(smaller, result)
            assert_onnx_gives(answer, smaller, result)
            if new_channels(matched):
                with_new.append((str(group), width))
            else:
                torch.testing.assert_close(answer, logits(UNUSUAL, zeroed), rtol=0, atol=EXACT)
    # Cut so deep, halves are mixed of other makers' channels than before, and not all can be had.
    assert with_new == [
        ("blocks.0.out_channels and 6 more", 4),
        ("blocks.3.out_channels and 4 more", 12),
    ]
