"""Weights that a person gives: our own, torchvision's or timm's, in a file of theirs."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from nas.training.peer_weights import Library, Translated, translate
from nas.training.weights import load_weights
from search_spaces import Architecture

_WRAPPERS = {"module.": "DataParallel", "_orig_mod.": "torch.compile"}
"""What puts one prefix before every name of a ``state_dict``, and whose it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSource:
    """A file of weights.

    Attributes:
        library: whose names they must have; ``None``: that is found by the names.
    """

    path: Path
    library: Library | None = None

    @staticmethod
    def parse(text: str) -> "WeightsSource":
        """Read ``FILE``, ``ours:FILE``, ``torchvision:FILE`` or ``timm:FILE``.

        Raises:
            ValueError: it names no file, or another library.
        """
        # A path has a slash or a dot before whatever colon it has; C:\ is of one letter.
        spelled = re.match(r"(\w{2,}):(.*)", text, re.DOTALL)
        library, file = ("", text) if spelled is None else spelled.groups()
        if library not in ("", *Library):
            raise ValueError(
                f"weights must be FILE or one of {', '.join(f'{each}:FILE' for each in Library)}, "
                f"but got {text!r:.80}; a file of that name is ./{text:.80}"
            )
        if not file.strip():
            raise ValueError(f"weights must name a file, but got {text!r:.80}")
        return WeightsSource(path=Path(file), library=Library(library) if library else None)

    def __str__(self) -> str:
        return str(self.path) if self.library is None else f"{self.library}:{self.path}"


def read_weights(
    source: WeightsSource, network: Architecture, say: Callable[[str], None]
) -> Translated:
    """The weights of a file under our names, and the network that computes with them.

    Where the file's classifier is of other classes, ``weights`` lacks it: whoever loads them
    initialises one.

    Args:
        source: the file.
        network: what the weights are of, classes aside.
        say: told what a person should know of it, a line each.

    Raises:
        ValueError: the file cannot be read safely, holds no ``state_dict``, or weights of another
            network or another library.
    """
    given, wrapper = _unwrapped(load_weights(source.path))
    try:
        translated = translate(given, network)
    except ValueError as error:
        raise ValueError(
            f"weights={source} are those of another network than {network.name}: {error}"
        ) from None
    library = translated.library
    if source.library not in (None, library):
        raise ValueError(
            f"weights={source} are named as in {library}; give weights={library}:{source.path}, "
            f"or a file of {source.library}'s"
        )
    named = "" if library is Library.OURS else f", named as in {library}"
    say(f"weights of {network.name} from {source.path}{named}")
    notes = [f"the prefix {wrapper!r} of {_WRAPPERS[wrapper]} is taken off"] if wrapper else []
    for note in (*notes, *translated.notes):
        say(f"  {note}")
    return translated


def _unwrapped(state: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], str | None]:
    """The weights without the prefix that all of their names have, and that prefix."""
    for prefix in _WRAPPERS:
        if state and all(name.startswith(prefix) for name in state):
            return {name.removeprefix(prefix): value for name, value in state.items()}, prefix
    return state, None
