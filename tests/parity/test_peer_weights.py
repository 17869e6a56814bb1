"""Files with weights of torchvision's and timm's networks, read as a person gives them.

What is loaded computes what its library computes, whose networks are built here as they are by
default: with timm's epsilon in MobileNetV3, and its ReLU6 in MobileNetV1.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmarks.peers import import_timm
from netadapt.seed import read_seed
from search_spaces import Architecture, build_model, load_seed
from search_spaces.torch_model import Network
from tests.parity.test_peers import LOGIT_TOLERANCE, TIMM, TORCHVISION

GiveStatistics = Callable[[nn.Module, Tensor], None]

RESOLUTION = 64


def _torchvision(name: str, **options: float) -> nn.Module:
    models = pytest.importorskip("torchvision.models", reason="needs the extra 'peers'")
    model: nn.Module = models.get_model(name, weights=None, **options)
    return model


def _timm(name: str) -> nn.Module:
    pytest.importorskip("timm", reason="needs the extra 'peers'")
    model: nn.Module = import_timm().create_model(name, pretrained=False)
    return model


def _scaled(tmp_path: Path, name: str, width: float) -> Architecture:
    """A network as a person gives it: a seed by its name, a scaled one in a file."""
    path = tmp_path / "network.yaml"
    path.write_text(load_seed(name, width, RESOLUTION).to_yaml())
    return Architecture.from_yaml(path)


def _read(network: Architecture, path: Path) -> Network:
    seed = read_seed(network, path, print)
    model = build_model(seed.architecture)
    model.load_state_dict(seed.weights)
    return model.eval()


def _images() -> Tensor:
    return torch.randn(2, 3, 1, 1) + torch.randn(2, 3, RESOLUTION, RESOLUTION)


def _assert_equal_logits(model: Network, peer: nn.Module, images: Tensor) -> None:
    images = images.double()
    with torch.no_grad():
        expected, logits = peer.double().eval()(images), model.double()(images)
    assert (expected[0] - expected[1]).abs().max() > 0.1, "the logits hardly depend on the image"
    torch.testing.assert_close(logits, expected, rtol=0, atol=LOGIT_TOLERANCE)


@pytest.mark.parametrize(("name", "width", "peer", "options"), TORCHVISION)
def test_torchvision(
    name: str,
    width: float,
    peer: str,
    options: dict[str, float],
    tmp_path: Path,
    give_statistics: GiveStatistics,
) -> None:
    network, images = _torchvision(peer, **options), _images()
    give_statistics(network, images)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    model = _read(_scaled(tmp_path, name, width), tmp_path / "weights.pth")
    _assert_equal_logits(model, network, images)


@pytest.mark.parametrize(("name", "width", "peer"), TIMM)
def test_timm(
    name: str, width: float, peer: str, tmp_path: Path, give_statistics: GiveStatistics
) -> None:
    network, images = _timm(peer), _images()
    give_statistics(network, images)
    # As timm's own files: sorted by name, so the order of layers is lost.
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    model = _read(_scaled(tmp_path, name, width), tmp_path / "weights.safetensors")
    _assert_equal_logits(model, network, images)


@pytest.mark.parametrize(
    ("peer", "name", "width"),
    [
        ("mobilenet_v2", "mobilenet_v2", 0.75),
        ("mobilenet_v2", "mnasnet_b1", 1.0),
        ("mobilenet_v3_large", "mobilenet_v3_small", 1.0),
        ("mobilenet_v3_small", "mobilenet_v3_small_paper", 1.0),
        ("mobilenet_v3_small", "mobilenet_v3_small_original_last_stage", 1.0),
        ("mnasnet1_0", "mnasnet_a1", 1.0),
        ("shufflenet_v2_x0_5", "shufflenet_v2_x1_0", 1.0),
        ("shufflenet_v2_x1_0", "shufflenet_v1_g1", 1.0),
        ("resnet18", "mobilenet_v2", 1.0),
    ],
)
def test_torchvisions_weights_of_another_network(
    peer: str, name: str, width: float, tmp_path: Path
) -> None:
    torch.save(_torchvision(peer).state_dict(), tmp_path / "weights.pth")
    _assert_refused(load_seed(name, width), tmp_path / "weights.pth")


@pytest.mark.parametrize(
    ("peer", "name"),
    [
        ("mobilenetv1_100", "mobilenet_v2"),
        ("mobilenetv2_100", "mnasnet_b1"),
        ("semnasnet_100", "mnasnet_b1"),
        ("mobilenetv3_rw", "mobilenet_v3_large"),
        ("mobilenetv3_small_050", "mobilenet_v3_small"),
    ],
)
def test_timms_weights_of_another_network(peer: str, name: str, tmp_path: Path) -> None:
    torch.save(_timm(peer).state_dict(), tmp_path / "weights.pth")
    _assert_refused(load_seed(name), tmp_path / "weights.pth")


def _assert_refused(network: Architecture, path: Path) -> None:
    with pytest.raises(ValueError, match=f"are those of another network than {network.name}: "):
        read_seed(network, path, print)
