"""Our counts against the figures of the papers and of the public implementations.

The numbers stand here a second time on purpose: a slip in a seed file must not pass.
"""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from search_spaces import build_model, count_costs, load_seed, seed_names
from search_spaces.blocks import ShuffleV1Unit
from search_spaces.seeds import read_seed

EXACT_PARAMS = [
    ("mobilenet_v1", 4_231_976),  # timm mobilenetv1_100
    ("mobilenet_v2", 3_504_872),  # torchvision
    ("mobilenet_v3_large", 5_483_032),  # torchvision
    ("mobilenet_v3_small", 2_542_856),  # torchvision
    ("mnasnet_a1", 3_887_038),  # timm semnasnet_100
    ("mnasnet_b1", 4_383_312),  # torchvision mnasnet1_0
    ("shufflenet_v2_x0_5", 1_366_792),  # torchvision, as the three below
    ("shufflenet_v2_x1_0", 2_278_604),
    ("shufflenet_v2_x1_5", 3_503_624),
    ("shufflenet_v2_x2_0", 7_393_996),
]

MADDS_MILLIONS = [
    ("mobilenet_v1", 569),  # MobileNets, Table 8
    ("mobilenet_v2", 300),  # MobileNetV2, Table 4
    ("mobilenet_v3_large", 219),  # MobileNetV3, Table 3
    ("mobilenet_v3_small", 56),  # MobileNetV3, Table 3
    ("mnasnet_a1", 312),  # MnasNet, Table 1
    ("mnasnet_b1", 315),  # MnasNet
    ("shufflenet_v1_g1", 143),  # ShuffleNet, Table 1
    ("shufflenet_v1_g2", 140),
    ("shufflenet_v1_g3", 137),
    ("shufflenet_v1_g4", 133),
    ("shufflenet_v1_g8", 137),
    ("shufflenet_v2_x0_5", 41),  # ShuffleNet V2, Table 5
    ("shufflenet_v2_x1_0", 146),
    ("shufflenet_v2_x1_5", 299),
    ("shufflenet_v2_x2_0", 591),
]


@pytest.mark.parametrize(("name", "params"), EXACT_PARAMS)
def test_parameters_are_exact(name: str, params: int) -> None:
    assert count_costs(load_seed(name)).params == params


@pytest.mark.parametrize(("name", "millions"), MADDS_MILLIONS)
def test_madds_are_within_two_percent(name: str, millions: int) -> None:
    assert count_costs(load_seed(name)).madds / 1e6 == pytest.approx(millions, rel=0.02)


@pytest.mark.parametrize("name", seed_names())
def test_madds_are_those_torch_counts(name: str) -> None:
    architecture = load_seed(name)
    with torch.device("meta"):
        model = build_model(architecture).eval()
        image = torch.empty(1, 3, 224, 224)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image)
    assert 2 * count_costs(architecture).madds == counter.get_total_flops()


def test_the_seed_files_repeat_these_figures() -> None:
    published = {
        name: next(figures for figures in read_seed(name).published if figures.width == 1.0)
        for name, _ in MADDS_MILLIONS
    }
    assert [(name, published[name].params) for name, _ in EXACT_PARAMS] == EXACT_PARAMS
    assert [(name, published[name].madds_millions) for name, _ in MADDS_MILLIONS] == MADDS_MILLIONS


@pytest.mark.parametrize(("groups", "channels"), [(1, 144), (2, 200), (3, 240), (4, 272), (8, 384)])
def test_shufflenet_v1_is_its_papers_table(groups: int, channels: int) -> None:
    """ShuffleNet, Table 1 and its caption; no public implementation counts these exactly."""
    network = load_seed(f"shufflenet_v1_g{groups}")
    units = [block for block in network.blocks if isinstance(block, ShuffleV1Unit)]
    stages = [channels] * 4 + [2 * channels] * 8 + [4 * channels] * 4
    assert [unit.out_channels for unit in units] == stages
    assert [unit.stride for unit in units] == [2, 1, 1, 1, 2, *[1] * 7, 2, 1, 1, 1]
    assert [unit.bottleneck_channels for unit in units] == [width // 4 for width in stages]
    assert [unit.input_groups for unit in units] == [1, *[groups] * 15]
    assert {unit.groups for unit in units} == {groups}


def test_the_small_network_as_printed_has_one_more_squeeze() -> None:
    """The paper's Table 2 prints an SE in the last convolution; the released networks have none."""
    printed, released = load_seed("mobilenet_v3_small_paper"), load_seed("mobilenet_v3_small")
    squeeze = 576 * 144 + 144 + 144 * 576 + 576
    assert count_costs(printed).params == count_costs(released).params + squeeze


def test_the_efficient_last_stage_saves_what_the_paper_says() -> None:
    """MobileNetV3, section 5.1: 30 M MAdds fewer for the large network's last stage."""
    original = count_costs(load_seed("mobilenet_v3_large_original_last_stage"))
    efficient = count_costs(load_seed("mobilenet_v3_large"))
    assert (original.madds - efficient.madds) / 1e6 == pytest.approx(30, abs=5)


def test_the_narrow_stem_saves_what_the_paper_says() -> None:
    """MobileNetV3, section 5.1: 10 M MAdds fewer with 16 filters in the stem."""
    wide = count_costs(load_seed("mobilenet_v3_large_stem32"))
    narrow = count_costs(load_seed("mobilenet_v3_large"))
    assert (wide.madds - narrow.madds) / 1e6 == pytest.approx(10, abs=1)
