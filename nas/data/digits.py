"""The embedded data set: 1,797 real 8×8 images of handwritten digits, installed with scikit-learn.

UCI's Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998).
"""

import numpy as np
from sklearn.datasets import load_digits

from nas.data.dataset import ImageData, split_images


def digits_data(
    *, seed: int = 0, validation_share: float = 0.2, test_share: float = 0.2
) -> ImageData:
    """The digits, split by ``seed``.

    Raises:
        ValueError: a share is out of range.
    """
    digits = load_digits()
    return split_images(
        "digits",
        digits.images[:, None].astype(np.float32) / 16,
        digits.target.astype(np.int64),
        [str(digit) for digit in range(10)],
        seed=seed,
        validation_share=validation_share,
        test_share=test_share,
    )
