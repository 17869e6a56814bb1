"""Known results instead of training: benchmarks of searches, and networks trained elsewhere."""

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas.evaluators.base import Evaluation, Monitor
from search_spaces import Architecture
from search_spaces.spaces import Choice, Choices, SearchSpace
from search_spaces.spaces.staged import Indices


class TableEvaluator:
    """Looks accuracies up in a file. Only networks that stand in it are ever proposed."""

    scores_at_once: ClassVar[Literal[True]] = True

    def __init__(
        self, *, space: SearchSpace, file: str, accuracy: str = "accuracy", percent: bool = False
    ) -> None:
        """Read the file.

        Args:
            space: each of its choices is a column.
            file: CSV with a header, or JSON: a list of objects. Further columns are passed over;
                of rows with equal choices (several trainings) the mean counts.
            accuracy: the column of accuracies.
            percent: whether they are in 0..100 instead of 0..1.

        Raises:
            ValueError: a column is missing, or a value is not allowed; the message names it.
        """
        if not isinstance(percent, bool):
            raise ValueError(f"evaluator.percent must be true or false, but got {percent!r:.80}")
        path = Path(file)
        rows = _read(path)
        missing = [name for name in (*space.choices, accuracy) if name not in rows]
        if missing:
            raise ValueError(
                f"{path} has no column {missing[0]!r}; it needs one for each choice of "
                f"{space.name}, and the accuracies ({accuracy!r}), but has {list(rows)}"
            )
        if rows.empty:
            raise ValueError(f"{path} has no rows")
        columns = {name: _indices(path, rows, name, of) for name, of in space.choices.items()}
        known = pd.DataFrame(columns)
        known["accuracy"] = _accuracies(path, rows, accuracy, percent=percent)
        means = known.groupby(list(space.choices), sort=True)["accuracy"].mean()
        self._known: dict[Hashable, float] = dict(means)
        self._space = space
        self._accuracies = means.to_numpy(dtype=np.float64)
        self._members = np.asfortranarray(
            means.index.to_frame(index=False).to_numpy(dtype=np.uint8)
        )

    def members(self) -> Indices:
        """(networks, choices): the networks that stand in the file, as rows of the space."""
        return self._members

    def accuracies(self) -> NDArray[np.float64]:
        """(networks,): what is known of ``members``."""
        return self._accuracies

    def evaluate(
        self,
        architecture: Architecture,  # noqa: ARG002 - it is the choices that stand in the file
        choices: Choices,
        monitor: Monitor,
    ) -> Evaluation:
        """The accuracy of these very choices.

        Raises:
            ValueError: they do not stand in the file.
        """
        row = self._space.choice_indices(choices)
        # pandas has the bare value as key where there is one column alone.
        accuracy = self._known.get(row if len(row) > 1 else row[0])
        if accuracy is None:
            raise ValueError(f"the table of known results has no network {dict(choices)}")
        monitor.step(1, 1)
        return Evaluation(accuracy=float(accuracy), of_network=False)


def _read(path: Path) -> pd.DataFrame:
    try:
        if path.suffix.lower() == ".json":
            records = json.loads(path.read_text())
            if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
                raise ValueError("it is no list of objects")
            return pd.DataFrame(records)
        if path.suffix.lower() == ".csv":
            return pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"the table of known results {path} cannot be read: {reason}") from None
    raise ValueError(f"the table of known results must be a .csv or .json file, but is {path}")


def _indices(
    path: Path, rows: pd.DataFrame, name: str, allowed: tuple[Choice, ...]
) -> NDArray[np.uint8]:
    """Each row's value of a choice, as its index among the allowed ones."""
    numbers = {_written(value): index for index, value in enumerate(allowed)}
    found = rows[name].map(lambda value: numbers.get(_written(value), -1)).to_numpy()
    if (found < 0).any():
        row = int(np.argmin(found))
        raise ValueError(
            f"{path}, row {row + 1}: {name} must be one of {allowed!r}, but is "
            f"{rows[name].iloc[row]!r}"
        )
    return found.astype(np.uint8)


def _written(value: Any) -> Choice:
    """A value as it is compared: ``3``, ``3.0``, ``"3"`` are one, ``true`` and ``"True"``, too."""
    text = str(value).strip()
    if text.lower() in ("true", "false"):
        return text.lower()
    try:
        return float(text)
    except ValueError:
        return text


def _accuracies(path: Path, rows: pd.DataFrame, name: str, *, percent: bool) -> NDArray[np.float64]:
    values = pd.to_numeric(rows[name], errors="coerce").to_numpy(dtype=np.float64)
    values = values / (100 if percent else 1)
    wrong = ~((values >= 0) & (values <= 1))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"{path}, row {row + 1}: {name} must be a number in {'0..100' if percent else '0..1'}, "
            f"but is {rows[name].iloc[row]!r} (evaluator.percent says which of both)"
        )
    return np.asarray(values)
