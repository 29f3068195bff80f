"""The scanned digits of scikit-learn: 1,797 real images of 8×8 pixels that come with the package, without a download.

E. Alpaydin, C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine Learning Repository, 1998.
"""

from typing import Any, Literal

import numpy as np

from coreselect.data.images import Images
from coreselect.errors import missing_extra


def digits(split: Literal["train", "test"]) -> Images:
    """Return the 1,442 training images or the 355 test images, uint8 [N, 8, 8, 1].

    The published values 0…16 are scaled to 0…255. The split is fixed: in the published order, every fifth image of each
    class is a test image.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as why:
        raise missing_extra("scikit-learn", "data", "the digits dataset") from why
    published: Any = load_digits()  # a Bunch, which scikit-learn types as a tuple
    images = np.rint(published.images * (255 / 16)).astype(np.uint8)[..., None]  # [N, 8, 8, 1]
    labels = published.target.astype(np.int64)  # [N]
    rank = np.empty(len(labels), np.int64)  # [N]: how many images of its class come before each image
    for c in range(10):
        rank[labels == c] = np.arange((labels == c).sum())
    kept = (rank % 5 == 4) == (split == "test")
    return Images(images[kept], labels[kept], f"digits {split}", [str(c) for c in range(10)])
