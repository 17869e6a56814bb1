"""Files with weights of torchvision's and timm's networks, read as a person gives them.

What is loaded computes what its library computes, whose networks are built here as they are by
default: with timm's epsilon in MobileNetV3, and its ReLU6 in MobileNetV1.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmarks.peers import import_timm
from nas.training.peer_weights import Library
from nas.training.released import WeightsSource, read_weights
from nas.training.weights import save_weights
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


def _read(
    library: Library, network: Architecture, peers: Mapping[str, Tensor], folder: Path
) -> Network:
    """The network with a peer's weights, through every kind of file and spelling.

    What comes of it is written as a run writes it, and read again.
    """
    save_file(
        dict(peers), folder / "weights.safetensors"
    )  # sorted by name: layers lose their order
    torch.save(peers, folder / "weights.pth")
    found = [
        read_weights(WeightsSource.parse(f"{spelled}{folder}/weights.{suffix}"), network, print)
        for suffix in ("pth", "safetensors")
        for spelled in ("", f"{library}:")
    ]
    own = save_weights(folder / "best.pt", found[0].weights)
    again = WeightsSource(path=own, library=Library.OURS)
    found.append(read_weights(again, found[0].architecture, print))
    for other in found[1:]:
        assert other.architecture == found[0].architecture
        assert other.weights.keys() == found[0].weights.keys()
        assert all(map(torch.equal, other.weights.values(), found[0].weights.values()))
    model = build_model(found[-1].architecture)
    model.load_state_dict(found[-1].weights)
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
    scaled = _scaled(tmp_path, name, width)
    model = _read(Library.TORCHVISION, scaled, network.state_dict(), tmp_path)
    _assert_equal_logits(model, network, images)


@pytest.mark.parametrize(("name", "width", "peer"), TIMM)
def test_timm(
    name: str, width: float, peer: str, tmp_path: Path, give_statistics: GiveStatistics
) -> None:
    network, images = _timm(peer), _images()
    give_statistics(network, images)
    model = _read(Library.TIMM, _scaled(tmp_path, name, width), network.state_dict(), tmp_path)
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
        read_weights(WeightsSource(path=path), network, print)
