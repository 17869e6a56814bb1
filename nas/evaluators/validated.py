"""What counting right answers on the validation part says of a network."""

import math

from nas.evaluators.base import Evaluation


def validated(accuracy: float, images: int) -> Evaluation:
    """The share of right answers on so many images, with its standard error.

    It is the standard deviation of the share's posterior under an even prior, Beta(right + 1,
    wrong + 1): like √(p(1 − p)/n), but above 0 also where every answer is right.
    """
    right = accuracy * images
    wrong = images - right
    variance = (right + 1) * (wrong + 1) / ((images + 2) ** 2 * (images + 3))
    return Evaluation(accuracy=accuracy, standard_error=math.sqrt(variance))
