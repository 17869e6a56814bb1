"""Three steps of NetAdapt for every seed: all that is proposed is a network in torch and ONNX."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from latency.files import write_json
from latency.reach import Step
from latency.table import LatencyTable
from nas.executors import Channel, ThreadExecutor
from nas.training import TrainSettings
from nas.training.weights import load_weights, save_weights
from netadapt import loop as loop_module
from netadapt.clock import Timed
from netadapt.journal import Ended, State, StepFolder
from netadapt.loop import NetAdaptLoop
from netadapt.proposals import ProposalSettings, steps_to_propose
from netadapt.tuning import Task, Tuning
from netadapt.weight_transfer import Keep, transfer_weights
from search_spaces import Architecture, build_model, build_onnx, load_seed, seed_names

STEPS, RESOLUTION, TOLERANCE = 3, 32, 1e-4
WIDTHS = {"mobilenet": 0.25, "mnasnet": 0.25, "shufflenet": 0.5}
TUNING = Tuning(
    data="{}",
    share=0.2,
    steps=1,
    train=TrainSettings(epochs=1),
    resolution=RESOLUTION,
    keep=Keep.LARGEST_NORM,
    seed=0,
)

GiveStatistics = Callable[[nn.Module, Tensor], None]


class Silent:
    """Hears nothing."""

    def tuning(self, step: int, done: float, proposals: int) -> None:
        pass

    def ended(self, step: int, before: State, ended: Ended) -> None:
        pass

    def note(self, text: str) -> None:
        raise AssertionError(text)


def _images(number: int, resolution: int = RESOLUTION) -> Tensor:
    return torch.randn(number, 3, 1, 1) + torch.randn(number, 3, resolution, resolution)


def _assert_onnx_agrees(architecture: Architecture, model: nn.Module) -> None:
    images = _images(2)
    with torch.no_grad():
        expected = model.eval()(images)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    graph = build_onnx(architecture, model.state_dict(), batch=2).SerializeToString()
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"input": images.numpy()})
    size = max(1.0, float(expected.abs().max()))
    np.testing.assert_allclose(answer, expected, rtol=TOLERANCE, atol=TOLERANCE * size)


def _checked(give_statistics: GiveStatistics) -> Callable[[Tuning, Task, Channel], float]:
    """What takes the place of ``tune``: a proposal gets statistics, and is compared with ONNX."""

    def check(tuning: Tuning, task: Task, channel: Channel) -> float:
        weights = load_weights(task.weights)
        state = transfer_weights(task.old, weights, task.new, sources=task.sources)
        model = build_model(task.new)
        model.load_state_dict(state, strict=True)
        give_statistics(model, _images(4, 64))
        _assert_onnx_agrees(task.new, model)
        save_weights(task.answer.with_suffix(".pt"), model.state_dict())
        accuracy = 0.5 + 0.001 * (int(task.answer.stem) * 7 % 11)
        write_json(task.answer, {"accuracy": accuracy})
        return accuracy

    return check


@pytest.mark.parametrize("name", seed_names())
def test_every_proposal_of_three_steps_is_a_network(
    name: str,
    tmp_path: Path,
    table_of: Callable[[list[Step]], LatencyTable],
    give_statistics: GiveStatistics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop_module, "tune", _checked(give_statistics))
    seed = load_seed(name, WIDTHS[name.split("_")[0]], RESOLUTION).with_num_classes(10)
    model = build_model(seed)
    give_statistics(model, _images(4, 64))
    steps_done = [0]

    def clock(network: Architecture, path: Path) -> Timed:
        steps_done[0] += 1
        return Timed(measured_ms=float(STEPS - steps_done[0]), interval=0.0)

    def table(network: Architecture, delta_ms: float) -> LatencyTable:
        return table_of(steps_to_propose(network))

    start_ms = table(seed, 0.0).network_latency_ms(seed)
    executor = ThreadExecutor(1)
    loop = NetAdaptLoop(
        folder=tmp_path,
        tuning=TUNING,
        proposals=ProposalSettings(),
        delta_ms=0.02 * start_ms,
        decay=1.0,
        measure_proposals=table,
        clock=clock,
        executor=executor,
        observer=Silent(),
    )
    start = State(
        architecture=seed,
        weights=save_weights(tmp_path / "seed.pt", model.state_dict()),
        accuracy=0.9,
        predicted_ms=start_ms,
        measured_ms=float(STEPS),
    )
    try:
        end = loop.run(start, 0.0)
    finally:
        executor.close()
    assert steps_done == [STEPS]
    for number in range(1, STEPS + 1):
        files = StepFolder(tmp_path, number)
        proposals = files.proposals()
        assert proposals
        assert all("accuracy" in (files.result(n) or {}) for n in range(len(proposals)))
    built = build_model(end.architecture)
    built.load_state_dict(load_weights(end.weights), strict=True)
