"""The seeds against torchvision and timm: equal logits, equal numbers of parameters.

Weights are carried over in the order in which the layers run, so nothing here knows how either side
names or registers its modules. Left out, because they are other networks:

- torchvision's ``mobilenet_v3_*`` of other widths: they scale the expanded channels, not the
  expansion factor, and narrow the hidden layer of the head, which MobileNetV3 never does;
- timm's ``mobilenetv3_small_050``: its stem stays at 16 channels;
- timm's ``tf_*``: their padding is asymmetric.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from benchmarks.peers import build_timm, carry_over
from nas.training.peer_weights import TIMM_NORM_EPSILON
from search_spaces import Architecture, build_model, count_costs, load_seed

GiveStatistics = Callable[[nn.Module, Tensor], None]

LOGIT_TOLERANCE = 1e-9
RESOLUTION = 96

TORCHVISION = [
    ("mobilenet_v2", 1.0, "mobilenet_v2", {}),
    ("mobilenet_v2", 0.75, "mobilenet_v2", {"width_mult": 0.75}),
    ("mobilenet_v2", 1.4, "mobilenet_v2", {"width_mult": 1.4}),
    ("mobilenet_v3_large", 1.0, "mobilenet_v3_large", {}),
    ("mobilenet_v3_small", 1.0, "mobilenet_v3_small", {}),
    ("mnasnet_b1", 0.5, "mnasnet0_5", {}),
    ("mnasnet_b1", 0.75, "mnasnet0_75", {}),
    ("mnasnet_b1", 1.0, "mnasnet1_0", {}),
    ("mnasnet_b1", 1.3, "mnasnet1_3", {}),
    ("shufflenet_v2_x1_0", 0.5, "shufflenet_v2_x0_5", {}),
    ("shufflenet_v2_x1_0", 1.0, "shufflenet_v2_x1_0", {}),
    ("shufflenet_v2_x1_0", 1.5, "shufflenet_v2_x1_5", {}),
    ("shufflenet_v2_x1_0", 2.0, "shufflenet_v2_x2_0", {}),
]

TIMM = [
    ("mobilenet_v1", 1.0, "mobilenetv1_100"),
    ("mobilenet_v1", 1.25, "mobilenetv1_125"),
    ("mobilenet_v2", 0.35, "mobilenetv2_035"),
    ("mobilenet_v2", 0.5, "mobilenetv2_050"),
    ("mobilenet_v2", 0.75, "mobilenetv2_075"),
    ("mobilenet_v2", 1.0, "mobilenetv2_100"),
    ("mobilenet_v2", 1.4, "mobilenetv2_140"),
    ("mobilenet_v3_large", 0.75, "mobilenetv3_large_075"),
    ("mobilenet_v3_large", 1.0, "mobilenetv3_large_100"),
    ("mobilenet_v3_small", 0.75, "mobilenetv3_small_075"),
    ("mobilenet_v3_small", 1.0, "mobilenetv3_small_100"),
    ("mnasnet_a1", 0.5, "semnasnet_050"),
    ("mnasnet_a1", 0.75, "semnasnet_075"),
    ("mnasnet_a1", 1.0, "semnasnet_100"),
    ("mnasnet_a1", 1.4, "semnasnet_140"),
    ("mnasnet_b1", 0.5, "mnasnet_050"),
    ("mnasnet_b1", 0.75, "mnasnet_075"),
    ("mnasnet_b1", 1.0, "mnasnet_100"),
    ("mnasnet_b1", 1.4, "mnasnet_140"),
]


def _assert_equal_to_peer(
    architecture: Architecture, peer: nn.Module, give_statistics: GiveStatistics
) -> None:
    model = build_model(architecture)
    images = torch.randn(4, 3, 1, 1) + torch.randn(4, 3, RESOLUTION, RESOLUTION)
    give_statistics(peer, images)

    assert sum(p.numel() for p in model.parameters()) == count_costs(architecture).params
    carry_over(peer, model, images[:1])
    # In single precision the order of sums alone is worth 1e-5 on some processors.
    images = images.double()
    with torch.no_grad():
        expected, logits = peer.double()(images), model.double()(images)
    assert (expected[0] - expected[1]).abs().max() > 0.1, "the logits hardly depend on the image"
    torch.testing.assert_close(logits, expected, rtol=0, atol=LOGIT_TOLERANCE)


@pytest.mark.parametrize(("name", "width", "peer", "options"), TORCHVISION)
def test_torchvision(
    name: str, width: float, peer: str, options: dict[str, float], give_statistics: GiveStatistics
) -> None:
    models = pytest.importorskip("torchvision.models", reason="needs the extra 'peers'")
    network = models.get_model(peer, weights=None, **options)
    _assert_equal_to_peer(load_seed(name, width, RESOLUTION), network, give_statistics)


@pytest.mark.parametrize(("name", "width", "peer"), TIMM)
def test_timm(name: str, width: float, peer: str, give_statistics: GiveStatistics) -> None:
    pytest.importorskip("timm", reason="needs the extra 'peers'")
    architecture = replace(load_seed(name, width, RESOLUTION), norm_epsilon=TIMM_NORM_EPSILON)
    _assert_equal_to_peer(architecture, build_timm(peer), give_statistics)
