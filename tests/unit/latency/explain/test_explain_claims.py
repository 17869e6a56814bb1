"""Variants of seeds, and verdicts on what papers claim of them."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from latency.context import After
from latency.explain.claims import (
    Claim,
    Finding,
    Verdict,
    judge,
    networks_of_claims,
    published_claims,
    with_activation,
    with_squeeze_of_input,
    without_squeeze_excite,
)
from latency.keys import block_key, boundary_key, network_key
from latency.plan import steps_of
from latency.table import LatencyTable
from search_spaces.architecture import Architecture
from search_spaces.blocks import Activation, ClassifierHead, ConvNormAct
from search_spaces.costs import count_costs
from search_spaces.seeds import load_seed

LARGE = load_seed("mobilenet_v3_large")
CLAIM = Claim(
    title="a", source="b", published="c", network=LARGE, baseline=LARGE, at_most=0.0
)  # fmt: skip


def finding(change: float, interval: float, at_most: float | None) -> Finding:
    return Finding(
        claim=replace(CLAIM, at_most=at_most),
        measured_ms=(10 + 10 * change, 10.0),
        predicted_ms=(9.0, 10.0),
        interval_ms=10 * interval,
        madds_change=0,
    )


@pytest.mark.parametrize(
    ("change", "interval", "at_most", "verdict"),
    [
        (-0.11, 0.02, 0.0, Verdict.HOLDS),
        (-0.01, 0.02, 0.0, Verdict.WITHIN_NOISE),
        (0.01, 0.02, 0.0, Verdict.WITHIN_NOISE),
        (0.05, 0.02, 0.0, Verdict.DOES_NOT_HOLD),
        (0.005, 0.003, 0.01, Verdict.HOLDS),
        (0.005, 0.02, 0.01, Verdict.WITHIN_NOISE),
        (0.04, 0.02, 0.01, Verdict.DOES_NOT_HOLD),
        (0.5, 0.01, None, Verdict.NO_CLAIM),
    ],
)
def test_a_verdict_is_about_the_whole_interval(
    change: float, interval: float, at_most: float | None, verdict: Verdict
) -> None:
    assert finding(change, interval, at_most).verdict is verdict


def test_changes_are_relative_to_the_baseline() -> None:
    found = finding(-0.11, 0.02, 0.0)
    assert found.change_ms == pytest.approx(-1.1)
    assert found.change == pytest.approx(-0.11)
    assert found.interval == pytest.approx(0.02)
    assert found.predicted_change_ms == pytest.approx(-1.0)
    assert found.predicted_change == pytest.approx(-0.1)


def test_activations_are_replaced_wherever_they_stand() -> None:
    relu = with_activation(LARGE, Activation.H_SWISH, Activation.RELU)
    text = relu.to_yaml()
    assert "h_swish" not in text
    assert text.count("hard_sigmoid") == LARGE.to_yaml().count("hard_sigmoid") == 8
    assert relu.head.hidden_activation is Activation.RELU
    assert count_costs(relu).total == count_costs(LARGE).total
    assert with_activation(relu, Activation.H_SWISH, Activation.SWISH).blocks == relu.blocks


def test_squeeze_excite_is_removed_everywhere_and_nothing_else() -> None:
    bare = without_squeeze_excite(LARGE)
    assert "squeeze_excite" not in bare.to_yaml()
    assert [type(block) for block in bare.blocks] == [type(block) for block in LARGE.blocks]
    squeezes = [
        (block.expanded_channels, block.squeeze_excite.channels)
        for block in LARGE.blocks
        if getattr(block, "squeeze_excite", None) is not None
    ]
    removed = sum(2 * wide * narrow + wide + narrow for wide, narrow in squeezes)
    assert count_costs(LARGE).params - count_costs(bare).params == removed


def test_a_quarter_of_the_input_is_what_mnasnet_has() -> None:
    mnasnet = load_seed("mnasnet_a1")
    assert with_squeeze_of_input(mnasnet).blocks == mnasnet.blocks
    assert with_squeeze_of_input(LARGE).blocks != LARGE.blocks


def test_published_claims_save_the_multiply_adds_that_the_paper_says() -> None:
    of_large = {claim.title: claim for claim in published_claims() if claim.network == LARGE}
    saved = {
        title: count_costs(claim.baseline).madds - count_costs(claim.network).madds
        for title, claim in of_large.items()
    }
    # MobileNetV3, section 5.1: 30 and 10 million.
    assert saved["efficient last stage"] == pytest.approx(30e6, abs=5e6)
    assert saved["stem of 16 filters, not 32"] == pytest.approx(10e6, abs=1e6)
    assert saved["h-swish, not ReLU"] == saved["h-swish, not swish"] == 0


def test_claims_are_adapted_to_other_images() -> None:
    claims = published_claims(lambda network: network.with_resolution(32))
    networks = networks_of_claims(claims)
    assert {network.resolution for network in networks} == {32}
    assert len({network_key(network) for network in networks}) == len(networks) == 16


def test_findings_follow_from_the_table(make_table: Callable[..., LatencyTable]) -> None:
    head = ClassifierHead(num_classes=10)
    networks = [
        Architecture(name=name, blocks=(ConvNormAct(out_channels=8, kernel=kernel), head))
        for name, kernel in (("small", 1), ("wide", 3))
    ]
    latencies_ms: dict[str, float] = {}
    for block, shape, after in steps_of(networks):
        kernel = block.kernel if isinstance(block, ConvNormAct) else 1
        latencies_ms[block_key(block, shape, after)] = float(kernel)
        if after is not After.IMAGE:
            latencies_ms[boundary_key(shape, after)] = 0.5
    latencies_ms |= {network_key(networks[0]): 1.6, network_key(networks[1]): 3.6}
    claim = replace(CLAIM, network=networks[0], baseline=networks[1])
    (found,) = judge([claim], make_table(latencies_ms))
    assert found.measured_ms == pytest.approx((1.6, 3.6))
    assert found.predicted_ms == pytest.approx((1.5, 3.5))
    assert found.madds_change == -(9 - 1) * 3 * 8 * 224 * 224
    assert found.verdict is Verdict.HOLDS
    assert found.record()["verdict"] == "holds"
