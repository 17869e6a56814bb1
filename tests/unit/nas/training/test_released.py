"""Weights as a person gives them: how a file is named, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from safetensors.torch import save_file
from torch import Tensor, nn

from nas.training.peer_weights import Library
from nas.training.released import WeightsSource, read_weights
from nas.training.weights import save_weights
from search_spaces import Architecture, build_model
from search_spaces.blocks import ClassifierHead, ConvNormAct
from search_spaces.torch_model import Network

NETWORK = Architecture(
    name="tiny",
    blocks=(ConvNormAct(out_channels=8, kernel=3, stride=2), ClassifierHead(num_classes=10)),
)
NAMES = {
    Library.OURS: ("blocks.0.unit.conv", "blocks.0.unit.norm", "blocks.1.classifier"),
    Library.TORCHVISION: ("features.0.0", "features.0.1", "classifier.1"),
    Library.TIMM: ("conv_stem", "bn1", "classifier"),
}


def _state(library: Library, network: Architecture = NETWORK) -> dict[str, Tensor]:
    """Fresh weights by a library's names."""
    theirs = dict(zip(NAMES[Library.OURS], NAMES[library], strict=True))
    return {
        f"{theirs[layer]}.{part}": value
        for name, value in build_model(network).state_dict().items()
        for layer, _, part in (name.rpartition("."),)
    }


@pytest.mark.parametrize("library", Library)
def test_a_file_is_named_with_its_library_or_without(library: Library) -> None:
    path = Path("down loads/a=b-1.5.pth")
    assert WeightsSource.parse(str(path)) == WeightsSource(path=path)
    explicit = WeightsSource.parse(f"{library}:{path}")
    assert explicit == WeightsSource(path=path, library=library)
    assert WeightsSource.parse(str(explicit)) == explicit


@pytest.mark.parametrize("file", ["./odd:name.pt", "/a/timm:b.pt", "runs/x:y.pt", "C:/a.pt"])
def test_a_path_may_hold_a_colon(file: str) -> None:
    assert WeightsSource.parse(file) == WeightsSource(path=Path(file))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("torchvison:a.pt", r"^weights must be FILE or one of ours:FILE, torchvision:FILE, timm:F"),
        ("TIMM:a.pt", r"but got 'TIMM:a\.pt'; a file of that name is \./TIMM:a\.pt$"),
        ("timm:", r"^weights must name a file, but got 'timm:'$"),
        ("", r"^weights must name a file, but got ''$"),
    ],
)
def test_another_spelling_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WeightsSource.parse(text)


def test_the_command_line_can_say_it() -> None:
    (override,) = OverridesParser.create().parse_overrides(["weights=timm:/a/b-c_1.5.pth"])
    assert override.value() == "timm:/a/b-c_1.5.pth"


@pytest.mark.parametrize("library", Library)
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_the_library_that_is_named_must_be_the_files(
    library: Library, suffix: str, tmp_path: Path
) -> None:
    path, state = tmp_path / f"a.{suffix}", _state(library)
    save_file(state, path) if suffix == "safetensors" else save_weights(path, state)
    plain = read_weights(WeightsSource(path=path), NETWORK, str)
    for other in Library:
        source = WeightsSource(path=path, library=other)
        if other is library:
            found = read_weights(source, NETWORK, str)
            assert found.architecture == plain.architecture
            assert found.weights.keys() == build_model(NETWORK).state_dict().keys()
            assert all(torch.equal(found.weights[n], plain.weights[n]) for n in plain.weights)
        else:
            with pytest.raises(
                ValueError,
                match=rf"^weights={other}:.* are named as in {library}; give weights={library}:",
            ):
                read_weights(source, NETWORK, pytest.fail)


def test_a_classifier_of_other_classes_is_said_to_be_new(tmp_path: Path) -> None:
    state = _state(Library.TORCHVISION, NETWORK.with_num_classes(1000))
    source = WeightsSource(path=save_weights(tmp_path / "a.pt", state), library=Library.TORCHVISION)
    said: list[str] = []
    found = read_weights(source, NETWORK, said.append)
    missing = build_model(NETWORK).state_dict().keys() - found.weights.keys()
    assert missing == {"blocks.1.classifier.weight", "blocks.1.classifier.bias"}
    assert said == [
        f"weights of tiny from {tmp_path}/a.pt, named as in torchvision",
        "  its classifier of 1000 classes is left out: one of 10 is initialised at random",
    ]


class _Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = build_model(NETWORK)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits


def _wrapped(wrapper: str, network: Network) -> nn.Module:
    match wrapper:
        case "DataParallel":
            return nn.DataParallel(network)
        case "torch.compile":
            compiled: Any = torch.compile(network)
            return compiled
        case _:
            raise AssertionError(wrapper)


@pytest.mark.parametrize(
    ("wrapper", "prefix"), [("DataParallel", "module."), ("torch.compile", "_orig_mod.")]
)
def test_the_prefix_of_a_wrapper_is_taken_off(wrapper: str, prefix: str, tmp_path: Path) -> None:
    network = build_model(NETWORK)
    path = save_weights(tmp_path / "a.pt", _wrapped(wrapper, network).state_dict())
    said: list[str] = []
    found = read_weights(WeightsSource(path=path), NETWORK, said.append)
    assert said[1:] == [f"  the prefix '{prefix}' of {wrapper} is taken off"]
    expected = network.state_dict()
    assert found.weights.keys() == expected.keys()
    assert all(torch.equal(found.weights[name], expected[name]) for name in expected)


def test_a_prefix_of_some_names_stays(tmp_path: Path) -> None:
    state = _state(Library.OURS)
    first = next(iter(state))
    state[f"module.{first}"] = state.pop(first)
    path = save_weights(tmp_path / "a.pt", state)
    with pytest.raises(ValueError, match="are those of another network than tiny"):
        read_weights(WeightsSource(path=path), NETWORK, pytest.fail)


def test_whole_modules_and_empty_files_are_refused(tmp_path: Path) -> None:
    torch.save(_Backbone(), tmp_path / "module.pt")
    with pytest.raises(ValueError, match="holds no weights that torch can read safely"):
        read_weights(WeightsSource(path=tmp_path / "module.pt"), NETWORK, pytest.fail)
    path = save_weights(tmp_path / "empty.pt", {})
    with pytest.raises(ValueError, match="its layers are not named as those"):
        read_weights(WeightsSource(path=path), NETWORK, pytest.fail)
