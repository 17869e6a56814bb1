"""What a training's page draws: its log over epochs."""

from collections.abc import Sequence

from nas.report.drawings import MARKS, Drawn
from nas.report.explorer import Explorer
from nas.report.front import Role
from nas.report.svg import Frame, Key, Mark, drawing, element, path_of
from nas.report.text import percent
from nas.training.logs import LogRow

_EPOCH, _KEPT = Mark(class_="step", radius=3.5), MARKS[Role.WINNER]
_FIGURES = ("validation accuracy", "loss", "learning rate", "speed")


def epochs_of(log: Sequence[LogRow]) -> list[LogRow]:
    """The rows at the ends of epochs, which have an accuracy."""
    return [row for row in log if row.accuracy is not None]


def explore_epochs(log: Sequence[LogRow], kept: int) -> Explorer:
    """What is shown of the mark of each epoch.

    Args:
        kept: the epoch whose weights were handed over.
    """
    epochs = epochs_of(log)
    rows = tuple(
        (
            f"epoch {row.epoch}{', handed over' if row.epoch == kept else ''}",
            percent(row.accuracy),
            f"{row.loss:.4f}",
            f"{row.learning_rate:.3g}",
            f"{row.images_per_s:.0f} images/s",
        )
        for row in epochs
    )
    first = next((n for n, row in enumerate(epochs) if row.epoch == kept), len(epochs) - 1)
    return Explorer(names=_FIGURES, rows=rows, first=first)


def draw_accuracy(log: Sequence[LogRow], kept: int) -> Drawn:
    """Validation accuracy after each epoch."""
    epochs = epochs_of(log)
    values = [100 * (row.accuracy or 0.0) for row in epochs]
    return _draw(epochs, values, kept, "validation accuracy, %", height=320)


def draw_loss(log: Sequence[LogRow], kept: int) -> Drawn:
    """The loss of training, at every row of the log."""
    return _draw(log, [row.loss for row in log], kept, "training loss", height=280)


def draw_rate(log: Sequence[LogRow], kept: int) -> Drawn:
    """The learning rate, at every row of the log."""
    return _draw(log, [row.learning_rate for row in log], kept, "learning rate", height=220)


def _draw(
    rows: Sequence[LogRow], values: Sequence[float], kept: int, name: str, *, height: float
) -> Drawn:
    """A line through all values, and a mark at the end of each epoch."""
    last = rows[-1]
    xs = [row.step / last.step * last.epoch for row in rows]
    frame = Frame.around([0.0, *xs], values, height=height, left=66)
    places = [(frame.x(x), frame.y(value)) for x, value in zip(xs, values, strict=True)]
    children = frame.background("epoch", name, whole=True)
    children.append(element("path", d=path_of(places), class_="steps"))
    ends = [
        (row, place) for row, place in zip(rows, places, strict=True) if row.accuracy is not None
    ]
    # What matters most is drawn last, above the rest.
    for number, (row, (x, y)) in sorted(enumerate(ends), key=lambda each: each[1][0].epoch == kept):
        mark = _KEPT if row.epoch == kept else _EPOCH
        title = f"epoch {row.epoch}: {percent(row.accuracy)}, loss {row.loss:.4f}"
        children.append(mark.at(x, y, row=number, title=title))
    label = f"{name.capitalize()} over {last.epoch} epochs"
    legend = (Key.of_mark(_EPOCH, "end of an epoch"), Key.of_mark(_KEPT, "handed over"))
    return Drawn(svg=drawing(frame.width, frame.height, children, label=label), legend=legend)
