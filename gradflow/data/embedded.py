"""The handwritten digits that come with scikit-learn: real images for a laptop without a network."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from gradflow.data.samples import Samples, Split

TEST_SIZE = 450


def digits(*, flat: bool = False) -> Split:
    """1,797 digits of 8×8 pixels (Alpaydin & Kaynak 1998, UCI), always split into the same 1,347 and 450.

    Images (N, 1, 8, 8), or (N, 64) if ``flat``, with mean 0 and standard deviation 1 over the training set; the split
    keeps the share of each digit.
    """
    # Copies, so that nobody's in-place change reaches the next caller.
    (x, y), (x_test, y_test) = ((inputs.clone(), labels.clone()) for inputs, labels in _load())
    return Split((x.flatten(1), y), (x_test.flatten(1), y_test)) if flat else Split((x, y), (x_test, y_test))


@cache
def _load() -> Split:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        images, labels, test_size=TEST_SIZE, random_state=0, stratify=labels
    )
    mean, deviation = x_train.mean(), x_train.std()

    def samples(x: Any, y: Any) -> Samples:
        standard = torch.as_tensor((x - mean) / deviation, dtype=torch.float32)
        return standard.view(-1, 1, 8, 8), torch.as_tensor(y, dtype=torch.int64)

    return Split(samples(x_train, y_train), samples(x_test, y_test))
