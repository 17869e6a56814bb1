"""Trains a tiny network on as many processes as it is started with; the first writes weights."""

import sys
from pathlib import Path

import torch
from torch import nn

from nas.data import MemorySplit
from nas.training import TrainSettings, evaluate, train
from nas.training.checkpoint import Checkpoints
from nas.training.devices import Team, make_fabric
from nas.training.meter import Report


def main(devices: int, folder: Path) -> None:
    settings = TrainSettings(
        epochs=3, batch_size=8, learning_rate=0.1, accumulate=2, ema_decay=0.9, gradient_clip=5.0
    )
    fabric = make_fabric(settings, devices)
    fabric.launch()
    team = Team(fabric)
    generator = torch.Generator().manual_seed(7)
    labels = torch.arange(24) % 3
    data = MemorySplit(images=torch.randn(24, 3, 8, 8, generator=generator), labels=labels)
    torch.manual_seed(3)
    # Without norms, which would count on each process's own images.
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 3))
    reports: list[Report] = []
    train(
        model,
        data,
        settings,
        resolution=8,
        seed=1,
        on_step=lambda *_: None,
        on_report=reports.append,
        checkpoints=Checkpoints(path=folder / "checkpoint.pt", every_s=0.0),
        team=team,
    )
    accuracy = evaluate(model, data, resolution=8, batch_size=5, on_step=lambda *_: None, team=team)
    found = {
        "model": model.state_dict(),
        "losses": [report.loss for report in reports],
        "accuracy": accuracy,
        "ranks": team.ranks,
    }
    torch.save(found, folder / f"found_{team.rank}.pt")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
