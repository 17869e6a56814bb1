"""Finished runs in their folders, and what is none."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nas.exporting.metadata import describe_network, with_metadata
from nas.exporting.source import FinishedRun
from nas.training.weights import save_weights
from search_spaces import build_model, build_onnx
from search_spaces.precision import Precision

MakeRun = Callable[..., Path]


def test_the_network_is_as_it_was_trained(trained, make_run: MakeRun) -> None:
    run = FinishedRun.read(make_run())
    assert run.architecture == trained.architecture
    assert run.summary["latency"]["target_ms"] == 5.0
    found, expected = run.model().state_dict(), trained.model.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert not run.model().training


def test_a_target_of_several_has_its_settings_in_the_folder_above(make_run: MakeRun) -> None:
    folder = make_run("search/8ms")
    (folder / "config.yaml").rename(folder.parent / "config.yaml")
    run = FinishedRun.read(folder)
    assert (run.folder, run.config_folder) == (folder, folder.parent)
    with pytest.raises(ValueError, match=r"has a network for each target; give run=.*search/8ms$"):
        FinishedRun.read(folder.parent)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: (run / "best.pt").unlink(), "has not finished: there is no best.pt yet"),
        (lambda run: (run / "best.yaml").unlink(), "has not finished"),
        (lambda run: (run / "config.yaml").unlink(), "holds no config.yaml"),
        (lambda run: (run / "config.yaml").write_text("a: ["), "does not say which data"),
        (lambda run: (run / "config.yaml").write_text("space: x"), "does not say which data"),
        (lambda run: (run / "best.yaml").write_text("name: x"), "blocks"),
        (lambda run: (run / "summary.json").write_text("{"), "summary.json is damaged"),
    ],
)
def test_what_is_no_finished_run(
    change: Callable[[Path], object], message: str, make_run: MakeRun
) -> None:
    folder = make_run()
    change(folder)
    with pytest.raises(ValueError, match=message) as refused:
        FinishedRun.read(folder)
    assert "\n" not in str(refused.value)


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no folder; give that of a run"):
        FinishedRun.read(tmp_path / "none")
    with pytest.raises(ValueError, match="holds no run; give the folder of one"):
        FinishedRun.read(tmp_path)


def test_weights_of_another_network(trained, make_run: MakeRun) -> None:
    folder = make_run()
    other = build_model(trained.architecture.with_num_classes(7))
    save_weights(folder / "best.pt", other.state_dict())
    with pytest.raises(ValueError, match=r"best\.pt lacks blocks\.3\.classifier\.bias for"):
        FinishedRun.read(folder).model()
    save_weights(folder / "best.pt", {"a.weight": torch.ones(1)})
    with pytest.raises(ValueError, match="are those of another network than small"):
        FinishedRun.read(folder).model()


def test_data_that_has_changed_is_refused(trained, make_run: MakeRun) -> None:
    folder, data = make_run(), trained.data
    run = FinishedRun.read(folder)
    run.check_data(data)
    fewer = replace(data, class_names=("a", "b"))
    other = "trained on other data than digits is now: 10 classes, not 2; put the images back"
    with pytest.raises(ValueError, match=other):
        run.check_data(fewer)
    described = describe_network(trained.architecture, data, Precision.FP32)
    content = build_onnx(trained.architecture, trained.model.state_dict()).SerializeToString()
    (folder / "best.onnx").write_bytes(content)
    run.check_data(data)  # files of older versions say nothing
    (folder / "best.onnx").write_bytes(with_metadata(content, described))
    run.check_data(data)
    swapped = replace(data, class_names=data.class_names[::-1])
    ends = "; put the images back as they were, or train on what is there now, under another name=…"
    first = "is now: class 0 was '0', is '9', class 1 was '1', is '8', class 2 was '2', is '7', …"
    with pytest.raises(ValueError, match=re.escape(first + ends)):
        run.check_data(swapped)
    was = data.preprocessing
    brighter = replace(data, preprocessing=replace(was, mean=(0.9,) * 3))
    said = f"is now: mean was {list(was.mean)}, is [0.9, 0.9, 0.9]"
    with pytest.raises(ValueError, match=re.escape(said + ends)):
        run.check_data(brighter)
    (folder / "best.onnx").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"best\.onnx is damaged: this is no ONNX model"):
        run.check_data(data)
