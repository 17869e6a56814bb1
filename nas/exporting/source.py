"""A finished run, read from its folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from nas.data import ImageData
from nas.exporting.metadata import describe_preprocessing, read_metadata
from nas.run_folder import CONFIG_FILE, Folder, config_folder, read_config
from nas.training.peer_weights import Library
from nas.training.released import WeightsSource, read_weights
from search_spaces import Architecture, build_model
from search_spaces.torch_model import Network

_NETWORK, _WEIGHTS, _FILE, _SUMMARY = "best.yaml", "best.pt", "best.onnx", "summary.json"
_NAMED = 3
_REMEDY = (
    "put the images back as they were, or train on what is there now, under another name=…, and "
    "export that run"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRun:
    """What a search, NetAdapt or a training left behind.

    Attributes:
        folder: with the network.
        config_folder: with the settings: ``folder``, or that of a search for several targets.
        config: what the run's settings were.
        summary: every number of its report; empty where the run was not measured in the end.
    """

    folder: Path
    config_folder: Path
    architecture: Architecture
    config: Mapping[str, Any]
    summary: Mapping[str, Any]

    @staticmethod
    def read(path: Path) -> "FinishedRun":
        """Read a run's folder.

        Raises:
            ValueError: it is none, the run has not finished, or a file of it cannot be read.
        """
        if not path.is_dir():
            raise ValueError(f"run={path} is no folder; give that of a run, such as run=runs/NAME")
        _check_finished(path)
        settings = config_folder(path)
        if settings is None:
            raise ValueError(f"run={path} holds no {CONFIG_FILE}; give the folder of a run")
        return FinishedRun(
            folder=path,
            config_folder=settings,
            architecture=Architecture.from_yaml(path / _NETWORK),
            config=read_config(settings),
            summary=Folder(path).read_json(_SUMMARY) or {},
        )

    def model(self) -> Network:
        """The trained network.

        Raises:
            ValueError: its weights cannot be read, or are another network's.
        """
        source = WeightsSource(path=self.folder / _WEIGHTS, library=Library.OURS)
        found = read_weights(source, self.architecture, lambda _: None)
        model = build_model(self.architecture)
        if lacking := sorted(model.state_dict().keys() - found.weights.keys()):
            raise ValueError(f"{source.path} lacks {lacking[0]} for {self.folder / _NETWORK}")
        model.load_state_dict(found.weights)
        return model.eval()

    @property
    def weights(self) -> bytes:
        """The file of weights, as it is."""
        return (self.folder / _WEIGHTS).read_bytes()

    def check_data(self, data: ImageData) -> None:
        """Refuse a data set that is no longer the one that the network was trained on.

        Raises:
            ValueError: it has other classes, or its images are prepared otherwise.
        """
        found = f"run={self.folder} was trained on other data than {data.name} is now"
        if self.architecture.num_classes != data.num_classes:
            raise ValueError(
                f"{found}: {self.architecture.num_classes} classes, not {data.num_classes}; "
                f"{_REMEDY}"
            )
        path = self.folder / _FILE
        said = _said(path) if path.exists() else {}
        now = describe_preprocessing(self.architecture, data)
        for then, is_now in (
            (_by_number(said.get("classes", ())), _by_number(data.class_names)),
            (said.get("preprocessing", {}), now),
        ):
            if changed := _changes(then, is_now):
                raise ValueError(f"{found}: {changed}; {_REMEDY}")


def _by_number(class_names: Sequence[str]) -> dict[str, str]:
    return {f"class {number}": name for number, name in enumerate(class_names)}


def _changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What is otherwise now, the first few; empty where nothing is, or was not said then."""
    changed = [name for name in {**then, **now} if then.get(name) != now.get(name)] if then else []
    said = (f"{name} was {then.get(name)!r:.80}, is {now.get(name)!r:.80}" for name in changed)
    return ", ".join(islice(said, _NAMED)) + (", …" if len(changed) > _NAMED else "")


def _check_finished(path: Path) -> None:
    if (path / _NETWORK).exists() and (path / _WEIGHTS).exists():
        return
    if (path / CONFIG_FILE).exists():
        if targets := sorted(each.parent for each in path.glob(f"*/{_WEIGHTS}")):
            raise ValueError(f"run={path} has a network for each target; give run={targets[0]}")
        raise ValueError(
            f"run={path} has not finished: there is no {_WEIGHTS} yet; the run's command goes on"
        )
    raise ValueError(f"run={path} holds no run; give the folder of one, such as run=runs/NAME")


def _said(path: Path) -> dict[str, Any]:
    try:
        return read_metadata(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}; delete it, and nothing is lost") from None
