"""Weights of narrower networks, against slices that are made by hand and against logits."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from netadapt.channels import TracedLayer
from netadapt.edits import narrow, with_steps
from netadapt.weight_transfer import Keep, match_networks, transfer_weights
from netadapt.width_groups import width_groups
from search_spaces import Architecture, build_model
from search_spaces.blocks import (
    Block,
    ClassifierHead,
    ConvNormAct,
    DepthwiseSeparable,
    InvertedResidual,
    ShuffleV1Unit,
    Skip,
    SqueezeExcite,
)

State = dict[str, Tensor]
NORM_PARTS = ("weight", "bias", "running_mean", "running_var")


def network(*blocks: Block, **head: int) -> Architecture:
    last = ClassifierHead(num_classes=5, hidden_channels=head.get("hidden_channels"))
    return Architecture(name="small", blocks=(*blocks, last), resolution=32)


def random_state(architecture: Architecture) -> State:
    """Weights in which no two values are equal."""
    state = build_model(architecture).state_dict()
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            tensor.fill_(7)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        else:
            tensor.normal_()
    return state


def logits(architecture: Architecture, state: Mapping[str, Tensor]) -> Tensor:
    model = build_model(architecture).eval()
    model.load_state_dict(state, strict=True)
    size = architecture.resolution
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        answer: Tensor = model(images)
    return answer


def set_channels(
    state: State, layer: str, norm: str | None, channels: list[int], value: float
) -> None:
    """Give filters, and what follows them, of some channels a value."""
    for name in [f"{layer}.weight", f"{layer}.bias", f"{norm}.weight", f"{norm}.bias"]:
        if name in state:
            state[name][channels] = value


BLOCK = InvertedResidual(
    expanded_channels=24,
    out_channels=8,
    kernel=3,
    squeeze_excite=SqueezeExcite(channels=5),
    skip=Skip.IDENTITY,
)
RESIDUAL = network(ConvNormAct(out_channels=8, kernel=3, stride=2), BLOCK, BLOCK)


class TestSlices:
    """One index set slices all that belongs to its channels."""

    def test_of_an_expansion(self) -> None:
        state = random_state(RESIDUAL)
        kept = [1, 2, 5, 7, 11, 12, 13, 14, 17, 19, 20, 21, 22, 23, 0, 3]
        kept.sort()
        state["blocks.1.expand.conv.weight"][kept] *= 100
        narrowed = replace(BLOCK, expanded_channels=16)
        new = replace(RESIDUAL, blocks=(RESIDUAL.blocks[0], narrowed, *RESIDUAL.blocks[2:]))
        result = transfer_weights(RESIDUAL, state, new)
        expected = dict(state)
        block = "blocks.1"
        expected[f"{block}.expand.conv.weight"] = state[f"{block}.expand.conv.weight"][kept]
        expected[f"{block}.depthwise.conv.weight"] = state[f"{block}.depthwise.conv.weight"][kept]
        for norm in (f"{block}.expand.norm", f"{block}.depthwise.norm"):
            for part in NORM_PARTS:
                expected[f"{norm}.{part}"] = state[f"{norm}.{part}"][kept]
        gate = f"{block}.squeeze_excite"
        expected[f"{gate}.reduce.weight"] = state[f"{gate}.reduce.weight"][:, kept]
        for part in ("weight", "bias"):
            expected[f"{gate}.expand.{part}"] = state[f"{gate}.expand.{part}"][kept]
        expected[f"{block}.project.conv.weight"] = state[f"{block}.project.conv.weight"][:, kept]
        assert_equal(result, expected)

    def test_of_a_residual_chain(self) -> None:
        state = random_state(RESIDUAL)
        kept = [0, 3, 4, 6]
        for layer in ("blocks.0.unit", "blocks.1.project", "blocks.2.project"):
            state[f"{layer}.conv.weight"][kept] *= 100
        group = width_groups(RESIDUAL)[0]
        result = transfer_weights(RESIDUAL, state, narrow(RESIDUAL, group, 4))
        expected = dict(state)
        for layer in ("blocks.0.unit", "blocks.1.project", "blocks.2.project"):
            expected[f"{layer}.conv.weight"] = state[f"{layer}.conv.weight"][kept]
            for part in NORM_PARTS:
                expected[f"{layer}.norm.{part}"] = state[f"{layer}.norm.{part}"][kept]
        for layer in ("blocks.1.expand.conv", "blocks.2.expand.conv", "blocks.3.classifier"):
            expected[f"{layer}.weight"] = state[f"{layer}.weight"][:, kept]
        assert_equal(result, expected)

    def test_of_a_hidden_layer(self) -> None:
        architecture = network(ConvNormAct(out_channels=8, kernel=3), hidden_channels=6)
        state = random_state(architecture)
        state["blocks.1.hidden.weight"][[1, 4]] *= 100
        result = transfer_weights(
            architecture, state, narrow(architecture, width_groups(architecture)[1], 2)
        )
        assert torch.equal(result["blocks.1.hidden.bias"], state["blocks.1.hidden.bias"][[1, 4]])
        expected = state["blocks.1.classifier.weight"][:, [1, 4]]
        assert torch.equal(result["blocks.1.classifier.weight"], expected)

    def test_of_the_first_channels(self) -> None:
        state = random_state(RESIDUAL)
        new = narrow(RESIDUAL, width_groups(RESIDUAL)[0], 4)
        result = transfer_weights(RESIDUAL, state, new, keep=Keep.FIRST)
        for name, tensor in result.items():
            corner = state[name][tuple(slice(length) for length in tensor.shape)]
            assert torch.equal(tensor, corner)

    def test_of_a_kernel_is_its_middle(self) -> None:
        architecture = network(ConvNormAct(out_channels=8, kernel=7))
        state = random_state(architecture)
        smaller = network(ConvNormAct(out_channels=8, kernel=3))
        result = transfer_weights(architecture, state, smaller)
        expected = dict(state)
        expected["blocks.0.unit.conv.weight"] = state["blocks.0.unit.conv.weight"][:, :, 2:5, 2:5]
        assert_equal(result, expected)


def assert_equal(result: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert result.keys() == expected.keys()
    for name, tensor in result.items():
        assert torch.equal(tensor, expected[name]), name


def test_gates_and_depthwise_filters_do_not_count_as_the_norm() -> None:
    state = random_state(RESIDUAL)
    state["blocks.1.expand.conv.weight"][[3, 9]] *= 10
    state["blocks.1.depthwise.conv.weight"][[5, 6]] *= 1000
    state["blocks.1.squeeze_excite.expand.weight"][[1, 2]] *= 1000
    narrowed = replace(BLOCK, expanded_channels=2)
    new = replace(RESIDUAL, blocks=(RESIDUAL.blocks[0], narrowed, *RESIDUAL.blocks[2:]))
    result = transfer_weights(RESIDUAL, state, new)
    kept = state["blocks.1.expand.conv.weight"][[3, 9]]
    assert torch.equal(result["blocks.1.expand.conv.weight"], kept)


def test_channels_of_shufflenet_v1_stay_in_their_groups() -> None:
    """Groups 0 1 2 | 3 4 5 are shuffled to 0 3 1 | 4 2 5: one stays of {0, 1}, 3, {4, 5} and 2."""
    unit = ShuffleV1Unit(bottleneck_channels=6, out_channels=8, groups=2, input_groups=2)
    architecture = network(ConvNormAct(out_channels=8, kernel=3), unit)
    state = random_state(architecture)
    for channel, size in enumerate([1, 2, 3, 4, 6, 5]):
        state["blocks.1.reduce.conv.weight"][channel] = size
    smaller = narrow(architecture, width_groups(architecture)[1], 4)
    result = transfer_weights(architecture, state, smaller)
    assert result["blocks.1.reduce.conv.weight"][:, 0, 0, 0].tolist() == [2, 3, 4, 6]
    before = state["blocks.1.expand.conv.weight"]
    after = result["blocks.1.expand.conv.weight"]
    # Now 1 2 | 3 4 are shuffled to 1 3 | 2 4: the first half reads 1 3, of what was 0 3 1.
    assert torch.equal(after[:4], before[:4, [2, 1]])
    assert torch.equal(after[4:], before[4:, [1, 0]])


def test_moved_channels_take_no_weights_of_others() -> None:
    """What lies between two channels is what lay between them, or new: of every grouped layer."""
    units = [
        ShuffleV1Unit(bottleneck_channels=6, out_channels=36, groups=3, input_groups=1, stride=2),
        ShuffleV1Unit(bottleneck_channels=6, out_channels=36, groups=3, input_groups=3),
        ShuffleV1Unit(bottleneck_channels=12, out_channels=72, groups=3, input_groups=3, stride=2),
        ShuffleV1Unit(bottleneck_channels=12, out_channels=72, groups=3, input_groups=3),
    ]
    architecture = network(ConvNormAct(out_channels=12, kernel=3), *units)
    state = random_state(architecture)
    group = next(g for g in width_groups(architecture) if str(g).startswith("blocks.1.out"))
    smaller = narrow(architecture, group, 18)
    matched = match_networks(architecture, state, smaller)
    assert matched.moved
    result = transfer_weights(architecture, state, smaller)
    found = missing = 0
    for name in ("blocks.2.reduce.conv", "blocks.2.expand.conv", "blocks.4.expand.conv"):
        before = between_channels(matched.old[name], state[f"{name}.weight"])
        values = set(before.values())
        for (read, made), value in between_channels(
            matched.new[name], result[f"{name}.weight"]
        ).items():
            source = matched.sources[read], matched.sources[made]
            if source in before:
                assert value == before[source]
                found += 1
            else:
                assert value not in values
                missing += 1
    assert found > 4 * missing > 0


def between_channels(layer: TracedLayer, weight: Tensor) -> dict[tuple[int, int], float]:
    """The weights of a pointwise layer of three groups, by the channels read and made."""
    filters = weight[:, :, 0, 0].tolist()
    reads, writes = len(layer.reads) // 3, len(layer.writes) // 3
    return {
        (layer.reads[group * reads + i], layer.writes[group * writes + o]): value
        for group in range(3)
        for o in range(writes)
        for i, value in enumerate(filters[group * writes + o])
    }


class TestBlocksLeftOut:
    def test_others_keep_their_weights(self) -> None:
        state = random_state(RESIDUAL)
        smaller, sources = with_steps(RESIDUAL, [(1, None)])
        result = transfer_weights(RESIDUAL, state, smaller, sources=sources)
        for name, tensor in result.items():
            _, index, rest = name.split(".", 2)
            assert torch.equal(tensor, state[f"blocks.{sources[int(index)]}.{rest}"])

    def test_a_block_that_adds_nothing_is_not_missed(self) -> None:
        state = build_model(RESIDUAL).state_dict()
        set_channels(state, "blocks.1.project.conv", "blocks.1.project.norm", list(range(8)), 0.0)
        smaller, sources = with_steps(RESIDUAL, [(1, None)])
        result = transfer_weights(RESIDUAL, state, smaller, sources=sources)
        assert torch.equal(logits(smaller, result), logits(RESIDUAL, state))

    def test_sources_are_asked_for(self) -> None:
        smaller, _ = with_steps(RESIDUAL, [(1, None)])
        with pytest.raises(ValueError, match=r"sources must be given.*3 blocks of 4"):
            transfer_weights(RESIDUAL, random_state(RESIDUAL), smaller)

    @pytest.mark.parametrize("sources", [(0, 1), (0, 2, 1), (0, 1, 4), (0, 1, 1)])
    def test_sources_must_fit(self, sources: tuple[int, ...]) -> None:
        smaller, _ = with_steps(RESIDUAL, [(1, None)])
        with pytest.raises(ValueError, match=r"sources must name an old block in 0\.\.3, rising"):
            transfer_weights(RESIDUAL, random_state(RESIDUAL), smaller, sources=sources)


def test_a_gate_that_is_left_out_leaves_the_rest() -> None:
    state = random_state(RESIDUAL)
    bare = replace(BLOCK, squeeze_excite=None)
    new = replace(RESIDUAL, blocks=(RESIDUAL.blocks[0], bare, *RESIDUAL.blocks[2:]))
    expected = {name: t for name, t in state.items() if "blocks.1.squeeze_excite" not in name}
    assert_equal(transfer_weights(RESIDUAL, state, new), expected)


class TestMissingWeights:
    WIDER = replace(
        RESIDUAL,
        blocks=(RESIDUAL.blocks[0], replace(BLOCK, expanded_channels=32), *RESIDUAL.blocks[2:]),
    )

    def test_are_random_and_repeatable(self) -> None:
        state = random_state(RESIDUAL)
        results = [transfer_weights(RESIDUAL, state, self.WIDER, seed=seed) for seed in (0, 0, 1)]
        name = "blocks.1.expand.conv.weight"
        same, again, other = (result[name] for result in results)
        assert torch.equal(same[:24], state[name])
        assert torch.equal(same, again)
        assert not torch.equal(same[24:], other[24:])
        assert same[24:].abs().min() > 0
        assert results[0]["blocks.1.expand.norm.running_var"][24:].tolist() == [1.0] * 8

    def test_do_not_move_the_generator_of_others(self) -> None:
        state = random_state(RESIDUAL)
        before = torch.random.get_rng_state()
        transfer_weights(RESIDUAL, state, self.WIDER)
        assert torch.equal(torch.random.get_rng_state(), before)


def test_the_old_weights_stay_as_they_are() -> None:
    state = random_state(RESIDUAL)
    copy = {name: tensor.clone() for name, tensor in state.items()}
    result = transfer_weights(RESIDUAL, state, RESIDUAL)
    for tensor in result.values():
        tensor.zero_()
    assert_equal(state, copy)


def test_a_depthwise_layer_of_width_one_is_still_one() -> None:
    architecture = network(
        ConvNormAct(out_channels=4, kernel=3), DepthwiseSeparable(out_channels=3, kernel=3)
    )
    state = random_state(architecture)
    state["blocks.0.unit.conv.weight"][2] *= 100
    smaller = narrow(architecture, width_groups(architecture)[0], 1)
    result = transfer_weights(architecture, state, smaller)
    name = "blocks.1.depthwise.conv.weight"
    assert torch.equal(result[name], state[name][[2]])


def test_a_match_says_what_is_dropped() -> None:
    state = random_state(RESIDUAL)
    state["blocks.1.expand.conv.weight"][:16] *= 100
    new = replace(
        RESIDUAL,
        blocks=(RESIDUAL.blocks[0], replace(BLOCK, expanded_channels=16), *RESIDUAL.blocks[2:]),
    )
    matched = match_networks(RESIDUAL, state, new)
    assert matched.dropped == frozenset(matched.old["blocks.1.expand.conv"].writes[16:])
    assert not matched.moved


def test_weights_of_another_network_are_refused() -> None:
    state = random_state(RESIDUAL)
    del state["blocks.1.expand.norm.bias"]
    with pytest.raises(
        ValueError, match=r"not those of small: blocks\.1\.expand\.norm\.bias must have"
    ):
        transfer_weights(RESIDUAL, state, RESIDUAL)


def test_blocks_of_another_type_are_refused() -> None:
    other = network(
        ConvNormAct(out_channels=8, kernel=3), *[ConvNormAct(out_channels=8, kernel=3)] * 2
    )
    with pytest.raises(
        ValueError, match=r"blocks\[1\] is a ConvNormAct and cannot have the weights"
    ):
        transfer_weights(RESIDUAL, random_state(RESIDUAL), other)


def test_other_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="num_classes must be the same, but got 5 and 6"):
        transfer_weights(RESIDUAL, random_state(RESIDUAL), RESIDUAL.with_num_classes(6))
