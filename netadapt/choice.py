"""Which proposal of a step is taken: the least accuracy lost for a millisecond saved.

Yang et al. (2018) take the most accurate proposal; MobileNetV3 (section 4.2) the one of the least
ratio of lost accuracy to saved latency. Taken with its sign, that ratio also orders proposals that
gain accuracy, before all that lose some.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A proposal that was fine-tuned.

    Attributes:
        number: among the proposals of its step.
        accuracy: on the images that are kept for proposals, in 0..1.
        saved_ms: by the table.
    """

    number: int
    accuracy: float
    saved_ms: float


def best_proposal(scored: Sequence[Scored], accuracy: float) -> Scored:
    """The proposal of the highest ΔAcc/|ΔLat|; of equal ones the one that saves more, then the
    first.

    Args:
        scored: at least one.
        accuracy: of the network that they are made of, on the same images.
    """
    return max(
        scored,
        key=lambda one: ((one.accuracy - accuracy) / one.saved_ms, one.saved_ms, -one.number),
    )
